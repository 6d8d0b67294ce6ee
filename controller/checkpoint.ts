/**
 * What the controller needs to go on without the API server, on the host's disk: the objects as they were last seen, what is
 * remembered of each container, what is held against a store that lost it, and which store that was. Written a moment after
 * something changed, in one append; a controller that is killed before has lost that moment. Effects.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { parseContainer } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import { containerIDOf } from '../crds/index.ts';
import { type HoldReason, holdReasons, type StoreMark } from './absence.ts';
import { type Journal, type JournalRecord, openJournal } from './checkpoint-journal.ts';
import { emptyHistory, type History } from './history.ts';

/** An object that the store does not have any more, and whose container goes on. */
export interface Held {
  readonly uid: string;
  readonly key: string;
  readonly because: HoldReason;
  readonly sinceMs: number;
}

export interface CheckpointDeps {
  /** Where the file is; undefined: nothing is kept over a restart. */
  readonly dir: string | undefined;
  /** What is remembered of each container now. */
  readonly entries: ReadonlyMap<string, { readonly history: History }>;
  readonly onWritten: (result: 'success' | 'error') => void;
  readonly log: Logger;
  readonly delayMs?: number | undefined;
}

export interface Checkpoint {
  /** As they were when the controller started. */
  readonly objects: readonly Container[];
  readonly held: readonly Held[];
  readonly store: StoreMark | undefined;
  /** What an earlier controller remembered of a container. */
  historyOf(containerID: string): History | undefined;
  noteObject(object: Container): void;
  forgetObject(uid: string): void;
  noteHeld(held: Held): void;
  forgetHeld(uid: string): void;
  noteStore(mark: StoreMark): void;
  /** The store has come so far. That is written with the next object, so that a store without it is known to be older. */
  noteProgress(mark: StoreMark): void;
  /** Something may be remembered otherwise than before. */
  noteWork(): void;
  /** Writes what is not written yet. */
  close(): Promise<void>;
}

/** In the folder of the checkpoint. */
export const checkpointFile = 'checkpoint';
const delayMs = 1_000;
const retryMs = 5_000;
/** So many objects are looked at before others get their turn. */
const slice = 100;

/** Never rejects: without a checkpoint the controller works all the same, and says so. */
export async function openCheckpoint(deps: CheckpointDeps): Promise<Checkpoint> {
  if (deps.dir === undefined) return new FileCheckpoint(deps, undefined, new Map());
  try {
    const { journal, records, damaged } = await openJournal(deps.dir, checkpointFile);
    if (damaged > 0)
      deps.log.error({ damaged, dir: deps.dir }, 'lines of the checkpoint are damaged; what they said is not known');
    return new FileCheckpoint(deps, journal, records);
  } catch (error) {
    deps.onWritten('error');
    deps.log.error(
      { err: error, dir: deps.dir },
      'the checkpoint cannot be read or written; without the API server nothing could be started after a restart. Make the folder writable and restart the daemon',
    );
    return new FileCheckpoint(deps, undefined, new Map());
  }
}

class FileCheckpoint implements Checkpoint {
  readonly objects: readonly Container[];
  readonly held: readonly Held[];
  readonly store: StoreMark | undefined;
  readonly #deps: CheckpointDeps;
  readonly #journal: Journal | undefined;
  /** By uid. */
  readonly #latest = new Map<string, Container>();
  /** Of what is on disk, by uid. */
  readonly #digests = new Map<string, string>();
  readonly #changed = new Set<string>();
  /** By container id: of an earlier controller, and as they are on disk now. */
  readonly #recalled = new Map<string, History>();
  readonly #written = new Map<string, History>();
  /** What else is to be written, by name. */
  readonly #pending = new Map<string, unknown>();
  readonly #heldNow = new Map<string, Held>();
  #storeNow: StoreMark | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #isFailing = false;
  #isClosed = false;

  constructor(deps: CheckpointDeps, journal: Journal | undefined, records: ReadonlyMap<string, unknown>) {
    this.#deps = deps;
    this.#journal = journal;
    for (const [name, value] of records) this.#recall(name, value);
    this.objects = [...this.#latest.values()];
    this.held = [...this.#heldNow.values()];
    this.store = this.#storeNow;
  }

  #recall(name: string, value: unknown): void {
    const [kind, id = ''] = name.split(' ', 2);
    if (kind === 'object') {
      const object = parseContainer(value);
      if (object === undefined) return;
      this.#latest.set(object.metadata.uid, object);
      this.#digests.set(object.metadata.uid, digestOf(object));
    } else if (kind === 'history') {
      const history = parseHistory(value);
      if (history !== undefined) this.#recalled.set(id, history);
    } else if (kind === 'held') {
      const held = parseHeld(value);
      if (held !== undefined) this.#heldNow.set(held.uid, held);
    } else if (kind === 'store') this.#storeNow = parseMark(value);
  }

  historyOf(containerID: string): History | undefined {
    return this.#recalled.get(containerID);
  }

  noteObject(object: Container): void {
    if (this.#journal === undefined) return;
    this.#latest.set(object.metadata.uid, object);
    this.#changed.add(object.metadata.uid);
    this.noteWork();
  }

  forgetObject(uid: string): void {
    if (!this.#latest.delete(uid)) return;
    this.#changed.delete(uid);
    this.#digests.delete(uid);
    this.#put(`object ${uid}`, undefined);
  }

  noteHeld(held: Held): void {
    this.#heldNow.set(held.uid, held);
    this.#put(`held ${held.uid}`, held);
  }

  forgetHeld(uid: string): void {
    if (this.#heldNow.delete(uid)) this.#put(`held ${uid}`, undefined);
  }

  noteStore(mark: StoreMark): void {
    this.#storeNow = mark;
    this.#put('store', mark);
  }

  noteProgress(mark: StoreMark): void {
    this.#storeNow = mark;
  }

  #put(name: string, value: unknown): void {
    if (this.#journal === undefined) return;
    this.#pending.set(name, value);
    this.noteWork();
  }

  noteWork(): void {
    if (this.#journal === undefined || this.#isClosed || this.#timer !== undefined) return;
    const waitMs = this.#isFailing ? retryMs : (this.#deps.delayMs ?? delayMs);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#flush());
    }, waitMs);
  }

  async #flush(): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) return;
    const changed = [...this.#changed];
    const pending = new Map(this.#pending);
    this.#changed.clear();
    this.#pending.clear();
    const histories = this.#changedHistories();
    try {
      const objects = await this.#changedObjects(changed);
      if (objects.length > 0 && this.#storeNow !== undefined) pending.set('store', this.#storeNow);
      await journal.append([
        ...[...pending].map(([name, value]) => ({ name, value })),
        ...objects.map(({ record }) => record),
        ...histories.map(([id, history]) => ({ name: `history ${id}`, value: history })),
      ]);
      for (const { uid, digest } of objects) if (this.#latest.has(uid)) this.#digests.set(uid, digest);
      for (const [id, history] of histories) {
        this.#recalled.delete(id);
        if (history === undefined) this.#written.delete(id);
        else this.#written.set(id, history);
      }
      if (journal.isDue) await journal.replace(this.#everything());
      if (this.#isFailing) this.#deps.log.info('the checkpoint is written again');
      this.#isFailing = false;
      this.#deps.onWritten('success');
    } catch (error) {
      for (const uid of changed) if (this.#latest.has(uid)) this.#changed.add(uid);
      for (const [name, value] of pending) if (!this.#pending.has(name)) this.#pending.set(name, value);
      this.#deps.onWritten('error');
      if (!this.#isFailing) this.#deps.log.error({ err: error }, 'the checkpoint cannot be written; it is tried again');
      this.#isFailing = true;
      this.noteWork();
    }
  }

  async #changedObjects(uids: readonly string[]): Promise<{ uid: string; digest: string; record: JournalRecord }[]> {
    const found: { uid: string; digest: string; record: JournalRecord }[] = [];
    for (const [index, uid] of uids.entries()) {
      if (index % slice === slice - 1) await new Promise((resolve) => setImmediate(resolve));
      const object = this.#latest.get(uid);
      if (object === undefined) continue;
      const digest = digestOf(object);
      if (this.#digests.get(uid) !== digest)
        found.push({ uid, digest, record: { name: `object ${uid}`, value: object } });
    }
    return found;
  }

  #changedHistories(): [string, History | undefined][] {
    const { entries } = this.#deps;
    const changed: [string, History | undefined][] = [];
    for (const [id, { history }] of entries) if (this.#written.get(id) !== history) changed.push([id, history]);
    for (const id of this.#written.keys()) if (!entries.has(id)) changed.push([id, undefined]);
    return changed;
  }

  *#everything(): Iterable<JournalRecord> {
    if (this.#storeNow !== undefined) yield { name: 'store', value: this.#storeNow };
    const ids = new Set<string>();
    for (const object of [...this.#latest.values()]) {
      ids.add(containerIDOf(object));
      yield { name: `object ${object.metadata.uid}`, value: object };
    }
    for (const held of [...this.#heldNow.values()]) yield { name: `held ${held.uid}`, value: held };
    for (const [id, history] of [...this.#written]) yield { name: `history ${id}`, value: history };
    // Of a container that no worker has looked at yet.
    for (const [id, history] of [...this.#recalled]) if (ids.has(id)) yield { name: `history ${id}`, value: history };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#writing = this.#writing.then(() => this.#flush());
    await this.#writing;
    await this.#journal?.close();
  }
}

/** Of what matters without the API server: not the status that we write ourselves, nor the version that this changes. */
function digestOf(object: Container): string {
  const { metadata, spec, status } = object;
  const text = JSON.stringify([{ ...metadata, resourceVersion: undefined }, spec, status?.containerID]);
  return createHash('sha256').update(text).digest('base64');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The checksum says that it is as it was written; this, that it was written by a program that meant the same. */
function parseHistory(value: unknown): History | undefined {
  if (!isRecord(value)) return undefined;
  for (const [name, like] of Object.entries(emptyHistory)) {
    const seen = value[name];
    if (typeof seen !== typeof like || (typeof seen === 'number' && !Number.isFinite(seen))) return undefined;
  }
  // What is counted is there; the rest is optional, and was written from a History.
  return { ...emptyHistory, ...(value as Partial<History>) };
}

export function parseHeld(value: unknown): Held | undefined {
  if (!isRecord(value)) return undefined;
  const { uid, key, because, sinceMs } = value;
  if (typeof uid !== 'string' || typeof key !== 'string' || typeof sinceMs !== 'number') return undefined;
  const reason = holdReasons.find((one) => one === because);
  return { uid, key, because: reason ?? 'MassDeletion', sinceMs };
}

function parseMark(value: unknown): StoreMark | undefined {
  if (!isRecord(value) || typeof value.version !== 'string') return undefined;
  const { uid, restoration, version } = value;
  return {
    uid: typeof uid === 'string' ? uid : undefined,
    ...(typeof restoration === 'string' ? { restoration } : {}),
    version,
  };
}
