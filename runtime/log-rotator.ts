/** Keeps the logs of running containers within their limits: one timer, and a stat of each log when it is due. */
import { statSync } from 'node:fs';
import type { Logger } from 'pino';
import type { ContainerID, LogLimits } from './interface.ts';
import { decideNextLookMs, rotateLog } from './log-files.ts';

/** A log that is being written. */
export interface GrowingLog {
  readonly id: ContainerID;
  readonly dir: string;
  readonly path: string;
  readonly ctl: string;
  readonly limits: LogLimits;
}

export interface LogRotatorDeps {
  /** Logs of the containers that run. */
  growing(): Iterable<GrowingLog>;
  readonly nowMs: () => number;
  readonly log: Logger;
}

const tickMs = 250;
const rotateDeadlineMs = 5_000;

interface Look {
  readonly atMs: number;
  readonly sizeBytes: number;
  readonly nextMs: number;
}

export class LogRotator {
  readonly #deps: LogRotatorDeps;
  readonly #looks = new Map<ContainerID, Look>();
  readonly #rotating = new Map<ContainerID, Promise<void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(deps: LogRotatorDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#tick(), tickMs);
    this.#timer.unref();
  }

  forget(id: ContainerID): void {
    this.#looks.delete(id);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#rotating.values());
  }

  #tick(): void {
    const nowMs = this.#deps.nowMs();
    for (const log of this.#deps.growing()) {
      const last = this.#looks.get(log.id);
      // A clock that was set back must not stop rotation.
      if (last !== undefined && nowMs < last.nextMs && nowMs >= last.atMs) continue;
      if (!this.#rotating.has(log.id)) this.#look(log, last, nowMs);
    }
  }

  #look(log: GrowingLog, last: Look | undefined, nowMs: number): void {
    let sizeBytes = 0;
    try {
      sizeBytes = statSync(log.path).size;
    } catch {
      // not written yet: size 0
    }
    if (sizeBytes >= log.limits.maxSizeBytes && sizeBytes > 0) {
      this.#looks.delete(log.id);
      const work = this.#rotate(log).finally(() => this.#rotating.delete(log.id));
      this.#rotating.set(log.id, work);
      return;
    }
    const grownBytes = last === undefined || sizeBytes < last.sizeBytes ? undefined : sizeBytes - last.sizeBytes;
    const bytesPerMs =
      grownBytes === undefined || last === undefined ? undefined : grownBytes / (nowMs - last.atMs || 1);
    const delayMs = decideNextLookMs({ sizeBytes, maxSizeBytes: log.limits.maxSizeBytes, bytesPerMs });
    this.#looks.set(log.id, { atMs: nowMs, sizeBytes, nextMs: nowMs + delayMs });
  }

  async #rotate(log: GrowingLog): Promise<void> {
    try {
      await rotateLog({ dir: log.dir, ctl: log.ctl, maxFiles: log.limits.maxFiles, deadlineMs: rotateDeadlineMs });
    } catch (error) {
      this.#deps.log.warn({ err: error, containerID: log.id }, 'a log could not be rotated; trying again');
    }
  }
}
