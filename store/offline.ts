/**
 * The database while no store has it open: a look over it, and what can be read of it as a backup. Nothing is changed, and
 * no step of a migration is taken. Whoever calls holds the data directory. Effects.
 */
import { existsSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { BackupReader, BackupWriter } from './backup-format.ts';
import { checkBackup, type Finding, giveKey, type Report } from './checkup.ts';
import { connectAsIs, DatabaseOpenError, describeStructure, wayBack } from './database-file.ts';
import { revisionSum, schemaVersion, versionOf } from './migrations.ts';
import { finishRestore } from './restore-file.ts';
import { readKeyRing } from './secrets-key.ts';
import { isWhole, type StoredRow, sumOf } from './stored-row.ts';

/** A database as lines of a backup. `problems`: what could not be read, told when the lines are through. */
export interface Salvage {
  readonly lines: Iterable<string>;
  readonly problems: readonly string[];
}

/** Throws DatabaseOpenError if the file cannot be opened at all. */
export function readOffline(path: string, nowMs: number): Salvage {
  const problems: string[] = [];
  return { lines: linesOf(path, nowMs, problems), problems };
}

function* linesOf(path: string, nowMs: number, problems: string[]): Iterable<string> {
  finishRestore(path);
  if (!existsSync(path)) throw new DatabaseOpenError(`there is no store at ${path}`);
  const db = connectAsIs(path);
  try {
    const writer = new BackupWriter();
    const schema = versionOf(db);
    if (schema === 0 || schema > schemaVersion) {
      throw new DatabaseOpenError(`${path} has format ${schema}, and this Holdfast knows 1 to ${schemaVersion}`);
    }
    yield writer.header({ schema, takenAt: new Date(nowMs).toISOString(), instance: undefined });
    let revision = 1;
    for (const row of rowsOf(db, schema, problems)) {
      // A damaged number may be any.
      if (isWhole(row)) revision = Math.max(revision, Number(row.revision));
      yield writer.row(row);
    }
    try {
      revision = Math.max(revision, ...wholeRevisionsOf(db, schema));
    } catch (error) {
      problems.push(`the revisions cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
    yield writer.end(revision);
  } finally {
    db.close();
  }
}

function wholeRevisionsOf(db: DatabaseSync, schema: number): readonly number[] {
  const sum = schema < 2 ? 'NULL' : 'CAST(sum AS TEXT)';
  const marks = db
    .prepare(`SELECT storage_key, CAST(revision AS TEXT) AS revision, ${sum} AS sum FROM revisions`)
    .all();
  return marks.flatMap((mark) => {
    const revision = Number(mark.revision);
    const isRight = mark.sum === null || mark.sum === String(revisionSum(String(mark.storage_key), revision));
    return isRight && Number.isSafeInteger(revision) ? [revision] : [];
  });
}

/** Every row that the table or its index knows of; one that is lost or torn is there as damaged, so that it is missed. */
function* rowsOf(db: DatabaseSync, schema: number, problems: string[]): Iterable<StoredRow> {
  const known = new Map<number, { storageKey: string; key: string } | undefined>();
  const scans = [
    'SELECT rowid AS id, storage_key, key FROM objects INDEXED BY sqlite_autoindex_objects_1 ORDER BY storage_key, key',
    'SELECT rowid AS id, NULL AS storage_key, NULL AS key FROM objects NOT INDEXED ORDER BY rowid',
    'SELECT rowid AS id, NULL AS storage_key, NULL AS key FROM objects NOT INDEXED ORDER BY rowid DESC',
  ];
  for (const scan of scans) {
    try {
      for (const { id, storage_key: storageKey, key } of db.prepare(scan).iterate()) {
        const place = storageKey === null ? undefined : { storageKey: String(storageKey), key: String(key) };
        if (!known.has(Number(id))) known.set(Number(id), place);
      }
    } catch (error) {
      problems.push(`part of the database cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const sum = schema < 2 ? 'NULL' : 'CAST(sum AS TEXT)';
  const select = db.prepare(
    `SELECT storage_key, key, CAST(revision AS TEXT) AS revision, json, ${sum} AS sum FROM objects NOT INDEXED WHERE rowid = ?`,
  );
  for (const [id, place] of known) {
    const row = readRow(() => select.get(id));
    if (row !== undefined) {
      if (place !== undefined && (row.storageKey !== place.storageKey || row.key !== place.key)) {
        problems.push(`${row.storageKey} ${row.key} is ${place.storageKey} ${place.key} in the index`);
      }
      yield row;
    } else if (place !== undefined) {
      problems.push(`${place.storageKey} ${place.key} is lost`);
      yield { ...place, revision: '0', text: '', sum: '-1' };
    }
  }
}

function readRow(get: () => Record<string, unknown> | undefined): StoredRow | undefined {
  try {
    const row = get();
    if (row === undefined) return undefined;
    const whole = {
      storageKey: String(row.storage_key),
      key: String(row.key),
      revision: String(row.revision),
      text: String(row.json),
    };
    return { ...whole, sum: row.sum === null ? sumOf(whole) : String(row.sum) };
  } catch {
    return undefined; // told by the caller, who knows what the row was
  }
}

/** A look over the database: its structure, and each row. Throws DatabaseOpenError if it cannot be opened at all. */
export function checkOffline(path: string, keyFile: string, nowMs: number): Report {
  const { lines, problems } = readOffline(path, nowMs);
  const reader = new BackupReader();
  for (const line of lines) reader.line(line.slice(0, -1));
  const backup = reader.finish();
  const keys = readKeyRing(keyFile);
  const report = checkBackup(backup, keys);
  const locked = backup.end.secretKeys
    .filter((id) => !keys.ids.includes(id))
    .map((id): Finding => ({ about: 'key of the Secrets', problem: `${keyFile} does not hold ${id}`, fix: giveKey }));
  const db = connectAsIs(path);
  try {
    const all = [...describeStructure(db), ...problems];
    const wrong = all.map((problem): Finding => ({ about: 'database', problem, fix: wayBack }));
    const more = [...wrong, ...locked];
    return { ...report, findings: [...more, ...report.findings], findingsInAll: report.findingsInAll + more.length };
  } finally {
    db.close();
  }
}
