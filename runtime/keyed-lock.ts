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

/** Lets at most so many run at once; the others wait in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
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
