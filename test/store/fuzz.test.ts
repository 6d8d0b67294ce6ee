/**
 * Hostile requests by chance (HOLDFAST_TEST_SEED; HOLDFAST_FUZZ_SECONDS for longer): each is refused with a well-formed
 * Status of 400 to 499, in time, and changes nothing; afterwards the store serves as before, and holds no more memory,
 * sockets or timers than before.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { isJsonObject } from '../../store/json.ts';
import { takeSeed } from '../seed.ts';
import { until } from '../until.ts';
import { configMap, type Fixture, startStore } from './fixture.ts';
import { type Footprint, growthOf, observeFootprint } from './footprint.ts';
import { badShots, type Shot } from './fuzz-inputs.ts';

const collection = '/api/v1/namespaces/default/configmaps';
const object = `${collection}/target`;
/** What comes and goes by itself: a connection more, code that is compiled anew. */
const allowed = { bytes: 16 * 1024 * 1024, handles: 4 };
const seconds = Number(process.env.HOLDFAST_FUZZ_SECONDS ?? 5);

describe('growthOf', () => {
  it('sees memory, descriptors and timers that are held, and that they are let go', async () => {
    const first = observeFootprint();
    const files = await Promise.all(Array.from({ length: 10 }, () => open('/proc/self/status')));
    const timers = files.map(() => setTimeout(() => {}, 60_000));
    const held = {
      objects: Array.from({ length: 300_000 }, (_, index) => ({ text: `held ${index}` })),
      buffer: Buffer.alloc(2e7),
    };
    const grown = growthOf(first, observeFootprint(), { bytes: 1e7, handles: 4 });
    assert.deepEqual(
      grown.map((line) => line.split(':')[0]).sort(),
      ['Timeout', 'bytes of buffers', 'bytes of the heap', 'file descriptors'],
      `${held.objects.length} ${held.buffer.length}`,
    );
    for (const timer of timers) clearTimeout(timer);
    for (const file of files) await file.close();
    held.objects.length = 0;
    held.buffer = Buffer.alloc(0);
    assert.deepEqual(growthOf(first, observeFootprint(), { bytes: 1e7, handles: 4 }), []);
  });
});

describe('store: hostile requests', () => {
  let fixture: Fixture;

  before(async () => {
    fixture = await startStore();
    const body = configMap('target', { a: '1' }, { labels: { a: 'b' }, finalizers: ['example.com/a'] });
    await fixture.client.expect(201, 'POST', collection, { body });
  });
  after(() => fixture.close());

  const state = async (): Promise<string> => {
    const paths = ['/api/v1/configmaps', '/api/v1/secrets', '/api/v1/namespaces', '/api/v1/events'];
    const lists = await Promise.all(paths.map((path) => fixture.client.expect(200, 'GET', path)));
    return JSON.stringify(lists.map(({ items }) => items));
  };

  const refused = async ({ method, path, headers, body }: Shot): Promise<void> => {
    const call = { headers, ...(body === undefined ? {} : { body }) };
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error('no answer came in a minute')), 60_000);
    const answer = await Promise.race([fixture.client.call(method, path, call), late]).finally(() =>
      clearTimeout(timer),
    );
    assert.ok(answer.code >= 400 && answer.code < 500, `answered ${answer.code}: ${answer.text.slice(0, 300)}`);
    const status = answer.body;
    assert.equal(status.kind, 'Status');
    assert.equal(status.status, 'Failure');
    assert.equal(status.code, answer.code);
    assert.equal(typeof status.message, 'string');
    assert.equal(typeof status.reason, 'string');
    assert.ok(answer.text.length < 100_000, 'the answer is larger than what caused it');
  };

  /** Sockets take a moment to go. */
  const untilNothingGrew = async (first: Footprint): Promise<void> => {
    let grown: readonly string[] = [];
    const isFine = (): boolean => {
      grown = growthOf(first, observeFootprint(), allowed);
      return grown.length === 0;
    };
    await until(isFine, 'what the requests held to be let go').catch((error: unknown) => {
      throw new Error(`after them it holds more than before: ${grown.join('; ')}`, { cause: error });
    });
  };

  it('are refused with a 4xx Status and change nothing', async () => {
    const before = await state();
    const seed = takeSeed(20261124);
    const options = { seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1_000 };
    const property = fc.asyncProperty(badShots(collection, object), refused);
    // What is made once, caches and compiled code among it, is there before it is measured.
    await fc.assert(property, { seed: seed + 1, numRuns: 500 });
    const first = observeFootprint();
    await fc.assert(property, { ...options, markInterruptAsFailure: false, endOnFailure: true });
    assert.equal(await state(), before);
    await untilNothingGrew(first);
    assert.equal(isJsonObject(Object.prototype) && 'polluted' in Object.prototype, false);
  });

  it('that are too large are refused, in the body and in the headers', async () => {
    const large = await fixture.client.call('POST', collection, { body: `"${'x'.repeat(4 * 1024 * 1024)}"` });
    assert.equal(large.code, 413);
    const headers = await fixture.client.call('GET', collection, { headers: { 'x-large': 'x'.repeat(64 * 1024) } });
    assert.equal(headers.code, 431);
  });

  it('that are sent by half, or whose answers nobody reads, hold up nobody', async () => {
    const before = await state();
    const first = observeFootprint();
    const { hostname, port } = new URL(fixture.store.url);
    const { adminToken, caCertificate } = fixture.store;
    const head = `Host: x\r\nAuthorization: Bearer ${adminToken}\r\nContent-Type: application/json\r\n`;
    const halves = [
      'POST ',
      `POST ${collection} HTTP/1.1\r\n${head}`,
      `POST ${collection} HTTP/1.1\r\n${head}Content-Length: 1000\r\n\r\n{"metadata":{"name":"half"}`,
      `POST ${collection} HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"met`,
      `GET ${collection}?watch=1 HTTP/1.1\r\n${head}\r\n`,
    ];
    const sockets = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const socket = connect({ host: hostname, port: Number(port), ca: caCertificate });
        socket.on('error', () => {}); // the server may cut it off
        await once(socket, 'secureConnect');
        socket.write(halves[index % halves.length] ?? '');
        socket.pause();
        return socket;
      }),
    );
    await fixture.client.expect(200, 'GET', object);
    for (const socket of sockets) socket.destroy();
    assert.equal(await state(), before);
    await untilNothingGrew(first);
    await fixture.client.expect(200, 'PATCH', object, {
      body: { data: { a: '2' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
  });
});
