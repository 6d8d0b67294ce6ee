/**
 * Lets each request in or not, and answers what is asked about that: puts authentication, impersonation, authorization and
 * admission together, and keeps their indexes up to date. Effects.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { Json, JsonObject } from '../json.ts';
import { keyOf } from '../memory.ts';
import type { Operations } from '../operations.ts';
import type { ResourcePath } from '../request-path.ts';
import type { Query } from '../requests.ts';
import type { KubeObject, ResourceKind } from '../resources.ts';
import type { Writer } from '../writer.ts';
import { type Attributes, attributesOf, forbiddenRequest } from './attributes.ts';
import { Authenticator } from './authenticator.ts';
import { Authorizer } from './authorizer.ts';
import { startKeeper } from './built-in-keeper.ts';
import { certificateOf } from './client-certificate.ts';
import type { Visibility } from './decision.ts';
import { checkEscalation } from './escalation.ts';
import { containerStorageKey, HostAccess } from './host-access.ts';
import { hostOf, mastersGroup, type User } from './identity.ts';
import { parseImpersonation } from './impersonation.ts';
import { RbacIndex } from './rbac-index.ts';
import {
  clusterRoleBindingKind,
  clusterRoleKind,
  roleBindingKind,
  roleKind,
  serviceAccountKind,
} from './rbac-kinds.ts';
import { answerReview } from './reviews.ts';
import { answerTokenRequest } from './token-request.ts';
import { createTokenSigner } from './token-signer.ts';

export interface AccessDeps {
  readonly writer: Writer;
  readonly operations: Operations;
  readonly namespaces: ResourceKind;
  readonly adminToken: string;
  /** PEM of the key that signs the tokens of service accounts. */
  readonly signingKey: string;
  /** The host that has the Containers which name none; the controller of this process is its. */
  readonly host: string | undefined;
  readonly now: () => number;
  readonly log: Logger;
}

/** One that was let in. */
export interface Caller {
  readonly user: User;
  /** Who it is really, if it acts in another's name. */
  readonly realUser: User;
  readonly attributes: Attributes;
  /** What it sees of a list or watch; undefined: all. */
  readonly visibility: Visibility | undefined;
  /** Whether it still may: what that hangs on can change while a body comes. Throws StatusError 403. */
  readonly recheck: () => void;
  /** Checks what it is about to store or remove. Throws StatusError 403. `previous` undefined: it is new. */
  readonly admit: (kind: ResourceKind, object: KubeObject, previous: KubeObject | undefined) => void;
}

export interface Review {
  readonly kind: ResourceKind;
  readonly namespace: string | undefined;
  readonly body: Json;
  readonly checkUnknown: (unknownFields: readonly string[]) => void;
}

export interface Access {
  /** Throws StatusError 400, 401 or 403. `path` undefined: the request is for no resource. */
  enter(request: IncomingMessage, pathname: string, path: ResourcePath | undefined, query: Query): Caller;
  answerReview(review: Review, caller: Caller): JsonObject;
  answerTokenRequest(namespace: string, name: string, body: Json): JsonObject;
  /** For the controller of this process: valid as long as it runs, and stored nowhere. */
  readonly hostToken: string | undefined;
  close(): void;
}

const indexed = [roleKind, clusterRoleKind, roleBindingKind, clusterRoleBindingKind];

/** Resolves when the built-in roles are there. */
export async function createAccess(deps: AccessDeps): Promise<Access> {
  const { writer, adminToken, host, now } = deps;
  const rbac = new RbacIndex();
  const hosts = new HostAccess(host);
  const unsubscribe = follow(writer, rbac, hosts);
  const authorizer = new Authorizer(rbac, hosts);
  const signer = createTokenSigner(deps.signingKey);
  const hostToken = host === undefined ? undefined : randomBytes(32).toString('base64url');
  const find = finder(writer);
  const authenticator = new Authenticator({
    adminToken,
    hostToken: host === undefined || hostToken === undefined ? undefined : { token: hostToken, host },
    signer,
    now,
    find,
  });
  const keeper = await startKeeper(deps);
  const authorize = (user: User, attributes: Attributes): Visibility | undefined => {
    const { isAllowed, reason, visibility } = authorizer.authorize(user, attributes);
    if (!isAllowed) throw forbiddenRequest(user.name, attributes, reason);
    return visibility;
  };
  const admit = (user: User, attributes: Attributes): Caller['admit'] => {
    if (user.groups.includes(mastersGroup)) return () => {};
    const ownHost = hostOf(user);
    return (kind, object, previous) => {
      if (previous === undefined && attributes.isResource && attributes.verb !== 'create') {
        authorize(user, { ...attributes, verb: 'create' });
      }
      if (ownHost !== undefined) hosts.admit(ownHost, kind, object, previous);
      checkEscalation(user, kind, object, previous, { rbac, authorizer });
    };
  };
  return {
    enter: (request, pathname, path, query) => {
      const certificate = certificateOf(request.socket);
      const realUser = authenticator.authenticate({ authorization: request.headers.authorization, certificate });
      const impersonation = hasImpersonation(request) ? parseImpersonation(request.headersDistinct) : undefined;
      for (const need of impersonation?.needs ?? []) authorize(realUser, need);
      const user = impersonation?.user ?? realUser;
      const attributes = attributesOf(request.method ?? '', pathname, path, query);
      const visibility = authorize(user, attributes);
      const recheck = (): void => void authorize(user, attributes);
      return { user, realUser, attributes, visibility, recheck, admit: admit(user, attributes) };
    },
    answerReview: (review, { user }) => answerReview({ ...review, user }, { authenticator, authorizer, rbac }),
    answerTokenRequest: (namespace, name, body) => answerTokenRequest(namespace, name, body, { signer, now, find }),
    hostToken,
    close: () => {
      unsubscribe();
      keeper.close();
    },
  };
}

/** Most requests have none, and need not pay for looking at each header. */
function hasImpersonation({ rawHeaders }: IncomingMessage): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase().startsWith('impersonate-') === true) return true;
  }
  return false;
}

/** Takes in what is stored, and every change of it. */
function follow(writer: Writer, rbac: RbacIndex, hosts: HostAccess): () => void {
  for (const kind of indexed) {
    for (const { key, object } of writer.collection(kind).list(undefined)) rbac.update(kind.storageKey, key, object);
  }
  const containers = writer.collection({ storageKey: containerStorageKey });
  for (const { key, object } of containers.list(undefined)) hosts.update(key, object);
  return writer.subscribe((storageKey, { kind, entry }) => {
    const object = kind === 'DELETED' ? undefined : entry.object;
    if (storageKey === containerStorageKey) hosts.update(entry.key, object);
    else rbac.update(storageKey, entry.key, object);
  });
}

function finder(writer: Writer) {
  const keys = { ServiceAccount: serviceAccountKind.storageKey, Secret: 'secrets', Pod: containerStorageKey };
  return (kind: 'ServiceAccount' | 'Secret' | 'Pod', namespace: string, name: string): KubeObject | undefined => {
    // A Pod has the name and the uid of the Container that it shows.
    return writer.collection({ storageKey: keys[kind] }).get(keyOf(namespace, name))?.object;
  };
}
