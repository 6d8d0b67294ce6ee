/** What one client may take of the store, what becomes of slow and stuck ones, and what the audit log tells. */
import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect, type TLSSocket } from 'node:tls';
import { ClientLimits, defaultLimits, isGreedy } from '../../store/client-limits.ts';
import { getString, type JsonObject } from '../../store/json.ts';
import { until, untilGiven } from '../until.ts';
import { Client, configMap, type Fixture, metaOf, startStore } from './fixture.ts';

const core = '/api/v1/namespaces/default';
const user = (name: string, ...groups: readonly string[]) => ({ name, groups, uid: undefined, extra: new Map() });

describe('ClientLimits', () => {
  it('turns away who asks for too much at once, and no one else', () => {
    const limits = new ClientLimits({ ...defaultLimits, perClient: 2, total: 3, longPerClient: 1 });
    try {
      const [first] = [limits.enter(user('a'), 'short'), limits.enter(user('a'), 'short')];
      assert.throws(() => limits.enter(user('a'), 'short'), { code: 429, reason: 'TooManyRequests' });
      limits.enter(user('b'), 'short');
      assert.throws(() => limits.enter(user('b'), 'short'), { code: 429 }); // all together have had theirs
      limits.enter(user('host', 'system:hosts'), 'short');
      for (let count = 0; count < 10; count++) limits.enter(user('admin', 'system:masters'), 'short');
      first();
      first();
      limits.enter(user('b'), 'short');
      limits.enter(user('a'), 'long');
      assert.throws(() => limits.enter(user('a'), 'long'), { code: 429 });
    } finally {
      limits.close();
    }
  });

  it('sees greed only where others want their share and there is no more', () => {
    assert.equal(isGreedy(5_000, 5_000, 1, 1), false);
    assert.equal(isGreedy(5_000, 6_000, 2, 0.5), false);
    assert.equal(isGreedy(50, 60, 2, 1), false);
    assert.equal(isGreedy(5_000, 6_000, 2, 1), true);
    assert.equal(isGreedy(2_000, 6_000, 2, 1), false);
  });
});

describe('store: limits and audit', () => {
  let fixture: Fixture;
  let client: Client;

  before(async () => {
    fixture = await startStore({
      host: 'here',
      limits: { longPerClient: 2 },
      audit: { maxFileBytes: 20_000, maxBackups: 2 },
    });
    client = fixture.client;
  });
  after(() => fixture.close());

  const open = ({ url, caCertificate } = fixture.store): TLSSocket => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), ca: caCertificate });
    socket.on('error', () => {}); // what was answered before counts
    socket.setTimeout(60_000, () => socket.destroy());
    return socket;
  };
  const headFor = (adminToken: string, method: string, path: string, ...more: readonly string[]): string =>
    [`${method} ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${adminToken}`, ...more, '', ''].join('\r\n');
  const head = (method: string, path: string, ...more: readonly string[]): string =>
    headFor(fixture.store.adminToken, method, path, ...more);
  const auditDir = (): string => join(fixture.dataDir, 'audit');
  /** What the audit log tells so far, oldest first; it may be rotated at any moment. */
  const auditText = async (): Promise<string> => {
    const files = ['audit.log.2', 'audit.log.1', 'audit.log'].map((file) => join(auditDir(), file));
    const all = (await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))).join('');
    // Of what is being written the first pages may be seen, and with them a part of a line.
    return all.slice(0, all.lastIndexOf('\n') + 1);
  };

  it('ends a request whose body does not come', async () => {
    // A store of its own: the others send bodies that a busy machine may take longer for.
    const { store, close } = await startStore({ limits: { bodyMs: 300 } });
    try {
      const socket = open(store);
      const more = ['Content-Type: application/json', 'Content-Length: 1000'];
      socket.write(`${headFor(store.adminToken, 'POST', `${core}/configmaps`, ...more)}{"a":`);
      assert.match(await text(socket), /^HTTP\/1\.1 408 .*"kind":"Status".*did not arrive within/s);
    } finally {
      await close();
    }
  });

  it('refuses headers and URLs that are too long with a Status', async () => {
    for (const request of [
      head('GET', '/api', `X: ${'x'.repeat(40_000)}`),
      head('GET', `/api?a=${'x'.repeat(40_000)}`),
    ]) {
      const socket = open();
      socket.write(request);
      assert.match(await text(socket), /^HTTP\/1\.1 431 .*"kind":"Status"/s);
    }
  });

  it('limits the watches of one client, and leaves others theirs', async () => {
    await client.expect(201, 'POST', `${core}/serviceaccounts`, { body: { metadata: { name: 'watcher' } } });
    await client.expect(201, 'POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings', {
      body: {
        metadata: { name: 'watcher' },
        roleRef: { kind: 'ClusterRole', name: 'view' },
        subjects: [{ kind: 'ServiceAccount', name: 'watcher', namespace: 'default' }],
      },
    });
    const answer = await client.expect(201, 'POST', `${core}/serviceaccounts/watcher/token`, { body: {} });
    const watcher = new Client({ ...fixture.store, adminToken: getString(answer, 'status', 'token') ?? '' });
    try {
      const watches = [];
      for (let count = 0; count < 2; count++) watches.push(await watcher.watch(`${core}/configmaps?watch=true`));
      const refused = await watcher.call('GET', `${core}/configmaps?watch=true`);
      assert.equal(refused.code, 429);
      assert.equal(refused.headers['retry-after'], '1');
      assert.equal(refused.body.message, 'Too many requests, please try again later.');
      const own = await client.watch(`${core}/configmaps?watch=true`);
      own.close();
      watches[0]?.close();
      await until(async () => {
        const again = await watcher.watch(`${core}/configmaps?watch=true`).catch(() => undefined);
        again?.close();
        return again !== undefined;
      }, 'the place of the watch that ended');
    } finally {
      await watcher.close();
    }
  });

  it('ends a watch that is never read while others go on, with memory bounded', async () => {
    const stuck = open();
    stuck.pause();
    stuck.write(head('GET', `${core}/configmaps?watch=true`));
    let isEnded = false;
    stuck.once('close', () => {
      isEnded = true;
    });
    const other = await client.watch(`${core}/configmaps?watch=true&fieldSelector=metadata.name%3Dbig`);
    const data = 'x'.repeat(1_000_000);
    await client.expect(201, 'POST', `${core}/configmaps`, { body: configMap('big', { data }) });
    await other.next();
    const longRunning = async (): Promise<number> => {
      const metrics = await fixture.metrics.metrics();
      return Number(/apiserver_longrunning_requests\{verb="WATCH",resource="configmaps"\} (\d+)/.exec(metrics)?.[1]);
    };
    await until(async () => (await longRunning()) === 2, 'both watches');
    // What the kernel and TLS hold between the two, and then what the store is willing to.
    for (let count = 0; count < 60 && (await longRunning()) === 2; count++) {
      const body = configMap('big', { data: `${count}${data}` });
      const written = await client.expect(200, 'PUT', `${core}/configmaps/big`, { body });
      assert.equal(metaOf((await other.next()).object).resourceVersion, metaOf(written).resourceVersion);
    }
    await until(async () => (await longRunning()) === 1, 'the stuck watch to be ended');
    await client.expect(200, 'DELETE', `${core}/configmaps/big`);
    assert.equal((await other.next()).type, 'DELETED');
    other.close();
    stuck.resume();
    await until(() => isEnded, 'the connection to be cut');
  });

  it('notes who did what, and never what a Secret holds', async () => {
    const body = { metadata: { name: 'noted' }, stringData: { key: 'never-to-be-seen' } };
    const { headers } = await client.call('POST', `${core}/secrets`, { body, headers: { 'audit-id': 'of-the-test' } });
    assert.equal(headers['audit-id'], 'of-the-test');
    await client.expect(200, 'GET', `${core}/secrets/noted`);
    await client.expect(403, 'GET', `${core}/secrets/noted`, { headers: { 'impersonate-user': 'nobody' } });
    const events = async (): Promise<readonly JsonObject[]> => {
      const lines = (await auditText()).split('\n');
      return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as JsonObject);
    };
    await until(async () => (await events()).at(-1)?.verb === 'get', 'the refusal to be noted');
    const all = await events();
    const created = all.find(({ auditID }) => auditID === 'of-the-test');
    assert.equal(created?.verb, 'create');
    assert.equal(created?.stage, 'ResponseComplete');
    assert.deepEqual(created?.objectRef, { resource: 'secrets', namespace: 'default', apiVersion: 'v1' });
    assert.deepEqual(created?.responseStatus, { metadata: {}, code: 201 });
    assert.equal(getString(created, 'user', 'username'), 'system:admin');
    const refused = all.at(-1);
    assert.equal(getString(refused, 'annotations', 'authorization.k8s.io/decision'), 'forbid');
    assert.equal(all.filter(({ verb }) => verb === 'get').length, 1); // reads that are allowed are not noted
    assert.doesNotMatch(JSON.stringify(all), /never-to-be-seen/);
  });

  it('notes what was asked behind a watch on a connection that then ended, and counts it no more', async () => {
    const socket = open();
    const body = JSON.stringify(configMap('behind'));
    const more = ['Content-Type: application/json', `Content-Length: ${body.length}`, 'Audit-Id: behind-a-watch'];
    socket.write(head('GET', `${core}/configmaps?watch=true`) + head('POST', `${core}/configmaps`, ...more) + body);
    await until(
      async () => (await client.call('GET', `${core}/configmaps/behind`)).code === 200,
      'the write behind the watch',
    );
    socket.destroy();
    await until(async () => (await auditText()).includes('behind-a-watch'), 'the write to be noted');
    await client.expect(200, 'DELETE', `${core}/configmaps/behind`);
  });

  it('rotates the audit log by size, and keeps a bounded number', async () => {
    const log = join(auditDir(), 'audit.log');
    const find = () => stat(log).catch(() => undefined); // between its renaming and the next one there is none
    for (let round = 0; round < 5; round++) {
      for (let count = 0; count < 30; count++) await client.expect(404, 'DELETE', `${core}/configmaps/none-${count}`);
      const before = (await untilGiven(find, 'a log')).ino;
      await until(async () => {
        await client.expect(404, 'DELETE', `${core}/configmaps/none`);
        const present = await find();
        return present !== undefined && present.ino !== before;
      }, 'the log to be rotated');
    }
    const files = await untilGiven(async () => {
      const found = (await readdir(auditDir())).sort();
      return found.length >= 3 && found;
    }, 'as many files as are kept');
    assert.deepEqual(files, ['audit.log', 'audit.log.1', 'audit.log.2']);
    assert.equal((await untilGiven(find, 'a log')).mode & 0o777, 0o600);
  });
});
