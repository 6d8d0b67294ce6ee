/**
 * Keeps the logs of containers within their limits. An idle log costs nothing: inotify tells that it begins to grow.
 * While it grows it is looked at every few milliseconds instead, since inotify would wake us at each write.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import type { Logger } from 'pino';
import type { ContainerID, LogLimits } from './interface.ts';
import { decideFullBytes, decideNextLookMs, retireLog, rotateLog } from './log-files.ts';
import { trimLog } from './log-trim.ts';

/** The log of a container, as it stands. */
export interface ContainerLog {
  readonly id: ContainerID;
  readonly dir: string;
  readonly path: string;
  readonly ctl: string;
  limits(): LogLimits;
  /** Whether the container runs or is being started; after that nothing is written any more. */
  isGrowing(): boolean;
  /** Whether its process was let go: only then may the file be changed for another, since a run's mark is in it. */
  isRunning(): boolean;
}

export interface LogRotatorDeps {
  /** Of all containers that there are. */
  logs(): Iterable<ContainerLog>;
  readonly log: Logger;
}

/** inotify loses events when its queue is full, and limits may change: so all are looked at now and then. */
const lookAgainMs = 5_000;
const rotateDeadlineMs = 5_000;
const retryMs = 1_000;
const noMonitorMs = 20;

export class LogRotator {
  readonly #deps: LogRotatorDeps;
  readonly #keepers = new Map<ContainerID, LogKeeper>();
  readonly #timer: NodeJS.Timeout;

  constructor(deps: LogRotatorDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#lookAtAll(), lookAgainMs).unref();
    this.#lookAtAll();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.close()));
  }

  /**
   * A container is about to start: its log is watched from the first byte. Resolves when the file stays what it is
   * until the process is let go.
   */
  async begin(log: ContainerLog): Promise<void> {
    const keeper = this.#keeperOf(log);
    keeper.look();
    await keeper.idle();
  }

  /** A container has ended: its log has its last size. */
  end(id: ContainerID): void {
    this.#keepers.get(id)?.look();
  }

  #keeperOf(log: ContainerLog): LogKeeper {
    const known = this.#keepers.get(log.id);
    if (known !== undefined) return known;
    const keeper = new LogKeeper(log, this.#deps.log);
    this.#keepers.set(log.id, keeper);
    return keeper;
  }

  #lookAtAll(): void {
    const seen = new Set<ContainerID>();
    for (const log of this.#deps.logs()) {
      seen.add(log.id);
      this.#keeperOf(log).lookAgain();
    }
    for (const [id, keeper] of this.#keepers) {
      if (seen.has(id)) continue;
      this.#keepers.delete(id);
      void keeper.close();
    }
  }
}

interface Look {
  readonly atMs: number;
  readonly sizeBytes: number;
}

/** Looks after one log. Always in one of these states: watched, waiting for a timer, at work, or at rest. */
class LogKeeper {
  readonly #container: ContainerLog;
  readonly #log: Logger;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> | undefined;
  #last: Look | undefined;
  /** Nothing is written any more and what is there has been trimmed. */
  #isAtRest = false;
  #isClosed = false;

  constructor(container: ContainerLog, log: Logger) {
    this.#container = container;
    this.#log = log;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    clearTimeout(this.#timer);
    await this.#work;
  }

  async idle(): Promise<void> {
    await this.#work;
  }

  lookAgain(): void {
    if (this.#timer !== undefined || (this.#isAtRest && !this.#container.isGrowing())) return;
    this.look();
  }

  look(): void {
    if (this.#isClosed || this.#work !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isAtRest = false;
    if (!this.#container.isGrowing()) {
      this.#unwatch();
      this.#begin(() => this.#finish());
      return;
    }
    const now = this.#observe();
    const last = this.#last;
    this.#last = now;
    const { maxSizeBytes } = this.#container.limits();
    const grownBytes = last === undefined ? 0 : now.sizeBytes - last.sizeBytes;
    // Smaller: it was rotated meanwhile, and all of it is new.
    const bytesPerMs =
      last === undefined || grownBytes === 0
        ? undefined
        : (grownBytes > 0 ? grownBytes : now.sizeBytes + 1) / Math.max(0.1, now.atMs - last.atMs);
    if (now.sizeBytes > 0 && now.sizeBytes >= decideFullBytes({ maxSizeBytes, bytesPerMs })) {
      this.#unwatch();
      if (!this.#container.isRunning()) {
        this.#lookIn(noMonitorMs);
        return;
      }
      this.#begin(() => this.#rotate());
      return;
    }
    if (bytesPerMs === undefined) {
      this.#watch(now);
      return;
    }
    this.#unwatch();
    this.#lookIn(decideNextLookMs({ sizeBytes: now.sizeBytes, maxSizeBytes, bytesPerMs }));
  }

  #observe(): Look {
    // Not written yet: size 0.
    const sizeBytes = statSync(this.#container.path, { throwIfNoEntry: false })?.size ?? 0;
    return { atMs: performance.now(), sizeBytes };
  }

  #lookIn(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.look(), delayMs).unref();
  }

  #watch(seen: Look): void {
    if (this.#watcher !== undefined) return;
    try {
      this.#watcher = watch(this.#container.dir, { persistent: false }, () => this.#wake());
      this.#watcher.on('error', () => this.#unwatch()); // the periodic look watches anew
    } catch (error) {
      this.#unwatch();
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // removed just now
      this.#log.warn({ err: error, containerID: this.#container.id }, 'a log cannot be watched; looking now and then');
      this.#lookIn(retryMs);
      return;
    }
    // What was written before the watch began would wake nobody.
    if (this.#observe().sizeBytes !== seen.sizeBytes) this.#wake();
  }

  /** One line costs one look, a little later, when it is clear whether more follows. */
  #wake(): void {
    this.#unwatch();
    if (this.#timer !== undefined || this.#work !== undefined) return;
    const { maxSizeBytes } = this.#container.limits();
    this.#lookIn(decideNextLookMs({ sizeBytes: 0, maxSizeBytes, bytesPerMs: undefined }));
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #begin(work: () => Promise<number | undefined>): void {
    this.#work = work()
      .catch((error: unknown) => {
        this.#log.warn({ err: error, containerID: this.#container.id }, 'a log could not be rotated; trying again');
        return retryMs;
      })
      .then((nextMs) => {
        this.#work = undefined;
        if (nextMs !== undefined) this.#lookIn(nextMs);
      });
  }

  async #rotate(): Promise<number> {
    const { dir, ctl } = this.#container;
    const isRotated = await rotateLog({
      dir,
      ctl,
      deadlineMs: rotateDeadlineMs,
      isRunning: () => this.#container.isRunning(),
    });
    // No monitor listens: it has just ended or not yet begun.
    if (!isRotated) return noMonitorMs;
    await trimLog(dir, this.#container.limits(), 'growing');
    return 0;
  }

  /** Nobody writes: what is too much goes, from the file written last too. */
  async #finish(): Promise<undefined> {
    const { dir, path } = this.#container;
    const { maxSizeBytes } = this.#container.limits();
    this.#isAtRest = true;
    this.#last = undefined;
    const { sizeBytes } = this.#observe();
    // Still in the same turn of the event loop as the look at the container: no start has come between.
    if (sizeBytes > maxSizeBytes) retireLog(dir);
    await trimLog(dir, this.#container.limits(), statSync(path, { throwIfNoEntry: false })?.size ?? 'none');
    return undefined;
  }
}
