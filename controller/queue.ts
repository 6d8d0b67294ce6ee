/**
 * The work queue, with the semantics of client-go's util/workqueue: a key is handed out once at a time; an add while it is
 * worked on is remembered; adds can be delayed; failures wait longer each time. Keys wait in lanes by their standing, so
 * that neither a thousand crash loops nor a thousand new containers delay one that did its work. Effects: timers. Keys
 * are opaque.
 */
import type { QueueMetrics } from './metrics.ts';
import { type Standing, standings } from './standing.ts';

export interface QueueDeps {
  readonly now: () => number;
  readonly metrics: QueueMetrics;
  /** First and longest wait after a failure. client-go's default rate limiter: 5 ms to 1000 s; ours ends at 30 s. */
  readonly errorBaseMs?: number;
  readonly errorMaxMs?: number;
  /** Which lane a key waits in; by default all are alike. */
  readonly standingOf?: (key: string) => Standing;
}

/** While later lanes wait, every so many-th key is of those, so that they are not starved either. */
const laterShare = 4;

interface Lane {
  /** Waiting keys, in order, with the time of their add; no key is in two lanes. */
  readonly keys: Map<string, number>;
  /**
   * Over `keys`, and never past one that is there, since each that it gives is deleted at once. A new iterator would step
   * over all that went before, each time.
   */
  readonly next: MapIterator<[string, number]>;
  /** Keys handed out of it while later lanes waited. */
  sinceLater: number;
}

export class WorkQueue {
  readonly #deps: QueueDeps;
  readonly #lanes: readonly Lane[] = standings.map(() => {
    const keys = new Map<string, number>();
    return { keys, next: keys.entries(), sinceLater: 0 };
  });
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
      depth: () => this.#lanes.reduce((sum, { keys }) => sum + keys.size, 0),
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
    const standing = this.#deps.standingOf?.(key) ?? 'unproven';
    const rank = standings.indexOf(turn === 'first' && standing === 'sick' ? 'unproven' : standing);
    const before = this.#lanes.findIndex(({ keys }) => keys.has(key));
    // What it waits to be looked at for may be its end, so a run that seems to get longer meanwhile proves nothing.
    if (before !== -1 && (turn !== 'first' || before <= rank)) return;
    const sinceMs = this.#lanes[before]?.keys.get(key);
    this.#lanes[before]?.keys.delete(key);
    this.#lanes[rank]?.keys.set(key, sinceMs ?? this.#deps.now());
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
    for (const { keys } of this.#lanes) keys.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #hand(): void {
    while (this.#takers.length > 0) {
      const lane = this.#nextLane();
      if (lane === undefined) return;
      const [key, addedAtMs] = takeFirst(lane);
      const now = this.#deps.now();
      this.#deps.metrics.handed(now - addedAtMs);
      this.#working.set(key, now);
      this.#takers.shift()?.(key);
    }
  }

  #nextLane(): Lane | undefined {
    const waiting = this.#lanes.filter(({ keys }) => keys.size > 0);
    for (const [index, lane] of waiting.entries()) {
      if (index === waiting.length - 1) return lane;
      lane.sinceLater = (lane.sinceLater + 1) % laterShare;
      if (lane.sinceLater !== 0) return lane;
    }
    return undefined;
  }
}

/** Of a lane that is not empty. */
function takeFirst({ keys, next }: Lane): readonly [key: string, addedAtMs: number] {
  const first = next.next();
  if (first.done === true) throw new Error('the work queue took a key from an empty lane');
  keys.delete(first.value[0]);
  return first.value;
}
