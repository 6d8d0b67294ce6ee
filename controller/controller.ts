/** The controller: list and watch, queue, workers, relist of the host. Effects; wires the other files. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { ApiAccess } from '../client/index.ts';
import { type Backoff, backoffDelayMs } from '../client/index.ts';
import { type ContainerInfo, ImagePullError, type Runtime } from '../runtime/index.ts';
import { createContainerApi, isStoreFailure } from './api.ts';
import { createBreaker, createRegistryBreakers, reporting, runAlways } from './breakers.ts';
import { watchClock } from './clock-watch.ts';
import { labelKeys, parseDesired } from './desired.ts';
import { createDesiredMemory } from './desired-memory.ts';
import { createDriftReporter } from './drift.ts';
import { type Entry, entryFor, type ReconcileDeps, signatureOf } from './entry.ts';
import { createEventRecorder } from './events.ts';
import { type Deadlines, defaultDeadlines, guardRuntime } from './guarded-runtime.ts';
import { defaultCollectionPolicy, type ImageCollectionPolicy, startImageCollection } from './image-collection.ts';
import { createImagePuller } from './images.ts';
import { createControllerMetrics, createQueueMetrics, createRuntimeCallMetrics } from './metrics.ts';
import { createProbeMetrics } from './probe-metrics.ts';
import { createProber } from './prober.ts';
import { WorkQueue } from './queue.ts';
import { reconcile } from './reconcile.ts';
import { standingOf } from './standing.ts';
import { defaultStartPolicy, StartGate, type StartPolicy } from './start-gate.ts';
import { createStatusPace } from './status-pace.ts';
import { StoreLink } from './store-link.ts';
import { createStoreReport } from './store-report.ts';
import { createStoreSide } from './store-side.ts';
import { describeMemoryKill } from './termination.ts';
import { createView } from './view.ts';
import { runWorkers } from './workers.ts';

const firstLookBackoff: Backoff = { initialMs: 200, factor: 2, maxMs: 10_000, jitter: 0.5, resetAfterMs: 60_000 };

export interface ControllerDeps {
  readonly access: ApiAccess;
  readonly runtime: Runtime;
  readonly nodeName: string;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly now: () => number;
  readonly random: () => number;
  /** A folder on the host's disk for what is needed to go on while the API server is away; undefined: nothing is kept. */
  readonly checkpointDir?: string | undefined;
  /** How long the API server may take to answer before the checkpoint has to do; 3 s by default. */
  readonly storePatienceMs?: number | undefined;
  /** Containers worked on at once; 8 more than may start at once by default. */
  readonly workers?: number;
  /** Defaults of guarded-runtime.ts. */
  readonly deadlines?: Deadlines | undefined;
  /** After so long a worker leaves a key to itself and takes the next, and a start gives its turn away; 3 s and 5 s by default. */
  readonly slowMs?: number | undefined;
  /** How many start at once, and how spread over time after a boot. */
  readonly startPolicy?: StartPolicy | undefined;
  /** How often the whole host is looked at, for what no event told; 10 s by default. */
  readonly relistMs?: number;
  /** Milliseconds that only ever go on, whatever happens to `now`; by default the process's. */
  readonly monotonic?: () => number;
  /** When unused images go; the kubelet's rules by default. */
  readonly imageCollection?: ImageCollectionPolicy | undefined;
  /** How often they are looked at; 5 minutes by default. */
  readonly imageCollectionEveryMs?: number | undefined;
}

export interface Controller {
  /** Resolves when the objects are known (it may be from the checkpoint) and the host's containers are adopted. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  /** Whether the API server has told what there is, and answers. */
  readonly isConnected: boolean;
  /** Stops deciding; containers go on. */
  close(): Promise<void>;
}

export function createController(deps: ControllerDeps): Controller {
  const { now, random, nodeName } = deps;
  const log = deps.log.child({ part: 'controller' });
  const startPolicy = deps.startPolicy ?? defaultStartPolicy;
  const workers = deps.workers ?? startPolicy.maxConcurrent + 8;
  const metrics = createControllerMetrics(deps.metrics, workers);
  /** Of the keys that were worked on. */
  const entryByKey = new Map<string, Entry>();
  const monotonic = deps.monotonic ?? (() => performance.now());
  const queue = new WorkQueue({
    // Of two delayed adds the earlier counts, also when the wall clock was set in between.
    now: monotonic,
    metrics: createQueueMetrics(deps.metrics, 'container'),
    standingOf: (key) => standingOf(entryByKey.get(key)?.history, now()),
  });
  const stop = new AbortController();
  const runtime = guardRuntime({
    runtime: deps.runtime,
    deadlines: deps.deadlines ?? defaultDeadlines,
    metrics: createRuntimeCallMetrics(deps.metrics),
    now,
    onSettled: (id) => {
      const key = keyByID(id);
      if (key !== undefined) queueWhenSynced(key);
    },
    stop: stop.signal,
  });
  const onState = (name: string, state: 'closed' | 'open' | 'half_open'): void => {
    metrics.breaker(name, state);
    if (state !== 'closed') log.warn({ breaker: name, state }, 'circuit breaker');
  };
  const storeBreaker = createBreaker({
    name: 'store',
    countsAsFailure: isStoreFailure,
    onState,
    now,
    resetMs: 2_000,
    volume: 10,
  });
  const registryBreakers = createRegistryBreakers({
    countsAsFailure: isRegistryFailure,
    onState,
    now,
    resetMs: 30_000,
    volume: 3,
  });
  const link: StoreLink = new StoreLink({
    now,
    onAway: (sinceMs, error) => report.away(sinceMs, error),
    onBack: (outage) => {
      // A list may be answered first, and what is told now must not wait for the breaker's next probe.
      storeBreaker.resume();
      report.back(outage);
      // What could not be written while it was away need not wait for its turn.
      if (isSynced) for (const key of view.keys()) queue.add(key);
    },
  });
  const api = createContainerApi(deps.access, {
    lists: reporting(runAlways, link, isStoreFailure),
    calls: reporting(storeBreaker.run, link, isStoreFailure),
  });
  const events = createEventRecorder({ call: api.call, nodeName, now, log });
  const report = createStoreReport({ events, nodeName, metrics: deps.metrics, log });
  const imageCollection = startImageCollection({
    images: runtime.images,
    policy: deps.imageCollection ?? defaultCollectionPolicy,
    objects: () => (isSynced ? view.keys().flatMap((key) => view.object(key) ?? []) : undefined),
    events,
    nodeName,
    metrics: deps.metrics,
    now,
    log,
    everyMs: deps.imageCollectionEveryMs,
  });
  const view = createView((key) => queue.add(key));
  const entries = new Map<string, Entry>();
  let isSynced = false;
  const side = createStoreSide({
    access: deps.access,
    api,
    view,
    entries,
    link,
    report,
    metrics,
    checkpointDir: deps.checkpointDir,
    patienceMs: deps.storePatienceMs ?? 3_000,
    changed: (key, by) => {
      if (by === 'list') return queueWhenSynced(key);
      const object = view.object(key);
      const written = object === undefined ? undefined : entryFor(object, entries)?.written;
      const isOwnWrite = written !== undefined && written.version === object?.metadata.resourceVersion;
      // A status that we wrote may come back before the answer to its write does.
      if (!isOwnWrite && isSynced) queue.add(key, by === 'news' ? 'first' : 'its own');
    },
    // Those that link to it have its variables as well.
    wake: (key) => {
      queueWhenSynced(key);
      view.stateChanged(key);
    },
    now,
    random,
    log,
  });
  const { sources } = side;
  const puller = createImagePuller({
    images: runtime.images,
    sources,
    breakerOf: registryBreakers.of,
    events,
    diskFull: () => imageCollection.diskFull(),
    wake: (key) => queue.add(key),
    now,
    log,
  });
  const prober = createProber({
    exec: (id, request, signal) => runtime.containers.exec(id, request, signal),
    events,
    metrics: createProbeMetrics(deps.metrics),
    wake: (key) => queue.add(key),
    now,
    random,
    log,
  });
  const retryLater = (key: string, failure: unknown): void => {
    if (stop.signal.aborted) return;
    const delayMs = queue.addRateLimited(key);
    // An outage is told of once, not for each container and each try.
    const level = link.isAway && isStoreFailure(failure) ? 'debug' : 'warn';
    log[level]({ container: key, err: failure, delayMs }, 'reconciliation failed, trying again');
  };
  const writeEnded = (key: string, failure: unknown): void =>
    failure === undefined ? queue.add(key) : retryLater(key, failure);
  const drift = createDriftReporter({
    events,
    count: metrics.drift,
    objectOf: (id) => view.object(keyByID(id) ?? ''),
    nodeName,
    log,
  });
  const reconcileDeps: ReconcileDeps = {
    parse: createDesiredMemory(),
    drift,
    runtime,
    api,
    view,
    sources,
    entries,
    puller,
    prober,
    events,
    metrics,
    pace: createStatusPace(),
    recentOutage: () => link.recentOutage,
    checkpoint: side.checkpoint,
    custody: side.custody,
    starts: new StartGate({ policy: startPolicy, now, wake: (key) => queue.add(key), slowMs: deps.slowMs }),
    nodeName,
    now,
    log,
    writeEnded,
  };

  const work = async (key: string): Promise<void> => {
    const finished = metrics.reconcileStarted();
    try {
      const { againInMs, failure, entry } = await reconcile(key, reconcileDeps, stop.signal);
      if (entry === undefined) entryByKey.delete(key);
      else entryByKey.set(key, entry);
      // A failure is tried again later and later; what is due at its time is due all the same (the earliest add counts).
      if (failure === undefined) queue.forget(key);
      else retryLater(key, failure);
      if (againInMs !== undefined) queue.addAfter(key, againInMs);
      finished(failure !== undefined ? 'error' : againInMs === undefined ? 'success' : 'requeue_after');
    } catch (error) {
      finished('error');
      retryLater(key, error);
    } finally {
      side.checkpoint.noteWork();
    }
  };

  /** Volumes that were kept for a replacement whose object went away meanwhile, unseen. */
  const removeUnwanted = async (kept: readonly string[]): Promise<void> => {
    if (kept.length === 0 || side.isHolding || !side.hasListed) return;
    const wanted = new Set(view.keys().map((key) => view.containerIDOf(key)));
    for (const id of kept) {
      if (wanted.has(id)) continue;
      log.info({ containerID: id }, 'removing the volumes of a container whose object is gone');
      try {
        await runtime.containers.remove(id);
      } catch (error) {
        if (stop.signal.aborted) throw error;
        log.warn({ err: error, containerID: id }, 'the volumes of a container whose object is gone stay for now');
      }
    }
  };

  const relist = async (isFirst: boolean): Promise<void> => {
    try {
      await side.settle();
    } catch (error) {
      log.error({ err: error }, 'whether deletions were confirmed cannot be read; what is held stays held');
    }
    const found = new Map((await runtime.containers.list()).map((one) => [one.id, one]));
    for (const container of found.values()) {
      const key = `${container.labels[labelKeys.namespace] ?? ''}/${container.labels[labelKeys.name] ?? ''}`;
      view.claim(key, container.id);
      const object = view.object(key);
      const isOrphan = object === undefined || object.metadata.uid !== container.labels[labelKeys.uid];
      if (isFirst || isOrphan) queue.add(key);
    }
    await removeUnwanted(await runtime.containers.listKept());
    for (const [id, entry] of entries) {
      if (entry.signature === undefined || entry.signature === signatureOf(found.get(id))) continue;
      metrics.drift('state');
      queue.add(entry.key);
    }
  };

  // Before the first list nothing is known to be unwanted, so nothing may be decided.
  const queueWhenSynced = (key: string): void => {
    if (isSynced) queue.add(key);
  };

  const wakeByID = (id: string): void => {
    const key = keyByID(id);
    if (key !== undefined) queueWhenSynced(key);
  };
  const keyByID = (id: string): string | undefined => entries.get(id)?.key ?? view.keyOfContainer(id);
  const unsubscribe = runtime.subscribe((event) => {
    if (event.kind === 'relist') {
      if (isSynced) void relistSafely();
      return;
    }
    if (event.kind === 'drift') {
      drift.report(event.drift);
      const { containerID } = event.drift;
      if (containerID !== undefined) wakeByID(containerID);
      return;
    }
    const key = keyByID(event.id);
    if (key === undefined || !isSynced) return;
    if (event.kind === 'oom') void tellMemoryKill(key, event.id);
    queue.add(key);
  });
  /** A helper process was killed and the container runs on: that shows in no status. An end tells of itself. */
  const tellMemoryKill = async (key: string, id: string): Promise<void> => {
    try {
      const object = view.object(key);
      const container = await runtime.containers.inspect(id);
      if (object === undefined || container?.state.kind !== 'running') return;
      const what = 'a process of the container, which runs on,';
      const message = describeMemoryKill(what, parseDesired(object).config.limits);
      events.record(object, 'Warning', 'OOMKilling', message);
    } catch (error) {
      if (!stop.signal.aborted) log.warn({ err: error, container: key }, 'a kill for memory could not be told of');
    }
  };
  const relistSafely = async (): Promise<void> => {
    try {
      await relist(false);
    } catch (error) {
      if (!stop.signal.aborted)
        log.error({ err: error }, 'the host could not be looked at; it is tried again with the next relist');
    }
  };
  let relisting: Promise<void> | undefined;
  const timer = setInterval(() => {
    // One that takes longer is the only one: those that it delays would find nothing more.
    if (isSynced)
      relisting ??= relistSafely().finally(() => {
        relisting = undefined;
      });
  }, deps.relistMs ?? 10_000);

  const clockWatch = watchClock({
    now,
    monotonic,
    onJump: (byMs) => {
      log.warn({ byMs }, 'the clock was set, or the host slept: looking at everything again');
      for (const key of view.keys()) queueWhenSynced(key);
    },
  });

  let running: Promise<unknown> = Promise.resolve();
  const untilDone = async <T>(look: () => Promise<T>): Promise<T | undefined> => {
    for (let attempt = 1; !stop.signal.aborted; attempt += 1) {
      try {
        return await look();
      } catch (error) {
        log.error({ err: error, attempt }, 'the host could not be looked at at start, trying again');
        const delayMs = backoffDelayMs(firstLookBackoff, attempt, random());
        await wait(delayMs, undefined, { signal: stop.signal }).catch(() => {}); // Aborted: the loop ends.
      }
    }
    return undefined;
  };
  const synced = (async () => {
    // What the host has tells, beside the checkpoint, what the API server should know of.
    await side.begin(async () => (await untilDone<readonly ContainerInfo[]>(() => runtime.containers.list())) ?? []);
    if (stop.signal.aborted) return;
    // Who runs already must be known before anything is started beside it.
    await untilDone(() => relist(true));
    if (stop.signal.aborted) return;
    isSynced = true;
    drift.begin();
    for (const key of view.keys()) queue.add(key);
    running = runWorkers({ queue, count: workers, work, slowMs: deps.slowMs ?? 3_000, maxSlow: 256 });
  })();

  return {
    synced,
    get isSynced() {
      return isSynced;
    },
    get isConnected() {
      return side.hasListed && !link.isAway;
    },
    close: async () => {
      stop.abort(new Error('the controller was closed'));
      clearInterval(timer);
      clockWatch.close();
      unsubscribe();
      queue.close();
      await puller.close();
      await prober.close();
      await imageCollection.close();
      await Promise.allSettled([running, relisting]);
      await side.close();
      await events.close();
      storeBreaker.close();
      registryBreakers.close();
    },
  };
}

/** Whether the registry is ill; a wrong name or password is the spec's fault and must not open the breaker for others. */
function isRegistryFailure(error: unknown): boolean {
  return error instanceof ImagePullError && (error.kind === 'unreachable' || error.kind === 'registry');
}
