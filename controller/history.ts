/** What the controller remembers of one container from one decision to the next, and how what it sees changes that. Pure. */
import type { ContainerStatus } from '../crds/index.ts';
import type { ContainerInfo, Limits } from '../runtime/index.ts';
import { type Desired, hashOf } from './desired.ts';
import { formatQuantity } from './quantity.ts';
import { backoffDelayMs, decideRestart, drawFor } from './restart.ts';
import type { SignalReport } from './signal-request.ts';

/** How a run ended, or that it could not begin. */
export interface Termination {
  readonly reason: 'Completed' | 'Error' | 'OOMKilled' | 'StartError' | 'ContainerStatusUnknown';
  readonly message?: string | undefined;
  readonly exitCode: number;
  readonly signal?: number | undefined;
  readonly startedAtMs?: number | undefined;
  readonly finishedAtMs: number;
}

/** A wait before the next try. */
export interface Retry {
  readonly atMs: number;
  readonly delayMs: number;
  /** How many times in a row it went wrong. */
  readonly attempt: number;
  /** What is tried again: fetching the image, creating, or starting (after an exit or a failed start). */
  readonly of: 'image' | 'create' | 'start';
  readonly reason: string;
  readonly message: string;
}

/** A stop under way; SIGKILL is due at killAtMs. */
export interface Stop {
  readonly sinceMs: number;
  readonly killAtMs: number;
  /** The wish was taken back before the process ended: no SIGKILL, and a later stop begins anew. */
  readonly isWithdrawn: boolean;
}

/** Digests of the parts of the spec that a wait or a verdict came from; another spec deserves another verdict. */
export interface Basis {
  readonly spec: string;
  readonly policy: string;
  /** undefined: without imagePullSecrets, or not known. */
  readonly credentials?: string | undefined;
}

export interface History {
  readonly restartCount: number;
  /** Exits and failed starts in a row. */
  readonly failures: number;
  /** Failed fetches of the image in a row. */
  readonly imageFailures: number;
  /** Start of the last run that was seen, so that each run is counted once. */
  readonly seenStartMs?: number | undefined;
  /** End of the last run that was seen, so that each exit is counted once. */
  readonly seenExitMs?: number | undefined;
  readonly lastTermination?: Termination | undefined;
  readonly retry?: Retry | undefined;
  /** Policy forbids a further start. */
  readonly final?: { readonly reason: string; readonly message: string } | undefined;
  /** What retry and final were decided from. */
  readonly basis?: Basis | undefined;
  /** It was stopped because its spec (or its deletion) asked for that. */
  readonly isHalted: boolean;
  readonly stop?: Stop | undefined;
  /** Since when it has been down for good, on a clock that may have been set back since. */
  readonly restSinceMs?: number | undefined;
  /** What came of the last signal that was asked for. */
  readonly lastSignal?: SignalReport | undefined;
}

export const emptyHistory: History = { restartCount: 0, failures: 0, imageFailures: 0, isHalted: false };

/**
 * What a new controller can know from the status that an earlier one wrote. Unknown or broken values are left out.
 * `generation`: the object's; a status that speaks of an earlier one was written for another spec.
 */
export function historyFromStatus(status: ContainerStatus | undefined, generation?: number): History {
  if (status === undefined) return emptyHistory;
  const ms = (time: string | undefined): number | undefined => {
    const parsed = time === undefined ? Number.NaN : Date.parse(time);
    return Number.isNaN(parsed) ? undefined : parsed;
  };
  const { lastTermination: last, backoff } = status;
  const finishedAtMs = ms(last?.finishedAt);
  const nextRestartAtMs = ms(backoff?.nextRestartAt);
  const of = retryOf(status.reason);
  return {
    restartCount: status.restartCount ?? 0,
    failures: of === 'image' ? 0 : (backoff?.attempt ?? 0),
    imageFailures: of === 'image' ? (backoff?.attempt ?? 0) : 0,
    seenStartMs: ms(status.startedAt),
    seenExitMs: finishedAtMs,
    lastTermination:
      last === undefined || finishedAtMs === undefined
        ? undefined
        : {
            // The schema leaves the reason open; a word that is not ours reads as Error.
            reason: terminationReasons.find((reason) => reason === last.reason) ?? 'Error',
            message: last.message,
            exitCode: last.exitCode ?? 0,
            signal: last.signal,
            startedAtMs: ms(last.startedAt),
            finishedAtMs,
          },
    retry:
      nextRestartAtMs === undefined || backoff === undefined
        ? undefined
        : {
            atMs: nextRestartAtMs,
            delayMs: (backoff.delaySeconds ?? 0) * 1000,
            attempt: backoff.attempt ?? 1,
            of,
            reason: status.reason ?? 'CrashLoopBackOff',
            message: status.message ?? '',
          },
    final:
      status.state === 'Exited' && status.reason !== undefined && finalReasons.has(status.reason)
        ? { reason: status.reason, message: status.message ?? '' }
        : undefined,
    basis:
      generation !== undefined && status.observedGeneration !== generation
        ? { spec: 'an earlier one', policy: 'an earlier one' }
        : undefined,
    isHalted: status.state === 'Exited' && status.reason === 'Stopped',
    lastSignal:
      status.lastSignal?.request === undefined
        ? undefined
        : {
            request: status.lastSignal.request,
            signal: status.lastSignal.signal,
            atMs: ms(status.lastSignal.time) ?? 0,
            message: status.lastSignal.message ?? '',
          },
  };
}

const terminationReasons = ['Completed', 'Error', 'OOMKilled', 'StartError', 'ContainerStatusUnknown'] as const;
/** An Exited container may also wait for something; only these are the end. */
const finalReasons = new Set<string>([...terminationReasons, 'BackoffLimitExceeded']);
const imageReasons = new Set(['ErrImagePull', 'ImagePullBackOff', 'ErrImageNeverPull', 'InvalidImageName']);
const createReasons = new Set(['CreateContainerError', 'CreateContainerConfigError', 'HostPortConflict']);

function retryOf(reason: string | undefined): Retry['of'] {
  if (reason !== undefined && imageReasons.has(reason)) return 'image';
  return reason !== undefined && createReasons.has(reason) ? 'create' : 'start';
}

/** Takes note of what the runtime and the clock show: each new run and each new exit exactly once. */
export function accountFor(
  before: History,
  desired: Desired,
  container: ContainerInfo | undefined,
  nowMs: number,
): History {
  return accountForRest(accountForState(before, desired, container, nowMs), desired, container, nowMs);
}

/** A clock that was set back must not make the rest longer than asked for, so the earliest time seen counts. */
function accountForRest(
  history: History,
  desired: Desired,
  container: ContainerInfo | undefined,
  nowMs: number,
): History {
  const { final, lastTermination, restSinceMs } = history;
  const isIdle = container?.state.kind !== 'running';
  const isAtRest = isIdle && lastTermination !== undefined && (final !== undefined || !desired.shouldRun);
  const sinceMs = isAtRest ? Math.min(restSinceMs ?? Infinity, lastTermination.finishedAtMs, nowMs) : undefined;
  return sinceMs === restSinceMs ? history : { ...history, restSinceMs: sinceMs };
}

function accountForState(
  before: History,
  desired: Desired,
  container: ContainerInfo | undefined,
  nowMs: number,
): History {
  const history = reconsider(followClock(before, nowMs), desired, container, nowMs);
  const isIdle = container === undefined || container.state.kind !== 'running';
  // Asked to be stopped while it does not run: whatever it waited for or gave up on is over, and Running starts it at once.
  const halted: History =
    !desired.shouldRun && isIdle && (history.retry ?? history.final) !== undefined
      ? { ...history, retry: undefined, final: undefined, failures: 0, imageFailures: 0, isHalted: true }
      : history;
  if (container === undefined) return halted;
  const { state } = container;
  switch (state.kind) {
    case 'created':
      return halted;
    case 'running':
      return accountForRun(halted, desired, state, nowMs);
    case 'exited':
      return accountForExit(halted, desired, state, nowMs);
    default:
      throw new TypeError(`unknown state: ${JSON.stringify(state satisfies never)}`);
  }
}

/** A clock that was set back must not make a wait longer than it was chosen to be. Returns the same object if nothing changes. */
export function followClock(history: History, nowMs: number): History {
  const { retry, stop } = history;
  const isRetryLate = retry !== undefined && retry.atMs > nowMs + retry.delayMs;
  const isStopLate = stop !== undefined && stop.sinceMs > nowMs;
  if (!isRetryLate && !isStopLate) return history;
  return {
    ...history,
    retry: isRetryLate ? { ...retry, atMs: nowMs + retry.delayMs } : retry,
    stop: isStopLate ? { ...stop, sinceMs: nowMs, killAtMs: nowMs + (stop.killAtMs - stop.sinceMs) } : stop,
  };
}

function basisOf({ specHash, pullPolicy, restart, credentialsHash }: Desired): Basis {
  return { spec: hashOf({ specHash, pullPolicy }), policy: hashOf({ ...restart }), credentials: credentialsHash };
}

/** A wait or a verdict that came from another spec is thought over again. */
function reconsider(history: History, desired: Desired, container: ContainerInfo | undefined, nowMs: number): History {
  const { retry, final, basis, lastTermination } = history;
  if (retry === undefined && final === undefined) return history;
  const present = basisOf(desired);
  if (basis === undefined) return { ...history, basis: present };
  const isOtherSpec = basis.spec !== present.spec;
  const isOtherPolicy = basis.policy !== present.policy;
  // They may open what was closed to the old ones.
  if (retry?.of === 'image' && isOtherText(basis.credentials, present.credentials))
    return { ...history, retry: undefined, basis: undefined, imageFailures: 0 };
  if (!isOtherSpec && !isOtherPolicy)
    return basis.credentials === undefined && present.credentials !== undefined
      ? { ...history, basis: present }
      : history;
  // Nothing was made of the old spec yet, so its troubles are over. (A container that exists is replaced, see decide.ts.)
  if (isOtherSpec && container === undefined)
    return { ...history, retry: undefined, final: undefined, basis: undefined, failures: 0, imageFailures: 0 };
  const isAboutExit = final !== undefined || retry?.of === 'start';
  if (!isOtherPolicy || !isAboutExit || lastTermination === undefined) return { ...history, basis: present };
  const cleared: History = {
    ...history,
    retry: undefined,
    final: undefined,
    failures: Math.max(0, history.failures - 1),
  };
  return afterFailure(cleared, desired, failureFrom(lastTermination), nowMs);
}

/** Two that are known and differ. */
function isOtherText(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}

function accountForRun(
  history: History,
  desired: Desired,
  state: Extract<ContainerInfo['state'], { kind: 'running' }>,
  nowMs: number,
): History {
  const isNewRun = state.startedAtMs !== history.seenStartMs;
  // A long run clears the count while it lasts, so that status and metrics are right before it ends.
  const isLong = nowMs - state.startedAtMs >= desired.restart.backoff.resetAfterMs;
  if (!isNewRun && !(isLong && history.failures > 0)) return history;
  const isRestart = isNewRun && history.seenStartMs !== undefined && !history.isHalted;
  return {
    ...history,
    restartCount: history.restartCount + (isRestart ? 1 : 0),
    failures: isLong ? 0 : history.failures,
    imageFailures: 0,
    seenStartMs: state.startedAtMs,
    retry: undefined,
    final: undefined,
    basis: undefined,
    stop: isNewRun ? undefined : history.stop,
    isHalted: false,
  };
}

function accountForExit(
  history: History,
  desired: Desired,
  state: Extract<ContainerInfo['state'], { kind: 'exited' }>,
  nowMs: number,
): History {
  const finishedAtMs = Math.round(state.exit.finishedAtMs);
  if (finishedAtMs === history.seenExitMs) return history;
  const { startedAtMs } = state;
  // A run that began and ended between two looks was a run all the same.
  const isUnseenRun = startedAtMs !== undefined && startedAtMs !== history.seenStartMs;
  const isRestart = isUnseenRun && history.seenStartMs !== undefined && !history.isHalted;
  const termination = terminationOf(state, desired.config.limits);
  const { stop } = history;
  const seen: History = {
    ...history,
    restartCount: history.restartCount + (isRestart ? 1 : 0),
    seenStartMs: startedAtMs ?? history.seenStartMs,
    seenExitMs: finishedAtMs,
    lastTermination: termination,
    stop: undefined,
    restSinceMs: undefined,
  };
  const wasAskedFor = stop !== undefined && (!stop.isWithdrawn || finishedAtMs <= stop.killAtMs);
  if (wasAskedFor || !desired.shouldRun)
    return { ...seen, failures: 0, retry: undefined, final: undefined, basis: undefined, isHalted: true };
  return afterFailure(seen, desired, failureFrom(termination), nowMs);
}

/** The wish to stop was taken back while the process had not ended. */
export function withdrawStop(history: History): History {
  return history.stop === undefined || history.stop.isWithdrawn
    ? history
    : { ...history, stop: { ...history.stop, isWithdrawn: true } };
}

/** A start or creation that failed before there was a process. `exitCode`: as a shell would give it; undefined when the host, not the spec, is at fault. */
export interface StartFailure {
  readonly of: 'create' | 'start';
  readonly reason: string;
  readonly message: string;
  readonly exitCode: number | undefined;
  /** When the runtime says that it failed, so that it is known again after a restart of the controller. */
  readonly finishedAtMs?: number | undefined;
}

/** Takes note of a failed creation or start. A fault of the host is retried under every policy; a command that cannot run counts as an exit. */
export function accountForStartFailure(
  history: History,
  desired: Desired,
  failure: StartFailure,
  nowMs: number,
): History {
  const { of, reason, message, exitCode } = failure;
  const seenExitMs = failure.finishedAtMs ?? history.seenExitMs;
  if (exitCode === undefined) {
    const attempt = history.failures + 1;
    const delayMs = backoffDelayMs(desired.restart.backoff, attempt, drawFor(desired.containerID, 'host', attempt));
    const retry: Retry = { atMs: nowMs + delayMs, delayMs, attempt, of, reason, message };
    return { ...history, failures: attempt, seenExitMs, retry, basis: basisOf(desired) };
  }
  const finishedAtMs = failure.finishedAtMs ?? nowMs;
  const termination: Termination = { reason: 'StartError', message, exitCode, finishedAtMs };
  const seen: History = {
    ...history,
    lastTermination: termination,
    seenExitMs: finishedAtMs,
    isHalted: false,
    restSinceMs: undefined,
  };
  return afterFailure(seen, desired, { termination, ranForMs: 0, of, reason, message }, nowMs);
}

/** Takes note of an image that could not be fetched; the wait grows as between restarts. */
export function accountForImageFailure(
  history: History,
  desired: Desired,
  failure: { readonly reason: string; readonly message: string; readonly notBeforeMs?: number | undefined },
  nowMs: number,
): History {
  const { reason, message } = failure;
  const attempt = history.imageFailures + 1;
  const delayMs = Math.max(
    backoffDelayMs(desired.restart.backoff, attempt, drawFor(desired.containerID, 'image', attempt)),
    (failure.notBeforeMs ?? 0) - nowMs,
  );
  const retry: Retry = { atMs: nowMs + delayMs, delayMs, attempt, of: 'image', reason, message };
  return { ...history, imageFailures: attempt, retry, basis: basisOf(desired) };
}

/** After the container was taken away to be made anew from another spec: its troubles were the old spec's. */
export function accountForReplacement(history: History): History {
  return {
    restartCount: history.restartCount,
    failures: 0,
    imageFailures: 0,
    isHalted: false,
    lastTermination: history.lastTermination,
    lastSignal: history.lastSignal,
  };
}

interface Failure {
  readonly termination: Termination;
  readonly ranForMs: number;
  readonly of: Retry['of'];
  readonly reason: string;
  readonly message: string;
}

function failureFrom(termination: Termination): Failure {
  const { startedAtMs, finishedAtMs, reason } = termination;
  return {
    termination,
    ranForMs: startedAtMs === undefined ? 0 : Math.max(0, finishedAtMs - startedAtMs),
    of: 'start',
    reason: reason === 'StartError' ? 'RunContainerError' : 'CrashLoopBackOff',
    message: describe(termination),
  };
}

function afterFailure(history: History, desired: Desired, failure: Failure, nowMs: number): History {
  const { termination, of, reason, message } = failure;
  const { failures } = history;
  const restart = decideRestart({
    ...desired.restart,
    exit: { code: termination.exitCode, ranForMs: failure.ranForMs },
    failures,
    random: drawFor(desired.containerID, termination.finishedAtMs, failures),
  });
  const basis = basisOf(desired);
  if (restart.kind === 'after') {
    const { delayMs, attempt } = restart;
    // Counted from the exit, so that a controller that was away for a while does not add its absence to the wait.
    const atMs = Math.min(termination.finishedAtMs, nowMs) + delayMs;
    const retry: Retry = { atMs, delayMs, attempt, of, reason, message };
    return { ...history, failures: attempt, final: undefined, isHalted: false, retry, basis };
  }
  const { maxRetries } = desired.restart;
  const final =
    restart.because === 'RetriesUsedUp'
      ? {
          reason: 'BackoffLimitExceeded',
          message: `gave up after ${maxRetries} restarts in a row (spec.restart.maxRetries); the last: ${message}`,
        }
      : { reason: termination.reason, message };
  return { ...history, failures: restart.attempt, retry: undefined, final, isHalted: false, basis };
}

function terminationOf(state: Extract<ContainerInfo['state'], { kind: 'exited' }>, limits: Limits): Termination {
  const { exit, startedAtMs } = state;
  const base = { startedAtMs, finishedAtMs: Math.round(exit.finishedAtMs) };
  // 137 for an exit that nobody saw is the kubelet's choice too (ContainerStatusUnknown).
  if (exit.code < 0)
    return {
      ...base,
      reason: 'ContainerStatusUnknown',
      exitCode: 137,
      message: 'the container ended while nobody was there to see its exit code (reboot, or its monitor was killed)',
    };
  if (exit.oomKilled && exit.code !== 0)
    return {
      ...base,
      reason: 'OOMKilled',
      exitCode: exit.code,
      signal: exit.signal,
      message: describeMemoryKill('it', limits),
    };
  return { ...base, reason: exit.code === 0 ? 'Completed' : 'Error', exitCode: exit.code, signal: exit.signal };
}

/** What was killed for memory, of which limit, and what to do. */
export function describeMemoryKill(what: string, { memoryBytes, swapBytes }: Limits): string {
  if (memoryBytes === undefined) {
    return `the kernel killed ${what} because the host ran out of memory; set spec.resources.limits.memory where memory leaks, or give the host more`;
  }
  const swap = swapBytes === undefined || swapBytes === 0 ? '' : ` and ${formatQuantity(swapBytes)} of swap`;
  return `the kernel killed ${what} for using more than ${formatQuantity(memoryBytes)} of memory${swap} (spec.resources.limits.memory); raise the limit or use less`;
}

/** How a run ended, for people. */
export function describe(termination: Termination): string {
  if (termination.message !== undefined) return termination.message;
  return termination.signal === undefined
    ? `exited with code ${termination.exitCode}`
    : `killed by signal ${termination.signal}`;
}
