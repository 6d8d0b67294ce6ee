/**
 * A restored database takes the place of the present one, whenever the process is killed: once it is whole it has a name
 * by which the next start finishes what is left to do. What was there before stays, under a name that says when. Effects.
 */
import { copyFileSync, existsSync, linkSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { putInPlace, syncPath } from './durable-file.ts';

/** Where a database is made that is to be restored, and its name once it is whole. */
export function restoreNames(path: string): { readonly making: string; readonly whole: string } {
  return { making: `${path}.restoring`, whole: `${path}.restored` };
}

/** Returns where the former database is now; undefined: there was nothing to be done, or no former one. */
export function finishRestore(path: string): string | undefined {
  const { making, whole } = restoreNames(path);
  for (const suffix of ['', '-journal', '-wal']) rmSync(making + suffix, { force: true });
  if (!existsSync(whole)) return undefined;
  const stamp = statSync(whole).mtime.toISOString().replaceAll(/[-:.]/gu, '');
  const aside = `${path}.before-restore-${stamp}`;
  const isThere = existsSync(path);
  for (const suffix of ['', '-wal']) if (existsSync(path + suffix)) keepAs(path + suffix, aside + suffix);
  syncPath(dirname(path));
  // The log of the former database must be gone before the restored one has its name: SQLite would play it into that.
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  syncPath(dirname(path));
  renameSync(whole, path);
  syncPath(dirname(path));
  return isThere ? aside : undefined;
}

function keepAs(from: string, to: string): void {
  if (existsSync(to)) return;
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, `${to}.new`); // a file system without links
    putInPlace(`${to}.new`, to);
  }
}
