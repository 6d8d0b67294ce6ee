/** Certificates: those of clients, and how an authority is followed by the next without cutting anyone off. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import { getString, type Json } from '../../store/json.ts';
import { writeHostKubeconfig } from '../../store/kubeconfigs.ts';
import { makeClient } from '../../store/openssl.ts';
import { decideRotation, ensureAuthorities, ensureCredentials } from '../../store/pki.ts';
import { container, containers, type Fixture, namesOf, startStore } from './fixture.ts';

const dayMs = 24 * 60 * 60 * 1000;

describe('decideRotation', () => {
  const cases: { it: string; leftDays: number; nextAgeDays?: number; want: ReturnType<typeof decideRotation> }[] = [
    { it: 'leaves a new authority alone', leftDays: 3650, want: 'keep' },
    { it: 'makes the next one two years before the end', leftDays: 700, want: 'prepare' },
    { it: 'waits until all have heard of the next one', leftDays: 700, nextAgeDays: 100, want: 'keep' },
    { it: 'lets the next one sign long before the end', leftDays: 500, nextAgeDays: 200, want: 'switch' },
    { it: 'does not let one sign that was made just now', leftDays: 500, nextAgeDays: 1, want: 'keep' },
    { it: 'does not wait when there is no time left', leftDays: 20, nextAgeDays: 1, want: 'switch' },
  ];
  for (const { it: title, leftDays, nextAgeDays, want } of cases) {
    it(title, () => {
      const next = nextAgeDays === undefined ? undefined : { ageMs: nextAgeDays * dayMs };
      assert.equal(decideRotation(leftDays * dayMs, next), want);
    });
  }
});

describe('store: certificates', () => {
  let fixture: Fixture;
  let offsetMs = 0;

  before(async () => {
    fixture = await startStore({ host: 'here', now: () => Date.now() + offsetMs });
  });
  after(() => fixture.close());

  const get = async (path: string, connect: { ca: string; cert?: string; key?: string }, token?: string) => {
    const dispatcher = new Agent({ connect });
    try {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const { statusCode, body } = await request(fixture.store.url + path, { dispatcher, headers });
      return { code: statusCode, body: (await body.json()) as Json };
    } finally {
      await dispatcher.close();
    }
  };

  it('let in by a client certificate that its authority signed, for as long as that lasts', async () => {
    const { signing } = await ensureAuthorities(join(fixture.dataDir, 'pki'), Date.now());
    const dir = await mkdtemp(join(tmpdir(), 'access-certificates-'));
    try {
      const ca = fixture.store.caCertificate;
      const options = { dir, name: 'client', nowMs: Date.now() };
      const client = await makeClient(options, signing, 'alice', 'system:masters');
      const shown = { ca, cert: client.certificate, key: client.key };
      assert.equal((await get(containers, shown)).code, 200);
      offsetMs = 366 * dayMs;
      assert.equal((await get(containers, shown)).code, 401);
      offsetMs = 0;
      const nobody = await makeClient({ ...options, name: 'nobody' }, signing, 'nobody', 'nothing');
      const refused = await get(containers, { ca, cert: nobody.certificate, key: nobody.key });
      assert.equal(refused.code, 403);
      assert.match(
        getString(refused.body, 'message') ?? '',
        /^containers.holdfast.dev is forbidden: User "nobody" cannot/,
      );
      const other = await ensureCredentials({ dataDir: dir, listenHost: '127.0.0.1', nowMs: Date.now() });
      const foreign = await ensureAuthorities(join(dir, 'pki'), Date.now());
      assert.notEqual(other.caCertificate, ca);
      const forged = await makeClient({ ...options, name: 'forged' }, foreign.signing, 'alice', 'system:masters');
      assert.equal((await get(containers, { ca, cert: forged.certificate, key: forged.key })).code, 401);
      const server = await readFile(join(fixture.dataDir, 'pki/server.crt'), 'utf8');
      const key = await readFile(join(fixture.dataDir, 'pki/server.key'), 'utf8');
      assert.equal((await get(containers, { ca, cert: server, key })).code, 401); // it is not for clients
      const { adminToken } = fixture.store;
      assert.equal((await get(containers, { ca, cert: forged.certificate, key: forged.key }, adminToken)).code, 200);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('give a host a kubeconfig with which it sees its own alone', async () => {
    const path = await writeHostKubeconfig(fixture.dataDir, { host: 'there', url: undefined, nowMs: Date.now() });
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const again = await readFile(path, 'utf8');
    await writeHostKubeconfig(fixture.dataDir, { host: 'there', url: undefined, nowMs: Date.now() });
    assert.equal(await readFile(path, 'utf8'), again);
    await assert.rejects(
      writeHostKubeconfig(fixture.dataDir, { host: '../x', url: undefined, nowMs: Date.now() }),
      /is no name of a host/,
    );
    await fixture.client.expect(201, 'POST', containers, { body: container('one', { nodeName: 'there' }) });
    await fixture.client.expect(201, 'POST', containers, { body: container('other') });
    const config = new KubeConfig();
    config.loadFromFile(path);
    const { certData = '', keyData = '' } = config.getCurrentUser() ?? {};
    const decode = (text: string): string => Buffer.from(text, 'base64').toString();
    const shown = {
      ca: decode(config.getCurrentCluster()?.caData ?? ''),
      cert: decode(certData),
      key: decode(keyData),
    };
    const list = await get('/apis/holdfast.dev/v1/containers', shown);
    assert.deepEqual(namesOf(list.body as Parameters<typeof namesOf>[0]), ['one']);
    assert.equal((await get(`${containers}/other`, shown)).code, 403);
  });

  it('follow one authority by the next while all who trust either go on', async () => {
    const { store, dataDir } = fixture;
    const certificateAt = async (file: string) => new X509Certificate(await readFile(join(dataDir, file)));
    const first = store.caCertificate;
    const countIn = (pem: string): number => pem.split('BEGIN CERTIFICATE').length - 1;
    assert.equal(countIn(first), 1);
    offsetMs = 3_000 * dayMs;
    await store.renewCertificates();
    const both = store.caCertificate;
    assert.equal(countIn(both), 2);
    assert.ok(both.startsWith(first));
    // Who has not heard of the next one yet still trusts the server.
    assert.equal((await get(containers, { ca: first }, store.adminToken)).code, 200);
    const kubeconfig = await readFile(store.adminKubeconfigPath, 'utf8');
    assert.ok(kubeconfig.includes(Buffer.from(both).toString('base64')));
    offsetMs = 3_200 * dayMs;
    await store.renewCertificates();
    const after = store.caCertificate;
    assert.equal(countIn(after), 2);
    assert.ok(after.endsWith(first));
    assert.ok((await certificateAt('pki/server.crt')).verify((await certificateAt('pki/ca.crt')).publicKey));
    for (const ca of [both, after]) assert.equal((await get(containers, { ca }, store.adminToken)).code, 200);
    await assert.rejects(get(containers, { ca: first }, store.adminToken));
    // The host that was given a kubeconfig has one by the new authority.
    const path = join(dataDir, 'hosts/there.kubeconfig');
    assert.ok((await readFile(path, 'utf8')).includes(Buffer.from(after).toString('base64')));
    assert.ok((await certificateAt('pki/host-there.crt')).verify((await certificateAt('pki/ca.crt')).publicKey));
    await store.renewCertificates();
    assert.equal(store.caCertificate, after);
  });
});
