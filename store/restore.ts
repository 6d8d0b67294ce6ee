/** Makes a database of a backup, in the place of the present one, with revisions that nobody has seen. Effects. */
import { closeSync, fsyncSync, openSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Backup } from './backup-format.ts';
import { highWaterFileOf, markRestored } from './database.ts';
import { readHighWater, revisionJump } from './high-water.ts';
import { migrate } from './migrations.ts';
import { finishRestore, restoreNames } from './restore-file.ts';
import { KeyRing, syncFolder } from './secrets-key.ts';

export interface Restored {
  /** Where the former database is now; undefined: there was none. */
  readonly former: string | undefined;
  /** The store goes on from here. */
  readonly revision: number;
}

/**
 * Puts the backup in the place of the database; nobody may have that open. Killed at any moment, either nothing has
 * happened, or the next start of the store finishes it. Throws what SQLite and the disk throw.
 */
export function restoreBackup(path: string, backup: Backup, nowMs: number): Restored {
  finishRestore(path);
  const { making, whole } = restoreNames(path);
  const revision = Math.max(backup.end.revision, readHighWater(highWaterFileOf(path))) + revisionJump;
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
  const fd = openSync(making, 'r');
  fsyncSync(fd);
  closeSync(fd);
  renameSync(making, whole);
  syncFolder(dirname(path));
  return { former: finishRestore(path), revision };
}

/** What a damaged row has instead of a number is no checksum of anything: it stays damaged. */
function integerOf(text: string): number {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : -1;
}
