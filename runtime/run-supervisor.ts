/**
 * Watches over runs: sees that one has ended, records how, cleans up behind it, and ends one whose monitor was killed.
 * `look` decides from files and /proc at once; what takes time happens later, under the container's lock.
 */
import { observeOomKills } from './cgroups.ts';
import {
  type ContainerEntry,
  isRunning,
  noteMemoryKills,
  observeRun,
  type RunFate,
  settleExit,
} from './container-entry.ts';
import type { ContainerID, Exit, RuntimeEvent } from './interface.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { RunProcesses } from './record.ts';
import { cgroupPathOf, endRun, type RunDeps } from './run.ts';
import { isShortage } from './shortage.ts';

const SIGKILL = 9;

export interface SupervisorDeps extends RunDeps {
  /** One operation at a time for each container. */
  readonly lock: KeyedLock;
  /** Aborted when the runtime closes: then nothing new is begun. */
  readonly closing: AbortSignal;
  emit(event: RuntimeEvent): void;
}

export class RunSupervisor {
  readonly #deps: SupervisorDeps;
  /** Runs without a monitor that are being ended. */
  readonly #healing = new WeakSet<RunProcesses>();

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
  }

  /** Takes up a run that an earlier daemon began. */
  resume(entry: ContainerEntry): void {
    // A run that no file of this boot speaks of: the host went down under it.
    if (entry.processes === undefined && entry.lastRun !== undefined && entry.lastRun.exit === undefined) {
      this.#record(entry, { ...this.#unknownExit(), hostWentDown: true });
    }
    this.look(entry);
    // Its end was written down, and we were killed before all of it was put away.
    if (entry.processes !== undefined && !isRunning(entry)) this.#putAwayLater(entry);
  }

  #putAwayLater(entry: ContainerEntry): void {
    const { processes } = entry;
    this.#inBackground(entry.record.config.id, async () => {
      if (entry.processes === processes && !isRunning(entry)) await this.putAway(entry);
    });
  }

  /** Cleans up a run that has ended, so that the next can begin. */
  async putAway(entry: ContainerEntry): Promise<void> {
    const { processes } = entry;
    if (processes === undefined) return;
    entry.monitor?.close();
    entry.monitor = undefined;
    await endRun(this.#deps, entry.record.config.id, processes);
    entry.processes = undefined;
  }

  /** Looks at a run and concludes: settles an exit, heals one whose monitor is gone. Does nothing about the others. */
  look(entry: ContainerEntry): void {
    if (entry.isStarting || entry.isRemoving) return;
    const fate = this.#observe(entry);
    if (fate.kind === 'ended') this.#conclude(entry, fate.exit);
    else if (fate.kind === 'unmonitored') this.#heal(entry);
  }

  /** A host without free file descriptors hides all processes: what was known counts until it can be looked at again. */
  #observe(entry: ContainerEntry): RunFate {
    const { id } = entry.record.config;
    try {
      return observeRun(entry, () => this.#memoryKills(id));
    } catch (error) {
      if (!isShortage(error)) throw error;
      this.#deps.log.error(
        { err: error, containerID: id },
        'a container cannot be looked at; it is taken to be as it was',
      );
      return { kind: 'none' };
    }
  }

  /** Looks for processes that the kernel killed for memory while their container runs on, and tells of them. */
  lookForMemoryKills(entry: ContainerEntry): void {
    const { id } = entry.record.config;
    if (entry.isStarting || entry.isRemoving) return;
    try {
      if (noteMemoryKills(entry, () => this.#memoryKills(id), this.#deps.nowMs())) this.#deps.emit({ kind: 'oom', id });
    } catch (error) {
      this.#deps.log.warn(
        { err: error, containerID: id },
        'a kill for memory cannot be written down; it is told of later',
      );
    }
  }

  #memoryKills(id: ContainerID): number {
    return observeOomKills(this.#deps.cgroups, cgroupPathOf(this.#deps.layout, id));
  }

  #conclude(entry: ContainerEntry, exit: Exit): void {
    const { id } = entry.record.config;
    const { processes } = entry;
    const wasKilled = exit.signal === SIGKILL && !exit.oomKilled && entry.killed !== processes;
    const drift = exit.drift ?? (wasKilled ? 'process' : undefined);
    this.#record(entry, drift === undefined ? exit : { ...exit, drift });
    entry.damage = undefined;
    // Before the event, so that a start which it causes finds the field clear.
    this.#putAwayLater(entry);
    if (exit.oomKilled) this.#deps.emit({ kind: 'oom', id });
    if (drift !== undefined) this.#deps.emit({ kind: 'drift', drift: { kind: drift, containerID: id } });
    this.#deps.emit({ kind: 'exited', id });
  }

  /** Nobody would ever learn how this process ends, nor keep its output: it is ended now. */
  #heal(entry: ContainerEntry): void {
    const { id, name } = entry.record.config;
    const { processes } = entry;
    if (processes === undefined || this.#healing.has(processes)) return;
    this.#healing.add(processes);
    this.#deps.log.error({ containerID: id, container: name }, 'the monitor of a container was killed; ending it');
    this.#inBackground(id, async () => {
      if (entry.processes !== processes || !isRunning(entry)) return;
      await endRun(this.#deps, id, processes).finally(() => this.#healing.delete(processes));
      this.#conclude(entry, { ...this.#unknownExit(), drift: 'monitor' });
    });
  }

  /** A disk that is full must not keep us from seeing the exit; a later daemon would call it unknown. */
  #record(entry: ContainerEntry, exit: Exit): void {
    try {
      settleExit(entry, exit);
    } catch (error) {
      this.#deps.log.error({ err: error, containerID: entry.record.config.id }, 'an exit cannot be written down');
    }
  }

  #unknownExit(): Exit {
    return { code: -1, oomKilled: false, finishedAtMs: this.#deps.nowMs() };
  }

  #inBackground(id: ContainerID, work: () => Promise<void>): void {
    void this.#deps.lock
      .run(id, async () => {
        if (!this.#deps.closing.aborted) await work();
      })
      .catch((error: unknown) => {
        this.#deps.log.warn(
          { err: error, containerID: id },
          'cleaning up after a run failed; the next start tries again',
        );
      });
  }

  /** The process has ended and the monitor is about to write how. */
  async waitForExit(entry: ContainerEntry, signal: AbortSignal): Promise<void> {
    const endMs = performance.now() + 2_000;
    while (isRunning(entry)) {
      signal.throwIfAborted();
      if (performance.now() > endMs) {
        if (entry.processes !== undefined) await endRun(this.#deps, entry.record.config.id, entry.processes);
        this.#conclude(entry, this.#unknownExit());
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
      this.look(entry);
    }
  }
}
