/**
 * One run of a container: beginning it, and putting away what an ended, killed or half-begun run left behind.
 * Effects only; called with the container's lock held.
 */
import { existsSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { replaceFile } from './atomic-file.ts';
import { type CgroupLayout, observeCgroupPids, removeCgroup } from './cgroups.ts';
import { thaw } from './freezer.ts';
import { type ContainerID, RuntimeOperationError } from './interface.ts';
import type { ContainerPaths, Layout } from './layout.ts';
import { type Monitor, openMonitor, type Stdio } from './monitor.ts';
import { forceDelete, type OciRuntime } from './oci-runtime.ts';
import { findProcessesByCommandLine, isAlive, observeProcess, type ProcessIdentity } from './proc.ts';
import type { RunProcesses } from './record.ts';
import type { RelayHost } from './relay-host.ts';
import type { Syscalls } from './syscalls.ts';

export interface RunDeps {
  readonly layout: Layout;
  readonly cgroups: CgroupLayout;
  readonly runtime: OciRuntime;
  readonly conmon: string;
  readonly syscalls: Syscalls;
  readonly nowMs: () => number;
  readonly log: Logger;
}

const createDeadlineMs = 30_000;
const endDeadlineMs = 10_000;
const SIGKILL = 9;

export interface PreparedRun {
  readonly processes: RunProcesses;
  readonly monitor: Monitor;
}

export function cgroupPathOf(layout: Layout, id: ContainerID): string {
  return `${layout.cgroupParent}/${id}`;
}

/** A run that is prepared while its bundle is being made. */
export interface OpenedRun {
  /**
   * Creates the container of the bundle; its process waits to be let go. Between the marker file and process.json a later
   * daemon knows that something may be half made, and until the marker is taken away, that it may not have been let go.
   * Throws StartError, RuntimeOperationError, the signal's reason; then nothing is left of it.
   */
  create(input: { readonly args: readonly string[]; readonly signal: AbortSignal }): Promise<PreparedRun>;
  /** Leaves nothing of it, instead. Throws RuntimeOperationError. */
  dismiss(): Promise<void>;
}

/** The folders of the bundle and of the log must be there. Throws RuntimeOperationError; then nothing is left of it. */
export async function openRun(
  deps: RunDeps & { readonly relays: RelayHost },
  { id, stdio }: { readonly id: ContainerID; readonly stdio: Stdio },
): Promise<OpenedRun> {
  const { layout, runtime, conmon, relays, nowMs } = deps;
  const paths = layout.container(id);
  writeFileSync(paths.starting, '');
  const end = (): Promise<void> => endRun(deps, id, undefined);
  const waiting = await openMonitor({
    ...{ id, conmon, relays, runtime, paths, stdio },
    ociRoot: layout.ociRoot,
    exitsDir: layout.exits,
  }).catch(async (error: unknown) => {
    await end();
    throw error;
  });
  const dismiss = async (): Promise<void> => {
    if (waiting.process !== undefined) await killAndWait(deps, waiting.process);
    waiting.close();
    removeRunFiles(layout, paths, id);
  };
  return {
    dismiss,
    async create(input) {
      if (input.signal.aborted) {
        await dismiss();
        throw input.signal.reason;
      }
      let monitor: Monitor | undefined;
      try {
        monitor = await waiting.create({ ...input, deadlineMs: createDeadlineMs });
        const init = observeProcess(monitor.initPid);
        const monitorStat = observeProcess(monitor.monitorPid);
        if (init === undefined || monitorStat === undefined) {
          throw new RuntimeOperationError(
            'start',
            'the container or its monitor ended before it was let go; try again',
          );
        }
        const processes: RunProcesses = {
          init: identity(init),
          monitor: identity(monitorStat),
          startedAtMs: nowMs(),
        };
        await replaceFile(paths.process, JSON.stringify(processes), 'volatile');
        return { processes, monitor };
      } catch (error) {
        monitor?.close();
        await end();
        throw error;
      }
    },
  };
}

function identity({ pid, startTicks }: ProcessIdentity): ProcessIdentity {
  return { pid, startTicks };
}

/**
 * Puts away a run: kills what lives of it, and removes its cgroup, the OCI runtime's state and the monitor's files.
 * Without `processes` it looks for them. No error if there is nothing. Throws RuntimeOperationError.
 */
export async function endRun(deps: RunDeps, id: ContainerID, processes: RunProcesses | undefined): Promise<void> {
  const { layout, runtime } = deps;
  const paths = layout.container(id);
  if (processes === undefined) {
    if (existsSync(paths.starting) || existsSync(paths.monitorPidFile)) await killByCommandLine(deps, id);
  } else if (isAlive(processes.init)) {
    await deps.syscalls.kill(processes.init, SIGKILL);
    // On cgroup v1 a process that is frozen does not even die.
    await thaw(deps.cgroups, cgroupPathOf(layout, id));
    await waitUntilGone([processes.init], `process ${processes.init.pid}`);
  }
  const cgroup = cgroupPathOf(layout, id);
  // Mostly nobody is left, and then nobody has to be looked for (1 ms).
  const isOver = processes !== undefined && !isAlive(processes.monitor);
  let isRemoved = isOver && (await removeCgroup(deps.cgroups, cgroup, 0));
  if (!isRemoved) {
    await killCgroup(deps, id);
    if (processes !== undefined) await waitForMonitor(deps, processes.monitor);
    // What crun delete does, without its 7 ms: nothing of the container lives now.
    isRemoved = await removeCgroup(deps.cgroups, cgroup, 200);
  }
  if (isRemoved) rmSync(paths.ociState, { recursive: true, force: true });
  else if (existsSync(paths.ociState)) await forceDelete(runtime, layout.ociRoot, id);
  if (!isRemoved && !(await removeCgroup(deps.cgroups, cgroup, endDeadlineMs))) {
    throw new RuntimeOperationError('remove', `the cgroup ${cgroup} stays busy; trying again may help`);
  }
  removeRunFiles(layout, paths, id);
}

/**
 * The marker and process.json go last: while they are there a later daemon knows that it has to clean. Synchronous, since all
 * of it is in memory (tmpfs): 0.3 ms, and else 4 of a restart.
 */
function removeRunFiles(layout: Layout, paths: ContainerPaths, id: ContainerID): void {
  const monitorFiles = ['ctl', 'winsz', 'attach'].map((name) => join(paths.bundle, name));
  for (const file of [join(layout.exits, id), paths.exit, paths.oom, paths.pidFile, ...monitorFiles]) {
    dropFile(file);
  }
  rmSync(paths.ociStateCopy, { recursive: true, force: true });
  for (const file of [paths.monitorPidFile, paths.process, paths.starting]) dropFile(file);
}

/** As rmSync with force, which asks twice what it is before it takes it away. */
function dropFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // fs throws nothing else
  }
}

async function killAndWait(deps: RunDeps, process: ProcessIdentity): Promise<void> {
  if (!isAlive(process)) return;
  await deps.syscalls.kill(process, SIGKILL);
  await waitUntilGone([process], `process ${process.pid}`);
}

/** The monitor ends by itself within a millisecond of its container; one that does not is killed. */
async function waitForMonitor(deps: RunDeps, monitor: ProcessIdentity): Promise<void> {
  const endMs = performance.now() + 2_000;
  while (isAlive(monitor) && performance.now() < endMs) await wait(1);
  await killAndWait(deps, monitor);
}

/** Everything that carries the id among its arguments: conmon, the OCI runtime it started, a container not yet let go. */
async function killByCommandLine(deps: RunDeps, id: ContainerID): Promise<void> {
  const endMs = performance.now() + endDeadlineMs;
  for (let empty = 0; empty < 2; ) {
    const found = findProcessesByCommandLine(id).filter(isAlive);
    // One that forks and ends while we look may not be seen, nor its child.
    empty = found.length === 0 ? empty + 1 : 0;
    if (performance.now() > endMs) {
      throw new RuntimeOperationError('remove', `processes ${found.map((one) => one.pid).join(', ')} cannot be killed`);
    }
    for (const process of found) await deps.syscalls.kill(process, SIGKILL);
    await wait(2);
  }
}

async function killCgroup(deps: RunDeps, id: ContainerID): Promise<void> {
  const endMs = performance.now() + endDeadlineMs;
  for (;;) {
    const pids = observeCgroupPids(deps.cgroups, cgroupPathOf(deps.layout, id));
    const alive = [...pids].flatMap((pid) => observeProcess(pid) ?? []).filter(isAlive);
    if (alive.length === 0) return;
    if (performance.now() > endMs) {
      throw new RuntimeOperationError('remove', `processes ${alive.map((one) => one.pid).join(', ')} cannot be killed`);
    }
    for (const process of alive) await deps.syscalls.kill(process, SIGKILL);
    await thaw(deps.cgroups, cgroupPathOf(deps.layout, id));
    await wait(2);
  }
}

async function waitUntilGone(processes: readonly ProcessIdentity[], what: string): Promise<void> {
  const endMs = performance.now() + endDeadlineMs;
  while (processes.some(isAlive)) {
    if (performance.now() > endMs) throw new RuntimeOperationError('remove', `${what} does not end after SIGKILL`);
    await wait(1);
  }
}
