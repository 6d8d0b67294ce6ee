/** `holdfast controller` with its store elsewhere: the host itself serves its containers' streams, also when that store is away. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Exec, KubeConfig, Log, type V1Status } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import { freePort, freeSubnet } from '../addresses.ts';
import { run } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { container, containers, type Fixture, startStore } from '../store/fixture.ts';
import { until } from '../until.ts';
import { importBusybox } from './images.ts';

const program = join(import.meta.dirname, '..', '..', 'bin', 'holdfast');

describe('holdfast controller --streams-listen', function () {
  this.timeout(300_000);
  let hostBefore: HostSnapshot;
  let store: Fixture;
  let controller: ChildProcess;
  let output = '';
  let isStoreOpen = true;
  const at = { dataDir: '', runDir: '', bridge: `hft${randomBytes(3).toString('hex')}` };
  let flags: string[] = [];
  let url = '';

  before(async () => {
    hostBefore = await snapshotHost();
    at.dataDir = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
    at.runDir = await mkdtemp('/run/holdfast-test-');
    await importBusybox(at);
    store = await startStore();
    url = `https://127.0.0.1:${await freePort()}`;
    flags = [
      ...['--data-dir', at.dataDir, '--run-dir', at.runDir, '--bridge', at.bridge],
      ...['--subnet', await freeSubnet()],
      ...['--metrics-listen', `127.0.0.1:${await freePort()}`, '--streams-listen', url.replace('https://', '')],
      ...['--kubeconfig', store.store.adminKubeconfigPath],
    ];
    controller = spawn(program, ['controller', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [controller.stdout, controller.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-65_536);
      });
    }
    await store.client.expect(201, 'POST', containers, {
      body: container('web', {
        image: 'localhost/busybox:latest',
        imagePullPolicy: 'Never',
        command: ['sh', '-c', 'trap "exit 0" TERM; echo ready; while :; do sleep 1; done'],
      }),
    });
    await until(
      async () => {
        assert.equal(controller.exitCode, null, output);
        const { status } = await store.client.expect(200, 'GET', `${containers}/web`);
        return (status as { state?: string } | undefined)?.state === 'Running';
      },
      'the container to run',
      60_000,
    );
    // A container does not wait for the listener, whose certificate is made at its first start.
    const isServed = async () => (await get('/healthz').catch(() => undefined))?.code === 200;
    await until(isServed, 'the streams to be served', 60_000);
  });
  after(async () => {
    if (isStoreOpen) await store?.close();
    const { code, stderr } = await run(program, ['down', ...flags], {}, 120_000);
    controller?.kill('SIGKILL');
    await rm(at.runDir, { recursive: true, force: true });
    await rm(at.dataDir, { recursive: true, force: true });
    assert.equal(code, 0, stderr);
    await assertNoLeaks(hostBefore, at);
  });

  async function access(): Promise<KubeConfig> {
    const [ca, token] = await Promise.all(
      ['ca.crt', 'admin-token'].map((file) => readFile(join(at.dataDir, 'pki', file), 'utf8')),
    );
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      { name: 'host', server: url, caData: Buffer.from(ca ?? '').toString('base64'), skipTLSVerify: false },
      { name: 'admin', token: (token ?? '').trim() },
    );
    return config;
  }

  async function execute(command: readonly string[]): Promise<string> {
    const config = await access();
    const stdout = new PassThrough();
    const text = buffer(stdout);
    const status = await new Promise<V1Status>((resolve, reject) => {
      new Exec(config).exec('default', 'web', 'web', [...command], stdout, null, null, false, resolve).catch(reject);
    });
    assert.equal(status.status, 'Success');
    return (await text).toString();
  }

  async function get(path: string, token?: string): Promise<{ code: number; text: string }> {
    const agent = new Agent({ connect: { rejectUnauthorized: false } });
    try {
      const { statusCode, body } = await request(url + path, {
        dispatcher: agent,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      });
      return { code: statusCode, text: await body.text() };
    } finally {
      await agent.destroy();
    }
  }

  it("serves client-node's Exec and Log", async () => {
    assert.equal(await execute(['echo', 'hello']), 'hello\n');
    const log = new PassThrough();
    await new Log(await access()).log('default', 'web', 'web', log);
    assert.equal((await buffer(log)).toString(), 'ready\n');
  });

  it('lets in only who has the token, and knows only streams of what is there', async () => {
    assert.equal((await get('/healthz')).code, 200);
    const path = '/api/v1/namespaces/default/pods';
    for (const token of [undefined, 'wrong']) assert.equal((await get(`${path}/web/log`, token)).code, 401);
    const token = (await access()).getCurrentUser()?.token ?? '';
    const cases: { path: string; code: number; says: RegExp }[] = [
      { path: `${path}/none/log`, code: 404, says: /pods \\"none\\" not found/ },
      { path: `${path}/web`, code: 404, says: /could not find the requested resource/ },
      { path: `${path}/web/status`, code: 404, says: /could not find the requested resource/ },
      { path: `${path}/web/exec`, code: 400, says: /Upgrade request required/ },
      { path: '/api/v1/namespaces/default/secrets/web/log', code: 404, says: /could not find/ },
      { path: `${path}/%zz/log`, code: 400, says: /percent-encoding/ },
      { path: '/', code: 404, says: /could not find/ },
      { path: `${containers}/web/stats`, code: 200, says: /ContainerStats/ },
    ];
    for (const { path: asked, code, says } of cases) {
      const answer = await get(asked, token);
      assert.equal(answer.code, code, `${asked}: ${answer.text}`);
      assert.match(answer.text, says);
    }
  });

  it('goes on while the store is away', async () => {
    await store.close();
    isStoreOpen = false;
    assert.equal(await execute(['echo', 'still', 'here']), 'still here\n');
  });
});
