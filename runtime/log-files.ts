/**
 * The log files of one container: ctr.log is written by conmon, ctr.log.1, ctr.log.2 … are older, the highest number
 * the youngest. Rotation links the file to its new name before conmon opens a new one, so no line is ever lost; between
 * the two steps one file has two names, and readers tell files by inode.
 */
import { constants } from 'node:fs';
import { link, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { RuntimeOperationError } from './interface.ts';

const current = 'ctr.log';

/** Pure: log files by age, the oldest first, the one being written last. */
export function orderLogFiles(names: readonly string[]): readonly string[] {
  const rotated = names
    .flatMap((name) => {
      const number = /^ctr\.log\.([0-9]+)$/.exec(name)?.[1];
      return number === undefined ? [] : [{ name, number: Number(number) }];
    })
    .sort((a, b) => a.number - b.number)
    .map((file) => file.name);
  return names.includes(current) ? [...rotated, current] : rotated;
}

function numberOf(name: string | undefined): number {
  return Number(name?.slice(current.length + 1) ?? 0);
}

export interface LogFile {
  readonly path: string;
  readonly inode: number;
  readonly sizeBytes: number;
}

/** Every file once, the oldest first. undefined if the folder is gone. */
export async function observeLogFiles(dir: string): Promise<readonly LogFile[] | undefined> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (names === undefined) return undefined;
  const files = new Map<number, LogFile>();
  for (const name of orderLogFiles(names)) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => undefined); // rotated away since the folder was read
    if (found !== undefined && !files.has(found.ino)) {
      files.set(found.ino, { path, inode: found.ino, sizeBytes: found.size });
    }
  }
  return [...files.values()];
}

export interface RotateInput {
  readonly dir: string;
  /** conmon's control FIFO. */
  readonly ctl: string;
  readonly maxFiles: number;
  readonly deadlineMs: number;
}

/** Rotates once. False if no monitor listens (the container has ended). Throws RuntimeOperationError. */
export async function rotateLog({ dir, ctl, maxFiles, deadlineMs }: RotateInput): Promise<boolean> {
  const path = join(dir, current);
  const before = await stat(path);
  const rotated = orderLogFiles(await readdir(dir)).filter((name) => name !== current);
  const youngest = rotated.at(-1);
  const wasLinked = youngest !== undefined && (await stat(join(dir, youngest))).ino === before.ino;
  const target = wasLinked ? youngest : `${current}.${numberOf(youngest) + 1}`;
  if (!wasLinked) await link(path, join(dir, target));
  if (!(await sendControl(ctl, '2 0 0\n'))) {
    await unlink(join(dir, target));
    return false;
  }
  const endMs = performance.now() + deadlineMs;
  while ((await stat(path).catch(() => before)).ino === before.ino) {
    if (performance.now() > endMs) {
      // The extra name stays: conmon may yet act on the command, and then it is all that holds the old lines.
      throw new RuntimeOperationError('rotate', `conmon opened no new log within ${deadlineMs} ms for ${path}`);
    }
    await wait(1);
  }
  const all = wasLinked ? rotated : [...rotated, target];
  for (const name of all.slice(0, Math.max(0, all.length - (maxFiles - 1)))) {
    await unlink(join(dir, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
  return true;
}

/** Writes to a FIFO without waiting for a reader; false if there is none. */
async function sendControl(fifo: string, text: string): Promise<boolean> {
  const handle = await open(fifo, constants.O_WRONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENXIO' || error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (handle === undefined) return false;
  try {
    await handle.write(text);
    return true;
  } finally {
    await handle.close();
  }
}

export interface GrowthInput {
  readonly sizeBytes: number;
  readonly maxSizeBytes: number;
  /** Bytes per ms since the last look; undefined at the first. */
  readonly bytesPerMs: number | undefined;
}

/** Pure: when to look at a log again, so that it is seen when it is full but an idle one costs nothing. */
export function decideNextLookMs({ sizeBytes, maxSizeBytes, bytesPerMs }: GrowthInput): number {
  if (bytesPerMs === undefined) return 500;
  if (bytesPerMs <= 0) return 5_000;
  return Math.min(5_000, Math.max(100, (maxSizeBytes - sizeBytes) / bytesPerMs / 2));
}
