/** The store's metrics, under kube-apiserver's names where it has them. Label values come from a fixed set. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface RequestLabels {
  readonly verb: string;
  readonly resource: string;
  readonly subresource: string;
}

export interface StoreMetrics {
  /** No duration for what runs until its client leaves. */
  requestDone(labels: RequestLabels, code: number, durationSeconds: number | undefined): void;
  /** Counts a watch or a followed log; call what it returns when it ends. */
  longRunning(labels: RequestLabels): () => void;
  committed(batchSize: number, durationSeconds: number, revision: number): void;
  commitFailed(): void;
  /** A watch of this resource was ended because nobody read it. */
  watcherCut(resource: string): void;
  /** When certificates end, in milliseconds since the epoch. */
  certified(ends: CertificateEnds): void;
  /** A backup was taken, in milliseconds since the epoch. */
  backedUp(atMs: number): void;
  /** Takes them out of the registry. */
  close(): void;
}

/** `authority`: the one that signs. */
export interface CertificateEnds {
  readonly serverMs: number;
  readonly authorityMs: number;
}

/** How many objects there are, by resource: those served, and those on disk that cannot be read. */
export interface ObjectCounts {
  readonly objects: () => ReadonlyMap<string, number>;
  readonly damaged: () => ReadonlyMap<string, number>;
  /** Of the database; undefined: there is none. */
  readonly sizes?: (() => FileSizes) | undefined;
}

export interface FileSizes {
  readonly databaseBytes: number;
  readonly logBytes: number;
  readonly freeBytes: number;
}

/** `counts` are asked at each scrape. Registers on the registry passed in. */
export function createMetrics(registry: Registry, counts: ObjectCounts): StoreMetrics {
  const registers = [registry];
  const others = new Set(registry.getMetricsAsArray().map(({ name }) => name));
  const requests = new Counter({
    name: 'apiserver_request_total',
    help: 'Requests answered, by verb, resource, subresource and HTTP code.',
    labelNames: ['verb', 'resource', 'subresource', 'code'],
    registers,
  });
  const durations = new Histogram({
    name: 'apiserver_request_duration_seconds',
    help: 'Time to answer a request, watches and followed logs apart.',
    labelNames: ['verb', 'resource'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  const longRunning = new Gauge({
    name: 'apiserver_longrunning_requests',
    help: 'Watches and followed logs that are being served.',
    labelNames: ['verb', 'resource'],
    registers,
  });
  const commitDurations = new Histogram({
    name: 'holdfast_store_commit_duration_seconds',
    help: 'Time to put one batch of writes on disk.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1],
    registers,
  });
  const batchSizes = new Histogram({
    name: 'holdfast_store_commit_batch_size',
    help: 'Writes that shared one commit.',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    registers,
  });
  const commitFailures = new Counter({
    name: 'holdfast_store_commit_failures_total',
    help: 'Batches of writes that could not be put on disk.',
    registers,
  });
  const revision = new Gauge({
    name: 'holdfast_store_revision',
    help: 'Revision of the last commit.',
    registers,
  });
  const objects = new Gauge({
    name: 'holdfast_store_objects',
    help: 'Objects stored, by resource.',
    labelNames: ['resource'],
    registers,
    collect: () => {
      objects.reset(); // kinds come and go
      for (const [resource, count] of counts.objects()) objects.set({ resource }, count);
    },
  });
  const damaged = new Gauge({
    name: 'holdfast_store_damaged_objects',
    help: 'Objects on disk that cannot be read, by resource; all others are served.',
    labelNames: ['resource'],
    registers,
    collect: () => {
      damaged.reset();
      for (const [resource, count] of counts.damaged()) damaged.set({ resource }, count);
    },
  });
  const cut = new Counter({
    name: 'apiserver_terminated_watchers_total',
    help: 'Watches ended because their clients did not read them, by resource.',
    labelNames: ['resource'],
    registers,
  });
  const certificates = new Gauge({
    name: 'holdfast_store_certificate_expiry_timestamp_seconds',
    help: 'When the certificates of the server and of the authority that signs end; both are renewed long before.',
    labelNames: ['certificate'],
    registers,
  });
  const backedUp = counts.sizes === undefined ? () => {} : createFileMetrics(registers, counts.sizes);
  const own = registry.getMetricsAsArray().flatMap(({ name }) => (others.has(name) ? [] : [name]));
  return {
    requestDone: ({ verb, resource, subresource }, code, durationSeconds) => {
      requests.inc({ verb, resource, subresource, code });
      if (durationSeconds !== undefined) durations.observe({ verb, resource }, durationSeconds);
    },
    longRunning: ({ verb, resource }) => {
      longRunning.inc({ verb, resource });
      return () => longRunning.dec({ verb, resource });
    },
    committed: (batchSize, durationSeconds, at) => {
      commitDurations.observe(durationSeconds);
      batchSizes.observe(batchSize);
      revision.set(at);
    },
    commitFailed: () => commitFailures.inc(),
    certified: ({ serverMs, authorityMs }) => {
      certificates.set({ certificate: 'server' }, serverMs / 1000);
      certificates.set({ certificate: 'authority' }, authorityMs / 1000);
    },
    watcherCut: (resource) => cut.inc({ resource }),
    backedUp,
    close: () => {
      for (const name of own) registry.removeSingleMetric(name);
    },
  };
}

function createFileMetrics(registers: Registry[], sizes: () => FileSizes): (atMs: number) => void {
  const bytes = new Gauge({
    name: 'holdfast_store_disk_bytes',
    help: 'Size of the database, of its log, and of what is free in the database.',
    labelNames: ['part'],
    registers,
    collect: () => {
      const { databaseBytes, logBytes, freeBytes } = sizes();
      bytes.set({ part: 'database' }, databaseBytes);
      bytes.set({ part: 'log' }, logBytes);
      bytes.set({ part: 'free' }, freeBytes);
    },
  });
  const lastBackup = new Gauge({
    name: 'holdfast_store_last_backup_timestamp_seconds',
    help: 'When the last backup was taken since the store started; 0: none was.',
    registers,
  });
  return (atMs) => lastBackup.set(atMs / 1000);
}
