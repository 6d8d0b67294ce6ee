/** The status of a Container object, from what was decided and seen. Pure. Reasons are Kubernetes' own words where it has one. */
import type { Container, ContainerStatus } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import { debugVerdict } from './debug-sessions.ts';
import { type ImageState, type Step, waitingForDependents } from './decide.ts';
import type { Desired } from './desired.ts';
import { describeUnready } from './health.ts';
import type { History } from './history.ts';
import { describe } from './termination.ts';

export interface StatusInput {
  readonly object: Container;
  readonly desired: Desired;
  readonly container: ContainerInfo | undefined;
  readonly history: History;
  readonly image: ImageState;
  /** The step at which the controller came to rest. */
  readonly step: Step;
  /** A step that failed and is tried again: a limit that cannot be set, a container that cannot be removed. */
  readonly trouble?: { readonly reason: string; readonly message: string } | undefined;
  readonly nodeName: string;
  /** It has no container of its own yet: it waits to take one over. */
  readonly isBare?: true | undefined;
  readonly nowMs: number;
  /** The API server was away until a moment ago, and this status is what it missed. */
  readonly outage?: { readonly sinceMs: number; readonly lastedMs: number } | undefined;
}

type Condition = NonNullable<ContainerStatus['conditions']>[number];
type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

const readyVerdict: Verdict = { status: 'True', reason: 'Running', message: 'the container runs' };
const metVerdict: Verdict = { status: 'True', reason: 'Met', message: 'nothing that it depends on is missing' };
const validVerdict: Verdict = { status: 'True', reason: 'Valid', message: 'the spec can be carried out' };

/** The whole status; conditions keep their lastTransitionTime from the object's present status while they do not change. */
export function formatStatus(input: StatusInput): ContainerStatus {
  const { object, desired, container, history, nodeName } = input;
  const runs = container?.state.kind === 'running' ? container.state : undefined;
  const { state, reason, message } = formatState(input);
  const conditions = formatConditions(input, { reason, message });
  const last = history.lastTermination;
  const startedAtMs = runs?.startedAtMs ?? last?.startedAtMs ?? history.seenStartMs;
  return dropUndefined({
    state,
    reason,
    message,
    nodeName,
    containerID: input.isBare ? undefined : desired.containerID,
    imageID: container?.imageID,
    pid: runs?.pid,
    started: runs !== undefined && history.health?.isStarted !== false,
    ready: conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
    podIP: container?.ip,
    podIPs:
      container?.ip === undefined
        ? undefined
        : [container.ip, container.ip6].flatMap((ip) => (ip === undefined ? [] : [{ ip }])),
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
            message: clip(last.message),
            startedAt: formatTime(last.startedAtMs),
            finishedAt: formatTime(last.finishedAtMs),
            endedBy: last.endedBy,
          }),
    debugSessions: container === undefined || container.debugSessions === 0 ? undefined : container.debugSessions,
    lastSignal: formatSignalReport(history.lastSignal),
    backoff: formatBackoff(input),
    observedGeneration: object.metadata.generation,
    conditions,
  });
}

function formatSignalReport(report: History['lastSignal']): ContainerStatus['lastSignal'] {
  if (report === undefined) return undefined;
  const { request, signal, atMs, message } = report;
  return dropUndefined({ request, signal, time: formatTime(atMs), message: clip(message) });
}

/** The count of failures is kept here while the container runs, so that a restarted controller goes on counting. */
function formatBackoff({ container, history, nowMs }: StatusInput): ContainerStatus['backoff'] {
  const { retry, failures, failingMs } = history;
  const failingSeconds = failingMs > 0 ? failingMs / 1000 : undefined;
  if (container?.state.kind !== 'running' && retry !== undefined && retry.atMs > nowMs) {
    const { attempt, delayMs, atMs, isHostFault } = retry;
    const exits = isHostFault && failures > 0 ? failures : undefined;
    return dropUndefined({
      attempt,
      exits,
      failingSeconds,
      delaySeconds: delayMs / 1000,
      nextRestartAt: new Date(atMs).toISOString(),
    });
  }
  return failures > 0 ? dropUndefined({ attempt: failures, failingSeconds }) : undefined;
}

interface StateWords {
  readonly state: NonNullable<ContainerStatus['state']>;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/** The CRD allows 32768 characters; nobody reads more than this. */
const maxMessageLength = 4_096;

function clip<T extends string | undefined>(message: T): T | string {
  return message === undefined || message.length <= maxMessageLength
    ? message
    : `${message.slice(0, maxMessageLength - 1)}…`;
}

function formatState(input: StatusInput): StateWords {
  const { state, reason, message } = { ...findState(input), ...input.trouble };
  return { state, reason, message: clip(message) };
}

function findState({ desired, container, history, step, isBare }: StatusInput): StateWords {
  if (isBare && step.kind === 'wait') return { state: 'Created', reason: step.reason, message: step.message };
  if (container?.state.kind === 'running') {
    if (step.kind === 'wait' && step.reason === waitingForDependents)
      return { state: 'Running', reason: step.reason, message: step.message };
    if (history.stop?.isWithdrawn === false)
      return { state: 'Running', reason: 'Terminating', message: 'was asked to stop' };
    if (container.state.isPaused === true)
      return { state: 'Paused', reason: 'Paused', message: 'its processes are frozen', ...desired.problem };
    return { state: 'Running', ...desired.problem };
  }
  const hasRun = history.lastTermination !== undefined;
  if (desired.problem !== undefined && desired.shouldRun)
    return { state: hasRun ? 'Exited' : 'Created', ...desired.problem };
  if (!desired.shouldRun)
    return hasRun
      ? { state: 'Exited', reason: 'Stopped', message: 'stopped by spec.desiredState' }
      : { state: 'Created', reason: 'Stopped', message: 'not started: spec.desiredState is Stopped' };
  if (history.final !== undefined) return { state: 'Exited', ...history.final };
  const waitsForOther = step.kind === 'wait' && step.reason !== history.retry?.reason;
  if (history.retry !== undefined && !waitsForOther) {
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
  const isPaused = container?.state.kind === 'running' && container.state.isPaused === true;
  const isFine = isRunning && !isPaused && history.stop?.isWithdrawn !== false;
  // What ends a run is told until it has ended, so that a restarted controller knows it.
  const hasFailed = isRunning && history.health?.failure !== undefined;
  const unready = isFine || hasFailed ? describeUnready(history.health) : undefined;
  const whyNot = {
    reason: reason ?? 'NotRunning',
    message: message ?? (last === undefined ? 'it has not started yet' : describe(last)),
  };
  const { generation } = object.metadata;
  const conditions: Condition[] = [];
  const before = (type: string): Condition | undefined => object.status?.conditions?.find((one) => one.type === type);
  const tell = (type: string, verdict: Verdict | undefined): void => {
    if (verdict === undefined) return;
    const old = before(type);
    if (old !== undefined && isAsBefore(old, verdict, generation)) conditions.push(old);
    else
      conditions.push({
        type,
        ...verdict,
        message: clip(verdict.message),
        lastTransitionTime:
          old?.status === verdict.status ? old.lastTransitionTime : new Date(input.nowMs).toISOString(),
        observedGeneration: generation,
      });
  };
  tell('Ready', isFine && unready === undefined ? readyVerdict : { status: 'False', ...(unready ?? whyNot) });
  tell('ImageAvailable', imageVerdict(container, image, history));
  tell(
    'DependenciesMet',
    step.kind === 'wait' && step.reason === 'WaitingForDependency'
      ? { status: 'False', reason: step.reason, message: step.message }
      : metVerdict,
  );
  tell('SpecValid', desired.problem === undefined ? validVerdict : { status: 'False', ...desired.problem });
  if (desired.config.ports.length > 0) tell('PortsPublished', portsVerdict(container, history));
  tell('DebugSession', debugVerdict(container?.debugSessions ?? 0, before('DebugSession') !== undefined));
  tell('StoreReachable', reachableVerdict(input, before('StoreReachable')));
  return conditions;
}

/** Then it need not be made and compared again, at each look at each container. */
function isAsBefore(old: Condition, verdict: Verdict, generation: number): boolean {
  return (
    old.status === verdict.status &&
    old.reason === verdict.reason &&
    old.message === verdict.message &&
    old.observedGeneration === generation
  );
}

function portsVerdict(container: ContainerInfo | undefined, { retry }: History): Verdict {
  if (container?.state.kind === 'running')
    return { status: 'True', reason: 'Published', message: 'status.ports says where' };
  if (retry?.reason === 'HostPortConflict') return { status: 'False', reason: retry.reason, message: retry.message };
  return { status: 'False', reason: 'NotRunning', message: 'ports are published while the container runs' };
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

/** Only of those that an outage kept from telling; it stays until there is another one. */
function reachableVerdict({ outage }: StatusInput, before: Condition | undefined): Verdict | undefined {
  if (outage === undefined)
    return before === undefined ? undefined : { status: before.status, reason: before.reason, message: before.message };
  const seconds = Math.round(outage.lastedMs / 1000);
  const since = new Date(outage.sinceMs).toISOString();
  const message = `the API server was away for ${seconds} s since ${since}; the container was kept by this host's checkpoint`;
  return { status: 'True', reason: 'BackAgain', message };
}

function formatTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function dropUndefined<T extends object>(value: T): T {
  const kept: Record<string, unknown> = {};
  for (const name of Object.keys(value)) {
    const member: unknown = Reflect.get(value, name);
    if (member !== undefined) kept[name] = member;
  }
  // The same object less its undefined members, which T allows to be absent as well.
  return kept as T;
}

/**
 * The JSON merge patch (RFC 7396) that turns one status into another; undefined if they are equal. Lists are replaced whole.
 */
export function diffStatus(from: unknown, to: unknown): Record<string, unknown> | undefined {
  const before = asRecord(from);
  const after = asRecord(to);
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(before)) if (!(key in after)) patch[key] = null;
  for (const key of Object.keys(after)) {
    if (isRecord(before[key]) && isRecord(after[key])) {
      const inner = diffStatus(before[key], after[key]);
      if (inner !== undefined) patch[key] = inner;
    } else if (!isSameJson(before[key], after[key])) patch[key] = after[key];
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** Whether two values are the same as JSON, whatever the order of their members; one that is undefined is not there. */
function isSameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((one, index) => isSameJson(one, b[index]));
  if (!isRecord(a) || !isRecord(b)) return false;
  return (
    Object.keys(a).every((key) => isSameJson(a[key], b[key])) &&
    Object.keys(b).every((key) => b[key] === undefined || key in a)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asRecord(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}
