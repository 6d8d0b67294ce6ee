/**
 * How far the store's revisions have come, outside the database: by it a database is known that has gone back in time,
 * whether an older file was put in its place or the end of its log is lost. Written after each commit and not synced: what
 * a crash of the machine leaves is older than the database and never newer. Effects.
 */
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

/** Revisions that a database which has gone back in time leaves out: more than any process gave out before it. */
export const revisionJump = 10_000_000_000;

export interface HighWater {
  /** What was noted before this start; 0: nothing that can be read. */
  readonly before: number;
  note(revision: number): void;
  close(): void;
}

/** Always of one length, so that a full disk does not keep it from being written. */
const fileBytes = 40;

export function openHighWater(path: string): HighWater {
  const before = readHighWater(path);
  let fd: number | undefined;
  return {
    before,
    // It helps to find a loss, and is no promise: if the disk does not take it, the commit is on disk all the same.
    note: (revision) => {
      try {
        fd ??= openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
        writeSync(fd, formatHighWater(revision), 0);
      } catch {
        // see above
      }
    },
    close: () => {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    },
  };
}

/** 0 if there is none that can be read. */
export function readHighWater(path: string): number {
  try {
    const text = readFileSync(path, 'utf8');
    const revision = Number(text.split(' ', 1)[0]);
    return text === formatHighWater(revision) ? revision : 0;
  } catch {
    return 0; // not there, or not to be read: then it says nothing
  }
}

function formatHighWater(revision: number): string {
  const text = `${revision} ${crc32(String(revision))}`;
  return `${text.padEnd(fileBytes - 1)}\n`;
}
