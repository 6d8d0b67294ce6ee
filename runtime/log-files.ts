/**
 * The log files of one container: ctr.log is written by conmon, ctr.log.1, ctr.log.2 … are older, the highest number
 * the youngest. Rotation links the file to its new name before conmon opens a new one, so no line is ever lost; between
 * the two steps one file has two names, and readers tell files by inode. One that was cut short (log-trim.ts) is a copy
 * named ctr.log.N.of-INODE after the file whose end it is: who has read that one is told not to read the copy.
 */
import { constants, linkSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { link, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { RuntimeOperationError } from './interface.ts';

const current = 'ctr.log';

interface LogName {
  readonly name: string;
  readonly number: number;
  readonly cutFrom: number | undefined;
}

function parseRotated(name: string): LogName | undefined {
  const [, number, cutFrom] = /^ctr\.log\.([0-9]+)(?:\.of-([0-9]+))?$/.exec(name) ?? [];
  if (number === undefined) return undefined;
  return { name, number: Number(number), cutFrom: cutFrom === undefined ? undefined : Number(cutFrom) };
}

/** Pure: log files by age, the oldest first, the one being written last. A copy cut short follows its original. */
export function orderLogFiles(names: readonly string[]): readonly string[] {
  const rotated = names
    .flatMap((name) => parseRotated(name) ?? [])
    .sort((a, b) => a.number - b.number || a.name.length - b.name.length)
    .map((file) => file.name);
  return names.includes(current) ? [...rotated, current] : rotated;
}

function nameAfter(youngest: string | undefined): string {
  return `${current}.${(parseRotated(youngest ?? '')?.number ?? 0) + 1}`;
}

/** Pure: of a further rotated file, younger than the others. */
export function nextLogName(names: readonly string[]): string {
  return nameAfter(orderLogFiles(names.filter((name) => name !== current)).at(-1));
}

export interface LogFile {
  readonly path: string;
  readonly inode: number;
  readonly sizeBytes: number;
  /** The inode of the file whose end this is; undefined for a whole one. */
  readonly cutFrom: number | undefined;
}

/** Every file once, the oldest first. undefined if the folder is gone. */
export async function observeLogFiles(dir: string): Promise<readonly LogFile[] | undefined> {
  let before = await observeNames(dir);
  for (let tries = 0; before !== undefined; tries += 1) {
    const files = new Map<number, LogFile>();
    let isWhole = true;
    for (const name of before) {
      const path = join(dir, name);
      const found = await stat(path).catch(() => undefined); // rotated away since the folder was read
      if (found === undefined) isWhole = false;
      else if (!files.has(found.ino)) {
        files.set(found.ino, { path, inode: found.ino, sizeBytes: found.size, cutFrom: parseRotated(name)?.cutFrom });
      }
    }
    const after = await observeNames(dir);
    // A file that was rotated between reading the folder and looking at its files would be missing among them.
    if ((isWhole && after?.join() === before.join()) || tries >= mostTries) {
      return [...files.values()];
    }
    before = after;
  }
  return undefined;
}

const mostTries = 50;

async function observeNames(dir: string): Promise<readonly string[] | undefined> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (names === undefined) return undefined;
  // Until the original is gone, its copy does not count.
  return orderLogFiles(names).filter((name) => {
    const original = name.replace(/\.of-[0-9]+$/, '');
    return original === name || !names.includes(original);
  });
}

export interface RotateInput {
  readonly dir: string;
  /** conmon's control FIFO. */
  readonly ctl: string;
  readonly deadlineMs: number;
  /** Whether the run still goes on whose monitor is meant. */
  isRunning(): boolean;
}

/** Rotates once. False if no monitor listens (the container has ended). Throws RuntimeOperationError. */
export async function rotateLog({ dir, ctl, deadlineMs, isRunning }: RotateInput): Promise<boolean> {
  const path = join(dir, current);
  const before = await stat(path);
  const rotated = orderLogFiles(await readdir(dir)).filter((name) => name !== current);
  const youngest = rotated.at(-1);
  const wasLinked = youngest !== undefined && (await stat(join(dir, youngest))).ino === before.ino;
  const target = wasLinked ? youngest : nameAfter(youngest);
  if (!wasLinked) await link(path, join(dir, target));
  if (!isRunning() || !(await sendControl(ctl, '2 0 0\n'))) {
    await unlink(join(dir, target));
    return false;
  }
  const endMs = performance.now() + deadlineMs;
  while ((await stat(path).catch(() => before)).ino === before.ino) {
    if (!isRunning()) return false; // the extra name stays, for the next rotation
    if (performance.now() > endMs) {
      // The extra name stays: conmon may yet act on the command, and then it is all that holds the old lines.
      throw new RuntimeOperationError('rotate', `conmon opened no new log within ${deadlineMs} ms for ${path}`);
    }
    await wait(1);
  }
  return true;
}

/**
 * Makes the log of a container that does not run a rotated one, so that it can be cut short. Synchronous, so that no
 * start comes between the caller's look at the container and the change.
 */
export function retireLog(dir: string): void {
  const path = join(dir, current);
  const youngest = orderLogFiles(readdirSync(dir).filter((name) => name !== current)).at(-1);
  if (youngest === undefined || statSync(join(dir, youngest)).ino !== statSync(path).ino) {
    linkSync(path, join(dir, nameAfter(youngest)));
  }
  unlinkSync(path);
}

/** Writes to a FIFO of conmon's without waiting for a reader; false if there is none. */
export async function sendControl(fifo: string, text: string): Promise<boolean> {
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
  /** Above 0; undefined: it began to grow just now. */
  readonly bytesPerMs: number | undefined;
}

/**
 * Pure: the size at which a log is rotated, so much below its limit as a writer of this speed goes on to write until it
 * is done; then even a fast one's file stays within the limit. A quarter at most, for a wrong guess wastes the room.
 */
export function decideFullBytes({ maxSizeBytes, bytesPerMs }: Omit<GrowthInput, 'sizeBytes'>): number {
  return maxSizeBytes - Math.min(maxSizeBytes / 4, (bytesPerMs ?? 0) * rotationMs);
}

/** From the look that finds it full: the rest of the time between two looks, and the 1.3 ms of a rotation. */
const rotationMs = 4;

/** Pure: when to look again at a log that grows, so that it is seen when it is full, also if it grows faster by then. */
export function decideNextLookMs({ sizeBytes, maxSizeBytes, bytesPerMs }: GrowthInput): number {
  if (bytesPerMs === undefined) return growingLookMs.most;
  const leftMs = (decideFullBytes({ maxSizeBytes, bytesPerMs }) - sizeBytes) / bytesPerMs;
  return Math.min(growingLookMs.most, Math.max(growingLookMs.least, leftMs));
}

/** 390 MB/s were seen of one writer (2026-11), so 10 MiB in 27 ms. */
const growingLookMs = { least: 2, most: 25 } as const;
