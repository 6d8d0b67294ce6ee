/** Containers shown as Pods: the projection by table, and the read-only resource over HTTPS. */
import assert from 'node:assert/strict';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { getPath, getString, isJsonArray, type JsonObject } from '../../store/json.ts';
import { formatPodStatus, podOf } from '../../store/pods.ts';
import type { KubeObject } from '../../store/resources.ts';
import { type Client, container, containers, type Fixture, metaOf, namesOf, startStore } from './fixture.ts';

const pods = '/api/v1/namespaces/default/pods';

function stored(spec: JsonObject, status?: JsonObject): KubeObject {
  return {
    apiVersion: 'holdfast.dev/v1',
    kind: 'Container',
    metadata: {
      name: 'web',
      namespace: 'default',
      uid: 'u-1',
      resourceVersion: '7',
      generation: 3,
      creationTimestamp: '2026-01-01T00:00:00Z',
      finalizers: ['holdfast.dev/host'],
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
    },
    spec: { image: 'nginx', ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

const ended = { exitCode: 3, reason: 'Error', startedAt: '2026-01-01T00:00:01Z', finishedAt: '2026-01-01T00:00:02Z' };
const ready = (status: string) => [
  { type: 'Ready', status, reason: 'x', message: '', lastTransitionTime: '2026-01-01T00:00:03Z' },
];

describe('podOf', () => {
  const cases: {
    it: string;
    status: JsonObject | undefined;
    want: { phase: string; status: string; ready: boolean; state: string; lastState: string | undefined };
  }[] = [
    {
      it: 'is Pending before the controller saw it',
      status: undefined,
      want: { phase: 'Pending', status: 'ContainerCreating', ready: false, state: 'waiting', lastState: undefined },
    },
    {
      it: 'is Pending while the image cannot be fetched',
      status: { state: 'Created', reason: 'ImagePullBackOff', message: 'no' },
      want: { phase: 'Pending', status: 'ImagePullBackOff', ready: false, state: 'waiting', lastState: undefined },
    },
    {
      it: 'is Running and ready with its container',
      status: { state: 'Running', startedAt: '2026-01-01T00:00:03Z', restartCount: 2, conditions: ready('True') },
      want: { phase: 'Running', status: 'Running', ready: true, state: 'running', lastState: undefined },
    },
    {
      it: 'is not ready while its container is being stopped',
      status: { state: 'Running', reason: 'Terminating', conditions: ready('False') },
      want: { phase: 'Running', status: 'Running', ready: false, state: 'running', lastState: undefined },
    },
    {
      it: 'is Running between restarts, and says how the last run ended',
      status: { state: 'Restarting', reason: 'CrashLoopBackOff', exitCode: 3, lastTermination: ended },
      want: { phase: 'Running', status: 'CrashLoopBackOff', ready: false, state: 'waiting', lastState: 'terminated' },
    },
    {
      it: 'has Failed after an exit that is not repaired',
      status: { state: 'Exited', reason: 'Error', exitCode: 3, lastTermination: ended },
      want: { phase: 'Failed', status: 'Error', ready: false, state: 'terminated', lastState: undefined },
    },
    {
      it: 'has Succeeded after an exit with 0',
      status: { state: 'Exited', exitCode: 0, lastTermination: { ...ended, exitCode: 0, reason: 'Completed' } },
      want: { phase: 'Succeeded', status: 'Completed', ready: false, state: 'terminated', lastState: undefined },
    },
    {
      it: 'has Succeeded after an exit that its spec calls a success',
      status: { state: 'Exited', exitCode: 3, lastTermination: { ...ended, reason: 'Completed' } },
      want: { phase: 'Succeeded', status: 'Completed', ready: false, state: 'terminated', lastState: undefined },
    },
    {
      it: 'names the signal where there is no reason',
      status: { state: 'Exited', exitCode: 137, lastTermination: { exitCode: 137, signal: 9 } },
      want: { phase: 'Failed', status: 'Signal:9', ready: false, state: 'terminated', lastState: undefined },
    },
  ];
  for (const { it: title, status, want } of cases) {
    it(title, () => {
      const pod = podOf(stored({}, status));
      const [shown] = getPath(pod, ['status', 'containerStatuses']) as readonly JsonObject[];
      assert.deepEqual(
        {
          phase: getString(pod, 'status', 'phase'),
          status: formatPodStatus(pod),
          ready: shown?.ready,
          state: Object.keys(shown?.state as JsonObject)[0],
          lastState: Object.keys(shown?.lastState as JsonObject)[0],
        },
        want,
      );
    });
  }

  it('says the spec in the words of a Pod', () => {
    const spec = {
      command: ['a'],
      args: ['b'],
      tty: true,
      restartPolicy: 'UnlessStopped',
      ports: [{ containerPort: 80, hostPort: 0, protocol: 'TCP' }],
      resources: { limits: { cpu: 1, memory: '64Mi', pids: 10 }, requests: { cpu: '500m' } },
      hostUsers: false,
      securityContext: {
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
        sysctls: [{ name: 'net.core.somaxconn', value: '9' }],
        ulimits: [{ name: 'nofile', soft: 9 }],
      },
      backoff: { factor: 2 },
      volumes: [
        { name: 'd', volume: { name: 'data', reclaimPolicy: 'Retain' } },
        { name: 't', tmpfs: { sizeLimit: '1Mi', mode: 448 } },
        { name: 's', secret: { secretName: 'db', defaultMode: 420 } },
      ],
      volumeMounts: [{ name: 'd', mountPath: '/d', readOnly: false }],
    };
    const pod = podOf(stored(spec, { state: 'Running', nodeName: 'here', containerID: 'ab', imageID: 'sha256:1' }));
    assert.deepEqual(pod.spec, {
      containers: [
        {
          name: 'web',
          image: 'nginx',
          command: ['a'],
          args: ['b'],
          tty: true,
          volumeMounts: [{ name: 'd', mountPath: '/d', readOnly: false }],
          ports: [{ containerPort: 80, protocol: 'TCP' }],
          resources: { limits: { cpu: '1', memory: '64Mi' }, requests: { cpu: '500m' } },
          securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        },
      ],
      hostUsers: false,
      securityContext: { sysctls: [{ name: 'net.core.somaxconn', value: '9' }] },
      restartPolicy: 'Always',
      volumes: [
        { name: 'd', persistentVolumeClaim: { claimName: 'data' } },
        { name: 't', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
        { name: 's', secret: { secretName: 'db', defaultMode: 420 } },
      ],
      nodeName: 'here',
    });
    assert.deepEqual(pod.metadata, {
      name: 'web',
      namespace: 'default',
      uid: 'u-1',
      resourceVersion: '7',
      creationTimestamp: '2026-01-01T00:00:00Z',
      ownerReferences: [
        { apiVersion: 'holdfast.dev/v1', kind: 'Container', name: 'web', uid: 'u-1', controller: true },
      ],
    });
    const [shown] = getPath(pod, ['status', 'containerStatuses']) as readonly JsonObject[];
    assert.equal(shown?.containerID, 'holdfast://ab');
    assert.equal(shown?.imageID, 'sha256:1');
  });
});

describe('store: pods', () => {
  let fixture: Fixture;
  let client: Client;

  before(async () => {
    fixture = await startStore();
    client = fixture.client;
    await client.expect(201, 'POST', containers, { body: container('one', {}, { labels: { app: 'a' } }) });
    await client.expect(201, 'POST', containers, { body: container('two') });
  });
  after(() => fixture.close());

  it('lists them by label, field and page, under the revisions of the containers', async () => {
    assert.deepEqual(namesOf(await client.expect(200, 'GET', pods)), ['one', 'two']);
    assert.deepEqual(namesOf(await client.expect(200, 'GET', '/api/v1/pods?labelSelector=app%3Da')), ['one']);
    assert.deepEqual(namesOf(await client.expect(200, 'GET', `${pods}?fieldSelector=status.phase%3DRunning`)), []);
    const page = await client.expect(200, 'GET', `${pods}?limit=1`);
    const token = encodeURIComponent(String(metaOf(page).continue));
    assert.deepEqual(namesOf(await client.expect(200, 'GET', `${pods}?limit=1&continue=${token}`)), ['two']);
    const pod = await client.expect(200, 'GET', `${pods}/one`);
    const shown = await client.expect(200, 'GET', `${containers}/one`);
    assert.equal(pod.kind, 'Pod');
    assert.equal(metaOf(pod).resourceVersion, metaOf(shown).resourceVersion);
    assert.equal((await client.expect(404, 'GET', `${pods}/none`)).message, 'pods "none" not found');
  });

  it('watches them, from the present and from a revision', async () => {
    const revision = metaOf(await client.expect(200, 'GET', pods)).resourceVersion;
    const early = await client.watch(`${pods}?watch=1&fieldSelector=metadata.name%3Dthree`);
    const alike = await client.watch(`${pods}?watch=1&fieldSelector=metadata.name%3Dthree`);
    await client.expect(201, 'POST', containers, { body: container('three') });
    await client.expect(200, 'PATCH', `${containers}/three/status`, {
      body: { status: { state: 'Running' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    await client.expect(200, 'DELETE', `${containers}/three`);
    const late = await client.watch(`${pods}?watch=1&resourceVersion=${String(revision)}`);
    for (const watch of [early, alike, late]) {
      const events = [await watch.next(), await watch.next(), await watch.next()];
      assert.deepEqual(
        events.map(({ type, object }) => [type, object.kind, getString(object, 'status', 'phase')]),
        [
          ['ADDED', 'Pod', 'Pending'],
          ['MODIFIED', 'Pod', 'Running'],
          ['DELETED', 'Pod', 'Running'],
        ],
      );
      watch.close();
    }
  });

  it('shows them as a table', async () => {
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const table = await client.expect(200, 'GET', `${pods}/one`, { headers: { accept } });
    const columns = table.columnDefinitions as readonly JsonObject[];
    assert.deepEqual(
      columns.map(({ name, priority }) => `${String(name)} ${String(priority)}`),
      ['Name 0', 'Ready 0', 'Status 0', 'Restarts 0', 'Age 0', 'IP 1', 'Node 1'],
    );
    const [row] = table.rows as readonly JsonObject[];
    assert.ok(isJsonArray(row?.cells));
    assert.deepEqual(row.cells.slice(0, 4), ['one', '0/1', 'ContainerCreating', '0']);
  });

  it('refuses to write them, and says what to write instead', async () => {
    for (const [method, path] of [
      ['POST', pods],
      ['PUT', `${pods}/one`],
      ['PATCH', `${pods}/one`],
      ['PATCH', `${pods}/one/status`],
      ['DELETE', `${pods}/one`],
      ['DELETE', pods],
    ] as const) {
      const { message } = await client.expect(405, method, path, method === 'POST' ? { body: {} } : {});
      assert.match(String(message), /containers\.holdfast\.dev/);
    }
    assert.deepEqual(namesOf(await client.expect(200, 'GET', pods)), ['one', 'two']);
  });

  it('does not hold up the end of a namespace', async () => {
    await client.expect(201, 'POST', '/api/v1/namespaces', { body: { metadata: { name: 'short' } } });
    await client.expect(201, 'POST', '/apis/holdfast.dev/v1/namespaces/short/containers', { body: container('c') });
    const watch = await client.watch('/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dshort');
    await client.expect(200, 'DELETE', '/api/v1/namespaces/short');
    for (;;) if ((await watch.next()).type === 'DELETED') break;
    watch.close();
    assert.deepEqual(namesOf(await client.expect(200, 'GET', '/api/v1/namespaces/short/pods')), []);
  });

  it('reads as client-node expects a Pod', async () => {
    const config = new KubeConfig();
    config.loadFromFile(fixture.store.adminKubeconfigPath);
    const { items } = await config.makeApiClient(CoreV1Api).listNamespacedPod({ namespace: 'default' });
    assert.deepEqual(
      items.map(({ metadata, status }) => [metadata?.name, status?.phase]),
      [
        ['one', 'Pending'],
        ['two', 'Pending'],
      ],
    );
    assert.ok(items[0]?.metadata?.creationTimestamp instanceof Date);
  });
});
