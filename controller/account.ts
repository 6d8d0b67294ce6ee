/** Takes note of what the runtime and the clock show: each new run and each new exit exactly once. Pure. */
import type { ContainerInfo, Exit } from '../runtime/index.ts';
import { accountForEnding, accountForEndingAnew, basisOf } from './account-failures.ts';
import { type Desired, labelKeys } from './desired.ts';
import { accountForReplacement, anEarlierSpec, followClock, type History } from './history.ts';
import { emptyStreak, isLongRun } from './restart.ts';
import { ranForMsOf, terminationOf } from './termination.ts';

/** Returns the same object if there is nothing new. */
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
  const own = accountForOtherSpec(before, desired, container);
  const history = reconsider(followClock(own, nowMs), desired, container, nowMs);
  const isIdle = container === undefined || container.state.kind !== 'running';
  // Asked to be stopped while it does not run: whatever it waited for or gave up on is over, and Running starts it at once.
  const halted: History =
    !desired.shouldRun && isIdle && (history.retry ?? history.final) !== undefined
      ? { ...history, ...emptyStreak, retry: undefined, final: undefined, isHalted: true }
      : history;
  if (container === undefined) return halted;
  const { state } = container;
  switch (state.kind) {
    case 'created':
      return halted;
    case 'running':
      return noteSpec(halted, accountForRun(halted, desired, state, nowMs), container);
    case 'exited':
      return noteSpec(halted, accountForExit(halted, desired, state, nowMs), container);
    default:
      throw new TypeError(`unknown state: ${JSON.stringify(state satisfies never)}`);
  }
}

/**
 * The container that was remembered made way for one of another spec, and the controller ended before it could write that
 * down: the first run of the new one is no restart.
 */
function accountForOtherSpec(history: History, desired: Desired, container: ContainerInfo | undefined): History {
  const { seenStartMs, seenSpec } = history;
  if (seenStartMs === undefined || seenSpec === undefined) return history;
  if (container === undefined && desired.problem !== undefined) return history;
  const present = container === undefined ? desired.specHash : container.labels[labelKeys.specHash];
  if (present === undefined || present === seenSpec) return history;
  const isSame = seenSpec === anEarlierSpec && container !== undefined && container.createdAtMs <= seenStartMs;
  return isSame ? { ...history, seenSpec: present } : accountForReplacement(history);
}

/** A wait or a verdict that came from another spec is thought over again, so that a mended spec counts at once. */
function reconsider(history: History, desired: Desired, container: ContainerInfo | undefined, nowMs: number): History {
  const { retry, final, basis, lastTermination } = history;
  if (retry === undefined && final === undefined) return history;
  const present = basisOf(desired);
  if (basis === undefined) return { ...history, basis: present };
  const isOtherSpec = basis.spec !== present.spec;
  const isOtherPolicy = basis.policy !== present.policy;
  // They may open what was closed to the old ones.
  if (retry?.of === 'image' && isOther(basis.credentials, present.credentials))
    return { ...history, retry: undefined, basis: undefined, imageFailures: 0 };
  if (!isOtherSpec && !isOtherPolicy)
    return basis.credentials === undefined && present.credentials !== undefined
      ? { ...history, basis: present }
      : history;
  // Nothing was made of the old spec yet, so its troubles are over. (A container that exists is replaced, see decide.ts.)
  if (isOtherSpec && container === undefined)
    return { ...history, ...emptyStreak, retry: undefined, final: undefined, basis: undefined };
  // What the host could not do, it tries at once: the new spec may ask for less, or less patience.
  if (retry?.isHostFault === true) return { ...history, retry: undefined, basis: undefined };
  if (lastTermination === undefined) return { ...history, basis: present };
  // What it died of may have been changed in place, so the count begins anew; a mere policy is applied to the count.
  if (isOtherSpec) {
    const cleared: History = { ...history, ...emptyStreak, retry: undefined };
    return accountForEndingAnew(cleared, desired, lastTermination, nowMs);
  }
  return accountForEndingAnew(history, desired, lastTermination, nowMs);
}

/** Two that are known and differ. */
function isOther<T>(a: T | undefined, b: T | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}

/** What a run that is new was made from. */
function noteSpec(before: History, after: History, { labels }: ContainerInfo): History {
  return after.seenStartMs === before.seenStartMs ? after : { ...after, seenSpec: labels[labelKeys.specHash] };
}

function accountForRun(
  history: History,
  desired: Desired,
  state: Extract<ContainerInfo['state'], { kind: 'running' }>,
  nowMs: number,
): History {
  const isNewRun = state.startedAtMs !== history.seenStartMs;
  const sinceMs = Math.min(state.startedAtMs, nowMs, isNewRun ? Infinity : (history.runSinceMs ?? Infinity));
  const runSinceMs = sinceMs === state.startedAtMs ? undefined : sinceMs;
  // A long run clears the count while it lasts, so that status and metrics are right before it ends.
  const isLong = isLongRun(desired.restart.backoff, nowMs - sinceMs);
  const isClearing = isLong && history.failures > 0;
  if (!isNewRun && !isClearing) return runSinceMs === history.runSinceMs ? history : { ...history, runSinceMs };
  const isRestart = isNewRun && history.seenStartMs !== undefined && !history.isHalted;
  const { failures, failingMs } = isLong ? emptyStreak : history;
  return {
    ...history,
    ...{ failures, failingMs, hostFailures: 0, imageFailures: 0 },
    restartCount: history.restartCount + (isRestart ? 1 : 0),
    seenStartMs: state.startedAtMs,
    runSinceMs,
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
  const { startedAtMs } = state;
  // Two runs may end at one time, of a clock that was set back between them.
  if (finishedAtMs === history.seenExitMs && !isOther(startedAtMs, history.lastTermination?.startedAtMs))
    return history;
  // A run that began and ended between two looks was a run all the same.
  const isUnseenRun = startedAtMs !== undefined && startedAtMs !== history.seenStartMs;
  const isRestart = isUnseenRun && history.seenStartMs !== undefined && !history.isHalted;
  const { stop } = history;
  const isOurs = stop !== undefined && (!stop.isWithdrawn || finishedAtMs <= stop.killAtMs);
  const { health } = history;
  const failed = health?.runMs === startedAtMs ? health?.failure : undefined;
  // Without a stop that is remembered it is one all the same: the controller ended in between, or the process was quicker.
  const unhealthy = isOurs ? stop.unhealthy : failed;
  const termination = terminationOf(state, desired, unhealthy);
  const seen: History = {
    ...history,
    restartCount: history.restartCount + (isRestart ? 1 : 0),
    seenStartMs: startedAtMs ?? history.seenStartMs,
    runSinceMs: undefined,
    seenExitMs: finishedAtMs,
    lastTermination: termination,
    stop: undefined,
    restSinceMs: undefined,
  };
  const sinceMs = isUnseenRun ? finishedAtMs : (history.runSinceMs ?? finishedAtMs);
  const ranForMs = Math.max(ranForMsOf(termination), finishedAtMs - sinceMs);
  const isAsked = (isOurs && unhealthy === undefined) || isOnlyMonitor(state.exit, desired, ranForMs);
  return accountForEnding(seen, desired, { termination, asked: isAsked ? true : undefined, ranForMs }, nowMs);
}

/**
 * Its monitor was killed, so it had to be ended, to start anew: that is no failure of its own. One that may run but once
 * is not started, and where monitors die again and again at once, the backoff counts all the same.
 */
function isOnlyMonitor({ drift }: Exit, { restart }: Desired, ranForMs: number): boolean {
  return drift === 'monitor' && restart.policy !== 'Never' && ranForMs >= soundRunMs;
}

const soundRunMs = 10_000;
