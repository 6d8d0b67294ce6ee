/** Makes a database of a backup, in the place of the present one, with revisions that nobody has seen. Effects. */
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { type Backup, BackupError } from './backup-format.ts';
import { highWaterFileOf, markRestored } from './database.ts';
import { putInPlace } from './durable-file.ts';
import { readHighWater, revisionJump } from './high-water.ts';
import { migrate, schemaVersion } from './migrations.ts';
import { finishRestore, restoreNames } from './restore-file.ts';
import { KeyRing } from './secrets-key.ts';

export interface Restored {
  /** Where the former database is now; undefined: there was none. */
  readonly former: string | undefined;
  /** The store goes on from here. */
  readonly revision: number;
}

/**
 * Puts the backup in the place of the database; nobody may have that open. Killed at any moment, either nothing has
 * happened, or the next start of the store finishes it. Throws BackupError, and what SQLite and the disk throw.
 */
export function restoreBackup(path: string, backup: Backup, nowMs: number): Restored {
  if (backup.header.schema > schemaVersion) {
    throw new BackupError(
      `it was taken by a newer Holdfast (format ${backup.header.schema}, this one knows ${schemaVersion}); restore it with that version`,
    );
  }
  finishRestore(path);
  const { making, whole } = restoreNames(path);
  const revision = Math.max(backup.end.revision, readHighWater(highWaterFileOf(path))) + revisionJump;
  if (!Number.isSafeInteger(revision)) {
    throw new BackupError(`its revision ${backup.end.revision} is none that a store can have`);
  }
  closeSync(openSync(making, 'w', 0o600));
  const db = new DatabaseSync(making);
  try {
    // It counts only once it is whole and synced below.
    db.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;');
    migrate(db, making, new KeyRing('', []));
    db.exec('BEGIN');
    const put = db.prepare('INSERT INTO objects (storage_key, key, revision, json, sum) VALUES (?, ?, ?, ?, ?)');
    for (const row of backup.rows) {
      put.run(row.storageKey, row.key, integerOf(row.revision), row.text, integerOf(row.sum));
    }
    markRestored(db, revision, nowMs);
    db.exec('COMMIT');
  } finally {
    db.close();
  }
  putInPlace(making, whole);
  return { former: finishRestore(path), revision };
}

/** What a damaged row has instead of a number is no checksum of anything: it stays damaged. */
function integerOf(text: string): number {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : -1;
}
