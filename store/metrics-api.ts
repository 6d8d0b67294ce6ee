/**
 * The metrics API (metrics.k8s.io): what Pods and Nodes use, measured when somebody asks. Effects. One that does not run, or
 * runs on a host whose measures are not to be had here, is left out, as metrics-server does.
 */

import type { Entry } from './entry-object.ts';
import { formatTime } from './format-time.ts';
import { getPath, getString, type JsonObject } from './json.ts';
import { keyOf } from './memory.ts';
import { nodeMetricsKind } from './metrics-kinds.ts';
import { nodeKind } from './node-kinds.ts';
import { apiVersionOf, type KubeObject, type ResourceKind } from './resources.ts';
import { StatusError, serviceUnavailable } from './status-error.ts';
import type { StreamSource } from './stream-source.ts';
import { type Measured, type Reading, type Usage, UsageSampler } from './usage-sampler.ts';
import type { Writer } from './writer.ts';

export interface MetricsApiDeps {
  readonly writer: Writer;
  readonly source: StreamSource | undefined;
  readonly now: () => number;
  /** By default one of its own. */
  readonly sampler?: UsageSampler;
}

export class MetricsApi {
  readonly #deps: MetricsApiDeps;
  readonly #sampler: UsageSampler;

  constructor(deps: MetricsApiDeps) {
    this.#deps = deps;
    this.#sampler = deps.sampler ?? new UsageSampler({ now: deps.now });
  }

  /** Those that the filter picks by name and labels, in order. Throws StatusError 503. */
  async list(
    kind: ResourceKind,
    namespace: string | undefined,
    picks: (object: KubeObject) => boolean,
  ): Promise<readonly Entry[]> {
    const collection = this.#deps.writer.collection(kind.projection ?? kind);
    const entries = [...collection.list(namespace)].filter(({ object }) => picks(object));
    return this.#measure(kind, entries);
  }

  /** Throws StatusError 404 or 503. */
  async get(kind: ResourceKind, namespace: string | undefined, name: string): Promise<Entry> {
    const entry = this.#deps.writer.collection(kind.projection ?? kind).get(keyOf(namespace, name));
    const [found] = entry === undefined ? [] : await this.#measure(kind, [entry]);
    if (found !== undefined) return found;
    const full = namespace === undefined ? name : `${namespace}/${name}`;
    const resource = kind.kind.toLowerCase();
    throw new StatusError(404, 'NotFound', `${resource}.${kind.group} "${full}" not found`, {
      name: full,
      group: kind.group,
      kind: resource,
    });
  }

  async #measure(kind: ResourceKind, entries: readonly Entry[]): Promise<readonly Entry[]> {
    const { source } = this.#deps;
    if (source === undefined) throw serviceUnavailable('this store measures no host: it runs without one');
    const all = entries.flatMap(({ object }) => measuredOf(object, source) ?? []);
    const usages = await this.#sampler.usageOf(all);
    return entries.flatMap((entry) => {
      const usage = usages.get(entry.object.metadata.uid);
      return usage === undefined ? [] : [toEntry(kind, entry, usage)];
    });
  }
}

function measuredOf(object: KubeObject, source: StreamSource): Measured | undefined {
  const { name, namespace = '', uid } = object.metadata;
  const isNode = object.kind === nodeKind.kind;
  const state = getString(object, 'status', 'state');
  if (!isNode && state !== 'Running' && state !== 'Paused') return undefined;
  const target = { name, namespace, uid, object, latest: async () => object };
  const read = async (): Promise<Reading | undefined> => {
    try {
      return readingOf(isNode ? await source.hostStats?.(name) : await source.stats(target));
    } catch (error) {
      if (error instanceof StatusError) return undefined; // it has ended meanwhile, or runs elsewhere
      throw error;
    }
  };
  return { id: uid, read };
}

function readingOf(stats: JsonObject | undefined): Reading | undefined {
  const cpuNanoseconds = getPath(stats, ['cpu', 'usageCoreNanoSeconds']);
  const memoryBytes = getPath(stats, ['memory', 'workingSetBytes']);
  if (typeof cpuNanoseconds !== 'number' || typeof memoryBytes !== 'number') return undefined;
  return { cpuNanoseconds, memoryBytes };
}

function toEntry(kind: ResourceKind, { key, object: measured }: Entry, usage: Usage): Entry {
  const { name, namespace, labels } = measured.metadata;
  const time = formatTime(usage.atMs);
  const amounts = { cpu: `${usage.nanocores}n`, memory: `${Math.ceil(usage.memoryBytes / 1024)}Ki` };
  const metadata = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    creationTimestamp: time,
    ...(labels === undefined ? {} : { labels }),
  };
  const object = {
    kind: kind.kind,
    apiVersion: apiVersionOf(kind),
    metadata,
    timestamp: time,
    window: `${(usage.windowMs / 1000).toFixed(3)}s`,
    ...(kind === nodeMetricsKind ? { usage: amounts } : { containers: [{ name, usage: amounts }] }),
  };
  // What is measured has no identity of its own, and no revision.
  return { key, revision: 0, object: object as unknown as KubeObject, json: JSON.stringify(object) };
}
