/** Metrics of probes, under the kubelet's names. Effects on the registry passed in. Series of a container go when it goes. */
import { Counter, Histogram, type Registry } from 'prom-client';
import type { ProbeOutcome } from './health.ts';
import type { ProbeKind } from './probe-spec.ts';

export interface ProbeMetrics {
  /** key: namespace/name. */
  probed(key: string, kind: ProbeKind, result: ProbeOutcome['result'], tookMs: number): void;
  forget(key: string): void;
}

/** Most containers that get series of their own, so that Prometheus is never flooded. */
const maxContainerSeries = 1_000;
const kinds: readonly ProbeKind[] = ['startup', 'liveness', 'readiness'];
const results = ['successful', 'failed', 'unknown'] as const;

export function createProbeMetrics(registry: Registry): ProbeMetrics {
  const registers = [registry];
  const total = new Counter({
    name: 'prober_probe_total',
    help: 'Probes of containers by result.',
    labelNames: ['probe_type', 'result', 'namespace', 'container', 'pod'],
    registers,
  });
  const duration = new Histogram({
    name: 'prober_probe_duration_seconds',
    help: 'How long probes take.',
    labelNames: ['probe_type'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  const withSeries = new Set<string>();
  const labelsOf = (key: string): { namespace: string; container: string; pod: string } => {
    const [namespace = '', container = ''] = key.split('/');
    return { namespace, container, pod: container };
  };
  return {
    probed: (key, kind, result, tookMs) => {
      duration.observe({ probe_type: kind }, tookMs / 1000);
      if (!withSeries.has(key) && withSeries.size >= maxContainerSeries) return;
      withSeries.add(key);
      const word = result === 'failure' ? 'failed' : result === 'unknown' ? 'unknown' : 'successful';
      total.inc({ probe_type: kind, result: word, ...labelsOf(key) });
    },
    forget: (key) => {
      if (!withSeries.delete(key)) return;
      for (const probe_type of kinds)
        for (const result of results) total.remove({ probe_type, result, ...labelsOf(key) });
    },
  };
}
