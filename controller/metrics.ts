/**
 * The controller's metrics, under the names of controller-runtime and client-go where those have one, so that existing
 * dashboards work. Effects on the registry passed in. Series of a container go when it goes.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { driftKinds } from '../runtime/index.ts';
import type { BreakerState } from './breakers.ts';

/** Most containers that get series of their own: beyond it only totals are kept, so that Prometheus is never flooded. */
const maxContainerSeries = 1_000;
/** What a watch most often ends with; a counter that is there from the start also shows its first increase. */
const reconnectReasons = [
  'ended',
  'expired',
  'silence',
  'connection',
  'list-failed',
  'bad-event',
  'handler-failed',
  'doubt',
];
const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface QueueMetrics {
  added(): void;
  retried(): void;
  handed(waitedMs: number): void;
  worked(tookMs: number): void;
  observe(queue: { depth(): number; workingSinceMs(): readonly number[]; now(): number }): void;
}

export function createQueueMetrics(registry: Registry, name: string): QueueMetrics {
  const registers = [registry];
  const labelNames = ['name'] as const;
  const adds = new Counter({ name: 'workqueue_adds_total', help: 'Adds to the work queue.', labelNames, registers });
  const retries = new Counter({
    name: 'workqueue_retries_total',
    help: 'Retries after errors.',
    labelNames,
    registers,
  });
  const waits = new Histogram({
    name: 'workqueue_queue_duration_seconds',
    help: 'How long a key waits in the queue.',
    labelNames,
    buckets: secondsBuckets,
    registers,
  });
  const work = new Histogram({
    name: 'workqueue_work_duration_seconds',
    help: 'How long working on a key takes.',
    labelNames,
    buckets: secondsBuckets,
    registers,
  });
  adds.inc({ name }, 0);
  retries.inc({ name }, 0);
  return {
    added: () => adds.inc({ name }),
    retried: () => retries.inc({ name }),
    handed: (waitedMs) => waits.observe({ name }, waitedMs / 1000),
    worked: (tookMs) => work.observe({ name }, tookMs / 1000),
    observe: (queue) => {
      new Gauge({
        name: 'workqueue_depth',
        help: 'Keys that wait.',
        labelNames,
        registers,
        collect() {
          this.set({ name }, queue.depth());
        },
      });
      new Gauge({
        name: 'workqueue_unfinished_work_seconds',
        help: 'Time spent on work that is not done yet.',
        labelNames,
        registers,
        collect() {
          this.set({ name }, queue.workingSinceMs().reduce((sum, since) => sum + queue.now() - since, 0) / 1000);
        },
      });
      new Gauge({
        name: 'workqueue_longest_running_processor_seconds',
        help: 'How long the longest running worker has run.',
        labelNames,
        registers,
        collect() {
          this.set({ name }, Math.max(0, ...queue.workingSinceMs().map((since) => queue.now() - since)) / 1000);
        },
      });
    },
  };
}

export interface RuntimeCallMetrics {
  /** A call has not ended within its deadline. */
  late(operation: string): void;
  /** How many of those go on. */
  observeLate(count: () => number): void;
}

export function createRuntimeCallMetrics(registry: Registry): RuntimeCallMetrics {
  const registers = [registry];
  const timeouts = new Counter({
    name: 'holdfast_runtime_call_timeouts_total',
    help: 'Calls of the container runtime that did not end within their deadline.',
    labelNames: ['operation'],
    registers,
  });
  for (const operation of ['create', 'start', 'remove', 'signal', 'inspect', 'list']) timeouts.inc({ operation }, 0);
  return {
    late: (operation) => timeouts.inc({ operation }),
    observeLate: (count) => {
      new Gauge({
        name: 'holdfast_runtime_calls_overdue',
        help: 'Calls of the container runtime that are past their deadline and go on; their containers wait for them.',
        registers,
        collect() {
          this.set(count());
        },
      });
    },
  };
}

export type ReconcileResult = 'success' | 'error' | 'requeue' | 'requeue_after';

/** What is reported of one container; undefined members have no series. */
export interface ContainerReport {
  readonly namespace: string;
  readonly container: string;
  readonly state: string;
  readonly isReady: boolean;
  readonly shouldRun: boolean;
  readonly backoffSeconds: number;
  readonly restartCount: number;
  readonly exitCode: number | undefined;
}

export interface ControllerMetrics {
  reconcileStarted(): (result: ReconcileResult) => void;
  report(key: string, container: ContainerReport): void;
  forget(key: string): void;
  breaker(name: string, state: BreakerState): void;
  watchReconnected(reason: string): void;
  watchActive(atMs: number): void;
  /** Something on the host was not as it was left; found by a relist. */
  drift(kind: string): void;
}

export function createControllerMetrics(registry: Registry, workers: number): ControllerMetrics {
  const registers = [registry];
  const controller = 'container';
  const total = new Counter({
    name: 'controller_runtime_reconcile_total',
    help: 'Reconciliations by result.',
    labelNames: ['controller', 'result'],
    registers,
  });
  const errors = new Counter({
    name: 'controller_runtime_reconcile_errors_total',
    help: 'Reconciliations that failed.',
    labelNames: ['controller'],
    registers,
  });
  const time = new Histogram({
    name: 'controller_runtime_reconcile_time_seconds',
    help: 'Time per reconciliation.',
    labelNames: ['controller'],
    buckets: secondsBuckets,
    registers,
  });
  let active = 0;
  new Gauge({
    name: 'controller_runtime_active_workers',
    help: 'Workers that work now.',
    labelNames: ['controller'],
    registers,
    collect() {
      this.set({ controller }, active);
    },
  });
  new Gauge({
    name: 'controller_runtime_max_concurrent_reconciles',
    help: 'Workers at most.',
    labelNames: ['controller'],
    registers,
  }).set({ controller }, workers);
  for (const result of ['success', 'error', 'requeue', 'requeue_after']) total.inc({ controller, result }, 0);
  errors.inc({ controller }, 0);

  const perContainer = ['namespace', 'container'] as const;
  const restarts = new Counter({
    name: 'holdfast_container_restarts_total',
    help: 'Restarts of a container.',
    labelNames: perContainer,
    registers,
  });
  const backoff = new Gauge({
    name: 'holdfast_container_backoff_seconds',
    help: 'The wait before the next restart; 0 when there is none.',
    labelNames: perContainer,
    registers,
  });
  const state = new Gauge({
    name: 'holdfast_container_state',
    help: '1 for the state a container is in.',
    labelNames: [...perContainer, 'state'],
    registers,
  });
  const ready = new Gauge({
    name: 'holdfast_container_ready',
    help: '1 when a container is ready.',
    labelNames: perContainer,
    registers,
  });
  const exitCode = new Gauge({
    name: 'holdfast_container_last_exit_code',
    help: 'Exit code of the last run that ended.',
    labelNames: perContainer,
    registers,
  });
  const reports = new Map<string, ContainerReport>();
  const withSeries = new Set<string>();
  new Gauge({
    name: 'holdfast_containers_desired_running',
    help: 'Containers that should run.',
    registers,
    collect() {
      this.set([...reports.values()].filter((one) => one.shouldRun).length);
    },
  });
  new Gauge({
    name: 'holdfast_containers_running',
    help: 'Containers that run.',
    registers,
    collect() {
      this.set([...reports.values()].filter((one) => one.state === 'Running').length);
    },
  });
  const breakerState = new Gauge({
    name: 'holdfast_circuit_breaker_state',
    help: '1 for the state a circuit breaker is in.',
    labelNames: ['breaker', 'state'],
    registers,
  });
  const reconnects = new Counter({
    name: 'holdfast_watch_reconnects_total',
    help: 'Watches that ended and were begun again, by reason.',
    labelNames: ['reason'],
    registers,
  });
  for (const reason of reconnectReasons) reconnects.inc({ reason }, 0);
  const activity = new Gauge({
    name: 'holdfast_watch_last_activity_timestamp_seconds',
    help: 'When the watch last brought an event or a bookmark.',
    registers,
  });
  const drifts = new Counter({
    name: 'holdfast_drift_total',
    help: 'What was found changed behind our back and put right, by kind.',
    labelNames: ['kind'],
    registers,
  });
  // One that is there from the start also shows its first increase.
  for (const kind of ['state', ...driftKinds]) drifts.inc({ kind }, 0);

  return {
    reconcileStarted: () => {
      active += 1;
      const observe = time.startTimer({ controller });
      return (result) => {
        observe();
        active -= 1;
        total.inc({ controller, result });
        if (result === 'error') errors.inc({ controller });
      };
    },
    report: (key, now) => {
      const before = reports.get(key);
      reports.set(key, now);
      if (before === undefined && withSeries.size < maxContainerSeries) withSeries.add(key);
      if (!withSeries.has(key)) return;
      const labels = { namespace: now.namespace, container: now.container };
      if (before !== undefined && before.state !== now.state) state.remove({ ...labels, state: before.state });
      state.set({ ...labels, state: now.state }, 1);
      ready.set(labels, now.isReady ? 1 : 0);
      backoff.set(labels, now.backoffSeconds);
      restarts.inc(labels, Math.max(0, now.restartCount - (before?.restartCount ?? now.restartCount)));
      if (now.exitCode !== undefined) exitCode.set(labels, now.exitCode);
    },
    forget: (key) => {
      const before = reports.get(key);
      if (before === undefined) return;
      reports.delete(key);
      if (!withSeries.delete(key)) return;
      const labels = { namespace: before.namespace, container: before.container };
      state.remove({ ...labels, state: before.state });
      for (const series of [ready, backoff, restarts, exitCode]) series.remove(labels);
    },
    breaker: (name, now) => {
      for (const state of ['closed', 'open', 'half_open']) {
        if (now === 'removed') breakerState.remove({ breaker: name, state });
        else breakerState.set({ breaker: name, state }, state === now ? 1 : 0);
      }
    },
    watchReconnected: (reason) => reconnects.inc({ reason }),
    watchActive: (atMs) => activity.set(atMs / 1000),
    drift: (kind) => drifts.inc({ kind }),
  };
}
