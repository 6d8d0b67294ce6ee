/**
 * What the controller remembers of one container from one decision to the next. What it sees changes that in
 * account.ts, what fails in account-failures.ts; a new controller begins with history-from-status.ts. Pure.
 */
import type { StartedWith } from './dependencies.ts';
import type { Health } from './health.ts';
import { emptyStreak, type Streak, type Unhealthy } from './restart.ts';
import type { SignalReport } from './signal-request.ts';
import type { Termination } from './termination.ts';

/** A wait before the next try. */
export interface Retry {
  readonly atMs: number;
  readonly delayMs: number;
  /** How many times in a row it went wrong. */
  readonly attempt: number;
  /** What is tried again: fetching the image, creating, or starting (after an exit or a failed start). */
  readonly of: 'image' | 'create' | 'start';
  /** It is the host's fault, or the registry's: nothing that the program did, so no policy forbids the next try. */
  readonly isHostFault: boolean;
  readonly reason: string;
  readonly message: string;
}

/** A stop under way; SIGKILL is due at killAtMs. */
export interface Stop {
  readonly sinceMs: number;
  readonly killAtMs: number;
  /** The wish was taken back before the process ended: no SIGKILL, and a later stop begins anew. */
  readonly isWithdrawn: boolean;
  /** Its preStop hook is under way; no signal was sent yet. */
  readonly awaitsPreStop?: true | undefined;
  /** The run is ended as a failed one: its end is an ending of kind unhealthy (restart.ts), not a stop that was asked for. */
  readonly unhealthy?: { readonly by: Unhealthy; readonly message: string } | undefined;
}

/** Digests of the parts of the spec that a wait or a verdict came from; another spec deserves another verdict. */
export interface Basis {
  readonly spec: string;
  readonly policy: string;
  /** undefined: without imagePullSecrets, or not known. */
  readonly credentials?: string | undefined;
}

export interface History extends Streak {
  readonly restartCount: number;
  /** Start of the last run that was seen, so that each run is counted once. */
  readonly seenStartMs?: number | undefined;
  /** Digest of the spec that the container of that run was made from, or anEarlierSpec; undefined: not known. */
  readonly seenSpec?: string | undefined;
  /** Since when the present run lasts at the least, on a clock that was set back during it. */
  readonly runSinceMs?: number | undefined;
  /** End of the last run that was seen, so that each exit is counted once. */
  readonly seenExitMs?: number | undefined;
  readonly lastTermination?: Termination | undefined;
  readonly retry?: Retry | undefined;
  /** There is no further start. */
  readonly final?: { readonly reason: string; readonly message: string } | undefined;
  /** What retry and final were decided from. */
  readonly basis?: Basis | undefined;
  /** It was stopped because its spec (or its deletion) asked for that. */
  readonly isHalted: boolean;
  readonly stop?: Stop | undefined;
  /** What probes and hooks say about the present run; undefined: nothing is asked. */
  readonly health?: Health | undefined;
  /** Of those that it is restarted with. */
  readonly startedWith?: StartedWith | undefined;
  /** Since when it has been down for good, on a clock that may have been set back since. */
  readonly restSinceMs?: number | undefined;
  /** What came of the last signal that was asked for. */
  readonly lastSignal?: SignalReport | undefined;
}

/** Of a status that was written for an earlier generation of the object: it may be the same spec or another. */
export const anEarlierSpec = 'an earlier one';

export const emptyHistory: History = { ...emptyStreak, restartCount: 0, isHalted: false };

/** The reasons of giving up what should run: somebody has to look. Of a Job's words, where it has one. */
export const giveUpReasons = {
  RetriesUsedUp: 'BackoffLimitExceeded',
  DurationUsedUp: 'DeadlineExceeded',
  Fatal: 'FatalExitCode',
} as const;

/** Whether a container that is down for good should run, were it not for what went wrong. */
export function hasGivenUp({ final }: Pick<History, 'final'>): boolean {
  return Object.values<string>(giveUpReasons).includes(final?.reason ?? '');
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

/** The wish to stop was taken back while the process had not ended. */
export function withdrawStop(history: History): History {
  const { stop } = history;
  if (stop === undefined || stop.isWithdrawn) return history;
  return { ...history, stop: stop.awaitsPreStop === true ? undefined : { ...stop, isWithdrawn: true } };
}

/** After the container was taken away to be made anew from another spec: its troubles were the old spec's. */
export function accountForReplacement(history: History): History {
  return {
    ...emptyHistory,
    restartCount: history.restartCount,
    lastTermination: history.lastTermination,
    lastSignal: history.lastSignal,
  };
}
