/** serviceaccounts/NAME/token: a signed token for a service account (kubectl create token). Source: registry/core/serviceaccount/storage/token.go. */
import { randomUUID } from 'node:crypto';
import type { FieldError } from '../field-errors.ts';
import { formatTime } from '../format-time.ts';
import { getPath, getString, isJsonArray, isJsonObject, type Json, type JsonObject } from '../json.ts';
import type { KubeObject, ResourceKind } from '../resources.ts';
import { badRequest, conflict, invalid, notFound } from '../status-error.ts';
import { serviceAccountKind } from './rbac-kinds.ts';
import { type BoundObject, issuer, type TokenSigner } from './token-signer.ts';

export interface TokenRequestDeps {
  readonly signer: TokenSigner;
  readonly now: () => number;
  readonly find: (kind: 'ServiceAccount' | 'Secret' | 'Pod', namespace: string, name: string) => KubeObject | undefined;
}

const defaultSeconds = 3_600;
const minSeconds = 600;
const maxSeconds = 2 ** 32;
const maxAudiences = 32;

const tokenRequestName: Pick<ResourceKind, 'group' | 'plural' | 'kind'> = {
  group: 'authentication.k8s.io',
  plural: 'tokenrequests',
  kind: 'TokenRequest',
};

/** The request with its answer. Throws StatusError 400, 404, 409 or 422. */
export function answerTokenRequest(
  namespace: string,
  name: string,
  body: Json,
  { signer, now, find }: TokenRequestDeps,
): JsonObject {
  if (!isJsonObject(body) || (body.kind !== undefined && body.kind !== 'TokenRequest')) {
    throw badRequest('the body must be an object of kind TokenRequest');
  }
  if (body.apiVersion !== undefined && body.apiVersion !== 'authentication.k8s.io/v1') {
    throw badRequest('the API version of a TokenRequest is authentication.k8s.io/v1');
  }
  const account = find('ServiceAccount', namespace, name);
  if (account === undefined) throw notFound(serviceAccountKind, name);
  const audiences = getPath(body, ['spec', 'audiences']) ?? [];
  const seconds = getPath(body, ['spec', 'expirationSeconds']) ?? defaultSeconds;
  const errors: FieldError[] = [];
  const wrong = (field: string, value: Json, detail: string): number =>
    errors.push({ kind: 'invalid', field, value, detail });
  if (
    !isJsonArray(audiences) ||
    !audiences.every((one) => typeof one === 'string') ||
    audiences.length > maxAudiences
  ) {
    wrong('spec.audiences', audiences, `must be a list of at most ${maxAudiences} strings`);
  }
  if (typeof seconds !== 'number' || !Number.isInteger(seconds))
    wrong('spec.expirationSeconds', seconds, 'must be a whole number');
  else if (seconds < minSeconds)
    wrong('spec.expirationSeconds', seconds, 'may not specify a duration less than 10 minutes');
  else if (seconds > maxSeconds)
    wrong('spec.expirationSeconds', seconds, 'may not specify a duration larger than 2^32 seconds');
  if (errors.length > 0) throw invalid(tokenRequestName, name, errors);
  const bound = findBound(getPath(body, ['spec', 'boundObjectRef']) ?? null, namespace, find);
  const nowMs = now();
  const expiresAtMs = Math.floor(nowMs / 1000) * 1000 + Number(seconds) * 1000;
  const asked = isJsonArray(audiences) ? audiences.map(String) : [];
  const token = signer.sign({
    audiences: asked.length === 0 ? [issuer] : asked,
    namespace,
    account: { name, uid: account.metadata.uid },
    bound,
    id: randomUUID(),
    issuedAtMs: nowMs,
    expiresAtMs,
  });
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, creationTimestamp: formatTime(nowMs) },
    spec: {
      audiences: asked.length === 0 ? [issuer] : asked,
      expirationSeconds: seconds,
      boundObjectRef:
        bound === undefined ? null : { kind: bound.kind, apiVersion: 'v1', name: bound.name, uid: bound.uid },
    },
    status: { token, expirationTimestamp: formatTime(expiresAtMs) },
  };
}

function findBound(reference: Json, namespace: string, find: TokenRequestDeps['find']): BoundObject | undefined {
  if (!isJsonObject(reference)) return undefined;
  const kind = getString(reference, 'kind') ?? '';
  const name = getString(reference, 'name') ?? '';
  const isKnown = (kind === 'Secret' || kind === 'Pod') && (getString(reference, 'apiVersion') ?? 'v1') === 'v1';
  if (!isKnown) throw badRequest(`cannot bind token for object of type ${kind.slice(0, 100)}`);
  const resource = { group: '', plural: kind === 'Secret' ? 'secrets' : 'pods' };
  const object = find(kind, namespace, name);
  if (object === undefined) throw notFound(resource, name);
  const { uid } = object.metadata;
  const asked = getString(reference, 'uid') ?? '';
  if (asked !== '' && asked !== uid) {
    const because = `the UID in the bound object reference (${asked}) does not match the UID in record. The object might have been deleted and then recreated`;
    throw conflict(resource, name, because);
  }
  return { kind, name, uid };
}
