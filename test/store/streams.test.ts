/** Exec, attach and port-forward over HTTPS, as clients ask for them; the processes are this machine's own. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { Attach, Exec, KubeConfig, PortForward, type V1Status } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import WebSocket from 'ws';
import { badRequest } from '../../store/index.ts';
import { freePort } from '../addresses.ts';
import { execute } from '../execute.ts';
import { run } from '../instance.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { until } from '../until.ts';
import { container, containers, type Fixture, startStore } from './fixture.ts';
import { createHostStreams, type HostStreams } from './host-streams.ts';

const pods = '/api/v1/namespaces/default/pods';
const tenMebibytes = 10 * 1024 * 1024;

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('store: streams', () => {
  let fixture: Fixture;
  let streams: HostStreams;
  let config: KubeConfig;
  let echo: Server;
  let echoPort = 0;

  before(async () => {
    streams = createHostStreams();
    fixture = await startStore({
      streams: {
        ...streams,
        exec: (target, options) => {
          if (target.name === 'down') throw badRequest('container "down" in pod "down" is not running');
          return streams.exec(target, options);
        },
      },
    });
    for (const name of ['web', 'down']) {
      await fixture.client.expect(201, 'POST', containers, { body: container(name, { tty: false }) });
      await fixture.client.expect(200, 'PATCH', `${containers}/${name}/status`, {
        body: { status: { state: 'Running', nodeName: 'here', conditions: [] } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
    }
    config = new KubeConfig();
    config.loadFromFile(fixture.store.adminKubeconfigPath);
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const address = echo.address();
    echoPort = typeof address === 'object' && address !== null ? address.port : 0;
  });
  after(async () => {
    echo.close();
    await fixture.close();
  });

  describe("client-node's Exec", () => {
    it('gets stdout and stderr apart, and the exit code', async () => {
      const { stdout, stderr, status } = await execute(config, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
      assert.equal(stdout.toString(), 'out\n');
      assert.equal(stderr.toString(), 'err\n');
      assert.equal(status.status, 'Failure');
      assert.equal(status.reason, 'NonZeroExitCode');
      assert.deepEqual(status.details?.causes, [{ reason: 'ExitCode', message: '7' }]);
      assert.equal((await execute(config, ['true'])).status.status, 'Success');
    });

    it('carries 10 MiB in and out whole and in order, and ends the input', async () => {
      const bytes = randomBytes(tenMebibytes);
      const { stdout, status } = await execute(config, ['cat'], { input: Readable.from(chunksOf(bytes, 65_536)) });
      assert.equal(status.status, 'Success');
      assert.equal(stdout.length, bytes.length);
      assert.equal(sha256(stdout), sha256(bytes));
    });

    it('carries 10 MiB in one message', async () => {
      const bytes = randomBytes(tenMebibytes);
      const { stdout } = await execute(config, ['sha256sum'], { input: Readable.from([bytes]) });
      assert.equal(stdout.toString(), `${sha256(bytes)}  -\n`);
    });

    it('is told what the host says to a container that does not run', async () => {
      await assert.rejects(
        async () => new Exec(config).exec('default', 'down', 'down', ['true'], new PassThrough(), null, null, false),
        ({ message }: { message: string }) => /400/.test(message),
      );
    });

    it('sends the size of its terminal, and each change', async () => {
      const terminal = Object.assign(new PassThrough(), { columns: 100, rows: 30 });
      const input = new PassThrough();
      const done = new Promise<V1Status>((resolve, reject) => {
        new Exec(config).exec('default', 'web', 'web', ['cat'], terminal, null, input, true, resolve).catch(reject);
      });
      await until(() => streams.sizes.includes('first 100x30'), 'the first size');
      terminal.columns = 101;
      terminal.emit('resize');
      await until(() => streams.sizes.includes('101x30'), 'the changed size');
      input.end();
      assert.equal((await done).status, 'Success');
    });

    it('leaves no process behind when it goes away', async () => {
      const socket = await new Exec(config).exec(
        'default',
        'web',
        'web',
        ['sleep', '1001'],
        new PassThrough(),
        null,
        new PassThrough(),
        false,
      );
      await until(() => streams.running > 0, 'the process to run');
      (socket as unknown as WebSocket).terminate(); // it is one, in Node
      await until(() => streams.cut.includes('sleep 1001'), 'the process to be ended');
      await until(() => streams.running === 0, 'the process to be gone');
    });

    it('waits for a process that does not read, and for a client that does not', async () => {
      const slow = new SlowReader();
      const done = new Promise<V1Status>((resolve, reject) => {
        new Exec(config)
          .exec(
            'default',
            'web',
            'web',
            ['head', '-c', String(tenMebibytes), '/dev/zero'],
            slow,
            null,
            null,
            false,
            resolve,
          )
          .catch(reject);
      });
      assert.equal((await done).status, 'Success');
      const { stdout } = await execute(config, ['sh', '-c', 'sleep 0.3; sha256sum'], {
        input: Readable.from(chunksOf(Buffer.alloc(tenMebibytes), 65_536)),
      });
      assert.equal(stdout.toString(), `${sha256(Buffer.alloc(tenMebibytes))}  -\n`);
    });
  });

  it("gives client-node's Attach the streams of the process", async () => {
    const [stdout, input] = [new PassThrough(), new PassThrough()];
    const socket = await new Attach(config).attach('default', 'web', 'web', stdout, null, input, false);
    input.write('hello');
    const [first] = await once(stdout, 'data');
    assert.equal(String(first), 'hello');
    socket.close();
    await until(() => streams.cut.includes('cat'), 'the session to be closed');
  });

  describe('port-forward', () => {
    it("works with client-node's PortForward", async () => {
      const bytes = randomBytes(tenMebibytes);
      const [output, input] = [new PassThrough(), new PassThrough()];
      const chunks: Buffer[] = [];
      let length = 0;
      output.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
      });
      const socket = await new PortForward(config).portForward('default', 'web', [echoPort], output, null, input);
      for (const chunk of chunksOf(bytes, 65_536)) input.write(chunk);
      await until(() => length === bytes.length, 'all bytes to come back');
      assert.equal(sha256(Buffer.concat(chunks)), sha256(bytes));
      assert.ok(!(socket instanceof Function));
      (socket as { close(): void }).close();
    });

    it('says on the error channel that nobody listens', async () => {
      const closed = await freePort();
      const [output, errors] = [new PassThrough(), new PassThrough()];
      await new PortForward(config).portForward('default', 'web', [closed], output, errors, new PassThrough());
      const [first] = await once(errors, 'data');
      let said = String(first);
      errors.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      await until(() => /ECONNREFUSED/.test(said), 'the error');
    });

    it('refuses what is no port', async () => {
      for (const ports of ['0', '65536', 'x', '']) {
        const { code, body } = await handshake(`${pods}/web/portforward?ports=${ports}`, 'v4.channel.k8s.io');
        assert.equal(code, 400, `port ${ports}`);
        assert.match(body, /ports: Invalid value/);
      }
    });
  });

  /** What a handshake of a WebSocket is answered with, if it is refused. */
  async function handshake(
    path: string,
    protocols: string,
    headers: Readonly<Record<string, string>> = { authorization: `Bearer ${fixture.store.adminToken}` },
  ): Promise<{ code: number; body: string; type: string }> {
    const socket = new WebSocket(fixture.store.url.replace('https', 'wss') + path, protocols.split(','), {
      ca: fixture.store.caCertificate,
      headers,
    });
    try {
      return await new Promise((resolve, reject) => {
        socket.once('open', () => resolve({ code: 101, body: socket.protocol, type: '' }));
        socket.once('error', reject);
        socket.once('unexpected-response', (_request, response) => {
          const { statusCode = 0, headers: answered } = response;
          text(response).then(
            (body) => resolve({ code: statusCode, body, type: String(answered['content-type']) }),
            reject,
          );
        });
      });
    } finally {
      socket.on('error', () => {});
      socket.terminate();
    }
  }

  describe('a handshake', () => {
    const exec = `${pods}/web/exec?command=true&stdout=true`;
    const cases: { it: string; path: string; protocols?: string; code: number; body: RegExp; token?: string }[] = [
      { it: 'is refused without a token', path: exec, code: 401, body: /"reason":"Unauthorized"/, token: '' },
      { it: 'is refused with a wrong token', path: exec, code: 401, body: /"Unauthorized"/, token: 'Bearer x' },
      {
        it: 'needs a container',
        path: `${pods}/none/exec?command=a&stdout=1`,
        code: 404,
        body: /pods \\"none\\" not found/,
      },
      { it: 'needs a program', path: `${pods}/web/exec?stdout=true`, code: 400, body: /command: Required value/ },
      { it: 'needs the name of a program', path: `${pods}/web/exec?command=&stdout=1`, code: 400, body: /has no name/ },
      { it: 'refuses a zero byte', path: `${pods}/web/exec?command=a%00b&stdout=1`, code: 400, body: /zero byte/ },
      { it: 'needs a stream', path: `${pods}/web/exec?command=true`, code: 400, body: /at least 1 of stdin/ },
      {
        it: 'needs a protocol that is known',
        path: exec,
        protocols: 'v9.channel.k8s.io',
        code: 400,
        body: /v5\.channel/,
      },
      {
        it: 'takes the first protocol that is known',
        path: exec,
        protocols: 'v9.channel.k8s.io,v4.channel.k8s.io,v5.channel.k8s.io',
        code: 101,
        body: /^v4\.channel/,
      },
      {
        it: 'takes the base64 protocol',
        path: exec,
        protocols: 'v4.base64.channel.k8s.io',
        code: 101,
        body: /^v4\.base64/,
      },
      {
        it: 'is offered below a Container, too',
        path: `${containers}/web/exec?command=true&stdout=1`,
        code: 101,
        body: /^v5/,
      },
      {
        it: 'is known only below what has streams',
        path: '/api/v1/namespaces/default/secrets/x/exec',
        code: 404,
        body: /NotFound/,
      },
      { it: 'is not known at any other path', path: '/exec', code: 404, body: /NotFound/ },
    ];
    for (const { it: title, path, protocols = 'v5.channel.k8s.io', code, body, token } of cases) {
      it(title, async () => {
        const answer = await handshake(path, protocols, token === undefined ? undefined : { authorization: token });
        assert.equal(answer.code, code, answer.body);
        assert.match(answer.body, body);
        if (code !== 101) assert.equal(answer.type, 'application/json');
      });
    }

    it('is asked for where it is missing', async () => {
      for (const subresource of ['exec', 'attach', 'portforward']) {
        const { message } = await fixture.client.expect(400, 'GET', `${pods}/web/${subresource}?command=true&stdout=1`);
        assert.match(String(message), /Upgrade request required/);
        await fixture.client.expect(404, 'POST', `${pods}/none/${subresource}`);
      }
    });

    it('to another protocol is not taken for one', async () => {
      const headers = { connection: 'Upgrade', upgrade: 'h2c', authorization: `Bearer ${fixture.store.adminToken}` };
      const { code, stdout } = await run('curl', [
        '-sS',
        '--http1.1',
        '--cacert',
        join(fixture.dataDir, 'pki/ca.crt'),
        ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
        `${fixture.store.url}${pods}/web`,
      ]);
      assert.equal(code, 0);
      assert.match(stdout, /"kind":"Pod"/);
    });
  });

  it('is counted, also when it is refused', async () => {
    await execute(config, ['true']);
    await handshake(`${pods}/web/exec?stdout=true`, 'v5.channel.k8s.io');
    const count = async (labels: Record<string, string | number>): Promise<number> => {
      const { values } = (await fixture.metrics.getSingleMetric('apiserver_request_total')?.get()) ?? { values: [] };
      const found = values.find(({ labels: given }) =>
        Object.entries(labels).every(([key, one]) => given[key] === one),
      );
      return found?.value ?? 0;
    };
    const connect = { verb: 'CONNECT', resource: 'pods', subresource: 'exec' };
    assert.ok((await count({ ...connect, code: 101 })) > 0);
    assert.ok((await count({ ...connect, code: 400 })) > 0);
    await until(async () => {
      const gauge = await fixture.metrics.getSingleMetric('apiserver_longrunning_requests')?.get();
      return gauge?.values.every(({ labels, value }) => labels.verb !== 'CONNECT' || value === 0) ?? false;
    }, 'all sessions to be counted as over');
  });

  it('answers a handshake that is none, and goes on', async () => {
    const exec = `${fixture.store.url}${pods}/web/exec?command=true&stdout=1`;
    const curl = (...args: string[]) =>
      run('curl', [
        ...[
          '-sS',
          '--http1.1',
          '--cacert',
          join(fixture.dataDir, 'pki/ca.crt'),
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
        ],
        ...['-H', `authorization: Bearer ${fixture.store.adminToken}`, '-H', 'connection: Upgrade', ...args, exec],
      ]);
    const cases: { args: string[]; code: string }[] = [
      { args: ['-H', 'upgrade: websocket'], code: '400' },
      { args: ['-H', 'upgrade: websocket', '-H', 'sec-websocket-version: 1'], code: '400' },
      { args: ['-H', 'upgrade: websocket', '-X', 'POST'], code: '405' },
      { args: ['-H', 'upgrade: SPDY/3.1', '-H', 'x-stream-protocol-version: v9.channel.k8s.io'], code: '403' },
      { args: ['-H', 'upgrade: SPDY/2'], code: '400' },
    ];
    for (const { args, code } of cases) assert.equal((await curl(...args)).stdout, code, args.join(' '));
    assert.equal((await execute(config, ['true'])).status.status, 'Success');
  });

  it('speaks base64 in text messages', async () => {
    const socket = new WebSocket(
      `${fixture.store.url.replace('https', 'wss')}${pods}/web/exec?command=cat&stdin=1&stdout=1`,
      ['v4.base64.channel.k8s.io'],
      { ca: fixture.store.caCertificate, headers: { authorization: `Bearer ${fixture.store.adminToken}` } },
    );
    const messages: string[] = [];
    socket.on('message', (data, isBinary) => {
      assert.equal(isBinary, false);
      messages.push(String(data));
    });
    await once(socket, 'open');
    socket.send(`0${Buffer.from('hello').toString('base64')}`);
    await until(() => messages.includes(`1${Buffer.from('hello').toString('base64')}`), 'the echo');
    socket.close();
    await once(socket, 'close');
  });

  it('closes a connection whose message is too large, and ends its process', async () => {
    const socket = new WebSocket(
      `${fixture.store.url.replace('https', 'wss')}${pods}/web/exec?command=sleep&command=1002&stdin=1`,
      ['v5.channel.k8s.io'],
      { ca: fixture.store.caCertificate, headers: { authorization: `Bearer ${fixture.store.adminToken}` } },
    );
    socket.on('error', () => {}); // the server may be gone before the message is
    await once(socket, 'open');
    socket.send(Buffer.alloc(17 * 1024 * 1024));
    const [code] = await once(socket, 'close');
    assert.ok(code === 1009 || code === 1006, `closed with ${code}`);
    await until(() => streams.cut.includes('sleep 1002'), 'the process to be ended');
  });

  const clients: { title: string; program: () => string; isOld: boolean; env?: Record<string, string> }[] = [
    { title: 'kubectl, the newest', program: kubectl, isOld: false },
    {
      title: 'kubectl, the newest over SPDY',
      program: kubectl,
      isOld: false,
      env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
    },
    { title: 'kubectl 1.20', program: kubectl120, isOld: true },
  ];
  for (const { title, program, env = {} } of clients) {
    describe(title, () => {
      const base = (): string[] => [
        '--kubeconfig',
        fixture.store.adminKubeconfigPath,
        '--cache-dir',
        join(fixture.dataDir, 'kubectl-cache'),
      ];

      it('runs a program, with its output and exit code', async () => {
        const exec = (...command: string[]) => run(program(), [...base(), 'exec', 'web', '--', ...command], { env });
        const failed = await exec('sh', '-c', 'echo out; echo err >&2; exit 7');
        assert.equal(failed.stdout, 'out\n');
        assert.match(failed.stderr, /^err\n/);
        assert.equal(failed.code, 7);
        assert.equal((await exec('true')).code, 0);
      });

      it('says what the host says', async () => {
        const { code, stderr } = await run(program(), [...base(), 'exec', 'down', '--', 'true'], { env });
        assert.equal(code, 1);
        assert.match(stderr, /container "down" in pod "down" is not running/);
      });

      it('carries 10 MiB in and out, and ends the input', async () => {
        const bytes = randomBytes(tenMebibytes);
        const child = spawn(program(), [...base(), 'exec', '-i', 'web', '--', 'cat'], {
          env: { ...process.env, ...env },
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        child.stdin.end(bytes);
        const [output, [code]] = await Promise.all([buffer(child.stdout), once(child, 'close')]);
        assert.equal(code, 0);
        assert.equal(output.length, bytes.length);
        assert.equal(sha256(output), sha256(bytes));
      });

      it('attaches', async () => {
        const child = spawn(program(), [...base(), 'attach', '-i', 'web'], {
          env: { ...process.env, ...env },
          stdio: ['pipe', 'pipe', 'ignore'],
        });
        let printed = '';
        child.stdout.on('data', (chunk: Buffer) => {
          printed += chunk.toString();
        });
        child.stdin.write('hello\n');
        await until(() => printed === 'hello\n', 'the echo');
        child.stdin.end();
        const [code] = await once(child, 'close');
        assert.equal(code, 0);
      });

      it('forwards connections to a port, many at once', async () => {
        const child: ChildProcess = spawn(program(), [...base(), 'port-forward', 'pod/web', `:${echoPort}`], {
          env: { ...process.env, ...env },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        try {
          let printed = '';
          for (const stream of [child.stdout, child.stderr]) {
            stream?.on('data', (chunk: Buffer) => {
              printed += chunk.toString();
            });
          }
          await until(() => /127\.0\.0\.1:\d+ ->/.test(printed), `a local port in ${printed}`);
          const port = Number(/127\.0\.0\.1:(\d+) ->/.exec(printed)?.[1]);
          const answers = await Promise.all(
            Array.from({ length: 20 }, async (_, index) => {
              const bytes = randomBytes(index === 0 ? tenMebibytes : 10_000);
              return sha256(await exchange(port, bytes)) === sha256(bytes);
            }),
          );
          assert.deepEqual(
            answers,
            answers.map(() => true),
          );
        } finally {
          child.kill('SIGKILL');
          await once(child, 'close');
        }
      });
    });
  }

  it('answers stats and archives', async () => {
    assert.equal((await fixture.client.expect(200, 'GET', `${containers}/web/stats`)).kind, 'ContainerStats');
    const watching = await fixture.client.watch(`${containers}/web/stats?watch=true`);
    for (let line = 0; line < 2; line++)
      assert.equal(((await watching.next()) as unknown as { name: string }).name, 'web');
    watching.close();
    assert.equal((await fixture.client.call('GET', `${containers}/web/archive?path=/etc`)).text, 'tar of /etc');
    assert.match((await fixture.client.call('GET', `${containers}/web/archive?path=etc`)).text, /absolute path/);
    assert.match((await fixture.client.call('GET', `${containers}/web/archive`)).text, /path: Required value/);
    const agent = new Agent({ connect: { ca: fixture.store.caCertificate } });
    const bytes = randomBytes(tenMebibytes);
    const { statusCode, body } = await request(`${fixture.store.url}${containers}/web/archive?path=/srv`, {
      method: 'PUT',
      dispatcher: agent,
      headers: { authorization: `Bearer ${fixture.store.adminToken}` },
      body: Readable.from(chunksOf(bytes, 65_536)),
    });
    assert.equal(statusCode, 200, await body.text());
    assert.equal(sha256(streams.archives.at(-1) ?? Buffer.alloc(0)), sha256(bytes));
    await agent.close();
    await fixture.client.expect(405, 'POST', `${containers}/web/archive?path=/srv`);
  });

  it('ends its sessions when the store closes', async () => {
    const own = createHostStreams();
    const other = await startStore({ streams: own });
    await other.client.expect(201, 'POST', containers, { body: container('web') });
    const its = new KubeConfig();
    its.loadFromFile(other.store.adminKubeconfigPath);
    const socket = await new Exec(its).exec(
      'default',
      'web',
      'web',
      ['sleep', '1003'],
      new PassThrough(),
      null,
      null,
      false,
    );
    await until(() => own.running === 1, 'the process to run');
    const closed = once(socket as unknown as WebSocket, 'close'); // it is one, in Node
    await other.close();
    await closed;
    await until(() => own.running === 0, 'the process to be gone');
  });
});

function* chunksOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

/** Sends, ends, and returns what comes back. */
async function exchange(port: number, bytes: Buffer): Promise<Buffer> {
  const { connect } = await import('node:net');
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(bytes);
  return buffer(socket);
}

/** Takes its time for each piece. */
class SlowReader extends Writable {
  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    setTimeout(done, 1);
  }
}
