/**
 * What the store knows, in memory: every object with its encoded form, and for each kind a bounded history of changes
 * for watches and for pages of a list. Only what is committed gets in here; readers never see anything else.
 */
import { type Entry, lengthOf } from './entry-object.ts';
import { expired } from './status-error.ts';

/** One committed write. `entry` of a DELETED is the last state, under the revision of its removal. */
export interface Change {
  readonly revision: number;
  readonly kind: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly entry: Entry;
  readonly previous: Entry | undefined;
  /** Encoded watch events, by their form; filled by the first watcher that needs one. */
  readonly frames: Map<string, Buffer>;
}

export interface HistoryLimits {
  readonly maxChanges: number;
  readonly maxBytes: number;
}

/** Places of forgotten changes are taken out in lots of this many, so that no write moves the whole array. */
const forgetAtOnce = 256;

export function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

/** All objects of one kind. Keys are ordered as etcd orders them: by code unit. */
export class Collection {
  readonly #entries = new Map<string, Entry>();
  /** Why what is on disk under a key cannot be read. It stays there until something is written under the key. */
  readonly #damages = new Map<string, string>();
  /** The keys in order; undefined after a change of the set, until a reader needs it. */
  #sortedKeys: readonly string[] | undefined;
  /** undefined: forgotten, and not yet taken out. */
  readonly #history: (Change | undefined)[] = [];
  #historyStart = 0; // index of the oldest change kept: shifting a long array for each write would be slow
  #historyBytes = 0;
  #forgottenRevision: number;
  readonly #limits: HistoryLimits;
  readonly #listeners = new Set<(change: Change) => void>();

  /** `revision`: the last one written for this kind; changes up to it are not in the history. */
  constructor(revision: number, limits: HistoryLimits) {
    this.#forgottenRevision = revision;
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** Puts in an object read from disk, which is no change. */
  load(entry: Entry): void {
    this.#entries.set(entry.key, entry);
    this.#sortedKeys = undefined;
  }

  /** Shows what is stored in another shape; nothing was written, so nobody is told. */
  refresh(show: (entry: Entry) => Entry): void {
    for (const [key, entry] of this.#entries) {
      const shown = show(entry);
      if (shown !== entry) this.#entries.set(key, shown);
    }
  }

  /** Notes that there is something on disk that nobody can read. */
  loadDamaged(key: string, problem: string): void {
    this.#damages.set(key, problem);
  }

  /** Why the object of a key cannot be read; undefined: it can, or there is none. */
  damageOf(key: string): string | undefined {
    return this.#damages.get(key);
  }

  get damagedCount(): number {
    return this.#damages.size;
  }

  /** Takes in one committed write and tells the watchers. */
  apply(change: Change): void {
    const { key } = change.entry;
    if (change.kind !== 'MODIFIED') this.#sortedKeys = undefined;
    this.#damages.delete(key);
    if (change.kind === 'DELETED') this.#entries.delete(key);
    else this.#entries.set(key, change.entry);
    this.#remember(change);
    for (const listener of this.#listeners) listener(change);
    change.frames.clear(); // all who watch have theirs; kept in the history they would double its size
  }

  /** Calls back for every change from now on; returns how to stop. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Changes after a revision, oldest first. Throws StatusError 410 if some of them are forgotten. */
  changesSince(revision: number): readonly Change[] {
    if (revision < this.#forgottenRevision) {
      throw expired(`too old resource version: ${revision} (${this.#forgottenRevision})`);
    }
    let low = this.#historyStart;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#history[middle]?.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    return this.#history.slice(low).filter((change) => change !== undefined);
  }

  /**
   * The objects of one namespace (undefined: of all), in order, from after a key on; as they were at a revision, if
   * one is given. Throws StatusError 410 if that revision is forgotten.
   */
  *list(namespace: string | undefined, { after, atRevision }: ListPosition = {}): Iterable<Entry> {
    const undone = atRevision === undefined ? undefined : this.#undoneSince(atRevision);
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    // Most often nothing was written between two pages of a list, and the keys are in order already.
    const isAsNow = undone === undefined || undone.size === 0;
    const keys = isAsNow ? this.#keys() : [...new Set([...this.#keys(), ...undone.keys()])].sort();
    const from = after === undefined || after < prefix ? prefix : after;
    for (let index = lowerBound(keys, from); index < keys.length; index++) {
      const key = keys[index] ?? '';
      if (!key.startsWith(prefix)) return;
      if (key === after) continue;
      const entry = undone?.has(key) === true ? undone.get(key) : this.#entries.get(key);
      if (entry !== undefined) yield entry;
    }
  }

  #keys(): readonly string[] {
    this.#sortedKeys ??= [...this.#entries.keys()].sort();
    return this.#sortedKeys;
  }

  /** For every key written after a revision: what it held then. */
  #undoneSince(revision: number): ReadonlyMap<string, Entry | undefined> {
    const undone = new Map<string, Entry | undefined>();
    for (const { entry, previous } of this.changesSince(revision)) {
      if (!undone.has(entry.key)) undone.set(entry.key, previous);
    }
    return undone;
  }

  #remember(change: Change): void {
    this.#history.push(change);
    this.#historyBytes += lengthOf(change.entry);
    const { maxChanges, maxBytes } = this.#limits;
    while (this.#history.length - this.#historyStart > maxChanges || this.#historyBytes > maxBytes) {
      const oldest = this.#history[this.#historyStart];
      if (oldest === undefined) break;
      this.#historyBytes -= lengthOf(oldest.entry);
      this.#forgottenRevision = oldest.revision;
      this.#history[this.#historyStart++] = undefined; // until the lot is full, it would hold its object
    }
    if (this.#historyStart >= forgetAtOnce) {
      this.#history.splice(0, this.#historyStart);
      this.#historyStart = 0;
    }
  }
}

export interface ListPosition {
  readonly after?: string | undefined;
  readonly atRevision?: number | undefined;
}

/** The index of the first key that is not before the one given. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
