/** Files that are there whole or not at all, also after a power cut. Effects. */
import { closeSync, fsyncSync, openSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';

/** Returns when a file's content, or the names in a folder, are on disk. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Gives a finished file its name, for good. */
export function putInPlace(temporary: string, path: string): void {
  syncPath(temporary);
  renameSync(temporary, path);
  syncPath(dirname(path));
}
