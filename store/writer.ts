/**
 * Group commit. Writes that arrive while a commit is under way share the next one. Each write is a function that reads
 * the state including the batch's earlier writes, decides, and says what to put; readers and watchers see a batch only
 * once it is on disk, and a batch that cannot be written changes nothing.
 */
import type { Database, StoredChange } from './database.ts';
import { isDiskFull } from './database-file.ts';
import { type Entry, leanEntry } from './entry-object.ts';
import { type Change, Collection, type HistoryLimits, keyOf, type ListPosition } from './memory.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import {
  cannotSeal,
  insufficientStorage,
  internalError,
  type StatusError,
  serviceUnavailable,
  tooLarge,
} from './status-error.ts';

/** One stored object, as etcd limits it (--max-request-bytes). */
const maxObjectBytes = 1.5 * 1024 * 1024;

/** Writes in one commit at most, so that the first of them does not wait for too many others. */
const maxBatch = 512;

/** Milliseconds for deciding about the writes of one commit: the event loop is held up for so long. */
const maxDecideMs = 10;

/** Writes that may wait; more are turned away, so that an overload cannot fill the memory. */
const maxQueued = 20_000;

type Storage = Pick<ResourceKind, 'storageKey' | 'conversion'>;

/** What a write sees and may do. Everything it puts is taken back if it throws. */
export interface Transaction {
  get(kind: Storage, namespace: string | undefined, name: string): Entry | undefined;
  list(kind: Storage, namespace: string | undefined): readonly Entry[];
  /** Why the object of a key, which `get` does not find, cannot be read; undefined: there is none. */
  damageOf(kind: Storage, key: string): string | undefined;
  /** Stores the object under the next revision, which is set in its metadata. Throws StatusError 413. */
  put(kind: Storage, object: KubeObject): Entry;
  /** Removes the object; the entry returned holds its last state under the revision of the removal. */
  remove(kind: Storage, entry: Pick<Entry, 'key' | 'object'>): Entry;
}

export interface CommitObserver {
  committed(batchSize: number, durationSeconds: number, revision: number): void;
  failed(error: unknown): void;
}

interface Waiting {
  /** Runs the write, and keeps its result or throws. */
  readonly run: (transaction: Transaction) => void;
  readonly succeed: () => void;
  readonly fail: (error: unknown) => void;
}

export class Writer {
  readonly #database: Database;
  readonly #collections = new Map<string, Collection>();
  readonly #limits: HistoryLimits;
  readonly #loadedRevisions: ReadonlyMap<string, number>;
  readonly #observer: CommitObserver;
  readonly #listeners = new Set<(storageKey: string, change: Change) => void>();
  #queue: Waiting[] = [];
  #scheduled: NodeJS.Immediate | undefined;
  #revision: number;
  #isClosed = false;

  constructor(database: Database, limits: HistoryLimits, observer: CommitObserver) {
    this.#database = database;
    this.#limits = limits;
    this.#observer = observer;
    this.#loadedRevisions = database.loadRevisions();
    this.#revision = Math.max(1, ...this.#loadedRevisions.values());
  }

  /** The last committed revision. */
  get revision(): number {
    return this.#revision;
  }

  /** Why nothing may be stored under a key. */
  refusalOf({ storageKey }: Storage, key: string): string | undefined {
    return this.#database.refusalOf?.(storageKey, key);
  }

  get queueLength(): number {
    return this.#queue.length;
  }

  collection({ storageKey }: Storage): Collection {
    let found = this.#collections.get(storageKey);
    if (found === undefined) {
      const own = this.#loadedRevisions.get(storageKey) ?? 0;
      found = new Collection(Math.max(own, this.#loadedRevisions.get('') ?? 0), this.#limits);
      this.#collections.set(storageKey, found);
    }
    return found;
  }

  /** Calls back for every committed change of every kind; returns how to stop. */
  subscribe(listener: (storageKey: string, change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Runs the write in the next batch; fulfilled once it is on disk. Rejects with what the write threw, or with
   * StatusError 503 (closed, overloaded), 507 (disk full) or 500 (any other fault of the disk).
   */
  write<T>(decide: (transaction: Transaction) => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(serviceUnavailable('the store is shutting down; try again'));
    if (this.#queue.length >= maxQueued) {
      return Promise.reject(serviceUnavailable(`${maxQueued} writes are waiting already; try again later`));
    }
    return new Promise((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      this.#queue.push({
        run: (transaction) => {
          result = { value: decide(transaction) };
        },
        // succeed is called only after run returned, so the result is there
        succeed: () => resolve((result as { readonly value: T }).value),
        fail: reject,
      });
      this.#schedule();
    });
  }

  /** What a write would do (a dry run): nothing is stored, and objects keep the revision they have. */
  async preview<T>(decide: (transaction: Transaction) => T): Promise<T> {
    return decide(new Batch(this, this.#revision, 'preview'));
  }

  /** Commits what waits, and takes no more. */
  close(): void {
    this.#isClosed = true;
    while (this.#queue.length > 0) this.#commitBatch();
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
  }

  #schedule(): void {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      this.#commitBatch();
      if (this.#queue.length > 0) this.#schedule();
    });
  }

  #commitBatch(): void {
    const batch = new Batch(this, this.#revision, 'commit');
    const begun = performance.now();
    const waiting: Waiting[] = [];
    // Told only once the batch is on disk, the refused too: they may have been refused for what others of it did.
    const settlements: (() => void)[] = [];
    for (const write of this.#queue) {
      if (waiting.length >= maxBatch || performance.now() - begun > maxDecideMs) break;
      waiting.push(write);
      try {
        batch.attempt(write.run);
        settlements.push(write.succeed);
      } catch (error) {
        settlements.push(() => write.fail(error));
      }
    }
    this.#queue = this.#queue.slice(waiting.length);
    if (batch.changes.length > 0 && !this.#store(batch, waiting)) return;
    for (const settle of settlements) settle();
  }

  /** Puts a batch on disk, then into memory. False: it could not, and all its writes were told. */
  #store(batch: Batch, waiting: readonly Waiting[]): boolean {
    const begun = performance.now();
    try {
      this.#database.commit(batch.changes.map(toStored));
    } catch (error) {
      this.#observer.failed(error);
      const answer = storageFailure(error);
      for (const write of waiting) write.fail(answer);
      return false;
    }
    this.#revision = batch.revision;
    this.#observer.committed(waiting.length, (performance.now() - begun) / 1000, batch.revision);
    for (const { storageKey, change } of batch.changes) {
      this.collection({ storageKey }).apply(change);
      for (const listener of this.#listeners) listener(storageKey, change);
    }
    return true;
  }
}

function storageFailure(error: unknown): StatusError {
  const what = error instanceof Error ? error.message : String(error);
  if (isDiskFull(error)) {
    return insufficientStorage(
      `the store's disk is full (${what}); nothing was changed; free some space and try again`,
      {
        cause: error,
      },
    );
  }
  return internalError(`the store's disk failed (${what}); nothing was changed`, { cause: error });
}

interface StagedChange {
  readonly storageKey: string;
  readonly change: Change;
}

function toStored({ storageKey, change }: StagedChange): StoredChange {
  const { revision, kind, entry } = change;
  return { storageKey, key: entry.key, revision, json: kind === 'DELETED' ? undefined : entry.json };
}

/** The writes of one commit, over the committed state. */
class Batch implements Transaction {
  readonly #writer: Writer;
  /** By kind, then by key; undefined: removed in this batch. */
  readonly #overlay = new Map<string, Map<string, Entry | undefined>>();
  readonly #purpose: 'commit' | 'preview';
  changes: StagedChange[] = [];
  revision: number;

  constructor(writer: Writer, revision: number, purpose: 'commit' | 'preview') {
    this.#writer = writer;
    this.revision = revision;
    this.#purpose = purpose;
  }

  /** Runs one write; if it throws, what it put before is taken back. */
  attempt(run: (transaction: Transaction) => void): void {
    const { revision } = this;
    const count = this.changes.length;
    try {
      run(this);
    } catch (error) {
      for (const { storageKey, change } of this.changes.slice(count).reverse()) {
        this.#overlay.get(storageKey)?.set(change.entry.key, change.previous);
      }
      this.changes = this.changes.slice(0, count);
      this.revision = revision;
      throw error;
    }
  }

  get(kind: Storage, namespace: string | undefined, name: string): Entry | undefined {
    const entry = this.#getKey(kind, keyOf(namespace, name));
    return entry === undefined ? undefined : shown(kind, entry);
  }

  list(kind: Storage, namespace: string | undefined): readonly Entry[] {
    const entries = this.#list(kind, namespace);
    return kind.conversion === undefined ? entries : entries.map((entry) => shown(kind, entry));
  }

  #list(kind: Storage, namespace: string | undefined): readonly Entry[] {
    const overlay = this.#overlay.get(kind.storageKey);
    const position: ListPosition = {};
    const committed = [...this.#writer.collection(kind).list(namespace, position)];
    if (overlay === undefined) return committed;
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const staged = [...overlay].filter(([key]) => key.startsWith(prefix)).map(([, entry]) => entry);
    return [...committed.filter(({ key }) => !overlay.has(key)), ...staged.filter((entry) => entry !== undefined)];
  }

  damageOf(kind: Storage, key: string): string | undefined {
    if (this.#overlay.get(kind.storageKey)?.has(key) === true) return undefined;
    return this.#writer.collection(kind).damageOf(key);
  }

  put(kind: Storage, object: KubeObject): Entry {
    const { metadata } = object;
    const previous = this.#getKey(kind, keyOf(metadata.namespace, metadata.name));
    const stored = kind.conversion?.toStorage(object) ?? object;
    return shown(kind, this.#stage(kind, stored, previous === undefined ? 'ADDED' : 'MODIFIED', previous));
  }

  remove(kind: Storage, { key, object }: Pick<Entry, 'key' | 'object'>): Entry {
    const stored = kind.conversion?.toStorage(object) ?? object;
    return shown(kind, this.#stage(kind, stored, 'DELETED', this.#getKey(kind, key)));
  }

  #getKey(kind: Storage, key: string): Entry | undefined {
    const overlay = this.#overlay.get(kind.storageKey);
    return overlay?.has(key) === true ? overlay.get(key) : this.#writer.collection(kind).get(key);
  }

  #stage(kind: Storage, before: KubeObject, changeKind: Change['kind'], previous: Entry | undefined): Entry {
    const revision = this.revision + 1;
    const resourceVersion = { resourceVersion: String(revision) };
    const metadata = { ...before.metadata, ...(this.#purpose === 'commit' ? resourceVersion : {}) };
    const object = { ...before, metadata };
    const json = JSON.stringify(object);
    const sizeBytes = json.length < maxObjectBytes / 3 ? 0 : Buffer.byteLength(json);
    if (sizeBytes > maxObjectBytes && changeKind !== 'DELETED') {
      throw tooLarge(`the object has ${sizeBytes} bytes, and the limit is ${maxObjectBytes}`);
    }
    const key = keyOf(object.metadata.namespace, object.metadata.name);
    const refusal = changeKind === 'DELETED' ? undefined : this.#writer.refusalOf(kind, key);
    if (refusal !== undefined) throw cannotSeal(refusal);
    const entry = leanEntry({ key, revision, object, json });
    let overlay = this.#overlay.get(kind.storageKey);
    if (overlay === undefined) {
      overlay = new Map();
      this.#overlay.set(kind.storageKey, overlay);
    }
    overlay.set(key, changeKind === 'DELETED' ? undefined : entry);
    const change: Change = { revision, kind: changeKind, entry, previous, frames: new Map() };
    this.changes.push({ storageKey: kind.storageKey, change });
    this.revision = revision;
    return entry;
  }
}

/** An entry as the version of a kind has it. */
function shown({ conversion }: Storage, entry: Entry): Entry {
  if (conversion === undefined) return entry;
  const object = conversion.fromStorage(entry.object);
  return { key: entry.key, revision: entry.revision, object, json: JSON.stringify(object) };
}
