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

/** Between two rounds, however many logs there are; a log that has just begun is first looked at after the longer. */
const roundMs = { least: 100, most: 1_000 } as const;
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
  #timer: NodeJS.Timeout;
  #isClosed = false;

  constructor(deps: LogRotatorDeps) {
    this.#deps = deps;
    this.#timer = this.#schedule(roundMs.least);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await Promise.all(this.#rotating.values());
  }

  #schedule(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#round();
      if (this.#isClosed) return;
      const soonestMs = Math.min(...[...this.#looks.values()].map((look) => look.nextMs)) - this.#deps.nowMs();
      this.#timer = this.#schedule(Math.min(roundMs.most, Math.max(roundMs.least, soonestMs)));
    }, delayMs).unref();
  }

  #round(): void {
    const nowMs = this.#deps.nowMs();
    const seen = new Set<ContainerID>();
    for (const log of this.#deps.growing()) {
      seen.add(log.id);
      const last = this.#looks.get(log.id);
      // A clock that was set back must not stop rotation.
      if (last !== undefined && nowMs < last.nextMs && nowMs >= last.atMs) continue;
      if (!this.#rotating.has(log.id)) this.#look(log, last, nowMs);
    }
    for (const id of this.#looks.keys()) if (!seen.has(id)) this.#looks.delete(id);
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
