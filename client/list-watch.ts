/**
 * A list and watch of one resource that cannot die silently: jittered backoff, bookmarks, resumption at the last version,
 * a new list on 410, and a watchdog against silence (client-node's issues 596, 958 and 1933 are what happens otherwise;
 * its own ListWatch stops for good at the first failed list). Effects.
 */

import type { KubeConfig } from '@kubernetes/client-node';
import { Watch } from '@kubernetes/client-node/dist/watch.js';
import type { Logger } from 'pino';
import { type Backoff, backoffDelayMs } from './backoff.ts';
import type { ApiAccess } from './call-api.ts';
import { isOlderVersion } from './resource-version.ts';

export interface ListWatchDeps<T> {
  readonly access: ApiAccess;
  /** Path of the collection, for all namespaces. */
  readonly path: string;
  /** The kind of its lists: one that says that it is of another kind is refused. */
  readonly kind?: string;
  /** One page of the collection; throws what the request throws. */
  readonly list: (query: Record<string, string | number | undefined>, signal: AbortSignal) => Promise<unknown>;
  /**
   * Accepts hostile input; undefined is logged, and what is known of the object counts on: an object that cannot be read
   * is not one that was deleted.
   */
  readonly parse: (object: unknown) => T | undefined;
  readonly onReplace: (objects: readonly T[], version: string) => void;
  readonly onChange: (kind: 'applied' | 'deleted', object: T) => void;
  readonly onActivity: (nowMs: number) => void;
  readonly onReconnect: (reason: string) => void;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Logger;
  /** Reconnects when neither event nor bookmark came for so long. */
  readonly silenceMs?: number;
}

export interface ListWatch {
  /** Resolves when the first list is in; never rejects. */
  readonly synced: Promise<void>;
  /** Asks for the whole list again, at once if a watch is open: for one who has reason to doubt the last one. */
  relist(): void;
  close(): Promise<void>;
}

const retryBackoff: Backoff = { initialMs: 200, factor: 2, maxMs: 30_000, jitter: 0.5, resetAfterMs: 60_000 };
/** After a watch that ended in good order, but too soon. */
const resumeBackoff: Backoff = { ...retryBackoff, initialMs: 20, maxMs: 5_000 };
/** A watch that brought something or lasted so long has done its work: the next may begin soon. */
const healthyWatchMs = 10_000;
const defaultSilenceMs = 90_000;
const pageSize = 500;
/** Half of a Container's text is who owns which field, which nobody here reads. kube-apiserver sends it all the same. */
const shape = { omitManagedFields: 'true' };

type WatchEnd =
  | { readonly kind: 'resume'; readonly reason: string }
  | { readonly kind: 'relist'; readonly reason: string }
  /** Nothing is wrong with the watch: the list is wanted again. */
  | { readonly kind: 'asked'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string };

export function startListWatch<T>(deps: ListWatchDeps<T>): ListWatch {
  const stop = new AbortController();
  let markSynced = (): void => {};
  const synced = new Promise<void>((resolve) => {
    markSynced = resolve;
  });
  const doubt = new Doubt();
  const running = run(deps, doubt, stop.signal, markSynced);
  return {
    synced,
    relist: () => doubt.raise(),
    close: async () => {
      stop.abort(new Error('the list and watch was closed'));
      await running;
    },
  };
}

/** Whether the last list is doubted, and who is to be told when it is. */
class Doubt {
  #isRaised = false;
  onRaised: () => void = () => {};
  get isRaised(): boolean {
    return this.#isRaised;
  }
  raise(): void {
    this.#isRaised = true;
    this.onRaised();
  }
  settle(): void {
    this.#isRaised = false;
  }
}

async function run<T>(
  deps: ListWatchDeps<T>,
  doubt: Doubt,
  signal: AbortSignal,
  markSynced: () => void,
): Promise<void> {
  const known = new Known<T>(deps);
  let version: string | undefined;
  /** Lists that failed and watches that were of no use, in a row. */
  let failures = 0;
  while (!signal.aborted) {
    let backoff = retryBackoff;
    try {
      if (version === undefined || doubt.isRaised) {
        version = await listAll(deps, known, signal);
        doubt.settle();
        deps.onActivity(deps.now());
        markSynced();
      }
      const position = { version };
      const begunAtMs = deps.now();
      const end = await watchOnce(deps, known, position, doubt, signal);
      if (signal.aborted) return;
      if (end.kind === 'asked') {
        deps.onReconnect(end.reason);
        continue;
      }
      const wasOfUse = position.version !== version || deps.now() - begunAtMs >= healthyWatchMs;
      version = end.kind === 'relist' ? undefined : position.version;
      deps.onReconnect(end.reason);
      failures = wasOfUse ? 1 : failures + 1;
      // Also a server that ends each watch at once, or calls each version expired, must not make us spin.
      if (end.kind === 'resume') backoff = resumeBackoff;
      if (end.kind === 'failed' || failures > 1)
        deps.log.warn({ reason: end.reason, attempt: failures }, 'watch ended before its time, trying again');
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      version = undefined;
      deps.onReconnect('list-failed');
      deps.log.warn({ err: error, attempt: failures }, 'list failed, trying again');
    }
    await pause(backoffDelayMs(backoff, failures, deps.random()), signal);
  }
}

/** What was last read of each object, by uid, for when it comes in a form that cannot be read. */
class Known<T> {
  readonly #deps: Pick<ListWatchDeps<T>, 'parse' | 'log'>;
  #byUid = new Map<string, T>();
  #isComplete = false;
  constructor(deps: Pick<ListWatchDeps<T>, 'parse' | 'log'>) {
    this.#deps = deps;
  }

  /** Adds the objects of one page. Throws UnreadableObjectError where leaving one out could end what runs for it. */
  readPage(items: readonly unknown[], taken: Map<string, T>): void {
    for (const item of items) {
      const object = this.#read(item);
      const uid = uidOf(item);
      if (object !== undefined && uid !== undefined) taken.set(uid, object);
      // One that is new since the first list cannot have been started yet, so it may wait until it can be read.
      else if (uid === undefined || !this.#isComplete) throw new UnreadableObjectError(item);
    }
  }

  /** The objects of a whole list, by uid. */
  takeList(taken: Map<string, T>): T[] {
    this.#byUid = taken;
    this.#isComplete = true;
    return [...taken.values()];
  }

  /** The object of a watch event; undefined if nothing is known of it. */
  takeEvent(kind: string, raw: unknown): T | undefined {
    const object = this.#read(raw);
    const uid = uidOf(raw);
    if (uid === undefined || object === undefined) return undefined;
    if (kind === 'DELETED') this.#byUid.delete(uid);
    else this.#byUid.set(uid, object);
    return object;
  }

  #read(raw: unknown): T | undefined {
    const object = this.#deps.parse(raw);
    if (object !== undefined) return object;
    const before = this.#byUid.get(uidOf(raw) ?? '');
    // Its names only: what it holds may be secret.
    const { name, namespace, uid } = metadataOf(raw);
    this.#deps.log.error(
      { object: { name, namespace, uid }, isKnown: before !== undefined },
      'the API server sent an object that cannot be read; what was known of it counts on',
    );
    return before;
  }
}

/** A list holds an object that cannot be read and of which nothing is known. */
class UnreadableObjectError extends Error {
  override readonly name = 'UnreadableObjectError';
  constructor(item: unknown) {
    const { name, namespace, uid } = metadataOf(item);
    super(
      `the list is refused, because leaving out an object would end what runs for it: ${String(namespace)}/${String(name)} (uid ${String(uid)}) cannot be read; check that the API server has our CRD, and correct or delete the object`,
    );
  }
}

function metadataOf(raw: unknown): { name?: unknown; namespace?: unknown; uid?: unknown } {
  // Each member is looked at before use.
  return (raw as { metadata?: { name?: unknown; namespace?: unknown; uid?: unknown } | null } | null)?.metadata ?? {};
}

/** undefined unless all is there that tells one object from the others. */
function uidOf(raw: unknown): string | undefined {
  const { name, namespace, uid } = metadataOf(raw);
  return typeof name === 'string' && typeof namespace === 'string' && typeof uid === 'string' ? uid : undefined;
}

async function listAll<T>(deps: ListWatchDeps<T>, known: Known<T>, signal: AbortSignal): Promise<string> {
  // Page by page, so that what nobody reads of an object is let go before the next page comes.
  const taken = new Map<string, T>();
  let page: string | undefined;
  for (;;) {
    const query = { ...shape, limit: pageSize, continue: page };
    const { items, version, next } = parseList(await deps.list(query, signal), deps.kind);
    known.readPage(items, taken);
    if (next === undefined) {
      deps.onReplace(known.takeList(taken), version);
      return version;
    }
    page = next;
  }
}

function parseList(
  answer: unknown,
  wanted: string | undefined,
): { items: unknown[]; version: string; next: string | undefined } {
  // Each member is looked at before use.
  const { kind, items, metadata } = (answer ?? {}) as {
    kind?: unknown;
    items?: unknown;
    metadata?: { resourceVersion?: unknown; continue?: unknown };
  };
  if (!Array.isArray(items) || typeof metadata?.resourceVersion !== 'string')
    throw new TypeError('the API server answered a list without items or resourceVersion');
  if (wanted !== undefined && kind !== undefined && kind !== wanted)
    throw new TypeError(`the API server answered a list of kind ${JSON.stringify(kind).slice(0, 100)}, not ${wanted}`);
  return {
    items,
    version: metadata.resourceVersion,
    next: typeof metadata.continue === 'string' && metadata.continue !== '' ? metadata.continue : undefined,
  };
}

/** One watch, until it ends for whatever reason; moves position.version along. Never throws. */
async function watchOnce<T>(
  deps: ListWatchDeps<T>,
  known: Known<T>,
  position: { version: string },
  doubt: Doubt,
  signal: AbortSignal,
): Promise<WatchEnd> {
  const silenceMs = deps.silenceMs ?? defaultSilenceMs;
  // Watch asks no more of a KubeConfig than ApiAccess has.
  const watch = new Watch(deps.access as KubeConfig);
  // Its own inactivity limit (a private 30 s) is shorter than the time between two bookmarks.
  Reflect.set(watch, 'requestTimeoutMs', silenceMs);
  return await new Promise<WatchEnd>((resolve) => {
    let request: AbortController | undefined;
    let isOver = false;
    let lastActivityMs = deps.now();
    const end = (how: WatchEnd): void => {
      if (isOver) return;
      isOver = true;
      clearInterval(watchdog);
      signal.removeEventListener('abort', onAbort);
      doubt.onRaised = () => {};
      request?.abort();
      resolve(how);
    };
    doubt.onRaised = () => end({ kind: 'asked', reason: 'doubt' });
    const onAbort = (): void => end({ kind: 'resume', reason: 'closed' });
    const watchdog = setInterval(
      () => {
        if (deps.now() - lastActivityMs > silenceMs) end({ kind: 'resume', reason: 'silence' });
      },
      Math.min(5_000, silenceMs / 2),
    );
    signal.addEventListener('abort', onAbort, { once: true });

    const onEvent = (kind: string, raw: unknown): void => {
      if (isOver) return;
      lastActivityMs = deps.now();
      deps.onActivity(lastActivityMs);
      try {
        if (kind === 'ERROR') {
          const code = (raw as { code?: unknown } | null)?.code;
          return end(
            code === 410 ? { kind: 'relist', reason: 'expired' } : { kind: 'failed', reason: `error-${String(code)}` },
          );
        }
        const version = (raw as { metadata?: { resourceVersion?: unknown } } | null)?.metadata?.resourceVersion;
        // Within one watch they rise; a store that goes back has lost something, which a list will show.
        if (typeof version !== 'string' || isOlderVersion(version, position.version))
          return end({ kind: 'relist', reason: 'bad-event' });
        if (kind !== 'BOOKMARK') {
          const object = known.takeEvent(kind, raw);
          if (object !== undefined) deps.onChange(kind === 'DELETED' ? 'deleted' : 'applied', object);
        }
        position.version = version;
      } catch (error) {
        // client-node would swallow it; a handler that failed has not seen the event, so all is looked at again.
        deps.log.error({ err: error }, 'a watch event could not be handled, listing again');
        end({ kind: 'relist', reason: 'handler-failed' });
      }
    };
    const onDone = (error: unknown): void => {
      const code = (error as { statusCode?: unknown } | null)?.statusCode;
      if (code === 410) return end({ kind: 'relist', reason: 'expired' });
      if (error === null || error === undefined) return end({ kind: 'resume', reason: 'ended' });
      const isTimeout = error instanceof DOMException && error.name === 'TimeoutError';
      if (isTimeout) return end({ kind: 'resume', reason: 'silence' });
      // Who could not be reached may be another one, or have lost something, when it can be: a list will show.
      if (typeof code !== 'number') return end({ kind: 'relist', reason: 'connection' });
      end({ kind: 'failed', reason: `http-${code}` });
    };
    const timeoutSeconds = 300 + Math.floor(deps.random() * 300);
    watch
      .watch(
        deps.path,
        { ...shape, allowWatchBookmarks: true, resourceVersion: position.version, timeoutSeconds },
        onEvent,
        onDone,
      )
      .then(
        (controller) => {
          request = controller;
          if (isOver) controller.abort();
        },
        (error: unknown) => onDone(error ?? new Error('the watch could not be begun')),
      );
  });
}

/** Waits, or returns at once when the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal.addEventListener('abort', finish, { once: true });
  });
}
