/** The gateway's copy of the objects, against an API server whose lists come late: plain HTTP on loopback. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import type { Container } from '../../crds/index.ts';
import { createObjects, type Objects } from '../../docker/objects.ts';
import { until } from '../until.ts';
import { given } from './fixtures.ts';

const version = (name: string, resourceVersion: string): Container => given(name, {}, { resourceVersion });
const listOf = (resourceVersion: string, ...items: Container[]): string =>
  JSON.stringify({ kind: 'ContainerList', metadata: { resourceVersion }, items });
const event = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;
const expired = event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' });
const { signal } = new AbortController();

describe("the gateway's objects", () => {
  let objects: Objects;
  let lists: ServerResponse[];
  let watches: ServerResponse[];
  let answers: Container[];
  let close: () => Promise<void>;

  beforeEach(async () => {
    [lists, watches, answers] = [[], [], []];
    const server = createServer((request, response) => {
      request.resume();
      if (request.method !== 'GET') return response.end(JSON.stringify(answers.shift()));
      if (request.url?.includes('watch=true') === true) {
        response.flushHeaders();
        watches.push(response);
      } else lists.push(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo; // it listens on a port
    const access = {
      getCurrentCluster: () => ({ name: 'test', server: `http://127.0.0.1:${port}`, skipTLSVerify: false }),
      applySecurityAuthentication: async () => {},
    };
    objects = createObjects({ access, nodeName: 'here', log: pino({ level: 'silent' }) });
    close = async () => {
      await objects.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
  });
  afterEach(() => close());

  const answerList = async (count: number, text: string): Promise<void> => {
    await until(() => lists.length === count, `list ${count} to be asked for`);
    lists[count - 1]?.end(text);
  };
  const names = (): string[] =>
    objects
      .list()
      .map(({ metadata }) => metadata.name)
      .sort();

  it('keep what was made while a list was on its way that does not know of it', async () => {
    const told: (string | undefined)[] = [];
    await answerList(1, listOf('5', version('old', '4')));
    await until(() => watches.length === 1, 'the watch');
    objects.subscribe(({ after }) => told.push(after?.metadata.name));
    watches[0]?.end(expired);
    await until(() => lists.length === 2, 'the second list');
    answers.push(version('made', '7'));
    await objects.create('default', {}, signal);
    await answerList(2, listOf('6', version('old', '4')));
    await until(() => watches.length === 2, 'the second watch');
    assert.deepEqual([names(), told], [['made', 'old'], ['made']]);
    watches[1]?.write(event('DELETED', version('made', '8')));
    await until(() => !names().includes('made'), 'the end of it');
  });

  it('let go what was changed before a list that does not have it any more', async () => {
    await answerList(1, listOf('5', version('web', '4')));
    await until(() => watches.length === 1, 'the watch');
    watches[0]?.end(expired);
    await until(() => lists.length === 2, 'the second list');
    answers.push(version('web', '6'));
    await objects.patch(version('web', '4'), {}, signal);
    await answerList(2, listOf('7'));
    await until(() => watches.length === 2, 'the second watch');
    assert.deepEqual(names(), []);
  });

  it('let go what a list of an emptied store does not have, whatever its versions', async () => {
    await answerList(1, listOf('500'));
    await until(() => watches.length === 1, 'the watch');
    answers.push(version('web', '501'));
    await objects.create('default', {}, signal);
    watches[0]?.end(expired);
    await answerList(2, listOf('2'));
    await until(() => watches.length === 2, 'the second watch');
    assert.deepEqual(names(), []);
  });
});
