/** Order among concurrent operations: one at a time for a key, a bounded number in all. Pure bookkeeping. */

/** Runs functions of one key strictly one after the other, in the order of the calls. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const { promise: done, resolve: release } = Promise.withResolvers<void>();
    this.#tails.set(key, done);
    try {
      await before;
      return await work();
    } finally {
      if (this.#tails.get(key) === done) this.#tails.delete(key);
      release();
    }
  }

  /** Resolves when nothing that was begun before the call runs any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}

/** Lets at most so many run at once; the others wait in order. What hangs gives its place away after `slowMs`. */
export class Semaphore {
  #free: number;
  readonly #slowMs: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number, { slowMs = 5_000 }: { readonly slowMs?: number } = {}) {
    this.#free = places;
    this.#slowMs = slowMs;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let hasPlace = true;
    const leave = (): void => {
      if (!hasPlace) return;
      hasPlace = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
    const timer = setTimeout(leave, this.#slowMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      leave();
    }
  }
}

/**
 * Promise.all that waits for every part even when one fails: cleaning up must not race with what still goes on.
 * Throws the first failure.
 */
export async function settleAll<T extends readonly unknown[]>(
  parts: readonly [...{ [K in keyof T]: Promise<T[K]> }],
): Promise<T> {
  await Promise.allSettled(parts);
  // All are settled; this picks the values, or throws the first failure. The tuple's type is that of the parts.
  return (await Promise.all(parts)) as unknown as T;
}
