/** Requests in the name of another (kubectl --as): who that is, and what the real user needs for it. Pure. Source: apiserver filters/impersonation.go. */
import { badRequest } from '../status-error.ts';
import type { Attributes, ResourceAttributes } from './attributes.ts';
import { authenticated, parseServiceAccountName, serviceAccountGroups, type User } from './identity.ts';

/** Each header's values one by one, as IncomingMessage.headersDistinct has them. */
export type DistinctHeaders = Readonly<Record<string, readonly string[] | undefined>>;

export interface Impersonation {
  readonly user: User;
  /** Each of which the real user must be allowed. */
  readonly needs: readonly Attributes[];
}

const extraPrefix = 'impersonate-extra-';
const authenticationGroup = 'authentication.k8s.io';
const maxValues = 64;

/** undefined: nobody is impersonated. Throws StatusError 400. */
export function parseImpersonation(headers: DistinctHeaders): Impersonation | undefined {
  const name = headers['impersonate-user']?.[0] ?? '';
  const groups = headers['impersonate-group'] ?? [];
  const uid = headers['impersonate-uid']?.[0] ?? '';
  const extra = new Map<string, readonly string[]>();
  for (const [header, values = []] of Object.entries(headers)) {
    if (header.startsWith(extraPrefix)) extra.set(decodeKey(header.slice(extraPrefix.length)), values);
  }
  if (name === '') {
    if (groups.length === 0 && uid === '' && extra.size === 0) return undefined;
    throw badRequest('requested groups, a UID or extra data without impersonating a user');
  }
  if (groups.length + [...extra.values()].flat().length > maxValues) {
    throw badRequest(`more than ${maxValues} groups and extra values to impersonate`);
  }
  const account = parseServiceAccountName(name);
  const needs: Attributes[] = [
    account === undefined
      ? need({ resource: 'users', name })
      : need({ resource: 'serviceaccounts', name: account.name, namespace: account.namespace }),
    ...groups.map((group) => need({ resource: 'groups', name: group })),
    ...(uid === '' ? [] : [need({ group: authenticationGroup, resource: 'uids', name: uid })]),
  ];
  for (const [key, values] of extra) {
    needs.push(
      ...values.map((value) =>
        need({ group: authenticationGroup, resource: 'userextras', subresource: key, name: value }),
      ),
    );
  }
  const all = account !== undefined && groups.length === 0 ? serviceAccountGroups(account.namespace) : groups;
  return { user: authenticated(name, all, { uid: uid === '' ? undefined : uid, extra }), needs };
}

function need(what: Partial<ResourceAttributes> & Pick<ResourceAttributes, 'resource' | 'name'>): Attributes {
  return { isResource: true, verb: 'impersonate', group: '', version: 'v1', subresource: '', namespace: '', ...what };
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key; // as it came: it is a key like any other
  }
}
