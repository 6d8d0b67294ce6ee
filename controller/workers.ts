/**
 * The workers: each takes a key from the queue and has it worked on. Work that takes long (a call of the runtime that
 * hangs) goes on by itself while its worker takes the next key, so that a few sick containers do not hold up the others.
 * The queue sees to it that a key is not worked on twice at once. Effects: timers.
 */
import type { WorkQueue } from './queue.ts';

export interface WorkersDeps {
  readonly queue: Pick<WorkQueue, 'take' | 'done'>;
  readonly count: number;
  /** Never rejects. */
  readonly work: (key: string) => Promise<void>;
  /** After so long a worker does not wait for its key any more. */
  readonly slowMs: number;
  /** Keys that may be worked on besides; more are waited for, as without this. */
  readonly maxSlow: number;
}

/** Resolves when the queue is closed and all that was begun has ended. */
export async function runWorkers({ queue, count, work, slowMs, maxSlow }: WorkersDeps): Promise<void> {
  const slow = new Set<Promise<void>>();
  const breath = new Breath();
  const run = async (): Promise<void> => {
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      await breath.taken();
      const taken = key;
      const task = work(taken).finally(() => queue.done(taken));
      if (slow.size < maxSlow && (await isSlow(task, slowMs))) {
        slow.add(task);
        void task.finally(() => slow.delete(task));
      } else await task;
    }
  };
  await Promise.all(Array.from({ length: count }, run));
  await Promise.all(slow);
}

/** Keys that need nothing from outside are worked on without the event loop coming round; after so long it is let. */
const turnMs = 10;

/** One for all workers, since they share the event loop. */
class Breath {
  /** When the present turn of the event loop was first seen; undefined: not yet. */
  #turnBeganMs: number | undefined;

  /** Resolves at once, or, if this turn has lasted too long, in the next one. */
  async taken(): Promise<void> {
    const nowMs = performance.now();
    if (this.#turnBeganMs === undefined) {
      this.#turnBeganMs = nowMs;
      setImmediate(() => {
        this.#turnBeganMs = undefined;
      });
    } else if (nowMs - this.#turnBeganMs >= turnMs) await new Promise((resolve) => setImmediate(resolve));
  }
}

function isSlow(task: Promise<void>, slowMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, slowMs, true);
    task.then(() => resolve(false), reject).finally(() => clearTimeout(timer));
  });
}
