/** The status of a Container object, from what was decided and seen. Pure. Reasons are Kubernetes' own words where it has one. */
import type { Container, ContainerStatus } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import type { ImageState, Step } from './decide.ts';
import type { Desired, SpecProblem } from './desired.ts';
import { describe, type History } from './history.ts';

export interface StatusInput {
  readonly object: Container;
  readonly desired: Desired | SpecProblem;
  readonly container: ContainerInfo | undefined;
  readonly history: History;
  readonly image: ImageState;
  /** The step at which the controller came to rest. */
  readonly step: Step;
  readonly nodeName: string;
  readonly nowMs: number;
}

type Condition = NonNullable<ContainerStatus['conditions']>[number];
type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

/** The whole status; conditions keep their lastTransitionTime from the object's present status while they do not change. */
export function formatStatus(input: StatusInput): ContainerStatus {
  const { object, desired, container, history, nodeName } = input;
  const runs = container?.state.kind === 'running' ? container.state : undefined;
  const { state, reason, message } = formatState(input);
  const last = history.lastTermination;
  const startedAtMs = runs?.startedAtMs ?? last?.startedAtMs;
  const retry = runs === undefined ? history.retry : undefined;
  return dropUndefined({
    state,
    reason,
    message,
    nodeName,
    containerID: 'message' in desired ? object.status?.containerID : desired.containerID,
    imageID: container?.imageID,
    pid: runs?.pid,
    podIP: container?.ip,
    ports:
      container === undefined || container.ports.length === 0
        ? undefined
        : container.ports.map((port) =>
            dropUndefined({
              containerPort: port.containerPort,
              hostPort: port.hostPort,
              hostIP: port.hostIP,
              protocol: port.protocol.toUpperCase(),
            }),
          ),
    startedAt: formatTime(startedAtMs),
    finishedAt: formatTime(last?.finishedAtMs),
    exitCode: last?.exitCode,
    signal: last?.signal,
    restartCount: history.restartCount,
    lastTermination:
      last === undefined
        ? undefined
        : dropUndefined({
            exitCode: last.exitCode,
            signal: last.signal,
            reason: last.reason,
            message: last.message,
            startedAt: formatTime(last.startedAtMs),
            finishedAt: formatTime(last.finishedAtMs),
          }),
    backoff:
      retry === undefined
        ? undefined
        : {
            attempt: retry.attempt,
            delaySeconds: retry.delayMs / 1000,
            nextRestartAt: new Date(retry.atMs).toISOString(),
          },
    observedGeneration: object.metadata.generation,
    conditions: formatConditions(input, { reason, message }),
  });
}

function formatState({ desired, container, history, step }: StatusInput): {
  state: NonNullable<ContainerStatus['state']>;
  reason?: string | undefined;
  message?: string | undefined;
} {
  if (container?.state.kind === 'running') {
    if (history.stop !== undefined) return { state: 'Running', reason: 'Terminating', message: 'was asked to stop' };
    return 'message' in desired
      ? { state: 'Running', reason: desired.reason, message: desired.message }
      : { state: 'Running' };
  }
  const hasRun = history.lastTermination !== undefined;
  if ('message' in desired)
    return { state: hasRun ? 'Exited' : 'Created', reason: desired.reason, message: desired.message };
  if (!desired.shouldRun)
    return hasRun
      ? { state: 'Exited', reason: 'Stopped', message: 'stopped by spec.desiredState' }
      : { state: 'Created', reason: 'Stopped', message: 'not started: spec.desiredState is Stopped' };
  if (history.final !== undefined) return { state: 'Exited', ...history.final };
  if (history.retry !== undefined) {
    const { reason, message, of } = history.retry;
    return { state: of === 'start' || hasRun ? 'Restarting' : 'Created', reason, message };
  }
  if (step.kind === 'wait') return { state: hasRun ? 'Exited' : 'Created', reason: step.reason, message: step.message };
  return { state: hasRun ? 'Restarting' : 'Created', reason: 'ContainerCreating' };
}

function formatConditions(
  input: StatusInput,
  { reason, message }: { reason?: string | undefined; message?: string | undefined },
): Condition[] {
  const { desired, container, history, image, step, object } = input;
  const isRunning = container?.state.kind === 'running';
  const last = history.lastTermination;
  const isFine = isRunning && history.stop === undefined;
  const verdicts: Record<string, Verdict> = {
    Ready: isFine
      ? { status: 'True', reason: 'Running', message: 'the container runs' }
      : {
          status: 'False',
          reason: reason ?? 'NotRunning',
          message: message ?? (last === undefined ? 'it has not started yet' : describe(last)),
        },
    ImageAvailable: imageVerdict(container, image, history),
    DependenciesMet:
      step.kind === 'wait' && step.reason === 'WaitingForDependency'
        ? { status: 'False', reason: step.reason, message: step.message }
        : { status: 'True', reason: 'Met', message: 'nothing that it depends on is missing' },
    SpecValid:
      'message' in desired
        ? { status: 'False', reason: desired.reason, message: desired.message }
        : { status: 'True', reason: 'Valid', message: 'the spec can be carried out' },
  };
  const before = new Map((object.status?.conditions ?? []).map((one) => [one.type, one]));
  const now = new Date(input.nowMs).toISOString();
  return Object.entries(verdicts).map(([type, verdict]) => {
    const old = before.get(type);
    return {
      type,
      ...verdict,
      lastTransitionTime: old?.status === verdict.status ? old.lastTransitionTime : now,
      observedGeneration: object.metadata.generation,
    };
  });
}

function imageVerdict(container: ContainerInfo | undefined, image: ImageState, history: History): Verdict {
  if (container !== undefined || image.kind === 'present')
    return { status: 'True', reason: 'Present', message: 'the image is on this host' };
  if (history.retry?.of === 'image')
    return { status: 'False', reason: history.retry.reason, message: history.retry.message };
  return {
    status: 'Unknown',
    reason: image.kind === 'pulling' ? 'Pulling' : 'NotNeededYet',
    message: image.kind === 'pulling' ? 'the image is being fetched' : 'the image was not asked for yet',
  };
}

function formatTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function dropUndefined<T extends object>(value: T): T {
  // The same object less its undefined members, which T allows to be absent as well.
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;
}

/**
 * The JSON merge patch (RFC 7396) that turns one status into another; undefined if they are equal. Lists are replaced whole.
 */
export function diffStatus(from: unknown, to: unknown): Record<string, unknown> | undefined {
  const before = asRecord(from);
  const after = asRecord(to);
  const patch: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (!(key in after)) patch[key] = null;
    else if (isRecord(before[key]) && isRecord(after[key])) {
      const inner = diffStatus(before[key], after[key]);
      if (inner !== undefined) patch[key] = inner;
    } else if (JSON.stringify(sortKeys(before[key])) !== JSON.stringify(sortKeys(after[key]))) patch[key] = after[key];
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sortKeys(member)]),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asRecord(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}
