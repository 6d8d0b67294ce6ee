/** Containers shown as Pods: the projection by table, and the read-only resource over HTTPS. */
import assert from 'node:assert/strict';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { getPath, getString, isJsonArray, type JsonObject } from '../../store/json.ts';
import { qosClassOf } from '../../store/pod-spec.ts';
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
    ...(status === undefined ? {} : { status: { nodeName: 'here', ...status } }),
  };
}

const node: KubeObject = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'here', uid: 'n-1', creationTimestamp: '2026-01-01T00:00:00Z' },
  status: {
    addresses: [
      { type: 'Hostname', address: 'here' },
      { type: 'InternalIP', address: '192.0.2.7' },
    ],
  },
};
const lookup = (storageKey: string, _namespace: string | undefined, name: string): KubeObject | undefined =>
  storageKey === 'nodes' && name === 'here' ? node : undefined;

const ended = { exitCode: 3, reason: 'Error', startedAt: '2026-01-01T00:00:01Z', finishedAt: '2026-01-01T00:00:02Z' };
const ready = (status: string) => [
  { type: 'Ready', status, reason: 'x', message: '', lastTransitionTime: '2026-01-01T00:00:03Z' },
];

describe('podOf', () => {
  const cases: {
    it: string;
    status: JsonObject | undefined;
    want: Partial<Record<'phase' | 'status' | 'state' | 'lastState', string>> & { ready: boolean | undefined };
  }[] = [
    {
      it: 'is Pending before the controller saw it',
      status: undefined,
      want: { phase: 'Pending', status: 'Pending', ready: undefined },
    },
    {
      it: 'is Pending while its host makes it',
      status: { state: 'Created' },
      want: { phase: 'Pending', status: 'ContainerCreating', ready: false, state: 'waiting' },
    },
    {
      it: 'waits, and has not failed, when it starts again once something else is there',
      status: { state: 'Exited', reason: 'WaitingForDependency', lastTermination: ended },
      want: {
        phase: 'Running',
        status: 'WaitingForDependency',
        ready: false,
        state: 'waiting',
        lastState: 'terminated',
      },
    },
    {
      it: 'has Failed when it was given up',
      status: { state: 'Exited', reason: 'BackoffLimitExceeded', message: 'gave up', lastTermination: ended },
      want: { phase: 'Failed', status: 'Error', ready: false, state: 'terminated' },
    },
    {
      it: 'runs, but is not ready, while it is paused',
      status: { state: 'Paused', reason: 'Paused', conditions: ready('False') },
      want: { phase: 'Running', status: 'Running', ready: false, state: 'running' },
    },
    {
      it: 'is Pending while the image cannot be fetched',
      status: { state: 'Created', reason: 'ImagePullBackOff', message: 'no' },
      want: { phase: 'Pending', status: 'ImagePullBackOff', ready: false, state: 'waiting' },
    },
    {
      it: 'is Running and ready with its container',
      status: { state: 'Running', startedAt: '2026-01-01T00:00:03Z', restartCount: 2, conditions: ready('True') },
      want: { phase: 'Running', status: 'Running', ready: true, state: 'running' },
    },
    {
      it: 'is not ready while its container is being stopped',
      status: { state: 'Running', reason: 'Terminating', conditions: ready('False') },
      want: { phase: 'Running', status: 'Running', ready: false, state: 'running' },
    },
    {
      it: 'is Running between restarts, and says how the last run ended',
      status: { state: 'Restarting', reason: 'CrashLoopBackOff', exitCode: 3, lastTermination: ended },
      want: { phase: 'Running', status: 'CrashLoopBackOff', ready: false, state: 'waiting', lastState: 'terminated' },
    },
    {
      it: 'has Failed after an exit that is not repaired',
      status: { state: 'Exited', reason: 'Error', exitCode: 3, lastTermination: ended },
      want: { phase: 'Failed', status: 'Error', ready: false, state: 'terminated' },
    },
    {
      it: 'has Succeeded after an exit with 0',
      status: { state: 'Exited', exitCode: 0, lastTermination: { ...ended, exitCode: 0, reason: 'Completed' } },
      want: { phase: 'Succeeded', status: 'Completed', ready: false, state: 'terminated' },
    },
    {
      it: 'has Succeeded after an exit that its spec calls a success',
      status: { state: 'Exited', exitCode: 3, lastTermination: { ...ended, reason: 'Completed' } },
      want: { phase: 'Succeeded', status: 'Completed', ready: false, state: 'terminated' },
    },
    {
      it: 'names the signal where there is no reason',
      status: { state: 'Exited', exitCode: 137, lastTermination: { exitCode: 137, signal: 9 } },
      want: { phase: 'Failed', status: 'Signal:9', ready: false, state: 'terminated' },
    },
  ];
  for (const { it: title, status, want } of cases) {
    it(title, () => {
      const pod = podOf(stored({}, status), lookup);
      const [shown] = (getPath(pod, ['status', 'containerStatuses']) ?? []) as readonly JsonObject[];
      const keyOf = (member: string): string | undefined => Object.keys(getPath(shown, [member]) ?? {})[0];
      const found = {
        phase: getString(pod, 'status', 'phase'),
        status: formatPodStatus(pod),
        ready: shown?.ready,
        state: keyOf('state'),
        lastState: keyOf('lastState'),
      };
      assert.deepEqual(found, { state: undefined, lastState: undefined, ...want });
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
    const pod = podOf(stored(spec, { state: 'Running', containerID: 'ab', imageID: 'sha256:1' }), lookup);
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
          resources: { limits: { cpu: '1', memory: '64Mi' }, requests: { cpu: '500m', memory: '64Mi' } },
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
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      schedulerName: 'holdfast',
      nodeName: 'here',
    });
    assert.deepEqual(pod.metadata, {
      name: 'web',
      namespace: 'default',
      uid: 'u-1',
      resourceVersion: '7',
      generation: 3,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ownerReferences: [
        { apiVersion: 'holdfast.dev/v1', kind: 'Container', name: 'web', uid: 'u-1', controller: true },
      ],
    });
    const [shown] = getPath(pod, ['status', 'containerStatuses']) as readonly JsonObject[];
    assert.equal(shown?.containerID, 'holdfast://ab');
    assert.equal(shown?.imageID, 'sha256:1');
  });

  it('writes the status that a kubelet would write', () => {
    const spec = {
      resources: { limits: { cpu: '1', memory: '64Mi' } },
      volumeMounts: [{ name: 'd', mountPath: '/d', readOnly: true }],
    };
    const status = {
      state: 'Running',
      containerID: 'ab',
      imageID: 'sha256:1',
      podIP: '10.0.0.2',
      startedAt: '2026-01-01T00:00:03.456Z',
      restartCount: 1,
      lastTermination: { ...ended, endedBy: 'LivenessProbe', finishedAt: '2026-01-01T00:00:02.9Z' },
      observedGeneration: 3,
      conditions: ready('True'),
    };
    const begun = '2026-01-01T00:00:00Z';
    const condition = (type: string, at: string) => ({
      type,
      observedGeneration: 3,
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: at,
    });
    assert.deepEqual(podOf(stored(spec, status), lookup).status, {
      observedGeneration: 3,
      phase: 'Running',
      conditions: [
        condition('PodReadyToStartContainers', begun),
        condition('Initialized', begun),
        condition('Ready', '2026-01-01T00:00:03Z'),
        condition('ContainersReady', '2026-01-01T00:00:03Z'),
        condition('PodScheduled', begun),
      ],
      hostIP: '192.0.2.7',
      hostIPs: [{ ip: '192.0.2.7' }],
      podIP: '10.0.0.2',
      podIPs: [{ ip: '10.0.0.2' }],
      startTime: begun,
      containerStatuses: [
        {
          name: 'web',
          state: { running: { startedAt: '2026-01-01T00:00:03Z' } },
          lastState: {
            terminated: {
              exitCode: 3,
              reason: 'Error',
              startedAt: '2026-01-01T00:00:01Z',
              finishedAt: '2026-01-01T00:00:02Z',
              containerID: 'holdfast://ab',
            },
          },
          ready: true,
          restartCount: 1,
          image: 'nginx',
          imageID: 'sha256:1',
          containerID: 'holdfast://ab',
          started: true,
          allocatedResources: { cpu: '1', memory: '64Mi' },
          resources: { limits: { cpu: '1', memory: '64Mi' }, requests: { cpu: '1', memory: '64Mi' } },
          volumeMounts: [{ name: 'd', mountPath: '/d', readOnly: true, recursiveReadOnly: 'Disabled' }],
        },
      ],
      qosClass: 'Guaranteed',
    });
  });

  it('says of one that is not ready why, and of one that was given up what gave it up', () => {
    const waits = podOf(
      stored({}, { state: 'Restarting', reason: 'CrashLoopBackOff', lastTermination: ended }),
      lookup,
    );
    const conditionOf = (pod: KubeObject): JsonObject | undefined =>
      (getPath(pod, ['status', 'conditions']) as readonly JsonObject[]).find(({ type }) => type === 'Ready');
    assert.equal(conditionOf(waits)?.reason, 'ContainersNotReady');
    assert.equal(conditionOf(waits)?.message, 'containers with unready status: [web]');
    const over = { state: 'Exited', reason: 'BackoffLimitExceeded', message: 'gave up', lastTermination: ended };
    const failed = podOf(stored({}, over), lookup);
    assert.equal(conditionOf(failed)?.reason, 'PodFailed');
    assert.equal(getString(failed, 'status', 'reason'), 'BackoffLimitExceeded');
    assert.equal(getString(failed, 'status', 'message'), 'gave up');
    const done = { state: 'Exited', lastTermination: { ...ended, exitCode: 0, reason: 'Completed' } };
    assert.equal(conditionOf(podOf(stored({}, done), lookup))?.reason, 'PodCompleted');
  });
});

describe('qosClassOf', () => {
  const cases: [JsonObject, string][] = [
    [{}, 'BestEffort'],
    [{ limits: { cpu: '0' }, requests: { memory: '0' } }, 'BestEffort'],
    [{ limits: { cpu: '1' }, requests: { cpu: '1' } }, 'Burstable'],
    [{ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1000m', memory: '1024Mi' } }, 'Guaranteed'],
    [{ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '999m', memory: '1Gi' } }, 'Burstable'],
    [{ requests: { cpu: '100m' } }, 'Burstable'],
  ];
  for (const [resources, want] of cases) {
    it(`is ${want} for ${JSON.stringify(resources)}`, () => assert.equal(qosClassOf(resources), want));
  }
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
      body: { status: { state: 'Running', nodeName: 'here' } },
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
      [
        'Name 0',
        'Ready 0',
        'Status 0',
        'Restarts 0',
        'Age 0',
        'IP 1',
        'Node 1',
        'Nominated Node 1',
        'Readiness Gates 1',
      ],
    );
    const [row] = table.rows as readonly JsonObject[];
    assert.ok(isJsonArray(row?.cells));
    assert.deepEqual(row.cells.slice(0, 4), ['one', '0/1', 'Pending', '0']);
  });

  it('tells how long ago the last restart was', async () => {
    await client.expect(201, 'POST', containers, { body: container('again') });
    const lastTermination = {
      exitCode: 1,
      reason: 'Error',
      finishedAt: new Date(Date.now() - 7_200_000).toISOString(),
    };
    await client.expect(200, 'PATCH', `${containers}/again/status`, {
      body: { status: { state: 'Running', nodeName: 'here', restartCount: 3, lastTermination } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const table = await client.expect(200, 'GET', `${pods}/again`, { headers: { accept } });
    const [row] = table.rows as readonly JsonObject[];
    assert.ok(isJsonArray(row?.cells));
    assert.match(String(row.cells[3]), /^3 \(120m ago\)$/);
    await client.expect(200, 'DELETE', `${containers}/again`);
  });

  it('finds events about a Container for its Pod too', async () => {
    const involvedObject = { apiVersion: 'holdfast.dev/v1', kind: 'Container', namespace: 'default', name: 'one' };
    const body = { metadata: { name: 'one.1' }, involvedObject, reason: 'Started', type: 'Normal' };
    await client.expect(201, 'POST', '/api/v1/namespaces/default/events', { body });
    const find = async (selector: string): Promise<readonly string[]> =>
      namesOf(
        await client.expect(
          200,
          'GET',
          `/api/v1/namespaces/default/events?fieldSelector=${encodeURIComponent(selector)}`,
        ),
      );
    assert.deepEqual(await find('involvedObject.kind=Pod,involvedObject.apiVersion=v1,involvedObject.name=one'), [
      'one.1',
    ]);
    assert.deepEqual(await find('involvedObject.kind=Container,involvedObject.name=one'), ['one.1']);
    assert.deepEqual(await find('involvedObject.kind=Node,involvedObject.name=one'), []);
    assert.deepEqual(await find('involvedObject.kind!=Pod'), []);
  });

  it('serves events as those of events.k8s.io too, to read and to write', async () => {
    const events = '/apis/events.k8s.io/v1/namespaces/default/events';
    const regarding = { apiVersion: 'holdfast.dev/v1', kind: 'Container', namespace: 'default', name: 'two' };
    const event = {
      ...{ regarding, reason: 'Began', action: 'Starting', note: 'it began', type: 'Normal' },
      ...{ reportingController: 'example.com/c', reportingInstance: 'c-1', eventTime: '2026-01-01T00:00:00.000000Z' },
    };
    const made = await client.expect(201, 'POST', events, { body: { metadata: { name: 'two.1' }, ...event } });
    assert.equal(made.apiVersion, 'events.k8s.io/v1');
    const old = await client.expect(200, 'GET', '/api/v1/namespaces/default/events/two.1');
    assert.deepEqual(
      [old.apiVersion, old.message, old.involvedObject, old.reportingComponent],
      ['v1', 'it began', regarding, 'example.com/c'],
    );
    const selected = await client.expect(200, 'GET', `${events}?fieldSelector=regarding.kind%3DPod,reason%3DBegan`);
    assert.deepEqual([selected.kind, namesOf(selected)], ['EventList', ['two.1']]);
    const { message } = await client.expect(422, 'POST', events, { body: { metadata: { name: 'bad' }, regarding } });
    assert.match(String(message), /eventTime: Required value, reportingController: Required value/);
    const headers = { 'content-type': 'application/merge-patch+json' };
    await client.expect(200, 'PATCH', `${events}/two.1`, { body: { deprecatedCount: 2 }, headers });
    assert.equal((await client.expect(200, 'GET', '/api/v1/namespaces/default/events/two.1')).count, 2);
    const watch = await client.watch(`${events}?watch=1&fieldSelector=metadata.name%3Dtwo.1`);
    assert.equal((await watch.next()).object.note, 'it began');
    await client.expect(200, 'DELETE', `${events}/two.1`);
    const { type, object } = await watch.next();
    assert.deepEqual([type, object.apiVersion], ['DELETED', 'events.k8s.io/v1']);
    watch.close();
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
