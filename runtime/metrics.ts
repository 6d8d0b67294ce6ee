/** Metrics of the runtime: how long its operations take, how many containers are in which state, the pool's size. */
import { Gauge, Histogram, type Registry } from 'prom-client';

export type Operation =
  | 'create'
  | 'start'
  | 'signal'
  | 'update'
  | 'pause'
  | 'resume'
  | 'remove'
  | 'exec'
  | 'debug'
  | 'view'
  | 'mount'
  | 'volumes'
  | 'oci_create'
  | 'publish'
  | 'network_attach'
  | 'recover';

export interface RuntimeMetrics {
  /** Measures one operation, also when it fails. */
  time<T>(operation: Operation, work: () => Promise<T>): Promise<T>;
  /** Takes the metrics out of the registry again. */
  close(): void;
}

export interface RuntimeMetricsDeps {
  readonly registry: Registry;
  countStates(): Readonly<Record<'created' | 'running' | 'exited', number>>;
  poolSize(): number;
}

const names = {
  duration: 'holdfast_runtime_operation_duration_seconds',
  containers: 'holdfast_runtime_containers',
  pool: 'holdfast_runtime_netns_pool_size',
};

export function createRuntimeMetrics({ registry, countStates, poolSize }: RuntimeMetricsDeps): RuntimeMetrics {
  const duration = new Histogram({
    name: names.duration,
    help: 'Time that operations of the container runtime took.',
    labelNames: ['operation', 'result'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1, 5, 30],
    registers: [registry],
  });
  new Gauge({
    name: names.containers,
    help: 'Containers on this host by the state the runtime sees.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      for (const [state, count] of Object.entries(countStates())) this.set({ state }, count);
    },
  });
  new Gauge({
    name: names.pool,
    help: 'Network namespaces that are attached and wait for a container.',
    registers: [registry],
    collect() {
      this.set(poolSize());
    },
  });
  return {
    async time(operation, work) {
      const startMs = performance.now();
      let result = 'error';
      try {
        const value = await work();
        result = 'success';
        return value;
      } finally {
        duration.observe({ operation, result }, (performance.now() - startMs) / 1_000);
      }
    },
    close() {
      for (const name of Object.values(names)) registry.removeSingleMetric(name);
    },
  };
}
