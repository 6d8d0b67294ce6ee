/** Against an API server that misbehaves on purpose, which no real one does when asked: plain HTTP on loopback. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { type ApiAccess, callApi, type ListWatch, parseContainer, startListWatch } from '../../client/index.ts';
import type { Container } from '../../crds/index.ts';
import { object } from '../controller/fixtures.ts';
import { until } from '../until.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => void;

const path = '/apis/holdfast.dev/v1/containers';
const named = (name: string, version: string): Container => {
  const one = object({ name });
  return { ...one, metadata: { ...one.metadata, resourceVersion: version } };
};
const list = (version: string, ...names: string[]): string =>
  JSON.stringify({
    kind: 'ContainerList',
    metadata: { resourceVersion: version },
    items: names.map((name) => named(name, version)),
  });
const event = (type: string, name: string, version: string): string =>
  `${JSON.stringify({ type, object: named(name, version) })}\n`;

describe('startListWatch', () => {
  let handlers: { list: Handler; watch: Handler };
  let access: ApiAccess;
  let closeServer: () => Promise<void>;
  let seen: Map<string, string>;
  let reconnects: string[];
  let watches: (string | null)[];
  let listWatch: ListWatch;

  const start = (options: { silenceMs?: number; onChange?: () => void } = {}): void => {
    listWatch = startListWatch<Container>({
      access,
      path,
      list: (query, signal) => callApi(access, { method: 'GET', path, query, signal }),
      parse: parseContainer,
      onReplace: (objects) => {
        seen = new Map(objects.map((one) => [one.metadata.name, one.metadata.resourceVersion]));
      },
      onChange: (kind, one) => {
        options.onChange?.();
        if (kind === 'deleted') seen.delete(one.metadata.name);
        else seen.set(one.metadata.name, one.metadata.resourceVersion);
      },
      onActivity: () => {},
      onReconnect: (reason) => reconnects.push(reason),
      now: Date.now,
      random: () => 0.5,
      log: pino({ level: 'silent' }),
      silenceMs: options.silenceMs ?? 60_000,
    });
  };

  beforeEach(async () => {
    seen = new Map();
    reconnects = [];
    watches = [];
    handlers = {
      list: (_request, response) => response.end(list('5', 'a')),
      watch: (_request, response) => response.flushHeaders(),
    };
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      if (url.searchParams.get('watch') === 'true') {
        watches.push(url.searchParams.get('resourceVersion'));
        handlers.watch(request, response, url.searchParams);
      } else handlers.list(request, response, url.searchParams);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    access = {
      getCurrentCluster: () => ({ name: 'test', server: `http://127.0.0.1:${port}`, skipTLSVerify: false }),
      applySecurityAuthentication: async () => {},
    };
    closeServer = async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
  });
  afterEach(async () => {
    await listWatch.close();
    await closeServer();
  });

  it('lists page by page, then follows from the version of the list', async () => {
    handlers.list = (_request, response, query) => {
      if (query.get('continue') === 'next') return response.end(list('5', 'b'));
      return response.end(
        JSON.stringify({ metadata: { resourceVersion: '5', continue: 'next' }, items: [named('a', '4')] }),
      );
    };
    handlers.watch = (_request, response) => response.write(event('ADDED', 'c', '6') + event('DELETED', 'a', '7'));
    start();
    await listWatch.synced;
    await until(() => seen.has('c') && !seen.has('a'), 'the events to arrive');
    assert.deepEqual([[...seen.keys()].sort(), watches], [['b', 'c'], ['5']]);
  });
  it('goes on at the last version when a watch ends, without listing again', async () => {
    let lists = 0;
    handlers.list = (_request, response) => {
      lists += 1;
      response.end(list('5', 'a'));
    };
    handlers.watch = (_request, response) =>
      response.end(watches.length === 1 ? event('MODIFIED', 'a', '8') : event('BOOKMARK', 'a', '9'));
    start();
    await until(() => watches.length >= 3, 'two more watches');
    assert.deepEqual([watches.slice(0, 3), lists], [['5', '8', '9'], 1]);
  });
  it('lists again when its version has expired, told as an event or as a status', async () => {
    let lists = 0;
    handlers.list = (_request, response) => {
      lists += 1;
      response.end(list(String(lists * 10), `list-${lists}`));
    };
    handlers.watch = (_request, response) => {
      if (watches.length === 1)
        return response.end(
          `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`,
        );
      if (watches.length === 2) {
        response.statusCode = 410;
        return response.end('{}');
      }
      return response.flushHeaders();
    };
    start();
    await until(() => watches.length === 3, 'the third watch');
    assert.deepEqual([[...seen.keys()], watches, reconnects], [['list-3'], ['10', '20', '30'], ['expired', 'expired']]);
  });
  it('lists until it succeeds, however the first lists fail', async () => {
    let lists = 0;
    handlers.list = (request, response) => {
      lists += 1;
      if (lists === 1) return request.socket.destroy();
      if (lists === 2) return response.end('this is no JSON');
      if (lists === 3) return response.end('{"items":"none"}');
      return response.end(list('5', 'a'));
    };
    start();
    await listWatch.synced;
    assert.deepEqual([lists, [...seen.keys()]], [4, ['a']]);
  });
  it('reconnects when nothing is heard for too long', async () => {
    start({ silenceMs: 150 });
    await until(() => watches.length >= 3, 'two reconnections');
    assert.deepEqual([...new Set(reconnects)], ['silence']);
    assert.deepEqual([...new Set(watches)], ['5']);
  });
  it('lists again when a handler throws, so that no event is lost', async () => {
    let isBroken = true;
    handlers.watch = (_request, response) => response.write(event('ADDED', 'b', '6'));
    start({
      onChange: () => {
        if (!isBroken) return;
        isBroken = false;
        throw new Error('a bug in a handler');
      },
    });
    await until(() => seen.has('b'), 'the event to be handled after all');
    assert.deepEqual(reconnects, ['handler-failed']);
  });
  it('passes over an object that it cannot read and does not know', async () => {
    handlers.watch = (_request, response) =>
      response.write(
        `${JSON.stringify({ type: 'ADDED', object: { metadata: { resourceVersion: '6' } } })}\n${event('ADDED', 'b', '7')}`,
      );
    start();
    await until(() => seen.has('b'), 'the good event');
    assert.deepEqual(reconnects, []);
  });
  it('tries again with growing waits when the server refuses the watch', async () => {
    handlers.watch = (_request, response) => {
      response.statusCode = watches.length < 3 ? 500 : 200;
      if (watches.length < 3) response.end('{}');
      else response.write(event('ADDED', 'b', '6'));
    };
    start();
    await until(() => seen.has('b'), 'the third watch');
    assert.deepEqual(
      [reconnects, watches],
      [
        ['http-500', 'http-500'],
        ['5', '5', '5'],
      ],
    );
  });
  const endless: { it: string; answer: Handler }[] = [
    {
      it: 'says that each version has expired',
      answer: (_request, response) =>
        response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410 } })}\n`),
    },
    {
      it: 'answers each watch with 410',
      answer: (_request, response) => {
        response.statusCode = 410;
        response.end('{}');
      },
    },
    { it: 'sends events without a version', answer: (_request, response) => response.end('{"type":"BOOKMARK"}\n') },
    { it: 'ends each watch at once', answer: (_request, response) => response.end() },
  ];
  for (const { it: title, answer } of endless) {
    it(`waits longer and longer when the server ${title}`, async () => {
      const watchedAtMs: number[] = [];
      handlers.watch = (request, response, query) => {
        watchedAtMs.push(performance.now());
        answer(request, response, query);
      };
      start();
      await until(() => watchedAtMs.length >= 5, 'five watches');
      const waitsMs = watchedAtMs.slice(1).map((ms, at) => ms - (watchedAtMs[at] ?? 0));
      // 20 ms at least, then doubled; setTimeout may be a millisecond early.
      assert.ok((waitsMs[3] ?? 0) >= 8 * 20 - 2, `waits of ${waitsMs.map(Math.round)} ms`);
    });
  }
  it('waits longer and longer when a handler fails at each first event', async () => {
    let lists = 0;
    handlers.list = (_request, response) => {
      lists += 1;
      response.end(list('5', 'a'));
    };
    handlers.watch = (_request, response) => response.write(event('ADDED', 'b', '6'));
    const failedAtMs: number[] = [];
    start({
      onChange: () => {
        failedAtMs.push(performance.now());
        throw new Error('a bug in a handler');
      },
    });
    await until(() => failedAtMs.length >= 4, 'four failures');
    const [first = 0, , , last = 0] = failedAtMs;
    assert.ok(last - first >= 200 + 400 + 800 - 50, `four lists within ${last - first} ms`);
    assert.ok(lists <= 5);
  });
  const unreadable = (one: Container): unknown => ({ ...one, spec: { image: 7 } });
  it('counts an object that is listed in a form that it cannot read as it was known, not as deleted', async () => {
    let lists = 0;
    handlers.list = (_request, response) => {
      lists += 1;
      const items =
        lists === 1
          ? [named('a', '5'), named('b', '5')]
          : [unreadable(named('a', '9')), named('c', '9'), unreadable(named('new', '9'))];
      response.end(JSON.stringify({ metadata: { resourceVersion: String(lists * 10) }, items }));
    };
    handlers.watch = (_request, response) => {
      if (watches.length > 1) return response.flushHeaders();
      response.statusCode = 410;
      response.end('{}');
    };
    start();
    await until(() => watches.length === 2, 'the second list');
    assert.deepEqual(
      [...seen],
      [
        ['a', '5'],
        ['c', '9'],
      ],
    );
  });
  it('lists again when the list is doubted, and loses nothing by it', async () => {
    start();
    await listWatch.synced;
    await until(() => watches.length === 1, 'the watch');
    handlers.list = (_request, response) => response.end(list('9', 'a', 'b'));
    listWatch.relist();
    await until(() => seen.has('b'), 'the second list');
    await until(() => watches.length === 2, 'the next watch');
    assert.deepEqual([[...seen.keys()], watches, reconnects], [['a', 'b'], ['5', '9'], ['doubt']]);
  });
  it('takes the deletion of an object in a form that it cannot read', async () => {
    handlers.watch = (_request, response) =>
      response.write(`${JSON.stringify({ type: 'DELETED', object: unreadable(named('a', '6')) })}\n`);
    start();
    await listWatch.synced;
    await until(() => !seen.has('a'), 'the deletion');
    assert.deepEqual([watches, reconnects], [['5'], []]);
  });
  const refusals: { it: string; item: unknown }[] = [
    { it: 'that it has never been able to read', item: unreadable(named('a', '5')) },
    { it: 'without a name', item: { ...named('a', '5'), metadata: { namespace: 'default', uid: 'u' } } },
    { it: 'that is none', item: null },
  ];
  for (const { it: title, item } of refusals) {
    it(`refuses a first list with an object ${title}, and lists again`, async () => {
      let lists = 0;
      handlers.list = (_request, response) => {
        lists += 1;
        const items = [named('b', '5'), lists < 3 ? item : named('a', '5')];
        response.end(JSON.stringify({ metadata: { resourceVersion: '5' }, items }));
      };
      start();
      await listWatch.synced;
      assert.deepEqual([lists, [...seen.keys()], reconnects], [3, ['b', 'a'], ['list-failed', 'list-failed']]);
    });
  }
});
