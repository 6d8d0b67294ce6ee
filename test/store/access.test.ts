/** Who may come in, over what, and what the store does when it cannot start: TLS, token, files, ports, damage. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { Registry } from 'prom-client';
import { Agent, request } from 'undici';
import { createStore, type StoreDeps, serviceUnavailable } from '../../store/index.ts';
import { getPath, getString, type Json, type JsonObject } from '../../store/json.ts';
import { ensureCredentials } from '../../store/pki.ts';
import { parseYaml } from '../../store/request-body.ts';
import { until } from '../until.ts';
import { container, containers, type Fixture, makeDir, metaOf, namesOf, silent, startStore } from './fixture.ts';
import { createHostStreams } from './host-streams.ts';

const dayMs = 24 * 60 * 60 * 1000;

describe('store: access', () => {
  let fixture: Fixture;

  before(async () => {
    fixture = await startStore();
  });
  after(() => fixture.close());

  const tokens: { it: string; authorization: string | undefined }[] = [
    { it: 'no token', authorization: undefined },
    { it: 'a wrong token', authorization: 'Bearer x' },
    { it: 'an empty token', authorization: 'Bearer ' },
    { it: 'another scheme', authorization: 'Basic YTpi' },
    { it: 'two tokens', authorization: 'Bearer a b' },
  ];
  for (const { it: title, authorization } of tokens) {
    it(`answers 401 to ${title}`, async () => {
      const dispatcher = new Agent({ connect: { ca: fixture.store.caCertificate } });
      const headers = authorization === undefined ? {} : { authorization };
      for (const path of ['/api', containers, '/openapi/v2', '/nothing', '/']) {
        const { statusCode, body } = await request(fixture.store.url + path, { headers, dispatcher });
        assert.equal(statusCode, 401);
        assert.equal(getString((await body.json()) as Json, 'reason'), 'Unauthorized');
      }
      await dispatcher.close();
    });
  }

  it('answers a Status to a request without a path that can be read', async () => {
    const { hostname, port } = new URL(fixture.store.url);
    const socket = connect({ host: hostname, port: Number(port), ca: fixture.store.caCertificate });
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer came')));
    socket.write('GET http://[::1/api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const answer = await text(socket);
    assert.match(answer, /^HTTP\/1.1 400 .*"kind":"Status"/s);
  });

  it('tells without a token only that it is there', async () => {
    const dispatcher = new Agent({ connect: { ca: fixture.store.caCertificate } });
    for (const path of ['/healthz', '/livez', '/readyz', '/version']) {
      const { statusCode, body } = await request(fixture.store.url + path, { dispatcher });
      assert.equal(statusCode, 200);
      assert.match(await body.text(), /^ok$|"gitVersion":"v1\.32/);
    }
    await dispatcher.close();
  });

  it('has a certificate that its CA signed, for every name of this host', async () => {
    const certificate = new X509Certificate(await readFile(join(fixture.dataDir, 'pki/server.crt')));
    assert.ok(certificate.verify(new X509Certificate(fixture.store.caCertificate).publicKey));
    assert.equal(certificate.checkHost('localhost'), 'localhost');
    assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
    assert.equal(certificate.checkIP('::1'), '::1');
    assert.equal(certificate.ca, false);
    const other = new Agent();
    await assert.rejects(request(`${fixture.store.url}/version`, { dispatcher: other }), /certificate/);
    await other.close();
  });

  it('keeps every file to its owner', async () => {
    const files = ['admin.kubeconfig', 'store.db', 'store.db-wal', 'pki/admin-token', 'pki/ca.key', 'pki/server.key'];
    for (const file of files) assert.equal((await stat(join(fixture.dataDir, file))).mode & 0o777, 0o600, file);
    assert.equal((await stat(join(fixture.dataDir, 'pki'))).mode & 0o777, 0o700);
    const left = (await readdir(join(fixture.dataDir, 'pki'))).filter((name) => /tmp|new/.test(name));
    assert.deepEqual(left, []);
  });

  it('writes a kubeconfig that leads to it', async () => {
    const { value } = parseYaml(await readFile(fixture.store.adminKubeconfigPath, 'utf8'));
    assert.equal(getString(value, 'current-context'), 'holdfast');
    const [cluster] = getPath(value, ['clusters']) as readonly JsonObject[];
    const [user] = getPath(value, ['users']) as readonly JsonObject[];
    assert.equal(getString(cluster, 'cluster', 'server'), fixture.store.url);
    const authority = Buffer.from(getString(cluster, 'cluster', 'certificate-authority-data') ?? '', 'base64');
    assert.equal(authority.toString(), fixture.store.caCertificate);
    assert.equal(getString(user, 'user', 'token'), fixture.store.adminToken);
  });

  it('counts requests under labels that clients cannot make up', async () => {
    const { client, metrics } = fixture;
    await client.expect(201, 'POST', containers, { body: container('counted') });
    await client.expect(404, 'GET', `/apis/made-up-${Date.now()}/v1/things`);
    await client.expect(404, 'GET', `${containers}/counted/made-up`);
    await client.call('GET', containers);
    const line = 'apiserver_request_total{verb="LIST",resource="containers",subresource="",code="200"} 1';
    await until(async () => (await metrics.metrics()).includes(line), 'the list to be counted');
    const text = await metrics.metrics();
    assert.match(text, /apiserver_request_total\{verb="POST",resource="containers",subresource="",code="201"\} 1/);
    assert.match(text, /apiserver_request_total\{verb="GET",resource="containers",subresource="other",code="404"\} 1/);
    assert.match(text, /apiserver_request_duration_seconds_count\{verb="POST",resource="containers"\} 1/);
    assert.match(text, /holdfast_store_objects\{resource="containers"\} 1/);
    assert.match(text, /holdfast_store_objects\{resource="namespaces"\} \d/);
    assert.match(text, /holdfast_store_commit_batch_size_count \d/);
    const revision = metaOf(await client.expect(200, 'GET', `${containers}/counted`)).resourceVersion;
    assert.ok(text.includes(`holdfast_store_revision ${String(revision)}`));
    assert.doesNotMatch(text, /made-up/);
  });
});

describe('store: starting again', () => {
  let dataDir: string;

  beforeEach(async () => {
    dataDir = await makeDir();
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  const deps = (): StoreDeps => ({
    dataDir,
    listen: { host: '127.0.0.1', port: 0 },
    crdFiles: [],
    log: silent,
    metrics: new Registry(),
  });

  it('keeps its objects, revisions, certificates and token', async () => {
    const first = await startStore({ dataDir });
    const made = await first.client.expect(201, 'POST', containers, { body: container('kept') });
    await first.client.expect(201, 'POST', containers, { body: container('removed') });
    await first.client.expect(200, 'DELETE', `${containers}/removed`);
    const list = await first.client.expect(200, 'GET', containers);
    await first.close();
    const second = await startStore({ dataDir });
    assert.equal(second.store.adminToken, first.store.adminToken);
    assert.equal(second.store.caCertificate, first.store.caCertificate);
    assert.deepEqual(await second.client.expect(200, 'GET', `${containers}/kept`), made);
    const again = await second.client.expect(200, 'GET', containers);
    assert.deepEqual(namesOf(again), ['kept']);
    assert.ok(Number(metaOf(again).resourceVersion) >= Number(metaOf(list).resourceVersion));
    const next = await second.client.expect(201, 'POST', containers, { body: container('next') });
    assert.ok(Number(metaOf(next).resourceVersion) > Number(metaOf(list).resourceVersion));
    await second.close();
  });

  it('gives stored objects the defaults that came since', async () => {
    const crd = (properties: string) => `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.example.com }
spec:
  group: example.com
  scope: Cluster
  names: { kind: Thing, plural: things }
  versions:
    - name: v1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, properties: { spec: { type: object, properties: ${properties} } } } }
`;
    const file = join(dataDir, 'crd.yaml');
    await writeFile(file, crd('{ a: { type: string } }'));
    const first = await startStore({ dataDir, crdFiles: [file] });
    await first.client.expect(201, 'POST', '/apis/example.com/v1/things', {
      body: { metadata: { name: 'x' }, spec: { a: 'b' } },
    });
    await first.close();
    await writeFile(file, crd('{ c: { type: integer, default: 3 } }'));
    const second = await startStore({ dataDir, crdFiles: [file] });
    assert.deepEqual((await second.client.expect(200, 'GET', '/apis/example.com/v1/things/x')).spec, { c: 3 });
    await second.close();
    const third = await startStore({ dataDir, crdFiles: [] });
    await third.client.expect(200, 'GET', '/apis/example.com/v1/things/x');
    await third.close();
  });

  it('says so when its port is taken, and leaves nothing open', async () => {
    const first = await startStore();
    const port = Number(new URL(first.store.url).port);
    const metrics = new Registry();
    await assert.rejects(createStore({ ...deps(), metrics, listen: { host: '127.0.0.1', port } }), {
      name: 'ListenError',
      message: new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE.*; stop what uses it`),
    });
    await first.close();
    assert.deepEqual(metrics.getMetricsAsArray(), []);
    const second = await startStore({ dataDir, metrics });
    await second.close();
  });

  it('says so when another process holds the database', async () => {
    const first = await startStore({ dataDir });
    await assert.rejects(createStore(deps()), {
      name: 'DatabaseOpenError',
      message: /database is locked; another process has it open/,
    });
    await first.client.expect(200, 'GET', containers);
    await first.close();
  });

  it('says so when the database is damaged', async () => {
    const first = await startStore({ dataDir });
    for (let index = 0; index < 100; index++) {
      await first.client.expect(201, 'POST', containers, { body: container(`c${index}`) });
    }
    await first.close();
    const path = join(dataDir, 'store.db');
    const whole = await readFile(path);
    await writeFile(path, 'this is no database, but it is long enough to be looked at'.repeat(100));
    await assert.rejects(createStore(deps()), {
      name: 'DatabaseOpenError',
      message: /not a database; restore it from a backup/,
    });
    await writeFile(path, whole);
    await truncate(path, whole.length - 8192);
    await assert.rejects(createStore(deps()), { name: 'DatabaseOpenError', message: /malformed|damaged/ });
  });

  it('says so when a file of a kind cannot be served', async () => {
    const file = join(dataDir, 'crd.yaml');
    for (const [content, problem] of [
      ['a: [', /not valid YAML/],
      ['kind: Pod', /kind must be CustomResourceDefinition/],
      [
        'kind: CustomResourceDefinition\nmetadata: { name: a.b }\nspec: { group: c, names: { plural: a, kind: A } }',
        /metadata\.name must be a\.c/,
      ],
    ] as const) {
      await writeFile(file, content);
      await assert.rejects(createStore({ ...deps(), crdFiles: [file] }), (error: Error) => {
        assert.match(error.message, /cannot serve the kind in .*crd\.yaml: /);
        assert.match(error.message, problem);
        return true;
      });
    }
  });
});

describe('ensureCredentials', () => {
  let dataDir: string;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'holdfast-pki-'));
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  const ensure = (nowMs = Date.now(), listenHost = '127.0.0.1') => ensureCredentials({ dataDir, listenHost, nowMs });

  it('renews the certificate, not the CA, when less than 30 days are left', async () => {
    const first = await ensure();
    assert.deepEqual(await ensure(Date.now() + 330 * dayMs), first);
    const renewed = await ensure(Date.now() + 336 * dayMs);
    assert.notEqual(renewed.certificate, first.certificate);
    assert.equal(renewed.caCertificate, first.caCertificate);
    assert.equal(renewed.adminToken, first.adminToken);
  });

  it('makes a new certificate for another address', async () => {
    const first = await ensure();
    const second = await ensure(Date.now(), '192.0.2.7');
    assert.notEqual(second.certificate, first.certificate);
    assert.equal(new X509Certificate(second.certificate).checkIP('192.0.2.7'), '192.0.2.7');
  });

  it('makes anew what a crash or a hand has damaged', async () => {
    const first = await ensure();
    for (const file of ['server.key', 'server.crt']) {
      await writeFile(join(dataDir, 'pki', file), 'x');
      const mended = await ensure();
      assert.notEqual(mended.certificate, first.certificate);
      assert.ok(new X509Certificate(mended.certificate).verify(new X509Certificate(first.caCertificate).publicKey));
    }
    await writeFile(join(dataDir, 'pki/ca.key'), '');
    assert.notEqual((await ensure()).caCertificate, first.caCertificate);
    for (const damage of [first.adminToken.slice(0, 20), '\0'.repeat(first.adminToken.length + 1)]) {
      await writeFile(join(dataDir, 'pki/admin-token'), damage);
      assert.match((await ensure()).adminToken, /^[\w-]{43}$/);
    }
  });
});

describe('store: logs', () => {
  const asked: unknown[] = [];
  let fixture: Fixture;
  let aborted = false;

  before(async () => {
    fixture = await startStore({
      streams: createHostStreams({
        log: async ({ object, name, namespace, uid }, options, signal) => {
          asked.push({ ...options, name, namespace, uid, kind: object.kind });
          if (name === 'away') throw serviceUnavailable('the host is away');
          return (async function* () {
            yield Buffer.from('one\n');
            yield Buffer.from('two\n');
            if (name === 'broken') throw new Error('the disk is gone');
            if (!options.follow) return;
            signal.addEventListener('abort', () => {
              aborted = true;
            });
            await new Promise((resolve) => signal.addEventListener('abort', resolve));
          })();
        },
      }),
    });
    for (const name of ['web', 'away', 'broken']) {
      await fixture.client.expect(201, 'POST', containers, { body: container(name) });
    }
  });
  after(() => fixture.close());

  it('are handed through with the options asked for', async () => {
    const query = 'tailLines=5&sinceSeconds=60&timestamps=true&limitBytes=100';
    const answer = await fixture.client.call('GET', `${containers}/web/log?${query}`);
    assert.equal(answer.text, 'one\ntwo\n');
    assert.match(String(answer.headers['content-type']), /^text\/plain/);
    const uid = metaOf(await fixture.client.expect(200, 'GET', `${containers}/web`)).uid;
    assert.deepEqual(asked.at(-1), {
      container: undefined,
      previous: false,
      stream: 'All',
      follow: false,
      tailLines: 5,
      sinceSeconds: 60,
      sinceTime: undefined,
      timestamps: true,
      limitBytes: 100,
      namespace: 'default',
      name: 'web',
      uid,
      kind: 'Container',
    });
  });

  it('are followed until the client leaves', async () => {
    const stop = new AbortController();
    const { body } = await request(`${fixture.store.url}${containers}/web/log?follow=true`, {
      dispatcher: new Agent({ connect: { ca: fixture.store.caCertificate } }),
      headers: { authorization: `Bearer ${fixture.store.adminToken}` },
      signal: stop.signal,
    });
    let text = '';
    body.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    body.on('error', () => {}); // the abort below
    await until(() => text === 'one\ntwo\n', 'the first lines');
    stop.abort();
    await until(() => aborted, 'the log to be closed');
  });

  it('answer a Status when they cannot be opened', async () => {
    const status = await fixture.client.expect(503, 'GET', `${containers}/away/log`);
    assert.equal(status.message, 'the host is away');
    await fixture.client.expect(404, 'GET', `${containers}/nothing/log`);
    await fixture.client.expect(400, 'GET', `${containers}/web/log?tailLines=x`);
    await fixture.client.expect(400, 'GET', `${containers}/web/log?sinceTime=yesterday`);
    await fixture.client.expect(400, 'GET', `${containers}/web/log?sinceTime=2026-01-01T00:00:00Z&sinceSeconds=1`);
  });

  it('break off rather than end where the rest is missing', async () => {
    await assert.rejects(fixture.client.call('GET', `${containers}/broken/log`));
  });

  it('are refused by a store that has none', async () => {
    const without = await startStore();
    await without.client.expect(201, 'POST', containers, { body: container('web') });
    const status = await without.client.expect(503, 'GET', `${containers}/web/log`);
    assert.match(String(status.message), /this store serves no host's logs/);
    await without.close();
  });
});
