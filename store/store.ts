/** Puts the store together: database, memory, certificates, HTTPS server and housekeeping. Effects only. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { accessKinds, createAccess, reviewKinds } from './access/index.ts';
import { Api } from './api.ts';
import { type AuditOptions, defaultAudit, startAuditLog } from './audit-log.ts';
import { createCelRules } from './cel-rules.ts';
import { ClientLimits, defaultLimits, type Limits } from './client-limits.ts';
import { coreKinds, eventKind, namespaceKind } from './core-kinds.ts';
import { CrdController } from './crd-controller.ts';
import { createCrdKind } from './crd-kind.ts';
import { type DatabaseFile, openDatabase } from './database.ts';
import { startDatabaseCare } from './database-care.ts';
import { cannotOpen, databasePathOf, isCorrupt } from './database-file.ts';
import { Door } from './door.ts';
import { newEventKind } from './event-kinds.ts';
import type { Health } from './fixed-paths.ts';
import { GarbageCollector } from './garbage-collector.ts';
import { startHousekeeping } from './housekeeping.ts';
import { startHttpServer } from './http-server.ts';
import { Kinds } from './kinds.ts';
import { writeAdminKubeconfig } from './kubeconfigs.ts';
import { loadObjects } from './load-objects.ts';
import { FieldManagers } from './managed-fields/index.ts';
import { type Collection, keyOf } from './memory.ts';
import { createMetrics } from './metrics.ts';
import { MetricsApi } from './metrics-api.ts';
import { metricsKinds } from './metrics-kinds.ts';
import { leaseNamespace, nodeKinds } from './node-kinds.ts';
import { NodeLifecycle } from './node-lifecycle.ts';
import { Operations } from './operations.ts';
import { type OwnedDefinition, readOwnedDefinitions, storeOwnedDefinitions } from './owned-definitions.ts';
import { type Credentials, ensureCredentials } from './pki.ts';
import { podKind } from './pods.ts';
import { type CollectionView, ProjectedView } from './projection.ts';
import { startRenewal } from './renewal.ts';
import type { Lookup, ResourceKind } from './resources.ts';
import { StatusError } from './status-error.ts';
import { StreamApi } from './stream-api.ts';
import type { StreamSource } from './stream-source.ts';
import { defaultQueueLimits, type QueueLimits, WatchQueues } from './watch-queues.ts';
import { Writer } from './writer.ts';

export interface StoreDeps {
  /** Holds the database, the certificates and the admin kubeconfig; made if it is not there. */
  readonly dataDir: string;
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** CustomResourceDefinition files, one in each. */
  readonly crdFiles: readonly string[];
  readonly log: Logger;
  /** Where the store registers its metrics. */
  readonly metrics: Registry;
  /** Keys that Secrets are encrypted with on disk; secrets.key in the data directory if it is not given. */
  readonly secretsKeyFile?: string | undefined;
  /** Without it the subresources that are streams answer 503. */
  readonly streams?: StreamSource | undefined;
  /** What is not given is as by default. */
  readonly audit?: Partial<AuditOptions> | undefined;
  readonly limits?: Partial<Limits> | undefined;
  /** Bytes that may wait for watchers that do not read. */
  readonly watchQueues?: Partial<QueueLimits> | undefined;
  /** The host of this process: it has the Containers that name none. */
  readonly host?: string | undefined;
  /** Milliseconds since the epoch; Date.now if it is not given. */
  readonly now?: (() => number) | undefined;
}

export interface Store {
  /** https://host:port, as it is reached from this host. */
  readonly url: string;
  /** All that are trusted now, the one that signs first; PEM. */
  readonly caCertificate: string;
  readonly adminToken: string;
  /** For the controller of the host of this process, if there is one; valid as long as the store is open. */
  readonly hostToken: string | undefined;
  readonly adminKubeconfigPath: string;
  /** Renews the certificates that are to be, as happens twice a day by itself. Throws PkiError. */
  renewCertificates(): Promise<void>;
  /** Whether the last write could be put on disk. */
  healthy(): Health;
  /** Answers what is under way, ends watches, and closes the database. */
  close(): Promise<void>;
}

/** Changes that each kind remembers, for watches that go on and for the pages of a list. */
const historyLimits = { maxChanges: 2_048, maxBytes: 4 * 1024 * 1024 };

const firstNamespaces = ['default', 'kube-system', leaseNamespace];

/** Letters and digits of generated names, without those that make words. Source: apimachinery/pkg/util/rand. */
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/**
 * Opens the store and serves it. Throws DatabaseOpenError, PkiError, ListenError, or TypeError for a bad
 * CustomResourceDefinition; then nothing is left open.
 */
export async function createStore(deps: StoreDeps): Promise<Store> {
  const { dataDir, listen, log, now = Date.now } = deps;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const owned = await readOwnedDefinitions(deps.crdFiles);
  const pki = { dataDir, listenHost: listen.host };
  const credentials = await ensureCredentials({ ...pki, nowMs: now() });
  const database = openDatabase(databasePathOf(dataDir), { keyFile: deps.secretsKeyFile, nowMs: now() });
  const opened: { close(): void }[] = [database];
  try {
    return await serve(deps, owned, credentials, database, opened);
  } catch (error) {
    for (const part of opened.toReversed()) part.close();
    log.error({ err: error }, 'store could not start');
    if (!isCorrupt(error)) throw error;
    throw cannotOpen(database.path, error);
  }
}

async function serve(
  deps: StoreDeps,
  owned: readonly OwnedDefinition[],
  credentials: Credentials,
  database: DatabaseFile,
  opened: { close(): void }[],
): Promise<Store> {
  const { dataDir, listen, log, now = Date.now } = deps;
  const health = new DiskHealth();
  const celRules = createCelRules();
  const definitions = createCrdKind({
    taken: (group, definition) => controller.taken(group, definition),
    owned: new Map(owned.map(({ name, spec }) => [name, spec])),
    checkRules: celRules.checkRules,
    now,
  });
  const kinds = new Kinds([
    ...coreKinds,
    ...nodeKinds,
    newEventKind,
    ...accessKinds,
    definitions,
    podKind,
    ...metricsKinds,
    ...reviewKinds,
  ]);
  const metrics = createMetrics(deps.metrics, {
    objects: () => countObjects(kinds, ({ size }) => size, writer),
    damaged: () => countObjects(kinds, ({ damagedCount }) => damagedCount, writer),
    sizes: () => database.sizes(),
  });
  // Who tries again after this one could not start registers them again.
  opened.push(metrics);
  const writer: Writer = new Writer(database, historyLimits, {
    committed: (...facts) => {
      health.committed(log);
      metrics.committed(...facts);
    },
    failed: (error) => {
      health.failed(error, log);
      metrics.commitFailed();
    },
  });
  const circumstances = () => ({ nowMs: now(), uid: randomUUID(), suffix: randomSuffix() });
  const fieldManagers = new FieldManagers();
  const operations = new Operations({
    writer,
    kinds,
    namespaces: namespaceKind,
    circumstances,
    fieldManagers,
    now,
  });
  const loading = { database, writer, log };
  let load: (kind: ResourceKind) => void = () => {}; // until all are loaded together
  const controller: CrdController = new CrdController({
    writer,
    kinds,
    definitions,
    rules: celRules.rulesOf,
    load: (kind) => load(kind),
    now,
    log,
  });
  opened.push(controller);
  loadObjects([definitions], loading);
  controller.start();
  await storeOwnedDefinitions(owned, { operations, writer, kinds, definitions, log });
  const { others } = loadObjects(
    kinds.stored.filter((kind) => kind !== definitions),
    loading,
  );
  others.delete(definitions.storageKey);
  for (const [resource, count] of others) log.warn({ resource, count }, 'objects of a kind that is not served');
  load = (kind) => loadObjects([kind], loading);
  controller.resume();
  await createFirstNamespaces(operations);
  const care = await startDatabaseCare({ dataDir, database, writer, kinds, operations, metrics, now, log });
  opened.push(care);
  const housekeeping = startHousekeeping({ writer, kinds, namespaces: namespaceKind, now, log });
  opened.push(housekeeping);
  const { caCertificate, adminToken, signingKey } = credentials;
  const access = await createAccess({
    writer,
    operations,
    namespaces: namespaceKind,
    adminToken,
    signingKey,
    host: deps.host,
    now,
    log,
  });
  opened.push(access);
  const stop = new AbortController();
  const garbage = new GarbageCollector({ writer, kinds, events: eventKind, namespaces: namespaceKind, now, log });
  opened.push(garbage);
  const nodes = new NodeLifecycle({ writer, now, monotonic: () => performance.now(), log });
  opened.push(nodes);
  const api = new Api({
    access,
    kinds,
    writer,
    viewOf: viewsOf(writer),
    operations,
    streams: new StreamApi({ source: deps.streams, log, stop: stop.signal }),
    queues: new WatchQueues({
      limits: { ...defaultQueueLimits, ...deps.watchQueues },
      monotonic: () => performance.now(),
      onCut: metrics.watcherCut,
    }),
    measures: new MetricsApi({ writer, source: deps.streams, now }),
    now,
    random: Math.random,
    log,
    stop: stop.signal,
  });
  const healthy = () => health.state();
  const audit = startAuditLog({
    dir: join(dataDir, 'audit'),
    options: { ...defaultAudit, ...deps.audit },
    metrics: deps.metrics,
    log,
  });
  opened.push({ close: () => void audit.close() });
  const limits = { ...defaultLimits, ...deps.limits };
  const clients = new ClientLimits(limits);
  opened.push(clients);
  const door = new Door({ access, audit, clients, limits, now });
  const server = await startHttpServer({ api, door, kinds, credentials, listen, metrics, healthy, log });
  const { url } = server;
  const renewal = startRenewal({
    dataDir,
    listenHost: listen.host,
    url,
    present: credentials,
    server,
    metrics,
    now,
    log,
  });
  try {
    const adminKubeconfigPath = await writeAdminKubeconfig(dataDir, { url, caCertificate, adminToken });
    log.info({ url, revision: writer.revision, adminKubeconfigPath }, 'store is serving');
    const close = once(async () => {
      renewal.close();
      stop.abort();
      await server.close();
      care.close();
      clients.close();
      await audit.close();
      access.close();
      housekeeping.close();
      garbage.close();
      controller.close();
      nodes.close();
      writer.close();
      database.close();
    });
    const { hostToken } = access;
    return {
      url,
      get caCertificate() {
        return renewal.caCertificate;
      },
      adminToken,
      hostToken,
      adminKubeconfigPath,
      healthy,
      renewCertificates: renewal.check,
      close,
    };
  } catch (error) {
    renewal.close();
    await server.close();
    throw error;
  }
}

/** What there is of each kind to read: the stored objects, or what is made from them. */
function viewsOf(writer: Writer): (kind: ResourceKind) => CollectionView {
  const projected = new WeakMap<ResourceKind, CollectionView>();
  const lookup: Lookup = (storageKey, namespace, name) =>
    writer.collection({ storageKey }).get(keyOf(namespace, name))?.object;
  return (kind) => {
    const { projection, conversion } = kind;
    const source = projection ?? (conversion && { storageKey: kind.storageKey, project: conversion.fromStorage });
    if (source === undefined) return writer.collection(kind);
    const view = projected.get(kind) ?? new ProjectedView(writer.collection(source), source, lookup);
    projected.set(kind, view);
    return view;
  };
}

/** The same promise for every call. */
function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= run();
    return running;
  };
}

async function createFirstNamespaces(operations: Operations): Promise<void> {
  const mode = { isDryRun: false, checkUnknown: () => {} };
  await Promise.all(
    firstNamespaces.map(async (name) => {
      try {
        await operations.create(namespaceKind, undefined, { metadata: { name } }, mode);
      } catch (error) {
        if (!(error instanceof StatusError) || error.reason !== 'AlreadyExists') throw error;
      }
    }),
  );
}

function randomSuffix(): string {
  // 27 letters into 256 values: the bias is too small to matter for names that are checked to be free.
  return Array.from(randomBytes(5), (byte) => suffixAlphabet[byte % suffixAlphabet.length]).join('');
}

function countObjects(
  kinds: Kinds,
  count: (collection: Collection) => number,
  writer: Writer,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds.stored) {
    // Two groups may call a kind by the same name.
    const name = counts.has(kind.plural) ? kind.storageKey : kind.plural;
    counts.set(name, count(writer.collection(kind)));
  }
  return counts;
}

/** Whether the disk takes writes. Logs each change once, not each write. */
class DiskHealth {
  #problem: string | undefined;

  state(): Health {
    return this.#problem === undefined ? { isHealthy: true } : { isHealthy: false, problem: this.#problem };
  }

  committed(log: Logger): void {
    if (this.#problem !== undefined) log.info('writes reach the disk again');
    this.#problem = undefined;
  }

  failed(error: unknown, log: Logger): void {
    const problem = `writes do not reach the disk: ${error instanceof Error ? error.message : String(error)}`;
    if (problem !== this.#problem) log.error({ err: error }, 'writes do not reach the disk');
    this.#problem = problem;
  }
}
