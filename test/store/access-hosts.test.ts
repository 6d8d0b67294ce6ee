/** What a host's token reaches: its own Containers and what they refer to, whenever its requests come and whatever comes meanwhile. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { eventKind } from '../../store/core-kinds.ts';
import { parseDeleteOptions } from '../../store/delete-options.ts';
import type { Entry } from '../../store/entry-object.ts';
import type { Json } from '../../store/json.ts';
import { Operations, type OperationsDeps } from '../../store/operations.ts';
import { Client, container, containers, type Fixture, metaOf, namesOf, startStore } from './fixture.ts';

const core = '/api/v1/namespaces/default';
const merge = { 'content-type': 'application/merge-patch+json' };

describe('store: access of a host', () => {
  let fixture: Fixture;
  let admin: Client;
  let host: Client;

  before(async () => {
    fixture = await startStore({ host: 'here' });
    admin = fixture.client;
    host = new Client({ ...fixture.store, adminToken: fixture.store.hostToken ?? '' });
  });
  after(async () => {
    await host.close();
    await fixture.close();
  });

  const refusal = async (code: number, path: string): Promise<string> =>
    String((await host.expect(code, 'GET', path)).message);

  it('judges what a host asks for by what is there when its body has come', async () => {
    const { hostname, port } = new URL(fixture.store.url);
    const stalled = async (method: string, path: string, body: string, type = 'application/json') => {
      const request = https.request({
        ...{ hostname, port, method, path, rejectUnauthorized: false },
        headers: {
          ...{
            authorization: `Bearer ${fixture.store.hostToken}`,
            'content-type': type,
            'content-length': body.length,
          },
          expect: '100-continue',
        },
      });
      const answer = once(request, 'response') as Promise<[IncomingMessage]>;
      request.flushHeaders();
      // By then the request has been let in.
      await once(request, 'continue');
      return async (): Promise<{ readonly code: number | undefined; readonly text: string }> => {
        request.end(body);
        const [response] = await answer;
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk);
        return { code: response.statusCode, text: Buffer.concat(chunks).toString() };
      };
    };
    const path = `${containers}/later`;
    const asked = [
      await stalled('DELETE', path, '{}'),
      await stalled('GET', path, '{}'),
      await stalled('PATCH', path, '{}', merge['content-type']),
      await stalled('PATCH', `${path}/status`, '{}', merge['content-type']),
    ];
    await admin.expect(201, 'POST', containers, { body: container('later', { nodeName: 'there' }) });
    for (const finish of asked) {
      const { code, text } = await finish();
      assert.deepEqual([code, /nodeName/.test(text)], [403, false]);
    }
    const there = await admin.expect(200, 'GET', path);
    assert.equal(metaOf(there).deletionTimestamp, undefined);
    await admin.expect(200, 'DELETE', path);
  });

  it('shows a host its own Containers and what they refer to, and no more', async () => {
    for (const name of ['mine', 'theirs', 'unused']) {
      await admin.expect(201, 'POST', `${core}/secrets`, { body: { metadata: { name }, stringData: { key: name } } });
    }
    const uses = (secret: string) => [{ name: 'A', valueFrom: { secretKeyRef: { name: secret, key: 'key' } } }];
    await admin.expect(201, 'POST', containers, { body: container('here', { env: uses('mine') }) });
    await admin.expect(201, 'POST', containers, {
      body: container('there', { env: uses('theirs'), nodeName: 'there' }),
    });
    assert.deepEqual(namesOf(await host.expect(200, 'GET', '/api/v1/secrets')), ['mine']);
    assert.deepEqual(namesOf(await host.expect(200, 'GET', '/apis/holdfast.dev/v1/containers')), ['here']);
    await host.expect(200, 'GET', `${core}/secrets/mine`);
    for (const name of ['theirs', 'unused']) {
      assert.match(
        await refusal(403, `${core}/secrets/${name}`),
        /: no relationship found between host 'here' and this object$/,
      );
    }
    await host.expect(403, 'GET', `${containers}/there`);
    assert.match(await refusal(404, `${containers}/nowhere`), /"nowhere" not found$/);
    for (const name of ['here', 'there']) {
      await admin.expect(201, 'POST', '/api/v1/nodes', { body: { metadata: { name } } });
    }
    assert.deepEqual(namesOf(await host.expect(200, 'GET', '/api/v1/nodes')), ['here']);
    await host.expect(403, 'GET', '/api/v1/nodes/there');
    const patch = (path: string, body: Json, code: number) =>
      host.expect(code, 'PATCH', path, { body, headers: merge });
    await patch(`${containers}/here/status`, { status: { state: 'Running' } }, 200);
    await patch(`${containers}/there/status`, { status: { state: 'Running' } }, 403);
    await patch(`${containers}/here`, { metadata: { finalizers: ['holdfast.dev/container'] } }, 200);
    await patch(`${containers}/here`, { metadata: { finalizers: [] } }, 200);
    await patch(`${containers}/here`, { spec: { env: uses('theirs') } }, 403);
    await patch(`${containers}/here`, { spec: { nodeName: 'there' } }, 403);
    await host.expect(403, 'POST', containers, { body: container('more', { env: uses('theirs') }) });
    await host.expect(403, 'PUT', `${core}/secrets/mine`, { body: { metadata: { name: 'mine' } } });
    await host.expect(403, 'DELETE', containers);
    await host.expect(200, 'GET', '/api/v1/namespaces/kube-system');
    await host.expect(403, 'GET', '/api/v1/namespaces/default');
    const watch = await host.watch('/api/v1/secrets?watch=true');
    assert.equal(metaOf((await watch.next()).object).name, 'mine');
    await admin.expect(200, 'PATCH', `${core}/secrets/theirs`, {
      body: { stringData: { key: 'new' } },
      headers: merge,
    });
    await admin.expect(200, 'PATCH', `${core}/secrets/mine`, { body: { stringData: { key: 'new' } }, headers: merge });
    assert.equal(metaOf((await watch.next()).object).name, 'mine');
    watch.close();
    await admin.expect(200, 'PATCH', `${containers}/here`, { body: { spec: { env: uses('unused') } }, headers: merge });
    await host.expect(200, 'GET', `${core}/secrets/unused`);
    await host.expect(403, 'GET', `${core}/secrets/mine`);
    await host.expect(200, 'DELETE', `${containers}/here`);
    await host.expect(403, 'GET', `${core}/secrets/unused`);
  });
});

describe('Operations', () => {
  it('removes nothing that who asks may not remove by then', async () => {
    const object = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'a', namespace: 'b', uid: 'u', creationTimestamp: 't' },
    };
    const entry: Entry = { key: 'b/a', revision: 1, json: '', object };
    const touched: string[] = [];
    const note = (what: string) => (): Entry => {
      touched.push(what);
      return entry;
    };
    const transaction = { get: () => entry, list: () => [entry], put: note('put'), remove: note('remove') };
    const run = async (decide: (given: typeof transaction) => unknown): Promise<unknown> => decide(transaction);
    // A removal needs no more of them than this.
    const deps = { writer: { write: run, preview: run }, now: Date.now } as unknown as OperationsDeps;
    const operations = new Operations(deps);
    const options = parseDeleteOptions(undefined, new URLSearchParams());
    const place = { kind: eventKind, namespace: 'b', name: 'a' };
    const mode = {
      ...options,
      admit: () => {
        throw new Error('it is of another host by now');
      },
    };
    await assert.rejects(operations.remove(place, mode), /another host/);
    await assert.rejects(
      operations.removeCollection(eventKind, 'b', () => true, mode),
      /another host/,
    );
    assert.deepEqual(touched, []);
    await operations.remove(place, options);
    assert.deepEqual(touched, ['remove']);
  });
});
