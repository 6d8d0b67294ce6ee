/**
 * What probes and hooks say about one run of a container: started, ready, failed. Pure: prober.ts asks and reports. Source of
 * the rules: the Pod API's Probe and Lifecycle, and the kubelet's prober.
 */
import type { HealthPlan, ProbeKind, ProbeSettings } from './probe-spec.ts';
import type { Unhealthy } from './restart.ts';

/** Of one probe or hook. warning: a success with something to tell. unknown: nothing was learnt, by no fault of the container. */
export interface ProbeOutcome {
  readonly result: 'success' | 'warning' | 'failure' | 'unknown';
  readonly message: string;
}

/** Why a run is to be ended. */
export interface HealthFailure {
  readonly by: Unhealthy;
  readonly message: string;
  /** undefined: the container's own. */
  readonly graceMs?: number | undefined;
}

export interface Health {
  /** Start of the run that it speaks of. */
  readonly runMs: number;
  readonly postStart: 'due' | 'done';
  readonly isStarted: boolean;
  readonly isReady: boolean;
  /** What the readiness probe said when it turned. */
  readonly unreadyMessage?: string | undefined;
  /** Final: the run is over when it is stopped. */
  readonly failure?: HealthFailure | undefined;
  /** Equal results in a row. */
  readonly streaks: Readonly<Partial<Record<ProbeKind, { readonly isSuccess: boolean; readonly count: number }>>>;
}

/** Of a run that has just begun. */
export function beginHealth(plan: HealthPlan, runMs: number): Health {
  return followPlan(plan, { runMs, postStart: 'due', isStarted: false, isReady: false, streaks: {} });
}

/** What is not asked for (any more) need not be waited for. Returns the same object if nothing changes. */
export function followPlan(plan: HealthPlan, health: Health): Health {
  const postStart = plan.postStart === undefined ? 'done' : health.postStart;
  const isStarted = health.isStarted || (postStart === 'done' && plan.startup === undefined);
  const isReady = isStarted && (health.isReady || plan.readiness === undefined);
  if (postStart === health.postStart && isStarted === health.isStarted && isReady === health.isReady) return health;
  return { ...health, postStart, isStarted, isReady };
}

/** The probes that are to be made now and again. */
export function dueProbes(plan: HealthPlan, health: Health): readonly ProbeKind[] {
  if (health.failure !== undefined || health.postStart === 'due') return [];
  const kinds: readonly ProbeKind[] = health.isStarted ? ['liveness', 'readiness'] : ['startup'];
  return kinds.filter((kind) => plan[kind] !== undefined);
}

/** How long until the next probe. `sinceLastMs`: since the last one began, on a clock that never jumps; undefined: there was none. */
export function probeDelayMs(
  { initialDelayMs, periodMs }: ProbeSettings,
  at: { readonly runMs: number; readonly nowMs: number; readonly sinceLastMs: number | undefined },
): number {
  if (at.sinceLastMs !== undefined) return Math.max(0, periodMs - at.sinceLastMs);
  // A clock that was set back must not make the delay longer than asked for.
  return Math.min(initialDelayMs, Math.max(0, at.runMs + initialDelayMs - at.nowMs));
}

/** Takes note of a probe's outcome; thresholds decide when it counts. One that comes too late changes nothing. */
export function afterProbe(plan: HealthPlan, health: Health, kind: ProbeKind, outcome: ProbeOutcome): Health {
  const settings = plan[kind];
  if (settings === undefined || outcome.result === 'unknown' || !dueProbes(plan, health).includes(kind)) return health;
  const isSuccess = outcome.result !== 'failure';
  const before = health.streaks[kind];
  const count = before?.isSuccess === isSuccess ? before.count + 1 : 1;
  const counted: Health = { ...health, streaks: { ...health.streaks, [kind]: { isSuccess, count } } };
  if (count < (isSuccess ? settings.successThreshold : settings.failureThreshold)) return counted;
  if (kind === 'readiness') {
    if (isSuccess) return { ...counted, isReady: true, unreadyMessage: undefined };
    const unreadyMessage =
      counted.isReady || counted.unreadyMessage === undefined ? outcome.message : counted.unreadyMessage;
    return { ...counted, isReady: false, unreadyMessage };
  }
  if (!isSuccess) {
    const message = `${kind} probe failed: ${outcome.message}`;
    const by = kind === 'startup' ? 'StartupProbe' : 'LivenessProbe';
    return { ...counted, isReady: false, failure: { by, message, graceMs: settings.graceMs } };
  }
  return kind === 'startup' ? followPlan(plan, { ...counted, isStarted: true }) : counted;
}

/** Takes note of what came of the postStart hook. unknown: it is due still. */
export function afterPostStart(plan: HealthPlan, health: Health, outcome: ProbeOutcome): Health {
  if (outcome.result === 'unknown' || health.postStart === 'done' || health.failure !== undefined) return health;
  if (outcome.result !== 'failure') return followPlan(plan, { ...health, postStart: 'done' });
  return { ...health, failure: { by: 'PostStartHook', message: `postStart hook failed: ${outcome.message}` } };
}

/** Whether others, or the status, see a difference. */
export function isNewHealth(before: Health, after: Health): boolean {
  return (
    before.postStart !== after.postStart ||
    before.isStarted !== after.isStarted ||
    before.isReady !== after.isReady ||
    before.unreadyMessage !== after.unreadyMessage ||
    before.failure !== after.failure
  );
}

const failedBy: readonly Unhealthy[] = ['LivenessProbe', 'StartupProbe', 'PostStartHook'];

/** The failure that describeUnready told of. */
export function parseFailure(reason: string, message: string): HealthFailure | undefined {
  const by = failedBy.find((one) => reason === `${one}Failed`);
  return by === undefined ? undefined : { by, message };
}

/** Of two memories of one run, the one that has gone further; the first, where they are alike. */
export function furtherHealth(one: Health | undefined, other: Health | undefined): Health | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  if (one.runMs !== other.runMs || one.failure !== undefined) return one;
  return other.failure !== undefined || (other.isStarted && !one.isStarted) ? other : one;
}

/** Why a running container is not ready; undefined if it is. */
export function describeUnready(health: Health | undefined): { reason: string; message: string } | undefined {
  if (health === undefined || (health.isReady && health.failure === undefined)) return undefined;
  if (health.failure !== undefined) return { reason: `${health.failure.by}Failed`, message: health.failure.message };
  if (health.postStart === 'due') return { reason: 'Starting', message: 'its postStart hook has not succeeded yet' };
  if (!health.isStarted) return { reason: 'Starting', message: 'its startup probe has not succeeded yet' };
  const message =
    health.unreadyMessage === undefined
      ? 'its readiness probe has not succeeded yet'
      : `readiness probe failed: ${health.unreadyMessage}`;
  return { reason: 'ReadinessProbeFailed', message };
}
