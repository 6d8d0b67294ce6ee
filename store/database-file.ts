/**
 * Opens the database's file: finishes what a kill has interrupted, brings the tables to the present version, and refuses a
 * file that is damaged, with the way back. Effects.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { hasSealed, migrate, schemaVersion, versionOf } from './migrations.ts';
import { finishRestore } from './restore-file.ts';
import { addKey, type KeyRing, readKeyRing } from './secrets-key.ts';

/** The database file cannot be used; the message says why and what to do. */
export class DatabaseOpenError extends Error {
  override readonly name = 'DatabaseOpenError';
}

export const wayBack =
  'restore it from a backup (holdfast store restore FILE), or save what can be read (holdfast store backup --salvage FILE) and restore that';

/** The store's database in its data directory. */
export const databasePathOf = (dataDir: string): string => join(dataDir, 'store.db');

/** Throws DatabaseOpenError. */
export function openFile(path: string, keyFile: string): { readonly db: DatabaseSync; readonly keys: KeyRing } {
  let db: DatabaseSync | undefined;
  try {
    finishRestore(path);
    db = connect(path);
    const version = versionOf(db);
    if (version > schemaVersion) {
      const problem = `${path} was written by a newer Holdfast (format ${version}, this one knows ${schemaVersion})`;
      throw new DatabaseOpenError(`${problem}; run that version, or another data directory`);
    }
    const [problem] = version === 0 ? [] : describeStructure(db);
    if (problem !== undefined) throw new DatabaseOpenError(`${path} is damaged: ${problem}; ${wayBack}`);
    const keys = ensureKeys(db, keyFile);
    if (version > 0 && version < schemaVersion && keys.problem !== undefined) {
      const problem = `${path} cannot be brought to the present format, in which Secrets are encrypted`;
      throw new DatabaseOpenError(`${problem}: ${keys.problem}`);
    }
    migrate(db, path, keys);
    tidy(db);
    return { db, keys };
  } catch (error) {
    db?.close();
    throw cannotOpen(path, error);
  }
}

/** As connect() does, for a file that may be damaged. Throws DatabaseOpenError. */
export function connectAsIs(path: string): DatabaseSync {
  try {
    return connect(path);
  } catch (error) {
    throw cannotOpen(path, error);
  }
}

export function cannotOpen(path: string, error: unknown): DatabaseOpenError {
  if (error instanceof DatabaseOpenError) return error;
  return new DatabaseOpenError(`cannot open the store's database ${path}: ${adviceFor(error)}`, { cause: error });
}

/** Opens the file as it is: no step of a migration is taken. */
export function connect(path: string): DatabaseSync {
  const fd = openSync(path, 'a', 0o600); // secrets are in it: SQLite would make it readable for all
  const isNew = fstatSync(fd).size === 0;
  closeSync(fd);
  const db = new DatabaseSync(path, { timeout: 2_000 });
  try {
    // Exclusive before WAL: the index of the log then lives in this process's memory, not in a shared file.
    db.exec('PRAGMA locking_mode = EXCLUSIVE;');
    // Before the first table: it cannot be had later without writing the file anew. Of one that has it, it would be a write
    // all the same, which a full disk refuses.
    if (isNew) db.exec('PRAGMA auto_vacuum = INCREMENTAL;');
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    db.exec('PRAGMA journal_size_limit = 8388608; PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY;');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** What SQLite finds wrong, line by line; empty: nothing. Reads the whole file. */
export function describeStructure(db: DatabaseSync): readonly string[] {
  try {
    const rows = db.prepare('PRAGMA integrity_check(20)').all();
    const lines = rows.map((row) => String(row.integrity_check));
    return lines.length === 1 && lines[0] === 'ok' ? [] : lines;
  } catch (error) {
    if (error instanceof Error && isCorrupt(error)) return [error.message];
    throw error;
  }
}

/** A key is made only where none can be missing: what is sealed already needs the one that it was sealed with. */
function ensureKeys(db: DatabaseSync, keyFile: string): KeyRing {
  const keys = readKeyRing(keyFile);
  return keys.isMissing && !hasSealed(db) ? addKey(keyFile) : keys;
}

const incremental = 2;

/**
 * A file from before free pages were given back is written anew once: then they can be, and no page of it keeps a Secret
 * in the clear. The log is cut off for the same reason. On a full disk both wait for the next start.
 */
function tidy(db: DatabaseSync): void {
  try {
    if (Number(db.prepare('PRAGMA auto_vacuum').get()?.auto_vacuum) !== incremental) {
      db.exec('PRAGMA auto_vacuum = INCREMENTAL; VACUUM;');
    }
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

/** SQLite's primary result codes, from sqlite3.h. */
const sqliteCodes = { busy: 5, readOnly: 8, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 } as const;

/** SQLite's primary result code of an error that node:sqlite threw, or undefined. */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}

/** Whether an error means that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  return sqliteCodeOf(error) === sqliteCodes.full || systemCodeOf(error) === 'ENOSPC';
}

/** Whether an error means that the database's file is not as SQLite wrote it. */
export function isCorrupt(error: unknown): boolean {
  const code = sqliteCodeOf(error);
  return code === sqliteCodes.corrupt || code === sqliteCodes.notDatabase;
}

function systemCodeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** What is wrong, and what to do about it. */
function adviceFor(error: unknown): string {
  const what = error instanceof Error ? error.message : String(error);
  if (systemCodeOf(error) === 'EROFS')
    return `${what}; its file system is read-only: check the disk, and mount it anew`;
  if (isDiskFull(error)) return `${what}; free some space on that disk`;
  switch (sqliteCodeOf(error)) {
    case sqliteCodes.busy:
      return `${what}; another process has it open: stop that one first, or choose another data directory`;
    case sqliteCodes.readOnly:
      return `${what}; check that its file system is not mounted read-only`;
    case sqliteCodes.cannotOpen:
      return `${what}; check that the directory exists and can be written`;
    case sqliteCodes.corrupt:
    case sqliteCodes.notDatabase:
      return `${what}; ${wayBack}`;
    default:
      return what;
  }
}
