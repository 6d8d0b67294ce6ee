/**
 * What waits to be sent to watchers that do not read: bounded for each, and for all of them together. Whoever is too far
 * behind is cut off, and begins again where it was. Keeps counts; its one effect is to end a connection.
 */

/** Where the events of one watcher go, as far as it is needed. */
export interface Queue {
  /** Unsent bytes. */
  readonly writableLength: number;
  destroy(): void;
}

export interface QueueLimits {
  /** Unsent bytes at which one client counts as not reading. */
  readonly perWatcher: number;
  /** Of all clients that are behind together: beyond it those with the most are cut off. */
  readonly allWatchers: number;
}

export const defaultQueueLimits: QueueLimits = { perWatcher: 8 * 1024 * 1024, allWatchers: 64 * 1024 * 1024 };

export interface QueueDeps {
  readonly limits: QueueLimits;
  /** Milliseconds of a clock that is never set. */
  readonly monotonic: () => number;
  /** One was cut off that watched this resource. */
  readonly onCut: (resource: string) => void;
}

/** Less than this is on its way, and not behind. */
const behindBytes = 256 * 1024;

/** Who is behind for less than this may only have got a large event, as everyone has. */
const patienceMs = 1_000;

interface Behind {
  readonly resource: string;
  readonly sinceMs: number;
  bytes: number;
}

export class WatchQueues {
  readonly #deps: QueueDeps;
  readonly #behind = new Map<Queue, Behind>();
  #total = 0;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
  }

  /** Bytes that may wait for one watcher. */
  get perWatcher(): number {
    return this.#deps.limits.perWatcher;
  }

  /** To be called after each write. */
  written(queue: Queue, resource: string): void {
    const bytes = queue.writableLength;
    if (bytes > this.#deps.limits.perWatcher) return this.cut(queue, resource);
    if (bytes <= behindBytes) return this.forget(queue);
    const known = this.#behind.get(queue);
    this.#total += bytes - (known?.bytes ?? 0);
    if (known === undefined) this.#behind.set(queue, { resource, sinceMs: this.#deps.monotonic(), bytes });
    else known.bytes = bytes;
    if (this.#total > this.#deps.limits.allWatchers) this.#relieve();
  }

  /** Ends a watch that is too far behind. */
  cut(queue: Queue, resource: string): void {
    this.forget(queue);
    queue.destroy();
    this.#deps.onCut(resource);
  }

  /** It is behind no longer, or has ended. */
  forget(queue: Queue): void {
    const known = this.#behind.get(queue);
    if (known === undefined) return;
    this.#total -= known.bytes;
    this.#behind.delete(queue);
  }

  #relieve(): void {
    for (const [queue, known] of this.#behind) {
      const bytes = queue.writableLength; // it may have been read since
      if (bytes <= behindBytes) this.forget(queue);
      else {
        this.#total += bytes - known.bytes;
        known.bytes = bytes;
      }
    }
    const sinceMs = this.#deps.monotonic() - patienceMs;
    const slow = [...this.#behind].filter(([, known]) => known.sinceMs <= sinceMs);
    for (const [queue, { resource }] of slow.toSorted(([, a], [, b]) => b.bytes - a.bytes)) {
      if (this.#total <= this.#deps.limits.allWatchers) return;
      this.cut(queue, resource);
    }
  }
}
