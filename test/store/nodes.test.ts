/** Nodes, their Leases, and what becomes of a Node whose host is not heard of. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openDatabase } from '../../store/database.ts';
import { isJsonArray, type JsonObject } from '../../store/json.ts';
import { nodeConditionOf, nodeKind } from '../../store/node-kinds.ts';
import { doubtNode, NodeLifecycle } from '../../store/node-lifecycle.ts';
import type { KubeObject } from '../../store/resources.ts';
import { Writer } from '../../store/writer.ts';
import { type Client, type Fixture, makeDir, metaOf, namesOf, silent, startStore } from './fixture.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
const strategic = { 'content-type': 'application/strategic-merge-patch+json' };

function node(name: string, status: JsonObject = {}): KubeObject {
  const metadata = { name, uid: `uid-${name}`, creationTimestamp: '2026-01-01T00:00:00Z' };
  return { apiVersion: 'v1', kind: 'Node', metadata, status };
}

const ready = {
  conditions: [
    { type: 'NetworkUnavailable', status: 'False' },
    { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: '2026-01-01T00:00:00Z' },
  ],
};

describe('doubtNode', () => {
  it('makes all that only the host can tell Unknown, and leaves the rest', () => {
    const doubted = doubtNode(node('a', ready), Date.parse('2026-01-02T00:00:00Z'));
    assert.deepEqual(nodeConditionOf(doubted, 'Ready'), {
      type: 'Ready',
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
      lastHeartbeatTime: '2026-01-01T00:00:00Z',
      lastTransitionTime: '2026-01-02T00:00:00Z',
    });
    assert.equal(nodeConditionOf(doubted, 'DiskPressure')?.reason, 'NodeStatusNeverUpdated');
    assert.equal(nodeConditionOf(doubted, 'NetworkUnavailable')?.status, 'False');
    assert.deepEqual(doubtNode(doubted, 0), doubted);
  });
});

describe('NodeLifecycle', () => {
  it('doubts a node 40 s after its last renewal was seen, and not one that renews', async () => {
    const dir = await makeDir();
    const database = openDatabase(join(dir, 'store.db'));
    const writer = new Writer(database, { maxChanges: 100, maxBytes: 1e6 }, { committed: () => {}, failed: () => {} });
    let atMs = 0;
    const lifecycle = new NodeLifecycle({ writer, now: () => 0, monotonic: () => atMs, log: silent });
    const readyOf = (name: string) => {
      const found = writer.collection(nodeKind).get(`/${name}`)?.object;
      return found === undefined ? undefined : nodeConditionOf(found, 'Ready')?.status;
    };
    const renew = (): Promise<unknown> =>
      writer.write((transaction) => {
        const metadata = { ...node('steady').metadata, namespace: 'kube-node-lease' };
        transaction.put({ storageKey: 'leases.coordination.k8s.io' }, { ...node('steady'), kind: 'Lease', metadata });
      });
    try {
      await writer.write((transaction) => {
        for (const name of ['steady', 'silent']) transaction.put(nodeKind, node(name, ready));
      });
      await lifecycle.look();
      atMs = 35_000;
      await renew();
      atMs = 40_000;
      await lifecycle.look();
      assert.deepEqual([readyOf('steady'), readyOf('silent')], ['True', 'True']);
      atMs = 40_001;
      await lifecycle.look();
      assert.deepEqual([readyOf('steady'), readyOf('silent')], ['True', 'Unknown']);
      const { revision } = writer;
      await lifecycle.look();
      assert.equal(writer.revision, revision, 'a node in doubt is not written again');
    } finally {
      lifecycle.close();
      writer.close();
      database.close();
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe('store: nodes', () => {
  let fixture: Fixture;
  let client: Client;

  before(async () => {
    fixture = await startStore();
    client = fixture.client;
    const labels = { 'kubernetes.io/hostname': 'one', 'node-role.kubernetes.io/edge': '' };
    await client.expect(201, 'POST', '/api/v1/nodes', { body: { metadata: { name: 'one', labels } } });
  });
  after(() => fixture.close());

  const cellsOf = async (): Promise<readonly unknown[]> => {
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const table = await client.expect(200, 'GET', '/api/v1/nodes/one', { headers: { accept } });
    const [row] = table.rows as readonly JsonObject[];
    assert.ok(isJsonArray(row?.cells));
    return row.cells;
  };

  it('keeps the status that a host writes, and shows it as Kubernetes does', async () => {
    assert.equal((await cellsOf())[1], 'Unknown');
    const addresses = [
      { type: 'InternalIP', address: '192.0.2.1' },
      { type: 'Hostname', address: 'one' },
    ];
    const nodeInfo = {
      kubeletVersion: 'v1',
      osImage: 'OS',
      kernelVersion: '6',
      containerRuntimeVersion: 'holdfast://1',
    };
    const status = { ...ready, addresses, nodeInfo, capacity: { cpu: '2', memory: '4Gi' } };
    await client.expect(200, 'PATCH', '/api/v1/nodes/one/status', { body: { status }, headers: strategic });
    const cells = await cellsOf();
    assert.deepEqual(
      [...cells.slice(0, 3), ...cells.slice(4)],
      [...['one', 'Ready', 'edge', 'v1', '192.0.2.1', '<none>', 'OS', '6', 'holdfast://1']],
    );
    const condition = { type: 'Ready', status: 'False', reason: 'KubeletNotReady' };
    await client.expect(200, 'PATCH', '/api/v1/nodes/one/status', {
      body: { status: { conditions: [condition] } },
      headers: strategic,
    });
    const patched = await client.expect(200, 'GET', '/api/v1/nodes/one');
    assert.equal(nodeConditionOf(patched, 'NetworkUnavailable')?.status, 'False');
    assert.equal((await cellsOf())[1], 'NotReady');
  });

  it('takes unschedulable, by which it can be selected', async () => {
    const selected = async (value: string): Promise<readonly string[]> =>
      namesOf(await client.expect(200, 'GET', `/api/v1/nodes?fieldSelector=spec.unschedulable%3D${value}`));
    assert.deepEqual(await selected('false'), ['one']);
    const body = { spec: { unschedulable: true } };
    await client.expect(200, 'PATCH', '/api/v1/nodes/one', { body, headers: strategic });
    assert.deepEqual([await selected('false'), await selected('true')], [[], ['one']]);
    assert.equal((await cellsOf())[1], 'NotReady,SchedulingDisabled');
  });

  it('refuses a capacity that is no quantity', async () => {
    const body = { status: { capacity: { cpu: 'many' } } };
    const { message } = await client.expect(422, 'PATCH', '/api/v1/nodes/one/status', { body, headers: strategic });
    assert.match(String(message), /status\.capacity\[cpu\]: Invalid value: "many": must be a quantity/);
  });

  it('keeps leases in their namespace, and removes that of a node that is gone', async () => {
    const { uid } = metaOf(await client.expect(200, 'GET', '/api/v1/nodes/one'));
    const owner = { apiVersion: 'v1', kind: 'Node', name: 'one', uid: uid ?? '' };
    const spec = { holderIdentity: 'one', leaseDurationSeconds: 40, renewTime: '2026-01-01T00:00:00.000000Z' };
    const body = { metadata: { name: 'one', ownerReferences: [owner] }, spec };
    assert.deepEqual((await client.expect(201, 'POST', leases, { body })).spec, spec);
    const wrong = { metadata: { name: 'two' }, spec: { leaseDurationSeconds: 0 } };
    const { message } = await client.expect(422, 'POST', leases, { body: wrong });
    assert.match(String(message), /spec\.leaseDurationSeconds: Invalid value: 0: must be greater than 0/);
    const watch = await client.watch(`${leases}?watch=1`);
    await watch.next();
    await client.expect(200, 'DELETE', '/api/v1/nodes/one');
    assert.equal((await watch.next()).type, 'DELETED');
    watch.close();
  });
});
