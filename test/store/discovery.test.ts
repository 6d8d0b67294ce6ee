/** Discovery and OpenAPI: what clients read to learn which kinds there are. */
import assert from 'node:assert/strict';
import { getPath, getString, isJsonArray, isJsonObject, type Json, type JsonObject } from '../../store/json.ts';
import { type Client, type Fixture, startStore } from './fixture.ts';

describe('store: discovery', () => {
  let fixture: Fixture;
  let client: Client;

  before(async () => {
    fixture = await startStore();
    client = fixture.client;
  });
  after(() => fixture.close());

  it('lists groups, versions and resources', async () => {
    const groups = (await client.expect(200, 'GET', '/apis')).groups as readonly JsonObject[];
    const preferred = new Map(
      groups.map((group) => [group.name, getString(group, 'preferredVersion', 'groupVersion')]),
    );
    assert.equal(preferred.get('holdfast.dev'), 'holdfast.dev/v1');
    assert.equal(preferred.get('apiextensions.k8s.io'), 'apiextensions.k8s.io/v1');
    assert.equal((await client.expect(200, 'GET', '/apis/holdfast.dev')).kind, 'APIGroup');
    assert.deepEqual((await client.expect(200, 'GET', '/api')).versions, ['v1']);
    const core = (await client.expect(200, 'GET', '/api/v1')).resources as readonly JsonObject[];
    const names = core.map(({ name }) => name);
    const wanted = [
      'configmaps',
      'events',
      'namespaces',
      'namespaces/status',
      'namespaces/finalize',
      'secrets',
      'pods',
      'pods/status',
      'pods/log',
      'pods/exec',
      'pods/attach',
      'pods/portforward',
      'pods/stats',
      'pods/archive',
    ];
    assert.deepEqual(
      wanted.filter((name) => !names.includes(name)),
      [],
    );
    const own = (await client.expect(200, 'GET', '/apis/holdfast.dev/v1')).resources as readonly JsonObject[];
    const [containers, ...others] = own;
    const below = ['status', 'log', 'exec', 'attach', 'portforward', 'stats', 'archive'];
    assert.deepEqual(
      others.map(({ name }) => name),
      [...below.map((name) => `containers/${name}`), 'networks'],
    );
    assert.deepEqual(containers?.shortNames, ['ctr']);
    assert.deepEqual(containers?.categories, ['all']);
    assert.ok(isJsonArray(containers?.verbs) && containers.verbs.includes('watch'));
  });

  it('gives all of it in one answer to those who ask, and none of it twice', async () => {
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
    const answer = await client.call('GET', '/apis', { headers: { accept } });
    assert.equal(
      answer.headers['content-type'],
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
    );
    assert.equal(answer.body.apiVersion, 'apidiscovery.k8s.io/v2');
    assert.match(answer.text, /"resource":"containers".*"subresource":"status"/);
    const tag = String(answer.headers.etag);
    const again = await client.call('GET', '/apis', { headers: { accept, 'if-none-match': tag } });
    assert.equal(again.code, 304);
    assert.equal(again.text, '');
  });

  /** Everything that any `$ref` in a document points to. */
  function referencesIn(value: Json | undefined): readonly string[] {
    if (isJsonArray(value)) return value.flatMap(referencesIn);
    if (!isJsonObject(value)) return [];
    const own = typeof value.$ref === 'string' ? [value.$ref] : [];
    return [...own, ...Object.values(value).flatMap(referencesIn)];
  }

  it('publishes OpenAPI v2 whose references all lead somewhere', async () => {
    const document = await client.expect(200, 'GET', '/openapi/v2', { headers: { accept: 'application/json' } });
    const references = referencesIn(document);
    assert.ok(references.length > 20);
    for (const reference of references) {
      const found = getPath(document, reference.replace(/^#\//, '').split('/'));
      assert.ok(isJsonObject(found), reference);
    }
    const kind = getPath(document, ['definitions', 'dev.holdfast.v1.Container', 'x-kubernetes-group-version-kind']);
    assert.deepEqual(kind, [{ group: 'holdfast.dev', kind: 'Container', version: 'v1' }]);
  });

  it('publishes OpenAPI v3 under addresses that change with the content', async () => {
    const index = await client.expect(200, 'GET', '/openapi/v3');
    const paths = Object.entries(index.paths as JsonObject);
    const names = new Set(paths.map(([path]) => path));
    for (const name of [
      'api/v1',
      'apis/apiextensions.k8s.io/v1',
      'apis/coordination.k8s.io/v1',
      'apis/holdfast.dev/v1',
    ])
      assert.ok(names.has(name), name);
    for (const [, entry] of paths) {
      const address = getString(entry, 'serverRelativeURL') ?? '';
      assert.match(address, /^\/openapi\/v3\/apis?\/.*\?hash=[0-9A-F]{128}$/);
      const document = await client.expect(200, 'GET', address);
      assert.equal(document.openapi, '3.0.0');
      for (const reference of referencesIn(document)) {
        assert.ok(isJsonObject(getPath(document, reference.replace(/^#\//, '').split('/'))), reference);
      }
    }
    await client.expect(404, 'GET', '/openapi/v3/apis/other.dev/v1');
  });

  it('publishes OpenAPI as protobuf under both names that clients use, and 406 under others', async () => {
    for (const accept of [
      'application/com.github.proto-openapi.spec.v2@v1.0+protobuf',
      'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
    ]) {
      const answer = await client.call('GET', '/openapi/v2', { headers: { accept } });
      assert.equal(answer.headers['content-type'], 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf');
      assert.ok(answer.text.startsWith('\n\x032.0'), 'begins with the field swagger');
    }
    await client.expect(406, 'GET', '/openapi/v2', { headers: { accept: 'image/png' } });
  });
});
