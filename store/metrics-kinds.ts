/**
 * PodMetrics and NodeMetrics (metrics.k8s.io), which kubectl top and dashboards read: as data. Pure. They are not stored:
 * metrics-api.ts measures when it is asked. Source of fields and columns: k8s.io/metrics, and metrics-server's printers.
 */
import * as containers from '../crds/index.ts';
import { column, core, root, text } from './core-kinds.ts';
import { getString, isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import { nodeStorageKey } from './node-kinds.ts';
import { nameColumn, type ResourceKind } from './resources.ts';
import type { OpenApiSchema } from './schema.ts';

const usage: OpenApiSchema = {
  type: 'object',
  description: 'Processor (cpu) in cores and memory in bytes.',
  additionalProperties: { 'x-kubernetes-int-or-string': true },
};

const measured: Readonly<Record<string, OpenApiSchema>> = {
  timestamp: { type: 'string', format: 'date-time', description: 'When the interval ended.' },
  window: text('How long the interval was.'),
};

const definition = (kind: string): string => `io.k8s.metrics.pkg.apis.metrics.v1beta1.${kind}`;

const shared = { group: 'metrics.k8s.io', version: 'v1beta1', isMeasured: true } as const;

function usageOf(holder: Json | undefined, name: string): string {
  return (isJsonObject(holder) ? getString(holder, 'usage', name) : undefined) ?? '';
}

function firstContainer(metrics: JsonObject): Json | undefined {
  return isJsonArray(metrics.containers) ? metrics.containers[0] : undefined;
}

/** What the container of each Pod uses. */
export const podMetricsKind: ResourceKind = core({
  ...shared,
  kind: 'PodMetrics',
  plural: 'pods',
  singular: 'pod',
  isNamespaced: true,
  definitionName: definition('PodMetrics'),
  storageKey: 'pods.metrics.k8s.io',
  openApi: root('PodMetrics is what the container of a Pod uses.', {
    ...measured,
    containers: {
      type: 'array',
      description: 'What each container uses.',
      items: {
        type: 'object',
        required: ['name', 'usage'],
        properties: { name: text('Name of the container.'), usage },
      },
    },
  }),
  columns: [
    nameColumn,
    column('cpu', 'string', (metrics) => usageOf(firstContainer(metrics), 'cpu')),
    column('memory', 'string', (metrics) => usageOf(firstContainer(metrics), 'memory')),
    column('Window', 'string', (metrics) => getString(metrics, 'window')),
  ],
  projection: { storageKey: `${containers.plural}.${containers.group}`, project: (object) => object },
});

/** What each host uses. */
export const nodeMetricsKind: ResourceKind = core({
  ...shared,
  kind: 'NodeMetrics',
  plural: 'nodes',
  singular: 'node',
  isNamespaced: false,
  definitionName: definition('NodeMetrics'),
  storageKey: 'nodes.metrics.k8s.io',
  openApi: root('NodeMetrics is what a host uses.', { ...measured, usage }),
  columns: [
    nameColumn,
    column('cpu', 'string', (metrics) => usageOf(metrics, 'cpu')),
    column('memory', 'string', (metrics) => usageOf(metrics, 'memory')),
    column('Window', 'string', (metrics) => getString(metrics, 'window')),
  ],
  projection: { storageKey: nodeStorageKey, project: (object) => object },
});

/** In the order of discovery. */
export const metricsKinds: readonly ResourceKind[] = [nodeMetricsKind, podMetricsKind];
