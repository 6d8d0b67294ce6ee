/** Who a request is from, in Kubernetes' words (authentication/user). Pure. */
import { isJsonObject, type Json, type JsonObject, textsOf } from '../json.ts';

export interface User {
  readonly name: string;
  readonly uid: string | undefined;
  readonly groups: readonly string[];
  /** Keys come from clients, so a map: none of them is special. */
  readonly extra: ReadonlyMap<string, readonly string[]>;
}

export const mastersGroup = 'system:masters';
export const authenticatedGroup = 'system:authenticated';
export const hostsGroup = 'system:hosts';
export const serviceAccountsGroup = 'system:serviceaccounts';
export const hostPrefix = 'system:host:';
export const serviceAccountPrefix = 'system:serviceaccount:';

const nothing: User['extra'] = new Map();

/** An authenticated user: one more group tells that it is one. */
export function authenticated(
  name: string,
  groups: readonly string[],
  { uid, extra = nothing }: { readonly uid?: string | undefined; readonly extra?: User['extra'] } = {},
): User {
  const all = groups.includes(authenticatedGroup) ? groups : [...groups, authenticatedGroup];
  return { name, uid, groups: all, extra };
}

export function serviceAccountName(namespace: string, name: string): string {
  return `${serviceAccountPrefix}${namespace}:${name}`;
}

/** Source: authentication/serviceaccount MakeGroupNames. */
export function serviceAccountGroups(namespace: string): readonly string[] {
  return [serviceAccountsGroup, `${serviceAccountsGroup}:${namespace}`];
}

/** Namespace and name of a service account's user name; undefined: it is none. */
export function parseServiceAccountName(
  name: string,
): { readonly namespace: string; readonly name: string } | undefined {
  if (!name.startsWith(serviceAccountPrefix)) return undefined;
  const [namespace = '', own = '', ...rest] = name.slice(serviceAccountPrefix.length).split(':');
  return namespace === '' || own === '' || rest.length > 0 ? undefined : { namespace, name: own };
}

/** The host that a user is; undefined: it is none. Both name and group must say so, as for Kubernetes' nodes. */
export function hostOf({ name, groups }: Pick<User, 'name' | 'groups'>): string | undefined {
  if (!name.startsWith(hostPrefix) || !groups.includes(hostsGroup)) return undefined;
  return name.length === hostPrefix.length ? undefined : name.slice(hostPrefix.length);
}

/** As authentication/v1 UserInfo. */
export function userToJson({ name, uid, groups, extra }: User): JsonObject {
  return {
    username: name,
    ...(uid === undefined ? {} : { uid }),
    ...(groups.length === 0 ? {} : { groups }),
    ...(extra.size === 0 ? {} : { extra: Object.fromEntries(extra) }),
  };
}

/** Reads `extra` of a review's spec. */
export function parseExtra(value: Json | undefined): User['extra'] {
  const lists = Object.entries(isJsonObject(value) ? value : {});
  return new Map(lists.map(([key, list]) => [key, textsOf(list)]));
}
