/**
 * The restart decision, whole: may this container start again, and when? All that decides about restarts asks here;
 * docs/restart-policy.md has it as a table, which a test walks. Pure. Durations in milliseconds.
 */
import { type Backoff, backoffDelayMs } from '../client/index.ts';
import { type ExitCodeRule, type Meaning, meaningOf } from './exit-codes.ts';

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never' | 'UnlessStopped';

/** What the spec says about restarts. */
export interface RestartRules {
  readonly policy: RestartPolicy;
  readonly backoff: Backoff;
  /** Give up when this many restarts in a row were of no use; undefined: never. */
  readonly maxRetries: number | undefined;
  /** Give up when it has gone on like this for so long; undefined: never. */
  readonly maxDurationMs: number | undefined;
  readonly exitCodes: readonly ExitCodeRule[];
}

/** Why a run was ended that is held for failed. */
export type Unhealthy = 'LivenessProbe' | 'StartupProbe' | 'PostStartHook';

/** How a run ended, or why it did not begin. */
export type Ending =
  /** The process ended by itself, or was killed by somebody else (a kill for memory, too). `code`: 128 + n after signal n. */
  | { readonly kind: 'exit'; readonly code: number; readonly signal?: number | undefined }
  /** It ended while nobody was there to see how. */
  | { readonly kind: 'unseen' }
  /** The host went down under it. */
  | { readonly kind: 'reboot' }
  /** It was ended because its probe or hook failed; that is a failure whatever its exit code. */
  | { readonly kind: 'unhealthy'; readonly by: Unhealthy }
  /** The command cannot be run. `code`: as a shell would give it. */
  | { readonly kind: 'cannot-run'; readonly code: number }
  /** The host could not fetch, create or start; nothing that the program did. `notBeforeMs`: a try before that would be in vain. */
  | {
      readonly kind: 'host-fault';
      readonly of: 'image' | 'create' | 'start';
      readonly notBeforeMs?: number | undefined;
    }
  /** It was asked to stop: by its desiredState, or to start anew. */
  | { readonly kind: 'stopped' };

/** What went wrong in a row. */
export interface Streak {
  /** Exits and commands that cannot be run, without a run of backoff.resetAfter in between. */
  readonly failures: number;
  /** How long those have gone on: runs and waits, as they were meant, so that no jump of the clock counts. */
  readonly failingMs: number;
  /** Faults of the host at creating or starting. */
  readonly hostFailures: number;
  /** Failed fetches of the image. */
  readonly imageFailures: number;
}

export const emptyStreak: Streak = { failures: 0, failingMs: 0, hostFailures: 0, imageFailures: 0 };

export interface RestartInput {
  /** desiredState is Running or Paused. */
  readonly shouldRun: boolean;
  readonly rules: RestartRules;
  readonly ending: Ending;
  /** 0 if there was no run. */
  readonly ranForMs: number;
  /** Before this ending. */
  readonly streak: Streak;
  /** 0 to 1, drawn by the caller from the history, so that the same history gives the same wait. */
  readonly random: number;
  readonly endedAtMs: number;
  readonly nowMs: number;
}

export type GiveUp = 'Stopped' | 'Completed' | 'PolicyForbids' | 'Fatal' | 'RetriesUsedUp' | 'DurationUsedUp';

/** `streak`: with this ending in it. */
export type Restart =
  | {
      readonly kind: 'again';
      readonly atMs: number;
      readonly delayMs: number;
      /** How often in a row; 0 if nothing went wrong. */
      readonly attempt: number;
      readonly streak: Streak;
    }
  | { readonly kind: 'down'; readonly because: GiveUp; readonly streak: Streak };

/** What follows an ending. Source of the rules: the CRD's desiredState, restartPolicy, restart and backoff. */
export function decideRestart(input: RestartInput): Restart {
  const { shouldRun, rules, ending, ranForMs, streak, random } = input;
  if (!shouldRun) return { kind: 'down', because: 'Stopped', streak: emptyStreak };
  // Neither did anything wrong. What is down for good by its policy stays so.
  const isBlameless = ending.kind === 'stopped' || (ending.kind === 'reboot' && rules.policy !== 'Never');
  if (isBlameless) return { kind: 'again', atMs: input.nowMs, delayMs: 0, attempt: 0, streak: emptyStreak };
  if (ending.kind === 'host-fault') return afterHostFault(input, ending);

  const isFirst = streak.failures === 0 || isLongRun(rules.backoff, ranForMs);
  const attempt = isFirst ? 1 : streak.failures + 1;
  const failingMs = isFirst ? 0 : streak.failingMs + ranForMs;
  const delayMs = backoffDelayMs(rules.backoff, attempt, random);
  const because = findEnd({
    rules,
    meaning: meaningOfEnding(rules, ending),
    attempt,
    untilStartMs: failingMs + delayMs,
  });
  const after: Streak = { failures: attempt, failingMs, hostFailures: 0, imageFailures: 0 };
  if (because !== undefined) return { kind: 'down', because, streak: after };
  const atMs = dueAtMs(input, delayMs);
  return { kind: 'again', atMs, delayMs, attempt, streak: { ...after, failingMs: failingMs + delayMs } };
}

/** Why there is no further start; undefined if there is one. */
function findEnd(work: {
  readonly rules: RestartRules;
  readonly meaning: Meaning;
  readonly attempt: number;
  /** From the first ending in the row to the start that would be next. */
  readonly untilStartMs: number;
}): GiveUp | undefined {
  const { rules, meaning, attempt, untilStartMs } = work;
  const { policy, maxRetries, maxDurationMs } = rules;
  if (meaning === 'fatal') return 'Fatal';
  if (meaning === 'success' && (policy === 'Never' || policy === 'OnFailure')) return 'Completed';
  if (policy === 'Never') return 'PolicyForbids';
  if (maxRetries !== undefined && attempt > maxRetries) return 'RetriesUsedUp';
  return maxDurationMs !== undefined && untilStartMs > maxDurationMs ? 'DurationUsedUp' : undefined;
}

/** Tried again under every policy and without end: nothing that the program did, and a host may heal. */
function afterHostFault(input: RestartInput, ending: Extract<Ending, { kind: 'host-fault' }>): Restart {
  const { rules, streak, random, nowMs } = input;
  const isImage = ending.of === 'image';
  const attempt = (isImage ? streak.imageFailures : streak.hostFailures) + 1;
  const leastMs = (ending.notBeforeMs ?? nowMs) - nowMs;
  const delayMs = Math.max(backoffDelayMs(rules.backoff, attempt, random), leastMs);
  const after: Streak = { ...streak, ...(isImage ? { imageFailures: attempt } : { hostFailures: attempt }) };
  return { kind: 'again', atMs: dueAtMs(input, delayMs), delayMs, attempt, streak: after };
}

/**
 * Counted from the ending, so that a controller that was away does not add its absence to the wait; an ending that
 * lies in the future, since the clock was set back, counts as one of now.
 */
function dueAtMs({ endedAtMs, nowMs }: Pick<RestartInput, 'endedAtMs' | 'nowMs'>, delayMs: number): number {
  return Math.min(endedAtMs, nowMs) + delayMs;
}

/** What the ending of a run means. Of what ended it from outside, or unseen, no exit code tells. */
export function meaningOfEnding({ exitCodes }: Pick<RestartRules, 'exitCodes'>, ending: Ending): Meaning {
  switch (ending.kind) {
    case 'exit':
    case 'cannot-run':
      return meaningOf(exitCodes, ending);
    case 'unseen':
    case 'reboot':
    case 'unhealthy':
    case 'host-fault':
      return 'failure';
    case 'stopped':
      return 'success';
    default:
      throw new TypeError(`unknown ending: ${JSON.stringify(ending satisfies never)}`);
  }
}

/** A run that clears what went wrong before it. */
export function isLongRun({ resetAfterMs }: Pick<Backoff, 'resetAfterMs'>, ranForMs: number): boolean {
  return ranForMs >= resetAfterMs;
}
