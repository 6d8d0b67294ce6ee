/** metrics.k8s.io: the sampler with a clock of its own, the API, and kubectl's describe, top, get and wait on what runs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { notFound } from '../../store/index.ts';
import { isJsonArray, type JsonObject } from '../../store/json.ts';
import { UsageSampler } from '../../store/usage-sampler.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { type Client, container, containers, type Fixture, metaOf, namesOf, startStore } from './fixture.ts';
import { createHostStreams } from './host-streams.ts';

describe('UsageSampler', () => {
  /** `half a core`: every millisecond of the clock takes half a millisecond of processor time. */
  const create = () => {
    let atMs = 1_000;
    let looks = 0;
    const sampler = new UsageSampler({
      now: () => atMs,
      monotonic: () => atMs,
      wait: async (ms) => {
        atMs += ms;
      },
    });
    const half = {
      id: 'half',
      read: async () => {
        looks++;
        return { cpuNanoseconds: atMs * 500_000, memoryBytes: 1024 };
      },
    };
    return { sampler, half, looks: () => looks, pass: (ms: number) => (atMs += ms) };
  };

  it('looks twice the first time, then not again while it is fresh, then once', async () => {
    const { sampler, half, looks, pass } = create();
    const first = (await sampler.usageOf([half])).get('half');
    assert.deepEqual(first, { nanocores: 500_000_000, memoryBytes: 1024, atMs: 1_500, windowMs: 500 });
    pass(4_000);
    assert.equal((await sampler.usageOf([half])).get('half'), first);
    assert.equal(looks(), 2);
    pass(4_000);
    assert.equal((await sampler.usageOf([half])).get('half')?.windowMs, 8_000);
    assert.equal(looks(), 3);
    pass(61_000);
    await sampler.usageOf([half]);
    assert.equal(looks(), 5, 'what was seen long ago says nothing');
  });

  it('leaves out what cannot be measured, and what began anew', async () => {
    const { sampler, half } = create();
    let cpuNanoseconds = 2e9;
    const anew = {
      id: 'anew',
      read: async () => {
        cpuNanoseconds -= 1e9;
        return { cpuNanoseconds, memoryBytes: 1 };
      },
    };
    const silent = { id: 'silent', read: async () => undefined };
    assert.deepEqual([...(await sampler.usageOf([half, anew, silent])).keys()], ['half']);
  });

  it('looks at few at a time', async () => {
    const { sampler } = create();
    let present = 0;
    let most = 0;
    const read = async () => {
      most = Math.max(most, ++present);
      await new Promise((resolve) => setImmediate(resolve));
      present--;
      return { cpuNanoseconds: 1, memoryBytes: 1 };
    };
    const many = Array.from({ length: 100 }, (_, index) => ({ id: String(index), read }));
    assert.equal((await sampler.usageOf(many)).size, 100);
    assert.equal(most, 16);
  });
});

describe('store: metrics of pods and nodes', () => {
  let fixture: Fixture;
  let client: Client;
  let home: string;
  const api = '/apis/metrics.k8s.io/v1beta1';
  const merge = { 'content-type': 'application/merge-patch+json' };
  const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'holdfast-metrics-'));
    const usage = (cores: number, bytes: number) => ({
      cpu: { usageCoreNanoSeconds: performance.now() * 1e6 * cores },
      memory: { workingSetBytes: bytes },
    });
    const streams = createHostStreams({
      stats: async ({ name }) => {
        if (name === 'elsewhere') throw notFound({ group: 'holdfast.dev', plural: 'containers' }, name);
        return usage(0.25, 8 * 2 ** 20);
      },
      hostStats: async (nodeName) => (nodeName === 'here' ? usage(1, 2 ** 30) : undefined),
    });
    fixture = await startStore({ streams });
    client = fixture.client;
    for (const [name, state] of [
      ['web', 'Running'],
      ['elsewhere', 'Running'],
      ['done', 'Exited'],
    ] as const) {
      const resources = { limits: { cpu: '1', memory: '64Mi' } };
      await client.expect(201, 'POST', containers, { body: container(name, { resources }, { labels: { app: name } }) });
      const at = new Date().toISOString();
      const conditions = [{ type: 'Ready', status: 'True', reason: 'Running', message: '', lastTransitionTime: at }];
      const lastTermination = { exitCode: 3, reason: 'Error', startedAt: at, finishedAt: at };
      const status = {
        ...{ state, nodeName: 'here', podIP: '10.1.0.9', startedAt: at, restartCount: 1 },
        ...(name === 'web' ? { conditions, lastTermination } : {}),
      };
      await client.expect(200, 'PATCH', `${containers}/${name}/status`, { body: { status }, headers: merge });
    }
    const amounts = { cpu: '2', memory: '4Gi', pods: '10' };
    for (const name of ['here', 'there']) {
      await client.expect(201, 'POST', '/api/v1/nodes', { body: { metadata: { name } } });
      const status = {
        capacity: amounts,
        allocatable: amounts,
        addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'ready' }],
        nodeInfo: { kubeletVersion: 'v1.32.0+holdfast.1', containerRuntimeVersion: 'holdfast://1' },
      };
      await client.expect(200, 'PATCH', `/api/v1/nodes/${name}/status`, { body: { status }, headers: merge });
    }
    await client.expect(201, 'POST', leases, { body: { metadata: { name: 'here' }, spec: {} } });
    const involvedObject = {
      ...{ apiVersion: 'holdfast.dev/v1', kind: 'Container', namespace: 'default', name: 'web' },
      uid: metaOf(await client.expect(200, 'GET', `${containers}/web`)).uid ?? '',
    };
    const event = { involvedObject, reason: 'Started', message: 'began', type: 'Normal', count: 1 };
    await client.expect(201, 'POST', '/api/v1/namespaces/default/events', {
      body: { metadata: { name: 'web.1' }, ...event, firstTimestamp: new Date().toISOString() },
    });
  });
  after(async () => {
    await fixture.close();
    await rm(home, { recursive: true, force: true });
  });

  it('lists and reads what runs here, and leaves out the rest', async () => {
    const list = await client.expect(200, 'GET', `${api}/namespaces/default/pods`);
    assert.equal(list.kind, 'PodMetricsList');
    assert.deepEqual(namesOf(list), ['web']);
    const [metrics] = list.items as readonly JsonObject[];
    assert.deepEqual(Object.keys(metrics ?? {}), [
      'kind',
      'apiVersion',
      'metadata',
      'timestamp',
      'window',
      'containers',
    ]);
    assert.ok(isJsonArray(metrics?.containers));
    const [{ usage, name }] = metrics.containers as readonly [{ usage: JsonObject; name: string }];
    assert.equal(name, 'web');
    assert.match(String(usage.cpu), /^\d+n$/);
    assert.equal(usage.memory, '8192Ki');
    assert.match(String(metrics.window), /^\d+\.\d{3}s$/);
    assert.deepEqual(namesOf(await client.expect(200, 'GET', `${api}/pods?labelSelector=app%3Ddone`)), []);
    assert.equal((await client.expect(200, 'GET', `${api}/namespaces/default/pods/web`)).kind, 'PodMetrics');
    const { message } = await client.expect(404, 'GET', `${api}/namespaces/default/pods/done`);
    assert.equal(message, 'podmetrics.metrics.k8s.io "default/done" not found');
    assert.deepEqual(namesOf(await client.expect(200, 'GET', `${api}/nodes`)), ['here']);
    await client.expect(404, 'GET', `${api}/nodes/there`);
  });

  it('can only be read, and not be watched', async () => {
    await client.expect(405, 'GET', `${api}/pods?watch=1`);
    for (const method of ['POST', 'DELETE']) await client.expect(405, method, `${api}/namespaces/default/pods`);
    await client.expect(405, 'DELETE', `${api}/nodes/here`);
    const { resources } = await client.expect(200, 'GET', api);
    const verbs = (resources as readonly JsonObject[]).map(({ name, kind, verbs }) => [name, kind, verbs]);
    assert.deepEqual(verbs, [
      ['nodes', 'NodeMetrics', ['get', 'list']],
      ['pods', 'PodMetrics', ['get', 'list']],
    ]);
  });

  for (const [version, program] of [
    ['of this machine', kubectl],
    ['1.20', kubectl120],
  ] as const) {
    it(`is what kubectl ${version} shows`, async () => {
      const environment = { PATH: process.env.PATH, HOME: home, KUBECONFIG: fixture.store.adminKubeconfigPath };
      const ok = async (...args: readonly string[]): Promise<string> => {
        // A node that is not heard of for 40 s is not Ready any more.
        const renewal = { spec: { renewTime: new Date().toISOString().replace('Z', '000Z') } };
        await client.expect(200, 'PATCH', `${leases}/here`, { body: renewal, headers: merge });
        const { stdout } = await promisify(execFile)(program(), args, { env: environment, timeout: 120_000 });
        return stdout;
      };
      assert.match(await ok('top', 'pod'), /^NAME .*\nweb +\d+m +8Mi *\n$/);
      assert.match(await ok('top', 'pod', 'web', '--containers'), /web +web +\d+m +8Mi/);
      assert.match(await ok('top', 'node', 'here'), /\nhere +\d+m +\d+% +1024Mi +25%/);
      assert.match(await ok('get', 'nodes', '-o', 'wide'), /\nhere +Ready +<none> .*192\.0\.2\.1 .*holdfast:\/\/1/);
      assert.match(await ok('get', 'pods', '-o', 'wide'), /\nweb +1\/1 +Running +1 .*10\.1\.0\.9 +here/);
      const selector = '--field-selector=status.phase=Running,spec.nodeName=here';
      assert.match(await ok('get', 'pods', selector, '-o', 'name'), /^pod\/elsewhere\npod\/web\n$/);
      assert.match(await ok('wait', '--for=condition=Ready', 'pod/web', '--timeout=60s'), /pod\/web condition met/);
      const pod = await ok('describe', 'pod', 'web');
      for (const pattern of [
        /Node: +here\/192\.0\.2\.1/,
        /State: +Running/,
        /Last State: +Terminated\n +Reason: +Error\n +Exit Code: +3/,
        /Restart Count: +1/,
        /QoS Class: +Guaranteed/,
        /ContainersReady +True/,
        /Normal +Started .* began/,
      ]) {
        assert.match(pod, pattern);
      }
      const node = await ok('describe', 'node', 'here');
      assert.match(node, /Ready +True/);
      assert.match(node, /default +web +1 \(50%\) +1 \(50%\) +64Mi/);
      if (version !== '1.20') {
        assert.match(await ok('events', '--for', 'pod/web'), /Normal +Started +Container\/web +began/);
        assert.match(
          await ok('wait', '--for=jsonpath={.status.phase}=Running', 'pod/web', '--timeout=60s'),
          /condition met/,
        );
      }
    });
  }
});
