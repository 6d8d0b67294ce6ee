/**
 * One watch: the objects there are (unless the client goes on from a revision), then every change until the client
 * leaves or the time is over. Writes to the client's socket; a client that does not read is cut off, never waited for.
 */
import { once } from 'node:events';
import type { AnswerForm } from './accept.ts';
import { type Entry, lengthOf, textWithoutOwners, withoutOwners } from './entry-object.ts';
import type { JsonObject } from './json.ts';
import type { Change } from './memory.ts';
import type { CollectionView } from './projection.ts';
import { apiVersionOf, type ResourceKind } from './resources.ts';
import type { EntrySelector } from './selectors.ts';
import { StatusError } from './status-error.ts';
import { formatTable, type IncludeObject, metadataOnly } from './tables.ts';
import type { WatchQueues } from './watch-queues.ts';

/** Where the events go: an HTTP response, as far as it is needed. */
export interface WatchSink {
  readonly writableLength: number;
  write(chunk: Buffer): boolean;
  end(): void;
  destroy(): void;
  once(event: 'close' | 'drain', listener: () => void): unknown;
}

export interface WatchOptions {
  readonly kind: ResourceKind;
  readonly namespace: string | undefined;
  readonly selector: EntrySelector;
  /** undefined: begin with the objects there are. */
  readonly sinceRevision: number | undefined;
  readonly bookmarks: { readonly periodic: boolean; readonly afterInitial: boolean };
  readonly form: AnswerForm;
  readonly includeObject: IncludeObject;
  readonly omitsManagedFields: boolean;
  readonly timeoutMs: number;
}

export interface WatchDeps {
  readonly collection: CollectionView;
  /** The store's present revision. */
  readonly revision: () => number;
  readonly now: () => number;
  readonly queues: Pick<WatchQueues, 'perWatcher' | 'written' | 'cut' | 'forget'>;
}

/** Changes that may wait while the first objects are sent; their bytes are bounded as those in the queue. */
const maxPending = 10_000;

const bookmarkIntervalMs = 20_000;

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';

/** Which event a change is to a watcher: an object may come into its view, or leave it. Pure. */
export function decideWatchEvent(
  change: Change,
  isVisible: (entry: Entry) => boolean,
): { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly shows: 'present' | 'previous' } | undefined {
  const before = change.previous !== undefined && isVisible(change.previous);
  if (change.kind === 'DELETED') return before ? { type: 'DELETED', shows: 'present' } : undefined;
  const now = isVisible(change.entry);
  if (now) return { type: before ? 'MODIFIED' : 'ADDED', shows: 'present' };
  return before ? { type: 'DELETED', shows: 'previous' } : undefined;
}

/** Serves the watch until it ends; never rejects. */
export async function serveWatch(
  options: WatchOptions,
  deps: WatchDeps,
  sink: WatchSink,
  stop: AbortSignal,
): Promise<void> {
  const watch = new Watch(options, deps, sink);
  await watch.run(stop);
}

class Watch {
  readonly #options: WatchOptions;
  readonly #deps: WatchDeps;
  readonly #sink: WatchSink;
  readonly #ended = new AbortController();
  /** Changes that came while the first events are sent; undefined once they go out at once. */
  #pending: Change[] | undefined = [];
  #pendingBytes = 0;
  #isFirstTable = true;

  constructor(options: WatchOptions, deps: WatchDeps, sink: WatchSink) {
    this.#options = options;
    this.#deps = deps;
    this.#sink = sink;
  }

  async run(stop: AbortSignal): Promise<void> {
    const { collection } = this.#deps;
    const { timeoutMs, bookmarks } = this.#options;
    const end = (): void => this.#ended.abort();
    this.#sink.once('close', end);
    stop.addEventListener('abort', end, { once: true });
    const { ended } = this.#options.kind;
    ended?.addEventListener('abort', end, { once: true });
    if (ended?.aborted === true) end();
    const unsubscribe = collection.subscribe((change) => this.#receive(change));
    const timer = setTimeout(() => {
      if (bookmarks.periodic) this.#sendBookmark();
      end();
    }, timeoutMs);
    const ticker = bookmarks.periodic ? setInterval(() => this.#sendBookmark(), bookmarkIntervalMs) : undefined;
    try {
      await this.#sendInitial();
      if (!this.#ended.signal.aborted) await once(this.#ended.signal, 'abort');
    } finally {
      unsubscribe();
      clearTimeout(timer);
      clearInterval(ticker);
      stop.removeEventListener('abort', end);
      ended?.removeEventListener('abort', end);
      this.#deps.queues.forget(this.#sink);
      this.#sink.end();
    }
  }

  async #sendInitial(): Promise<void> {
    const { collection, revision } = this.#deps;
    const { sinceRevision, namespace, bookmarks } = this.#options;
    const begin = revision();
    if (sinceRevision === undefined) {
      // Taken whole before anything is awaited, so that the changes after it join on without a gap.
      const entries = [...collection.list(namespace)].filter((entry) => this.#options.selector.matchesEntry(entry));
      for (const entry of entries) await this.#writeSlowly(() => this.#encodeNew('ADDED', entry));
    } else if (sinceRevision > begin) {
      return this.#fail(new StatusError(410, 'Expired', `resource version ${sinceRevision} is ahead of ${begin}`));
    } else {
      const missed = this.#changesSince(sinceRevision);
      for (const change of missed) await this.#writeSlowly(() => this.#encodeChange(change, 'later'));
    }
    if (bookmarks.afterInitial) {
      this.#write(this.#encodeBookmark(begin, { annotations: { 'k8s.io/initial-events-end': 'true' } }));
    }
    const pending = this.#pending ?? [];
    this.#pending = undefined;
    for (const change of pending) this.#write(this.#encodeChange(change, 'later'));
  }

  #changesSince(revision: number): readonly Change[] {
    try {
      return this.#deps.collection.changesSince(revision);
    } catch (error) {
      if (error instanceof StatusError) this.#fail(error);
      else throw error;
      return [];
    }
  }

  #receive(change: Change): void {
    if (this.#ended.signal.aborted) return;
    if (this.#pending === undefined) {
      this.#write(this.#encodeChange(change, 'as it happens'));
      return;
    }
    this.#pendingBytes += lengthOf(change.entry);
    const { queues } = this.#deps;
    if (this.#pending.push(change) > maxPending || this.#pendingBytes > queues.perWatcher) {
      this.#pending = []; // the client reads too slowly: it may begin again
      this.#ended.abort();
      queues.cut(this.#sink, this.#options.kind.plural);
    }
  }

  #isVisible(entry: Entry): boolean {
    const { namespace, selector } = this.#options;
    return (namespace === undefined || entry.key.startsWith(`${namespace}/`)) && selector.matchesEntry(entry);
  }

  #write(frame: Buffer | undefined): boolean {
    if (frame === undefined || this.#ended.signal.aborted) return true;
    const isTaken = this.#sink.write(frame);
    this.#deps.queues.written(this.#sink, this.#options.kind.plural);
    return isTaken;
  }

  async #writeSlowly(encode: () => Buffer | undefined): Promise<void> {
    const { signal } = this.#ended;
    if (signal.aborted || this.#write(encode())) return;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        signal.removeEventListener('abort', go);
        resolve();
      };
      signal.addEventListener('abort', go, { once: true });
      this.#sink.once('drain', go);
    });
  }

  #sendBookmark(): void {
    // Until the first events are out, the present revision would promise too much.
    if (this.#pending === undefined) this.#write(this.#encodeBookmark(this.#deps.revision(), {}));
  }

  #encodeBookmark(revision: number, extra: JsonObject): Buffer {
    const { kind, form } = this.#options;
    const metadata = { resourceVersion: String(revision), creationTimestamp: null, ...extra };
    if (form.as === 'table') {
      const table = { kind: 'Table', apiVersion: `meta.k8s.io/${form.metaVersion}`, columnDefinitions: [], rows: [] };
      return encodeEvent('BOOKMARK', { ...table, metadata });
    }
    return encodeEvent('BOOKMARK', { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata });
  }

  #fail(error: StatusError): void {
    this.#sink.write(encodeEvent('ERROR', error.toStatus()));
    this.#ended.abort();
  }

  /** What is encoded later is not kept with the change: nobody would take it out of the history again. */
  #encodeChange(change: Change, when: 'as it happens' | 'later'): Buffer | undefined {
    const event = decideWatchEvent(change, (entry) => this.#isVisible(entry));
    if (event === undefined) return undefined;
    const { form, omitsManagedFields } = this.#options;
    const { as, metaVersion } = form;
    if (as === 'table') return this.#encodeNew(event.type, shownEntry(change, event.shows));
    // Everyone else who watches needs the same bytes.
    const name = `${event.type} ${event.shows} ${as} ${metaVersion} ${omitsManagedFields ? 'short' : 'whole'}`;
    let frame = change.frames.get(name);
    if (frame === undefined) {
      frame = this.#encodeNew(event.type, shownEntry(change, event.shows));
      if (when === 'as it happens') change.frames.set(name, frame);
    }
    return frame;
  }

  #encodeNew(type: EventType, entry: Entry): Buffer {
    const { kind, form, includeObject, omitsManagedFields } = this.#options;
    if (form.as === 'object') {
      const text = omitsManagedFields ? textWithoutOwners(entry) : entry.json;
      return Buffer.from(`{"type":"${type}","object":${text}}\n`);
    }
    const object = omitsManagedFields ? withoutOwners(entry.object) : entry.object;
    switch (form.as) {
      case 'metadata':
        return encodeEvent(type, metadataOnly(object, form.metaVersion));
      case 'table': {
        const header = this.#isFirstTable ? 'with columns' : 'rows only';
        this.#isFirstTable = false;
        const nowMs = this.#deps.now();
        const options = { metaVersion: form.metaVersion, includeObject, nowMs, header } as const;
        const metadata = { resourceVersion: String(entry.revision) };
        return encodeEvent(type, formatTable(kind, [object], metadata, options));
      }
      default:
        throw new TypeError(`unknown form: ${JSON.stringify(form.as satisfies never)}`);
    }
  }
}

/** An object that left a watcher's view is shown as it last was there, under the revision of the change. */
function shownEntry({ entry, previous, revision }: Change, shows: 'present' | 'previous'): Entry {
  if (shows === 'present' || previous === undefined) return entry;
  const { object } = previous;
  const shown = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
  return { key: previous.key, revision, object: shown, json: JSON.stringify(shown) };
}

function encodeEvent(type: EventType | 'ERROR', object: JsonObject): Buffer {
  return Buffer.from(`${JSON.stringify({ type, object })}\n`);
}
