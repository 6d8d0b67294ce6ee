/** Who may do what: tokens of service accounts, roles and their escalation, reviews and impersonation. */
import assert from 'node:assert/strict';
import type { Json, JsonObject } from '../../store/json.ts';
import { getPath, getString } from '../../store/json.ts';
import { Client, configMap, containers, type Fixture, metaOf, namesOf, startStore } from './fixture.ts';

const core = '/api/v1/namespaces/default';
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const merge = { 'content-type': 'application/merge-patch+json' };
const hourMs = 60 * 60 * 1000;

describe('store: access by roles', () => {
  let fixture: Fixture;
  let admin: Client;
  let offsetMs = 0;
  const opened: Client[] = [];

  before(async () => {
    fixture = await startStore({ host: 'here', now: () => Date.now() + offsetMs });
    admin = fixture.client;
  });
  after(async () => {
    for (const client of opened) await client.close();
    await fixture.close();
  });

  const as = (token: string): Client => {
    const client = new Client({ ...fixture.store, adminToken: token });
    opened.push(client);
    return client;
  };
  const tokenOf = async (name: string, spec: JsonObject = {}): Promise<string> => {
    const answer = await admin.expect(201, 'POST', `${core}/serviceaccounts/${name}/token`, { body: { spec } });
    return getString(answer, 'status', 'token') ?? '';
  };
  /** A service account that has a ClusterRole in the namespace default. */
  const account = async (name: string, ...roles: readonly string[]): Promise<Client> => {
    await admin.expect(201, 'POST', `${core}/serviceaccounts`, { body: { metadata: { name } } });
    for (const role of roles) await bind(name, role);
    return as(await tokenOf(name));
  };
  const bind = (name: string, role: string) =>
    admin.expect(201, 'POST', `${rbac}/namespaces/default/rolebindings`, {
      body: {
        metadata: { name: `${name}-${role}` },
        roleRef: { kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'ServiceAccount', name, namespace: 'default' }],
      },
    });
  const message = async (code: number, client: Client, method: string, path: string, body?: Json): Promise<string> =>
    String((await client.expect(code, method, path, body === undefined ? {} : { body })).message);

  it('lets a view token read, and nothing else', async () => {
    await admin.expect(201, 'POST', `${core}/configmaps`, { body: configMap('seen', { a: 'b' }) });
    const viewer = await account('viewer', 'view');
    await viewer.expect(200, 'GET', `${core}/configmaps/seen`);
    assert.deepEqual(namesOf(await viewer.expect(200, 'GET', `${core}/configmaps`)), ['seen']);
    await viewer.expect(200, 'GET', containers);
    await viewer.expect(200, 'GET', '/apis');
    await viewer.expect(200, 'GET', '/openapi/v3');
    const writes: readonly [method: string, path: string][] = [
      ['POST', `${core}/configmaps`],
      ['PUT', `${core}/configmaps/seen`],
      ['PATCH', `${core}/configmaps/seen`],
      ['DELETE', `${core}/configmaps/seen`],
      ['DELETE', `${core}/configmaps`],
      ['POST', containers],
      ['PATCH', `${containers}/web/status`],
      ['POST', `${containers}/web/exec`],
      ['GET', `${containers}/web/exec`],
      ['GET', `${containers}/web/archive?path=/etc`],
      ['POST', `${core}/serviceaccounts/viewer/token`],
      ['POST', `${rbac}/namespaces/default/rolebindings`],
      ['GET', `${core}/secrets`],
      ['GET', '/api/v1/configmaps'],
      ['GET', '/api/v1/namespaces/kube-system/configmaps'],
      ['GET', '/nothing'],
    ];
    const before = await admin.call('GET', `${core}/configmaps/seen`);
    for (const [method, path] of writes) {
      const status = await viewer.expect(403, method, path, { body: {} });
      assert.equal(status.reason, 'Forbidden', `${method} ${path}`);
    }
    assert.equal((await admin.call('GET', `${core}/configmaps/seen`)).text, before.text);
  });

  it('refuses in the words of Kubernetes', async () => {
    const nobody = await account('nobody');
    const who = 'User "system:serviceaccount:default:nobody"';
    const cases: readonly [method: string, path: string, message: string][] = [
      [
        'GET',
        `${core}/secrets`,
        `secrets is forbidden: ${who} cannot list resource "secrets" in API group "" in the namespace "default"`,
      ],
      [
        'GET',
        `${core}/secrets/x`,
        `secrets "x" is forbidden: ${who} cannot get resource "secrets" in API group "" in the namespace "default"`,
      ],
      [
        'GET',
        '/api/v1/secrets?watch=true',
        `secrets is forbidden: ${who} cannot watch resource "secrets" in API group "" at the cluster scope`,
      ],
      [
        'PATCH',
        `${containers}/x/status`,
        `containers.holdfast.dev "x" is forbidden: ${who} cannot patch resource "containers/status" in API group "holdfast.dev" in the namespace "default"`,
      ],
      [
        'DELETE',
        containers,
        `containers.holdfast.dev is forbidden: ${who} cannot deletecollection resource "containers" in API group "holdfast.dev" in the namespace "default"`,
      ],
      ['GET', '/metrics', `forbidden: ${who} cannot get path "/metrics"`],
    ];
    for (const [method, path, wanted] of cases) assert.equal(await message(403, nobody, method, path), wanted);
    const details = (await nobody.expect(403, 'GET', `${core}/secrets/x`)).details;
    assert.deepEqual(details, { name: 'x', kind: 'secrets' });
  });

  it('follows roles and bindings as they change', async () => {
    const editor = await account('changing');
    const role = {
      metadata: { name: 'maps' },
      rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['only'], verbs: ['get', 'create'] }],
    };
    await admin.expect(201, 'POST', `${rbac}/namespaces/default/roles`, { body: role });
    await editor.expect(403, 'GET', `${core}/configmaps/only`);
    const binding = {
      metadata: { name: 'maps' },
      roleRef: { kind: 'Role', name: 'maps' },
      subjects: [{ kind: 'Group', name: 'system:serviceaccounts:default' }],
    };
    await admin.expect(201, 'POST', `${rbac}/namespaces/default/rolebindings`, { body: binding });
    await editor.expect(404, 'GET', `${core}/configmaps/only`);
    await editor.expect(403, 'GET', `${core}/configmaps/other`);
    await editor.expect(403, 'POST', `${core}/configmaps`, { body: configMap('only') }); // a create names nothing yet
    await admin.expect(200, 'PATCH', `${rbac}/namespaces/default/roles/maps`, { body: { rules: [] }, headers: merge });
    await editor.expect(403, 'GET', `${core}/configmaps/only`);
    await admin.expect(200, 'DELETE', `${rbac}/namespaces/default/roles/maps`);
    assert.match(
      await message(403, editor, 'GET', `${core}/configmaps/only`),
      /: RBAC: role\.rbac\.authorization\.k8s\.io "maps" not found$/,
    );
    const change = { roleRef: { kind: 'ClusterRole', name: 'view' } };
    const refused = await admin.expect(422, 'PATCH', `${rbac}/namespaces/default/rolebindings/maps`, {
      body: change,
      headers: merge,
    });
    assert.match(
      String(refused.message),
      /^RoleBinding\.rbac\.authorization\.k8s\.io "maps" is invalid: roleRef: Invalid value: .*: cannot change roleRef$/,
    );
    await admin.expect(200, 'DELETE', `${rbac}/namespaces/default/rolebindings/maps`);
  });

  it('lets nobody give away what he does not have', async () => {
    const boss = await account('boss', 'admin');
    const roles = `${rbac}/namespaces/default/roles`;
    const role = (name: string, verbs: readonly string[], resources: readonly string[]) => ({
      metadata: { name },
      rules: [{ apiGroups: [''], resources, verbs }],
    });
    await boss.expect(201, 'POST', roles, { body: role('fine', ['get', 'list'], ['configmaps', 'secrets']) });
    const wanted =
      'roles.rbac.authorization.k8s.io "more" is forbidden: user "system:serviceaccount:default:boss" ' +
      '(groups=["system:serviceaccounts" "system:serviceaccounts:default" "system:authenticated"]) ' +
      'is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}';
    assert.equal(
      await message(403, boss, 'POST', roles, role('more', ['get', 'list'], ['configmaps', 'nodes'])),
      wanted,
    );
    await boss.expect(403, 'PATCH', `${roles}/fine`, {
      body: { rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] },
      headers: merge,
    });
    const binding = (name: string, kind: string, to: string) => ({
      metadata: { name },
      roleRef: { kind, name: to },
      subjects: [{ kind: 'User', name: 'somebody' }],
    });
    const bindings = `${rbac}/namespaces/default/rolebindings`;
    await boss.expect(201, 'POST', bindings, { body: binding('a', 'ClusterRole', 'edit') });
    assert.match(
      await message(403, boss, 'POST', bindings, binding('b', 'ClusterRole', 'cluster-admin')),
      /attempting to grant RBAC permissions not currently held:\n\{APIGroups:\["\*"\], Resources:\["\*"\], Verbs:\["\*"\]\}/,
    );
    await boss.expect(404, 'POST', bindings, { body: binding('c', 'Role', 'missing') });
    await boss.expect(403, 'POST', `${rbac}/clusterrolebindings`, { body: binding('d', 'ClusterRole', 'view') });
    await admin.expect(201, 'POST', roles, {
      body: {
        metadata: { name: 'binder' },
        rules: [
          {
            apiGroups: ['rbac.authorization.k8s.io'],
            resources: ['clusterroles'],
            resourceNames: ['cluster-admin'],
            verbs: ['bind'],
          },
        ],
      },
    });
    await admin.expect(201, 'POST', bindings, {
      body: {
        ...binding('binder', 'Role', 'binder'),
        subjects: [{ kind: 'ServiceAccount', name: 'boss', namespace: 'default' }],
      },
    });
    await boss.expect(201, 'POST', bindings, { body: binding('e', 'ClusterRole', 'cluster-admin') });
    const many = Array.from({ length: 101 }, (_, index) => `r${index}`);
    const asked = { body: role('huge', many, many) };
    assert.equal((await admin.expect(422, 'POST', roles, asked)).reason, 'Invalid');
  });

  it('lets nobody make a role part of others by its labels who could not write its rules', async () => {
    const labeller = await account('labeller', 'view');
    await admin.expect(201, 'POST', `${rbac}/clusterroles`, {
      body: {
        metadata: { name: 'labeller' },
        rules: [{ apiGroups: ['rbac.authorization.k8s.io'], resources: ['clusterroles'], verbs: ['patch', 'get'] }],
      },
    });
    await admin.expect(201, 'POST', `${rbac}/clusterrolebindings`, {
      body: {
        metadata: { name: 'labeller' },
        roleRef: { kind: 'ClusterRole', name: 'labeller' },
        subjects: [{ kind: 'ServiceAccount', name: 'labeller', namespace: 'default' }],
      },
    });
    const label = { metadata: { labels: { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' } } };
    const refused = await labeller.expect(403, 'PATCH', `${rbac}/clusterroles/cluster-admin`, {
      body: label,
      headers: merge,
    });
    assert.match(String(refused.message), /attempting to grant RBAC permissions not currently held/);
  });

  it('refuses tokens that are wrong, out of date, or whose account is gone', async () => {
    const goer = await account('goer', 'view');
    const token = await tokenOf('goer');
    await as(token).expect(200, 'GET', containers);
    const [head = '', body = '', signature = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
    assert.equal(claims.sub, 'system:serviceaccount:default:goer');
    assert.equal(claims.exp - claims.iat, 3600);
    const part = (value: Json): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const forged = part({
      ...claims,
      sub: 'system:serviceaccount:default:boss',
      'kubernetes.io': { ...claims['kubernetes.io'] },
    });
    const wrong = [
      `${head}.${forged}.${signature}`,
      `${part({ alg: 'none' })}.${body}.`,
      `${part({ alg: 'HS256' })}.${body}.${signature}`,
      `${head}.${body}.${signature.slice(0, -4)}AAAA`,
      `${head}.${body}.`,
      `${head}.${body}`,
      '..',
      await tokenOf('goer', { audiences: ['elsewhere'] }),
    ];
    for (const bad of wrong) {
      const status = await as(bad).expect(401, 'GET', containers);
      assert.equal(status.message, 'Unauthorized');
      assert.equal(status.reason, 'Unauthorized');
    }
    offsetMs = 2 * hourMs;
    await goer.expect(401, 'GET', containers);
    offsetMs = 0;
    await goer.expect(200, 'GET', containers);
    await admin.expect(201, 'POST', `${core}/secrets`, { body: { metadata: { name: 'bound' } } });
    const bound = as(await tokenOf('goer', { boundObjectRef: { kind: 'Secret', apiVersion: 'v1', name: 'bound' } }));
    await bound.expect(200, 'GET', containers);
    await admin.expect(200, 'DELETE', `${core}/secrets/bound`);
    await bound.expect(401, 'GET', containers);
    await admin.expect(200, 'DELETE', `${core}/serviceaccounts/goer`);
    await goer.expect(401, 'GET', containers);
    await admin.expect(201, 'POST', `${core}/serviceaccounts`, { body: { metadata: { name: 'goer' } } });
    await goer.expect(401, 'GET', containers);
  });

  it('checks what a token is asked for', async () => {
    const path = `${core}/serviceaccounts/default/token`;
    assert.match(
      await message(422, admin, 'POST', path, { spec: { expirationSeconds: 60 } }),
      /may not specify a duration less than 10 minutes/,
    );
    await admin.expect(422, 'POST', path, { body: { spec: { expirationSeconds: 1e12 } } });
    await admin.expect(422, 'POST', path, { body: { spec: { audiences: [1] } } });
    await admin.expect(404, 'POST', path, { body: { spec: { boundObjectRef: { kind: 'Secret', name: 'missing' } } } });
    await admin.expect(400, 'POST', path, { body: { spec: { boundObjectRef: { kind: 'Node', name: 'x' } } } });
    await admin.expect(404, 'POST', `${core}/serviceaccounts/missing/token`, { body: {} });
    await admin.expect(405, 'GET', path);
  });

  it('answers who one is and what one may do', async () => {
    const asker = await account('asker', 'edit');
    const me = await asker.expect(201, 'POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', { body: {} });
    assert.equal(getString(me, 'status', 'userInfo', 'username'), 'system:serviceaccount:default:asker');
    const can = async (client: Client, resource: string, verb: string): Promise<Json | undefined> => {
      const body = { spec: { resourceAttributes: { namespace: 'default', resource, verb } } };
      return getPath(
        await client.expect(201, 'POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { body }),
        ['status', 'allowed'],
      );
    };
    assert.equal(await can(asker, 'secrets', 'get'), true);
    assert.equal(await can(asker, 'namespaces', 'delete'), false);
    assert.equal(await can(admin, 'namespaces', 'delete'), true);
    const rules = await asker.expect(201, 'POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
      body: { spec: { namespace: 'default' } },
    });
    assert.match(JSON.stringify(getPath(rules, ['status', 'resourceRules'])), /selfsubjectaccessreviews.*secrets/);
    await asker.expect(403, 'POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', { body: {} });
    const other = {
      spec: {
        user: 'system:serviceaccount:default:asker',
        resourceAttributes: { namespace: 'default', resource: 'secrets', verb: 'get' },
      },
    };
    const answer = await admin.expect(201, 'POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      body: other,
    });
    assert.deepEqual(answer.status, {
      allowed: true,
      reason:
        'RBAC: allowed by RoleBinding "asker-edit/default" of ClusterRole "edit" to ServiceAccount "asker/default"',
    });
    await admin.expect(201, 'POST', '/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews', {
      body: other,
    });
    await admin.expect(400, 'POST', '/apis/authorization.k8s.io/v1/namespaces/kube-system/localsubjectaccessreviews', {
      body: other,
    });
    await admin.expect(422, 'POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      body: { spec: { user: 'x' } },
    });
    await admin.expect(405, 'GET', '/apis/authorization.k8s.io/v1/subjectaccessreviews');
    const review = { spec: { token: await tokenOf('asker') } };
    const token = await admin.expect(201, 'POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: review });
    assert.equal(getPath(token, ['status', 'authenticated']), true);
    const none = await admin.expect(201, 'POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      body: { spec: { token: 'x' } },
    });
    assert.equal(getPath(none, ['status', 'authenticated']), undefined);
  });

  it('lets one act for another who may', async () => {
    const headers = { 'impersonate-user': 'system:serviceaccount:default:viewer' };
    await admin.expect(200, 'GET', `${core}/configmaps`, { headers });
    assert.match(
      String((await admin.expect(403, 'GET', `${core}/secrets`, { headers })).message),
      /User "system:serviceaccount:default:viewer" cannot list/,
    );
    const group = { 'impersonate-user': 'x', 'impersonate-group': 'system:masters' };
    await admin.expect(200, 'GET', `${core}/secrets`, { headers: group });
    const viewer = as(await tokenOf('viewer'));
    const refused = await viewer.expect(403, 'GET', `${core}/secrets`, { headers: group });
    assert.equal(
      refused.message,
      'users "x" is forbidden: User "system:serviceaccount:default:viewer" cannot impersonate resource "users" in API group "" at the cluster scope',
    );
    await admin.expect(400, 'GET', `${core}/secrets`, { headers: { 'impersonate-group': 'a' } });
    await admin.expect(403, 'GET', `${core}/secrets`, {
      headers: { 'impersonate-user': 'x', 'impersonate-extra-__proto__': 'y' },
    });
  });

  it('keeps its own roles, and puts together those that others add to', async () => {
    const view = await admin.expect(200, 'GET', `${rbac}/clusterroles/view`);
    assert.match(JSON.stringify(view.rules), /configmaps/);
    assert.doesNotMatch(JSON.stringify(view.rules), /secrets/);
    await admin.expect(201, 'POST', `${rbac}/clusterroles`, {
      body: {
        metadata: { name: 'more-view', labels: { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' } },
        rules: [{ apiGroups: ['example.com'], resources: ['things'], verbs: ['get'] }],
      },
    });
    const watch = await admin.watch(`${rbac}/clusterroles?watch=true&fieldSelector=metadata.name=admin`);
    for (;;) {
      const { object } = await watch.next();
      if (JSON.stringify(object.rules).includes('example.com')) break;
    }
    watch.close();
    const namespace = await admin.expect(201, 'POST', '/api/v1/namespaces', { body: { metadata: { name: 'fresh' } } });
    const accounts = await admin.watch(`/api/v1/namespaces/${metaOf(namespace).name}/serviceaccounts?watch=true`);
    assert.equal(metaOf((await accounts.next()).object).name, 'default');
    accounts.close();
  });
});
