/** Who may do what, as a table: the authorizer with the built-in roles, some roles and bindings, and three Containers. */
import assert from 'node:assert/strict';
import type { Attributes } from '../../store/access/attributes.ts';
import { Authorizer } from '../../store/access/authorizer.ts';
import { builtInClusterRoleBindings, builtInClusterRoles } from '../../store/access/built-in-roles.ts';
import { containerStorageKey, HostAccess } from '../../store/access/host-access.ts';
import {
  authenticated,
  hostPrefix,
  hostsGroup,
  mastersGroup,
  serviceAccountGroups,
  serviceAccountName,
} from '../../store/access/identity.ts';
import { RbacIndex } from '../../store/access/rbac-index.ts';
import {
  clusterRoleBindingKind,
  clusterRoleKind,
  rbacGroup,
  roleBindingKind,
  roleKind,
} from '../../store/access/rbac-kinds.ts';
import { getOwn, isJsonArray, type JsonObject } from '../../store/json.ts';
import { keyOf } from '../../store/memory.ts';
import type { KubeObject, ResourceKind } from '../../store/resources.ts';

const rbac = new RbacIndex();
const hosts = new HostAccess('here');

function add(kind: ResourceKind, object: JsonObject): void {
  const { metadata } = object as KubeObject; // every object below has it
  rbac.update(kind.storageKey, `${metadata.namespace ?? ''}/${metadata.name}`, object as KubeObject);
}
/** As the store puts aggregated roles together. */
const rulesOf = (...names: readonly string[]): JsonObject['rules'] =>
  builtInClusterRoles
    .filter(({ metadata }) => names.includes(String(getOwn(metadata as JsonObject, 'name'))))
    .flatMap(({ rules }) => (isJsonArray(rules) ? rules : []));
const clusterRole = (name: string, rules: JsonObject['rules']): void =>
  add(clusterRoleKind, { metadata: { name }, rules: rules ?? [] });
const bind = (name: string, role: string, subject: JsonObject, namespace?: string, kind = 'ClusterRole'): void =>
  add(namespace === undefined ? clusterRoleBindingKind : roleBindingKind, {
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: rbacGroup, kind, name: role },
    subjects: [subject],
  });
const person = (name: string): JsonObject => ({ apiGroup: rbacGroup, kind: 'User', name });

for (const role of builtInClusterRoles) add(clusterRoleKind, role);
const [view, edit] = ['system:aggregate-to-view', 'system:aggregate-to-edit'];
clusterRole('view', rulesOf(view));
clusterRole('edit', rulesOf(view, edit));
clusterRole('admin', rulesOf(view, edit, 'system:aggregate-to-admin'));
for (const binding of builtInClusterRoleBindings) add(clusterRoleBindingKind, binding);
clusterRole('one-secret', [
  { apiGroups: [''], resources: ['secrets'], resourceNames: ['key'], verbs: ['get', 'list'] },
]);
clusterRole('all-scales', [{ apiGroups: ['*'], resources: ['*/scale'], verbs: ['*'] }]);
clusterRole('metrics', [{ nonResourceURLs: ['/metrics', '/debug/*'], verbs: ['get'] }]);
add(roleKind, {
  metadata: { name: 'maps', namespace: 'a' },
  rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['*'] }],
});
bind('viewer', 'view', person('viewer'));
bind('editor', 'edit', person('editor'), 'a');
bind('admin', 'admin', person('admin'), 'a');
bind('mapper', 'maps', person('mapper'), 'a', 'Role');
bind('reader', 'one-secret', person('reader'), 'a');
bind('scaler', 'all-scales', { apiGroup: rbacGroup, kind: 'Group', name: 'scalers' });
bind('robot', 'edit', { kind: 'ServiceAccount', name: 'robot', namespace: 'a' }, 'b');
bind('robots', 'view', { apiGroup: rbacGroup, kind: 'Group', name: 'system:serviceaccounts:a' }, 'a');
bind('metrics', 'metrics', person('watcher'));
bind('dangling', 'nowhere', person('lost'));
bind('stolen', 'maps', person('thief'), 'b', 'Role');

const container = (name: string, nodeName: string | undefined, secretName: string): KubeObject => ({
  apiVersion: 'holdfast.dev/v1',
  kind: 'Container',
  metadata: { name, namespace: 'a', uid: name, creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: {
    image: 'x',
    ...(nodeName === undefined ? {} : { nodeName }),
    env: [{ name: 'K', valueFrom: { secretKeyRef: { name: secretName, key: 'k' } } }],
  },
});
hosts.update('a/mine', container('mine', 'h1', 'of-mine'));
hosts.update('a/theirs', container('theirs', 'h2', 'of-theirs'));
hosts.update('a/homeless', container('homeless', undefined, 'of-homeless'));
assert.equal(containerStorageKey, 'containers.holdfast.dev');

const who = {
  master: authenticated('someone', [mastersGroup]),
  nobody: authenticated('nobody', []),
  anonymous: { name: 'system:anonymous', uid: undefined, groups: ['system:unauthenticated'], extra: new Map() },
  viewer: authenticated('viewer', []),
  editor: authenticated('editor', []),
  admin: authenticated('admin', []),
  mapper: authenticated('mapper', []),
  reader: authenticated('reader', []),
  scaler: authenticated('anyone', ['scalers']),
  robot: authenticated(serviceAccountName('a', 'robot'), serviceAccountGroups('a')),
  'robot of another namespace': authenticated(serviceAccountName('b', 'robot'), serviceAccountGroups('b')),
  watcher: authenticated('watcher', []),
  lost: authenticated('lost', []),
  thief: authenticated('thief', []),
  h1: authenticated(`${hostPrefix}h1`, [hostsGroup]),
  here: authenticated(`${hostPrefix}here`, [hostsGroup]),
  'name of a host alone': authenticated(`${hostPrefix}h1`, []),
  'group of hosts alone': authenticated('h1', [hostsGroup]),
} as const;

/** `VERB RESOURCE[/SUBRESOURCE][.GROUP] [NAMESPACE/][NAME]`, or `VERB /PATH`. */
function parse(text: string): Attributes {
  const [verb = '', what = '', place = ''] = text.split(' ');
  if (what.startsWith('/')) return { isResource: false, verb, path: what };
  const [, resource = '', subresource = '', group = ''] = /^([^./]+)(?:\/([^.]+))?(?:\.(.+))?$/u.exec(what) ?? [];
  const [first = '', second] = place.split('/');
  const [namespace, name] = second === undefined ? ['', first] : [first, second];
  return { isResource: true, verb, group, version: 'v1', resource, subresource, namespace, name };
}

const ctr = 'containers.holdfast.dev';
const rows: readonly (readonly [user: keyof typeof who, asks: string, answer: 'may' | 'may not', reason?: RegExp])[] = [
  ['master', 'delete secrets a/key', 'may', /^$/u],
  ['master', 'impersonate users root', 'may'],
  ['master', 'get /anything', 'may'],
  ['nobody', 'get configmaps a/x', 'may not', /^$/u],
  ['nobody', 'get /api', 'may', /allowed by ClusterRoleBinding "system:discovery"/u],
  ['nobody', 'get /apis/holdfast.dev', 'may'],
  ['nobody', 'get /metrics', 'may not'],
  ['nobody', 'post /api', 'may not'],
  ['nobody', 'create selfsubjectaccessreviews.authorization.k8s.io', 'may'],
  ['nobody', 'create subjectaccessreviews.authorization.k8s.io', 'may not'],
  ['anonymous', 'get /api', 'may not'],
  ['anonymous', 'create selfsubjectreviews.authentication.k8s.io', 'may not'],
  [
    'viewer',
    'get configmaps a/x',
    'may',
    /allowed by ClusterRoleBinding "viewer" of ClusterRole "view" to User "viewer"/u,
  ],
  ['viewer', 'list configmaps a/', 'may'],
  ['viewer', 'watch configmaps', 'may'],
  ['viewer', `get containers/log.holdfast.dev a/x`, 'may'],
  ['viewer', 'get secrets a/key', 'may not'],
  ['viewer', 'list secrets a/', 'may not'],
  ['viewer', `create ${ctr} a/`, 'may not'],
  ['viewer', `update ${ctr} a/x`, 'may not'],
  ['viewer', `patch ${ctr} a/x`, 'may not'],
  ['viewer', `delete ${ctr} a/x`, 'may not'],
  ['viewer', `deletecollection ${ctr} a/`, 'may not'],
  ['viewer', 'patch containers/scale.holdfast.dev a/x', 'may not'],
  ['viewer', 'update containers/status.holdfast.dev a/x', 'may not'],
  ['viewer', 'create containers/exec.holdfast.dev a/x', 'may not'],
  ['viewer', 'get containers/exec.holdfast.dev a/x', 'may not'],
  ['viewer', 'get pods/exec a/x', 'may not'],
  ['viewer', 'create serviceaccounts/token a/robot', 'may not'],
  ['viewer', 'get customresourcedefinitions.apiextensions.k8s.io x', 'may not'],
  ['editor', `create ${ctr} a/`, 'may'],
  ['editor', 'get secrets a/key', 'may'],
  ['editor', 'create serviceaccounts/token a/robot', 'may'],
  ['editor', `create ${ctr} b/`, 'may not'],
  ['editor', `list ${ctr}`, 'may not'],
  ['editor', 'create rolebindings.rbac.authorization.k8s.io a/', 'may not'],
  ['editor', 'update containers/status.holdfast.dev a/x', 'may not'],
  ['editor', 'get nodes h1', 'may not'],
  ['admin', 'create rolebindings.rbac.authorization.k8s.io a/', 'may'],
  ['admin', 'create clusterrolebindings.rbac.authorization.k8s.io', 'may not'],
  ['admin', 'create rolebindings.rbac.authorization.k8s.io b/', 'may not'],
  ['mapper', 'deletecollection configmaps a/', 'may', /RoleBinding "mapper\/a" of Role "maps"/u],
  ['mapper', 'get configmaps b/x', 'may not'],
  ['mapper', 'list configmaps', 'may not'],
  ['mapper', 'get configmaps/status a/x', 'may not'],
  ['reader', 'get secrets a/key', 'may'],
  ['reader', 'list secrets a/key', 'may'],
  ['reader', 'get secrets a/other', 'may not'],
  ['reader', 'list secrets a/', 'may not'],
  ['reader', 'watch secrets a/key', 'may not'],
  ['scaler', 'patch containers/scale.holdfast.dev a/x', 'may', /to Group "scalers"/u],
  ['scaler', 'update widgets/scale.example.com b/x', 'may'],
  ['scaler', 'patch containers.holdfast.dev a/x', 'may not'],
  ['robot', `create ${ctr} b/`, 'may', /to ServiceAccount "robot\/a"/u],
  ['robot', `create ${ctr} a/`, 'may not'],
  ['robot', `get ${ctr} a/x`, 'may', /to Group "system:serviceaccounts:a"/u],
  ['robot of another namespace', `create ${ctr} b/`, 'may not'],
  ['robot of another namespace', `get ${ctr} a/x`, 'may not'],
  ['watcher', 'get /metrics', 'may'],
  ['watcher', 'get /debug/pprof', 'may'],
  ['watcher', 'get /metrics/x', 'may not'],
  ['watcher', 'get metrics a/x', 'may not'],
  ['lost', 'get configmaps a/x', 'may not', /^RBAC: clusterrole\.rbac\.authorization\.k8s\.io "nowhere" not found$/u],
  // A Role is of its own namespace: the binding in b means a role of b.
  ['thief', 'get configmaps a/x', 'may not'],
  ['thief', 'get configmaps b/x', 'may not', /role\.rbac\.authorization\.k8s\.io "maps" not found/u],
  ['h1', `get ${ctr} a/mine`, 'may'],
  ['h1', 'patch containers/status.holdfast.dev a/mine', 'may'],
  [
    'h1',
    'patch containers/status.holdfast.dev a/theirs',
    'may not',
    /^no relationship found between host 'h1' and this object$/u,
  ],
  ['h1', `get ${ctr} a/homeless`, 'may not'],
  ['h1', `get ${ctr} a/gone`, 'may'],
  ['h1', 'patch containers/status.holdfast.dev a/gone', 'may'],
  ['h1', 'get secrets a/gone', 'may not'],
  ['h1', `create ${ctr} a/`, 'may not'],
  ['h1', 'patch containers/scale.holdfast.dev a/mine', 'may not'],
  ['h1', 'get containers/exec.holdfast.dev a/mine', 'may not'],
  ['h1', 'get secrets a/of-mine', 'may'],
  ['h1', 'get secrets a/of-theirs', 'may not', /no relationship/u],
  ['h1', 'get secrets b/of-mine', 'may not'],
  ['h1', 'update secrets a/of-mine', 'may not', /^$/u],
  ['h1', 'get configmaps a/of-mine', 'may not'],
  ['h1', 'patch nodes h1', 'may'],
  ['h1', 'patch nodes h2', 'may not', /^host 'h1' cannot touch node 'h2'$/u],
  ['h1', 'delete nodes h1', 'may not'],
  ['h1', 'update leases.coordination.k8s.io kube-node-lease/h1', 'may'],
  ['h1', 'update leases.coordination.k8s.io kube-node-lease/h2', 'may not', /can only access node lease/u],
  ['h1', 'update leases.coordination.k8s.io a/h1', 'may not', /kube-node-lease/u],
  ['h1', 'create events a/', 'may'],
  ['h1', 'list events a/', 'may not'],
  ['h1', 'get namespaces a', 'may not'],
  ['h1', 'create serviceaccounts/token a/robot', 'may not'],
  ['h1', 'get clusterroles.rbac.authorization.k8s.io view', 'may not'],
  ['h1', 'get /api', 'may'],
  ['here', `get ${ctr} a/homeless`, 'may'],
  ['here', 'get secrets a/of-homeless', 'may'],
  ['here', 'get secrets a/of-mine', 'may not'],
  ['name of a host alone', `get ${ctr} a/mine`, 'may not'],
  ['name of a host alone', 'get secrets a/of-mine', 'may not'],
  ['group of hosts alone', 'get secrets a/of-mine', 'may not'],
];

describe('Authorizer', () => {
  const authorizer = new Authorizer(rbac, hosts);
  for (const [user, asks, answer, reason] of rows) {
    it(`${user} ${answer} ${asks}`, () => {
      const decision = authorizer.authorize(who[user], parse(asks));
      assert.equal(decision.isAllowed, answer === 'may', decision.reason);
      if (reason !== undefined) assert.match(decision.reason, reason);
    });
  }

  const entryOf = (object: KubeObject, revision = 0) => ({
    key: keyOf(object.metadata.namespace, object.metadata.name),
    revision,
    object,
  });

  it('shows no host what has none, and tells every host what is gone', () => {
    const index = new HostAccess(undefined);
    const asks = (): boolean => index.authorize('h1', parse(`get ${ctr} a/lost`)).isAllowed;
    index.update('a/lost', container('lost', undefined, ''));
    assert.equal(asks(), false);
    index.update('a/lost', container('lost', 'h2', ''));
    assert.equal(asks(), false);
    index.update('a/lost', undefined);
    assert.equal(asks(), true);
  });

  it('judges a container by what it says, and reads it only where it is not the one that is known', () => {
    const index = new HostAccess('here');
    const kind = { storageKey: containerStorageKey } as ResourceKind; // it reads no more of it
    const seenBy = (host: string) => index.authorize(host, parse(`list ${ctr}`)).visibility;
    const at = (revision: string, host: string): KubeObject => {
      const object = container('moved', host, '');
      return { ...object, metadata: { ...object.metadata, resourceVersion: revision } };
    };
    index.update('a/moved', at('7', 'h1'));
    index.update('a/moved', at('8', 'h1'));
    const known = {
      key: 'a/moved',
      revision: 8,
      get object(): KubeObject {
        throw new Error('it need not be read');
      },
    };
    assert.deepEqual([seenBy('h1')?.(kind, known), seenBy('h2')?.(kind, known)], [true, false]);
    const next = entryOf(at('9', 'h2'), 9);
    assert.deepEqual([seenBy('h1')?.(kind, next), seenBy('h2')?.(kind, next)], [false, true]);
  });

  it('shows a host of a list only what is its own', () => {
    const kindOf = (group: string, plural: string): ResourceKind =>
      ({ ...roleKind, group, plural, storageKey: group === '' ? plural : `${plural}.${group}` }) as ResourceKind;
    const { isAllowed, visibility } = authorizer.authorize(who.h1, parse(`list ${ctr}`));
    assert.ok(isAllowed && visibility !== undefined);
    const seen = [container('mine', 'h1', ''), container('theirs', 'h2', ''), container('homeless', undefined, '')]
      .filter((object) => visibility(kindOf('holdfast.dev', 'containers'), entryOf(object)))
      .map(({ metadata }) => metadata.name);
    assert.deepEqual(seen, ['mine']);
    const secrets = authorizer.authorize(who.h1, parse('list secrets a/')).visibility;
    const secret = (name: string) => ({ ...container(name, undefined, ''), kind: 'Secret' });
    assert.deepEqual(
      ['of-mine', 'of-theirs', 'other'].filter((name) => secrets?.(kindOf('', 'secrets'), entryOf(secret(name)))),
      ['of-mine'],
    );
  });

  it('forgets what a binding gave when it is gone', () => {
    const index = new RbacIndex();
    const key = '/gone';
    const rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }];
    const role = { metadata: { name: 'gone' }, rules } as unknown as KubeObject; // the index reads no more of it
    const binding = {
      metadata: { name: 'gone' },
      roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name: 'gone' },
      subjects: [person('someone')],
    } as unknown as KubeObject; // as above
    const may = (): boolean =>
      new Authorizer(index, hosts).authorize(authenticated('someone', []), parse('get secrets a/key')).isAllowed;
    assert.equal(may(), false);
    index.update(clusterRoleKind.storageKey, key, role);
    assert.equal(may(), false);
    index.update(clusterRoleBindingKind.storageKey, key, binding);
    assert.equal(may(), true);
    index.update(clusterRoleBindingKind.storageKey, key, undefined);
    assert.equal(may(), false);
  });
});
