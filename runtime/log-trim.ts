/**
 * Keeps the rotated files of a log within their bound: the oldest go, and one that is too big by itself (the container
 * wrote faster than anybody could look, or nobody was there) gives way to a copy of its end.
 */
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { LogLimits } from './interface.ts';
import { type LogFile, observeLogFiles } from './log-files.ts';
import { endsLine } from './log-format.ts';

export interface TrimInput {
  /** The rotated files, the oldest first. */
  readonly sizesBytes: readonly number[];
  readonly limits: LogLimits;
  readonly current: CurrentLog;
}

/** The file beside the rotated ones: is being written, is at rest with so many bytes, or is not there. */
export type CurrentLog = 'growing' | 'none' | number;

export interface Trim {
  /** So many of the oldest are removed. */
  readonly removed: number;
  /** What is kept of the oldest that stays; undefined: all. */
  readonly keptBytes: number | undefined;
}

/**
 * Pure: what has to go. At rest all files together keep within the bound. While one is written the others may be a
 * little bigger than their limits, for the last line before a rotation goes over it, and cutting costs a copy.
 */
export function decideTrim({ sizesBytes, limits, current }: TrimInput): Trim {
  const { maxSizeBytes, maxFiles } = limits;
  const mostFiles = current === 'none' ? maxFiles : maxFiles - 1;
  const dueBytes = typeof current === 'number' ? maxFiles * maxSizeBytes - current : mostFiles * maxSizeBytes;
  const mostBytes = current === 'growing' ? dueBytes * (1 + slack) : dueBytes;
  let totalBytes = 0;
  let kept = 0;
  for (const sizeBytes of sizesBytes.toReversed()) {
    if (kept === mostFiles) break;
    if (totalBytes + sizeBytes > mostBytes) {
      const room = dueBytes - totalBytes;
      // Less than half a file is not worth the copying.
      if (room < maxSizeBytes / 2) break;
      return { removed: sizesBytes.length - kept - 1, keptBytes: room };
    }
    totalBytes += sizeBytes;
    kept += 1;
  }
  return { removed: sizesBytes.length - kept, keptBytes: undefined };
}

const slack = 0.05;

/** Brings the rotated files of a folder within the limits. */
export async function trimLog(dir: string, limits: LogLimits, current: CurrentLog): Promise<void> {
  const files = (await observeLogFiles(dir)) ?? [];
  const rotated = files.filter((file) => basename(file.path) !== 'ctr.log');
  const { removed, keptBytes } = decideTrim({ sizesBytes: rotated.map((file) => file.sizeBytes), limits, current });
  for (const file of rotated.slice(0, removed)) await remove(file.path);
  const oldest = rotated[removed];
  if (keptBytes === undefined || oldest === undefined) return;
  // A copy of a copy would hide from readers what it was: that one goes as a whole.
  if (oldest.cutFrom === undefined) await cutLog(oldest, keptBytes);
  else await remove(oldest.path);
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

const chunkBytes = 1024 * 1024;

/** Replaces a rotated file by its last lines, at most so many bytes. */
async function cutLog(file: LogFile, keptBytes: number): Promise<void> {
  const unfinished = join(dirname(file.path), 'cut.tmp');
  const from = await open(file.path, 'r');
  try {
    const { size, mode } = await from.stat();
    let offset = await lineStart(from, size - keptBytes);
    const to = await open(unfinished, 'w', mode & 0o777);
    try {
      const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, Math.max(1, size - offset)));
      for (;;) {
        const { bytesRead } = await from.read({ buffer, position: offset });
        if (bytesRead === 0) break;
        await to.writeFile(buffer.subarray(0, bytesRead));
        offset += bytesRead;
      }
    } finally {
      await to.close();
    }
    await rename(unfinished, `${file.path}.of-${file.inode}`);
    await remove(file.path);
  } catch (error) {
    await remove(unfinished);
    throw error;
  } finally {
    await from.close();
  }
}

/** Where the first line begins after this offset; within 64 KiB one that does not go on from the line before. */
async function lineStart(handle: FileHandle, offset: number): Promise<number> {
  const { buffer, bytesRead } = await handle.read({ buffer: Buffer.allocUnsafe(64 * 1024), position: offset });
  const data = buffer.subarray(0, bytesRead);
  const first = data.indexOf(0x0a) + 1;
  let start = first;
  for (let end = data.indexOf(0x0a, start); end >= 0; end = data.indexOf(0x0a, start)) {
    const line = data.subarray(start, end);
    start = end + 1;
    if (endsLine(line)) return offset + start;
  }
  return offset + first;
}
