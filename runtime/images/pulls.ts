/**
 * Shares work between callers: those who want the same thing at the same time wait for one run of it, and at most
 * so many runs go at once. A run that nobody waits for any more is aborted. Effects: timers and signals only.
 */

export interface SharedRuns<T, Progress = never> {
  /**
   * The result of the run for `key` that is under way, or of a new one. Throws what the run threw, or the signal's
   * reason as soon as it aborts. `onProgress` hears what the run reports while this caller waits for it, the last report at once.
   */
  join(
    key: string,
    run: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<T>,
    signal: AbortSignal,
    onProgress?: (progress: Progress) => void,
  ): Promise<T>;
  /** Aborts all with this reason, lets none begin any more, and waits until they have ended. */
  close(reason: Error): Promise<void>;
}

interface Run<T, Progress> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  readonly listeners: Set<(progress: Progress) => void>;
  last: Progress | undefined;
  waiting: number;
}

export function createSharedRuns<T, Progress = never>(maxParallel: number): SharedRuns<T, Progress> {
  type Work = Parameters<SharedRuns<T, Progress>['join']>[1];
  const runs = new Map<string, Run<T, Progress>>();
  const all = new Set<Run<T, Progress>>();
  const queue: (() => void)[] = [];
  let free = maxParallel;
  let closed: Error | undefined;

  async function take(signal: AbortSignal): Promise<void> {
    if (free > 0) {
      free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const turn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        queue.splice(queue.indexOf(turn), 1);
        reject(signal.reason);
      };
      queue.push(turn);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  function give(): void {
    const next = queue.shift();
    if (next === undefined) free += 1;
    else next();
  }

  function begin(key: string, work: Work): Run<T, Progress> {
    const abort = new AbortController();
    const listeners: Run<T, Progress>['listeners'] = new Set();
    const report = (progress: Progress): void => {
      run.last = progress;
      for (const listener of listeners) listener(progress);
    };
    const result = (async () => {
      await take(abort.signal);
      try {
        return await work(abort.signal, report);
      } finally {
        give();
      }
    })();
    const run: Run<T, Progress> = { result, abort, listeners, last: undefined, waiting: 0 };
    runs.set(key, run);
    all.add(run);
    const ended = () => {
      all.delete(run);
      if (runs.get(key) === run) runs.delete(key);
    };
    result.then(ended, ended);
    return run;
  }

  return {
    async join(key, work, signal, onProgress) {
      signal.throwIfAborted();
      if (closed !== undefined) throw closed;
      const run = runs.get(key) ?? begin(key, work);
      run.waiting += 1;
      // A function of its own: one that was given twice counts twice.
      const listener = onProgress === undefined ? undefined : (progress: Progress) => onProgress(progress);
      if (listener !== undefined) run.listeners.add(listener);
      if (listener !== undefined && run.last !== undefined) listener(run.last);
      try {
        return await untilAborted(run.result, signal);
      } finally {
        run.waiting -= 1;
        if (listener !== undefined) run.listeners.delete(listener);
        if (run.waiting === 0) {
          // Whoever comes now must not join a run that is being given up.
          if (runs.get(key) === run) runs.delete(key);
          run.abort.abort(signal.reason);
        }
      }
    },
    async close(reason) {
      closed = reason;
      for (const run of all) run.abort.abort(reason);
      await Promise.allSettled([...all].map((run) => run.result));
    },
  };
}

async function untilAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  try {
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
    });
    return await Promise.race([result, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}
