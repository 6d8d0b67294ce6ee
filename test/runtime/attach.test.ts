/** The streams of a container's own process, and connections to its ports. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import {
  type AttachRequest,
  ContainerConfigError,
  ContainerNotFoundError,
  ContainerNotRunningError,
  RuntimeOperationError,
  StartError,
  type StreamSession,
} from '../../runtime/index.ts';
import { stdioFlags } from '../../runtime/monitor.ts';
import { never, TestHost, until } from './host.ts';
import { processesWith } from './processes.ts';

/** Keeps what a session gives, as it comes. */
function listen(session: StreamSession): { stdout: string; stderr: string } {
  const heard = { stdout: '', stderr: '' };
  session.stdout.on('data', (part: Buffer) => {
    heard.stdout += part.toString();
  });
  session.stderr?.on('data', (part: Buffer) => {
    heard.stderr += part.toString();
  });
  return heard;
}

describe('the flags of conmon for standard streams', () => {
  const cases = [
    { it: 'are none without input', given: {}, want: [] },
    { it: 'keep the input open', given: { hasStdin: true }, want: ['-i', '--leave-stdin-open'] },
    { it: 'let the first client end the input', given: { hasStdin: true, isStdinOnce: true }, want: ['-i'] },
    { it: 'ask for a terminal alone', given: { hasStdin: true, isStdinOnce: true, hasTerminal: true }, want: ['-t'] },
    { it: 'ignore stdinOnce without input', given: { isStdinOnce: true }, want: [] },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(stdioFlags(c.given), c.want));
});

describe('attaching to a container', () => {
  let host: TestHost;
  const attach = (id: string, request: Partial<AttachRequest> = {}): Promise<StreamSession> =>
    host.runtime.containers.attach(id, { hasStdin: true, ...request }, never);

  before(async () => {
    host = await TestHost.open();
  });
  after(async () => {
    await host.close();
  });

  it('gives output from then on, stdout and stderr apart, and the exit code', async () => {
    const { id } = await host.run({
      cmd: ['sh', '-c', 'echo before; read line; echo "out $line"; echo "err $line" >&2; exit 6'],
      hasStdin: true,
    });
    await host.printed(id, 'before');
    const session = await attach(id);
    const heard = listen(session);
    session.stdin?.write('hello\n');
    assert.equal(await session.exit, 6);
    assert.deepEqual(heard, { stdout: 'out hello\n', stderr: 'err hello\n' });
    await host.runtime.containers.remove(id);
  });

  it('carries 10 MiB in and out whole and in order', async () => {
    const { id } = await host.run({
      cmd: ['sh', '-c', 'echo up >&2; cat'],
      hasStdin: true,
      isStdinOnce: true,
      log: { maxSizeBytes: 100_000_000, maxFiles: 2 },
    });
    await host.printed(id, 'up');
    const data = randomBytes(7 * 2 ** 20)
      .toString('base64')
      .replace(/(.{99})/g, '$1\n')
      .slice(0, 10_000_000);
    const session = await attach(id);
    session.stderr?.resume();
    session.stdin?.end(data);
    const parts: Buffer[] = [];
    for await (const part of session.stdout) parts.push(part as Buffer); // no encoding is set
    const came = Buffer.concat(parts).toString();
    assert.equal(came.length, data.length);
    assert.ok(came === data);
    assert.equal(await session.exit, 0);
    await host.runtime.containers.remove(id);
  });

  it('with stdinOnce ends the input when the client goes away, without it keeps it open', async () => {
    const cmd = ['sh', '-c', 'echo up; while read line; do echo "got $line"; done; echo end of input'];
    const once = await host.run({ cmd, hasStdin: true, isStdinOnce: true });
    const open = await host.run({ cmd, hasStdin: true });
    for (const { id } of [once, open]) {
      await host.printed(id, 'up');
      const session = await attach(id);
      listen(session);
      session.stdin?.write('one\n');
      await host.printed(id, 'got one');
      await session.close();
      assert.equal(await session.exit, undefined);
    }
    await host.exited(once.id);
    assert.match(await host.output(once.id), /end of input/);
    const again = await attach(open.id);
    const heard = listen(again);
    again.stdin?.end('two\n');
    await until('the answer', () => heard.stdout.includes('got two'));
    assert.equal((await host.runtime.containers.inspect(open.id))?.state.kind, 'running');
    for (const { id } of [once, open]) await host.runtime.containers.remove(id);
  });

  it('that only reads touches nothing, and several read the same', async () => {
    const { id } = await host.run({
      cmd: ['sh', '-c', 'echo up; read line; echo "got $line"; exit 0'],
      hasStdin: true,
      isStdinOnce: true,
    });
    await host.printed(id, 'up');
    const reader = await attach(id, { hasStdin: false });
    await reader.close();
    const readers = await Promise.all([attach(id, { hasStdin: false }), attach(id, { hasStdin: false })]);
    const heard = readers.map(listen);
    const writer = await attach(id);
    listen(writer);
    writer.stdin?.write('x\n');
    assert.deepEqual(await Promise.all([...readers, writer].map((one) => one.exit)), [0, 0, 0]);
    assert.deepEqual(
      heard.map(({ stdout }) => stdout),
      ['got x\n', 'got x\n'],
    );
    await host.runtime.containers.remove(id);
  });

  it('without an input of the container gives none, and its program sees the end of input', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'cat; echo no input; sleep 1000'] });
    await host.printed(id, 'no input');
    const session = await attach(id);
    assert.equal(session.stdin, undefined);
    await session.close();
    await host.runtime.containers.remove(id);
  });

  it('waits for a run to come and has all of it, although the container is removed at its end', async () => {
    const { containers } = host.runtime;
    for (let round = 0; round < 20; round += 1) {
      const config = host.config({ cmd: ['sh', '-c', 'echo out; echo err >&2; echo more; exit 3'] });
      // Before there is such a container.
      const session = await attach(config.id, { run: 'present-or-next' });
      await containers.create(config, never);
      await containers.start(config.id, never);
      assert.equal((await host.exited(config.id)).state.kind, 'exited');
      await containers.remove(config.id);
      const [out, err] = [session.stdout, session.stderr].map((one) => one?.toArray());
      assert.equal(await session.exit, 3);
      assert.equal(Buffer.concat((await out) ?? []).toString(), 'out\nmore\n');
      assert.equal(Buffer.concat((await err) ?? []).toString(), 'err\n');
    }
  });

  it('has all of a run also when it reads it after the log was rotated and removed', async () => {
    const { containers } = host.runtime;
    const config = host.config({ cmd: ['seq', '400000'], log: { maxSizeBytes: 100_000, maxFiles: 2 } });
    await containers.create(config, never);
    const session = await attach(config.id, { run: 'present-or-next', hasStdin: false });
    session.stderr?.resume();
    await containers.start(config.id, never);
    await host.exited(config.id);
    await containers.remove(config.id);
    const parts: Buffer[] = [];
    for await (const part of session.stdout) parts.push(part as Buffer); // no encoding is set
    assert.equal(await session.exit, 0);
    const lines = Buffer.concat(parts).toString().split('\n');
    assert.equal(lines.length, 400_001);
    assert.ok(lines.slice(0, -1).every((line, index) => line === String(index + 1)));
  });

  it('gives what was written before the run came to its program, and its end', async () => {
    const { containers } = host.runtime;
    const config = host.config({ cmd: ['cat'], hasStdin: true, isStdinOnce: true });
    const session = await attach(config.id, { run: 'present-or-next' });
    const heard = listen(session);
    session.stdin?.end('early\n');
    await containers.create(config, never);
    await containers.start(config.id, never);
    assert.equal(await session.exit, 0);
    assert.deepEqual(heard, { stdout: 'early\n', stderr: '' });
    await containers.remove(config.id);
  });

  it('waits no more when the start fails, the container is removed, or the client goes away', async () => {
    const { containers } = host.runtime;
    const config = host.config({ cmd: ['no-such-program'] });
    await containers.create(config, never);
    const failing = await attach(config.id, { run: 'present-or-next' });
    const leaving = await attach(config.id, { run: 'present-or-next' });
    await leaving.close();
    assert.equal(await leaving.exit, undefined);
    const failed = assert.rejects(failing.exit, StartError);
    await assert.rejects(containers.start(config.id, never), StartError);
    await failed;
    const forgotten = await attach(config.id, { run: 'present-or-next' });
    const removed = assert.rejects(forgotten.exit, RuntimeOperationError);
    await containers.remove(config.id);
    await removed;
    await assert.rejects(attach(config.id), ContainerNotFoundError);
  });

  it('begins with the whole log if that is asked for, and ends with the present run', async () => {
    const { containers } = host.runtime;
    const { id } = await host.run({ cmd: ['sh', '-c', 'echo run; read line; echo "got $line"'], hasStdin: true });
    for (const line of ['one', 'two']) {
      const session = await attach(id, { hasLog: true });
      const heard = listen(session);
      await until('the run', () => heard.stdout.endsWith('run\n'));
      session.stdin?.write(`${line}\n`);
      assert.equal(await session.exit, 0);
      assert.equal(heard.stdout, line === 'one' ? 'run\ngot one\n' : 'run\ngot one\nrun\ngot two\n');
      await containers.start(id, never);
    }
    await containers.remove(id);
  });

  it('gives a terminal: echo, size, interrupt, detaching and coming back', async () => {
    const { id } = await host.run({ cmd: ['sh'], hasStdin: true, hasTerminal: true });
    const session = await attach(id, { size: { columns: 101, rows: 33 } });
    assert.equal(session.stderr, undefined);
    const heard = listen(session);
    session.stdin?.write('stty size; echo $TERM; tty\n');
    await until('the size', () => heard.stdout.includes('33 101'));
    await until('the kind', () => heard.stdout.includes('xterm'));
    await session.resize({ columns: 55, rows: 22 });
    session.stdin?.write('stty size; mark=kept\n');
    await until('the new size', () => heard.stdout.includes('22 55'));
    const marker = `sleep ${50_000 + Math.floor(Math.random() * 9_999)}`;
    session.stdin?.write(`${marker}\n`);
    await until('the program to run', () => processesWith(marker).length > 0);
    session.stdin?.write('\x03');
    await until('the prompt', () => /\^C[\s\S]*# /.test(heard.stdout));
    session.stdin?.write('echo after$((1+1))\n');
    await until('the interrupt', () => heard.stdout.includes('after2'));
    await session.close();
    const again = await attach(id);
    const heardAgain = listen(again);
    again.stdin?.write('echo "it is $mark"\n');
    await until('the same shell', () => heardAgain.stdout.includes('it is kept'));
    again.stdin?.write('exit 3\n');
    assert.equal(await again.exit, 3);
    await host.runtime.containers.remove(id);
  });

  it('every keystroke comes back, with no need of a next one', async () => {
    const { id } = await host.run({ cmd: ['cat'], hasStdin: true, hasTerminal: true });
    const session = await attach(id);
    const heard = listen(session);
    // How fast is a matter of make bench.
    for (let index = 0; index < 40; index += 1) {
      const length = heard.stdout.length;
      session.stdin?.write('x');
      await new Promise<void>((resolve) => {
        const look = (): void => {
          if (heard.stdout.length > length) resolve();
          else session.stdout.once('data', () => setImmediate(look));
        };
        look();
      });
    }
    await session.close();
    await host.runtime.containers.remove(id);
  });

  it('never holds up the container: neither a reader that stops reading nor input that nobody takes', async () => {
    const { id } = await host.run({
      cmd: [
        'sh',
        '-c',
        'while [ ! -e /go ]; do sleep 0.05; done; yes 0123456789abcdef0123456789abcdef | head -c 3000000; echo; echo written; sleep 1000',
      ],
      hasStdin: true,
      log: { maxSizeBytes: 1_000_000_000, maxFiles: 2 },
    });
    const session = await attach(id);
    session.stdin?.write(Buffer.alloc(2_000_000));
    const go = await host.runtime.containers.exec(
      id,
      { args: ['touch', '/go'], hasTerminal: false, hasStdin: false },
      never,
    );
    go.stdout.resume();
    go.stderr?.resume();
    assert.equal(await go.exit, 0);
    await host.printed(id, 'written');
    await session.close();
    await host.runtime.containers.remove(id);
  });

  it('is lost with the daemon, and nothing else is', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'while read line; do echo "got $line"; done'], hasStdin: true });
    const session = await attach(id);
    listen(session);
    session.stdin?.write('one\n');
    await host.printed(id, 'got one');
    await host.reopen();
    assert.equal(await session.exit, undefined);
    const again = await attach(id);
    const heard = listen(again);
    again.stdin?.write('two\n');
    await until('the answer', () => heard.stdout.includes('got two'));
    await again.close();
    await host.runtime.containers.remove(id);
  });

  it('ends when the container is removed, and is refused when it does not run', async () => {
    const { id } = await host.run({ cmd: ['sleep', '1000'] });
    const session = await attach(id);
    listen(session);
    await host.runtime.containers.remove(id);
    await assert.rejects(session.exit, /removed/);
    const config = host.config({ cmd: ['true'] });
    await host.runtime.containers.create(config, never);
    await assert.rejects(attach(config.id), ContainerNotRunningError);
    await host.runtime.containers.remove(config.id);
  });

  it('does not run on into the next run', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'read line; echo "got $line"'], hasStdin: true });
    const session = await attach(id);
    session.stdin?.write('first\n');
    await host.exited(id);
    await host.runtime.containers.start(id, never);
    const next = await attach(id);
    const heardNext = listen(next);
    next.stdin?.write('second\n');
    assert.equal(await next.exit, 0);
    const heard = listen(session);
    assert.equal(await session.exit, 0);
    await until('all of the output', () => heard.stdout !== '');
    assert.equal(heard.stdout, 'got first\n');
    assert.equal(heardNext.stdout, 'got second\n');
    await host.runtime.containers.remove(id);
  });
});

describe('dialling a port of a container', () => {
  let host: TestHost;
  let id: string;
  const dial = (port: number): Promise<Duplex> => host.runtime.containers.dial(id, port, never);

  before(async () => {
    host = await TestHost.open();
    // The first answers when the request has ended: both directions must be able to end alone.
    const serve = 'while :; do nc -l -p 80 -e sh -c "wc -c; echo bye"; done';
    const local = 'mkdir /www; echo local > /www/index.html; httpd -p 127.0.0.1:82 -h /www; httpd -p [::1]:81 -h /www';
    ({ id } = await host.run({ cmd: ['sh', '-c', `${local}; ${serve} & sleep 1000`] }));
  });
  after(async () => {
    await host.close();
  });

  const ask = async (port: number, data: Buffer): Promise<string> => {
    const connection = await until('the port to be open', () => dial(port).catch(() => undefined));
    connection.end(data);
    let text = '';
    for await (const part of connection) text += String(part);
    return text;
  };

  it('hands on the end of either direction alone', async () => {
    assert.equal(await ask(80, Buffer.alloc(3_000_000)), '3000000\nbye\n');
  });

  it('reaches what listens on loopback only, IPv4 or IPv6', async () => {
    for (const port of [82, 81]) assert.match(await ask(port, Buffer.from('GET / HTTP/1.0\r\n\r\n')), /local\n$/);
  });

  it('says that nobody listens', async () => {
    await assert.rejects(dial(4), (error) => error instanceof RuntimeOperationError && /refused/.test(error.message));
    await assert.rejects(dial(0), ContainerConfigError);
    await assert.rejects(dial(65_536), ContainerConfigError);
  });

  it('ends with the container', async () => {
    const other = await host.run({ cmd: ['sh', '-c', 'nc -l -p 90 -e sleep 1000'] });
    const connection = await until('the port to be open', () =>
      host.runtime.containers.dial(other.id, 90, never).catch(() => undefined),
    );
    await host.runtime.containers.remove(other.id);
    connection.resume();
    await new Promise<void>((resolve) => connection.once('close', resolve));
    await assert.rejects(async () => host.runtime.containers.dial(other.id, 90, never));
  });
});
