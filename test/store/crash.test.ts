/** What an answer promises when the process is killed, and when the disk is full: real processes, a real small disk. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { askStore, textOf } from '../../store/index.ts';
import { getString, type JsonObject } from '../../store/json.ts';
import { type Client, container, containers, type Fixture, metaOf, startStore } from './fixture.ts';
import { fillDisk, mountSmallDisk, type SmallDisk } from './full-disk.ts';
import { KillRig } from './kill-rig.ts';
import { Follower, Ledger } from './ledger.ts';

/** `HOLDFAST_STORE_KILLS=500` for a longer run. */
const kills = Number(process.env.HOLDFAST_STORE_KILLS ?? 50);
const writers = 64;

describe('store: kill -9', function () {
  this.timeout(120_000 + kills * 8_000);
  const path = '/api/v1/namespaces/default/configmaps';
  let rig: KillRig;

  before(async () => {
    rig = await KillRig.create();
  });
  after(() => rig.close());

  /** One write of a client: which it is depends on its turn and on what it has. Throws if it was not answered. */
  async function write(client: Client, ledger: Ledger, id: number, turn: number): Promise<void> {
    const value = ledger.newValue();
    if (turn % 5 === 4) {
      ledger.asksUnnamed(value);
      const made = await client.expect(201, 'POST', path, { body: ledger.body(undefined, value) });
      return ledger.answered(String(metaOf(made).name), value, made);
    }
    const name = `of-${id}-${turn % 3}`;
    const place = `${path}/${name}`;
    const held = ledger.holds(name);
    const body = ledger.body(name, value);
    const change = held === undefined ? 'create' : (changes[(id + turn) % changes.length] ?? 'update');
    switch (change) {
      case 'create':
        ledger.asks(name, value);
        return ledger.answered(name, value, await client.expect(201, 'POST', path, { body }));
      case 'update':
        ledger.asks(name, value);
        return ledger.answered(name, value, await client.expect(200, 'PUT', place, { body }));
      case 'patch': {
        ledger.asks(name, value);
        const patch = { body, headers: { 'content-type': 'application/merge-patch+json' } };
        return ledger.answered(name, value, await client.expect(200, 'PATCH', place, patch));
      }
      case 'delete':
        ledger.asks(name, undefined);
        return ledger.answered(name, undefined, await client.expect(200, 'DELETE', place));
      // What is refused may never be there: the ledger does not know its value.
      case 'create again':
        await client.expect(409, 'POST', path, { body });
        return;
      case 'update of old': {
        const metadata = { name, resourceVersion: String((held?.revision ?? 0) - 1) };
        await client.expect(409, 'PUT', place, { body: { ...body, metadata } });
        return;
      }
      default:
        throw new TypeError(change satisfies never);
    }
  }

  it(`keeps what it answered, nothing that it refused, and its revisions, over ${kills} kills under ${writers} writers`, async () => {
    const ledger = new Ledger();
    const follower = new Follower();
    for (let round = 0; round <= kills; round++) {
      const { client, kill } = await rig.start();
      const listed = ledger.compare(await client.expect(200, 'GET', path));
      if (round === kills) break;
      // It misses a run now and then, and must then be told to begin anew.
      const following = round % 5 === 4 ? undefined : await follower.follow(client, path, listed);
      const killAt = ledger.acknowledged + ((round * 97) % 160);
      const run: { isOver: boolean; done?: Promise<PromiseSettledResult<void>[]> } = { isOver: false };
      const time = new Promise<void>((resolve) => {
        const work = async (id: number): Promise<void> => {
          for (let turn = round; !run.isOver; turn++) {
            await write(client, ledger, id, turn);
            if (ledger.acknowledged >= killAt) resolve();
          }
        };
        run.done = Promise.allSettled([...Array.from({ length: writers }, (_, id) => work(id)), following?.ended]);
        // Nobody is left who could bring it about.
        run.done.then(() => resolve());
      });
      await time;
      await kill();
      run.isOver = true;
      for (const result of (await run.done) ?? []) {
        if (result.status === 'rejected' && result.reason instanceof assert.AssertionError) throw result.reason;
      }
    }
    const { acknowledged } = ledger;
    const { events, restarts } = follower;
    console.log(
      `      ${acknowledged} writes answered, ${events} events; watches went on ${restarts.wentOn} times, anew ${restarts.anew}`,
    );
    assert.ok(acknowledged > kills * 20 && events > kills * 10 && restarts.anew > 0);
  });
});

describe('store: kill -9 in the middle of its own work', function () {
  this.timeout(240_000);
  let rig: KillRig;

  before(async () => {
    rig = await KillRig.create();
  });
  after(() => rig.close());

  it('finishes a migration when it starts again, whenever it was killed, and loses nothing to a backup cut short', async () => {
    const db = new DatabaseSync(join(rig.dataDir, 'store.db'));
    db.exec(`
      CREATE TABLE objects (
        storage_key TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (storage_key, key)
      ) STRICT;
      CREATE TABLE revisions (storage_key TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT;
      INSERT INTO revisions VALUES ('secrets', 2001);
      PRAGMA user_version = 1; BEGIN;
    `);
    const put = db.prepare("INSERT INTO objects VALUES ('secrets', ?, ?, ?)");
    for (let index = 0; index < 2_000; index++) {
      const metadata = { name: `s${index}`, namespace: 'default', uid: `u${index}`, resourceVersion: `${index + 2}` };
      const object = { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata, data: { a: 'aHVudGVyMg==' } };
      put.run(`default/s${index}`, index + 2, JSON.stringify(object));
    }
    db.exec('COMMIT');
    db.close();
    for (const afterMs of [2, 10, 25, 50, 100, 200]) await rig.startAndKill(afterMs);
    const secrets = '/api/v1/namespaces/default/secrets';
    for (let round = 0; round < 3; round++) {
      const { client, kill } = await rig.start();
      const list = await client.expect(200, 'GET', secrets);
      const items = list.items as readonly JsonObject[];
      assert.equal(items.length, 2_000 + round);
      assert.ok(items.slice(0, 2_000).every((item) => getString(item, 'data', 'a') === 'aHVudGVyMg=='));
      await client.expect(201, 'POST', secrets, {
        body: { metadata: { name: `t${round}` }, data: { a: 'aHVudGVyMg==' } },
      });
      const backup = await askStore(rig.dataDir, 'GET', '/backup');
      assert.ok(backup !== undefined);
      await once(backup, 'readable'); // and not read on: it cannot come to its end
      await kill();
      await assert.rejects(textOf(backup));
    }
  });
});

const changes = ['update', 'patch', 'delete', 'create again', 'update of old', 'patch'] as const;

describe('store: a full disk', () => {
  let disk: SmallDisk;
  let fixture: Fixture;

  before(async () => {
    disk = await mountSmallDisk(6);
    fixture = await startStore({ dataDir: join(disk.path, 'data') });
  });
  after(async () => {
    await fixture.close();
    await disk.close();
  });

  it('is answered with 507 and changes nothing; with space again, all goes on', async () => {
    const { client, store } = fixture;
    const made = await client.expect(201, 'POST', containers, { body: container('kept') });
    const watch = await client.watch(`${containers}?watch=1&resourceVersion=${String(metaOf(made).resourceVersion)}`);
    const ballast = join(disk.path, 'ballast');
    await fillDisk(ballast);
    const acknowledged: string[] = [];
    const refused: string[] = [];
    for (let index = 0; refused.length < 5; index++) {
      assert.ok(index < 5_000, 'the disk does not fill');
      const name = `c${index}`;
      const body = container(name, { args: ['x'.repeat(4_000)] });
      const answer = await client.call('POST', containers, { body });
      if (answer.code === 201) acknowledged.push(name);
      else {
        assert.equal(answer.code, 507, answer.text);
        assert.match(String(answer.body.message), /the store's disk is full .*; nothing was changed; free some space/);
        refused.push(name);
      }
    }
    assert.deepEqual(store.healthy().isHealthy, false);
    assert.equal((await client.call('GET', '/readyz')).code, 500);
    for (const name of refused) await client.expect(404, 'GET', `${containers}/${name}`);
    for (const name of acknowledged) await client.expect(200, 'GET', `${containers}/${name}`);
    assert.match(await fixture.metrics.metrics(), /holdfast_store_commit_failures_total [1-9]/);
    await truncate(ballast, 0);
    await client.expect(201, 'POST', containers, { body: container('after') });
    assert.deepEqual(store.healthy(), { isHealthy: true });
    assert.equal((await client.call('GET', '/readyz')).code, 200);
    for (const name of [...acknowledged, 'after']) {
      const { type, object } = await watch.next();
      assert.equal(`${type} ${String(metaOf(object).name)}`, `ADDED ${name}`);
    }
    watch.close();
    await client.close();
    await store.close();
    fixture = await startStore({ dataDir: join(disk.path, 'data') });
    const list = await fixture.client.expect(200, 'GET', containers);
    assert.equal((list.items as readonly unknown[]).length, acknowledged.length + 2);
  });
});
