/** The HTTP server beneath the Engine API: hostile bodies, clients that go away, and what is left after a request. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Agent, request } from 'undici';
import { within } from '../../docker/deadline.ts';
import { startHttpServer } from '../../docker/http-server.ts';
import type { Call, Route } from '../../docker/route.ts';
import { afterSync } from '../../docker/sync-gate.ts';
import { until } from '../until.ts';

describe('the HTTP server of the Docker gateway', () => {
  let dir = '';
  let agent: Agent | undefined;
  let server: { close(): Promise<void> } | undefined;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-http-'));
  });
  afterEach(async () => {
    await agent?.destroy();
    await server?.close();
    await rm(dir, { recursive: true });
  });
  const serve = async (...routes: Route[]): Promise<string> => {
    const path = join(dir, 'docker.sock');
    server = await startHttpServer({ socket: { path }, routes, headers: {}, log: pino({ level: 'silent' }) });
    agent = new Agent({ connect: { socketPath: path } });
    return path;
  };
  const post = async (path: string, body: string): Promise<{ status: number; text: string }> => {
    if (agent === undefined) throw new Error('nothing is served yet');
    const headers = { 'content-type': 'application/json' };
    const answer = await request(`http://docker${path}`, { method: 'POST', body, headers, dispatcher: agent });
    return { status: answer.statusCode, text: await answer.body.text() };
  };
  const echo: Route = {
    method: 'POST',
    path: '/echo',
    handle: async (call) => call.json(200, (await call.body()) ?? null),
  };

  it('refuses a body that is nested without end', async () => {
    await serve(echo);
    const { status, text } = await post('/echo', `${'['.repeat(100_000)}${']'.repeat(100_000)}`);
    assert.deepEqual([status, text], [400, '{"message":"invalid JSON: nested deeper than 64 levels"}\n']);
    assert.deepEqual(await post('/echo', '{"a":[{"b":1}]}'), { status: 200, text: '{"a":[{"b":1}]}\n' });
  });
  it('refuses a body that is too large', async () => {
    await serve(echo);
    assert.equal((await post('/echo', `"${'a'.repeat(5 * 1024 * 1024)}"`)).status, 413);
  });
  it('waits for the first list of the containers, and answers meanwhile that it is there', async () => {
    let sync = (): void => {};
    const synced = new Promise<void>((resolve) => {
      sync = resolve;
    });
    const ping: Route = { method: 'POST', path: '/_ping', handle: async (call) => call.text(200, 'OK') };
    await serve(...afterSync([ping, echo], synced));
    let isAnswered = false;
    const asked = post('/echo', '1').finally(() => {
      isAnswered = true;
    });
    assert.equal((await post('/_ping', '')).text, 'OK');
    assert.equal(isAnswered, false);
    sync();
    assert.equal((await asked).text, '1\n');
  });
  it('takes no file away that is no socket, and a dead socket', async () => {
    const path = join(dir, 'docker.sock');
    await writeFile(path, 'precious');
    await assert.rejects(serve(echo), /is there and is no socket; remove it/);
    assert.equal(await readFile(path, 'utf8'), 'precious');
    await rm(path);
    const program = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`;
    await once(spawn(process.execPath, ['-e', program]), 'exit');
    assert.ok((await stat(path)).isSocket());
    await serve(echo);
    assert.equal((await stat(path)).mode & 0o777, 0o660);
    assert.equal((await post('/echo', '1')).text, '1\n');
  });
  it('lives on when somebody writes to an answer that was ended', async () => {
    const late: Route = {
      method: 'POST',
      path: '/late',
      handle: async (call) => {
        const out = call.stream(200, {});
        out.end('x'.repeat(10_000_000)); // more than a socket takes: it is not closed yet
        out.write('more');
      },
    };
    const path = await serve(late, echo);
    const socket = connect(path);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write('POST /late HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n');
    await new Promise((resolve) => socket.once('readable', resolve));
    socket.destroy();
    assert.equal((await post('/echo', '1')).text, '1\n');
  });
  it('aborts what a client that went away has asked for, and what runs when it is closed', async () => {
    const calls: Call[] = [];
    const hang: Route = {
      method: 'POST',
      path: '/hang',
      handle: async (call) => {
        calls.push(call);
        await new Promise((resolve) => call.signal.addEventListener('abort', resolve, { once: true }));
      },
    };
    const path = await serve(hang);
    const sockets = [connect(path), connect(path)];
    for (const socket of sockets) {
      socket.on('error', () => {}); // the server closes it
      socket.write('POST /hang HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n');
    }
    await until(async () => calls.length === 2, 'both requests');
    sockets[0]?.destroy();
    await until(async () => calls.filter(({ signal }) => signal.aborted).length === 1, 'the first to be aborted');
    await server?.close();
    server = undefined;
    assert.ok(calls.every(({ signal }) => signal.aborted));
    sockets[1]?.destroy();
  });
});

describe('within', () => {
  it('leaves neither timer nor listener, however the wait ends', async () => {
    const { signal } = new AbortController();
    const deadline = { signal, ms: 60_000, what: 'it was not done' };
    assert.equal(await within(deadline, async () => 7), 7);
    await assert.rejects(
      within(deadline, async () => {
        throw new Error('no');
      }),
      /^Error: no$/,
    );
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });
  it('says what was not done in time', async () => {
    const { signal } = new AbortController();
    const never = (ending: AbortSignal): Promise<never> =>
      new Promise((_, reject) => ending.addEventListener('abort', () => reject(ending.reason), { once: true }));
    const keepAlive = setTimeout(() => {}, 60_000); // the deadline alone keeps no process
    await assert.rejects(within({ signal, ms: 20, what: 'it was not done' }, never), {
      status: 500,
      message: 'it was not done within 0.02 s',
    });
    clearTimeout(keepAlive);
  });
  it('ends with the signal of its caller, also with one that was aborted before', async () => {
    const reason = new Error('gone');
    const caller = AbortSignal.abort(reason);
    await assert.rejects(
      within({ signal: caller, ms: 60_000, what: 'it' }, async (ending) => ending.throwIfAborted()),
      reason,
    );
  });
});
