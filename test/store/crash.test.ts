/** What an answer promises when the process is killed, and when the disk is full: real processes, a real small disk. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { JsonObject } from '../../store/json.ts';
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

  it('loses nothing that was acknowledged, in ten rounds of concurrent writes', async () => {
    /** What each name must hold: the last acknowledged state, or one that was asked for after it. */
    const known = new Map<string, { acknowledged: number | undefined; asked: number | undefined; revision: number }>();
    let highest = 0;
    let acknowledgedWrites = 0;
    for (let round = 0; round < 10; round++) {
      const { client, kill } = await start();
      for (const [name, state] of known) {
        const answer = await client.call('GET', `/api/v1/namespaces/default/configmaps/${name}`);
        const found = answer.code === 404 ? undefined : Number((answer.body.data as JsonObject).value);
        assert.ok(
          found === state.acknowledged || found === state.asked,
          `${name}: acknowledged ${state.acknowledged}, asked for ${state.asked}, found ${found} in round ${round}`,
        );
        if (found !== undefined && found === state.acknowledged) {
          assert.equal(Number(metaOf(answer.body).resourceVersion), state.revision);
        }
        known.set(name, {
          acknowledged: found,
          asked: found,
          revision: Number(answer.code === 200 ? metaOf(answer.body).resourceVersion : 0),
        });
      }
      const list = await client.expect(200, 'GET', '/api/v1/namespaces/default/configmaps');
      assert.ok(Number(metaOf(list).resourceVersion) >= highest, 'the revision went back');
      let isOver = false;
      let written = 0;
      const writer = async (id: number): Promise<void> => {
        const name = `w${id}`;
        for (let value = round * 10_000; !isOver; value++) {
          const state = known.get(name) ?? { acknowledged: undefined, asked: undefined, revision: 0 };
          const isRemoval = value % 7 === 6 && state.acknowledged !== undefined;
          const isCreation = state.acknowledged === undefined;
          known.set(name, { ...state, asked: isRemoval ? undefined : value });
          const path = '/api/v1/namespaces/default/configmaps';
          const body = isRemoval ? {} : { body: configMap(name, { value: String(value) }) };
          const answer = await client.call(
            isRemoval ? 'DELETE' : isCreation ? 'POST' : 'PUT',
            isCreation ? path : `${path}/${name}`,
            body,
          );
          assert.ok(answer.code < 300, answer.text);
          const revision = isRemoval ? state.revision : Number(metaOf(answer.body).resourceVersion);
          highest = Math.max(highest, revision);
          const now = isRemoval ? undefined : value;
          known.set(name, { acknowledged: now, asked: now, revision });
          written++;
        }
      };
      const writers = Array.from({ length: 16 }, (_, id) => writer(id));
      const failed = Promise.allSettled(writers);
      // Killed in the middle of writing, after a number of writes that differs from round to round.
      const killAfter = 40 + ((round * 97) % 400);
      while (written < killAfter) await new Promise((resolve) => setImmediate(resolve));
      await kill();
      isOver = true;
      for (const result of await failed) {
        assert.ok(result.status === 'fulfilled' || !(result.reason instanceof assert.AssertionError), String(result));
      }
      acknowledgedWrites += written;
    }
    assert.ok(acknowledgedWrites > 400);
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
