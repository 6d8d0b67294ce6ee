/**
 * Takes a backup while the store goes on: row by row in slices, and whatever is stored meanwhile besides. Together they are
 * the store as it was when the last slice was read. Effects.
 */
import { setImmediate } from 'node:timers/promises';
import { type BackupRow, BackupWriter } from './backup-format.ts';
import type { DatabaseFile } from './database.ts';
import { schemaVersion } from './migrations.ts';

export interface BackupFacts {
  readonly instance: string | undefined;
  readonly nowMs: number;
  /** The store's present revision. */
  readonly revision: () => number;
}

/** Whoever takes a backup reads too slowly for what is stored meanwhile. */
export class BackupTooSlowError extends Error {
  override readonly name = 'BackupTooSlowError';
}

/** Rows read at once, for which the event loop waits; fewer if they are large. */
const slice = 200;

/** Rows that were stored while the reader of the backup was busy. */
const maxPendingBytes = 64 * 1024 * 1024;

/** Lines of backup-format.ts, several at once. Throws BackupTooSlowError. */
export async function* takeBackup(database: DatabaseFile, facts: BackupFacts): AsyncGenerator<string, void> {
  const writer = new BackupWriter();
  let pending: BackupRow[] = [];
  let pendingBytes = 0;
  const unsubscribe = database.subscribe((row) => {
    pendingBytes += row.text?.length ?? 0;
    if (pendingBytes <= maxPendingBytes) pending.push(row);
  });
  try {
    const { instance, nowMs } = facts;
    yield writer.header({ schema: schemaVersion, takenAt: new Date(nowMs).toISOString(), instance });
    let last: BackupRow | undefined;
    do {
      if (pendingBytes > maxPendingBytes)
        throw new BackupTooSlowError('it is read too slowly; write it to a faster disk');
      const rows: BackupRow[] = database.rowsAfter(last, slice);
      const lines = [...rows, ...pending].map((row) => writer.row(row)).join('');
      pending = [];
      pendingBytes = 0;
      last = rows.at(-1);
      if (last === undefined) {
        // Nothing is awaited between the last slice and the end: the store is at this revision.
        yield lines + writer.end(facts.revision());
        return;
      }
      yield lines;
      await setImmediate();
    } while (true);
  } finally {
    unsubscribe();
  }
}
