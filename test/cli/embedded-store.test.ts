/** The store of a daemon that goes on without it: when its file is tried again. */
import assert from 'node:assert/strict';
import { appendFile, copyFile, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import pino from 'pino';
import { Registry } from 'prom-client';
import { openEmbeddedStore } from '../../cli/embedded-store.ts';
import { crdFiles } from '../../crds/index.ts';
import { Client, containers, makeDir, startStore } from '../store/fixture.ts';
import { until } from '../until.ts';

describe('openEmbeddedStore', () => {
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await makeDir();
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  it('follows a damaged file again when a copy that is written bit by bit is whole, and takes no part of it for a new one', async () => {
    const file = join(dataDir, 'store.db');
    const before = await startStore({ dataDir });
    const web = {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name: 'web' },
      spec: { image: 'nginx' },
    };
    const { metadata } = await before.client.expect(201, 'POST', containers, { body: web });
    await before.close();
    const whole = await readFile(file);
    await copyFile(file, `${file}.backup`);
    await writeFile(file, 'this was a database');

    const lines: string[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    const embedded = await openEmbeddedStore({
      ...{ dataDir, listen: { host: '127.0.0.1', port: 0 }, crdFiles, log, metrics: new Registry() },
      ...{ hasCheckpoint: async () => true, retryMs: 50, settleMs: 10_000 },
    });
    try {
      assert.match(embedded.problem() ?? '', /not a database/);
      await (await open(file, 'w')).close();
      // It stays as it is for a moment each time, though not for as long as is asked for,
      // which is more than a busy machine keeps it waiting.
      const part = Math.ceil(whole.length / 8);
      for (let at = 0; at < whole.length; at += part) {
        await wait(250);
        assert.ok(embedded.store === undefined, lines.join(''));
        await appendFile(file, whole.subarray(at, at + part));
      }
      await until(async () => embedded.store !== undefined, 'the store to be opened');
      assert.equal(embedded.problem(), undefined);
      assert.ok(embedded.store);
      const client = new Client(embedded.store);
      try {
        const { body } = await client.call('GET', `${containers}/web`);
        assert.deepEqual((body.metadata as { uid?: string }).uid, (metadata as { uid?: string }).uid);
      } finally {
        await client.close();
      }
    } finally {
      await embedded.close();
    }
  });
});
