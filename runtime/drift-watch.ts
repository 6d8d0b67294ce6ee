/**
 * Looks at all running containers for what was changed behind our back, and has it put back (drift-repair.ts), or says
 * that only a restart helps. Effects; what is amiss is decided by drift-find.ts, how often by mayCorrect.
 */
import { writeFile } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ContainerEntry, isRunning } from './container-entry.ts';
import type { Damage, DriftKind } from './drift.ts';
import { observeFacts, type RunMemory, rememberRun } from './drift-facts.ts';
import { type FindInput, findDamage, findDrift } from './drift-find.ts';
import { type RepairDeps, repair } from './drift-repair.ts';
import { observeFrozen } from './freezer.ts';
import { type ContainerID, ImageNotPresentError, type RuntimeEvent } from './interface.ts';
import type { KeyedLock } from './keyed-lock.ts';
import { isAlive } from './proc.ts';
import type { RunProcesses } from './record.ts';
import { cgroupPathOf } from './run.ts';

export interface DriftWatchDeps extends RepairDeps {
  readonly entries: ReadonlyMap<ContainerID, ContainerEntry>;
  readonly lock: KeyedLock;
  /** Aborted when the runtime closes. */
  readonly closing: AbortSignal;
  readonly nowMs: () => number;
  readonly log: Logger;
  layersOf(imageID: string): Promise<readonly string[]>;
  emit(event: RuntimeEvent): void;
}

/** How often one kind was put back in one run. */
export interface Corrections {
  readonly count: number;
  readonly lastMs: number;
}

const freeCorrections = 3;
const firstWaitMs = 10_000;
const mostWaitMs = 300_000;
const forgetMs = 600_000;

/**
 * Pure: whether to put back once more now. What comes again and again somebody does with a will, perhaps the process in
 * the container itself: the first three times at once, then later and later, up to every five minutes.
 */
export function mayCorrect(before: Corrections | undefined, nowMs: number): boolean {
  if (before === undefined || before.count < freeCorrections) return true;
  const sinceMs = nowMs - before.lastMs;
  // A clock that was set back says nothing.
  if (sinceMs < 0 || sinceMs > forgetMs) return true;
  return sinceMs >= Math.min(mostWaitMs, firstWaitMs * 2 ** (before.count - freeCorrections));
}

/** Pure: one more. */
export function countCorrection(before: Corrections | undefined, nowMs: number): Corrections {
  const isOld = before === undefined || nowMs - before.lastMs > forgetMs;
  return { count: isOld ? 1 : before.count + 1, lastMs: nowMs };
}

/** Looks at so many containers before others have their turn on the event loop: some 1 ms. */
const batch = 2;

interface Watched {
  readonly memory: RunMemory;
  readonly corrections: Map<DriftKind, Corrections>;
  isBusy: boolean;
  isFrozen: boolean;
}

export class DriftWatch {
  readonly #deps: DriftWatchDeps;
  readonly #watched = new WeakMap<RunProcesses, Watched>();
  #looking: Promise<void> | undefined;

  constructor(deps: DriftWatchDeps) {
    this.#deps = deps;
  }

  /** Resolves when every container was looked at; what is found is put back in the background. */
  look(): Promise<void> {
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookAtAll(): Promise<void> {
    const { entries, closing, log } = this.#deps;
    let count = 0;
    for (const entry of entries.values()) {
      if (closing.aborted) return;
      try {
        this.#lookAt(entry);
      } catch (error) {
        log.warn({ err: error, containerID: entry.record.config.id }, 'a container could not be looked at for drift');
      }
      count += 1;
      if (count % batch === 0) await turn();
    }
    await this.#lookAtLayers();
  }

  /** The run to look at; undefined while it begins, ends or is gone. */
  #runOf(entry: ContainerEntry): RunProcesses | undefined {
    const isSettled = isRunning(entry) && !entry.isStarting && !entry.isRemoving;
    return isSettled && entry.processes !== undefined && isAlive(entry.processes.init) ? entry.processes : undefined;
  }

  #watchedOf(entry: ContainerEntry, run: RunProcesses): Watched {
    const known = this.#watched.get(run);
    if (known !== undefined) return known;
    const memory = rememberRun(entry);
    const watched: Watched = { memory, corrections: new Map(), isBusy: false, isFrozen: this.#isFrozen(entry) };
    this.#watched.set(run, watched);
    return watched;
  }

  #isFrozen(entry: ContainerEntry): boolean {
    const { cgroups, layout } = this.#deps;
    return observeFrozen(cgroups, cgroupPathOf(layout, entry.record.config.id));
  }

  #observe(entry: ContainerEntry, run: RunProcesses, memory: RunMemory): FindInput {
    const { layout } = this.#deps;
    const { paths, record } = entry;
    const facts = observeFacts(this.#deps, entry, run, memory);
    return { facts, memory, paths, config: record.config, bridge: layout.bridge, volumesDir: layout.volumes };
  }

  #lookAt(entry: ContainerEntry): void {
    const run = this.#runOf(entry);
    if (run === undefined) return;
    const watched = this.#watchedOf(entry, run);
    const isFrozen = this.#isFrozen(entry);
    if (isFrozen !== watched.isFrozen) this.#deps.emit({ kind: 'frozen', id: entry.record.config.id });
    watched.isFrozen = isFrozen;
    if (watched.isBusy) return;
    const input = this.#observe(entry, run, watched.memory);
    const damage = findDamage(input);
    if (damage !== undefined) this.#noteDamage(entry, damage);
    if (findDrift(input).length === 0) return;
    watched.isBusy = true;
    const { id } = entry.record.config;
    void this.#deps.lock
      .run(id, () => this.#putBack(entry, run, watched))
      .catch((error: unknown) => {
        if (!this.#deps.closing.aborted) this.#deps.log.warn({ err: error, containerID: id }, 'drift stays for now');
      })
      .finally(() => {
        watched.isBusy = false;
      });
  }

  /** Looks again: what was found may have been an operation that was under way. */
  async #putBack(entry: ContainerEntry, run: RunProcesses, { memory, corrections }: Watched): Promise<void> {
    const { closing, nowMs, log, emit } = this.#deps;
    const { id, name } = entry.record.config;
    if (closing.aborted || this.#runOf(entry) !== run) return;
    const input = this.#observe(entry, run, memory);
    const put = new Map<DriftKind, string>();
    const failed: unknown[] = [];
    for (const finding of findDrift(input)) {
      const { kind, detail } = finding;
      if (!put.has(kind) && !mayCorrect(corrections.get(kind), nowMs())) continue;
      try {
        await repair({ deps: this.#deps, entry, processes: run, memory, etc: input.facts.etc }, finding);
        put.set(kind, detail);
      } catch (error) {
        // Its end explains everything, and what is next puts it back.
        if (!isAlive(run.init)) return;
        failed.push(error);
      }
    }
    for (const [kind, detail] of put) {
      corrections.set(kind, countCorrection(corrections.get(kind), nowMs()));
      log.warn({ containerID: id, container: name, drift: kind, detail }, 'drift was put right');
      emit({ kind: 'drift', drift: { kind, containerID: id, detail } });
    }
    if (failed.length > 0) throw new AggregateError(failed, 'some of what was changed could not be put back');
  }

  /** A file says to the next start, which may be a later daemon's, that the mounted root is of no use. */
  #noteDamage(entry: ContainerEntry, damage: Damage): void {
    if (entry.damage !== undefined) return;
    const { log, emit } = this.#deps;
    const { id, name } = entry.record.config;
    entry.damage = damage;
    writeFile(entry.paths.staleRoot, '').catch((error: unknown) => {
      log.warn({ err: error, containerID: id }, 'damage cannot be noted in the bundle');
    });
    log.warn(
      { containerID: id, container: name, damage: damage.kind, detail: damage.detail },
      'a container is damaged',
    );
    emit({ kind: 'drift', drift: { kind: damage.kind, containerID: id, detail: damage.detail } });
  }

  async #lookAtLayers(): Promise<void> {
    const { entries, closing, log } = this.#deps;
    const running = [...entries.values()].filter((entry) => this.#runOf(entry) !== undefined);
    for (const imageID of new Set(running.map((entry) => entry.record.config.imageID))) {
      if (closing.aborted) return;
      try {
        await this.#deps.layersOf(imageID);
      } catch (error) {
        if (!isLost(error)) {
          log.warn({ err: error, imageID }, 'the layers of an image could not be looked at');
          continue;
        }
        const users = running.filter((entry) => entry.record.config.imageID === imageID);
        for (const entry of users) {
          if (this.#runOf(entry) !== undefined) this.#noteDamage(entry, { kind: 'image-layer', detail: imageID });
        }
      }
    }
  }
}

/** A layer that cannot be looked at for want of file descriptors is not lost. */
function isLost(error: unknown): boolean {
  if (!(error instanceof ImageNotPresentError)) return false;
  const { cause } = error;
  return !(cause instanceof Error && 'code' in cause) || cause.code === 'ENOENT' || cause.code === 'ENOTDIR';
}
