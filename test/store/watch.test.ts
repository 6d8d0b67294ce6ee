/** Lists in pages and watches over HTTPS: from where they begin, what they show, and how they end. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { connect, type TLSSocket } from 'node:tls';
import { getString, type JsonObject } from '../../store/json.ts';
import { until } from '../until.ts';
import {
  type Client,
  configMap,
  container,
  containers,
  type Fixture,
  metaOf,
  namesOf,
  startStore,
  type WatchEvent,
} from './fixture.ts';

describe('store: lists and watches', () => {
  let fixture: Fixture;
  let client: Client;

  beforeEach(async () => {
    fixture = await startStore();
    client = fixture.client;
  });
  afterEach(async () => {
    await fixture.close();
    await rm(fixture.dataDir, { recursive: true, force: true });
  });

  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  const create = (name: string, labels: JsonObject = {}) =>
    client.expect(201, 'POST', containers, { body: container(name, {}, { labels }) });
  const label = (name: string, labels: JsonObject) =>
    client.expect(200, 'PATCH', `${containers}/${name}`, { body: { metadata: { labels } }, ...merge });
  const revisionOf = (object: JsonObject) => String(metaOf(object).resourceVersion);
  const brief = ({ type, object }: WatchEvent) => `${type} ${String(metaOf(object).name)}`;

  describe('lists', () => {
    it('are ordered, and tell the revision they were taken at', async () => {
      for (const name of ['b', 'a', 'c']) await create(name);
      const list = await client.expect(200, 'GET', containers);
      assert.equal(list.kind, 'ContainerList');
      assert.equal(list.apiVersion, 'holdfast.dev/v1');
      assert.deepEqual(namesOf(list), ['a', 'b', 'c']);
      assert.equal(revisionOf(list), revisionOf(await client.expect(200, 'GET', `${containers}/c`)));
    });

    it('come in pages that show one moment, whatever is written in between', async () => {
      for (const name of ['a', 'b', 'c', 'd', 'e']) await create(name);
      const first = await client.expect(200, 'GET', `${containers}?limit=2`);
      assert.deepEqual(namesOf(first), ['a', 'b']);
      assert.equal(metaOf(first).remainingItemCount, 3);
      await client.expect(200, 'DELETE', `${containers}/c`);
      await create('bb');
      await label('d', { new: 'yes' });
      const next = `${containers}?limit=2&continue=${String(metaOf(first).continue)}`;
      const second = await client.expect(200, 'GET', next);
      assert.deepEqual(namesOf(second), ['c', 'd']);
      assert.equal(revisionOf(second), revisionOf(first));
      assert.equal(metaOf((second.items as readonly JsonObject[])[1] ?? {}).labels, undefined);
      const third = await client.expect(200, 'GET', `${containers}?continue=${String(metaOf(second).continue)}`);
      assert.deepEqual(namesOf(third), ['e']);
      assert.equal(metaOf(third).continue, undefined);
      assert.deepEqual(namesOf(await client.expect(200, 'GET', containers)), ['a', 'b', 'bb', 'd', 'e']);
    });

    it('show an exact revision', async () => {
      const a = await create('a');
      await create('b');
      const path = `${containers}?resourceVersionMatch=Exact&resourceVersion=${revisionOf(a)}`;
      assert.deepEqual(namesOf(await client.expect(200, 'GET', path)), ['a']);
      await client.expect(422, 'GET', `${containers}?resourceVersionMatch=Exact&resourceVersion=0`);
      const match = `${containers}?resourceVersionMatch=NotOlderThan&resourceVersion=${revisionOf(a)}`;
      assert.deepEqual(namesOf(await client.expect(200, 'GET', match)), ['a', 'b']);
    });

    it('select by labels and fields, in one namespace or in all', async () => {
      await create('a', { tier: 'front' });
      await create('b', { tier: 'back' });
      const other = '/apis/holdfast.dev/v1/namespaces/kube-system/containers';
      await client.expect(201, 'POST', other, { body: container('a', {}, { labels: { tier: 'front' } }) });
      const all = '/apis/holdfast.dev/v1/containers';
      const names = async (path: string) => namesOf(await client.expect(200, 'GET', path));
      assert.deepEqual(await names(`${containers}?labelSelector=tier%3Dfront`), ['a']);
      assert.deepEqual(await names(`${all}?labelSelector=tier%3Dfront`), ['a', 'a']);
      assert.deepEqual(await names(`${all}?fieldSelector=metadata.namespace%3Dkube-system`), ['a']);
      assert.deepEqual(await names(`${all}?fieldSelector=metadata.name%3Db`), ['b']);
    });

    it('are tables, or metadata only, for those who ask', async () => {
      await create('a');
      const table = { headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' } };
      const list = await client.expect(200, 'GET', containers, table);
      assert.equal(list.kind, 'Table');
      const columns = (list.columnDefinitions as readonly JsonObject[]).map(({ name }) => name);
      assert.deepEqual(columns.slice(0, 3), ['Name', 'STATE', 'REASON']);
      assert.equal(columns.at(-1), 'AGE');
      const [row] = list.rows as readonly JsonObject[];
      const cells = row?.cells as readonly unknown[];
      assert.equal(cells[0], 'a');
      assert.equal(cells[1], null);
      assert.match(String(cells.at(-1)), /^\d+s$/);
      assert.equal(getString(row, 'object', 'kind'), 'PartialObjectMetadata');
      const whole = await client.expect(200, 'GET', `${containers}/a?includeObject=Object`, table);
      assert.equal(getString((whole.rows as readonly JsonObject[])[0], 'object', 'kind'), 'Container');
      const none = await client.expect(200, 'GET', `${containers}?includeObject=None`, table);
      assert.deepEqual(Object.keys((none.rows as readonly JsonObject[])[0] ?? {}), ['cells']);
      await client.expect(400, 'GET', `${containers}?includeObject=Some`, table);
      const metadata = { headers: { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' } };
      const partial = await client.expect(200, 'GET', containers, metadata);
      assert.equal(partial.kind, 'PartialObjectMetadataList');
      assert.deepEqual(Object.keys((partial.items as readonly JsonObject[])[0] ?? {}), [
        'kind',
        'apiVersion',
        'metadata',
      ]);
    });
  });

  describe('watches', () => {
    it('show what there is, and then what happens', async () => {
      await create('a');
      const watch = await client.watch(`${containers}?watch=true`);
      assert.equal(brief(await watch.next()), 'ADDED a');
      await create('b');
      await label('a', { x: 'y' });
      await client.expect(200, 'DELETE', `${containers}/b`);
      assert.deepEqual([brief(await watch.next()), brief(await watch.next())], ['ADDED b', 'MODIFIED a']);
      const deleted = await watch.next();
      assert.equal(brief(deleted), 'DELETED b');
      assert.ok(
        Number(revisionOf(deleted.object)) > Number(revisionOf(await client.expect(200, 'GET', `${containers}/a`))),
      );
      watch.close();
    });

    it('go on from a revision, without what came before it', async () => {
      await create('a');
      const list = await client.expect(200, 'GET', containers);
      await create('b');
      await client.expect(200, 'DELETE', `${containers}/a`);
      const watch = await client.watch(`${containers}?watch=1&resourceVersion=${revisionOf(list)}`);
      assert.deepEqual([brief(await watch.next()), brief(await watch.next())], ['ADDED b', 'DELETED a']);
      watch.close();
    });

    it('show objects that come into a selector and leave it', async () => {
      await create('a', { on: 'no' });
      const watch = await client.watch(`${containers}?watch=1&labelSelector=on%3Dyes`);
      await label('a', { on: 'yes' });
      const added = await watch.next();
      assert.equal(brief(added), 'ADDED a');
      await label('a', { other: 'x' });
      assert.equal(brief(await watch.next()), 'MODIFIED a');
      const left = await label('a', { on: 'no' });
      const deleted = await watch.next();
      assert.equal(brief(deleted), 'DELETED a');
      assert.equal((metaOf(deleted.object).labels as JsonObject).on, 'yes');
      assert.equal(revisionOf(deleted.object), revisionOf(left));
      watch.close();
    });

    it('keep to their namespace, or to one object', async () => {
      const other = '/apis/holdfast.dev/v1/namespaces/kube-system/containers';
      const one = await client.watch(`${containers}?watch=1&fieldSelector=metadata.name%3Db`);
      const all = await client.watch('/apis/holdfast.dev/v1/containers?watch=1');
      await client.expect(201, 'POST', other, { body: container('b') });
      await create('a');
      await create('b');
      assert.deepEqual(
        [brief(await all.next()), brief(await all.next()), brief(await all.next())],
        ['ADDED b', 'ADDED a', 'ADDED b'],
      );
      assert.equal(metaOf((await one.next()).object).namespace, 'default');
      for (const watch of [one, all]) watch.close();
    });

    it('answer 410 to a revision that is not reached', async () => {
      const watch = await client.watch(`${containers}?watch=1&resourceVersion=99999999`);
      const { type, object } = await watch.next();
      assert.equal(type, 'ERROR');
      assert.equal(object.code, 410);
      assert.equal(object.reason, 'Expired');
      await assert.rejects(watch.next(), /ended/);
    });

    it('begin at the present after a restart: older revisions are answered 410, the last one goes on', async () => {
      const a = await create('a');
      const list = await client.expect(200, 'GET', containers);
      // Nothing of containers is written after this, so a client that saw the list has missed nothing.
      await client.expect(201, 'POST', '/api/v1/namespaces/default/configmaps', { body: configMap('c') });
      await client.close();
      await fixture.store.close();
      fixture = await startStore({ dataDir: fixture.dataDir });
      client = fixture.client;
      const goesOn = await client.watch(`${containers}?watch=1&resourceVersion=${revisionOf(list)}`);
      await label('a', { x: 'y' });
      assert.equal(brief(await goesOn.next()), 'MODIFIED a');
      goesOn.close();
      const old = await client.watch(`${containers}?watch=1&resourceVersion=${Number(revisionOf(a)) - 1}`);
      assert.equal((await old.next()).object.code, 410);
    });

    it('end after the time asked for, with a bookmark of the present revision', async () => {
      const watch = await client.watch(`${containers}?watch=1&timeoutSeconds=5&allowWatchBookmarks=true`);
      const made = await client.expect(201, 'POST', '/api/v1/namespaces/default/configmaps', { body: configMap('c') });
      const { type, object } = await watch.next();
      assert.equal(type, 'BOOKMARK');
      assert.deepEqual(object, {
        kind: 'Container',
        apiVersion: 'holdfast.dev/v1',
        metadata: { resourceVersion: revisionOf(made), creationTimestamp: null },
      });
      await assert.rejects(watch.next(), /ended/);
    });

    it('mark the end of the first objects for those who ask for sendInitialEvents', async () => {
      await create('a');
      const ask = 'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
      const watch = await client.watch(`${containers}?${ask}&resourceVersion=1`);
      assert.equal(brief(await watch.next()), 'ADDED a');
      const { type, object } = await watch.next();
      assert.equal(type, 'BOOKMARK');
      assert.deepEqual(metaOf(object).annotations, { 'k8s.io/initial-events-end': 'true' });
      await create('b');
      assert.equal(brief(await watch.next()), 'ADDED b');
      watch.close();
    });

    it('show objects without managedFields to those who ask for that, as lists and reads do, and whole to all others', async () => {
      const short = 'omitManagedFields=true';
      const [whole, spare] = [
        await client.watch(`${containers}?watch=1`),
        await client.watch(`${containers}?watch=1&${short}`),
      ];
      const made = await create('a', { x: 'y' });
      const { managedFields, ...metadata } = metaOf(made);
      assert.ok(Array.isArray(managedFields) && managedFields.length === 1);
      const lean = { ...made, metadata };
      const later = await client.watch(`${containers}?watch=1&${short}`);
      assert.deepEqual((await whole.next()).object, made);
      assert.deepEqual((await spare.next()).object, lean);
      assert.deepEqual((await later.next()).object, lean);
      assert.deepEqual((await client.expect(200, 'GET', `${containers}?${short}`)).items, [lean]);
      assert.deepEqual((await client.expect(200, 'GET', containers)).items, [made]);
      assert.deepEqual(await client.expect(200, 'GET', `${containers}/a?${short}`), lean);
      assert.deepEqual(await client.expect(200, 'GET', `${containers}/a?omitManagedFields=false`), made);
      for (const as of ['PartialObjectMetadataList', 'Table']) {
        const headers = { accept: `application/json;as=${as};v=v1;g=meta.k8s.io` };
        const long = JSON.stringify(await client.expect(200, 'GET', containers, { headers }));
        const without = JSON.stringify(await client.expect(200, 'GET', `${containers}?${short}`, { headers }));
        assert.deepEqual([long.includes('managedFields'), without.includes('managedFields')], [true, false], as);
      }
      // Of a built-in kind, whose items say no kind in a list.
      const map = await client.expect(201, 'POST', '/api/v1/namespaces/default/configmaps', { body: configMap('c') });
      const { managedFields: _, ...mapMetadata } = metaOf(map);
      const { kind: _kind, apiVersion: _version, ...data } = map;
      const maps = await client.expect(200, 'GET', `/api/v1/namespaces/default/configmaps?${short}`);
      assert.deepEqual(maps.items, [{ ...data, metadata: mapMetadata }]);
      await client.expect(200, 'DELETE', `${containers}/a`);
      const [gone, goneBrief] = [(await whole.next()).object, await spare.next()];
      assert.ok(metaOf(gone).managedFields !== undefined);
      assert.deepEqual([goneBrief.type, metaOf(goneBrief.object).managedFields], ['DELETED', undefined]);
      for (const watch of [whole, spare, later]) watch.close();
    });

    it('show tables whose first names the columns', async () => {
      await create('a');
      await create('b');
      const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
      const watch = await client.watch(`${containers}?watch=1`, { accept });
      const [first, second] = [(await watch.next()).object, (await watch.next()).object];
      assert.equal(first.kind, 'Table');
      assert.ok((first.columnDefinitions as readonly unknown[]).length > 5);
      assert.deepEqual(second.columnDefinitions, []);
      watch.close();
    });

    it('tell many watchers the same', async () => {
      const watches = await Promise.all(Array.from({ length: 30 }, () => client.watch(`${containers}?watch=1`)));
      for (let index = 0; index < 10; index++) await create(`n${index}`);
      for (const watch of watches) {
        for (let index = 0; index < 10; index++) assert.equal(brief(await watch.next()), `ADDED n${index}`);
        watch.close();
      }
      const { metrics } = fixture;
      const longRunning = /apiserver_longrunning_requests\{verb="WATCH",resource="containers"\} (\d+)/;
      await until(async () => longRunning.exec(await metrics.metrics())?.[1] === '0', 'all watches to be counted out');
    });

    it('cut off a client that does not read, and serve the others', async () => {
      const path = '/api/v1/namespaces/default/configmaps';
      await client.expect(201, 'POST', path, { body: configMap('big') });
      const { hostname, port } = new URL(fixture.store.url);
      const socket = connect({ host: hostname, port: Number(port), ca: fixture.store.caCertificate });
      const headers = `Host: ${hostname}\r\nAuthorization: Bearer ${fixture.store.adminToken}`;
      socket.write(`GET ${path}?watch=1 HTTP/1.1\r\n${headers}\r\n\r\n`);
      await new Promise((resolve) => socket.once('data', resolve));
      socket.pause();
      const gone = new Promise<void>((resolve) => {
        socket.once('close', () => resolve());
        socket.once('error', () => resolve());
      });
      const lively = await client.watch(`${path}?watch=1`);
      const longRunning = /apiserver_longrunning_requests\{verb="WATCH",resource="configmaps"\} (\d+)/;
      const isOneLeft = async () => longRunning.exec(await fixture.metrics.metrics())?.[1] === '1';
      const seen: string[] = [];
      const reading = (async () => {
        for await (const { type } of lively) seen.push(type);
      })().catch(() => {});
      let writes = 0;
      while (!(await isOneLeft())) {
        assert.ok(writes++ < 200, 'the client that does not read is still served');
        const body = { data: { a: 'x'.repeat(500_000), n: String(writes) } };
        await client.expect(200, 'PATCH', `${path}/big`, { body, ...merge });
      }
      await until(() => seen.length === writes + 1, 'the other watcher to have seen every change');
      socket.resume();
      await gone;
      lively.close();
      await reading;
    });

    it('cut off those furthest behind where many do not read', async () => {
      const watchQueues = { perWatcher: 64 * 1024 * 1024, allWatchers: 2 * 1024 * 1024 };
      const small = await startStore({ watchQueues });
      const sockets: TLSSocket[] = [];
      try {
        const path = '/api/v1/namespaces/default/configmaps';
        await small.client.expect(201, 'POST', path, { body: configMap('big') });
        const { hostname, port } = new URL(small.store.url);
        const headers = `Host: ${hostname}\r\nAuthorization: Bearer ${small.store.adminToken}`;
        for (let count = 0; count < 4; count++) {
          const socket = connect({ host: hostname, port: Number(port), ca: small.store.caCertificate });
          socket.on('error', () => {}); // it is cut off
          sockets.push(socket);
          socket.write(`GET ${path}?watch=1 HTTP/1.1\r\n${headers}\r\n\r\n`);
          await new Promise((resolve) => socket.once('data', resolve));
          socket.pause();
        }
        const lively = await small.client.watch(`${path}?watch=1`);
        const cutOff = async (): Promise<number> => {
          const found = /apiserver_terminated_watchers_total\{resource="configmaps"\} (\d+)/u;
          return Number(found.exec(await small.metrics.metrics())?.[1] ?? 0);
        };
        const seen: string[] = [];
        const reading = (async () => {
          for await (const { type } of lively) seen.push(type);
        })().catch(() => {});
        let writes = 0;
        // Each is far from its own limit: only what they hold together is too much.
        while ((await cutOff()) < 3) {
          assert.ok(writes++ < 400, `only ${await cutOff()} of four that do not read were cut off`);
          const body = { data: { a: 'x'.repeat(100_000), n: String(writes) } };
          await small.client.expect(200, 'PATCH', `${path}/big`, { body, ...merge });
          await new Promise((resolve) => setTimeout(resolve, 20)); // those cut off must have been behind for a second
        }
        await until(() => seen.length === writes + 1, 'the watcher that reads to have seen every change');
        lively.close();
        await reading;
      } finally {
        for (const socket of sockets) socket.destroy();
        await small.close();
      }
    });

    it('end when the store closes', async () => {
      const watch = await client.watch(`${containers}?watch=1`);
      await fixture.store.close();
      await assert.rejects(watch.next(), /ended/);
    });
  });
});
