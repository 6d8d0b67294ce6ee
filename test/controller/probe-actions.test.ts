import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { ProbeOutcome } from '../../controller/health.ts';
import { runAction } from '../../controller/probe-actions.ts';
import type { Action } from '../../controller/probe-spec.ts';
import {
  ContainerNotRunningError,
  RuntimeOperationError,
  StartError,
  type StreamSession,
} from '../../runtime/index.ts';

/** What nobody should have to wait for. */
const longMs = 60_000;
const shortMs = 100;

interface Setup {
  readonly action: Action;
  readonly timeoutMs?: number;
  readonly exec?: (signal: AbortSignal) => Promise<StreamSession>;
  readonly stop?: AbortSignal;
  readonly secrets?: readonly string[];
}

const probe = ({ action, timeoutMs = longMs, exec, stop, secrets = [] }: Setup): Promise<ProbeOutcome> =>
  runAction(
    { action, containerID: 'c', ip: '127.0.0.1', timeoutMs, secrets },
    { exec: (_id, _request, signal) => exec?.(signal) ?? Promise.reject(new Error('no program was expected')) },
    stop ?? new AbortController().signal,
  );

describe('a probe over HTTP', function () {
  this.timeout(240_000);
  let server: Server;
  let seen: IncomingMessage[] = [];
  const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    '/ok': (_, response) => response.end('fine'),
    '/moved': (_, response) => response.writeHead(302, { location: '/ok' }).end(),
    '/loop': (_, response) => response.writeHead(302, { location: '/loop' }).end(),
    '/away': (_, response) => response.writeHead(302, { location: 'http://192.0.2.1/' }).end(),
    '/nowhere': (_, response) => response.writeHead(302, { location: 'http://[' }).end(),
    '/404': (_, response) => response.writeHead(404).end(),
    '/500': (_, response) => response.writeHead(500).end(),
    '/399': (_, response) => response.writeHead(399).end(),
    '/large': (_, response) => {
      response.on('error', () => {}); // It is not read to its end.
      for (let count = 0; count < 100; count += 1) response.write(Buffer.alloc(65_536));
    },
    '/hangs': () => {},
    '/drips': (_, response) => response.writeHead(200).write('a'),
  };
  const at = (path: string): Action => ({
    ...{ kind: 'http', scheme: 'http', path, port: (server.address() as AddressInfo).port },
    headers: [{ name: 'Host', value: 'shop.example' }],
  });
  before(async () => {
    server = createServer((request, response) => {
      seen.push(request);
      answers[request.url ?? '']?.(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  beforeEach(() => {
    seen = [];
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const rows: { path: string; want: ProbeOutcome['result']; message?: RegExp; timeoutMs?: number }[] = [
    { path: '/ok', want: 'success' },
    { path: '/399', want: 'success' },
    { path: '/404', want: 'failure', message: /^HTTP probe failed with statuscode: 404$/ },
    { path: '/500', want: 'failure', message: /statuscode: 500/ },
    { path: '/moved', want: 'success' },
    { path: '/loop', want: 'failure', message: /10 redirects/ },
    { path: '/away', want: 'warning', message: /another host/ },
    { path: '/nowhere', want: 'warning' },
    { path: '/large', want: 'success' },
    { path: '/hangs', want: 'failure', message: /no answer within 0.1s/, timeoutMs: shortMs },
    { path: '/drips', want: 'failure', message: /no answer within 0.1s/, timeoutMs: shortMs },
  ];
  for (const { path, want, message, timeoutMs } of rows)
    it(`takes ${path} for ${want}`, async () => {
      const outcome = await probe({ action: at(path), ...(timeoutMs === undefined ? {} : { timeoutMs }) });
      assert.equal(outcome.result, want, outcome.message);
      if (message !== undefined) assert.match(outcome.message, message);
    });
  it('sends the headers, and says who asks', async () => {
    await probe({ action: at('/ok') });
    const [request] = seen;
    assert.deepEqual([request?.headers.host, request?.headers['user-agent']], ['shop.example', 'kube-probe/holdfast']);
  });
  it('fails where nobody listens, and where the other side speaks no HTTP or no TLS', async () => {
    const babble = createTcpServer((socket: Socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('SSH-2.0-nonsense\r\n'),
    );
    await new Promise<void>((resolve) => babble.listen(0, '127.0.0.1', resolve));
    const { port } = babble.address() as AddressInfo;
    const base = { kind: 'http', path: '/', port, headers: [] } as const;
    for (const scheme of ['http', 'https'] as const)
      assert.equal((await probe({ action: { ...base, scheme } })).result, 'failure');
    assert.equal((await probe({ action: { kind: 'tcp', port } })).result, 'success');
    await new Promise((resolve) => babble.close(resolve));
    const refused = await probe({ action: { ...base, scheme: 'http' } });
    assert.match(`${refused.result} ${refused.message}`, /^failure GET http:.*ECONNREFUSED/);
    assert.equal((await probe({ action: { kind: 'tcp', port } })).result, 'failure');
  });
  it('learns nothing when it is given up', async () => {
    const stop = new AbortController();
    const outcome = probe({ action: at('/hangs'), stop: stop.signal });
    stop.abort();
    assert.equal((await outcome).result, 'unknown');
  });
});

describe('a probe by a program', () => {
  const action: Action = { kind: 'exec', command: ['check', 'secret-argument'] };
  let closed = 0;
  beforeEach(() => {
    closed = 0;
  });
  const session = (code: number | undefined, stdout = '', stderr = ''): StreamSession => ({
    stdin: undefined,
    stdout: Readable.from([Buffer.from(stdout)]),
    stderr: Readable.from([Buffer.from(stderr)]),
    resize: async () => {},
    exit: code === undefined ? new Promise(() => {}) : Promise.resolve(code),
    close: async () => {
      closed += 1;
    },
  });
  const rows: { it: string; exec: Setup['exec']; want: ProbeOutcome; timeoutMs?: number }[] = [
    {
      it: 'succeeds with exit code 0',
      exec: async () => session(0, 'ok\n'),
      want: { result: 'success', message: 'ok' },
    },
    {
      it: 'fails with another, and tells what the program said',
      exec: async () => session(3, 'out ', 'err\n'),
      want: { result: 'failure', message: 'exit code 3: out err' },
    },
    { it: 'fails without a word', exec: async () => session(1), want: { result: 'failure', message: 'exit code 1' } },
    {
      it: 'fails if the program is not there',
      exec: () => Promise.reject(new StartError('no such program', 127)),
      want: { result: 'failure', message: 'no such program' },
    },
    {
      it: 'learns nothing if the container has ended',
      exec: () => Promise.reject(new ContainerNotRunningError('c')),
      want: { result: 'unknown', message: 'the container does not run' },
    },
    {
      it: 'learns nothing if the host cannot run a program',
      exec: () => Promise.reject(new RuntimeOperationError('exec', 'no more processes')),
      want: { result: 'unknown', message: 'exec: no more processes' },
    },
    {
      it: 'fails at its deadline, without the arguments',
      exec: async () => session(undefined),
      timeoutMs: shortMs,
      want: { result: 'failure', message: 'command "check": no answer within 0.1s' },
    },
    {
      it: 'fails at its deadline also if the program never begins',
      exec: () => new Promise(() => {}),
      timeoutMs: shortMs,
      want: { result: 'failure', message: 'command "check": no answer within 0.1s' },
    },
  ];
  for (const row of rows)
    it(row.it, async () => {
      const { exec, timeoutMs } = row;
      assert.deepEqual(
        await probe({ action, ...(exec && { exec }), ...(timeoutMs === undefined ? {} : { timeoutMs }) }),
        row.want,
      );
    });
  it('hides what came from a Secret before it cuts a long text', async () => {
    const secret = 'hunter2-hunter2-hunter2';
    for (const gap of [480, 500, 510, 600]) {
      const said = `${'x'.repeat(gap)}${secret}`;
      const failed = await probe({ action, secrets: [secret], exec: async () => session(1, said) });
      const refused = await probe({ action, secrets: [secret], exec: () => Promise.reject(new Error(said)) });
      assert.equal(`${failed.message}${refused.message}`.includes('hunter2'), false, `${gap}`);
    }
  });
  it('has the program killed at its deadline, also one that begins later', async () => {
    await probe({ action, timeoutMs: shortMs, exec: async () => session(undefined) });
    assert.equal(closed, 1);
    const late = Promise.withResolvers<StreamSession>();
    await probe({ action, timeoutMs: shortMs, exec: () => late.promise });
    late.resolve(session(undefined));
    await late.promise;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(closed, 2);
  });
});
