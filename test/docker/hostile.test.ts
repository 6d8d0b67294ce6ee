/**
 * Clients of the gateway that keep to no rule: requests by chance (HOLDFAST_TEST_SEED; HOLDFAST_FUZZ_REQUESTS for more),
 * connections that end in the middle, and clients that vanish from streams. Each is answered or let go; nothing stays.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { takeSeed } from '../seed.ts';
import { until } from '../until.ts';
import { Book } from './book.ts';
import { type HoldfastEngine, startHoldfastEngine } from './engines.ts';
import { hostileRequests } from './hostile-inputs.ts';
import { ask, formatRequest, open, type RawRequest } from './raw-request.ts';

const requests = Number(process.env.HOLDFAST_FUZZ_REQUESTS ?? 300);

describe('hostile clients of the gateway', function () {
  this.timeout(requests * 1_000 + 240_000);
  let engine: HoldfastEngine;
  let book: Book;
  /** A registry that takes requests and never answers. */
  let silent: Server;

  before(async () => {
    silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    engine = await startHoldfastEngine();
    book = await Book.open(engine.socketPath);
    await book.load({ 'busybox:latest': 'localhost/busybox:latest' });
    await provide();
  });
  after(async () => {
    silent?.closeAllConnections();
    silent?.close();
    await book?.close();
    await engine?.close();
  });

  const socketsOf = (): number => readdirSync(`/proc/${engine.pid}/fd`).length;
  /** What the requests are about; some of them remove it. */
  const provide = async (): Promise<void> => {
    await book.sh(
      'docker run -d --name hostile-runs -v hostile-data:/data busybox sh -c "while :; do echo x; sleep 0.2; done"',
    );
    await book.sh('docker run --name hostile-ended busybox true');
  };
  const isWell = async (): Promise<void> => {
    assert.deepEqual(await ask(engine.socketPath, { method: 'GET', target: '/_ping' }), { status: 200, body: 'OK' });
    assert.equal(await book.ok('docker run --rm busybox echo well'), 'well');
  };

  it('are answered with a status and a message, whatever they ask', async () => {
    const seen = new Map<number, number>();
    const one = fc.asyncProperty(hostileRequests, async (request) => {
      const { status, body } = await ask(engine.socketPath, request, 300);
      seen.set(status, (seen.get(status) ?? 0) + 1);
      // A registry that cannot be reached is a 500 of Docker's.
      const isRegistrys = status === 500 && /registry|dial tcp|no such host/.test(body);
      const isExpected = status >= 100 && (status < 500 || status === 501 || status === 503 || isRegistrys);
      assert.ok(isExpected, `answered ${status}: ${body.slice(0, 500)}`);
      if (status < 400 || request.method === 'HEAD') return;
      const { message } = JSON.parse(body) as { message?: unknown };
      assert.ok(typeof message === 'string' && message.length > 0 && message.length < 10_000, body.slice(0, 500));
    });
    await fc.assert(one, {
      seed: takeSeed(2026),
      numRuns: requests,
      endOnFailure: true,
    });
    assert.ok((seen.get(400) ?? 0) > 5 && (seen.get(404) ?? 0) > 20, JSON.stringify([...seen]));
    await isWell();
  });

  it('are told that a body is too large, or not wanted, before all of it has come', async () => {
    const body = JSON.stringify({ Image: 'busybox', Cmd: ['x'.repeat(8_000_000)] });
    for (const [target, wanted] of [
      ['/containers/create', 413],
      ['/nothing', 404],
      ['/containers/nobody/start', 404],
    ] as const) {
      const answer = await ask(engine.socketPath, { method: 'POST', target, body });
      assert.equal(answer.status, wanted, answer.body);
      assert.equal(typeof JSON.parse(answer.body).message, 'string');
    }
    await isWell();
  });

  it('may end their connection in the middle of anything', async () => {
    await provide();
    const before = socketsOf();
    const upgrade = { Connection: 'Upgrade', Upgrade: 'tcp' };
    const requests: RawRequest[] = [
      { method: 'POST', target: '/v1.41/containers/hostile-runs/attach?stream=1&stdout=1&stdin=1', headers: upgrade },
      { method: 'POST', target: '/containers/create?name=half', body: JSON.stringify({ Image: 'busybox' }) },
      { method: 'POST', target: '/exec/x/start', headers: upgrade, body: '{"Detach":false}' },
      { method: 'GET', target: '/containers/json' },
      { method: 'PUT', target: '/containers/hostile-runs/archive?path=/tmp', body: 'x'.repeat(2_000) },
      { method: 'POST', target: '/images/load', body: 'x'.repeat(2_000) },
    ];
    for (const request of requests) {
      const bytes = formatRequest(request);
      for (const part of [1, 10, 40, bytes.length - 5, bytes.length - 1, bytes.length]) {
        for (const end of ['destroy', 'end'] as const) {
          const socket = open(engine.socketPath);
          socket.on('error', () => {}); // the gateway may close first
          await new Promise<void>((resolve) => socket.write(bytes.subarray(0, part), () => resolve()));
          if (end === 'destroy') socket.destroy();
          else socket.end().resume();
        }
      }
    }
    await until(() => socketsOf() <= before + 2, 'all connections to be let go', 120_000);
    await book.sh('docker rm -f half');
    await isWell();
  });

  it('may vanish from attach, logs, events, stats, wait, exec and a pull', async () => {
    await provide();
    const before = socketsOf();
    const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`; // it listens on a port
    const exec = await ask(engine.socketPath, {
      ...{ method: 'POST', target: '/containers/hostile-runs/exec' },
      body: JSON.stringify({ Cmd: ['sh', '-c', 'cat; sleep 1000'], AttachStdin: true, AttachStdout: true }),
    });
    const { Id: execID } = JSON.parse(exec.body) as { Id: string };
    const upgrade = { Connection: 'Upgrade', Upgrade: 'tcp' };
    const streams: RawRequest[] = [
      { method: 'POST', target: '/containers/hostile-runs/attach?stream=1&stdout=1&stderr=1&logs=1', headers: upgrade },
      { method: 'POST', target: `/exec/${execID}/start`, headers: upgrade, body: '{"Detach":false,"Tty":false}' },
      { method: 'GET', target: '/containers/hostile-runs/logs?follow=1&stdout=1' },
      { method: 'GET', target: '/events' },
      { method: 'GET', target: '/containers/hostile-runs/stats' },
      { method: 'POST', target: '/containers/hostile-runs/wait' },
      { method: 'POST', target: `/images/create?fromImage=${address}/no/answer&tag=1` },
    ];
    for (const request of streams) {
      const sockets: Socket[] = [];
      for (let count = 0; count < 5; count += 1) {
        const socket = open(engine.socketPath);
        sockets.push(socket);
        socket.on('error', () => {}); // it may be closed by the gateway: a command of exec runs once
        socket.write(formatRequest(request));
      }
      const isQuiet = /wait|images|exec|events/.test(request.target);
      // All are there, and what talks has talked.
      if (!isQuiet) await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('data', resolve))));
      else await until(() => socketsOf() > before, 'the connections');
      for (const socket of sockets) socket.destroy();
    }
    await until(() => socketsOf() <= before + 2, 'all connections and files to be let go', 120_000);
    await isWell();
    await book.ok('docker stop -t 1 hostile-runs');
    await book.ok('docker rm hostile-runs');
    await book.ok('docker volume rm hostile-data');
  });

  it('read a log slowly without holding anybody up', async () => {
    await book.ok('docker run -d --name talks busybox sh -c "yes 0123456789012345678901234567890123456789"');
    const socket = open(engine.socketPath);
    socket.write(formatRequest({ method: 'GET', target: '/containers/talks/logs?follow=1&stdout=1' }));
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    try {
      for (let count = 0; count < 5; count += 1) await isWell();
      await book.ok('docker rm -f talks');
    } finally {
      socket.destroy();
    }
  });

  it('leave a file of mode 0660 as the only way in', async () => {
    await writeFile(join(engine.instance.runDir, 'not-a-socket'), '');
    assert.equal(await book.ok(`stat -c '%a %F' ${engine.socketPath}`), '660 socket');
  });
});
