/**
 * Where each run of a container begins in its log: a mark (log-format.ts) says so, written when the monitor has the file
 * open and the process waits to be let go, so that nothing of either run can come on its wrong side.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { formatRunMark } from './log-format.ts';
import { isDiskFull } from './shortage.ts';

/**
 * Marks the beginning of a run. A line that a full disk cut short is ended first, or the mark would be part of it.
 * Synchronous, so that nobody sees the run without its mark. Throws what the file system throws.
 */
export function markRun(path: string, startedAtMs: number): void {
  // Not truncated, and made as the monitor would if it has just been rotated away.
  const fd = openSync(path, 'a+', 0o640);
  try {
    const { size } = fstatSync(fd);
    const last = Buffer.alloc(1);
    if (size > 0) readSync(fd, last, 0, 1, size - 1);
    const isTorn = size > 0 && last[0] !== 0x0a;
    writeSync(fd, `${isTorn ? '\n' : ''}${formatRunMark(startedAtMs)}`);
  } catch (error) {
    // Without its mark the run's log is taken for more of the one before; that is no reason not to run.
    if (!isDiskFull(error)) throw error;
  } finally {
    closeSync(fd);
  }
}
