/**
 * The work queue, with the semantics of client-go's util/workqueue: a key is handed out once at a time; an add while it is
 * worked on is remembered; adds can be delayed; failures wait longer each time. Effects: timers. Keys are opaque.
 */
import type { QueueMetrics } from './metrics.ts';

export interface QueueDeps {
  readonly now: () => number;
  readonly metrics: QueueMetrics;
  /** First and longest wait after a failure. client-go's default rate limiter: 5 ms to 1000 s; ours ends at 30 s. */
  readonly errorBaseMs?: number;
  readonly errorMaxMs?: number;
}

export class WorkQueue {
  readonly #deps: QueueDeps;
  /** Waiting keys, in order, with the time of their add. */
  readonly #waiting = new Map<string, number>();
  readonly #working = new Map<string, number>();
  /** Added while being worked on. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, { readonly timer: NodeJS.Timeout; readonly atMs: number }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #isClosed = false;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
    deps.metrics.observe({
      depth: () => this.#waiting.size,
      workingSinceMs: () => [...this.#working.values()],
      now: deps.now,
    });
  }

  add(key: string): void {
    if (this.#isClosed) return;
    this.#deps.metrics.added();
    if (this.#working.has(key)) this.#again.add(key);
    else if (!this.#waiting.has(key)) {
      this.#waiting.set(key, this.#deps.now());
      this.#hand();
    }
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
    if (this.#again.delete(key)) this.add(key);
  }

  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    this.#waiting.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #hand(): void {
    while (this.#takers.length > 0) {
      const first = this.#waiting.entries().next();
      if (first.done === true) return;
      const [key, addedAtMs] = first.value;
      this.#waiting.delete(key);
      const now = this.#deps.now();
      this.#deps.metrics.handed(now - addedAtMs);
      this.#working.set(key, now);
      this.#takers.shift()?.(key);
    }
  }
}
