/** The next step for one container, from what should be, what is, and what was. Pure. */
import type { ContainerInfo, PullProgress } from '../runtime/index.ts';
import { type Desired, labelKeys } from './desired.ts';
import type { History } from './history.ts';
import type { Dependency } from './links.ts';
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
  readonly history: History;
  readonly nowMs: number;
}

export type Step =
  /** Lets the deleted object go: nothing of it is left on the host. */
  | { readonly kind: 'finalize' }
  | { readonly kind: 'remove'; readonly because: 'deleted' | 'replaced' }
  /** Asks PID 1 to stop; SIGKILL follows at killAtMs. */
  | { readonly kind: 'stop'; readonly killAtMs: number; readonly because: 'deleted' | 'replaced' | 'stopped' }
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
    return container.state.kind === 'running' ? decideStop(input, 'deleted') : { kind: 'remove', because: 'deleted' };
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
    return container?.state.kind === 'running' ? decideStop(input, 'stopped') : decideRest(input);
  }

  const needsUpdate =
    container !== undefined &&
    input.mutableHash !== undefined &&
    (container.labels[labelKeys.mutableHash] !== input.mutableHash || container.lacksFiles === true);
  if (container?.state.kind === 'running') {
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

function decideStop(
  { desired, history, nowMs, container }: DecideInput,
  because: 'deleted' | 'replaced' | 'stopped',
): Step {
  // The grace of a spec that cannot be carried out is not to be trusted; the container has the last good one.
  const graceMs = desired.problem === undefined ? desired.graceMs : Number(container?.labels[labelKeys.graceMs] ?? 0);
  const step = decideHalt({ stop: history.stop, graceMs, nowMs }, because);
  // What is frozen could not obey.
  const isPaused = container?.state.kind === 'running' && container.state.isPaused === true;
  return step.kind === 'wait' && isPaused ? { kind: 'resume' } : step;
}

/** The steps of a graceful stop of a running container: signal, wait, kill. The clock is followed by followClock (history.ts). */
export function decideHalt<Because extends string>(
  { stop, graceMs, nowMs }: { readonly stop: History['stop']; readonly graceMs: number; readonly nowMs: number },
  because: Because,
):
  | { kind: 'stop'; killAtMs: number; because: Because }
  | { kind: 'kill' }
  | { kind: 'wait'; reason: string; message: string; untilMs: number } {
  if (stop === undefined || stop.isWithdrawn)
    return graceMs <= 0 ? { kind: 'kill' } : { kind: 'stop', killAtMs: nowMs + graceMs, because };
  // A grace that was shortened meanwhile counts.
  const killAtMs = Math.min(stop.killAtMs, stop.sinceMs + graceMs);
  if (nowMs >= killAtMs) return { kind: 'kill' };
  return { kind: 'wait', reason: 'Terminating', message: 'was asked to stop', untilMs: killAtMs };
}

/** Why this container may not start yet; undefined when all its dependencies have started. */
export function findUnmet(desired: Desired, dependencies: readonly Dependency[]): string | undefined {
  const isLink = (name: string): boolean => desired.links.some((link) => link.name === name);
  const unmet = dependencies.filter(
    ({ name, state }) => state !== 'running' && (isLink(name) || state !== 'completed'),
  );
  if (unmet.length === 0) return undefined;
  return unmet
    .map(({ name, state }) =>
      state === 'missing'
        ? `waits for container "${name}", which does not exist in this namespace; apply it, or remove it from spec.${isLink(name) ? 'links' : 'dependsOn'}`
        : `waits for container "${name}" to run`,
    )
    .join('; ');
}
