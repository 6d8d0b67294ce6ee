/** Small files that are either whole or not there, whatever moment we are killed at. Effects only. */
import { randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Replaces a file by writing beside it and renaming. 'durable' waits for the disk, so that the content also survives
 * a power failure; 'volatile' is for a tmpfs and for what may be lost. That one is synchronous: it takes some 50 us, and
 * four turns of the thread pool 500.
 */
export async function replaceFile(path: string, text: string, kind: 'durable' | 'volatile'): Promise<void> {
  // A name of its own for each writer: two may replace one file at the same time, and the later one wins.
  const temporary = `${path}.${randomBytes(4).toString('hex')}.new`;
  if (kind === 'volatile') {
    writeFileSync(temporary, text, { mode: 0o600 });
    renameSync(temporary, path);
    return;
  }
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
}

/** Waits for the disk to have what was written to a file; no such file: nothing. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined); // removed meanwhile
  if (handle === undefined) return;
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** Removes what writers that were killed have left beside their files. Only while nobody writes there. No such folder: nothing. */
export async function removeDrafts(dir: string): Promise<void> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
  for (const name of names) if (/\.[0-9a-f]{8}\.new$/.test(name)) await rm(join(dir, name), { force: true });
}

/** Parsed content; undefined when there is no such file, or when it does not hold an object. */
export async function readJsonObject(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    // A plain object's members are unknown until each is looked at.
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined; // cut short by a power failure: as good as not written
  }
}
