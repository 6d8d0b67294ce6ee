/**
 * Learns of exits: conmon puts a file named after the container into one folder. inotify tells within a millisecond but
 * loses events in silence when its queue is full, so a periodic look at everything stands behind it.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import type { Logger } from 'pino';
import type { ContainerID } from './interface.ts';

export interface ExitWatchDeps {
  readonly dir: string;
  /** Makes the folder again if it was removed. Synchronous. */
  ensureDir(): void;
  /** Something happened to the exit file of this container; may be called more than once for one exit. */
  onExit(id: ContainerID): void;
  /** Look at every container. `afterGap`: events may have been missed just now. */
  onLookAgain(why: 'periodic' | 'afterGap'): void;
  readonly intervalMs: number;
  readonly log: Logger;
}

export class ExitWatch {
  readonly #deps: ExitWatchDeps;
  #watcher: FSWatcher;
  readonly #timer: NodeJS.Timeout;
  #isBroken = false;
  /** Of the folder that is watched. */
  #inode = 0;

  constructor(deps: ExitWatchDeps) {
    this.#deps = deps;
    this.#watcher = this.#watch();
    this.#timer = setInterval(() => this.#look(), deps.intervalMs);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watcher.close();
  }

  #watch(): FSWatcher {
    this.#inode = statSync(this.#deps.dir).ino;
    const watcher = watch(this.#deps.dir, { persistent: false }, (_event, name) => {
      if (name !== null && /^[0-9a-f]{64}$/.test(name)) this.#deps.onExit(name);
    });
    watcher.on('error', (error) => {
      this.#deps.log.error({ err: error }, 'watching for exits failed; watching anew');
      this.#isBroken = true;
    });
    return watcher;
  }

  #look(): void {
    try {
      this.#deps.ensureDir();
    } catch (error) {
      this.#deps.log.error({ err: error }, 'the folder of exits cannot be made again; the next look tries again');
    }
    // A folder that was removed says nothing any more, also when there is another of its name.
    if (statSync(this.#deps.dir, { throwIfNoEntry: false })?.ino !== this.#inode) this.#isBroken = true;
    if (this.#isBroken) {
      this.#watcher.close();
      try {
        this.#watcher = this.#watch();
        this.#isBroken = false;
      } catch (error) {
        this.#deps.log.error({ err: error }, 'watching for exits is still not possible');
      }
      this.#deps.onLookAgain('afterGap');
      return;
    }
    this.#deps.onLookAgain('periodic');
  }
}
