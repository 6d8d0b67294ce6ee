import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { parseCgroupLayout } from '../../runtime/cgroups.ts';
import { runCommand, runSuccessfully } from '../../runtime/command.ts';
import { createRuntime, ImageNotPresentError, RuntimeClosedError, RuntimeOperationError } from '../../runtime/index.ts';
import { createLayout } from '../../runtime/layout.ts';
import { type CreateRequest, type Monitor, type MonitorRequest, openMonitor } from '../../runtime/monitor.ts';
import { findProcessesByCommandLine } from '../../runtime/proc.ts';
import { type Relay, RelayError, startRelay } from '../../runtime/relay.ts';
import { RelayHost } from '../../runtime/relay-host.ts';
import { openRun } from '../../runtime/run.ts';
import { SyscallError, Syscalls } from '../../runtime/syscalls.ts';
import { never, TestHost, until } from './host.ts';

describe('external commands', () => {
  it('end at their deadline, with what they said', async () => {
    const command = ['sh', '-c', 'echo working >&2; exec sleep 100'] as const;
    await assert.rejects(runCommand('test', command, { deadlineMs: 5_000 }), (error) => {
      return error instanceof RuntimeOperationError && /5000 ms.*working/.test(error.message);
    });
  });
  it('end at their deadline also if what they have started goes on and holds their output open', async () => {
    for (const end of ['wait', 'exit 0']) {
      const command = ['sh', '-c', `sleep 120 & echo $! >&2; ${end}`] as const;
      const failed = await runCommand('test', command, { deadlineMs: 5_000 }).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      const left = Number(/it said: (\d+)$/.exec(failed ?? '')?.[1]);
      process.kill(left, 'SIGKILL'); // throws if it does not go on, or was not told of
    }
  });
  it('end when they are aborted', async () => {
    const stop = new AbortController();
    const reason = new Error('enough');
    const running = runCommand('test', ['sleep', '100'], { deadlineMs: 60_000, signal: stop.signal });
    setImmediate(() => stop.abort(reason));
    await assert.rejects(running, reason);
  });
  it('name a program that is missing, and what a failing one printed', async () => {
    await assert.rejects(runCommand('test', ['no-such-program-here'], { deadlineMs: 60_000 }), /not installed.*doctor/);
    const failing = ['sh', '-c', 'echo because >&2; exit 3'] as const;
    await assert.rejects(runSuccessfully('test', failing, { deadlineMs: 60_000 }), /ended with 3: because/);
  });
});

describe('system calls', () => {
  it('report the errno of a failure, and go on', async () => {
    const syscalls = new Syscalls();
    try {
      const mount = syscalls.mount({ source: 'x', target: '/no/such/folder', type: 'tmpfs' });
      await assert.rejects(mount, (error) => error instanceof SyscallError && error.errno === 2);
      await syscalls.unmount('/no/such/folder');
      assert.equal(await syscalls.kill({ pid: process.pid, startTicks: 1 }, 9), false, 'another process has this pid');
      assert.equal(await syscalls.kill({ pid: 2 ** 22 - 1, startTicks: 1 }, 9), false);
    } finally {
      syscalls.close();
    }
    await assert.rejects(syscalls.unmount('/x'), RuntimeOperationError);
  });
});

async function startMonitor(request: MonitorRequest & CreateRequest): Promise<Monitor> {
  return (await openMonitor(request)).create(request);
}

describe('a monitor', () => {
  let dir: string;
  let relays: RelayHost;
  let syscalls: Syscalls;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'hf-monitor-'));
    syscalls = new Syscalls();
    relays = new RelayHost(dir, (bytes) => randomBytes(bytes).toString('hex'));
  });
  afterEach(async () => {
    await relays.close();
    syscalls.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function prepare() {
    const layout = createLayout({ dataDir: dir, runDir: dir, bridge: 'none' });
    const id = 'a'.repeat(64);
    const paths = layout.container(id);
    await mkdir(paths.bundle, { recursive: true });
    const runtime = { name: 'crun', path: '/usr/bin/crun', version: '0' } as const;
    const deadlines = { deadlineMs: 60_000, signal: never };
    return { id, relays, runtime, ociRoot: dir, exitsDir: dir, paths, args: ['x'], stdio: {}, ...deadlines };
  }

  it('that is missing is named in the error', async () => {
    const request = await prepare();
    await assert.rejects(startMonitor({ ...request, conmon: '/no/conmon' }), /conmon is not installed/);
    await assert.rejects(startMonitor({ ...request, conmon: 'con\0mon' }), RuntimeOperationError);
    await assert.rejects(
      startMonitor({ ...request, conmon: 'conmon', runtime: { ...request.runtime, path: '/no/crun' } }),
      RuntimeOperationError,
    );
  });

  it('that has failed while we were at something else is heard all the same', async () => {
    const { args, deadlineMs, signal, ...request } = await prepare();
    const waiting = await openMonitor({ ...request, conmon: '/no/conmon' });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500); // Nothing is read meanwhile.
    await assert.rejects(waiting.create({ args, deadlineMs, signal }), /conmon is not installed/);
  });

  it('is known by its pid although that is written after its answer', async () => {
    const request = await prepare();
    const conmon = join(dir, 'conmon');
    const late = `sleep 0.2; : >${request.paths.monitorPidFile}; sleep 0.2; printf 77 >${request.paths.monitorPidFile}`;
    await writeFile(conmon, `#!/bin/sh\necho '{"data": 42}' >&3\n${late}\n`, { mode: 0o700 });
    const monitor = await startMonitor({ ...request, conmon });
    monitor.close();
    assert.deepEqual([monitor.initPid, monitor.monitorPid], [42, 77]);
    const mute = join(dir, 'mute');
    const dropping = `rm ${request.paths.monitorPidFile}; echo '{"data": 42}' >&3`;
    await writeFile(mute, `#!/bin/sh\n${dropping}\n`, { mode: 0o700 });
    const starting = startMonitor({ ...request, conmon: mute, deadlineMs: 5_000 });
    await assert.rejects(starting, /conmon did not write .* within 5000 ms/);
  });

  async function startExec(...command: readonly string[]): Promise<Relay> {
    const session = join(dir, 'session');
    await mkdir(session);
    const request = { operation: 'exec', hasStdin: false, hasOutput: true, deadlineMs: 60_000, signal: never };
    const args = ['exec', session, '0', '0', '0', ...command];
    return await startRelay({ ...request, program: { kind: 'relay', host: relays }, args });
  }

  it('and an exec of an OCI runtime that is missing: the code says so', async () => {
    await assert.rejects(startExec('/no/crun'), (error: unknown) => error instanceof RelayError && error.code === 126);
  });

  it('and an exec whose program ends before the process that it was made from: its exit code is told', async () => {
    // As `run --detach` of crun when that process gets no processor for a while.
    const between =
      'if (!($p = fork)) { exit 7 } open(F, ">new"); print F $p; close F; rename "new", "pid"; sleep 1; exit 3';
    const starter = `if (!fork) { ${between} } select(undef, undef, undef, 0.01) until -s "pid";`;
    const relay = await startExec('perl', '-e', starter);
    assert.equal(await relay.exit, 7);
    await relay.close();
  });

  it('that is not wanted any more ends before it has begun anything', async () => {
    const { id, paths, runtime } = await prepare();
    await mkdir(paths.logDir, { recursive: true });
    const deps = {
      layout: createLayout({ dataDir: dir, runDir: dir, bridge: 'none' }),
      cgroups: parseCgroupLayout(readFileSync('/proc/self/mountinfo', 'utf8')),
      ...{ runtime, relays, syscalls, conmon: 'conmon', nowMs: Date.now, log: pino({ level: 'silent' }) },
    };
    const assertNothingIsLeft = (): void => {
      assert.deepEqual(findProcessesByCommandLine(id), []);
      const files = [paths.starting, paths.ctl, paths.monitorPidFile];
      assert.deepEqual(
        files.map((file) => existsSync(file)),
        [false, false, false],
      );
    };
    for (let round = 0; round < 20; round += 1) {
      const run = await openRun(deps, { id, stdio: {} });
      // As a start that fails at once, and as one that fails when it has loaded.
      await wait(round);
      await run.dismiss();
      assertNothingIsLeft();
    }
    const run = await openRun(deps, { id, stdio: {} });
    const aborted = AbortSignal.abort(new Error('never mind'));
    await assert.rejects(run.create({ args: ['x'], signal: aborted }), /never mind/);
    assertNothingIsLeft();
  });

  it('gets nothing of ours but its own words and errors, and signals as they are by default', async () => {
    const request = await prepare();
    const seen = join(dir, 'seen');
    const conmon = join(dir, 'conmon');
    const looks = ['ls -l /proc/$$/fd', 'grep -E "^Sig(Ign|Blk)|^Umask" /proc/$$/status', 'env', 'pwd'];
    await writeFile(conmon, `#!/bin/sh\n(${looks.join('; ')}) >${seen}\n`, { mode: 0o700 });
    await assert.rejects(startMonitor({ ...request, conmon }), /ended without an answer/);
    const text = await readFile(seen, 'utf8');
    const open = [...text.matchAll(/ (\d+) -> (.*)$/gm)].map(([, number, to]) => `${number} ${to}`);
    // The shell has its script open as 10 or above.
    const low = open.filter((one) => Number(one.split(' ')[0]) < 10).map((one) => one.replace(/\[\d+\]/, '[]'));
    assert.deepEqual(low, [
      '0 /dev/null',
      '1 /dev/null',
      `2 ${request.paths.monitorLog}`,
      '3 socket:[]',
      '5 socket:[]',
    ]);
    assert.equal(open.length, low.length + 1, open.join('\n'));
    assert.match(text, /^SigBlk:\s+0+$/m);
    // What a job in the background is given to ignore, as SIGINT, it hands on.
    const ignored = BigInt(`0x${/^SigIgn:\s+([0-9a-f]+)$/m.exec(text)?.[1]}`);
    for (const name of ['SIGPIPE', 'SIGFPE', 'SIGCHLD'] as const)
      assert.equal((ignored >> BigInt(constants.signals[name] - 1)) & 1n, 0n, name);
    assert.match(text, /^Umask:\s+0022$/m);
    assert.match(text, /^_OCI_SYNCPIPE=3$/m);
    assert.match(text, /^_OCI_STARTPIPE=5$/m);
    assert.equal(text.trim().split('\n').at(-1), request.paths.bundle);
  });

  it('runs crun from where nobody can write to it, and from its file once that is another one', async () => {
    const program = join(dir, 'crun');
    await copyFile('/usr/bin/crun', program);
    const keeping = new RelayHost(dir, (bytes) => randomBytes(bytes).toString('hex'), program);
    const seen = join(dir, 'seen');
    const conmon = join(dir, 'conmon');
    // What it is given as the runtime: how that is named, what it says, whether it can be written to; what else it has open.
    // mount_setattr(2) to make it writable: EINVAL (22), also for root, since it is in no namespace.
    const remount =
      'perl -e \'my ($e, $a) = ("", pack("Q4", 0, 1, 0, 0)); print syscall(442, 4, $e, 0x1000, $a, 32), " ", $! + 0, "\\n"\'';
    const looks = `echo $1; $1 --version | head -1; (: >>$1) 2>&1 | grep -o "Read-only.*"; ${remount}; ls /proc/$$/fd`;
    const script = `while [ $1 != -r ]; do shift; done; shift; (${looks}) >${seen}`;
    await writeFile(conmon, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
    try {
      const request = { ...(await prepare()), relays: keeping, conmon };
      const look = async (): Promise<string[]> => {
        await assert.rejects(
          startMonitor({ ...request, runtime: { ...request.runtime, path: program } }),
          /ended without an answer/,
        );
        return (await readFile(seen, 'utf8')).trim().split('\n');
      };
      const [name, version, write, remounted, ...open] = await look();
      assert.deepEqual([name, write, remounted], ['/proc/self/fd/4', 'Read-only file system', '-1 22']);
      assert.match(version ?? '', /^crun version /);
      // 10 and above are the shell's own.
      assert.deepEqual(open.filter((number) => Number(number) < 10).sort(), ['0', '1', '2', '3', '4', '5']);
      assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(dir), 'it is mounted somewhere');
      await rm(program);
      await writeFile(program, '#!/bin/sh\necho another\n', { mode: 0o700 });
      assert.deepEqual((await look()).slice(0, 2), [program, 'another']);
    } finally {
      await keeping.close();
    }
  });

  for (const word of ['', '0']) {
    it(`is not begun for a daemon that has gone meanwhile${word === '' ? '' : ', its word being there'}`, async () => {
      await relays.findObstacle();
      relays.warm();
      const waiting = (): number[] =>
        readdirSync('/proc').flatMap((name) => {
          const isOurs = /^\d+$/.test(name) && content(`/proc/${name}/cmdline`).startsWith('holdfast-relay wait');
          return isOurs && readlink(`/proc/${name}/cwd`) === dir ? [Number(name)] : [];
        });
      await until('all relays that are kept ready wait', () => waiting().length >= 3);
      const pids = waiting();
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      const file = join(dir, 'begun');
      const args = ['monitor', dir, join(dir, 'log'), '18', '0', '/usr/bin/touch', file];
      const { control, pid } = await relays.open([], args);
      assert.ok(pids.includes(pid));
      if (word !== '') await new Promise((resolve) => control.write(word, resolve));
      control.destroy();
      for (const one of pids) process.kill(one, 'SIGCONT');
      await until('it has gone', () => !existsSync(`/proc/${pid}`));
      assert.equal(existsSync(file), false);
      // The same words, when somebody listens.
      await relays.open([], args);
      await until('the file is there', () => existsSync(file));
    });
  }
});

describe('faults of the host', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  it('names an image that is not there', async () => {
    const config = host.config({ imageID: `sha256:${'0'.repeat(64)}` });
    await assert.rejects(host.runtime.containers.create(config, never), ImageNotPresentError);
  });

  it('keeps an image that a container uses', async () => {
    const config = host.config({ name: 'user-of-it' });
    await host.runtime.containers.create(config, never);
    await assert.rejects(host.runtime.images.remove(host.image.id), /user-of-it/);
  });

  it('undoes a start that is aborted, and starts again afterwards', async () => {
    const config = host.config({ cmd: ['sleep', '1000'] });
    await host.runtime.containers.create(config, never);
    for (const delayMs of [0, 2, 5, 8, 12]) {
      const stop = new AbortController();
      const starting = host.runtime.containers.start(config.id, stop.signal);
      const outcome = starting.then(
        () => 'started',
        (error: unknown) => error,
      );
      // What varies is the moment of the abort.
      await wait(delayMs);
      stop.abort(new Error('never mind'));
      const result = await outcome;
      if (result === 'started') {
        await host.runtime.containers.signal(config.id, 9);
        await host.exited(config.id);
        continue;
      }
      assert.match(String(result), /never mind/);
      const info = await host.runtime.containers.inspect(config.id);
      assert.notEqual(info?.state.kind, 'running');
    }
    assert.equal((await host.runtime.containers.start(config.id, never)).state.kind, 'running');
  });

  it('leaves no monitor of a start that cannot have its bundle', async () => {
    const place = join(tmpdir(), `hf-no-folder-${randomBytes(4).toString('hex')}`);
    const volumes = [{ name: 'data', source: { kind: 'bind', path: place, ensure: 'directory' } }] as const;
    const mounts = [{ volume: 'data', path: '/data', isReadOnly: false, copiesUp: false }];
    const config = host.config({ cmd: ['sleep', '1000'], volumes, mounts });
    await host.runtime.containers.create(config, never);
    const paths = createLayout(host.deps).container(config.id);
    for (const _ of [1, 2]) {
      await assert.rejects(host.runtime.containers.start(config.id, never), /hf-no-folder/);
      assert.deepEqual(findProcessesByCommandLine(config.id), []);
      assert.deepEqual([existsSync(paths.starting), existsSync(paths.monitorPidFile)], [false, false]);
    }
    await mkdir(place);
    try {
      assert.equal((await host.runtime.containers.start(config.id, never)).state.kind, 'running');
    } finally {
      await rm(place, { recursive: true });
    }
  });

  it('says that the disk is full, and works once there is room', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'hf-small-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=700', 'tmpfs', dir]);
    try {
      const small = await TestHost.open({ dataDir: dir });
      try {
        const running = await small.run({ cmd: ['sleep', '1000'] });
        const filler = join(dir, 'filler');
        await writeFile(filler, Buffer.alloc(16 * 1024 * 1024)).catch(() => {}); // ENOSPC is what we want
        const config = small.config({ cmd: ['sleep', '1000'] });
        const error = await small.runtime.containers.create(config, never).catch((problem: unknown) => problem);
        assert.ok(error instanceof RuntimeOperationError, String(error));
        assert.match(error.message, /ENOSPC.*free space/);
        assert.equal(await small.runtime.containers.inspect(config.id), undefined);
        await small.runtime.containers.signal(running.id, 9);
        await small.exited(running.id);
        const again = await small.runtime.containers.start(running.id, never);
        assert.equal(again.state.kind, 'running', 'what ran before runs again, full or not');
        await small.reopen();
        assert.deepEqual((await small.runtime.containers.inspect(running.id))?.state, again.state);
        await rm(filler);
        await small.runtime.containers.create(config, never);
        assert.equal((await small.runtime.containers.start(config.id, never)).state.kind, 'running');
        assert.equal((await small.runtime.containers.start(running.id, never)).state.kind, 'running');
      } finally {
        await small.close();
      }
    } finally {
      execFileSync('umount', [dir]);
      await rm(dir, { recursive: true });
    }
  });

  it('refuses everything once it is closed', async () => {
    const { runtime } = host;
    await runtime.close();
    await assert.rejects(runtime.containers.create(host.config(), never), RuntimeClosedError);
    await assert.rejects(runtime.containers.signal('0'.repeat(64), 9), RuntimeClosedError);
    await runtime.close();
    await host.open();
  });

  it('refuses a bridge name and a subnet that cannot be', async () => {
    const deps = { ...host.deps, log: pino({ level: 'silent' }), metrics: new Registry() };
    await assert.rejects(createRuntime({ ...deps, bridge: 'a b' }), TypeError);
    await assert.rejects(createRuntime({ ...deps, subnet: '10.0.0.0' }), /10\.0\.0\.0/);
  });
});

describe('runc in place of crun', () => {
  it('runs, restarts, adopts and removes containers all the same', async () => {
    const host = await TestHost.open({ ociRuntime: 'runc' });
    try {
      assert.ok(host.runtime.info().versions.runc !== undefined);
      const { output, info } = await host.script('echo $$; grep Seccomp: /proc/self/status; exit 3');
      assert.match(output, /^1\nSeccomp:\s*2\n$/);
      assert.ok(info.state.kind === 'exited' && info.state.exit.code === 3);
      const config = host.config({ cmd: ['no-such-program'] });
      await host.runtime.containers.create(config, never);
      const error = await host.runtime.containers.start(config.id, never).catch((problem: unknown) => problem);
      assert.ok(error instanceof Error && 'exitCode' in error && error.exitCode === 127, String(error));
      const running = await host.run({ cmd: ['sleep', '1000'] });
      await host.reopen();
      const adopted = await host.runtime.containers.inspect(running.id);
      assert.deepEqual(adopted?.state, running.state);
      await host.runtime.containers.signal(running.id, 9);
      await host.exited(running.id);
      await host.runtime.containers.start(running.id, never);
      await until(
        'a process',
        async () => (await host.runtime.containers.inspect(running.id))?.state.kind === 'running',
      );
      await host.runtime.containers.remove(running.id);
    } finally {
      await host.close();
    }
  });
});

/** '' if it has gone. */
function content(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // the process has ended
  }
}

function readlink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // the process has ended
  }
}
