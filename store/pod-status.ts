/**
 * A Container's status as a kubelet would write that of a Pod. Pure. Source: k8s.io/api/core/v1, and pkg/kubelet
 * (status/generate.go, kubelet_pods.go convertToAPIContainerStatuses).
 */
import { getPath, getString, isJsonObject, type Json, type JsonObject, objectsOf, pick } from './json.ts';
import { podResourcesOf, qosClassOf } from './pod-spec.ts';
import type { KubeObject } from './resources.ts';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

/**
 * A container that is down is over if it is down for one of these reasons; any other is what it waits for, and then it starts
 * again. The first are of runs, the others of the controller that gave it up or was told to stop it.
 */
const reasonsOfTheEnd: ReadonlySet<string> = new Set([
  ...['Completed', 'Error', 'OOMKilled', 'StartError', 'ContainerStatusUnknown'],
  ...['BackoffLimitExceeded', 'DeadlineExceeded', 'FatalExitCode', 'Stopped'],
]);

type Standing =
  | { readonly kind: 'running' }
  | { readonly kind: 'waiting'; readonly hasRun: boolean }
  | { readonly kind: 'over'; readonly termination: JsonObject };

function standingOf(container: KubeObject): Standing {
  const last = getPath(container, ['status', 'lastTermination']);
  const hasRun = isJsonObject(last);
  switch (getString(container, 'status', 'state')) {
    case 'Running':
    case 'Paused':
      return { kind: 'running' };
    case 'Exited': {
      const reason = getString(container, 'status', 'reason');
      if (!hasRun || (reason !== undefined && !reasonsOfTheEnd.has(reason))) return { kind: 'waiting', hasRun };
      return { kind: 'over', termination: last };
    }
    default:
      return { kind: 'waiting', hasRun };
  }
}

function phaseOf(container: KubeObject, standing: Standing): Phase {
  switch (standing.kind) {
    case 'running':
      return 'Running';
    case 'waiting':
      return standing.hasRun ? 'Running' : 'Pending';
    case 'over':
      return hasSucceeded(container, standing.termination) ? 'Succeeded' : 'Failed';
    default:
      throw new TypeError(`unknown standing: ${JSON.stringify(standing satisfies never)}`);
  }
}

/** Completed can be said of other exit codes than 0, and Error of 0 (spec.restart.exitCodes). */
function hasSucceeded(container: KubeObject, { reason }: JsonObject): boolean {
  return reason === undefined ? getPath(container, ['status', 'exitCode']) === 0 : reason === 'Completed';
}

/** `hostIP`: the address of its node; undefined: it is not known. */
export function podStatusOf(container: KubeObject, hostIP: string | undefined): JsonObject {
  const qosClass = qosClassOf(podResourcesOf(container));
  // No host has taken it yet, so no kubelet would have written more.
  if (['nodeName', 'state'].every((field) => getString(container, 'status', field) === undefined)) {
    return { phase: 'Pending', qosClass };
  }
  const standing = standingOf(container);
  const phase = phaseOf(container, standing);
  const podIP = getString(container, 'status', 'podIP');
  const podIPs = objectsOf(getPath(container, ['status', 'podIPs']));
  return {
    ...pick(container.status, ['observedGeneration']),
    phase,
    conditions: conditionsOf(container, phase),
    ...endOf(container, phase, standing),
    ...(hostIP === undefined ? {} : { hostIP, hostIPs: [{ ip: hostIP }] }),
    ...(podIP === undefined ? {} : { podIP, podIPs: podIPs.length > 0 ? podIPs : [{ ip: podIP }] }),
    startTime: container.metadata.creationTimestamp,
    containerStatuses: [containerStatusOf(container, standing)],
    qosClass,
  };
}

/** Why a Pod has failed, where its container's own end does not say it. */
function endOf(container: KubeObject, phase: Phase, standing: Standing): JsonObject {
  const { reason, message } = pick(container.status, ['reason', 'message']);
  if (phase !== 'Failed' || standing.kind !== 'over' || reason === undefined) return {};
  if (reason === standing.termination.reason) return {};
  return { reason, ...(message === undefined ? {} : { message }) };
}

function readyConditionOf(container: KubeObject): JsonObject | undefined {
  return objectsOf(getPath(container, ['status', 'conditions'])).find(({ type }) => type === 'Ready');
}

/** In the kubelet's order. */
function conditionsOf(container: KubeObject, phase: Phase): readonly JsonObject[] {
  const { creationTimestamp, name } = container.metadata;
  const ready = readyConditionOf(container);
  const isReady = phase === 'Running' && ready?.status === 'True';
  const readyAt = wholeSeconds(ready?.lastTransitionTime) ?? creationTimestamp;
  const over = phase === 'Succeeded' ? { reason: 'PodCompleted' } : phase === 'Failed' ? { reason: 'PodFailed' } : {};
  const unready =
    phase === 'Succeeded' || phase === 'Failed'
      ? over
      : { reason: 'ContainersNotReady', message: `containers with unready status: [${name}]` };
  const hasNetwork = getString(container, 'status', 'podIP') !== undefined;
  const condition = (type: string, isTrue: boolean, at: Json, why: JsonObject = {}): JsonObject => ({
    type,
    ...pick(container.status, ['observedGeneration']),
    status: isTrue ? 'True' : 'False',
    lastProbeTime: null,
    lastTransitionTime: at,
    ...why,
  });
  return [
    condition('PodReadyToStartContainers', hasNetwork, creationTimestamp),
    condition('Initialized', true, creationTimestamp, phase === 'Succeeded' ? over : {}),
    condition('Ready', isReady, readyAt, isReady ? {} : unready),
    condition('ContainersReady', isReady, readyAt, isReady ? {} : unready),
    condition('PodScheduled', true, creationTimestamp),
  ];
}

function containerStatusOf(container: KubeObject, standing: Standing): JsonObject {
  const isRunning = standing.kind === 'running';
  const resources = podResourcesOf(container);
  const last = getPath(container, ['status', 'lastTermination']);
  const terminated = isJsonObject(last) ? terminatedOf(container, last) : undefined;
  return {
    name: container.metadata.name,
    state: stateOf(container, standing),
    lastState: standing.kind === 'over' || terminated === undefined ? {} : { terminated },
    ready: isRunning && readyConditionOf(container)?.status === 'True',
    restartCount: getPath(container, ['status', 'restartCount']) ?? 0,
    image: getString(container, 'spec', 'image') ?? '',
    imageID: getString(container, 'status', 'imageID') ?? '',
    ...containerIdOf(container),
    started: isRunning && getPath(container, ['status', 'started']) !== false,
    ...(isRunning && resources.requests !== undefined ? { allocatedResources: resources.requests } : {}),
    ...(isRunning ? { resources } : {}),
    ...mountsOf(container),
  };
}

function mountsOf(container: KubeObject): JsonObject {
  const mounts = objectsOf(getPath(container, ['spec', 'volumeMounts'])).map((mount) => ({
    ...pick(mount, ['name', 'mountPath']),
    ...(mount.readOnly === true ? { readOnly: true, recursiveReadOnly: 'Disabled' } : {}),
  }));
  return mounts.length === 0 ? {} : { volumeMounts: mounts };
}

function containerIdOf(container: KubeObject): JsonObject {
  const id = getString(container, 'status', 'containerID');
  return id === undefined ? {} : { containerID: `holdfast://${id}` };
}

function stateOf(container: KubeObject, standing: Standing): JsonObject {
  switch (standing.kind) {
    case 'running': {
      const startedAt = wholeSeconds(getString(container, 'status', 'startedAt'));
      return { running: startedAt === undefined ? {} : { startedAt } };
    }
    case 'waiting': {
      const { reason = 'ContainerCreating', message } = pick(container.status, ['reason', 'message']);
      return { waiting: { reason, ...(message === undefined ? {} : { message }) } };
    }
    case 'over':
      return { terminated: terminatedOf(container, standing.termination) };
    default:
      throw new TypeError(`unknown standing: ${JSON.stringify(standing satisfies never)}`);
  }
}

function terminatedOf(container: KubeObject, last: JsonObject): JsonObject {
  return {
    exitCode: last.exitCode ?? 0,
    ...pick(last, ['signal', 'reason', 'message']),
    startedAt: wholeSeconds(last.startedAt) ?? null,
    finishedAt: wholeSeconds(last.finishedAt) ?? null,
    ...containerIdOf(container),
  };
}

/** A time as Kubernetes writes it. */
function wholeSeconds(time: Json | undefined): string | undefined {
  return typeof time === 'string' ? time.replace(/\.\d+(?=Z$)/u, '') : undefined;
}
