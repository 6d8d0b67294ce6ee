/**
 * The roles and bindings that every store has, as data. Pure. After Kubernetes' bootstrappolicy: admin, edit and view are
 * put together from the roles that carry their label, so that others can add to them.
 */
import * as containers from '../../crds/index.ts';
import type { JsonObject } from '../json.ts';
import { authenticatedGroup, mastersGroup } from './identity.ts';
import { type PolicyRule, ruleToJson } from './policy-rules.ts';
import { rbacGroup } from './rbac-kinds.ts';

export const autoupdateAnnotation = 'rbac.authorization.kubernetes.io/autoupdate';

function on(
  apiGroups: readonly string[],
  resources: readonly string[],
  verbs: readonly string[],
  resourceNames: readonly string[] = [],
): PolicyRule {
  return { apiGroups, resources, verbs, resourceNames, nonResourceURLs: [] };
}

const reading = ['get', 'list', 'watch'];
const writing = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const all = [...writing, ...reading].sort();
const own = [containers.group];
const { plural, networkPlural } = containers;
const streams = ['exec', 'attach', 'portforward'];

/** What a host's controller may do; for Containers, Secrets, ConfigMaps, Nodes and Leases only as far as they are its own. */
export const hostRules: readonly PolicyRule[] = [
  on(own, [plural], [...reading, 'patch', 'delete']),
  on(own, [`${plural}/status`], ['get', 'patch', 'update']),
  on(own, [networkPlural], reading),
  on([''], ['configmaps', 'secrets'], reading),
  on([''], ['events'], ['create', 'patch', 'update']),
  on([''], ['nodes'], ['create', ...reading, 'patch', 'update']),
  on([''], ['nodes/status'], ['get', 'patch', 'update']),
  on(['coordination.k8s.io'], ['leases'], ['create', 'delete', 'get', 'patch', 'update']),
  on([''], ['namespaces'], ['get'], ['kube-system']),
];

const discoveryPaths = [
  '/api',
  '/api/*',
  '/apis',
  '/apis/*',
  '/healthz',
  '/livez',
  '/openapi',
  '/openapi/*',
  '/readyz',
  '/version',
  '/version/',
];

const viewRules: readonly PolicyRule[] = [
  on(
    [''],
    ['configmaps', 'events', 'pods', 'pods/log', 'pods/status', 'serviceaccounts', 'namespaces', 'namespaces/status'],
    reading,
  ),
  on(['events.k8s.io'], ['events'], reading),
  on(own, [plural, `${plural}/status`, `${plural}/log`, `${plural}/stats`, `${plural}/scale`, networkPlural], reading),
  on(['metrics.k8s.io'], ['pods'], reading),
];

const editRules: readonly PolicyRule[] = [
  on([''], [...streams.map((stream) => `pods/${stream}`), 'secrets'], reading),
  on(
    [''],
    streams.map((stream) => `pods/${stream}`),
    writing,
  ),
  on([''], ['configmaps', 'events', 'secrets', 'serviceaccounts'], writing),
  on([''], ['serviceaccounts'], ['impersonate']),
  on([''], ['serviceaccounts/token'], ['create']),
  on(own, [plural, `${plural}/scale`, networkPlural], writing),
  on(
    own,
    [...streams, 'archive'].map((stream) => `${plural}/${stream}`),
    all,
  ),
  on(['coordination.k8s.io'], ['leases'], all),
];

const adminRules: readonly PolicyRule[] = [
  on(['authorization.k8s.io'], ['localsubjectaccessreviews'], ['create']),
  on([rbacGroup], ['rolebindings', 'roles'], all),
];

interface Role {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly rules?: readonly PolicyRule[];
  /** Labels that the roles have of which it is put together. */
  readonly aggregates?: readonly string[];
}

const aggregateTo = (role: string): string => `rbac.authorization.k8s.io/aggregate-to-${role}`;

const everything: readonly PolicyRule[] = [
  on(['*'], ['*'], ['*']),
  { verbs: ['*'], nonResourceURLs: ['*'], apiGroups: [], resources: [], resourceNames: [] },
];

const roles: readonly Role[] = [
  { name: 'cluster-admin', rules: everything },
  { name: 'admin', aggregates: ['admin'] },
  { name: 'edit', aggregates: ['edit'], labels: { [aggregateTo('admin')]: 'true' } },
  { name: 'view', aggregates: ['view'], labels: { [aggregateTo('edit')]: 'true' } },
  { name: 'system:aggregate-to-admin', rules: adminRules, labels: { [aggregateTo('admin')]: 'true' } },
  { name: 'system:aggregate-to-edit', rules: editRules, labels: { [aggregateTo('edit')]: 'true' } },
  { name: 'system:aggregate-to-view', rules: viewRules, labels: { [aggregateTo('view')]: 'true' } },
  { name: 'holdfast:host', rules: hostRules },
  {
    name: 'system:discovery',
    rules: [{ verbs: ['get'], nonResourceURLs: discoveryPaths, apiGroups: [], resources: [], resourceNames: [] }],
  },
  {
    name: 'system:basic-user',
    rules: [
      on(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
      on(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
    ],
  },
  {
    name: 'system:auth-delegator',
    rules: [
      on(['authentication.k8s.io'], ['tokenreviews'], ['create']),
      on(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
    ],
  },
];

const bindings: readonly { readonly role: string; readonly group: string }[] = [
  { role: 'cluster-admin', group: mastersGroup },
  { role: 'system:basic-user', group: authenticatedGroup },
  { role: 'system:discovery', group: authenticatedGroup },
];

function metadataOf(name: string, labels: Readonly<Record<string, string>> = {}): JsonObject {
  return {
    name,
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...labels },
    annotations: { [autoupdateAnnotation]: 'true' },
  };
}

/** As they are created. */
export const builtInClusterRoles: readonly JsonObject[] = roles.map(({ name, labels, rules, aggregates }) => ({
  metadata: metadataOf(name, labels),
  ...(aggregates === undefined
    ? {}
    : {
        aggregationRule: {
          clusterRoleSelectors: aggregates.map((role) => ({ matchLabels: { [aggregateTo(role)]: 'true' } })),
        },
      }),
  rules: (rules ?? []).map(ruleToJson),
}));

export const builtInClusterRoleBindings: readonly JsonObject[] = bindings.map(({ role, group }) => ({
  metadata: metadataOf(role),
  roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name: role },
  subjects: [{ apiGroup: rbacGroup, kind: 'Group', name: group }],
}));
