/** How a fault is done, and how one sees that what it did is healed: what the rows of faults.ts have in common. Effects. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Instance, run } from '../instance.ts';
import { until } from '../until.ts';
import type { DaemonKeeper } from './daemon-keeper.ts';
import { observeMonitor, observeRunning, type Run, uptimeSeconds } from './host-view.ts';
import type { Member } from './roster.ts';
import { findFlaw } from './soundness.ts';
import type { Watcher } from './watcher.ts';

export interface FaultDeps {
  readonly instance: Instance;
  readonly daemon: DaemonKeeper;
  readonly watcher: Watcher;
  readonly residents: readonly Member[];
  /** Where the disk of the data dir is mounted. */
  readonly diskDir: string;
}

/** A fault that was done. */
export interface Injury {
  /** When healing could begin, by performance.now(). */
  readonly atMs: number;
  /** undefined: healed; else what is still wrong. */
  findFlaw(): Promise<string | undefined>;
}

const mostTries = 3;
const successorDeadlineMs = 20_000;

export type Harm = (run: Run, containerID: string) => Promise<void> | void;
/** What is wrong with a container that does its duty. */
export type FurtherLook = (
  run: Run,
  containerID: string,
  deps: FaultDeps,
) => Promise<string | undefined> | string | undefined;

/** Of a fault that the container's process may survive. */
export async function onHost(
  target: Member | undefined,
  deps: FaultDeps,
  harm: Harm,
  look: FurtherLook = () => undefined,
): Promise<Injury> {
  const { member, monitor } = await hit(target, deps, harm);
  const sinceSeconds = uptimeSeconds();
  const lookFurther = async (): Promise<string | undefined> => {
    const again = deps.watcher.runOf(member.name);
    return again === undefined ? 'it does not run' : await look(again, monitor.id, deps);
  };
  return {
    atMs: performance.now(),
    findFlaw: async () => (await findFlaw(member, deps, sinceSeconds)) ?? (await lookFurther()),
  };
}

/** Of a fault that ends the container's process: another one must have come in its place. */
export async function onProcess(
  target: Member | undefined,
  deps: FaultDeps,
  harm: Harm,
  look: FurtherLook = () => undefined,
): Promise<Injury> {
  let hitPid: number | undefined;
  const remember: Harm = async (run, id) => {
    await harm(run, id);
    hitPid = run.pid;
  };
  return onHost(target, deps, remember, (run, id) =>
    run.pid === hitPid ? 'it was not started again' : look(run, id, deps),
  );
}

interface Victim {
  readonly member: Member;
  readonly victim: Run;
  readonly monitor: { readonly pid: number; readonly id: string };
}

/** A write to its spec may be replacing it at this very moment: then its successor is hit. */
async function hit(target: Member | undefined, deps: FaultDeps, harm: Harm): Promise<Victim> {
  for (let tries = 1; ; tries += 1) {
    const chosen = victimOf(target, deps);
    try {
      await harm(chosen.victim, chosen.monitor.id);
      return chosen;
    } catch (error) {
      if (tries === mostTries) throw error;
      const { name } = chosen.member;
      const isAnother = (): boolean => ![undefined, chosen.victim.pid].includes(deps.watcher.runOf(name)?.pid);
      await until(isAnother, `${name} to be another after ${String(error)}`, successorDeadlineMs);
    }
  }
}

/** Looks whether crun says that it runs. */
export const isKnownToCrun: FurtherLook = async (_run, id, deps) =>
  (await observeRunning(ociRootOf(deps), [id])).has(id) ? undefined : 'crun does not know that it runs';

/** Looks whether a file is there again. */
export function hasFile(pathOf: (containerID: string) => string): FurtherLook {
  return (_run, id) => (existsSync(pathOf(id)) ? undefined : `${pathOf(id)} is not there`);
}

export function ociRootOf({ instance }: FaultDeps): string {
  return join(instance.runDir, 'oci');
}

function victimOf(target: Member | undefined, { watcher }: FaultDeps): Victim {
  const victim = target === undefined ? undefined : watcher.runOf(target.name);
  const monitor = victim === undefined ? undefined : observeMonitor(victim);
  if (target === undefined || victim === undefined || monitor === undefined)
    throw new Error(`${target?.name ?? 'nobody'} does not run, so the fault has no victim`);
  return { member: target, victim, monitor };
}

/**
 * Of a fault of network or daemon: each that it concerns must have been seen well after it. Not all at once: other faults
 * hit some of them meanwhile.
 */
export function onMany(
  isConcerned: (member: Member) => boolean,
  deps: FaultDeps,
  first: () => Promise<string | undefined> | string | undefined = () => undefined,
): Injury {
  const sinceSeconds = uptimeSeconds();
  const pending = new Set(deps.residents.filter(isConcerned));
  return {
    atMs: performance.now(),
    findFlaw: async () => {
      let flaw = await first();
      for (const member of pending) {
        const own = await findFlaw(member, deps, sinceSeconds);
        if (own === undefined) pending.delete(member);
        else flaw ??= `${member.name}: ${own}`;
      }
      return flaw;
    },
  };
}

/** The first flaw of any of these, with its name. */
export async function findFlawOfAny(
  members: readonly Member[],
  deps: Pick<FaultDeps, 'instance' | 'watcher'>,
  sinceSeconds = 0,
): Promise<string | undefined> {
  for (const member of members) {
    const flaw = await findFlaw(member, deps, sinceSeconds);
    if (flaw !== undefined) return `${member.name}: ${flaw}`;
  }
  return undefined;
}

/** Throws with what the program said if it fails. */
export async function command(program: string, ...args: readonly string[]): Promise<void> {
  const { code, stderr } = await run(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr}`);
}
