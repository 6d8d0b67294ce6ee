/** The cache of Secrets and ConfigMaps against an API server that misbehaves on purpose: plain HTTP on loopback. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { type ApiAccess, type ApiRequest, callApi } from '../../client/index.ts';
import { createSourceCache, type SourceCache } from '../../controller/sources.ts';
import { until } from '../until.ts';

type Data = Record<string, string>;

describe('createSourceCache', () => {
  let objects: Map<string, Data>;
  let version: number;
  let requests: string[];
  /** Answers with this status instead, if it is not undefined. */
  let refuse: (path: string, isWatch: boolean) => number | undefined;
  /** Cuts answers short. */
  let isCut: boolean;
  let isListEmpty: boolean;
  let watches: { path: string; response: ServerResponse }[];
  let woken: string[];
  let logged: string;
  let close: () => Promise<void>;
  let cache: SourceCache;

  const objectOf = (name: string): object => ({
    metadata: { name, namespace: 'default', uid: `uid-${name}`, resourceVersion: String(version) },
    type: 'Opaque',
    data: Object.fromEntries(
      Object.entries(objects.get(name) ?? {}).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  });
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname: path, searchParams } = new URL(request.url ?? '', 'http://x');
    const isWatch = searchParams.get('watch') === 'true';
    requests.push(`${isWatch ? 'watch' : 'get'} ${path}`);
    const code = refuse(path, isWatch);
    if (code !== undefined) {
      response.writeHead(code).end(JSON.stringify({ kind: 'Status', code, reason: 'Refused', message: 'no' }));
      return;
    }
    if (isWatch) {
      response.writeHead(200).flushHeaders();
      watches.push({ path, response });
      return;
    }
    const single = /\/namespaces\/default\/secrets\/(.*)$/.exec(path)?.[1];
    if (single !== undefined && !objects.has(single)) {
      response.writeHead(404).end(JSON.stringify({ kind: 'Status', code: 404, reason: 'NotFound', message: 'no' }));
      return;
    }
    const items = path === '/api/v1/secrets' && !isListEmpty ? [...objects.keys()].map(objectOf) : [];
    const body = single === undefined ? { metadata: { resourceVersion: String(version) }, items } : objectOf(single);
    const text = JSON.stringify(body);
    response.end(isCut ? text.slice(0, -2) : text);
  };
  const tell = (type: string, name: string): void => {
    version += 1;
    for (const { path, response } of watches)
      if (path === '/api/v1/secrets') response.write(`${JSON.stringify({ type, object: objectOf(name) })}\n`);
  };
  const known = (name: string): string | undefined => {
    const found = cache.get('Secret', 'default', name);
    return found.kind === 'present' ? found.source.data.get('key')?.toString() : found.kind;
  };
  const ref = (...names: string[]) => names.map((name) => ({ kind: 'Secret' as const, name }));
  const isWatched = (): boolean => watches.some(({ path }) => path === '/api/v1/secrets');

  beforeEach(async () => {
    objects = new Map();
    [version, requests, watches, woken, logged, refuse, isCut, isListEmpty] = [
      1,
      [],
      [],
      [],
      '',
      () => undefined,
      false,
      false,
    ];
    const server = createServer(handle);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    // Listening on a TCP port.
    const { port } = server.address() as AddressInfo;
    const access: ApiAccess = {
      getCurrentCluster: () => ({ name: 'test', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }),
      applySecurityAuthentication: async () => {},
    };
    const write = (line: string): void => {
      logged += line;
    };
    const send = (request: ApiRequest): Promise<unknown> => callApi(access, request);
    cache = createSourceCache({
      access,
      api: { call: send, ask: send },
      checkStore: async () => {},
      recall: () => undefined,
      changed: () => {},
      isHeldKey: () => false,
      wake: (key) => woken.push(key),
      onReconnect: () => {},
      now: Date.now,
      random: () => 0.5,
      log: pino({ level: 'debug' }, { write }),
    });
    close = async () => {
      await cache.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    };
  });
  afterEach(() => close());

  it('knows nothing before it has listed, and then what is there and what is not', async () => {
    objects.set('a', { key: 'one' });
    cache.refer('default/web', ref('a', 'b'));
    assert.deepEqual([known('a'), known('b')], ['unknown', 'unknown']);
    cache.start();
    await until(() => known('a') === 'one' && known('b') === 'missing', 'the list');
    assert.ok(woken.includes('default/web'));
    assert.equal(
      requests.some((one) => one.includes('/namespaces/')),
      false,
    );
  });

  it('asks for what a later list leaves out, and keeps it unless it is gone', async () => {
    objects.set('a', { key: 'one' });
    objects.set('b', { key: 'two' });
    cache.refer('default/web', ref('a', 'b'));
    cache.start();
    await until(() => isWatched() && known('a') === 'one' && known('b') === 'two', 'the list');
    objects.delete('b');
    isListEmpty = true;
    for (const { response } of watches) response.destroy();
    await until(() => known('b') === 'missing', 'the next list');
    assert.equal(known('a'), 'one');
    assert.ok(requests.includes('get /api/v1/namespaces/default/secrets/a'));
  });
  it('reads at once what is referred to later, and forgets what nobody refers to', async () => {
    objects.set('a', { key: 'one' });
    cache.start();
    await until(isWatched, 'the watch');
    assert.equal(known('a'), 'unknown');
    cache.refer('default/web', ref('a', 'b'));
    cache.refer('default/other', ref('a'));
    await until(() => known('a') === 'one' && known('b') === 'missing', 'the objects');
    assert.equal(requests.filter((one) => one.endsWith('/secrets/a')).length, 1);
    cache.refer('default/web', []);
    assert.deepEqual([known('a'), known('b')], ['one', 'unknown']);
    cache.refer('default/other', []);
    assert.equal(known('a'), 'unknown');
  });

  it('follows what comes, changes and goes, and wakes only those that refer to it', async () => {
    cache.refer('default/web', ref('a'));
    cache.refer('default/other', ref('b'));
    cache.start();
    await until(() => isWatched() && known('a') === 'missing' && known('b') === 'missing', 'the list');
    woken = [];
    objects.set('a', { key: 'one' });
    tell('ADDED', 'a');
    await until(() => known('a') === 'one', 'the addition');
    objects.set('a', { key: 'two' });
    tell('MODIFIED', 'a');
    await until(() => known('a') === 'two', 'the change');
    tell('DELETED', 'a');
    await until(() => known('a') === 'missing', 'the deletion');
    assert.deepEqual(woken, ['default/web', 'default/web', 'default/web']);
  });

  it('keeps the last known values while the server is away, and then the new ones', async () => {
    objects.set('a', { key: 'one' });
    cache.refer('default/web', ref('a'));
    cache.start();
    await until(() => isWatched() && known('a') === 'one', 'the list');
    refuse = () => 503;
    for (const { response } of watches.splice(0)) response.destroy();
    const before = requests.length;
    await until(() => requests.length > before + 2, 'further tries');
    assert.equal(known('a'), 'one');
    objects.set('a', { key: 'two' });
    version += 1;
    refuse = (_path, isWatch) => (isWatch ? 410 : undefined);
    await until(() => known('a') === 'two', 'the new value');
  }).timeout(240_000);

  it('goes on trying where it may not read, says so, and tells no data in its log', async () => {
    objects.set('a', { key: 'never-to-be-told' });
    refuse = (path) => (path.includes('secrets') ? 403 : undefined);
    cache.refer('default/web', ref('a'));
    cache.start();
    await until(() => requests.filter((one) => one === 'get /api/v1/secrets').length >= 2, 'further tries');
    assert.equal(known('a'), 'unknown');
    assert.match(logged, /list failed, trying again/);
    isCut = true;
    refuse = () => undefined;
    await until(() => logged.includes('that is not JSON'), 'an answer that was cut short');
    isCut = false;
    await until(() => known('a') === 'never-to-be-told', 'the value');
    assert.equal(/never-to-be-told|bmV2ZXItdG8tYmUtdG9sZA/.test(logged), false);
  }).timeout(240_000);
});
