/** What an answer promises when the process is killed, and when the disk is full: real processes, a real small disk. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { getString, type JsonObject } from '../../store/json.ts';
import { Client, configMap, container, containers, type Fixture, makeDir, metaOf, startStore } from './fixture.ts';

describe('store: kill -9', () => {
  let dataDir: string;
  const children = new Set<ChildProcess>();

  before(async () => {
    dataDir = await makeDir();
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(dataDir, { recursive: true, force: true });
  });

  async function start(): Promise<{ readonly client: Client; kill(): Promise<void> }> {
    const program = join(import.meta.dirname, 'store-process.ts');
    const child = spawn(process.execPath, [program, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.add(child);
    const ended = once(child, 'exit');
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [unknown];
    assert.equal(typeof line, 'string', `the store ended with ${String(line)}`);
    const client = new Client(JSON.parse(String(line)));
    return {
      client,
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
        children.delete(child);
        await client.close();
      },
    };
  }

  /** What a name must hold after a crash: what was acknowledged last, or what was asked for after that. */
  interface Promised {
    readonly acknowledged: number | undefined;
    readonly asked: number | undefined;
    readonly revision: number;
  }

  const path = '/api/v1/namespaces/default/configmaps';

  async function check(client: Client, promised: Map<string, Promised>, round: number): Promise<number> {
    const list = await client.expect(200, 'GET', path);
    const items = new Map((list.items as readonly JsonObject[]).map((item) => [String(metaOf(item).name), item]));
    for (const [name, { acknowledged, asked, revision }] of promised) {
      const item = items.get(name);
      const found = item === undefined ? undefined : Number(getString(item, 'data', 'value'));
      const foundRevision = item === undefined ? 0 : Number(metaOf(item).resourceVersion);
      const what = `${name}: acknowledged ${acknowledged}, asked for ${asked}, found ${found} in round ${round}`;
      assert.ok(found === acknowledged || found === asked, what);
      if (found !== undefined && found === acknowledged) assert.equal(foundRevision, revision, what);
      promised.set(name, { acknowledged: found, asked: found, revision: foundRevision });
    }
    for (const name of items.keys()) assert.ok(promised.has(name), `${name} was never written`);
    return Number(metaOf(list).resourceVersion);
  }

  /** Writes one value under a name, or removes it, and notes what was promised. */
  async function write(
    client: Client,
    promised: Map<string, Promised>,
    name: string,
    value: number | undefined,
  ): Promise<number> {
    const before = promised.get(name) ?? { acknowledged: undefined, asked: undefined, revision: 0 };
    promised.set(name, { ...before, asked: value });
    const isCreation = before.acknowledged === undefined;
    const method = value === undefined ? 'DELETE' : isCreation ? 'POST' : 'PUT';
    const body = value === undefined ? {} : { body: configMap(name, { value: String(value) }) };
    const answer = await client.call(method, isCreation ? path : `${path}/${name}`, body);
    assert.ok(answer.code < 300, answer.text);
    const revision = value === undefined ? before.revision : Number(metaOf(answer.body).resourceVersion);
    promised.set(name, { acknowledged: value, asked: value, revision });
    return revision;
  }

  it('loses nothing that was acknowledged, in ten rounds of concurrent writes', async () => {
    const promised = new Map<string, Promised>();
    let highest = 0;
    for (let round = 0; round < 10; round++) {
      const { client, kill } = await start();
      const revision = await check(client, promised, round);
      assert.ok(revision >= highest, `the revision went back from ${highest} to ${revision} in round ${round}`);
      let written = 0;
      let isOver = false;
      /** Half of the writers change one object over and over, the others make new ones: no write may be missing. */
      const writer = async (id: number): Promise<void> => {
        for (let value = 0; !isOver; value++) {
          const name = id % 2 === 0 ? `changed-${id}` : `made-${round}-${id}-${value}`;
          const isRemoval = value % 7 === 6 && promised.get(name)?.acknowledged !== undefined;
          highest = Math.max(
            highest,
            await write(client, promised, name, isRemoval ? undefined : round * 10_000 + value),
          );
          written++;
        }
      };
      const writing = Promise.allSettled(Array.from({ length: 16 }, (_, id) => writer(id)));
      // Killed in the middle of writing, at a point that differs from round to round.
      const killAfter = 40 + ((round * 97) % 400);
      while (written < killAfter) await new Promise((resolve) => setImmediate(resolve));
      await kill();
      isOver = true;
      for (const result of await writing) {
        if (result.status === 'rejected' && result.reason instanceof assert.AssertionError) throw result.reason;
      }
    }
  });
});

describe('store: a full disk', () => {
  let mountPoint: string;
  let fixture: Fixture;

  before(async () => {
    mountPoint = await mkdtemp(join(tmpdir(), 'holdfast-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', mountPoint]);
    fixture = await startStore({ dataDir: join(mountPoint, 'data') });
  });
  after(async () => {
    await fixture.close();
    execFileSync('umount', [mountPoint]);
    await rm(mountPoint, { recursive: true });
  });

  it('is answered with 507 and changes nothing; with space again, all goes on', async () => {
    const { client, store } = fixture;
    const made = await client.expect(201, 'POST', containers, { body: container('kept') });
    const watch = await client.watch(`${containers}?watch=1&resourceVersion=${String(metaOf(made).resourceVersion)}`);
    const ballast = join(mountPoint, 'ballast');
    await fill(ballast);
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
    fixture = await startStore({ dataDir: join(mountPoint, 'data') });
    const list = await fixture.client.expect(200, 'GET', containers);
    assert.equal((list.items as readonly unknown[]).length, acknowledged.length + 2);
  });
});

/** Writes until the disk is full. */
async function fill(path: string): Promise<void> {
  for (let sizeBytes = 16 * 1024 * 1024; sizeBytes >= 4096; sizeBytes /= 2) {
    try {
      await writeFile(path, Buffer.alloc(sizeBytes), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
}
