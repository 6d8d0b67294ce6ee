/** The Node of this host: what it says, and its writer against the real store. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { ApiError, callApi, tokenAccess } from '../../client/index.ts';
import type { HostFacts } from '../../controller/host-facts.ts';
import { observeHostFacts, startNodeHeartbeat } from '../../controller/index.ts';
import { conditionsIn, formatNodeStatus, isNews } from '../../controller/node-status.ts';
import { crdFiles } from '../../crds/index.ts';
import { createStore, type Store } from '../../store/index.ts';
import { until } from '../until.ts';

const facts: HostFacts = {
  hostname: 'host',
  ip: '192.0.2.1',
  architecture: 'amd64',
  kernelVersion: '6.1',
  osImage: 'An OS',
  machineID: 'm',
  systemUUID: '',
  bootID: 'b',
  cpuCount: 2,
  memory: { totalBytes: 4 * 2 ** 30, freeBytes: 2 ** 30 },
  disk: { totalBytes: 100 * 2 ** 30, freeBytes: 50 * 2 ** 30 },
  processes: { count: 100, max: 32_768 },
  version: '1.0.0',
};

describe('formatNodeStatus', () => {
  const cases: { it: string; facts: Partial<HostFacts>; type: string; status: string; reason: string }[] = [
    { it: 'is ready', facts: {}, type: 'Ready', status: 'True', reason: 'KubeletReady' },
    { it: 'has memory', facts: {}, type: 'MemoryPressure', status: 'False', reason: 'KubeletHasSufficientMemory' },
    {
      it: 'tells of too little memory',
      facts: { memory: { totalBytes: 2 ** 30, freeBytes: 99 * 2 ** 20 } },
      type: 'MemoryPressure',
      status: 'True',
      reason: 'KubeletHasInsufficientMemory',
    },
    {
      it: 'tells of a full disk',
      facts: { disk: { totalBytes: 1000, freeBytes: 99 } },
      type: 'DiskPressure',
      status: 'True',
      reason: 'KubeletHasDiskPressure',
    },
    {
      it: 'tells of too few process numbers',
      facts: { processes: { count: 960, max: 1000 } },
      type: 'PIDPressure',
      status: 'True',
      reason: 'KubeletHasInsufficientPID',
    },
  ];
  for (const { it: title, facts: given, type, status, reason } of cases) {
    it(title, () => {
      const { conditions } = formatNodeStatus({ ...facts, ...given }, [], 0);
      const found = conditions.find((condition) => condition.type === type);
      assert.deepEqual([found?.status, found?.reason], [status, reason]);
    });
  }

  it('keeps since when a condition is so while it does not change', () => {
    const first = formatNodeStatus(facts, [], 0);
    const full = { ...facts, disk: { totalBytes: 1000, freeBytes: 1 } };
    const second = formatNodeStatus(full, first.conditions, 60_000);
    const since = Object.fromEntries(second.conditions.map(({ type, lastTransitionTime: at }) => [type, at]));
    assert.equal(since.Ready, '1970-01-01T00:00:00Z');
    assert.equal(since.DiskPressure, '1970-01-01T00:01:00Z');
  });

  it('is written when it is new, and else every five minutes', () => {
    const told = formatNodeStatus(facts, [], 0);
    const { systemUUID: _, kubeProxyVersion: _empty, ...nodeInfo } = told.nodeInfo;
    const stored = { ...told, nodeInfo };
    const later = formatNodeStatus(facts, told.conditions, 299_000);
    assert.equal(isNews(later, stored, 299_000), false);
    assert.equal(isNews(later, stored, 300_000), true);
    assert.equal(isNews(later, undefined, 0), true);
    const doubted = told.conditions.map((condition) => ({ ...condition, status: 'Unknown' as const }));
    assert.equal(isNews(later, { ...stored, conditions: doubted }, 299_000), true);
    assert.equal(isNews(formatNodeStatus({ ...facts, ip: '192.0.2.2' }, [], 0), stored, 0), true);
  });
});

describe('observeHostFacts', () => {
  it('reads what this host is', async () => {
    const found = await observeHostFacts({ dataDir: tmpdir(), version: '1' });
    assert.ok(found.cpuCount > 0 && found.memory.totalBytes > found.memory.freeBytes && found.memory.freeBytes > 0);
    assert.ok(found.disk.totalBytes > 0 && found.processes.max > found.processes.count && found.processes.count > 0);
    assert.match(found.bootID, /^[0-9a-f-]{36}$/);
  });
});

describe('startNodeHeartbeat', () => {
  let dir = '';
  let store: Store;
  let access: ReturnType<typeof tokenAccess>;
  let present = facts;
  const log = pino({ level: 'silent' });
  const leasePath = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/host';

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-node-'));
    const listen = { host: '127.0.0.1', port: 0 };
    store = await createStore({ dataDir: dir, listen, crdFiles, log, metrics: new Registry() });
    access = tokenAccess({ server: store.url, ca: store.caCertificate, token: store.adminToken });
  });
  after(async () => {
    await access.close();
    await store.close();
    await rm(dir, { recursive: true, force: true });
  });

  const call = (method: 'GET' | 'DELETE', path: string): Promise<unknown> =>
    callApi(access, { method, path, signal: AbortSignal.timeout(30_000) });
  interface Found {
    readonly metadata: { readonly uid: string; readonly labels?: object; readonly ownerReferences?: { uid: string }[] };
    readonly spec?: { readonly holderIdentity?: string; readonly renewTime?: string };
    readonly status?: unknown;
  }
  /** The object, or undefined while there is none. */
  const find = async (path: string): Promise<Found | undefined> => {
    try {
      return (await call('GET', path)) as Found;
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    }
  };
  const statusOf = (node: Found | undefined, type: string): string | undefined =>
    conditionsIn(node?.status).find((condition) => condition.type === type)?.status;

  it('keeps the Node and renews its Lease, and makes both again when they were deleted', async () => {
    const heartbeat = startNodeHeartbeat({
      access,
      nodeName: 'host',
      facts: async () => present,
      now: Date.now,
      log,
      everyMs: 20,
    });
    try {
      await until(async () => statusOf(await find('/api/v1/nodes/host'), 'Ready') === 'True', 'the Node is ready');
      await until(async () => (await find(leasePath)) !== undefined, 'the Lease is there');
      const node = await find('/api/v1/nodes/host');
      const lease = await find(leasePath);
      assert.equal(lease?.spec?.holderIdentity, 'host');
      assert.equal(lease.metadata.ownerReferences?.[0]?.uid, node?.metadata.uid);
      assert.deepEqual(node?.metadata.labels, {
        'kubernetes.io/hostname': 'host',
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
      });
      const { renewTime } = lease.spec;
      await until(async () => (await find(leasePath))?.spec?.renewTime !== renewTime, 'the Lease is renewed');
      present = { ...facts, disk: { totalBytes: 1000, freeBytes: 1 } };
      await until(
        async () => statusOf(await find('/api/v1/nodes/host'), 'DiskPressure') === 'True',
        'the Node tells of the full disk',
      );
      if (node === undefined) throw new Error('the Node was there a moment ago');
      await call('DELETE', '/api/v1/nodes/host');
      await until(async () => {
        const again = await find('/api/v1/nodes/host');
        const owner = (await find(leasePath))?.metadata.ownerReferences?.[0]?.uid;
        return again !== undefined && again.metadata.uid !== node.metadata.uid && owner === again.metadata.uid;
      }, 'the Node and its Lease are there again');
    } finally {
      await heartbeat.close();
    }
  });

  it('leaves the Node of a kubelet alone', async () => {
    const body = { metadata: { name: 'kubelets' } };
    const signal = AbortSignal.timeout(30_000);
    await callApi(access, { method: 'POST', path: '/api/v1/nodes', body, signal });
    const status = { nodeInfo: { containerRuntimeVersion: 'containerd://2.0.0' } };
    const contentType = 'application/merge-patch+json';
    const path = '/api/v1/nodes/kubelets/status';
    await callApi(access, { method: 'PATCH', path, body: { status }, contentType, signal });
    const warnings: unknown[] = [];
    const heartbeat = startNodeHeartbeat({
      access,
      nodeName: 'kubelets',
      facts: async () => facts,
      now: Date.now,
      log: pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) }),
      everyMs: 20,
    });
    await until(() => warnings.length > 0, 'the heartbeat says why it does not write');
    await heartbeat.close();
    assert.deepEqual((await find('/api/v1/nodes/kubelets'))?.status, status);
    assert.equal(await find('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/kubelets'), undefined);
  });
});
