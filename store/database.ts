/**
 * The file that holds all objects: SQLite in WAL mode with synchronous=FULL, so what was committed survives a crash of
 * the process and of the machine. Each row has a checksum, and Secrets are sealed. Effects only; one process at a time,
 * held by SQLite's exclusive lock.
 */
import { statSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { cannotOpen, openFile } from './database-file.ts';
import { openHighWater, revisionJump } from './high-water.ts';
import { revisionSum } from './migrations.ts';
import { addKey, type KeyRing, type OpenedText, readKeyRing } from './secrets-key.ts';
import { isWhole, openRow, type StoredRow, sealedKinds, sealRow } from './stored-row.ts';

/** An object on disk: as JSON, or why it cannot be read. */
export type StoredObject = {
  readonly storageKey: string;
  readonly key: string;
} & ({ readonly json: string } | { readonly json: undefined; readonly problem: string });

/** One write: `json` undefined removes the object. Revisions rise within a batch and across batches. */
export interface StoredChange {
  readonly storageKey: string;
  readonly key: string;
  readonly revision: number;
  readonly json: string | undefined;
}

/** What is stored from now on, as it is on disk. */
export type RowListener = (row: StoredRow | (Omit<StoredRow, 'text' | 'sum'> & { readonly text: undefined })) => void;

export interface Database {
  /**
   * The last revision written for each kind of object; the highest of them is the store's. Under the key '' is one that
   * holds for all: the store was restored, and no revision below it says anything about what came after.
   */
  loadRevisions(): ReadonlyMap<string, number>;
  /** All, or those of one kind. */
  loadObjects(storageKey?: string): Iterable<StoredObject>;
  /** Why nothing may be stored under a key now; undefined: it may. */
  refusalOf?(storageKey: string, key: string): string | undefined;
  /** Returns when the batch is on disk. Throws what SQLite threw, and then nothing of the batch was written. */
  commit(changes: readonly StoredChange[]): void;
  close(): void;
}

export interface DatabaseSizes {
  readonly databaseBytes: number;
  readonly logBytes: number;
  readonly freeBytes: number;
}

/** The database with what is needed to look after it. */
export interface DatabaseFile extends Database {
  readonly path: string;
  /** By which restoration its content came to be; undefined: it has only ever gone forward. */
  readonly restoration: string | undefined;
  /** The revision that was known and is not there any more; undefined: nothing was lost. */
  readonly lostSince: { readonly had: number; readonly has: number } | undefined;
  readonly keyProblem: string | undefined;
  /** Rows in order, from behind a place on: at most so many, and no more behind the one that makes the bytes full. */
  rowsAfter(after: RowPlace | undefined, limit: number, maxBytes?: number): StoredRow[];
  /** Calls back for every row that is stored or removed; returns how to stop. */
  subscribe(listener: RowListener): () => void;
  /** Seals with a new key from now on; returns its id. Throws Error if the key file lacks a key that is in use. */
  rotateKey(): string;
  /** Seals so many of the rows behind a key with the present key; returns where to go on, undefined at the end. */
  resealAfter(key: string, limit: number): string | undefined;
  /** Gives back free pages, at most so many. */
  giveBack(pages: number): void;
  /** What a row holds, if its key is at hand. */
  open(row: StoredRow): OpenedText;
  /** Whether the table and its index have the same number of rows; what is wrong, or nothing. */
  compareIndex(): readonly string[];
  sizes(): DatabaseSizes;
}

/** Where a row is, or would be. */
export interface RowPlace {
  readonly storageKey: string;
  readonly key: string;
}

export interface DatabaseOptions {
  /** Made, with a key, if it is not there and nothing was sealed yet. Beside the database if it is not given. */
  readonly keyFile?: string | undefined;
  readonly nowMs?: number | undefined;
}

/** Opens or makes the file. Throws DatabaseOpenError. */
export function openDatabase(path: string, { keyFile = keyFileOf(path), nowMs = Date.now() }: DatabaseOptions = {}) {
  const { db, keys } = openFile(path, keyFile);
  try {
    return new SqliteDatabase(db, path, keys, nowMs) as DatabaseFile;
  } catch (error) {
    db.close();
    throw cannotOpen(path, error);
  }
}

/** Where the key is if nobody says otherwise. */
export function keyFileOf(path: string): string {
  return `${path.slice(0, path.lastIndexOf('/') + 1)}secrets.key`;
}

export function highWaterFileOf(path: string): string {
  return `${path.slice(0, path.lastIndexOf('/') + 1)}store.revision`;
}

/** Text of rows that is read at once while others wait: about 10 ms of work, measured 2026-11-28; one row may have more. */
const sliceBytes = 256 * 1024;

/** Text that is sealed anew at once: it is written, too. */
const resealBytes = 64 * 1024;

/** Under this key of `revisions` is one for all kinds. */
const allKinds = '';

class SqliteDatabase implements DatabaseFile {
  readonly path: string;
  readonly restoration: string | undefined;
  readonly lostSince: DatabaseFile['lostSince'];
  readonly #db: DatabaseSync;
  readonly #highWater: ReturnType<typeof openHighWater>;
  readonly #locked = new Map<string, string>();
  readonly #listeners = new Set<RowListener>();
  readonly #statements: Readonly<Record<'put' | 'remove' | 'mark' | 'after', StatementSync>>;
  #keys: KeyRing;

  constructor(db: DatabaseSync, path: string, keys: KeyRing, nowMs: number) {
    this.#db = db;
    this.path = path;
    this.#keys = keys;
    this.#statements = {
      put: db.prepare('INSERT OR REPLACE INTO objects (storage_key, key, revision, json, sum) VALUES (?, ?, ?, ?, ?)'),
      remove: db.prepare('DELETE FROM objects WHERE storage_key = ? AND key = ?'),
      mark: db.prepare('INSERT OR REPLACE INTO revisions (storage_key, revision, sum) VALUES (?, ?, ?)'),
      after: db.prepare(`
        SELECT storage_key, key, CAST(revision AS TEXT) AS revision, json, CAST(sum AS TEXT) AS sum FROM objects
        WHERE (storage_key, key) > (?, ?) ORDER BY storage_key, key LIMIT ?`),
    };
    this.#highWater = openHighWater(highWaterFileOf(path));
    this.lostSince = this.#findLoss();
    if (this.lostSince !== undefined) this.#jump(Math.max(this.lostSince.had, this.lostSince.has), nowMs);
    const restored = db.prepare("SELECT value FROM meta WHERE name = 'restoration'").get()?.value;
    this.restoration = restored === undefined ? undefined : String(restored);
  }

  get keyProblem(): string | undefined {
    return this.#keys.problem;
  }

  loadRevisions(): ReadonlyMap<string, number> {
    return new Map(this.#readRevisions().map(({ kind, revision }) => [kind, revision]));
  }

  *loadObjects(storageKey?: string): Iterable<StoredObject> {
    let last: RowPlace | undefined;
    if (storageKey !== undefined) last = { storageKey, key: '' };
    do {
      const rows: StoredRow[] = this.rowsAfter(last, 1_000);
      for (const row of rows) {
        if (storageKey !== undefined && row.storageKey !== storageKey) return;
        yield this.#load(row);
      }
      last = rows.at(-1);
    } while (last !== undefined);
  }

  refusalOf(storageKey: string, key: string): string | undefined {
    if (!sealedKinds.has(storageKey)) return undefined;
    return this.#keys.problem ?? this.#locked.get(`${storageKey}\0${key}`);
  }

  commit(changes: readonly StoredChange[]): void {
    const { put, remove, mark } = this.#statements;
    const touched = new Map<string, number>();
    const rows = changes.map((change) => {
      const { storageKey, key, revision, json } = change;
      touched.set(storageKey, revision);
      if (json === undefined) return { storageKey, key, revision: String(revision), text: undefined };
      return sealRow({ storageKey, key, revision, json }, this.#keys);
    });
    this.#write(() => {
      for (const row of rows) {
        if (row.text === undefined) remove.run(row.storageKey, row.key);
        else put.run(row.storageKey, row.key, Number(row.revision), row.text, Number(row.sum));
      }
      for (const [kind, revision] of touched) mark.run(kind, revision, revisionSum(kind, revision));
    });
    this.#highWater.note(changes.at(-1)?.revision ?? 0);
    for (const listener of this.#listeners) for (const row of rows) listener(row);
  }

  close(): void {
    this.#highWater.close();
    this.#db.close();
  }

  rowsAfter(after: RowPlace | undefined, limit: number, maxBytes = sliceBytes): StoredRow[] {
    const rows: StoredRow[] = [];
    let bytes = 0;
    for (const row of this.#statements.after.iterate(after?.storageKey ?? '', after?.key ?? '', limit)) {
      const text = String(row.json);
      rows.push({
        storageKey: String(row.storage_key),
        key: String(row.key),
        revision: String(row.revision),
        text,
        sum: String(row.sum),
      });
      bytes += text.length;
      if (bytes >= maxBytes) break;
    }
    return rows;
  }

  subscribe(listener: RowListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  rotateKey(): string {
    const keys = readKeyRing(this.#keys.path);
    if (keys.problem !== undefined) throw new Error(keys.problem);
    const lacking = this.#keys.ids.filter((id) => !keys.ids.includes(id));
    if (lacking.length > 0) {
      throw new Error(
        `${keys.path} does not hold the key ${lacking.join(', ')} any more, which is in use: put it back`,
      );
    }
    this.#keys = addKey(keys.path);
    return this.#keys.ids[0] ?? '';
  }

  resealAfter(key: string, limit: number): string | undefined {
    const update = this.#db.prepare('UPDATE objects SET json = ?, sum = ? WHERE storage_key = ? AND key = ?');
    for (const storageKey of sealedKinds) {
      const rows = this.rowsAfter({ storageKey, key }, limit, resealBytes).filter(
        (row) => row.storageKey === storageKey,
      );
      const stale = rows.filter((row) => isWhole(row) && !this.#keys.isCurrent(row.text));
      if (stale.length > 0) {
        // What was sealed with another key, or not at all, leaves nothing behind on pages that become free.
        this.#db.exec('PRAGMA secure_delete = ON');
        this.#write(() => {
          for (const row of stale) {
            const opened = openRow(row, this.#keys);
            if (opened.kind !== 'whole') continue;
            const sealed = sealRow({ ...row, json: opened.json }, this.#keys);
            update.run(sealed.text, Number(sealed.sum), row.storageKey, row.key);
          }
        });
        this.#db.exec('PRAGMA secure_delete = OFF');
      }
      const last = rows.at(-1);
      if (last !== undefined) return last.key;
    }
    return undefined;
  }

  giveBack(pages: number): void {
    this.#db.exec(`PRAGMA incremental_vacuum(${pages})`);
  }

  open(row: StoredRow): OpenedText {
    return openRow(row, this.#keys);
  }

  compareIndex(): readonly string[] {
    const inTable = this.#count('SELECT count(*) FROM objects NOT INDEXED');
    const inIndex = this.#count('SELECT count(*) FROM objects INDEXED BY sqlite_autoindex_objects_1');
    return inTable === inIndex ? [] : [`its table has ${inTable} rows, and the index ${inIndex}`];
  }

  sizes(): DatabaseSizes {
    const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    const freeBytes = this.#count('PRAGMA freelist_count') * this.#count('PRAGMA page_size');
    return { databaseBytes: sizeOf(this.path), logBytes: sizeOf(`${this.path}-wal`), freeBytes };
  }

  #count(query: string): number {
    return Number(Object.values(this.#db.prepare(query).get() ?? {})[0]);
  }

  #load(row: StoredRow): StoredObject {
    const { storageKey, key } = row;
    const opened = openRow(row, this.#keys);
    if (opened.kind === 'whole') return { storageKey, key, json: opened.json };
    if (opened.kind === 'locked') this.#locked.set(`${storageKey}\0${key}`, opened.problem);
    return { storageKey, key, json: undefined, problem: opened.problem };
  }

  #readRevisions() {
    const select = 'SELECT storage_key, CAST(revision AS TEXT) AS revision, CAST(sum AS TEXT) AS sum FROM revisions';
    return this.#db
      .prepare(select)
      .all()
      .map((row) => ({ kind: String(row.storage_key), revision: Number(row.revision), sum: String(row.sum) }));
  }

  /** Whether the database has gone back in time since it was last open, or does not know any more how far it had come. */
  #findLoss(): DatabaseFile['lostSince'] {
    const revisions = this.#readRevisions();
    const whole = revisions.filter(({ kind, revision, sum }) => String(revisionSum(kind, revision)) === sum);
    const has = Math.max(0, ...whole.map(({ revision }) => revision));
    const had = this.#highWater.before;
    const isDamaged = whole.length < revisions.length;
    return had > has || isDamaged ? { had: Math.max(had, has), has } : undefined;
  }

  /** Goes on with revisions that nobody has seen, and lets none of before be believed. */
  #jump(from: number, nowMs: number): void {
    const floor = from + revisionJump;
    this.#write(() => {
      for (const { kind } of this.#readRevisions()) this.#statements.mark.run(kind, floor, revisionSum(kind, floor));
      markRestored(this.#db, floor, nowMs);
    });
    this.#highWater.note(floor);
  }

  #write(run: () => void): void {
    const db = this.#db;
    db.exec('BEGIN IMMEDIATE');
    try {
      run();
      db.exec('COMMIT');
    } catch (error) {
      // A full disk may already have rolled the transaction back by itself.
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
}

/** Notes in a database that its content is not what came before it. */
export function markRestored(db: DatabaseSync, floor: number, nowMs: number): void {
  const mark = db.prepare('INSERT OR REPLACE INTO revisions (storage_key, revision, sum) VALUES (?, ?, ?)');
  mark.run(allKinds, floor, revisionSum(allKinds, floor));
  const name = `${new Date(nowMs).toISOString()} at revision ${floor}`;
  db.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES ('restoration', ?)").run(name);
}
