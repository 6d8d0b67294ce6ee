/** What comes out of containers and goes into them, by the real docker and by raw connections, against a real host. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { useInstance } from '../e2e/use-instance.ts';
import { type CommandResult, run } from '../instance.ts';
import { Terminal } from '../terminal.ts';
import { docker as dockerProgram } from '../tools.ts';
import { until } from '../until.ts';

const image = 'localhost/busybox:latest';

describe('streams of containers, by docker', function () {
  this.timeout(300_000);
  const instance = useInstance({ images: 'busybox' });
  const socket = (): string => join(instance().runDir, 'docker.sock');
  const tryDocker = (args: readonly string[], input = ''): Promise<CommandResult> =>
    run(dockerProgram(), ['--host', `unix://${socket()}`, ...args], {
      env: { DOCKER_CONFIG: instance().dataDir },
      input,
    });
  const docker = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await tryDocker(args);
    assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const start = (name: string, script: string, ...flags: readonly string[]): Promise<string> =>
    docker('run', '-d', '--name', name, ...flags, image, 'sh', '-c', script);
  const state = (name: string): Promise<string> => docker('inspect', '--format', '{{.State.Status}}', name);
  afterEach(async () => {
    const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-vf', ...left);
  });

  /** A request on a connection of its own, which stays open. */
  const open = async (method: string, path: string, body?: unknown, isUpgrade = true): Promise<Socket> => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const connection = connect(socket());
    connection.on('error', () => {}); // some are broken off on purpose
    await once(connection, 'connect');
    const upgrade = isUpgrade ? 'Connection: Upgrade\r\nUpgrade: tcp\r\n' : 'Connection: close\r\n';
    connection.write(
      `${method} ${path} HTTP/1.1\r\nHost: docker\r\n${upgrade}Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    return connection;
  };
  const hear = (connection: Socket): { text: string } => {
    const heard = { text: '' };
    connection.on('data', (chunk: Buffer) => {
      heard.text += chunk.toString('latin1');
    });
    return heard;
  };
  const ask = async (method: string, path: string, body?: unknown): Promise<string> => {
    const connection = await open(method, path, body, false);
    const heard = hear(connection);
    await once(connection, 'close');
    return heard.text;
  };
  const exec = async (name: string, body: object): Promise<string> => {
    const answer = await ask('POST', `/v1.41/containers/${name}/exec`, body);
    const [, id] = /"Id":"([0-9a-f]{64})"/.exec(answer) ?? [];
    assert.ok(id !== undefined, answer);
    return id;
  };

  describe('docker run', () => {
    it('loses no byte of a short program, a hundred times', async () => {
      const script = 'echo out; echo err >&2; printf last';
      for (let round = 0; round < 100; round += 4) {
        const results = await Promise.all(
          [0, 1, 2, 3].map(() => tryDocker(['run', '--rm', image, 'sh', '-c', script])),
        );
        for (const { stdout, stderr, code } of results) {
          assert.deepEqual(
            { stdout, stderr, code },
            { stdout: 'out\nlast', stderr: 'err\n', code: 0 },
            `round ${round}`,
          );
        }
      }
      await until(async () => (await docker('ps', '-aq')) === '', 'nothing to be left', 60_000);
    });

    it('carries 10 MiB in and out whole', async () => {
      const data = randomBytes(7.5 * 2 ** 20).toString('base64');
      const { stdout, code } = await tryDocker(['run', '--rm', '-i', image, 'cat'], data);
      assert.equal(code, 0);
      assert.equal(stdout.length, data.length);
      assert.ok(stdout === data);
    });

    it('gives the exit code of the program, and of one that is not there', async () => {
      assert.equal((await tryDocker(['run', '--rm', image, 'sh', '-c', 'exit 7'])).code, 7);
      assert.equal((await tryDocker(['run', '--rm', image, 'no-such-program'])).code, 127);
      assert.equal((await tryDocker(['run', '--rm', image, '/etc/passwd'])).code, 126);
    });

    it('gives a program what is typed before it runs', async () => {
      const { stdout } = await tryDocker(['run', '--rm', '-i', image, 'sh', '-c', 'sleep 0.2; cat'], 'early\n');
      assert.equal(stdout, 'early\n');
    });
  });

  describe('docker logs', () => {
    it('gives both streams apart, the last lines, times, and what came since and until', async () => {
      await start('web', 'echo one; echo two >&2; echo three; sleep 1000');
      await until(async () => (await docker('logs', 'web')).includes('three'), 'the log');
      const { stdout, stderr } = await tryDocker(['logs', 'web']);
      assert.deepEqual({ stdout, stderr }, { stdout: 'one\nthree\n', stderr: 'two\n' });
      await start('plain', 'seq 5; sleep 1000');
      await until(async () => (await docker('logs', 'plain')).includes('5'), 'the log');
      assert.equal(await docker('logs', '--tail', '2', 'plain'), '4\n5');
      const timed = await docker('logs', '-t', 'web');
      assert.match(timed, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one\n/);
      // The client asks in whole seconds: what came in the present one is not meant.
      const untilNow = () => docker('logs', '--since', '1h', '--until', '0s', 'web');
      await until(async () => (await untilNow()) === 'one\nthree', 'what came until the present second');
      assert.equal(await docker('logs', '--until', '1h', 'web'), '');
      const wrong = await ask('GET', '/v1.41/containers/web/logs');
      assert.match(wrong, /you must choose at least one stream/);
    });

    it('of a container that was never started are empty', async () => {
      await docker('create', '--name', 'web', image);
      assert.equal(await docker('logs', 'web'), '');
      assert.equal(await docker('logs', '-f', 'web'), '');
    });

    it('follow a container over its restarts, to its end', async () => {
      await start('web', 'echo run; sleep 0.3; exit 1', '--restart', 'on-failure:2');
      assert.equal(await docker('logs', '-f', 'web'), 'run\nrun\nrun');
      await start('last', 'echo begin; sleep 1; echo end');
      assert.equal(await docker('logs', '-f', 'last'), 'begin\nend');
    });
  });

  describe('docker exec', () => {
    it('runs programs as asked, and gives their exit codes', async () => {
      await start('web', 'sleep 1000');
      const result = await tryDocker(['exec', 'web', 'sh', '-c', 'echo out; echo err >&2; exit 9']);
      assert.deepEqual(result, { code: 9, stdout: 'out\n', stderr: 'err\n' });
      assert.equal(
        await docker('exec', '-u', 'nobody', '-w', '/tmp', '-e', 'A=b', 'web', 'sh', '-c', 'id -un; pwd; echo $A'),
        'nobody\n/tmp\nb',
      );
      assert.equal((await tryDocker(['exec', '-i', 'web', 'cat'], 'typed')).stdout, 'typed');
      assert.match(await docker('exec', '--privileged', 'web', 'grep', 'CapEff', '/proc/self/status'), /ffff$/);
      await docker('exec', '-d', 'web', 'touch', '/made');
      await until(async () => (await tryDocker(['exec', 'web', 'test', '-e', '/made'])).code === 0, 'the file');
    });

    it('says what could not be run in the words of docker, with its exit codes', async () => {
      await start('web', 'sleep 1000');
      const missing = await tryDocker(['exec', 'web', 'nope']);
      assert.equal(missing.code, 127);
      assert.match(
        missing.stdout + missing.stderr,
        /OCI runtime exec failed: .*"nope": executable file not found in \$PATH: unknown/,
      );
      const forbidden = await tryDocker(['exec', 'web', '/etc/passwd']);
      assert.equal(forbidden.code, 126);
      assert.match(forbidden.stdout + forbidden.stderr, /"\/etc\/passwd": permission denied: unknown/);
      const stranger = await tryDocker(['exec', '-u', 'stranger', 'web', 'true']);
      assert.equal(stranger.code, 126);
      assert.match(
        stranger.stdout + stranger.stderr,
        /unable to find user stranger: no matching entries in passwd file/,
      );
    });

    it('is refused by what does not run, is paused, or waits for its restart', async () => {
      const id = await docker('create', '--name', 'web', image, 'sleep', '1000');
      assert.match((await tryDocker(['exec', 'web', 'true'])).stderr, new RegExp(`Container ${id} is not running`));
      await docker('start', 'web');
      await docker('pause', 'web');
      assert.match((await tryDocker(['exec', 'web', 'true'])).stderr, /is paused, unpause the container before exec/);
      await docker('unpause', 'web');
      await start('flap', 'exit 1', '--restart', 'always');
      await until(async () => (await state('flap')) === 'restarting', 'it to be restarting');
      await until(
        async () =>
          /is restarting, wait until the container is running/.test((await tryDocker(['exec', 'flap', 'true'])).stderr),
        'the refusal',
      );
    });

    it('is known for a while, and once', async () => {
      await start('web', 'sleep 1000');
      const id = await exec('web', { Cmd: ['sh', '-c', 'exit 5'], AttachStdout: true });
      assert.match(await ask('GET', `/v1.41/exec/${id}/json`), /"Running":false,"ExitCode":null/);
      const connection = await open('POST', `/v1.41/exec/${id}/start`, { Detach: false });
      const heard = hear(connection);
      await once(connection, 'end');
      connection.destroy();
      assert.match(heard.text, /^HTTP\/1.1 101 UPGRADED\r\n/);
      assert.match(await ask('GET', `/v1.41/exec/${id}/json`), /"Running":false,"ExitCode":5/);
      assert.match(await ask('POST', `/v1.41/exec/${id}/start`, {}), /409 .*has already run/s);
      assert.match(await ask('POST', '/v1.41/exec/abc/start', {}), /404 .*No such exec instance: abc/s);
      await docker('rm', '-f', 'web');
      await until(async () => (await ask('GET', `/v1.41/exec/${id}/json`)).includes('404'), 'it to be forgotten');
    });

    it('leaves the program when its client vanishes, which then sees the end of its input', async () => {
      await start('web', 'sleep 1000');
      const id = await exec('web', {
        Cmd: ['sh', '-c', 'cat; echo over > /over; sleep 1000'],
        AttachStdin: true,
        AttachStdout: true,
      });
      const connection = await open('POST', `/v1.41/exec/${id}/start`, { Detach: false });
      const heard = hear(connection);
      connection.write('typed\n');
      await until(() => heard.text.includes('typed'), 'the echo');
      connection.destroy();
      await until(
        async () => (await tryDocker(['exec', 'web', 'cat', '/over'])).stdout === 'over\n',
        'the end of input',
      );
      assert.match(await ask('GET', `/v1.41/exec/${id}/json`), /"Running":true/);
    });
  });

  describe('docker attach', () => {
    it('gives what comes from then on, hands input on, and ends with the container', async () => {
      await start('web', 'read line; echo "got $line"; exit 4', '-i');
      const attached = run(
        'sh',
        ['-c', `(sleep 0.5; echo hello; sleep 3) | timeout 60 ${dockerProgram()} --host unix://${socket()} attach web`],
        { env: { DOCKER_CONFIG: instance().dataDir } },
      );
      assert.equal((await attached).stdout, 'got hello\n');
    });

    it('is had over a WebSocket as well, whose messages are the streams without frames', async () => {
      await start('talker', 'while read line; do echo "got $line"; echo "err $line" >&2; done', '-i');
      const open = (query: string): WebSocket =>
        new WebSocket(`ws+unix://${socket()}:/v1.41/containers/talker/attach/ws?${query}`);
      const first = open('stream=1&stdin=1&stdout=1&stderr=1');
      const heard = { text: '' };
      first.on('message', (data: Buffer, isBinary: boolean) => {
        assert.ok(isBinary);
        heard.text += data.toString();
      });
      await once(first, 'open');
      first.send('one\n');
      await until(() => heard.text.includes('got one\n') && heard.text.includes('err one\n'), 'both answers');
      assert.equal(heard.text.length, 'got one\nerr one\n'.length, heard.text);
      first.terminate();
      assert.equal(await state('talker'), 'running');
      // What was there before, and no more.
      const second = open('logs=1&stdout=1');
      let log = '';
      second.on('message', (data: Buffer) => {
        log += data.toString();
      });
      await once(second, 'close');
      assert.equal(log, 'got one\n');
      // The end of the container is that of the connection.
      const third = open('stream=1&stdout=1');
      const closed = once(third, 'close');
      await once(third, 'open');
      await docker('kill', 'talker');
      await closed;
    });
    it('by a WebSocket is refused to what is none, and to a container that is not there', async () => {
      await start('web', 'sleep 1000');
      const path = '/v1.41/containers/web/attach/ws?stream=1';
      assert.match(await ask('GET', path), /^HTTP\/1.1 400 .*this is for a WebSocket/s);
      const other = await open('GET', path);
      const heard = hear(other);
      await once(other, 'close');
      assert.match(heard.text, /^HTTP\/1.1 400 .*this is for a WebSocket/s);
      const missing = new WebSocket(`ws+unix://${socket()}:/v1.41/containers/nope/attach/ws?stream=1`);
      const [error] = await once(missing, 'error').catch((found: unknown) => [found]);
      assert.match(String(error), /Unexpected server response: 404/);
    });
    it('is refused by a paused container, and leaves nothing when its client vanishes', async () => {
      await start('web', 'while read line; do echo "got $line"; done; sleep 1000', '-i');
      const connections = await Promise.all(
        Array.from({ length: 10 }, () =>
          open('POST', '/v1.41/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1'),
        ),
      );
      const heard = connections.map(hear);
      await until(() => heard.every(({ text }) => text.includes('101 UPGRADED')), 'the connections');
      connections[0]?.write('one\n');
      await until(() => heard.every(({ text }) => text.includes('got one')), 'all to hear');
      for (const connection of connections.slice(1)) connection.destroy();
      connections[0]?.write('two\n');
      await until(() => heard[0]?.text.includes('got two') === true, 'the one that is left to hear');
      connections[0]?.destroy();
      await docker('pause', 'web');
      assert.match((await tryDocker(['attach', 'web'])).stderr, /paused container|is paused/);
      await docker('unpause', 'web');
      assert.equal(await state('web'), 'running');
    });

    it('takes what is no input for what it is, and refuses what is no request', async () => {
      await start('web', 'sleep 1000');
      const garbage = await open('POST', '/v1.41/containers/web/attach?stream=1&stdin=1&stdout=1');
      garbage.write(randomBytes(100_000));
      const heard = hear(garbage);
      await until(() => heard.text.includes('101'), 'the answer');
      garbage.destroy();
      assert.match(await ask('POST', '/v1.41/containers/nope/attach?stream=1'), /404 .*No such container: nope/s);
      assert.match(
        await ask('POST', '/v1.41/containers/web/attach?stream=1&detachKeys=wrong'),
        /400 .*Invalid detach keys/s,
      );
      assert.match(await ask('POST', '/v1.41/containers/web/resize?h=x&w=1'), /400 .*invalid syntax/s);
      assert.match(await ask('POST', '/v1.41/containers/web/exec', 'nonsense'), /400/);
      // Cut off in the middle of the request.
      const cut = connect(socket());
      cut.on('error', () => {});
      await once(cut, 'connect');
      cut.write(
        'POST /v1.41/exec/abc/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 50\r\n\r\n{"De',
      );
      cut.destroy();
      assert.equal(await state('web'), 'running');
    });

    it('holds the container up for no reader that has stopped reading', async () => {
      await start('web', 'while :; do seq 100000; sleep 0.1; done');
      const connection = await open('POST', '/v1.41/containers/web/attach?stream=1&stdout=1&stderr=1');
      await once(connection, 'data');
      connection.pause();
      const size = async (): Promise<number> =>
        Number(await docker('exec', 'web', 'cut', '-d', ' ', '-f', '22', '/proc/1/stat'));
      assert.ok(Number.isFinite(await size()));
      const before = (await docker('logs', '--tail', '1', '-t', 'web')).slice(0, 30);
      await until(async () => (await docker('logs', '--tail', '1', '-t', 'web')).slice(0, 30) > before, 'more output');
      connection.destroy();
    });
  });

  describe('a terminal', () => {
    let terminal: Terminal;
    beforeEach(async () => {
      terminal = await Terminal.open();
      await terminal.type(
        `export DOCKER_HOST=unix://${socket()} DOCKER_CONFIG=${instance().dataDir} D=${dockerProgram()}; clear`,
      );
    });
    afterEach(() => terminal.close());
    /** The docker command tells the size when the program runs, perhaps after the first keys. */
    const untilSized = 'until [ "$(stty size)" = "30 100" ]; do sleep 0.1; done; clear';

    it('runs a shell, detaches by Ctrl-P Ctrl-Q, comes back, follows the window’s size, and gives the exit code', async () => {
      await terminal.type(`$D run -it --name web ${image} sh`);
      await terminal.shows(/\/ #$/m);
      await terminal.type(`${untilSized}; stty size`);
      await terminal.shows(/^30 100$/m);
      await terminal.press('C-p');
      await terminal.press('C-q');
      await terminal.shows(/host>$/m);
      assert.equal(await state('web'), 'running');
      await terminal.type('clear; $D attach web');
      await terminal.press('Enter');
      await terminal.shows(/\/ #$/m);
      await terminal.resize(90, 20);
      await until(async () => {
        await terminal.type('clear; stty size');
        return /^20 90$/m.test(await terminal.screen());
      }, 'the new size');
      await terminal.type('exit 5');
      await terminal.shows(/host>$/m);
      await terminal.type('echo "code $?"');
      await terminal.shows(/^code 5$/m);
    });

    it('is given to docker exec, whose program goes on when one detaches', async () => {
      await start('web', 'sleep 1000');
      await terminal.type('$D exec -it web sh');
      await terminal.shows(/\/ #$/m);
      await terminal.type(`${untilSized}; tty; stty size`);
      await terminal.shows(/^30 100$/m);
      await terminal.type('exec sleep 4321');
      await terminal.press('C-p');
      await terminal.press('C-q');
      await terminal.shows(/host>$/m);
      await until(async () => (await docker('top', 'web')).includes('sleep 4321'), 'the program');
      await terminal.type('clear; $D exec -it web sh -c "exit 3"; echo "code $?"');
      await terminal.shows(/^code 3$/m);
    });
  });
});
