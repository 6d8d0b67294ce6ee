/** What a new controller can know of a container's past: from the status that an earlier one wrote. Pure. */
import type { ContainerStatus } from '../crds/index.ts';
import { type Health, parseFailure } from './health.ts';
import { anEarlierSpec, emptyHistory, giveUpReasons, type History, type Retry } from './history.ts';
import { emptyStreak, type Streak, type Unhealthy } from './restart.ts';
import type { Termination } from './termination.ts';

const terminationReasons = ['Completed', 'Error', 'OOMKilled', 'StartError', 'ContainerStatusUnknown'] as const;
const unhealthyWords: readonly Unhealthy[] = ['LivenessProbe', 'StartupProbe', 'PostStartHook'];
/** An Exited container may also wait for something; only these are the end. */
const finalReasons = new Set<string>([...terminationReasons, ...Object.values(giveUpReasons)]);
const imageReasons = new Set(['ErrImagePull', 'ImagePullBackOff', 'ErrImageNeverPull', 'InvalidImageName']);
const createReasons = new Set(['CreateContainerError', 'CreateContainerConfigError', 'HostPortConflict']);
const hostReasons = new Set([...createReasons, 'FailedMount', 'RuntimeCallTimeout']);

/**
 * Unknown or broken values are left out. `generation`: the object's; a status that speaks of an earlier one was written
 * for another spec.
 */
export function historyFromStatus(status: ContainerStatus | undefined, generation?: number): History {
  if (status === undefined) return emptyHistory;
  const { lastTermination: last, lastSignal } = status;
  const kind = kindOf(status);
  const startedAtMs = parseMs(status.startedAt);
  const isOfEarlier = generation !== undefined && status.observedGeneration !== generation;
  return {
    ...streakFrom(status, kind),
    restartCount: status.restartCount ?? 0,
    seenStartMs: startedAtMs,
    seenExitMs: parseMs(last?.finishedAt),
    lastTermination: terminationFrom(last),
    health: startedAtMs === undefined ? undefined : healthFrom(status, startedAtMs),
    retry: retryFrom(status, kind),
    final:
      status.state === 'Exited' && status.reason !== undefined && finalReasons.has(status.reason)
        ? { reason: status.reason, message: status.message ?? '' }
        : undefined,
    basis: isOfEarlier ? { spec: anEarlierSpec, policy: anEarlierSpec } : undefined,
    seenSpec: isOfEarlier ? anEarlierSpec : undefined,
    isHalted: status.state === 'Exited' && status.reason === 'Stopped',
    lastSignal:
      lastSignal?.request === undefined
        ? undefined
        : {
            request: lastSignal.request,
            signal: lastSignal.signal,
            atMs: parseMs(lastSignal.time) ?? 0,
            message: lastSignal.message ?? '',
          },
  };
}

function parseMs(time: string | undefined): number | undefined {
  const parsed = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(parsed) ? undefined : parsed;
}

/** What was started stays started: no startup probe and no postStart hook is made twice in a run. */
function healthFrom({ started = true, ready = true, conditions }: ContainerStatus, runMs: number): Health {
  const told = conditions?.find(({ type }) => type === 'Ready');
  const failure = told?.status === 'False' ? parseFailure(told.reason, told.message) : undefined;
  const postStart = started ? 'done' : 'due';
  return { runMs, postStart, isStarted: started, isReady: started && ready, failure, streaks: {} };
}

type Kind = Pick<Retry, 'of' | 'isHostFault'>;

/** What a wait with this reason is for. */
function kindOf({ reason = '', lastTermination }: ContainerStatus): Kind {
  if (imageReasons.has(reason)) return { of: 'image', isHostFault: true };
  const of = createReasons.has(reason) ? 'create' : 'start';
  // The one word is said of a command that cannot be run, and of a host that cannot run it.
  const isHostFault =
    hostReasons.has(reason) || (reason === 'RunContainerError' && lastTermination?.reason !== 'StartError');
  return { of, isHostFault };
}

function streakFrom({ backoff }: ContainerStatus, { of, isHostFault }: Kind): Streak {
  const attempt = backoff?.attempt ?? 0;
  return {
    ...emptyStreak,
    failures: isHostFault ? (backoff?.exits ?? 0) : attempt,
    failingMs: Math.round((backoff?.failingSeconds ?? 0) * 1000),
    ...(isHostFault ? { [of === 'image' ? 'imageFailures' : 'hostFailures']: attempt } : {}),
  };
}

function retryFrom(status: ContainerStatus, kind: Kind): History['retry'] {
  const { backoff, reason, message } = status;
  const atMs = parseMs(backoff?.nextRestartAt);
  if (atMs === undefined || backoff === undefined) return undefined;
  return {
    ...kind,
    atMs,
    delayMs: Math.round((backoff.delaySeconds ?? 0) * 1000),
    attempt: backoff.attempt ?? 1,
    reason: reason ?? 'CrashLoopBackOff',
    message: message ?? '',
  };
}

function terminationFrom(last: ContainerStatus['lastTermination']): Termination | undefined {
  const finishedAtMs = parseMs(last?.finishedAt);
  if (last === undefined || finishedAtMs === undefined) return undefined;
  return {
    // The schema leaves the reason open; a word that is not ours reads as Error.
    reason: terminationReasons.find((reason) => reason === last.reason) ?? 'Error',
    message: last.message,
    exitCode: last.exitCode ?? 0,
    signal: last.signal,
    startedAtMs: parseMs(last.startedAt),
    finishedAtMs,
    endedBy: unhealthyWords.find((word) => word === last.endedBy),
  };
}
