/**
 * The file that holds all objects: SQLite in WAL mode with synchronous=FULL, so what was committed survives a crash of
 * the process and of the machine. Effects only; one process at a time, held by SQLite's exclusive lock.
 */
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

export interface StoredObject {
  readonly storageKey: string;
  readonly key: string;
  readonly json: string;
}

/** One write: `json` undefined removes the object. Revisions rise within a batch and across batches. */
export interface StoredChange {
  readonly storageKey: string;
  readonly key: string;
  readonly revision: number;
  readonly json: string | undefined;
}

export interface Database {
  /** The last revision written for each kind of object; the highest of them is the store's. */
  loadRevisions(): ReadonlyMap<string, number>;
  /** All, or those of one kind. */
  loadObjects(storageKey?: string): Iterable<StoredObject>;
  /** Returns when the batch is on disk. Throws what SQLite threw, and then nothing of the batch was written. */
  commit(changes: readonly StoredChange[]): void;
  close(): void;
}

/** The database file cannot be used; the message says why and what to do. */
export class DatabaseOpenError extends Error {
  override readonly name = 'DatabaseOpenError';
}

const formatVersion = 1;

const tables = `
  CREATE TABLE objects (
    storage_key TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (storage_key, key)
  ) STRICT;
  CREATE TABLE revisions (storage_key TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT;
  PRAGMA user_version = ${formatVersion};
`;

/** Opens or makes the file. Throws DatabaseOpenError. */
export function openDatabase(path: string): Database {
  const db = connect(path);
  const put = db.prepare('INSERT OR REPLACE INTO objects (storage_key, key, revision, json) VALUES (?, ?, ?, ?)');
  const remove = db.prepare('DELETE FROM objects WHERE storage_key = ? AND key = ?');
  const mark = db.prepare('INSERT OR REPLACE INTO revisions (storage_key, revision) VALUES (?, ?)');
  return {
    loadRevisions: () => {
      const rows = db.prepare('SELECT storage_key, revision FROM revisions').all();
      return new Map(rows.map((row) => [String(row.storage_key), Number(row.revision)]));
    },
    loadObjects: (storageKey) => loadObjects(db, storageKey),
    commit: (changes) => commit(db, changes, { put, remove, mark }),
    close: () => db.close(),
  };
}

function* loadObjects(db: DatabaseSync, storageKey: string | undefined): Iterable<StoredObject> {
  const all = 'SELECT storage_key, key, json FROM objects';
  const rows =
    storageKey === undefined
      ? db.prepare(`${all} ORDER BY storage_key, key`).iterate()
      : db.prepare(`${all} WHERE storage_key = ? ORDER BY key`).iterate(storageKey);
  for (const row of rows) {
    yield { storageKey: String(row.storage_key), key: String(row.key), json: String(row.json) };
  }
}

function commit(
  db: DatabaseSync,
  changes: readonly StoredChange[],
  { put, remove, mark }: Readonly<Record<'put' | 'remove' | 'mark', StatementSync>>,
): void {
  const touched = new Map<string, number>();
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const { storageKey, key, revision, json } of changes) {
      if (json === undefined) remove.run(storageKey, key);
      else put.run(storageKey, key, revision, json);
      touched.set(storageKey, revision);
    }
    for (const [storageKey, revision] of touched) mark.run(storageKey, revision);
    db.exec('COMMIT');
  } catch (error) {
    // A full disk may already have rolled the transaction back by itself.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function connect(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    closeSync(openSync(path, 'a', 0o600)); // secrets are in it: SQLite would make it readable for all
    db = new DatabaseSync(path, { timeout: 2_000 });
    // Exclusive before WAL: the index of the log then lives in this process's memory, not in a shared file.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    db.exec('PRAGMA journal_size_limit = 8388608; PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY;');
    prepareTables(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof DatabaseOpenError) throw error;
    throw new DatabaseOpenError(`cannot open the store's database ${path}: ${adviceFor(error)}`, { cause: error });
  }
}

function prepareTables(db: DatabaseSync, path: string): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version);
  if (version > formatVersion) {
    const problem = `${path} was written by a newer Holdfast (format ${version}, this one knows ${formatVersion})`;
    throw new DatabaseOpenError(`${problem}; run that version, or another data directory`);
  }
  db.exec('BEGIN IMMEDIATE');
  if (version === 0) db.exec(tables);
  db.exec('COMMIT');
  const check = db.prepare('PRAGMA quick_check(1)').get();
  if (check?.quick_check !== 'ok') {
    const problem = `${path} is damaged: ${String(check?.quick_check)}`;
    throw new DatabaseOpenError(`${problem}; restore it from a backup, or move it away to begin with an empty store`);
  }
}

/** SQLite's primary result codes, from sqlite3.h. */
const sqliteCodes = { busy: 5, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 } as const;

/** SQLite's primary result code of an error that node:sqlite threw, or undefined. */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}

/** Whether an error means that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  return sqliteCodeOf(error) === sqliteCodes.full;
}

function adviceFor(error: unknown): string {
  const what = error instanceof Error ? error.message : String(error);
  switch (sqliteCodeOf(error)) {
    case sqliteCodes.busy:
      return `${what}; another process has it open: stop that one first, or choose another data directory`;
    case sqliteCodes.full:
      return `${what}; free some space on that disk`;
    case sqliteCodes.cannotOpen:
      return `${what}; check that the directory exists and can be written`;
    case sqliteCodes.corrupt:
    case sqliteCodes.notDatabase:
      return `${what}; restore it from a backup, or move it away to begin with an empty store`;
    default:
      return what;
  }
}
