/**
 * Keeps the database's file small and its Secrets under the present key, in slices that hold nobody up. Effects.
 */
import type { Logger } from 'pino';
import type { DatabaseFile } from './database.ts';

export interface Upkeep {
  /** Begins to seal anew what is not sealed with the present key. */
  reseal(): void;
  close(): void;
}

/** Free pages that stay for the next writes: 1 MB. */
const spareBytes = 1024 * 1024;
const intervalMs = 5_000;
/** Pages given back at once; each is copied to another place. */
const pagesAtOnce = 32;
const pauseMs = 20;
/** Fewer if they are large. */
const rowsAtOnce = 50;

export function startUpkeep(database: DatabaseFile, log: Logger): Upkeep {
  const timers = new Set<NodeJS.Timeout>();
  const later = (run: () => void, afterMs: number): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      try {
        run();
      } catch (error) {
        log.warn({ err: error }, 'the database could not be looked after; it is tried again later');
        later(run, 10 * intervalMs);
      }
    }, afterMs);
    timer.unref();
    timers.add(timer);
  };
  const giveBack = (): void => {
    const { freeBytes } = database.sizes();
    if (freeBytes > spareBytes) database.giveBack(pagesAtOnce);
    // A file that could not be written anew yet has pages that cannot be given back.
    const isShrinking = database.sizes().freeBytes < freeBytes;
    later(giveBack, isShrinking ? pauseMs : intervalMs);
  };
  const reseal = (after: string): void => {
    const next = database.resealAfter(after, rowsAtOnce);
    if (next !== undefined) later(() => reseal(next), pauseMs);
  };
  later(giveBack, intervalMs);
  if (database.keyProblem === undefined) later(() => reseal(''), pauseMs);
  return {
    reseal: () => later(() => reseal(''), 0),
    close: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
