import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CgroupLayout, parseCgroupLayout } from '../../runtime/cgroups.ts';
import { freeze, observeFrozen, parseFrozen, thaw } from '../../runtime/freezer.ts';
import { ContainerNotFoundError, ContainerNotRunningError, RuntimeOperationError } from '../../runtime/index.ts';
import { never, TestHost, until } from './host.ts';

describe('parseFrozen', () => {
  const cases: { kind: 'v1' | 'v2'; text: string; want: boolean }[] = [
    { kind: 'v1', text: 'FROZEN\n', want: true },
    { kind: 'v1', text: 'FREEZING\n', want: false },
    { kind: 'v1', text: 'THAWED\n', want: false },
    { kind: 'v2', text: 'populated 1\nfrozen 1\n', want: true },
    { kind: 'v2', text: 'populated 1\nfrozen 0\n', want: false },
    { kind: 'v2', text: '', want: false },
  ];
  for (const { kind, text, want } of cases) {
    it(`reads ${JSON.stringify(text)} of ${kind} as ${want}`, () => assert.equal(parseFrozen(kind, text), want));
  }
});

/** Files as a host with cgroup v2 has them (systemd, kernel 6.1); this machine may have v1 only. */
describe('the freezer on a tree of cgroup v2 written by hand', () => {
  let root: string;
  let layout: CgroupLayout;
  const file = (name: string): string => join(root, name);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hf-cgroup2-'));
    layout = { kind: 'v2', root };
    await writeFile(file('cgroup.freeze'), '0\n');
    await writeFile(file('cgroup.events'), 'populated 1\nfrozen 0\n');
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('asks by cgroup.freeze and believes cgroup.events', async () => {
    const freezing = freeze(layout, '/');
    await until('the request', async () => (await readFile(file('cgroup.freeze'), 'utf8')).startsWith('1'));
    assert.equal(observeFrozen(layout, '/'), false);
    await writeFile(file('cgroup.events'), 'populated 1\nfrozen 1\n');
    await freezing;
    assert.equal(observeFrozen(layout, '/'), true);
    await thaw(layout, '/');
    assert.match(await readFile(file('cgroup.freeze'), 'utf8'), /^0/);
  });
  it('lets them go on when not all stand still in time', async () => {
    await assert.rejects(
      freeze(layout, '/'),
      (error) => error instanceof RuntimeOperationError && /stand still/.test(error.message),
    );
    assert.match(await readFile(file('cgroup.freeze'), 'utf8'), /^0/);
  });
  it('finds nobody frozen in a cgroup that is gone', async () => {
    await thaw(layout, '/gone');
    assert.equal(observeFrozen(layout, '/gone'), false);
    await assert.rejects(freeze(layout, '/gone'), RuntimeOperationError);
  });
});

describe('pause and resume', function () {
  this.timeout(240_000);
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const ticker = { cmd: ['sh', '-c', 'trap "echo bye; exit 3" TERM; while true; do echo tick; sleep 0.02; done'] };
  const isPaused = async (id: string): Promise<boolean> => {
    const state = (await host.runtime.containers.inspect(id))?.state;
    assert.ok(state?.kind === 'running', JSON.stringify(state));
    return state.isPaused === true;
  };
  const times = async (id: string): Promise<number[]> => {
    const found: number[] = [];
    for await (const { time } of host.runtime.containers.log(id, {}, never)) found.push(Date.parse(time));
    return found;
  };

  it('let no time pass for its processes, and keep the same process', async () => {
    const { id, state: before } = await host.run(ticker);
    await host.printed(id, 'tick');
    await host.runtime.containers.pause(id);
    await host.runtime.containers.pause(id);
    assert.equal(await isPaused(id), true);
    assert.ok(before.kind === 'running');
    const schedstat = `/proc/${before.pid}/schedstat`;
    const used = readFileSync(schedstat, 'utf8');
    const pausedMs = Date.now();
    await until('some ticks to be missed', () => Date.now() > pausedMs + 300);
    assert.equal(readFileSync(schedstat, 'utf8'), used, 'it was given no time of a processor');
    const resumedMs = Date.now();
    await host.runtime.containers.resume(id);
    await host.runtime.containers.resume(id);
    assert.equal(await isPaused(id), false);
    await until('it to go on', async () => (await times(id)).some((timeMs) => timeMs > resumedMs));
    assert.deepEqual((await host.runtime.containers.inspect(id))?.state, before);
  });
  it('survive the daemon, also of those that are paused in the very moment of their start', async () => {
    // Without a wait for their first words: they may not have heard yet that they were let go.
    const ids = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const { id } = await host.run(ticker);
        await host.runtime.containers.pause(id);
        return id;
      }),
    );
    await host.reopen();
    for (const id of ids) {
      assert.equal(await isPaused(id), true);
      await host.runtime.containers.resume(id);
      assert.equal(await isPaused(id), false);
    }
  });
  it('keep a signal until the process goes on', async () => {
    const { id } = await host.run(ticker);
    await host.printed(id, 'tick');
    await host.runtime.containers.pause(id);
    await host.runtime.containers.signal(id, 15);
    assert.equal(await isPaused(id), true);
    await host.runtime.containers.resume(id);
    const { state } = await host.exited(id);
    assert.ok(state.kind === 'exited' && state.exit.code === 3);
  });
  it('do not keep a paused container from being killed or removed', async () => {
    const { id } = await host.run(ticker);
    await host.runtime.containers.pause(id);
    await host.runtime.containers.signal(id, 9);
    const { state } = await host.exited(id);
    assert.ok(state.kind === 'exited' && state.exit.code === 137);
    await host.runtime.containers.start(id, never);
    assert.equal(await isPaused(id), false);
    await host.runtime.containers.pause(id);
    await host.runtime.containers.remove(id);
    assert.equal(await host.runtime.containers.inspect(id), undefined);
  });
  it('see what somebody else froze or thawed', async () => {
    const { id } = await host.run(ticker);
    const layout = parseCgroupLayout(await readFile('/proc/self/mountinfo', 'utf8'));
    const path = `/holdfast-${host.deps.bridge}/${id}`;
    await freeze(layout, path);
    assert.equal(await isPaused(id), true);
    await thaw(layout, path);
    assert.equal(await isPaused(id), false);
  });
  it('refuse what cannot be', async () => {
    const { id } = await host.run(ticker);
    await host.runtime.containers.pause(id);
    const exec = host.runtime.containers.exec(id, { args: ['true'], hasTerminal: false, hasStdin: false }, never);
    await assert.rejects(exec, (error) => error instanceof ContainerNotRunningError && /is paused/.test(error.message));
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    await assert.rejects(host.runtime.containers.pause(id), ContainerNotRunningError);
    await host.runtime.containers.resume(id);
    await assert.rejects(host.runtime.containers.pause('0'.repeat(64)), ContainerNotFoundError);
  });
});
