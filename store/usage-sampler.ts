/**
 * How much something uses: the rate of a counter between two looks. Effects. Looks only when it is asked, a few at a time,
 * and not again for a while; whoever asks for the first time waits for a second look.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** One look. */
export interface Reading {
  /** Processor time used so far. */
  readonly cpuNanoseconds: number;
  readonly memoryBytes: number;
}

export interface Usage {
  /** Billionths of a core. */
  readonly nanocores: number;
  readonly memoryBytes: number;
  /** Milliseconds since the epoch, at the end of the interval. */
  readonly atMs: number;
  readonly windowMs: number;
}

export interface Measured {
  /** Tells it from all others, also from one of the same name before it. */
  readonly id: string;
  /** undefined: it cannot be measured now. */
  readonly read: () => Promise<Reading | undefined>;
}

interface Look extends Reading {
  readonly monotonicMs: number;
  readonly atMs: number;
}

interface Known {
  readonly last: Look;
  readonly usage: Usage | undefined;
}

export interface SamplerDeps {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds that only go on. */
  readonly monotonic: () => number;
  readonly wait: (ms: number) => Promise<void>;
}

/** What was measured so lately counts as of now. */
const freshMs = 5_000;
/** A look so long ago says nothing of the present. */
const oldMs = 60_000;
/** The shortest interval that says something: the kernel counts in ticks. */
const windowMs = 500;
const maxAtOnce = 16;
const readMs = 5_000;

export class UsageSampler {
  readonly #deps: SamplerDeps;
  readonly #known = new Map<string, Known>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(deps: Partial<SamplerDeps> = {}) {
    const wait = async (ms: number): Promise<void> => await delay(ms);
    this.#deps = { now: Date.now, monotonic: () => performance.now(), wait, ...deps };
  }

  /** By id; what could not be measured is not in it. One call follows the other, so that all share what is fresh. */
  usageOf(all: readonly Measured[]): Promise<ReadonlyMap<string, Usage>> {
    const result = this.#tail.then(() => this.#measure(all));
    this.#tail = result.catch(() => {}); // told to its caller
    return result;
  }

  async #measure(all: readonly Measured[]): Promise<ReadonlyMap<string, Usage>> {
    this.#forget();
    const stale = all.filter(({ id }) => !this.#isFresh(id));
    await this.#lookAt(stale);
    const once = stale.filter(({ id }) => this.#known.get(id)?.usage === undefined && this.#known.has(id));
    if (once.length > 0) {
      await this.#deps.wait(windowMs);
      await this.#lookAt(once);
    }
    const found = all.map(({ id }) => [id, this.#known.get(id)?.usage] as const);
    return new Map(found.filter((pair): pair is readonly [string, Usage] => pair[1] !== undefined));
  }

  #isFresh(id: string): boolean {
    const known = this.#known.get(id);
    return known?.usage !== undefined && this.#deps.monotonic() - known.last.monotonicMs < freshMs;
  }

  #forget(): void {
    const before = this.#deps.monotonic() - oldMs;
    for (const [id, { last }] of this.#known) if (last.monotonicMs < before) this.#known.delete(id);
  }

  async #lookAt(some: readonly Measured[]): Promise<void> {
    const left = some[Symbol.iterator]();
    const work = async (): Promise<void> => {
      for (const one of left) await this.#lookAtOne(one);
    };
    await Promise.all(Array.from({ length: Math.min(maxAtOnce, some.length) }, work));
  }

  async #lookAtOne({ id, read }: Measured): Promise<void> {
    // One host that does not answer must not keep all others from being told of.
    const reading = await Promise.race([read(), delay(readMs, undefined, { ref: false })]);
    if (reading === undefined) {
      this.#known.delete(id);
      return;
    }
    const look = { ...reading, monotonicMs: this.#deps.monotonic(), atMs: this.#deps.now() };
    this.#known.set(id, { last: look, usage: usageBetween(this.#known.get(id)?.last, look) });
  }
}

/** undefined: there is no interval, or the counter began anew in it. */
function usageBetween(first: Look | undefined, second: Look): Usage | undefined {
  if (first === undefined || second.cpuNanoseconds < first.cpuNanoseconds) return undefined;
  const elapsedMs = second.monotonicMs - first.monotonicMs;
  if (elapsedMs <= 0) return undefined;
  return {
    nanocores: Math.round(((second.cpuNanoseconds - first.cpuNanoseconds) * 1000) / elapsedMs),
    memoryBytes: second.memoryBytes,
    atMs: second.atMs,
    windowMs: elapsedMs,
  };
}
