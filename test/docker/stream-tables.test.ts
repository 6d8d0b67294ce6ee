/** What the streams and files of docker's containers mean, in tables. */
import assert from 'node:assert/strict';
import { duplexPair, PassThrough } from 'node:stream';
import { parseExec, parseExecStart } from '../../docker/exec-request.ts';
import { goModeOf } from '../../docker/files.ts';
import { createLogFormat, timeOf } from '../../docker/logs.ts';
import { pump } from '../../docker/pump.ts';
import { contentTypeOf, DetachWatch, formatFrame, parseDetachKeys } from '../../docker/stream-frames.ts';
import { parsePs, parsePsArgs } from '../../docker/top.ts';

describe('keys that detach', () => {
  const keys = Buffer.from([0x10, 0x11]);
  const cases: { it: string; chunks: readonly string[]; want: string; isDetached: boolean }[] = [
    { it: 'are found in one piece', chunks: ['ab\x10\x11cd'], want: 'ab', isDetached: true },
    { it: 'are found in two', chunks: ['ab\x10', '\x11'], want: 'ab', isDetached: true },
    { it: 'are handed on when others follow', chunks: ['\x10', 'x'], want: '\x10x', isDetached: false },
    { it: 'are found after a false beginning', chunks: ['\x10\x10', '\x11'], want: '\x10', isDetached: true },
    { it: 'are held back while it is not clear', chunks: ['a\x10'], want: 'a', isDetached: false },
    { it: 'are not what is typed otherwise', chunks: ['\x11\x11', 'q'], want: '\x11\x11q', isDetached: false },
  ];
  for (const c of cases)
    it(c.it, () => {
      const watch = new DetachWatch(keys);
      const taken = c.chunks.map((chunk) => watch.take(Buffer.from(chunk)));
      assert.equal(Buffer.concat(taken.map(({ data }) => data)).toString(), c.want);
      assert.equal(taken.at(-1)?.isDetached, c.isDetached);
    });

  it('are named as docker names them', () => {
    assert.deepEqual([...parseDetachKeys(null)], [0x10, 0x11]);
    assert.deepEqual([...parseDetachKeys('ctrl-a,x,ctrl-[')], [1, 0x78, 0x1b]);
    for (const wrong of ['ctrl-', 'ctrl-1', 'ab', 'ctrl-p,', 'é'])
      assert.throws(() => parseDetachKeys(wrong), /Invalid detach keys/, wrong);
  });
});

describe('streams on a connection', () => {
  it('are framed, and of a kind that newer clients are told', () => {
    assert.deepEqual([...formatFrame('stderr', Buffer.from('abc'))], [2, 0, 0, 0, 0, 0, 0, 3, 97, 98, 99]);
    assert.equal(contentTypeOf(false, 41), 'application/vnd.docker.raw-stream');
    assert.equal(contentTypeOf(false, 42), 'application/vnd.docker.multiplexed-stream');
    assert.equal(contentTypeOf(true, 50), 'application/vnd.docker.raw-stream');
  });

  const sides = () => {
    const [connection, client] = duplexPair();
    const session = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
    return { client, connection, session };
  };
  const all = { stdin: true, stdout: true, stderr: true };

  it('end when the outputs have, with all that was in them', async () => {
    const { client, connection, session } = sides();
    const ended = pump({ connection, session, isRaw: false, wants: all, endsInput: true });
    session.stdout.end('out');
    session.stderr.end('err');
    assert.equal(await ended, 'ended');
    const text = Buffer.concat(await client.toArray()).toString('latin1');
    assert.ok(
      text.includes('\x01\0\0\0\0\0\0\x03out') && text.includes('\x02\0\0\0\0\0\0\x03err'),
      JSON.stringify(text),
    );
  });

  it('hand on the end of the input, or take it for the client going away', async () => {
    for (const endsInput of [true, false]) {
      const { client, connection, session } = sides();
      const ended = pump({ connection, session, isRaw: true, wants: all, endsInput });
      client.end('typed');
      if (endsInput) {
        assert.equal(Buffer.concat(await session.stdin.toArray()).toString(), 'typed');
        session.stdout.end();
        session.stderr.end();
      }
      assert.equal(await ended, endsInput ? 'ended' : 'gone');
    }
  });

  it('detach by the keys', async () => {
    const { client, connection, session } = sides();
    const detachKeys = parseDetachKeys(null);
    const ended = pump({ connection, session, isRaw: true, wants: all, endsInput: false, detachKeys });
    client.write('x\x10\x11');
    assert.equal(await ended, 'detached');
    assert.equal(session.stdin.read()?.toString(), 'x');
    connection.destroy();
  });
});

describe('a request of docker exec', () => {
  it('says what is to be run, and how', () => {
    const { request, wants } = parseExec({
      Cmd: ['sh', '-c', 'x'],
      Env: ['A=b=c', 'UNSET'],
      User: 'nobody',
      WorkingDir: '/tmp',
      Privileged: true,
      Tty: true,
      AttachStdin: true,
      AttachStdout: true,
      ConsoleSize: [30, 100],
    });
    assert.deepEqual(request, {
      args: ['sh', '-c', 'x'],
      env: [{ name: 'A', value: 'b=c' }],
      user: 'nobody',
      workingDir: '/tmp',
      isPrivileged: true,
      hasTerminal: true,
      hasStdin: true,
      size: { rows: 30, columns: 100 },
    });
    assert.deepEqual(wants, { stdin: true, stdout: true, stderr: false });
  });
  it('is refused with the field that is wrong', () => {
    assert.throws(() => parseExec({}), /No exec command specified/);
    assert.throws(() => parseExec({ Cmd: [1] }), /Cmd/);
    assert.throws(() => parseExec({ Cmd: ['x'], Tty: 'yes' }), /Tty/);
    assert.throws(() => parseExec({ Cmd: ['x'], ConsoleSize: [1] }), /ConsoleSize/);
    assert.throws(() => parseExec({ Cmd: ['x'], Nice: true }), /Nice/);
    assert.throws(() => parseExecStart([]), /object/);
  });
});

describe('a log as docker shows it', () => {
  it('has the time at the beginning of each line, not of each part', () => {
    const format = createLogFormat({ hasTimes: true, isRaw: true });
    const entry = (stream: 'stdout' | 'stderr', text: string) => ({ time: 'T', stream, data: Buffer.from(text) });
    const shown = [entry('stdout', 'a'), entry('stderr', 'x\n'), entry('stdout', 'b\n'), entry('stdout', 'c\n')];
    assert.equal(Buffer.concat(shown.map(format)).toString(), 'T aT x\nb\nT c\n');
  });
  it('is asked for by times in seconds or as text', () => {
    const of = (text: string) => timeOf(new URLSearchParams({ since: text }), 'since');
    assert.equal(of(''), undefined);
    assert.equal(of('0'), undefined);
    assert.equal(of('1700000000.5'), 1_700_000_000_500);
    assert.equal(of('2026-01-01T00:00:00Z'), Date.UTC(2026, 0, 1));
    assert.throws(() => of('yesterday'), /since/);
  });
});

describe('processes as ps shows them', () => {
  it('are those of the container, their commands whole', () => {
    const text = 'UID   PID CMD\nroot    1 init\nroot   22 sleep 10 20\nroot    - \n';
    assert.deepEqual(parsePs(text, new Set([22])), {
      Titles: ['UID', 'PID', 'CMD'],
      Processes: [['root', '22', 'sleep 10 20']],
    });
    assert.throws(() => parsePs('UID CMD\n', new Set([1])), /PID field/);
  });
  it('are asked for in words of ps that cannot hide the column PID', () => {
    assert.deepEqual(parsePsArgs(''), ['-ef']);
    assert.deepEqual(parsePsArgs('-o pid,comm'), ['-o', 'pid,comm']);
    assert.throws(() => parsePsArgs('-o user=PID'), /not allowed/);
  });
});

describe('what a file is, in Go’s words', () => {
  it('has the kind above the permissions', () => {
    assert.equal(goModeOf({ kind: 'file', mode: 0o644 }), 0o644);
    assert.equal(goModeOf({ kind: 'folder', mode: 0o1777 }), 2 ** 31 + 2 ** 20 + 0o777);
    assert.equal(goModeOf({ kind: 'link', mode: 0o777 }), 2 ** 27 + 0o777);
    assert.equal(goModeOf({ kind: 'file', mode: 0o6755 }), 2 ** 23 + 2 ** 22 + 0o755);
  });
});
