import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { createRuntime, InstanceConflictError, type RuntimeDeps, removeHostState } from '../../runtime/index.ts';
import { checkRunDir, claimRunDir, formatAlias, openInstance, parseAlias } from '../../runtime/instance.ts';
import { createLayout } from '../../runtime/layout.ts';
import { TestHost } from './host.ts';

const randomHex = (bytes: number): string => randomBytes(bytes).toString('hex');

describe('the mark of an instance', () => {
  const id = 'a'.repeat(32);
  for (const dataDir of ['/var/lib/holdfast', '/a path/with spaces', '/ümlaut']) {
    it(`is read back from a bridge's alias for ${dataDir}`, () => {
      assert.deepEqual(parseAlias(`${formatAlias({ id, dataDir })}\n`), { id, dataDir });
    });
  }
  it('leaves out a data dir that the alias cannot hold', () => {
    for (const dataDir of [`/${'x'.repeat(250)}`, '/line\nbreak']) {
      assert.deepEqual(parseAlias(formatAlias({ id, dataDir })), { id, dataDir: undefined });
    }
  });
  for (const text of ['', '\n', 'holdfast', 'holdfast hf0', 'somebody else']) {
    it(`is not seen in ${JSON.stringify(text)}`, () => assert.equal(parseAlias(text), undefined));
  }
});

describe('the owner of a run dir', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await realpath(await mkdtemp(join(tmpdir(), 'hf-owner-')));
  });
  afterEach(() => rm(dir, { recursive: true }));
  const layout = (dataDir: string): ReturnType<typeof createLayout> =>
    createLayout({ dataDir: join(dir, dataDir), runDir: join(dir, 'run'), bridge: 'none' });

  it('is one of two that claim it at the same time', async () => {
    const claims = await Promise.allSettled(
      ['a', 'b', 'c', 'd'].map(async (name) =>
        claimRunDir(layout(name), await openInstance(join(dir, name), randomHex), 'boot'),
      ),
    );
    const refused = claims.flatMap((claim) => (claim.status === 'rejected' ? [claim.reason] : []));
    assert.equal(refused.length, 3);
    for (const error of refused) assert.ok(error instanceof InstanceConflictError);
  });

  it('stays the same over a restart and a move of the data dir, and binds nobody once it or the boot is gone', async () => {
    const a = await openInstance(join(dir, 'a'), randomHex);
    const b = await openInstance(join(dir, 'b'), randomHex);
    await claimRunDir(layout('a'), a, 'boot 1');
    assert.deepEqual(await openInstance(join(dir, 'a'), randomHex), a);
    await claimRunDir(layout('a'), a, 'boot 1');
    writeFileSync(layout('a').bootID, 'boot 1');
    await assert.rejects(checkRunDir(layout('b'), b, 'boot 1'), (error) => {
      return error instanceof InstanceConflictError && error.ownerDataDir === a.dataDir;
    });
    await checkRunDir(layout('b'), b, 'boot 2');
    renameSync(join(dir, 'a'), join(dir, 'c'));
    await claimRunDir(layout('c'), await openInstance(join(dir, 'c'), randomHex), 'boot 1');
    await assert.rejects(checkRunDir(layout('b'), b, 'boot 1'), InstanceConflictError);
    rmSync(join(dir, 'c'), { recursive: true });
    await claimRunDir(layout('b'), b, 'boot 1');
  });
});

describe('another instance', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());

  /** Everything of an instance of its own, but for what is given. */
  const other = (change: Partial<RuntimeDeps>): RuntimeDeps => ({
    ...host.deps,
    dataDir: join(host.dir, 'other-data'),
    runDir: join(host.dir, 'other-run'),
    bridge: `hfo${randomHex(4)}`,
    subnet: '10.201.7.0/24',
    metrics: new Registry(),
    ...change,
  });
  const isRefused = (error: unknown): boolean => {
    assert.ok(error instanceof InstanceConflictError, String(error));
    assert.equal(error.ownerDataDir, host.deps.dataDir);
    assert.ok(error.message.includes(host.deps.dataDir), error.message);
    return true;
  };

  for (const what of ['runDir', 'bridge'] as const) {
    for (const when of ['runs', 'was ended']) {
      it(`is refused the ${what} of one that ${when}, and leaves it alone`, async () => {
        const { id, state } = await host.run({ cmd: ['sleep', '1000'] });
        const table = (): string =>
          execFileSync('nft', ['list', 'table', 'ip', `holdfast_${host.deps.bridge}`]).toString();
        const rules = table();
        if (when === 'was ended') await host.runtime.close();
        const deps = other({ [what]: host.deps[what] });
        await assert.rejects(createRuntime(deps), isRefused);
        await assert.rejects(removeHostState(deps), isRefused);
        assert.equal(table(), rules);
        if (what === 'bridge') assert.ok(!existsSync(deps.runDir), 'no empty run dir stays');
        if (when === 'was ended') await host.open();
        assert.deepEqual((await host.runtime.containers.inspect(id))?.state, state);
        await host.runtime.containers.remove(id);
      });
    }
  }

  it('may have both once the first was taken down', async () => {
    await host.runtime.close();
    await removeHostState(host.deps);
    const deps = other({ runDir: host.deps.runDir, bridge: host.deps.bridge });
    const runtime = await createRuntime(deps);
    await runtime.close();
    await assert.rejects(createRuntime({ ...host.deps, metrics: new Registry() }), InstanceConflictError);
    await removeHostState(deps);
    await host.open();
  });

  it('does not take a bridge that somebody else made, but one that it was killed while making', async () => {
    const deps = other({});
    const ip = (...args: string[]): Buffer => execFileSync('ip', args);
    ip('link', 'add', 'name', deps.bridge, 'type', 'bridge');
    try {
      ip('addr', 'add', '10.201.9.1/24', 'dev', deps.bridge);
      ip('link', 'set', deps.bridge, 'up');
      await assert.rejects(createRuntime(deps), InstanceConflictError);
      ip('addr', 'flush', 'dev', deps.bridge);
      const runtime = await createRuntime(deps);
      await runtime.close();
      assert.match(readFileSync(`/sys/class/net/${deps.bridge}/ifalias`, 'utf8'), /^holdfast [0-9a-f]{32} \//);
      await removeHostState(deps);
      assert.ok(!existsSync(`/sys/class/net/${deps.bridge}`));
    } finally {
      if (existsSync(`/sys/class/net/${deps.bridge}`)) ip('link', 'delete', deps.bridge);
    }
  });
});
