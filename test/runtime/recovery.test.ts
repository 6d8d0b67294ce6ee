import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ContainerInfo } from '../../runtime/index.ts';
import { snapshotHost } from '../leaks.ts';
import { simulateReboot } from '../reboot.ts';
import { letGo, never, TestHost, until, untilGo } from './host.ts';

function pidOf(info: ContainerInfo | undefined): number {
  assert.ok(info?.state.kind === 'running', JSON.stringify(info?.state));
  return info.state.pid;
}

function isThere(pid: number): boolean {
  try {
    return !/^[0-9]+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

describe('a runtime that comes back', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  async function monitorPid(id: string): Promise<number> {
    return Number(await readFile(join(host.deps.runDir, 'containers', id, 'conmon.pid'), 'latin1'));
  }

  it('takes up what runs without restarting it, with all it was told before', async () => {
    const running = await host.run({
      name: 'kept',
      labels: { a: 'b' },
      cmd: ['sleep', '1000'],
      ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }],
    });
    const created = host.config({ name: 'not-started' });
    await host.runtime.containers.create(created, never);
    const before = await host.runtime.containers.list();
    await host.reopen();
    const byID = (a: ContainerInfo, b: ContainerInfo): number => a.id.localeCompare(b.id);
    assert.deepEqual([...(await host.runtime.containers.list())].sort(byID), [...before].sort(byID));
    assert.equal(pidOf(await host.runtime.containers.start(running.id, never)), pidOf(running));
    await host.runtime.containers.signal(running.id, 9);
    await until('the event', () => host.events.some((event) => event.kind === 'exited' && event.id === running.id));
  });

  it('learns of an exit that happened while it was away, and keeps the log going', async () => {
    const { id, ...started } = await host.run({ cmd: ['sh', '-c', `echo one; ${untilGo}; echo two; exit 5`] });
    await host.runtime.close();
    letGo(started.state);
    const exitFile = join(host.deps.runDir, 'exits', id);
    await until('the exit file', () => existsSync(exitFile));
    await host.open();
    const { state } = await host.exited(id);
    assert.ok(state.kind === 'exited' && state.exit.code === 5 && state.startedAtMs !== undefined);
    assert.equal(await host.output(id), 'one\ntwo\n');
    await host.reopen();
    assert.deepEqual((await host.runtime.containers.inspect(id))?.state, state);
  });

  it('puts away a run that had ended before the daemon was killed', async () => {
    const { id } = await host.run({ cmd: ['true'] });
    const { state } = await host.exited(id);
    assert.ok(state.kind === 'exited');
    const folder = join(host.deps.runDir, 'containers', id);
    const file = join(folder, 'process.json');
    await until('it to be put away', () => !existsSync(file));
    await host.runtime.close();
    // As before the first step of that, with processes that are gone.
    const gone = { pid: 2 ** 22 - 1, startTicks: 1 };
    const processes = { init: gone, monitor: gone, startedAtMs: state.startedAtMs };
    await writeFile(join(folder, 'starting'), '');
    await writeFile(file, JSON.stringify(processes));
    await host.open();
    await until('it to be put away by the next', () => !existsSync(file) && !existsSync(join(folder, 'starting')));
    assert.deepEqual((await host.runtime.containers.inspect(id))?.state, state);
  });

  for (const when of ['its own daemon', 'a later daemon'] as const) {
    it(`ends a container whose monitor is killed under ${when}, and starts it again`, async () => {
      const { id, ...info } = await host.run({ cmd: ['sleep', '1000'] });
      const pid = pidOf({ id, ...info });
      if (when === 'a later daemon') await host.reopen();
      process.kill(await monitorPid(id), 'SIGKILL');
      const { state } = await host.exited(id);
      assert.ok(state.kind === 'exited');
      assert.equal(state.exit.code, -1);
      assert.ok(!isThere(pid), 'its process is gone');
      await until('the event', () => host.events.some((event) => event.kind === 'exited' && event.id === id));
      pidOf(await host.runtime.containers.start(id, never));
    });
  }

  it('recovers when its helper for system calls is killed', async () => {
    const { id } = await host.run({ cmd: ['sleep', '1000'] });
    const helpers = readdirSync('/proc').filter((pid) => {
      if (!/^[0-9]+$/.test(pid)) return false;
      try {
        const parent = /^[0-9]+ \(.*\) \S ([0-9]+)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1];
        return (
          Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('holdfast-sys')
        );
      } catch {
        return false;
      }
    });
    assert.equal(helpers.length, 1);
    process.kill(Number(helpers[0]), 'SIGKILL');
    // A request may meet the dying helper; the one after it meets a new one.
    await until('a signal to arrive', () =>
      host.runtime.containers.signal(id, 9).then(
        () => true,
        () => false,
      ),
    );
    await host.exited(id);
    pidOf(await host.runtime.containers.start(id, never));
  });

  it('knows after a reboot what ran, and starts it with its layer and a network', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'echo x >>/kept; cat /kept; sleep 1000'] });
    await host.printed(id, 'x');
    const done = await host.run({ cmd: ['sh', '-c', 'exit 4'] });
    const doneState = (await host.exited(done.id)).state;
    await host.runtime.close();
    await simulateReboot(host.deps);
    await host.open();
    const info = await host.runtime.containers.inspect(id);
    assert.ok(info?.state.kind === 'exited' && info.state.exit.code === -1, JSON.stringify(info?.state));
    assert.equal(info.ip, undefined);
    assert.deepEqual((await host.runtime.containers.inspect(done.id))?.state, doneState);
    assert.ok((await host.runtime.containers.start(id, never)).ip !== undefined);
    await host.printed(id, 'x\nx\nx\n');
  });

  it('forgets what an earlier boot left in its run folder', async () => {
    const { id } = await host.run({ cmd: ['sleep', '1000'] });
    await host.runtime.close();
    await simulateReboot(host.deps);
    const bundle = join(host.deps.runDir, 'containers', id);
    await mkdir(bundle, { recursive: true });
    const self = { pid: process.pid, startTicks: 1 };
    await writeFile(join(bundle, 'process.json'), JSON.stringify({ init: self, monitor: self, startedAtMs: 1 }));
    await writeFile(join(host.deps.runDir, 'boot-id'), 'another boot');
    await host.open();
    const info = await host.runtime.containers.inspect(id);
    assert.ok(info?.state.kind === 'exited' && info.state.exit.code === -1);
    pidOf(await host.runtime.containers.start(id, never));
  });

  it('undoes a container whose record was never written', async () => {
    await host.runtime.close();
    const id = randomBytes(32).toString('hex');
    await mkdir(join(host.deps.dataDir, 'containers', id, 'upper'), { recursive: true });
    await mkdir(join(host.deps.runDir, 'containers', id, 'rootfs'), { recursive: true });
    // Of an earlier daemon, that ended before it could empty the trash.
    await mkdir(join(host.deps.dataDir, 'trash', `${id}-undone`, 'upper'), { recursive: true });
    await host.open();
    assert.deepEqual(await host.runtime.containers.list(), []);
    await until('the folders to go', () => readdirSync(join(host.deps.dataDir, 'trash')).length === 0);
    assert.deepEqual(readdirSync(join(host.deps.dataDir, 'containers')), []);
    assert.deepEqual(readdirSync(join(host.deps.runDir, 'containers')), []);
  });

  it('converges however often, and whenever, it is killed while it creates, starts and removes', async function () {
    this.timeout(400_000);
    await host.runtime.close();
    const { dataDir, runDir, bridge, subnet } = host.deps;
    const script = fileURLToPath(new URL('./creator.ts', import.meta.url));
    const delaysMs = Array.from({ length: 12 }, () => randomInt(0, 250));
    for (const delayMs of delaysMs) {
      const args = [script, dataDir, runDir, bridge, subnet, host.image.id];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await Promise.race([
        new Promise((resolve) => child.stdout.once('data', resolve)),
        ended.then(() => assert.fail(`the program ended by itself; delays ${delaysMs.join(' ')}`)),
      ]);
      // Not waiting for anything: the moment of the kill is what varies.
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      await ended;
    }
    await host.open();
    const seen = `delays ${delaysMs.join(' ')}`;
    const infos = await host.runtime.containers.list();
    assert.ok(infos.length > 0, seen);
    for (const info of infos) {
      if (info.lacksFiles === true) await host.runtime.containers.update(info.id, { files: { files: [] } });
      const started = await host.runtime.containers.start(info.id, never);
      assert.ok(isThere(pidOf(started)), seen);
    }
    assert.deepEqual(await host.runtime.containers.listKept(), [], seen);
    assert.deepEqual(readdirSync(join(dataDir, 'volumes')).sort(), ['.own', 'shared'], seen);
    for (const name of ['shared', ...infos.map(({ id }) => `.own/${id}/own`)]) {
      const volume = join(dataDir, 'volumes', name);
      assert.deepEqual(readdirSync(volume).sort(), ['data', 'volume.json'], seen);
      const original = name === 'shared' ? 'sh' : 'passwd';
      assert.ok(readdirSync(join(volume, 'data')).includes(original), seen);
    }
    const ids = infos.map((info) => info.id).sort();
    assert.deepEqual(readdirSync(join(runDir, 'containers')).sort(), ids, seen);
    assert.deepEqual(readdirSync(join(runDir, 'oci')).sort(), ids, seen);
    assert.deepEqual(readdirSync(join(dataDir, 'containers')).sort(), ids, seen);
    let ours: readonly string[] = [];
    let monitors: readonly string[] = [];
    // The first process of a conmon may still be ending.
    await until('one monitor for each container', async () => {
      const { things } = await snapshotHost();
      ours = things.filter((thing) => thing.belongsTo(host.deps)).map((thing) => thing.text);
      monitors = ours.filter((text) => /process [0-9]+ \S*conmon/.test(text));
      return monitors.length === ids.length;
    }).catch((cause: unknown) => {
      throw new Error(`${ids.length} containers, ${seen}\n${monitors.join('\n')}`, { cause });
    });
    const roots = ours.filter((text) => text.endsWith('/rootfs'));
    assert.equal(roots.length, ids.length, seen);
    await until('the pool to be full', () => readdirSync(join(runDir, 'netns-pool')).length === 3);
    assert.equal(readdirSync(join(runDir, 'netns')).length, ids.length + 3, seen);
    const addresses = readdirSync(join(runDir, 'addresses', bridge)).filter((name) => /^[0-9.]+$/.test(name));
    assert.equal(addresses.length, ids.length + 3, seen);
    assert.deepEqual(readdirSync(join(runDir, 'volumes')).sort(), ids, seen);
    for (const id of ids) await host.runtime.containers.remove(id);
    assert.deepEqual(readdirSync(join(runDir, 'volumes')), [], seen);
    assert.deepEqual(readdirSync(join(dataDir, 'volumes', '.own')), [], seen);
    await host.runtime.volumes.remove('shared');
    assert.deepEqual(readdirSync(join(dataDir, 'volumes')), ['.own'], seen);
  });
});
