/**
 * What the runtime remembers of one container. It is a copy of the files beside it and can be read back from them; the
 * truth about processes is /proc. `observeState` and `settleExit` read files synchronously (some 100 µs), so that
 * nothing else happens between looking and concluding.
 */
import { closeSync, constants, existsSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Addresses } from './addresses.ts';
import { syncFile } from './atomic-file.ts';
import type { Damage } from './drift.ts';
import { type ContainerInfo, ContainerNotRunningError, type ContainerState, type Exit } from './interface.ts';
import { hasNoWayOut } from './isolation-rules.ts';
import type { ContainerPaths } from './layout.ts';
import type { ContainerLog } from './log-rotator.ts';
import type { Monitor } from './monitor.ts';
import type { Network } from './netns-pool.ts';
import { isAlive, type ProcessIdentity } from './proc.ts';
import { type ContainerRecord, exitOf, type LastRun, type RunProcesses } from './record.ts';
import type { NameRecord } from './resolver-files.ts';
import { isDiskFull, isShortage } from './shortage.ts';

export interface ContainerEntry {
  readonly paths: ContainerPaths;
  record: ContainerRecord;
  lastRun: LastRun | undefined;
  /** Of the run that goes on, or that ended and is not cleaned up. */
  processes: RunProcesses | undefined;
  network: Network | undefined;
  /** What /etc/resolv.conf was changed to in this run; undefined: as it was when the run began. */
  resolvConf?: string | undefined;
  /** Of the host, for containers that have its network. */
  readonly hostAddresses: Addresses;
  /** Only for a monitor that we started ourselves. */
  monitor: Monitor | undefined;
  /** A start is under way: its ports count as used. */
  isStarting: boolean;
  /** Its end is no news. */
  isRemoving: boolean;
  /** The run that we have sent SIGKILL: its end is no news either. */
  killed?: RunProcesses | undefined;
  /** Of the present run: what only a restart can give back. */
  damage?: Damage | undefined;
  /** Until last-run.json is brought to the disk. */
  syncing?: NodeJS.Timeout | undefined;
}

/** Whether its first process runs, or has ended so recently that its monitor is about to say how. */
export function isRunning(entry: ContainerEntry): boolean {
  return entry.processes !== undefined && entry.lastRun?.exit === undefined;
}

/** Its first process, after a `look` whether it has ended meanwhile. Throws ContainerNotRunningError. */
export function initOf(entry: ContainerEntry, look: (entry: ContainerEntry) => void): ProcessIdentity {
  look(entry);
  const init = entry.processes?.init;
  if (init === undefined || !isRunning(entry) || !isAlive(init)) {
    throw new ContainerNotRunningError(entry.record.config.id);
  }
  return init;
}

/** Its log, for who keeps it within its limits: asked anew each time, since limits and state change. */
export function logOf(entry: ContainerEntry): ContainerLog {
  const { logDir: dir, log: path, ctl } = entry.paths;
  return {
    ...{ id: entry.record.config.id, dir, path, ctl },
    limits: () => entry.record.config.log,
    isGrowing: () => isRunning(entry) || entry.isStarting,
    isRunning: () => isRunning(entry),
  };
}

/** Its names for the resolver, which answers to those of a stopped container that there is no address. */
export function nameRecordOf(entry: ContainerEntry): NameRecord {
  const isThere = isRunning(entry) || entry.isStarting;
  return { names: entry.record.config.dnsNames ?? [], addresses: isThere ? namedAddresses(entry) : [] };
}

/** The addresses that its names stand for. */
export function namedAddresses(entry: Parameters<typeof addressesOf>[0]): readonly string[] {
  const { ip, ip6 } = addressesOf(entry) ?? {};
  return [ip, entry.record.config.isDualStack === true ? ip6 : undefined].filter((one) => one !== undefined);
}

/** Where others reach it, once it has a network. */
export function addressesOf({
  record,
  network,
  hostAddresses,
}: Pick<ContainerEntry, 'record' | 'network' | 'hostAddresses'>): Addresses | undefined {
  return record.config.namespaces?.network === 'host' ? hostAddresses : network;
}

/** `isPaused`: what its cgroup says. */
export function stateOf(entry: ContainerEntry, isPaused = false): ContainerState {
  const { processes, lastRun } = entry;
  if (lastRun?.exit !== undefined) {
    const { startedAtMs, exit } = lastRun;
    return { kind: 'exited', exit, ...(startedAtMs === undefined ? {} : { startedAtMs }) };
  }
  if (processes === undefined) return { kind: 'created' };
  const { startedAtMs, init } = processes;
  const { damage } = entry;
  return {
    kind: 'running',
    pid: init.pid,
    startedAtMs,
    ...(isPaused ? { isPaused } : {}),
    ...(damage === undefined ? {} : { damage }),
  };
}

export function infoOf(entry: ContainerEntry, isPaused: boolean): Omit<ContainerInfo, 'debugSessions'> {
  const { config, ports, createdAtMs, stopSignal } = entry.record;
  const addresses = addressesOf(entry);
  return {
    id: config.id,
    name: config.name,
    imageID: config.imageID,
    labels: config.labels,
    createdAtMs,
    state: stateOf(entry, isPaused),
    ...(addresses === undefined ? {} : { ip: addresses.ip }),
    ...(addresses?.ip6 === undefined ? {} : { ip6: addresses.ip6 }),
    ...(entry.network?.mac === undefined ? {} : { mac: entry.network.mac }),
    ports: hasNoWayOut(config.networks) ? [] : ports,
    stopSignal,
    ...(hasLostFiles(entry) ? { lacksFiles: true } : {}),
  };
}

/** Whether contents of volumes of files are neither in memory of ours nor in that of the host. */
function hasLostFiles({ paths, record: { config } }: ContainerEntry): boolean {
  return (config.volumes ?? []).some(
    ({ name, source }) =>
      source.kind === 'files' &&
      config.files?.[name] === undefined &&
      !existsSync(join(paths.volumesMemory, name, '..data')),
  );
}

/** How the present run stands. */
export type RunFate =
  | { readonly kind: 'none' }
  | { readonly kind: 'running' }
  /** Its process has ended and the monitor is about to write how. */
  | { readonly kind: 'ending' }
  | { readonly kind: 'ended'; readonly exit: Exit }
  /** The monitor was killed: the process may run, but nobody would see its end. */
  | { readonly kind: 'unmonitored' };

/** Looks at the run's processes and files. `oomKills`: what the cgroup counts, asked only when the run has ended. */
export function observeRun(entry: ContainerEntry, oomKills: () => number): RunFate {
  const { processes } = entry;
  if (processes === undefined || entry.lastRun?.exit !== undefined) return { kind: 'none' };
  const isInitAlive = isAlive(processes.init);
  const isMonitorAlive = isAlive(processes.monitor);
  if (isInitAlive && isMonitorAlive) return { kind: 'running' };
  // Last, so that a monitor that ended after its process has surely written it.
  const exit = readExit(entry, oomKills);
  if (exit !== undefined) return { kind: 'ended', exit };
  return isMonitorAlive ? { kind: 'ending' } : { kind: 'unmonitored' };
}

function readExit({ paths, lastRun }: ContainerEntry, oomKills: () => number): Exit | undefined {
  let text: string;
  let finishedAtMs: number;
  try {
    text = readFileSync(paths.exit, 'latin1');
    finishedAtMs = statSync(paths.exit).mtimeMs;
  } catch (error) {
    if (isShortage(error)) throw error;
    return undefined; // not written (yet)
  }
  const code = Number.parseInt(text, 10);
  if (Number.isNaN(code)) return undefined;
  const memoryKills = Math.max(oomKills(), existsSync(paths.oom) ? 1 : 0);
  return exitOf({ code, memoryKills, known: lastRun?.memoryKills, finishedAtMs: Math.round(finishedAtMs) });
}

/**
 * Notes how often the kernel has killed for memory in a run that goes on; true if that is more than was known. Kept
 * with the run, so that a later daemon does not tell of it again.
 */
export function noteMemoryKills(entry: ContainerEntry, oomKills: () => number, nowMs: number): boolean {
  // The monitor makes this file at the first kill; a container without one costs no more than the look for it.
  if (!isRunning(entry) || !existsSync(entry.paths.oom)) return false;
  const count = Math.max(oomKills(), 1);
  if (count <= (entry.lastRun?.memoryKills?.count ?? 0)) return false;
  writeLastRun(entry, { ...entry.lastRun, memoryKills: { count, atMs: nowMs } });
  return true;
}

/** Records how the run ended, in memory and for a later daemon. */
export function settleExit(entry: ContainerEntry, exit: Exit): void {
  const startedAtMs = entry.processes?.startedAtMs ?? entry.lastRun?.startedAtMs;
  writeLastRun(entry, { exit, ...(startedAtMs === undefined ? {} : { startedAtMs }) });
}

/** A sector of a disk, which it writes whole. No record is longer: it has eight members, of numbers and words. */
const lastRunBytes = 512;

/** What is overwritten in place is else brought to the disk half a minute later. */
const syncDelayMs = 500;

/**
 * Durable a moment later: after a power failure before that, it is as if the latest had not happened. A full disk is no
 * failure: what is in memory counts, and of a run that nothing is written of a later daemon asks the processes.
 */
export function writeLastRun(entry: ContainerEntry, lastRun: LastRun): void {
  entry.lastRun = lastRun;
  clearTimeout(entry.syncing);
  // A disk that cannot do it says so to whoever writes next.
  entry.syncing = setTimeout(() => void syncFile(entry.paths.lastRun).catch(() => {}), syncDelayMs).unref();
  const path = entry.paths.lastRun;
  try {
    overwriteLastRun(path, lastRun);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    // The old one would say of this run that it has ended. Its place may be enough for the new one.
    rmSync(path, { force: true });
    try {
      overwriteLastRun(path, lastRun);
    } catch (again) {
      if (!isDiskFull(again)) throw again;
    }
  }
}

/**
 * In place, by one write, which no signal can cut in two: 20 us, where a new file and its renaming take 1.2 ms on ext4,
 * twice for each restart (measured 2026-11).
 */
function overwriteLastRun(path: string, lastRun: LastRun): void {
  const text = JSON.stringify(lastRun).padEnd(lastRunBytes);
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    writeSync(fd, text, 0);
  } finally {
    closeSync(fd);
  }
}
