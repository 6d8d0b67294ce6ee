/** Whatever the API server answers while containers crash: they are restarted by policy, none ends, and the truth counts after. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { containersPath } from '../../client/index.ts';
import { until } from '../until.ts';
import { type HostileStore, type Nonsense, startHostileStore } from './hostile-store.ts';
import { Rig } from './rig.ts';

const isWatch = (url: URL): boolean => url.searchParams.get('watch') === 'true';
const isList = (url: URL): boolean => url.pathname === containersPath && !isWatch(url);
const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};
const list = (items: unknown, version: string): object => ({
  apiVersion: 'holdfast.dev/v1',
  kind: 'ContainerList',
  metadata: { resourceVersion: version },
  items,
});
/** As the store, but for lists of Containers, which `change` may alter; watches stay open and tell nothing. */
const lists =
  (change: (answer: Record<string, unknown>) => unknown): Nonsense =>
  async (response, url, real) => {
    if (isWatch(url)) return void response.flushHeaders();
    const { status, json: answer } = await real();
    json(response, isList(url) ? change(answer) : answer, status);
  };
/** As the store, but for the events of watches of Containers. */
const events =
  (...told: readonly unknown[]): Nonsense =>
  async (response, url, real) => {
    if (!isWatch(url)) {
      const { status, json: answer } = await real();
      return json(response, answer, status);
    }
    response.flushHeaders();
    if (url.pathname === containersPath) response.write(told.map((one) => `${JSON.stringify(one)}\n`).join(''));
  };

describe('the controller, when its store answers with nonsense', function () {
  this.timeout(300_000);
  const rig = new Rig();
  let hostile: HostileStore;
  let uids: ReadonlyMap<string, string> = new Map();
  const names = ['loop', 'steady', 'other'];
  const startsOf = (name: string): number => rig.runtime.calls.filter((one) => one === `start default/${name}`).length;
  const endings = (): string[] => rig.runtime.calls.filter((one) => /^(signal|remove)/.test(one));
  const isBelieved = async (): Promise<boolean> =>
    /holdfast_store_reachable 1/.test(await rig.metrics.getSingleMetricAsString('holdfast_store_reachable')) &&
    !/\} [1-9]/.test(await rig.metrics.getSingleMetricAsString('holdfast_held_objects'));

  before(async () => {
    await rig.open();
    rig.behaviours.set('loop', () => ({ exitAfterMs: 5, exitCode: 1 }));
    await rig.stopController();
    hostile = await startHostileStore(rig.access);
    rig.controllerAccess = hostile.access;
    await rig.startController();
    for (const name of names) await rig.create(name);
    for (const name of ['steady', 'other']) await rig.reach(name, ({ state }) => state === 'Running', 'running');
    await rig.reach('loop', ({ restartCount }) => (restartCount ?? 0) > 0, 'restarted');
    uids = new Map((await rig.list()).map(({ metadata }) => [metadata.name, metadata.uid]));
  });
  after(async () => {
    await rig.close();
    await hostile.close();
  });

  const stranger = (name: string, uid: string, version: string): object => ({
    apiVersion: 'holdfast.dev/v1',
    kind: 'Container',
    metadata: { name, namespace: 'default', uid, resourceVersion: version, generation: 9 },
  });
  const isOwnWatch = (url: URL): boolean => url.pathname === containersPath && isWatch(url);
  const isAny = (url: URL): boolean =>
    url.pathname === '/api/v1/namespaces/kube-system' || isList(url) || isOwnWatch(url);
  const cases: { it: string; answer: () => Nonsense; isAsked: (url: URL) => boolean }[] = [
    {
      it: 'a page of HTML',
      isAsked: isAny,
      answer: () => (response) => {
        response.writeHead(200, { 'content-type': 'text/html' });
        response.end('<html><body>Please log in</body></html>');
      },
    },
    {
      it: 'errors without a Status, also 404 for all there is',
      isAsked: isAny,
      answer: () => (response, url) => {
        response.writeHead(isList(url) ? 500 : 404, { 'content-type': 'text/plain' });
        response.end('no');
      },
    },
    {
      it: 'Status objects where something else was asked for',
      isAsked: isAny,
      answer: () => (response) => json(response, { kind: 'Status', status: 'Success' }),
    },
    {
      it: 'JSON that is cut short',
      isAsked: isAny,
      answer: () => async (response, url, real) => {
        if (isWatch(url)) return void response.end('{"type":"MODIFIED","obj');
        const text = JSON.stringify((await real()).json);
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(text.slice(0, text.length / 2));
      },
    },
    {
      it: 'a body that comes a byte at a time, and never ends',
      isAsked: isAny,
      answer: () => (response) => {
        response.flushHeaders();
        const drip = setInterval(() => response.write(' '), 50);
        response.on('close', () => clearInterval(drip));
      },
    },
    {
      it: 'nothing at all, on connections that stay open',
      isAsked: isAny,
      answer: () => () => {},
    },
    { it: 'an empty list', isAsked: isList, answer: () => lists((answer) => ({ ...answer, items: [] })) },
    {
      it: 'a list of which most is missing',
      isAsked: isList,
      answer: () => lists((answer) => ({ ...answer, items: (answer.items as unknown[]).slice(0, 1) })),
    },
    {
      it: 'a list of which one is missing, that is there when it is asked for',
      answer: () => lists((answer) => ({ ...answer, items: (answer.items as unknown[]).slice(1) })),
      isAsked: ({ pathname }) => /\/containers\/(loop|other|steady)$/.test(pathname),
    },
    { it: 'an empty list of a version of long ago', isAsked: isList, answer: () => lists(() => list([], '1')) },
    {
      it: 'a list of another kind, with the same names',
      isAsked: isList,
      answer: () =>
        lists(() => ({
          ...list([], '99999'),
          kind: 'SecretList',
          items: names.map((name) => ({ metadata: { name } })),
        })),
    },
    {
      it: 'objects with half of their fields',
      isAsked: isList,
      answer: () =>
        lists((answer) => ({
          ...answer,
          items: (answer.items as Record<string, unknown>[]).map((item) => ({ ...item, spec: { image: 'x' } })),
        })),
    },
    {
      it: 'events that delete what was never seen to be deleted, or is another object',
      isAsked: isOwnWatch,
      answer: () =>
        events(
          { type: 'DELETED', object: stranger('steady', 'another', '900001') },
          {
            type: 'DELETED',
            object: { ...stranger('steady', uids.get('steady') ?? '', '900002'), spec: { image: 'x' } },
          },
          { type: 'DELETED', object: 'steady' },
        ),
    },
    {
      it: 'events of other kinds, of older versions, and lines that are none',
      isAsked: isOwnWatch,
      answer: () =>
        events(
          { type: 'MODIFIED', object: { kind: 'Secret', metadata: { name: 'steady', namespace: 'default' } } },
          { type: 'ADDED', object: null },
          { type: 7 },
          { type: 'MODIFIED', object: stranger('steady', uids.get('steady') ?? '', '1') },
        ),
    },
  ];
  for (const { it: title, answer, isAsked } of cases)
    it(`goes on through ${title}`, async () => {
      hostile.answerWith(answer());
      const before = startsOf('loop');
      await until(() => hostile.asked.some(isAsked), 'the question that gets this answer', 200_000).catch((cause) => {
        throw new Error(`asked: ${hostile.asked.join(' ')}; open: ${hostile.open.join(' ')}`, { cause });
      });
      await until(() => startsOf('loop') >= before + 3, 'three more starts');
      assert.deepEqual(endings(), []);
      hostile.answerWith(undefined);
      await until(isBelieved, 'the store to be believed again', 200_000);
      // News makes this watch one that was of use, so that the next case is not met after a long wait.
      await rig.patch('other', { metadata: { annotations: { after: title } } });
      const since = startsOf('loop');
      await until(() => startsOf('loop') >= since + 2, 'two more starts');
    });
  it('asks again for a list that it did not believe, also while its watch stays open and tells nothing', async () => {
    const isHolding = async (): Promise<boolean> =>
      /\} [1-9]/.test(await rig.metrics.getSingleMetricAsString('holdfast_held_objects'));
    hostile.answerWith(lists((answer) => ({ ...answer, items: [] })));
    await until(isHolding, 'the empty list to be doubted', 200_000);
    await until(() => hostile.asked.some(isOwnWatch), 'the watch after it');
    hostile.answerWith(undefined, 'left');
    await until(isBelieved, 'the next list', 80_000);
    assert.deepEqual(endings(), []);
  });
  it('asks for lists also while its writes fail and their breaker is open', async () => {
    // So many statuses to write that one of them takes each probe of the breaker.
    for (let count = 0; count < 30; count += 1) {
      rig.behaviours.set(`crowd-${count}`, () => ({ exitAfterMs: 5, exitCode: 1 }));
      await rig.create(`crowd-${count}`);
    }
    const isOpen = async (): Promise<boolean> =>
      /breaker="store",state="open"\} 1/.test(
        await rig.metrics.getSingleMetricAsString('holdfast_circuit_breaker_state'),
      );
    const refusesWrites: Nonsense = async (response, url, real) => {
      if (response.req.method !== 'GET') return json(response, 'no', 500);
      if (!isOwnWatch(url)) {
        const { status, json: answer } = await real();
        return json(response, answer, status);
      }
      json(response, { type: 'ERROR', object: { kind: 'Status', status: 'Failure', reason: 'Expired', code: 410 } });
    };
    hostile.answerWith(refusesWrites);
    await until(isOpen, 'the breaker to open', 100_000);
    hostile.answerWith(refusesWrites);
    await until(() => hostile.asked.filter(isList).length >= 3, 'three lists', 150_000);
    assert.deepEqual(endings(), []);
    hostile.answerWith(undefined);
    await until(isBelieved, 'the store to be believed again', 200_000);
  });
  it('has told the truth about all of it in the end, holds nothing, and has started nothing twice', async () => {
    const count = startsOf('loop');
    await rig.reach('loop', ({ restartCount }) => (restartCount ?? 0) >= count, 'told of');
    assert.ok(await isBelieved());
    assert.deepEqual([startsOf('steady'), startsOf('other'), endings()], [1, 1, []]);
    await rig.remove('steady');
    await rig.gone('steady');
  });
});
