/**
 * The work queue, with the semantics of client-go's util/workqueue: a key is handed out once at a time; an add while it is
 * worked on is remembered; adds can be delayed; failures wait longer each time. Sick keys wait in a lane of their own, so
 * that a thousand crash loops do not delay the others. Effects: timers. Keys are opaque.
 */
import type { QueueMetrics } from './metrics.ts';

export interface QueueDeps {
  readonly now: () => number;
  readonly metrics: QueueMetrics;
  /** First and longest wait after a failure. client-go's default rate limiter: 5 ms to 1000 s; ours ends at 30 s. */
  readonly errorBaseMs?: number;
  readonly errorMaxMs?: number;
  /** Whether a key has failed before, and so may wait for those that have not; by default none has. */
  readonly isSick?: (key: string) => boolean;
}

/** While both lanes wait, every so many-th key is a sick one, so that they are not starved either. */
const sickShare = 4;

export class WorkQueue {
  readonly #deps: QueueDeps;
  /** Waiting keys, in order, with the time of their add; no key is in both lanes. */
  readonly #well = new Map<string, number>();
  readonly #sick = new Map<string, number>();
  /** Keys handed out of the one lane while the other one waited. */
  #sinceSick = 0;
  readonly #working = new Map<string, number>();
  /** Added while being worked on. */
  readonly #again = new Map<string, 'its own' | 'first'>();
  readonly #delayed = new Map<string, { readonly timer: NodeJS.Timeout; readonly atMs: number }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #isClosed = false;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
    deps.metrics.observe({
      depth: () => this.#well.size + this.#sick.size,
      workingSinceMs: () => [...this.#working.values()],
      now: deps.now,
    });
  }

  /** `turn`: with 'first' a sick key does not wait behind the others; its spec may have changed for the better. */
  add(key: string, turn: 'its own' | 'first' = 'its own'): void {
    if (this.#isClosed) return;
    this.#deps.metrics.added();
    if (this.#working.has(key)) {
      if (turn === 'first' || !this.#again.has(key)) this.#again.set(key, turn);
      return;
    }
    if (this.#well.has(key)) return;
    const isSick = turn !== 'first' && this.#deps.isSick?.(key) === true;
    const sinceMs = this.#sick.get(key);
    if (sinceMs !== undefined && isSick) return;
    this.#sick.delete(key);
    (isSick ? this.#sick : this.#well).set(key, sinceMs ?? this.#deps.now());
    this.#hand();
  }

  /** Adds after a wait; of several waits for one key the earliest counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#isClosed) return;
    if (delayMs <= 0) return this.add(key);
    const atMs = this.#deps.now() + delayMs;
    const old = this.#delayed.get(key);
    if (old !== undefined && old.atMs <= atMs) return;
    if (old !== undefined) clearTimeout(old.timer);
    // A timer longer than 2^31 ms would fire at once; a day is early enough to look again.
    const timer = setTimeout(
      () => {
        this.#delayed.delete(key);
        this.add(key);
      },
      Math.min(delayMs, 86_400_000),
    );
    this.#delayed.set(key, { timer, atMs });
  }

  /** Adds after the wait that this key's failures in a row have earned. Returns the wait. */
  addRateLimited(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#deps.metrics.retried();
    const delayMs = Math.min(
      this.#deps.errorMaxMs ?? 30_000,
      (this.#deps.errorBaseMs ?? 5) * 2 ** Math.min(failures, 30),
    );
    this.addAfter(key, delayMs);
    return delayMs;
  }

  /** The key did well: its failures are forgotten. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, or undefined once the queue is closed. Each key taken must be given to done(). */
  take(): Promise<string | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#hand();
    });
  }

  done(key: string): void {
    const sinceMs = this.#working.get(key);
    if (sinceMs !== undefined) this.#deps.metrics.worked(this.#deps.now() - sinceMs);
    this.#working.delete(key);
    const again = this.#again.get(key);
    if (again === undefined) return;
    this.#again.delete(key);
    this.add(key, again);
  }

  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    this.#well.clear();
    this.#sick.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #hand(): void {
    while (this.#takers.length > 0) {
      const lane = this.#nextLane();
      const first = lane.entries().next();
      if (first.done === true) return;
      const [key, addedAtMs] = first.value;
      lane.delete(key);
      const now = this.#deps.now();
      this.#deps.metrics.handed(now - addedAtMs);
      this.#working.set(key, now);
      this.#takers.shift()?.(key);
    }
  }

  #nextLane(): Map<string, number> {
    if (this.#sick.size === 0) return this.#well;
    if (this.#well.size === 0) return this.#sick;
    this.#sinceSick = (this.#sinceSick + 1) % sickShare;
    return this.#sinceSick === 0 ? this.#sick : this.#well;
  }
}
