/** Takes note of what ended or could not begin: asks restart.ts what follows, and remembers that as a wait or as an end. Pure. */
import { drawFor } from '../client/index.ts';
import { type Desired, hashOf } from './desired.ts';
import { type Basis, giveUpReasons, type History, type Retry } from './history.ts';
import { decideRestart, type Ending, type GiveUp, type Restart } from './restart.ts';
import { describe, endingOf, ranForMsOf, type Termination } from './termination.ts';

/** What retries and verdicts are decided from, as it is now. */
export function basisOf({ specHash, pullPolicy, restart, credentialsHash, config }: Desired): Basis {
  // Limits are changed in place, and may be what it died of.
  const { limits } = config;
  return {
    spec: hashOf({ specHash, pullPolicy, limits }),
    policy: hashOf({ ...restart }),
    credentials: credentialsHash,
  };
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
  if (exitCode === undefined) {
    const seen: History = { ...history, seenExitMs: failure.finishedAtMs ?? history.seenExitMs };
    return accountForHostFault(seen, desired, { of, reason, message }, nowMs);
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
  return accountForEnding(seen, desired, { of, reason, termination }, nowMs);
}

/** Takes note of an image that could not be fetched; the wait grows as between restarts. */
export function accountForImageFailure(
  history: History,
  desired: Desired,
  failure: { readonly reason: string; readonly message: string; readonly notBeforeMs?: number | undefined },
  nowMs: number,
): History {
  return accountForHostFault(history, desired, { of: 'image', ...failure }, nowMs);
}

interface HostFault {
  readonly of: Retry['of'];
  readonly reason: string;
  readonly message: string;
  readonly notBeforeMs?: number | undefined;
}

function accountForHostFault(history: History, desired: Desired, fault: HostFault, nowMs: number): History {
  const { of, reason, message, notBeforeMs } = fault;
  const isImage = of === 'image';
  const count = 1 + (isImage ? history.imageFailures : history.hostFailures);
  const restart = decideRestart({
    ...basicInput(desired, nowMs),
    ending: { kind: 'host-fault', of, notBeforeMs },
    streak: history,
    random: drawFor(desired.containerID, isImage ? 'image' : 'host', count),
  });
  return note(history, desired, restart, { of, isHostFault: true, reason, message });
}

/** Takes note of the end of a run, or of a command that cannot run. `asked`: it was asked to stop. */
export function accountForEnding(
  history: History,
  desired: Desired,
  work: {
    readonly termination: Termination;
    readonly of?: Retry['of'];
    readonly reason?: string;
    readonly asked?: true | undefined;
    /** Longer than the termination tells, where the clock was set back meanwhile. */
    readonly ranForMs?: number;
  },
  nowMs: number,
): History {
  const { termination, of = 'start', asked } = work;
  const ending: Ending = asked ? { kind: 'stopped' } : endingOf(termination);
  const restart = decideRestart({
    ...basicInput(desired, nowMs),
    ending,
    ranForMs: work.ranForMs ?? ranForMsOf(termination),
    streak: history,
    random: drawFor(desired.containerID, termination.finishedAtMs, history.failures),
    endedAtMs: termination.finishedAtMs,
  });
  const reason = work.reason ?? (ending.kind === 'cannot-run' ? 'RunContainerError' : 'CrashLoopBackOff');
  return note(history, desired, restart, { of, isHostFault: false, reason, message: describe(termination) });
}

/** The same ending, looked at under another policy. */
export function accountForEndingAnew(
  history: History,
  desired: Desired,
  termination: Termination,
  nowMs: number,
): History {
  const { retry, failures, failingMs } = history;
  const failingBeforeMs = failingMs - (retry?.delayMs ?? 0) - ranForMsOf(termination);
  const before: History = {
    ...history,
    failures: Math.max(0, failures - 1),
    failingMs: failures > 1 ? Math.max(0, failingBeforeMs) : 0,
  };
  return accountForEnding(before, desired, { termination, of: retry?.of ?? 'start' }, nowMs);
}

function basicInput(
  { shouldRun, restart }: Desired,
  nowMs: number,
): Pick<Parameters<typeof decideRestart>[0], 'shouldRun' | 'rules' | 'ranForMs' | 'endedAtMs' | 'nowMs'> {
  return { shouldRun, rules: restart, ranForMs: 0, endedAtMs: nowMs, nowMs };
}

/** Remembers a decision. */
function note(
  history: History,
  desired: Desired,
  restart: Restart,
  about: Pick<Retry, 'of' | 'isHostFault' | 'reason' | 'message'>,
): History {
  const { streak } = restart;
  const after: History = { ...history, ...streak, retry: undefined, final: undefined, basis: undefined };
  if (restart.kind === 'down' && restart.because === 'Stopped') return { ...after, isHalted: true };
  if (restart.kind === 'again' && restart.attempt === 0) return { ...after, isHalted: true };
  const decided: History = { ...after, isHalted: false, basis: basisOf(desired) };
  if (restart.kind === 'down')
    return { ...decided, final: formatFinal(restart.because, desired, decided, about.message) };
  const { atMs, delayMs, attempt } = restart;
  const isHalted = about.isHostFault ? history.isHalted : false;
  return { ...decided, isHalted, retry: { atMs, delayMs, attempt, ...about } };
}

function formatFinal(because: GiveUp, desired: Desired, history: History, last: string): History['final'] {
  const { maxRetries, maxDurationMs = 0 } = desired.restart;
  switch (because) {
    case 'RetriesUsedUp':
      return {
        reason: giveUpReasons[because],
        message: `gave up after ${maxRetries} restarts in a row (spec.restart.maxRetries); the last: ${last}`,
      };
    case 'DurationUsedUp':
      return {
        reason: giveUpReasons[because],
        message: `gave up: the next start would come more than ${maxDurationMs / 1000}s after the first of ${history.failures} exits in a row (spec.restart.maxDuration); the last: ${last}`,
      };
    case 'Fatal':
      return { reason: giveUpReasons[because], message: `${last}, which spec.restart.exitCodes calls fatal` };
    case 'Completed':
      return { reason: 'Completed', message: last };
    case 'PolicyForbids':
    case 'Stopped':
      return { reason: history.lastTermination?.reason ?? 'Error', message: last };
    default:
      throw new TypeError(`unknown reason to give up: ${because satisfies never}`);
  }
}
