/**
 * Limits as the kernel takes them. This machine offers cgroup version 1 only, so what is read and written on version 2
 * is tested against a tree of plain files (cgroup-v2-tree/), with the texts that cgroup-v2.rst gives for them.
 */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  applyLimits,
  type CgroupLayout,
  ensureControllers,
  observeCgroupPids,
  observeOomKills,
} from '../../runtime/cgroups.ts';
import { ContainerConfigError, RuntimeOperationError } from '../../runtime/index.ts';
import { checkLimits, cpuQuotaMicros, cpuShares, formatResources, limitWrites } from '../../runtime/limits.ts';

describe('limitWrites', () => {
  const text = (kind: 'v1' | 'v2', limits: object, before: object): string[] =>
    limitWrites(kind, limits, before).map(({ file, value }) => `${file}=${value}`);
  it('raises memory and swap together before memory, and lowers it after, on version 1', () => {
    const small = { memoryBytes: 10 };
    const big = { memoryBytes: 20 };
    assert.deepEqual(text('v1', big, small).slice(0, 2), [
      'memory.memsw.limit_in_bytes=20',
      'memory.limit_in_bytes=20',
    ]);
    assert.deepEqual(text('v1', small, big).slice(0, 2), [
      'memory.limit_in_bytes=10',
      'memory.memsw.limit_in_bytes=10',
    ]);
    assert.deepEqual(text('v1', {}, small), [
      'memory.memsw.limit_in_bytes=-1',
      'memory.limit_in_bytes=-1',
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=-1',
      'pids.max=max',
    ]);
  });
  it('writes the files of version 2', () => {
    assert.deepEqual(text('v2', { memoryBytes: 5, cpuMillis: 250, pids: 7 }, {}), [
      'memory.swap.max=0',
      'memory.max=5',
      'cpu.max=25000 100000',
      'pids.max=7',
    ]);
    assert.deepEqual(text('v2', {}, {}), [
      'memory.swap.max=max',
      'memory.max=max',
      'cpu.max=max 100000',
      'pids.max=max',
    ]);
  });
  it("never asks for less than the kernel's least quota", () => assert.equal(cpuQuotaMicros({ cpuMillis: 1 }), 1_000));
});

describe('swap and shares', () => {
  const text = (kind: 'v1' | 'v2', limits: object, before: object): string[] =>
    limitWrites(kind, limits, before).map(({ file, value }) => `${file}=${value}`);
  it('allow swap beyond memory, and order the writes by their sum on version 1', () => {
    const given = { memoryBytes: 10, swapBytes: 5 };
    assert.deepEqual(text('v1', given, { memoryBytes: 12 }).slice(0, 2), [
      'memory.memsw.limit_in_bytes=15',
      'memory.limit_in_bytes=10',
    ]);
    assert.deepEqual(text('v1', { memoryBytes: 12 }, given).slice(0, 2), [
      'memory.limit_in_bytes=12',
      'memory.memsw.limit_in_bytes=12',
    ]);
    assert.equal(text('v2', given, {})[0], 'memory.swap.max=5');
  });
  it('give a share by the request, and the default again without one', () => {
    assert.ok(text('v1', { cpuRequestMillis: 500 }, {}).includes('cpu.shares=512'));
    assert.ok(text('v1', {}, { cpuRequestMillis: 500 }).includes('cpu.shares=1024'));
    assert.ok(text('v2', { cpuRequestMillis: 1_000 }, {}).includes('cpu.weight=39'));
    assert.ok(text('v2', {}, { cpuRequestMillis: 1_000 }).includes('cpu.weight=100'));
    assert.doesNotMatch(text('v1', {}, {}).join(), /shares/);
  });
  for (const [cpuRequestMillis, shares, weight] of [
    [0, 2, 1],
    [1, 2, 1],
    [1_000, 1_024, 39],
    [1_000_000, 262_144, 10_000],
  ] as const) {
    it(`make of ${cpuRequestMillis}m ${shares} shares or a weight of ${weight}`, () => {
      assert.equal(cpuShares({ cpuRequestMillis }), shares);
      assert.ok(text('v2', { cpuRequestMillis }, {}).includes(`cpu.weight=${weight}`));
    });
  }
  it('stand in config.json as the OCI runtime wants them: memory and swap as a sum', () => {
    const limits = { memoryBytes: 10, swapBytes: 5, cpuMillis: 1_500, cpuRequestMillis: 250, pids: 3 };
    assert.deepEqual(formatResources(limits, true), {
      memory: { limit: 10, swap: 15 },
      cpu: { quota: 150_000, period: 100_000, shares: 256 },
      pids: { limit: 3 },
    });
    assert.deepEqual(formatResources({ memoryBytes: 10 }, false), { memory: { limit: 10 } });
    assert.deepEqual(formatResources({}, true), {});
  });
  for (const limits of [{ swapBytes: 1 }, { memoryBytes: -1 }, { pids: 1.5 }]) {
    it(`are refused as ${JSON.stringify(limits)}`, () =>
      assert.throws(() => checkLimits(limits), ContainerConfigError));
  }
});

describe('cgroup version 2 (a tree of plain files)', () => {
  let root = '';
  let layout: CgroupLayout = { kind: 'v2', root };
  const read = (name: string): Promise<string> => readFile(join(root, name), 'utf8');
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hf-cgroup2-'));
    await cp(new URL('cgroup-v2-tree', import.meta.url), root, { recursive: true });
    layout = { kind: 'v2', root };
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('passes the controllers on, from the root to the parent of all containers, and no further', async () => {
    await ensureControllers(layout, '/holdfast-hf0');
    // The kernel adds to what is there; a plain file shows what was written last.
    assert.equal(await read('cgroup.subtree_control'), '+cpu');
    assert.equal(await read('holdfast-hf0/cgroup.subtree_control'), '+cpu +memory +pids');
    assert.equal(await read('holdfast-hf0/c1/cgroup.subtree_control'), '', 'where processes are it must be empty');
  });
  it('writes nothing where they are passed on already', async () => {
    const all = 'cpuset cpu io memory hugetlb pids\n';
    await writeFile(join(root, 'cgroup.subtree_control'), all);
    await writeFile(join(root, 'holdfast-hf0/cgroup.subtree_control'), all);
    await ensureControllers(layout, '/holdfast-hf0');
    assert.equal(await read('cgroup.subtree_control'), all);
    assert.equal(await read('holdfast-hf0/cgroup.subtree_control'), all);
  });
  it('names the controller that the kernel lacks', async () => {
    await writeFile(join(root, 'cgroup.controllers'), 'cpu pids\n');
    await assert.rejects(ensureControllers(layout, '/holdfast-hf0'), /no controller "memory".*cgroup_disable/);
  });
  it('writes limits into the files of the container', async () => {
    await applyLimits(
      layout,
      '/holdfast-hf0/c1',
      { memoryBytes: 134_217_728, swapBytes: 1_048_576, cpuMillis: 500, cpuRequestMillis: 100, pids: 64 },
      { memoryBytes: 67_108_864 },
    );
    const files = ['memory.max', 'memory.swap.max', 'cpu.max', 'cpu.weight', 'pids.max', 'memory.high'];
    const seen = await Promise.all(files.map(async (name) => (await read(`holdfast-hf0/c1/${name}`)).split('\n')[0]));
    assert.deepEqual(seen, ['134217728', '1048576', '50000 100000', '4', '64', 'max']);
  });
  it('does not lower memory below what is in use, since the kernel would kill', async () => {
    const before = { memoryBytes: 67_108_864 };
    await assert.rejects(applyLimits(layout, '/holdfast-hf0/c1', { memoryBytes: 4_194_304 }, before), (error) => {
      assert.ok(error instanceof RuntimeOperationError);
      assert.match(error.message, /cannot lower memory\.max .* to 4194304: it uses 18350080 bytes now/);
      return true;
    });
    assert.match(await read('holdfast-hf0/c1/memory.max'), /^67108864/, 'the limit stays');
    assert.match(await read('holdfast-hf0/c1/memory.high'), /^max/, 'and nothing is held back');
    await applyLimits(layout, '/holdfast-hf0/c1', { memoryBytes: 33_554_432 }, before);
    assert.match(await read('holdfast-hf0/c1/memory.max'), /^33554432/);
  });
  it('reads how often the kernel killed, and who is inside', async () => {
    assert.equal(observeOomKills(layout, '/holdfast-hf0/c1'), 3);
    assert.equal(observeOomKills(layout, '/holdfast-hf0/gone'), 0);
    assert.deepEqual([...observeCgroupPids(layout, '/holdfast-hf0/c1')].sort(), [4711, 4712]);
  });
});
