/** A small disk of its own for a test, and how to fill it. Effects. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly path: string;
  close(): Promise<void>;
}

/** A tmpfs of so many megabytes. */
export async function mountSmallDisk(megabytes: number): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path]);
  return {
    path,
    close: async () => {
      execFileSync('umount', [path]);
      await rm(path, { recursive: true });
    },
  };
}

/** Writes to a file until the disk is full. */
export async function fillDisk(path: string): Promise<void> {
  for (let sizeBytes = 16 * 1024 * 1024; sizeBytes >= 4096; sizeBytes /= 2) {
    try {
      await writeFile(path, Buffer.alloc(sizeBytes), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
}
