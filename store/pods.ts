/**
 * Every Container as a core/v1 Pod of the same name, for clients that know only Pods: kubectl logs, exec, attach, cp and
 * port-forward. Read-only, and pure. An extra of this store: controllers must not depend on it.
 * Source of the fields: k8s.io/api/core/v1; of the STATUS column: kube-apiserver's printers, printPod.
 */
import * as containers from '../crds/index.ts';
import { column, core, root, text } from './core-kinds.ts';
import { getPath, getString, isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import { ageColumn, type KubeObject, nameColumn, type ResourceKind } from './resources.ts';
import type { OpenApiSchema } from './schema.ts';

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** The Pod that shows a Container. Both have one uid and one resourceVersion. */
export function podOf(container: KubeObject): KubeObject {
  const { name, uid, annotations, generation: _generation, finalizers: _finalizers, ...meta } = container.metadata;
  const shown = Object.entries(annotations ?? {}).filter(([key]) => key !== lastApplied);
  const owner = { apiVersion: container.apiVersion, kind: container.kind, name, uid, controller: true };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...meta,
      name,
      uid,
      ...(shown.length === 0 ? {} : { annotations: Object.fromEntries(shown) }),
      ownerReferences: [owner],
    },
    spec: podSpecOf(container),
    status: podStatusOf(container),
  };
}

/** Fields that mean the same in a Container's spec and in a Pod's container. */
const containerFields = [
  'image',
  'imagePullPolicy',
  'command',
  'args',
  'workingDir',
  'env',
  'envFrom',
  'stdin',
  'stdinOnce',
  'tty',
  'volumeMounts',
  'startupProbe',
  'livenessProbe',
  'readinessProbe',
  'lifecycle',
];

/** Fields that mean the same in a Container's spec and in a Pod's. */
const podFields = [
  'terminationGracePeriodSeconds',
  'hostname',
  'hostNetwork',
  'hostPID',
  'hostIPC',
  'hostUsers',
  'hostAliases',
  'dnsPolicy',
  'dnsConfig',
  'imagePullSecrets',
];

/** Fields of securityContext that mean the same in that of a Pod's container. */
const securityFields = [
  ...[
    'readOnlyRootFilesystem',
    'privileged',
    'capabilities',
    'allowPrivilegeEscalation',
    'seccompProfile',
    'procMount',
  ],
  ...['runAsUser', 'runAsGroup', 'runAsNonRoot'],
];

function podSpecOf(container: KubeObject): JsonObject {
  const nodeName = getString(container, 'status', 'nodeName') ?? getString(container, 'spec', 'nodeName');
  const ports = listOf(getPath(container, ['spec', 'ports'])).map(({ hostPort, ...port }) =>
    typeof hostPort === 'number' && hostPort > 0 ? { ...port, hostPort } : port,
  );
  const quantities = (kind: 'limits' | 'requests'): JsonObject => {
    const known = pick(getPath(container, ['spec', 'resources', kind]), ['cpu', 'memory']);
    const asText = Object.entries(known).map(([name, value]) => [name, String(value)] as const);
    return asText.length === 0 ? {} : { [kind]: Object.fromEntries(asText) };
  };
  const security = mapOf(getPath(container, ['spec', 'securityContext']));
  const ownSecurity = pick(security, securityFields);
  const restartPolicy = getString(container, 'spec', 'restartPolicy') ?? 'Always';
  return {
    containers: [
      {
        name: container.metadata.name,
        ...pick(container.spec, containerFields),
        ...(ports.length === 0 ? {} : { ports }),
        resources: { ...quantities('limits'), ...quantities('requests') },
        ...(Object.keys(ownSecurity).length === 0 ? {} : { securityContext: ownSecurity }),
      },
    ],
    restartPolicy: restartPolicy === 'UnlessStopped' ? 'Always' : restartPolicy,
    ...pick(container.spec, podFields),
    ...(security.sysctls === undefined ? {} : { securityContext: pick(security, ['sysctls']) }),
    ...podVolumesOf(container),
    ...(nodeName === undefined ? {} : { nodeName }),
  };
}

/** Volumes in the words of a Pod, as near as it has them. */
function podVolumesOf(container: KubeObject): JsonObject {
  const volumes = listOf(getPath(container, ['spec', 'volumes'])).map(({ volume, tmpfs, ...same }): JsonObject => {
    if (isJsonObject(volume)) return { ...same, persistentVolumeClaim: { claimName: volume.name ?? '' } };
    if (!isJsonObject(tmpfs)) return same;
    return { ...same, emptyDir: { medium: 'Memory', ...pick(tmpfs, ['sizeLimit']) } };
  });
  return volumes.length === 0 ? {} : { volumes };
}

type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

function phaseOf(container: KubeObject): Phase {
  const hasRun = getPath(container, ['status', 'lastTermination']) !== undefined;
  switch (getString(container, 'status', 'state')) {
    case 'Running':
    case 'Paused':
      return 'Running';
    case 'Restarting':
      return hasRun ? 'Running' : 'Pending';
    case 'Exited':
      return hasSucceeded(container) ? 'Succeeded' : 'Failed';
    default:
      return 'Pending';
  }
}

/** Completed can be said of other exit codes than 0, and Error of 0 (spec.restart.exitCodes). */
function hasSucceeded(container: KubeObject): boolean {
  const reason = getString(container, 'status', 'lastTermination', 'reason');
  return reason === undefined ? getPath(container, ['status', 'exitCode']) === 0 : reason === 'Completed';
}

function podStatusOf(container: KubeObject): JsonObject {
  const podIP = getString(container, 'status', 'podIP');
  const podIPs = listOf(getPath(container, ['status', 'podIPs']));
  const startedAt = getString(container, 'status', 'startedAt');
  const reason = getString(container, 'status', 'reason');
  const message = getString(container, 'status', 'message');
  return {
    phase: phaseOf(container),
    conditions: conditionsOf(container),
    ...(message === undefined ? {} : { message }),
    ...(reason === undefined ? {} : { reason }),
    ...(podIP === undefined ? {} : { podIP, podIPs: podIPs.length > 0 ? podIPs : [{ ip: podIP }] }),
    ...(startedAt === undefined ? {} : { startTime: startedAt }),
    containerStatuses: [containerStatusOf(container)],
    qosClass: 'Burstable',
  };
}

function readyConditionOf(container: KubeObject): JsonObject | undefined {
  return listOf(getPath(container, ['status', 'conditions'])).find(({ type }) => type === 'Ready');
}

function conditionsOf(container: KubeObject): readonly JsonObject[] {
  const { creationTimestamp } = container.metadata;
  const { status = 'False', lastTransitionTime = creationTimestamp } = readyConditionOf(container) ?? {};
  const isPlaced = getString(container, 'status', 'nodeName') !== undefined;
  const condition = (type: string, value: Json, at: Json): JsonObject => ({
    type,
    status: value,
    lastProbeTime: null,
    lastTransitionTime: at,
  });
  return [
    condition('PodScheduled', isPlaced ? 'True' : 'False', creationTimestamp),
    condition('Initialized', isPlaced ? 'True' : 'False', creationTimestamp),
    condition('ContainersReady', status, lastTransitionTime),
    condition('Ready', status, lastTransitionTime),
  ];
}

function containerStatusOf(container: KubeObject): JsonObject {
  const state = getString(container, 'status', 'state');
  const isRunning = state === 'Running' || state === 'Paused';
  const isReady = isRunning && readyConditionOf(container)?.status === 'True';
  const id = containerIdOf(container);
  const terminated = terminatedOf(container);
  const isOver = state === 'Exited' && terminated !== undefined;
  return {
    name: container.metadata.name,
    image: getString(container, 'spec', 'image') ?? '',
    imageID: getString(container, 'status', 'imageID') ?? '',
    containerID: id,
    ready: isReady,
    started: isRunning && getPath(container, ['status', 'started']) !== false,
    restartCount: getPath(container, ['status', 'restartCount']) ?? 0,
    state: isOver ? { terminated } : isRunning ? { running: runningOf(container) } : { waiting: waitingOf(container) },
    lastState: isOver || terminated === undefined ? {} : { terminated },
  };
}

function containerIdOf(container: KubeObject): string {
  const id = getString(container, 'status', 'containerID');
  return id === undefined ? '' : `holdfast://${id}`;
}

function runningOf(container: KubeObject): JsonObject {
  const startedAt = getString(container, 'status', 'startedAt');
  return startedAt === undefined ? {} : { startedAt };
}

function waitingOf(container: KubeObject): JsonObject {
  const message = getString(container, 'status', 'message');
  return {
    reason: getString(container, 'status', 'reason') ?? 'ContainerCreating',
    ...(message === undefined ? {} : { message }),
  };
}

function terminatedOf(container: KubeObject): JsonObject | undefined {
  const last = getPath(container, ['status', 'lastTermination']);
  if (!isJsonObject(last)) return undefined;
  const { exitCode = 0, endedBy: _, ...rest } = last;
  return { exitCode, ...rest, containerID: containerIdOf(container) };
}

/** What `kubectl get pods` shows as STATUS. */
export function formatPodStatus(pod: JsonObject): string {
  if (getString(pod, 'metadata', 'deletionTimestamp') !== undefined) return 'Terminating';
  const [status] = listOf(getPath(pod, ['status', 'containerStatuses']));
  const waiting = getString(status, 'state', 'waiting', 'reason');
  if (waiting !== undefined) return waiting;
  const terminated = getPath(status, ['state', 'terminated']);
  if (!isJsonObject(terminated)) return getString(pod, 'status', 'phase') ?? '';
  const { reason, signal, exitCode } = terminated;
  if (typeof reason === 'string' && reason !== '') return reason;
  return typeof signal === 'number' && signal !== 0 ? `Signal:${signal}` : `ExitCode:${String(exitCode)}`;
}

function formatReady(pod: JsonObject): string {
  const all = listOf(getPath(pod, ['status', 'containerStatuses']));
  return `${all.filter(({ ready }) => ready === true).length}/${all.length}`;
}

const shown = (description: string): OpenApiSchema => ({
  type: 'object',
  description,
  'x-kubernetes-preserve-unknown-fields': true,
});

/** The kind Pod, made from Containers. */
export const podKind: ResourceKind = core({
  kind: 'Pod',
  plural: 'pods',
  shortNames: ['po'],
  isNamespaced: true,
  hasStatus: true,
  hasStreams: true,
  openApi: root('Pod shows the Container of its name to clients that know only Pods. It is read-only.', {
    spec: {
      ...shown('The spec of the Container, in the words of a Pod.'),
      properties: {
        nodeName: text('The host that keeps the container.'),
        restartPolicy: text('When the container is started again.'),
      },
    },
    status: {
      ...shown('The status of the Container, in the words of a Pod.'),
      properties: { phase: text('Pending, Running, Succeeded or Failed.'), podIP: text('Address of the container.') },
    },
  }),
  columns: [
    nameColumn,
    column('Ready', 'string', formatReady),
    column('Status', 'string', formatPodStatus),
    column('Restarts', 'string', (pod) => listOf(getPath(pod, ['status', 'containerStatuses']))[0]?.restartCount ?? 0),
    ageColumn,
    column('IP', 'string', (pod) => getString(pod, 'status', 'podIP') ?? '<none>', 1),
    column('Node', 'string', (pod) => getString(pod, 'spec', 'nodeName') ?? '<none>', 1),
  ],
  selectableFields: new Map([
    ['spec.nodeName', ['spec', 'nodeName']],
    ['spec.restartPolicy', ['spec', 'restartPolicy']],
    ['status.phase', ['status', 'phase']],
    ['status.podIP', ['status', 'podIP']],
  ]),
  projection: { storageKey: `${containers.plural}.${containers.group}`, project: podOf },
});

function listOf(value: Json | undefined): readonly JsonObject[] {
  return isJsonArray(value) ? value.filter(isJsonObject) : [];
}

function mapOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

/** The members of those names that are there. */
function pick(value: Json | undefined, names: readonly string[]): JsonObject {
  const from = mapOf(value);
  return Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
}
