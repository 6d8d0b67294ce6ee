/** Records that a power failure, a full disk or a bad block left damaged: the next runtime opens all the same. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { parseLastRun, parseRecord, parseRunProcesses } from '../../runtime/record.ts';
import { never, TestHost, until } from './host.ts';

/** What may be left of a file. */
const damages: Readonly<Record<string, (text: Buffer) => Buffer>> = {
  empty: () => Buffer.alloc(0),
  'cut in half': (text) => text.subarray(0, Math.floor(text.length / 2)),
  'filled with zeros': (text) => Buffer.alloc(text.length),
};

describe('a runtime whose records are damaged', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open({ netnsPoolSize: 1 });
  });
  after(() => host.close());

  for (const [what, damage] of Object.entries(damages)) {
    it(`opens when they are ${what}, keeps what it can, and can make the rest anew`, async () => {
      const { containers } = host.runtime;
      const config = host.config({
        cmd: ['sleep', '1000'],
        volumes: [{ name: 'own', source: { kind: 'own', mode: 0o777 } }],
        mounts: [{ volume: 'own', path: '/own', isReadOnly: false, copiesUp: false }],
      });
      await containers.create(config, never);
      await containers.start(config.id, never);
      const kept = await host.run({ cmd: ['sleep', '1000'] });
      const doubtful = await host.run({ cmd: ['sleep', '1000'] });
      await host.runtime.close();
      const { dataDir, runDir, bridge } = host.deps;
      const files = [
        join(dataDir, 'containers', config.id, 'record.json'),
        join(dataDir, 'containers', doubtful.id, 'last-run.json'),
        ...['process.json', 'network.json'].map((name) => join(runDir, 'containers', doubtful.id, name)),
        ...[join(dataDir, 'instance-id'), join(runDir, 'boot-id'), join(runDir, 'owner.json')],
        ...['names', 'local-names'].map((name) => join(runDir, 'resolver', name)),
        ...readdirSync(join(runDir, 'netns-pool')).map((file) => join(runDir, 'netns-pool', file)),
        join(dataDir, 'volumes', '.own', config.id, 'own', 'volume.json'),
      ];
      for (const file of files) await writeFile(file, damage(await readFile(file)));
      await host.open();
      const found = new Map((await host.runtime.containers.list()).map((info) => [info.id, info]));
      assert.deepEqual(found.get(kept.id)?.state, kept.state, 'one whose records are whole is not touched');
      assert.equal(found.has(config.id), false, 'one without a record is gone');
      await host.runtime.containers.create(config, never);
      for (const id of [config.id, kept.id, doubtful.id]) {
        const { state } = await host.runtime.containers.start(id, never);
        assert.equal(state.kind, 'running', id);
      }
      assert.deepEqual(readdirSync(join(runDir, 'oci')).sort(), [config.id, kept.id, doubtful.id].sort());
      await until('the pool to be full', () => readdirSync(join(runDir, 'netns-pool')).length === 1);
      assert.equal(readdirSync(join(runDir, 'netns')).length, 4, 'three containers, and one in the pool');
      const addresses = readdirSync(join(runDir, 'addresses', bridge)).filter((name) => /^[0-9.]+$/.test(name));
      assert.equal(addresses.length, 4);
      for (const id of [config.id, kept.id, doubtful.id]) await host.runtime.containers.remove(id);
    });
  }
});

describe('a record that is cut at any byte', () => {
  it('is read whole or not at all', () => {
    const process = { pid: 12, startTicks: 345 };
    const run = { init: process, monitor: process, startedAtMs: 1 };
    const lastRun = { startedAtMs: 1, exit: { code: 0, oomKilled: false, finishedAtMs: 2 } };
    const parse = (text: string): Record<string, unknown> | undefined => {
      try {
        return JSON.parse(text) as Record<string, unknown>; // what is written is an object
      } catch {
        return undefined;
      }
    };
    for (const [value, read] of [
      [run, parseRunProcesses],
      [lastRun, parseLastRun],
    ] as const) {
      const text = JSON.stringify(value);
      for (let length = 0; length < text.length; length += 1)
        assert.equal(read(parse(text.slice(0, length))), undefined);
      assert.deepEqual(read(parse(text)), value);
    }
  });

  it('does no harm whatever it holds', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('version', 'config', 'init', 'exit', 'ports'), fc.jsonValue()),
        (json) => {
          for (const read of [parseRecord, parseLastRun, parseRunProcesses]) read(json);
        },
      ),
    );
  });
});
