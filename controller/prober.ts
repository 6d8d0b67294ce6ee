/**
 * Probes containers and runs their hooks, each on its own timer, beside the reconciliations, which only ask what is known.
 * The rules are in health.ts, the single probe in probe-actions.ts. Effects.
 */
import type { Logger } from 'pino';
import type { Container } from '../crds/index.ts';
import type { Runtime } from '../runtime/index.ts';
import { keyOf } from './desired.ts';
import type { EventRecorder } from './events.ts';
import {
  afterPostStart,
  afterProbe,
  beginHealth,
  dueProbes,
  followPlan,
  type Health,
  isNewHealth,
  type ProbeOutcome,
  probeDelayMs,
} from './health.ts';
import { runAction } from './probe-actions.ts';
import type { ProbeMetrics } from './probe-metrics.ts';
import type { Action, HealthPlan, ProbeKind, ProbeSettings } from './probe-spec.ts';
import { Slots } from './slots.ts';

export interface ProberDeps {
  readonly exec: Runtime['containers']['exec'];
  readonly events: EventRecorder;
  readonly metrics: ProbeMetrics;
  /** What is known of this key's container has changed. */
  readonly wake: (key: string) => void;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Logger;
}

/** A running container, as it is and should be. */
export interface ProbeTarget {
  readonly object: Container;
  readonly containerID: string;
  /** undefined: as it was, since the spec cannot be carried out. */
  readonly plan: HealthPlan | undefined;
  readonly runMs: number;
  readonly ip: string | undefined;
  /** Frozen, or about to be stopped: nothing is asked of it. */
  readonly isIdle: boolean;
  /** What an earlier controller, or this one, knew of it. */
  readonly remembered: Health | undefined;
  /** Values to be told to nobody. */
  readonly secrets: readonly string[];
}

export interface PreStopRequest {
  readonly key: string;
  /** To whom a failure is told; undefined: it is gone, and the log is. */
  readonly object: Container | undefined;
  readonly containerID: string;
  readonly ip: string | undefined;
  readonly action: Action;
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
}

export type HookState = 'idle' | 'running' | 'done';

export interface Prober {
  /** Takes note of how a running container is now, and tells what is known of its run; undefined: nothing is asked of it. */
  observe(target: ProbeTarget): Health | undefined;
  /** It does not run (any more). */
  ended(containerID: string): void;
  /** Its object is gone. */
  forget(key: string, containerID: string): void;
  /** Begins a preStop hook, unless it is under way, and wakes the key when it has ended. */
  startPreStop(request: PreStopRequest): void;
  preStopState(containerID: string): HookState;
  /** Gives up all probes and hooks. */
  close(): Promise<void>;
}

/** A postStart hook that takes longer has failed. Kubernetes has no limit. */
const postStartTimeoutMs = 600_000;
/** Probes and hooks of one sort at once. Those that were slow the last time have places of their own, and keep nobody waiting. */
const places = { exec: { quick: 32, slow: 16 }, net: { quick: 256, slow: 128 } } as const;
const slowMs = 1_000;
/** After a hook that could not be carried out by no fault of its own. */
const hookRetryMs = 1_000;

interface Turn {
  timer?: NodeJS.Timeout | undefined;
  isUnderWay: boolean;
  /** On a clock that never jumps. */
  lastBegunMs?: number | undefined;
  isSlow: boolean;
  settings: ProbeSettings;
}

interface Run {
  target: ProbeTarget;
  plan: HealthPlan;
  health: Health;
  readonly turns: Map<ProbeKind, Turn>;
  readonly stop: AbortController;
  hasPostStart: boolean;
}

export function createProber(deps: ProberDeps): Prober {
  const { events, metrics, wake, now, random, log } = deps;
  const runs = new Map<string, Run>();
  const preStops = new Map<string, { state: HookState; readonly stop: AbortController }>();
  const underWay = new Set<Promise<void>>();
  const lanes = {
    exec: { quick: new Slots(places.exec.quick), slow: new Slots(places.exec.slow) },
    net: { quick: new Slots(places.net.quick), slow: new Slots(places.net.slow) },
  };

  const keep = (work: Promise<void>): void => {
    const guarded = work
      .catch((error: unknown) => log.error({ err: error }, 'a probe ended in an error of its own'))
      .finally(() => underWay.delete(guarded));
    underWay.add(guarded);
  };
  const isCurrent = (run: Run): boolean => runs.get(run.target.containerID) === run && !run.stop.signal.aborted;
  const carryOut = (
    request: Pick<PreStopRequest, 'action' | 'containerID' | 'ip' | 'timeoutMs' | 'secrets'>,
    stop: AbortController,
  ): Promise<ProbeOutcome> => runAction(request, deps, stop.signal);
  const change = (run: Run, health: Health): void => {
    const before = run.health;
    run.health = health;
    schedule(run);
    if (!isNewHealth(before, health)) return;
    const { object } = run.target;
    if (health.failure !== undefined && before.failure === undefined) {
      const { by, message } = health.failure;
      if (by === 'PostStartHook') events.record(object, 'Warning', 'FailedPostStartHook', message);
    }
    wake(keyOf(object));
  };

  const probe = async (run: Run, kind: ProbeKind, turn: Turn): Promise<void> => {
    const { action, timeoutMs } = turn.settings;
    const lane = lanes[action.kind === 'exec' ? 'exec' : 'net'][turn.isSlow ? 'slow' : 'quick'];
    await lane.run(async () => {
      turn.lastBegunMs = performance.now();
      if (!isCurrent(run) || run.target.isIdle) return;
      const outcome = await carryOut({ ...run.target, action, timeoutMs }, run.stop);
      const tookMs = performance.now() - turn.lastBegunMs;
      turn.isSlow = tookMs >= slowMs;
      if (!isCurrent(run) || run.target.isIdle) return;
      metrics.probed(keyOf(run.target.object), kind, outcome.result, tookMs);
      tell(run, kind, outcome);
      change(run, afterProbe(run.plan, run.health, kind, outcome));
    });
  };
  const tell = ({ target: { object } }: Run, kind: ProbeKind, { result, message }: ProbeOutcome): void => {
    const title = `${kind.charAt(0).toUpperCase()}${kind.slice(1)} probe`;
    if (result === 'failure') events.record(object, 'Warning', 'Unhealthy', `${title} failed: ${message}`);
    else if (result === 'unknown') events.record(object, 'Warning', 'Unhealthy', `${title} errored: ${message}`);
    else if (result === 'warning') events.record(object, 'Warning', 'ProbeWarning', `${title} warning: ${message}`);
  };

  const schedule = (run: Run): void => {
    const due = run.target.isIdle || run.stop.signal.aborted ? [] : dueProbes(run.plan, run.health);
    for (const [kind, turn] of run.turns) {
      if (due.includes(kind)) continue;
      clearTimeout(turn.timer);
      turn.timer = undefined;
      if (!turn.isUnderWay) run.turns.delete(kind);
    }
    for (const kind of due) {
      const settings = run.plan[kind];
      if (settings === undefined) continue;
      const turn = run.turns.get(kind) ?? { isUnderWay: false, isSlow: false, settings };
      run.turns.set(kind, turn);
      // Other settings count from the last probe on.
      if (turn.settings !== settings) {
        clearTimeout(turn.timer);
        turn.timer = undefined;
      }
      turn.settings = settings;
      if (turn.isUnderWay || turn.timer !== undefined) continue;
      const sinceLastMs = turn.lastBegunMs === undefined ? undefined : performance.now() - turn.lastBegunMs;
      const delayMs = probeDelayMs(settings, { runMs: run.target.runMs, nowMs: now(), sinceLastMs });
      // After a restart of this process all would be asked at once.
      const isAdopted =
        sinceLastMs === undefined && now() - run.target.runMs > settings.initialDelayMs + settings.periodMs;
      const spreadMs = isAdopted ? random() * Math.min(settings.periodMs, 10_000) : 0;
      turn.timer = setTimeout(() => {
        turn.timer = undefined;
        turn.isUnderWay = true;
        const work = probe(run, kind, turn).finally(() => {
          turn.isUnderWay = false;
          if (isCurrent(run)) schedule(run);
        });
        keep(work);
      }, delayMs + spreadMs);
    }
  };

  const runPostStart = async (run: Run, action: Action): Promise<void> => {
    const outcome = await carryOut({ ...run.target, action, timeoutMs: postStartTimeoutMs }, run.stop);
    if (!isCurrent(run)) return;
    if (outcome.result === 'unknown') {
      log.warn({ container: keyOf(run.target.object), reason: outcome.message }, 'a postStart hook is tried again');
      setTimeout(() => {
        run.hasPostStart = false;
        if (isCurrent(run)) wake(keyOf(run.target.object));
      }, hookRetryMs).unref();
      return;
    }
    change(run, afterPostStart(run.plan, run.health, outcome));
  };
  const ended = (id: string): void => {
    end(id);
    preStops.get(id)?.stop.abort(new Error('the run is over'));
    preStops.delete(id);
  };
  const end = (id: string): void => {
    const run = runs.get(id);
    if (run === undefined) return;
    runs.delete(id);
    run.stop.abort(new Error('the run is over'));
    for (const { timer } of run.turns.values()) clearTimeout(timer);
  };
  const begin = (target: ProbeTarget, plan: HealthPlan): Run => {
    const { remembered, runMs } = target;
    const health = remembered?.runMs === runMs ? remembered : beginHealth(plan, runMs);
    const run: Run = {
      ...{ target, plan, health, turns: new Map(), stop: new AbortController() },
      hasPostStart: false,
    };
    runs.set(target.containerID, run);
    return run;
  };

  return {
    observe: (target) => {
      const { containerID, runMs } = target;
      const known = runs.get(containerID);
      const plan = target.plan ?? known?.plan ?? {};
      if (known !== undefined && known.target.runMs !== runMs) ended(containerID);
      if (!hasWork(plan)) {
        end(containerID);
        return undefined;
      }
      const run = runs.get(containerID) ?? begin(target, plan);
      run.target = target;
      run.plan = samePlan(run.plan, plan);
      run.health = followPlan(run.plan, run.health);
      if (plan.postStart !== undefined && run.health.postStart === 'due' && !run.hasPostStart && !target.isIdle) {
        run.hasPostStart = true;
        keep(runPostStart(run, plan.postStart));
      }
      schedule(run);
      return run.health;
    },
    ended,
    forget: (key, containerID) => {
      ended(containerID);
      metrics.forget(key);
    },
    startPreStop: (request) => {
      const { key, object, containerID } = request;
      if (preStops.get(containerID)?.state === 'running') return;
      const hook: { state: HookState; readonly stop: AbortController } = {
        state: 'running',
        stop: new AbortController(),
      };
      preStops.set(containerID, hook);
      const work = async (): Promise<void> => {
        const { result, message } = await carryOut(request, hook.stop);
        hook.state = 'done';
        if (hook.stop.signal.aborted) return;
        if (result === 'failure' || result === 'unknown') {
          // Which secrets a container has whose object is gone nobody knows, so nothing is told of what its hook said.
          const reason = object === undefined ? undefined : message;
          log.warn({ container: key, containerID, reason }, 'a preStop hook failed');
          if (object !== undefined)
            events.record(object, 'Warning', 'FailedPreStopHook', `preStop hook failed: ${message}`);
        }
        wake(key);
      };
      keep(work());
    },
    preStopState: (containerID) => preStops.get(containerID)?.state ?? 'idle',
    close: async () => {
      for (const id of [...runs.keys(), ...preStops.keys()]) ended(id);
      await Promise.all(underWay);
    },
  };
}

/** Whether a run is to be followed; the preStop hook is another matter. */
function hasWork({ startup, liveness, readiness, postStart }: HealthPlan): boolean {
  return (startup ?? liveness ?? readiness ?? postStart) !== undefined;
}

/** The old plan's members where they say the same, so that a turn knows whether its settings changed. */
function samePlan(before: HealthPlan, after: HealthPlan): HealthPlan {
  const same = <T>(a: T, b: T): T => (JSON.stringify(a) === JSON.stringify(b) ? a : b);
  return {
    startup: same(before.startup, after.startup),
    liveness: same(before.liveness, after.liveness),
    readiness: same(before.readiness, after.readiness),
    postStart: after.postStart,
    preStop: after.preStop,
  };
}
