/**
 * Nobody gives away by RBAC what he does not have himself. Pure but for the index it reads. Source: Kubernetes'
 * registry/rbac, policybased, with its wording.
 */
import { getOwn, getPath, getString, jsonEqual } from '../json.ts';
import type { KubeObject, ResourceKind } from '../resources.ts';
import { forbidden, notFound } from '../status-error.ts';
import type { ResourceAttributes } from './attributes.ts';
import type { Authorizer } from './authorizer.ts';
import { mastersGroup, type User } from './identity.ts';
import { compact, formatRule, type PolicyRule, parseRules, uncovered } from './policy-rules.ts';
import type { RbacIndex } from './rbac-index.ts';
import { clusterRoleBindingKind, clusterRoleKind, rbacGroup, roleBindingKind, roleKind } from './rbac-kinds.ts';

export interface EscalationDeps {
  readonly rbac: RbacIndex;
  readonly authorizer: Authorizer;
}

/** Throws StatusError 403 (or 404: the role that is bound is not there) unless the user may write this. */
export function checkEscalation(
  user: User,
  kind: ResourceKind,
  object: KubeObject,
  previous: KubeObject | undefined,
  deps: EscalationDeps,
): void {
  if (kind.group !== rbacGroup || user.groups.includes(mastersGroup)) return;
  switch (kind.storageKey) {
    case roleKind.storageKey:
    case clusterRoleKind.storageKey:
      return checkRole(user, kind, object, previous, deps);
    case roleBindingKind.storageKey:
    case clusterRoleBindingKind.storageKey:
      return checkBinding(user, kind, object, previous, deps);
    default:
  }
}

function checkRole(
  user: User,
  kind: ResourceKind,
  object: KubeObject,
  previous: KubeObject | undefined,
  deps: EscalationDeps,
): void {
  const { name, namespace = '' } = object.metadata;
  const unchanged = unchangedSince(object, previous);
  // Labels too: by them a role becomes part of others.
  const isSameLabels =
    previous !== undefined && jsonEqual(object.metadata.labels ?? {}, previous.metadata.labels ?? {});
  if (unchanged('rules') && unchanged('aggregationRule') && isSameLabels) return;
  if (mayOnRole('escalate', { user, version: kind.version, resource: kind.plural, namespace, name }, deps)) return;
  const isAggregated = [object, previous].some(
    (role) => role !== undefined && getOwn(role, 'aggregationRule') !== undefined,
  );
  if (isAggregated) {
    // Its rules will be others', whatever these are.
    const everything = { verbs: ['*'], apiGroups: ['*'], resources: ['*'], resourceNames: [], nonResourceURLs: [] };
    const paths = { verbs: ['*'], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: ['*'] };
    const because = refusal(user, [everything, paths], namespace, deps);
    if (because !== undefined)
      throw forbidden(kind, name, `must have cluster-admin privileges to use an aggregationRule: ${because}`);
  }
  const because = refusal(user, parseRules(getOwn(object, 'rules')), namespace, deps);
  if (because !== undefined) throw forbidden(kind, name, because);
}

function checkBinding(
  user: User,
  kind: ResourceKind,
  object: KubeObject,
  previous: KubeObject | undefined,
  deps: EscalationDeps,
): void {
  const { name, namespace = '' } = object.metadata;
  const unchanged = unchangedSince(object, previous);
  if (unchanged('roleRef') && unchanged('subjects')) return;
  const roleName = getString(getPath(object, ['roleRef']), 'name') ?? '';
  const isCluster = getString(object, 'roleRef', 'kind') !== 'Role';
  const resource = isCluster ? 'clusterroles' : 'roles';
  if (mayOnRole('bind', { user, version: kind.version, resource, namespace, name: roleName }, deps)) return;
  const rules = deps.rbac.rulesOf(isCluster ? 'ClusterRole' : 'Role', roleName, namespace);
  if (rules === undefined) throw notFound({ group: rbacGroup, plural: resource }, roleName);
  const because = refusal(user, rules, namespace, deps);
  if (because !== undefined) throw forbidden(kind, name, because);
}

function unchangedSince(object: KubeObject, previous: KubeObject | undefined): (field: string) => boolean {
  return (field) => previous !== undefined && jsonEqual(getOwn(object, field), getOwn(previous, field));
}

/** The verbs that allow what the rules held would not. */
function mayOnRole(
  verb: 'escalate' | 'bind',
  role: Pick<ResourceAttributes, 'version' | 'resource' | 'namespace' | 'name'> & { readonly user: User },
  { authorizer }: EscalationDeps,
): boolean {
  const { user, ...place } = role;
  return authorizer.authorize(user, { isResource: true, verb, group: rbacGroup, subresource: '', ...place }).isAllowed;
}

/** Pieces told at most: clients refuse long answers. */
const maxTold = 50;

function refusal(
  user: User,
  wanted: readonly PolicyRule[],
  namespace: string,
  { rbac }: EscalationDeps,
): string | undefined {
  const { grants, missing: unresolved } = rbac.grantsOf(user, namespace);
  const missing = uncovered(
    grants.flatMap(({ rules }) => rules),
    wanted,
  );
  if (missing.length === 0) return undefined;
  const told = compact(missing).map(formatRule).sort();
  const groups = user.groups.map((group) => JSON.stringify(group)).join(' ');
  const lines = told.length > maxTold ? [...told.slice(0, maxTold), `and ${told.length - maxTold} more`] : told;
  const message = `user ${JSON.stringify(user.name)} (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${lines.join('\n')}`;
  return unresolved.length === 0 ? message : `${message}; resolution errors: [${unresolved.join(', ')}]`;
}
