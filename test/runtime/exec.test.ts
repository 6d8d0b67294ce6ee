/** Further processes in running containers, with pipes and with terminals. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  ContainerConfigError,
  ContainerNotFoundError,
  ContainerNotRunningError,
  type ExecRequest,
  StartError,
  type StreamSession,
} from '../../runtime/index.ts';
import { never, TestHost, until } from './host.ts';
import { processesWith } from './processes.ts';

async function textOf(stream: Readable | undefined): Promise<string> {
  const parts: Buffer[] = [];
  if (stream !== undefined) for await (const part of stream) parts.push(part as Buffer); // no encoding is set
  return Buffer.concat(parts).toString();
}

const sleeper = { cmd: ['sh', '-c', 'trap "exit 0" TERM; echo up; while :; do sleep 1000 & wait; done'] };

describe('exec in a running container', () => {
  let host: TestHost;
  let id: string;
  const open = (request: Partial<ExecRequest>, container = id): Promise<StreamSession> =>
    host.runtime.containers.exec(container, { args: [], hasTerminal: false, hasStdin: false, ...request }, never);
  const run = async (script: string, request: Partial<ExecRequest> = {}) => {
    const session = await open({ args: ['sh', '-c', script], ...request });
    const [stdout, stderr] = await Promise.all([textOf(session.stdout), textOf(session.stderr)]);
    return { stdout, stderr, code: await session.exit };
  };

  before(async () => {
    host = await TestHost.open();
    ({ id } = await host.run({ ...sleeper, env: [{ name: 'OWN', value: 'of the container' }] }));
  });

  after(async () => {
    await host.close();
  });

  it('keeps stdout and stderr apart and gives the exit code', async () => {
    assert.deepEqual(await run('echo out; echo err >&2; exit 7'), { stdout: 'out\n', stderr: 'err\n', code: 7 });
  });

  it('can open its own streams again, which only pipes allow', async () => {
    assert.deepEqual(await run('echo out > /dev/stdout; echo err > /dev/stderr'), {
      stdout: 'out\n',
      stderr: 'err\n',
      code: 0,
    });
  });

  it('gives 128 + n after signal n', async () => {
    assert.equal((await run('kill -9 $$')).code, 137);
    assert.equal((await run('exit 255')).code, 255);
  });

  it('has the user, environment, limits, filter and namespaces of the container', async () => {
    const facts =
      'echo $OWN; id -u; grep -E "^(Cap|Seccomp|NoNewPrivs)" /proc/self/status; hostname; umask; pwd; ulimit -n; readlink /proc/self/ns/net; cat /proc/self/cgroup';
    const main = await host.run({
      cmd: ['sh', '-c', `${facts}; echo end; sleep 1000`],
      env: [{ name: 'OWN', value: 'x' }],
    });
    const wanted = (await host.printed(main.id, 'end\n')).replace('end\n', '');
    const session = await open({ args: ['sh', '-c', facts] }, main.id);
    assert.equal(await textOf(session.stdout), wanted);
    await host.runtime.containers.remove(main.id);
  });

  it('has all capabilities that there are if that is asked for, as another user for set-uid programs, and tells its pid', async () => {
    const caps = 'grep -E "^Cap(Eff|Bnd)" /proc/self/status';
    const own = (await run(caps)).stdout;
    const privileged = await run(caps, { isPrivileged: true });
    assert.notEqual(privileged.stdout, own);
    const [, bounding = ''] = /^CapBnd:\s*(\w+)$/m.exec(privileged.stdout) ?? [];
    assert.match(privileged.stdout, new RegExp(`^CapEff:\\s*${bounding}$`, 'm'));
    const other = (await run(caps, { isPrivileged: true, user: 'www-data' })).stdout;
    assert.match(other, new RegExp(`^CapEff:\\s*0+\nCapBnd:\\s*${bounding}$`, 'm'));
    const session = await open({ args: ['sleep', '1000'] });
    assert.match(readFileSync(`/proc/${session.pid}/cmdline`, 'latin1'), /^sleep/);
    await session.close();
  });

  it('takes another user, environment and folder', async () => {
    const { stdout } = await run('id -u; id -g; echo $HOME; echo "$OWN $MORE"; pwd; grep CapEff /proc/self/status', {
      user: 'www-data',
      env: [{ name: 'MORE', value: 'and more' }],
      workingDir: '/tmp',
    });
    const [uid, gid, home, env, dir, capabilities] = stdout.split('\n');
    assert.deepEqual({ uid, gid, env, dir }, { uid: '33', gid: '33', env: 'of the container and more', dir: '/tmp' });
    assert.notEqual(home, '/root');
    assert.match(capabilities ?? '', /^CapEff:\s+0+$/);
  });

  it('refuses what cannot be, naming the field', async () => {
    const fieldOf = async (request: Partial<ExecRequest>): Promise<string> => {
      const error = await open({ args: ['true'], ...request }).then(
        () => undefined,
        (problem: unknown) => problem,
      );
      assert.ok(error instanceof ContainerConfigError, String(error));
      return error.field;
    };
    assert.equal(await fieldOf({ args: [] }), 'args');
    assert.equal(await fieldOf({ args: ['a\0b'] }), 'args');
    assert.equal(await fieldOf({ user: 'nobody-knows' }), 'user');
    assert.equal(await fieldOf({ workingDir: 'tmp' }), 'workingDir');
    assert.equal(await fieldOf({ env: [{ name: 'A=B', value: '' }] }), 'env');
  });

  for (const hasTerminal of [false, true]) {
    const how = hasTerminal ? 'with a terminal' : 'with pipes';
    it(`tells a missing program (127) from one that cannot be executed (126), ${how}`, async () => {
      const codeOf = async (program: string): Promise<number> => {
        const error = await open({ args: [program], hasTerminal }).then(
          () => undefined,
          (problem: unknown) => problem,
        );
        assert.ok(error instanceof StartError, String(error));
        return error.exitCode;
      };
      assert.equal(await codeOf('no-such-program'), 127);
      assert.equal(await codeOf('/no/such/program'), 127);
      assert.equal(await codeOf('/etc/passwd'), 126);
      assert.equal(await codeOf('/etc'), 126);
    });
  }

  it('says that a folder is missing', async () => {
    await assert.rejects(open({ args: ['true'], workingDir: '/nowhere' }), /workingDir|nowhere|chdir/);
  });

  it('carries 10 MiB through stdin and stdout whole and in order', async () => {
    const session = await open({ args: ['cat'], hasStdin: true });
    const data = randomBytes(10 * 2 ** 20);
    const { stdin } = session;
    assert.ok(stdin);
    const hash = createHash('sha256');
    let bytes = 0;
    await Promise.all([
      pipeline([data], stdin),
      (async () => {
        for await (const part of session.stdout) {
          hash.update(part as Buffer);
          bytes += (part as Buffer).length;
        }
      })(),
      textOf(session.stderr),
    ]);
    assert.equal(await session.exit, 0);
    assert.equal(bytes, data.length);
    assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
  });

  it('makes a writer wait for a slow reader', async () => {
    const session = await open({ args: ['sh', '-c', 'head -c 8000000 /dev/zero; echo done > /tmp/slow'] });
    // The kernel's and our buffers take some; the rest waits in the container.
    await until('the reader to have its fill', () => session.stdout.readableLength > 0);
    assert.equal((await run('cat /tmp/slow')).code, 1);
    let bytes = 0;
    for await (const part of session.stdout) bytes += (part as Buffer).length;
    assert.equal(bytes, 8_000_000);
    assert.equal(await session.exit, 0);
    assert.equal((await run('cat /tmp/slow')).stdout, 'done\n');
  });

  it('cannot signal anything outside through its process group', async () => {
    assert.equal((await run('trap "exit 4" USR1; kill -USR1 0; sleep 10')).code, 4);
    assert.equal((await run('kill -9 0')).code, 137);
    assert.equal((await run('echo alive')).stdout, 'alive\n');
  });

  it('does not wait for what the process left in the background', async () => {
    const { stdout, code } = await run('echo first; sleep 987 & exit 3');
    assert.deepEqual({ stdout, code }, { stdout: 'first\n', code: 3 });
    await run('pkill -f "sleep 987"');
  });

  it('gives a terminal of the size asked for, and resizes it', async () => {
    const session = await open({
      args: ['sh', '-c', 'stty size; trap "stty size; exit 5" WINCH; echo ready; while :; do sleep 0.05; done'],
      hasTerminal: true,
      hasStdin: true,
      size: { columns: 91, rows: 17 },
    });
    assert.equal(session.stderr, undefined);
    let output = '';
    session.stdout.on('data', (part: Buffer) => {
      output += part.toString();
    });
    await until('it to be ready', () => output.includes('ready'));
    assert.equal(output.split('\r\n')[0], '17 91');
    await session.resize({ columns: 120, rows: 40 });
    assert.equal(await session.exit, 5);
    await until('the new size', () => output.includes('40 120'));
  });

  it('is a terminal for an interactive shell, with echo, line editing and the end of input', async () => {
    const session = await open({ args: ['sh'], hasTerminal: true, hasStdin: true });
    let output = '';
    session.stdout.on('data', (part: Buffer) => {
      output += part.toString();
    });
    const { stdin } = session;
    assert.ok(stdin);
    stdin.write('tty; echo $TERM; echo a$((40+2))\n');
    await until('the answer', () => output.includes('a42'));
    assert.match(output, /\/dev\/pts\/[0-9]+/);
    assert.match(output, /xterm/);
    const marker = `sleep ${60_000 + Math.floor(Math.random() * 9_999)}`;
    stdin.write(`${marker}\n`);
    await until('the program to run', () => processesWith(marker).length > 0);
    stdin.write('\x03');
    await until('the prompt', () => /\^C[\s\S]*# /.test(output));
    stdin.write('echo after$((1+1))\n');
    await until('the interrupt', () => output.includes('after2'));
    stdin.write('exit 9\n');
    assert.equal(await session.exit, 9);
    const other = await open({ args: ['cat'], hasTerminal: true, hasStdin: true });
    other.stdout.resume();
    other.stdin?.end();
    assert.equal(await other.exit, 0);
  });

  it('ends a process whose client goes away: hang-up first with a terminal, then SIGKILL', async () => {
    // A shell that reads runs its trap at once, within what a hang-up is given before SIGKILL.
    const polite = await open({
      args: ['sh', '-c', 'trap "echo hung up > /tmp/polite; exit" HUP; echo ready; read x'],
      hasTerminal: true,
    });
    polite.stdout.resume();
    await new Promise((resolve) => polite.stdout.once('data', resolve));
    await polite.close();
    await assert.rejects(polite.exit, /closed/);
    assert.equal((await run('cat /tmp/polite')).stdout, 'hung up\n');
    for (const hasTerminal of [true, false]) {
      const marker = `sleep ${70_000 + Math.floor(Math.random() * 9_999)}`;
      const stubborn = await open({
        args: ['sh', '-c', `trap "" HUP TERM; ${marker} & echo ready; wait`],
        hasTerminal,
      });
      await new Promise((resolve) => stubborn.stdout.once('data', resolve));
      await until('its process', () => processesWith(marker).length > 0);
      await stubborn.close();
      await until('its processes to be gone', () => processesWith(marker).length === 0);
    }
  });

  it('ends with the container', async () => {
    const other = await host.run(sleeper);
    const session = await open({ args: ['sleep', '1000'] }, other.id);
    await host.runtime.containers.signal(other.id, 9);
    assert.equal(await session.exit, 137);
    await host.exited(other.id);
    await assert.rejects(open({ args: ['true'] }, other.id), ContainerNotRunningError);
    await host.runtime.containers.remove(other.id);
    await assert.rejects(async () => open({ args: ['true'] }, other.id), ContainerNotFoundError);
  });

  it('runs 64 at once', async () => {
    const all = await Promise.all(Array.from({ length: 64 }, (_, index) => run(`echo ${index}; exit ${index}`)));
    assert.deepEqual(
      all.map(({ stdout, code }) => ({ stdout, code })),
      Array.from({ length: 64 }, (_, index) => ({ stdout: `${index}\n`, code: index })),
    );
  });

  it('ends its process also when its relay is killed', async () => {
    const marker = `sleep ${80_000 + Math.floor(Math.random() * 9_999)}`;
    const session = await open({ args: marker.split(' ') });
    const [pid] = processesWith(marker);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const relay = Number(/^PPid:\s+([0-9]+)/m.exec(status)?.[1]);
    assert.match(readFileSync(`/proc/${relay}/cmdline`, 'utf8'), /^holdfast-relay/);
    process.kill(relay, 'SIGKILL');
    await assert.rejects(session.exit, /relay was killed/);
    await until('its process to be gone', () => processesWith(marker).length === 0);
  });

  it('leaves no folder and no process behind when the runtime closes', async () => {
    const marker = `sleep ${90_000 + Math.floor(Math.random() * 9_999)}`;
    const session = await open({ args: marker.split(' ') });
    assert.equal(processesWith(marker).length, 1);
    await host.reopen();
    await assert.rejects(session.exit, /closed/);
    assert.equal(processesWith(marker).length, 0);
    assert.deepEqual(readdirSync(join(host.deps.runDir, 'sessions')), []);
    assert.equal((await run('echo still there')).stdout, 'still there\n');
  });
});
