/** The next step for one container, from what should be, what is, and what was. Pure. */
import type { ContainerInfo, Damage, PullProgress } from '../runtime/index.ts';
import { findRestarted, findUnmet, type Hold } from './dependencies.ts';
import { type Desired, labelKeys } from './desired.ts';
import type { History } from './history.ts';
import type { Dependency } from './links.ts';
import { type Action, parseKeptAction } from './probe-spec.ts';
import type { HookState } from './prober.ts';
import { formatBytes } from './quantity.ts';
import type { SignalRequest } from './signal-request.ts';

/** Whether the image is at hand. Present images are found without a pull, so `unknown` means that none was asked for yet. */
export type ImageState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'pulling'; readonly progress?: PullProgress | undefined }
  | { readonly kind: 'present'; readonly imageID: string };

/** What keeps a container from being made or started, other than its image and its dependencies. */
export interface Obstacle {
  /** create: a container that is there already starts with what it has. */
  readonly before: 'create' | 'start';
  readonly reason: string;
  readonly message: string;
}

export interface DecideInput {
  readonly isDeleting: boolean;
  readonly hasFinalizer: boolean;
  readonly desired: Desired;
  /** Hash of what can change in place, as it should be; undefined while it is not known. */
  readonly mutableHash: string | undefined;
  readonly obstacle?: Obstacle | undefined;
  /** What keeps its image from being fetched. */
  readonly pullObstacle?: Obstacle | undefined;
  readonly container: ContainerInfo | undefined;
  readonly image: ImageState;
  /** One for each name in desired.dependsOn. */
  readonly dependencies: readonly Dependency[];
  /** Containers of an earlier object of this name are still on the host. */
  readonly hasPredecessor: boolean;
  /** It is to stop, and waits for those that depend on it. */
  readonly hold?: Hold | undefined;
  /** One that is only to be prepared has its image asked for no sooner. */
  readonly prepareAtMs?: number | undefined;
  /** Of its preStop hook in this run. */
  readonly preStop?: HookState | undefined;
  readonly history: History;
  readonly nowMs: number;
}

/** What a container is stopped for. damaged: only a restart helps it. */
export type StopCause = 'deleted' | 'replaced' | 'stopped' | 'unhealthy' | 'restarted' | 'damaged';

export type Step =
  /** Lets the deleted object go: nothing of it is left on the host. */
  | { readonly kind: 'finalize' }
  | { readonly kind: 'remove'; readonly because: 'deleted' | 'replaced' }
  /** Begins the preStop hook; SIGKILL follows at killAtMs. */
  | { readonly kind: 'pre-stop'; readonly killAtMs: number; readonly because: StopCause }
  /** Asks PID 1 to stop; SIGKILL follows at killAtMs. */
  | { readonly kind: 'stop'; readonly killAtMs: number; readonly because: StopCause }
  | { readonly kind: 'kill' }
  | { readonly kind: 'ensure-image' }
  | { readonly kind: 'create'; readonly imageID: string }
  | { readonly kind: 'start' }
  | { readonly kind: 'update' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** Sends a signal that is not to stop it, or says why not. */
  | { readonly kind: 'signal'; readonly request: SignalRequest }
  /** It has ended for good, and its time is over: the object is to be deleted. */
  | { readonly kind: 'expire' }
  | { readonly kind: 'wait'; readonly reason: string; readonly message: string; readonly untilMs?: number | undefined }
  /** All is as it should be; look again at untilMs. */
  | { readonly kind: 'settled'; readonly untilMs?: number | undefined };

/** What to do now. Called again after every step that changes something, until it answers wait or settled. */
export function decide(input: DecideInput): Step {
  const { container, desired, history } = input;
  if (input.isDeleting) {
    if (container === undefined) return input.hasFinalizer ? { kind: 'finalize' } : { kind: 'settled' };
    if (container.state.kind !== 'running') return { kind: 'remove', because: 'deleted' };
    return input.hold === undefined ? decideStop(input, 'deleted') : waitForDependents(input.hold);
  }
  const { signalRequest } = desired;
  if (signalRequest !== undefined && signalRequest.request !== history.lastSignal?.request)
    return { kind: 'signal', request: signalRequest };
  if (desired.problem !== undefined && (desired.shouldRun || container?.state.kind !== 'running'))
    return { kind: 'wait', ...desired.problem };

  const mustReplace =
    container !== undefined &&
    desired.problem === undefined &&
    container.labels[labelKeys.specHash] !== desired.specHash;
  if (mustReplace) {
    return container.state.kind === 'running' ? decideStop(input, 'replaced') : { kind: 'remove', because: 'replaced' };
  }
  if (!desired.shouldRun) {
    if (container === undefined && desired.isPrepared) return decidePreparation(input);
    if (container?.state.kind !== 'running') return decideRest(input);
    return input.hold === undefined ? decideStop(input, 'stopped') : waitForDependents(input.hold);
  }

  const needsUpdate =
    container !== undefined &&
    input.mutableHash !== undefined &&
    (container.labels[labelKeys.mutableHash] !== input.mutableHash || container.lacksFiles === true);
  if (container?.state.kind === 'running') {
    if (history.health?.failure !== undefined) return decideStop(input, 'unhealthy');
    const runMs = container.state.startedAtMs;
    const restarted = findRestarted(desired, input.dependencies, { startedWith: history.startedWith, runMs });
    if (restarted !== undefined) return decideStop(input, 'restarted');
    const { damage } = container.state;
    const mending = damage === undefined ? undefined : decideMending(input, damage);
    if (mending !== undefined) return mending;
    if (needsUpdate) return { kind: 'update' };
    const isPaused = container.state.isPaused === true;
    if (isPaused !== desired.shouldPause) return { kind: isPaused ? 'resume' : 'pause' };
    const resetAtMs = (history.runSinceMs ?? container.state.startedAtMs) + desired.restart.backoff.resetAfterMs;
    return { kind: 'settled', untilMs: history.failures > 0 ? resetAtMs : undefined };
  }
  return decideStart(input, desired, needsUpdate);
}

/** It has ended for good, or was stopped: it stays as it is until its time is over. */
function decideRest({ desired: { ttlMs }, history: { restSinceMs }, nowMs }: DecideInput): Step {
  if (ttlMs === undefined || restSinceMs === undefined) return { kind: 'settled' };
  const untilMs = restSinceMs + ttlMs;
  return nowMs >= untilMs ? { kind: 'expire' } : { kind: 'settled', untilMs };
}

/** It is to be made and not to be started. What it depends on need not be there; what fails is tried again later. */
function decidePreparation(input: DecideInput): Step {
  const { image, obstacle, pullObstacle, prepareAtMs = 0, nowMs } = input;
  if (input.hasPredecessor || image.kind === 'pulling') return { kind: 'settled' };
  if (image.kind === 'present')
    return obstacle === undefined ? { kind: 'create', imageID: image.imageID } : { kind: 'settled' };
  if (pullObstacle !== undefined) return { kind: 'settled' };
  return prepareAtMs > nowMs ? { kind: 'settled', untilMs: prepareAtMs } : { kind: 'ensure-image' };
}

/**
 * Only a restart helps it. One that may run but once is left as it is, and one whose image is lost runs on until that is
 * here again. undefined: nothing is to be done now.
 */
function decideMending(input: DecideInput, damage: Damage): Step | undefined {
  const { desired, image, history, nowMs, pullObstacle } = input;
  if (desired.restart.policy === 'Never') return undefined;
  if (damage.kind !== 'image-layer' || image.kind === 'present' || history.stop?.isWithdrawn === false)
    return decideStop(input, 'damaged');
  if (image.kind === 'pulling' || pullObstacle !== undefined) return undefined;
  if (history.retry === undefined || history.retry.atMs <= nowMs) return { kind: 'ensure-image' };
  return { kind: 'settled', untilMs: history.retry.atMs };
}

/** It should run and does not. */
function decideStart(input: DecideInput, desired: Desired, needsUpdate: boolean): Step {
  const { container, history, image, nowMs, obstacle, pullObstacle } = input;
  if (history.final !== undefined) return decideRest(input);
  if (history.retry !== undefined && history.retry.atMs > nowMs) {
    const { reason, message, atMs } = history.retry;
    return { kind: 'wait', reason, message, untilMs: atMs };
  }
  if (input.hasPredecessor) {
    return {
      kind: 'wait',
      reason: 'ContainerCreating',
      message: 'waits until the container of an earlier object of this name is gone',
    };
  }
  const unmet = findUnmet(desired, input.dependencies);
  if (unmet !== undefined) return { kind: 'wait', reason: 'WaitingForDependency', message: unmet };
  if (container !== undefined) {
    if (obstacle !== undefined && (obstacle.before === 'start' || container.lacksFiles === true))
      return waitFor(obstacle);
    return needsUpdate ? { kind: 'update' } : { kind: 'start' };
  }
  switch (image.kind) {
    case 'present':
      return obstacle === undefined ? { kind: 'create', imageID: image.imageID } : waitFor(obstacle);
    case 'pulling':
      return { kind: 'wait', reason: 'Pulling', message: formatPulling(desired.image, image.progress) };
    case 'unknown':
      return pullObstacle === undefined ? { kind: 'ensure-image' } : waitFor(pullObstacle);
    default:
      throw new TypeError(`unknown image state: ${JSON.stringify(image satisfies never)}`);
  }
}

function formatPulling(image: string, progress: PullProgress | undefined): string {
  const text = `fetches the image "${image}"`;
  if (progress === undefined) return text;
  const { doneBytes, totalBytes } = progress;
  if (totalBytes === undefined) return `${text}: ${formatBytes(doneBytes)}`;
  return doneBytes < totalBytes
    ? `${text}: ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`
    : `${text}: all of ${formatBytes(totalBytes)} is here and is being unpacked`;
}

function waitFor({ reason, message }: Obstacle): Step {
  return { kind: 'wait', reason, message };
}

/** What it does first when it is stopped: as its spec says, or the spec that it was made from. */
export function preStopOf(
  { desired, container }: Pick<DecideInput, 'desired' | 'container'>,
  because: StopCause,
): Action | undefined {
  const isOfSpec = desired.problem === undefined && because !== 'replaced';
  return isOfSpec ? desired.health.preStop : parseKeptAction(container?.labels[labelKeys.preStop]);
}

function decideStop(input: DecideInput, because: StopCause): Step {
  const { desired, history, nowMs, container } = input;
  const ownMs = because === 'unhealthy' ? history.health?.failure?.graceMs : undefined;
  // The grace of a spec that cannot be carried out is not to be trusted; the container has the last good one.
  const graceMs =
    ownMs ?? (desired.problem === undefined ? desired.graceMs : Number(container?.labels[labelKeys.graceMs] ?? 0));
  const preStop = preStopOf(input, because) === undefined ? 'none' : (input.preStop ?? 'idle');
  const step = decideHalt({ stop: history.stop, graceMs, preStop, nowMs }, because);
  // What is frozen could not obey.
  const isPaused = container?.state.kind === 'running' && container.state.isPaused === true;
  return isPaused && (step.kind === 'wait' || step.kind === 'pre-stop') ? { kind: 'resume' } : step;
}

/** Left to a container whose preStop hook took all of the grace; the kubelet's minimumGracePeriodInSeconds. */
export const afterPreStopMs = 2_000;

/** The steps of a graceful stop of a running container: hook, signal, wait, kill. The clock is followed by followClock (history.ts). */
export function decideHalt<Because extends string>(
  {
    stop,
    graceMs,
    preStop,
    nowMs,
  }: {
    readonly stop: History['stop'];
    readonly graceMs: number;
    readonly preStop: HookState | 'none';
    readonly nowMs: number;
  },
  because: Because,
):
  | { kind: 'pre-stop'; killAtMs: number; because: Because }
  | { kind: 'stop'; killAtMs: number; because: Because }
  | { kind: 'kill' }
  | { kind: 'wait'; reason: string; message: string; untilMs: number } {
  if (stop === undefined || stop.isWithdrawn) {
    if (graceMs <= 0) return { kind: 'kill' };
    return { kind: preStop === 'none' ? 'stop' : 'pre-stop', killAtMs: nowMs + graceMs, because };
  }
  // A grace that was shortened meanwhile counts.
  const killAtMs = Math.min(stop.killAtMs, stop.sinceMs + graceMs);
  if (stop.awaitsPreStop === true) {
    const isOver = preStop === 'done' || preStop === 'none' || nowMs >= killAtMs;
    if (isOver)
      return { kind: 'stop', killAtMs: Math.max(killAtMs, nowMs + Math.min(graceMs, afterPreStopMs)), because };
    // Nobody does it any more, since the controller was restarted.
    if (preStop === 'idle') return { kind: 'pre-stop', killAtMs, because };
    return { kind: 'wait', reason: 'Terminating', message: 'its preStop hook is done', untilMs: killAtMs };
  }
  if (nowMs >= killAtMs) return { kind: 'kill' };
  return { kind: 'wait', reason: 'Terminating', message: 'was asked to stop', untilMs: killAtMs };
}

function waitForDependents({ message, untilMs }: Hold): Step {
  return { kind: 'wait', reason: waitingForDependents, message, untilMs };
}

export const waitingForDependents = 'WaitingForDependents';
