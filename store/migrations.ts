/**
 * The versions of the database's tables and the steps from each to the next. A step runs in a transaction, and what there
 * was before is kept beside the database as a backup. A step is never changed once it was released: add another.
 */
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { BackupWriter } from './backup-format.ts';
import { putInPlace } from './durable-file.ts';
import { isSealed, type KeyRing } from './secrets-key.ts';
import { type StoredRow, sealedKinds, sealRow, sumOf } from './stored-row.ts';

/** The version that this Holdfast writes: PRAGMA user_version. */
export const schemaVersion = 3;

const tables = `
  CREATE TABLE objects (
    storage_key TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json TEXT NOT NULL,
    sum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (storage_key, key)
  ) STRICT;
  CREATE TABLE revisions (
    storage_key TEXT PRIMARY KEY, revision INTEGER NOT NULL, sum INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
`;

type Step = (db: DatabaseSync, keys: KeyRing) => void;

/** What brings a database to a version, from the one before. */
const steps: ReadonlyMap<number, Step> = new Map([
  [2, addChecksums],
  [3, sealSecrets],
]);

/** Brings the tables to the present version. Throws what SQLite and the disk throw, and then nothing was changed. */
export function migrate(db: DatabaseSync, path: string, keys: KeyRing): void {
  const version = versionOf(db);
  if (version === schemaVersion) return;
  if (version > 0) keepBackup(db, `${path}.before-schema-${schemaVersion}.backup`, version, keys);
  while (versionOf(db) < schemaVersion) {
    const next = version === 0 ? schemaVersion : versionOf(db) + 1;
    const step = version === 0 ? (empty: DatabaseSync) => empty.exec(tables) : steps.get(next);
    if (step === undefined) throw new TypeError(`there is no step to version ${next} of the database`);
    db.exec('BEGIN IMMEDIATE');
    try {
      step(db, keys);
      db.exec(`PRAGMA user_version = ${next}`);
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
}

export function versionOf(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA user_version').get()?.user_version);
}

/** Whether a database of whatever version has Secrets that were sealed. */
export function hasSealed(db: DatabaseSync): boolean {
  if (versionOf(db) < 3) return false;
  const select = db.prepare('SELECT json FROM objects WHERE storage_key = ?');
  for (const kind of sealedKinds) for (const row of select.iterate(kind)) if (isSealed(String(row.json))) return true;
  return false;
}

/** Each row gets a checksum, and so does each revision. */
function addChecksums(db: DatabaseSync): void {
  db.exec(`
    ALTER TABLE objects ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE revisions ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  `);
  const update = db.prepare('UPDATE objects SET sum = ? WHERE storage_key = ? AND key = ?');
  for (const row of rowsOf(db)) update.run(Number(sumOf(row)), row.storageKey, row.key);
  const mark = db.prepare('UPDATE revisions SET sum = ? WHERE storage_key = ?');
  for (const { storage_key: kind, revision } of db.prepare('SELECT storage_key, revision FROM revisions').all()) {
    mark.run(revisionSum(String(kind), Number(revision)), kind ?? '');
  }
}

function sealSecrets(db: DatabaseSync, keys: KeyRing): void {
  const update = db.prepare('UPDATE objects SET json = ?, sum = ? WHERE storage_key = ? AND key = ?');
  const select = db.prepare('SELECT CAST(sum AS TEXT) AS sum FROM objects WHERE storage_key = ? AND key = ?');
  for (const row of rowsOf(db)) {
    const { storageKey, key, revision, text } = row;
    // One that is damaged stays so: a new checksum would hide it.
    if (!sealedKinds.has(storageKey) || isSealed(text) || String(select.get(storageKey, key)?.sum) !== sumOf(row))
      continue;
    const sealed = sealRow({ storageKey, key, revision, json: text }, keys);
    update.run(sealed.text, Number(sealed.sum), storageKey, key);
  }
}

export function revisionSum(storageKey: string, revision: number): number {
  return Number(sumOf({ storageKey, key: '', revision: String(revision), text: '' }));
}

/** All rows, also of a version without checksums, one at a time: a statement that reads does not see what it is told of. */
function* rowsOf(db: DatabaseSync): Iterable<Omit<StoredRow, 'sum'>> {
  const places = db.prepare('SELECT storage_key, key FROM objects ORDER BY storage_key, key').all();
  const select = db.prepare(
    'SELECT CAST(revision AS TEXT) AS revision, json FROM objects WHERE storage_key = ? AND key = ?',
  );
  for (const place of places) {
    const storageKey = String(place.storage_key);
    const key = String(place.key);
    const row = select.get(storageKey, key);
    if (row !== undefined) yield { storageKey, key, revision: String(row.revision), text: String(row.json) };
  }
}

/** Secrets are sealed in it already: they are not to lie about in the clear. */
function keepBackup(db: DatabaseSync, path: string, version: number, keys: KeyRing): void {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    const writer = new BackupWriter();
    const highest = Number(db.prepare('SELECT max(revision) AS revision FROM revisions').get()?.revision ?? 1);
    writeFileSync(fd, writer.header({ schema: version, takenAt: new Date().toISOString(), instance: undefined }));
    for (const row of rowsOf(db)) {
      const { storageKey, key, revision, text: json } = row;
      const kept = !isSealed(json) ? sealRow({ storageKey, key, revision, json }, keys) : { ...row, sum: sumOf(row) };
      writeFileSync(fd, writer.row(kept));
    }
    writeFileSync(fd, writer.end(highest));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  putInPlace(temporary, path);
}
