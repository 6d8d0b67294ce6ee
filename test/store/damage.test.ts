/** Objects that the disk gives back damaged: each costs itself alone, is not taken for gone, and can be made anew. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pino } from 'pino';
import { configMap, container, containers, type Fixture, makeDir, metaOf, namesOf, startStore } from './fixture.ts';

const damages: Readonly<Record<string, (json: string) => string>> = {
  'cut-short': (json) => json.slice(0, -9),
  'no-object': () => '"hunter2"',
  'without-metadata': () => '{"apiVersion":"holdfast.dev/v1","kind":"Container"}',
  'without-revision': (json) => json.replace(/"resourceVersion":"[0-9]+"/, '"resourceVersion":"hunter2"'),
  'without-uid': (json) => json.replace(/"uid":"[^"]+"/, '"uid":null'),
  'of-another-name': (json) => json.replace('"name":"of-another-name"', '"name":"hunter2"'),
  'not-utf8': () => '\u0000\ufffd hunter2',
};
const names = Object.keys(damages);

describe('store: damaged objects', () => {
  let dataDir: string;
  let fixture: Fixture;
  const logged: string[] = [];

  before(async () => {
    dataDir = await makeDir();
    const first = await startStore({ dataDir });
    for (const name of ['well', ...names])
      await first.client.expect(201, 'POST', containers, { body: container(name) });
    const path = '/api/v1/namespaces/default/configmaps';
    await first.client.expect(201, 'POST', path, { body: configMap('torn', { a: 'b' }) });
    await first.client.expect(201, 'POST', '/api/v1/namespaces', { body: { metadata: { name: 'torn' } } });
    await first.close();
    const db = new DatabaseSync(join(dataDir, 'store.db'));
    const change = db.prepare('UPDATE objects SET json = ? WHERE key = ?');
    for (const [name, damage] of Object.entries(damages)) {
      const row = db.prepare('SELECT json FROM objects WHERE key = ?').get(`default/${name}`);
      assert.equal(change.run(damage(String(row?.json)), `default/${name}`).changes, 1, name);
    }
    for (const key of ['default/torn', '/torn']) assert.equal(change.run('{', key).changes, 1, key);
    db.close();
    const log = pino({}, { write: (line: string) => void logged.push(line) });
    fixture = await startStore({ dataDir, log });
  });
  after(async () => {
    await fixture.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('are left out of lists, and all others are served', async () => {
    assert.deepEqual(namesOf(await fixture.client.expect(200, 'GET', containers)), ['well']);
    await fixture.client.expect(200, 'GET', `${containers}/well`);
    const metrics = await fixture.metrics.metrics();
    assert.match(metrics, new RegExp(`holdfast_store_damaged_objects\\{resource="containers"\\} ${names.length}\n`));
    assert.match(metrics, /holdfast_store_damaged_objects\{resource="configmaps"\} 1\n/);
  });

  for (const name of names) {
    it(`are an error that says how to repair them, to whoever asks: ${name}`, async () => {
      const place = `${containers}/${name}`;
      const patch = {
        body: { metadata: { labels: { a: 'b' } } },
        headers: { 'content-type': 'application/merge-patch+json' },
      };
      const asked = [
        await fixture.client.call('GET', place),
        await fixture.client.call('GET', `${place}/log`),
        await fixture.client.call('PATCH', place, patch),
        await fixture.client.call('DELETE', place),
        await fixture.client.call('GET', `/api/v1/namespaces/default/pods/${name}`),
      ];
      for (const { code, body } of asked) {
        assert.deepEqual([code, body.reason], [500, 'StorageReadError'], JSON.stringify(body));
        assert.match(String(body.message), new RegExp(`"${name}" is damaged \\(.+\\); create it anew .*backup`));
      }
      assert.ok(logged.some((line) => line.includes(`"object":"default/${name}"`) && line.includes('is damaged')));
    });
  }

  it('are told of without a word of what they hold', async () => {
    const answers = await Promise.all(names.map((name) => fixture.client.call('GET', `${containers}/${name}`)));
    assert.equal([...logged, ...answers.map(({ text }) => text)].join('').includes('hunter2'), false);
  });

  it('are made anew by creating them, for good', async () => {
    const place = `${containers}/cut-short`;
    await fixture.client.expect(201, 'POST', containers, { body: container('cut-short', { image: 'new' }) });
    await fixture.client.expect(200, 'GET', place);
    await fixture.client.expect(409, 'POST', containers, { body: container('cut-short') });
    await fixture.client.expect(200, 'DELETE', place);
    await fixture.client.expect(404, 'GET', place);
    const inTorn = containers.replace('default', 'torn');
    assert.equal((await fixture.client.call('POST', inTorn, { body: container('x') })).code, 500);
    await fixture.client.expect(201, 'POST', '/api/v1/namespaces', { body: { metadata: { name: 'torn' } } });
    await fixture.client.expect(201, 'POST', inTorn, { body: container('x') });
    await fixture.close();
    fixture = await startStore({ dataDir });
    await fixture.client.expect(404, 'GET', place);
    assert.equal(metaOf(await fixture.client.expect(200, 'GET', '/api/v1/namespaces/torn')).name, 'torn');
  });
});
