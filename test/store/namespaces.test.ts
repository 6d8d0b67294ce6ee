/** Namespaces: what holds them, what empties them, and what a restart in between changes. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import type { JsonObject } from '../../store/json.ts';
import { until } from '../until.ts';
import { type Client, configMap, container, type Fixture, makeDir, metaOf, namesOf, startStore } from './fixture.ts';

describe('store: namespaces', () => {
  let fixture: Fixture;
  let client: Client;
  let dataDir: string;
  let nowMs: number;

  before(async () => {
    dataDir = await makeDir();
    nowMs = Date.now();
    await open();
  });
  after(async () => {
    await fixture.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  async function open(): Promise<void> {
    fixture = await startStore({ dataDir, now: () => nowMs });
    client = fixture.client;
  }

  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  const make = (name: string) =>
    client.expect(201, 'POST', '/api/v1/namespaces', { body: { kind: 'Namespace', metadata: { name } } });
  const configMapsOf = (name: string) => `/api/v1/namespaces/${name}/configmaps`;
  const containersOf = (name: string) => `/apis/holdfast.dev/v1/namespaces/${name}/containers`;
  const isGone = async (path: string) => (await client.call('GET', path)).code === 404;

  it('has default and kube-system from the first start on, and never removes them', async () => {
    const first = ['default', 'kube-node-lease', 'kube-system'];
    assert.deepEqual(namesOf(await client.expect(200, 'GET', '/api/v1/namespaces')), first);
    const status = await client.expect(403, 'DELETE', '/api/v1/namespaces/default');
    assert.match(String(status.message), /namespaces "default" is forbidden: this namespace may not be deleted/);
  });

  it('gives a new one its finalizer, its phase and its label', async () => {
    const made = await make('fresh');
    assert.deepEqual(made.spec, { finalizers: ['kubernetes'] });
    assert.deepEqual(made.status, { phase: 'Active' });
    assert.deepEqual(metaOf(made).labels, { 'kubernetes.io/metadata.name': 'fresh' });
    await client.expect(422, 'POST', '/api/v1/namespaces', { body: { metadata: { name: 'a.b' } } });
  });

  it('removes one with all that is in it', async () => {
    await make('full');
    for (let index = 0; index < 300; index++) {
      await client.expect(201, 'POST', configMapsOf('full'), { body: configMap(`c${index}`) });
    }
    await client.expect(201, 'POST', containersOf('full'), { body: container('web') });
    const answer = await client.expect(200, 'DELETE', '/api/v1/namespaces/full');
    assert.deepEqual(answer.status, { phase: 'Terminating' });
    await until(() => isGone('/api/v1/namespaces/full'), 'the namespace to be gone');
    assert.deepEqual(namesOf(await client.expect(200, 'GET', configMapsOf('full'))), []);
    await make('full');
    assert.deepEqual(namesOf(await client.expect(200, 'GET', containersOf('full'))), []);
  });

  it('waits for finalizers in it, takes nothing new meanwhile, and goes on after a restart', async () => {
    await make('held');
    await client.expect(201, 'POST', containersOf('held'), {
      body: container('web', {}, { finalizers: ['holdfast.dev/host'] }),
    });
    await client.expect(201, 'POST', configMapsOf('held'), { body: configMap('c') });
    await client.expect(200, 'DELETE', '/api/v1/namespaces/held');
    await until(() => isGone(`${configMapsOf('held')}/c`), 'what nothing holds to be gone');
    const web = await client.expect(200, 'GET', `${containersOf('held')}/web`);
    assert.notEqual(metaOf(web).deletionTimestamp, undefined);
    const status = await client.expect(403, 'POST', configMapsOf('held'), { body: configMap('new') });
    assert.match(
      String(status.message),
      /unable to create new content in namespace held because it is being terminated/,
    );
    const [cause] = (status.details as JsonObject).causes as readonly JsonObject[];
    assert.equal(cause?.reason, 'NamespaceTerminating');
    await client.close();
    await fixture.store.close();
    await open();
    await client.expect(200, 'GET', '/api/v1/namespaces/held');
    await client.expect(200, 'PATCH', `${containersOf('held')}/web`, {
      body: { metadata: { finalizers: null } },
      ...merge,
    });
    await until(() => isGone('/api/v1/namespaces/held'), 'the namespace to be gone');
  });

  it('is held by finalizers of its own', async () => {
    await client.expect(201, 'POST', '/api/v1/namespaces', {
      body: { metadata: { name: 'own', finalizers: ['x.y/z'] } },
    });
    await client.expect(200, 'DELETE', '/api/v1/namespaces/own');
    const spec = async () => (await client.expect(200, 'GET', '/api/v1/namespaces/own')).spec as JsonObject;
    await until(async () => (await spec()).finalizers === undefined, 'the namespace to be found empty');
    await client.expect(200, 'PATCH', '/api/v1/namespaces/own', { body: { metadata: { finalizers: null } }, ...merge });
    assert.ok(await isGone('/api/v1/namespaces/own'));
  });

  it('goes at once when what held it goes while it is looked at', async () => {
    for (let round = 0; round < 20; round++) {
      const name = `race-${round}`;
      await make(name);
      await client.expect(201, 'POST', containersOf(name), { body: container('web', {}, { finalizers: ['x.y/z'] }) });
      await Promise.all([
        client.expect(200, 'DELETE', `/api/v1/namespaces/${name}`),
        client.expect(200, 'PATCH', `${containersOf(name)}/web`, {
          body: { metadata: { finalizers: null } },
          ...merge,
        }),
      ]);
      await until(() => isGone(`/api/v1/namespaces/${name}`), `the namespace ${name} to be gone`);
    }
  });
});
