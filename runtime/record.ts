/**
 * What is kept on disk about a container: what it should be (record.json), how its last run went (last-run.json, both
 * survive a reboot), and the processes of its present run (process.json, does not). Formats only; parsing is pure.
 */
import { type DriftKind, driftKinds } from './drift.ts';
import type { IdMap } from './id-map.ts';
import type { ContainerConfig, Exit, ImageConfig, PortMapping } from './interface.ts';
import { isObject, type Json } from './json.ts';
import type { ProcessIdentity } from './proc.ts';

export interface ContainerRecord {
  readonly version: 1;
  readonly config: ContainerConfig;
  readonly image: ImageConfig;
  /** config.ports with every 0 replaced. */
  readonly ports: readonly PortMapping[];
  readonly createdAtMs: number;
  /** Of a container that has a user namespace of its own. */
  readonly idMap?: IdMap | undefined;
  readonly stopSignal: number;
}

/** How often the kernel had killed for memory when we last looked at a running container, and when it grew to that. */
export interface KnownKills {
  readonly count: number;
  readonly atMs: number;
}

export interface LastRun {
  /** undefined when the process never came to run. */
  readonly startedAtMs?: number | undefined;
  /** Of the present or last run; undefined: none were seen. */
  readonly memoryKills?: KnownKills | undefined;
  /** undefined while it runs, or when it ended unseen. */
  readonly exit?: Exit | undefined;
}

export interface RunProcesses {
  readonly init: ProcessIdentity;
  /** conmon. */
  readonly monitor: ProcessIdentity;
  readonly startedAtMs: number;
}

/** undefined if it is no record of this version. */
export function parseRecord(json: Json | undefined): ContainerRecord | undefined {
  if (json?.version !== 1 || !isObject(json.config) || !isObject(json.image) || !Array.isArray(json.ports)) {
    return undefined;
  }
  if (typeof json.config.id !== 'string' || typeof json.config.imageID !== 'string') return undefined;
  if (typeof json.createdAtMs !== 'number' || typeof json.stopSignal !== 'number') return undefined;
  // The file is written by this module only, whole or not at all, and says that it is of this version.
  return json as unknown as ContainerRecord;
}

/** The text of record.json. Files of volumes may be secrets: they are kept in memory only. */
export function formatRecord(record: ContainerRecord): string {
  const { files: _files, ...config } = record.config;
  return JSON.stringify({ ...record, config });
}

function parseExit(value: unknown): Exit | undefined {
  if (!isObject(value) || typeof value.code !== 'number' || typeof value.finishedAtMs !== 'number') return undefined;
  return {
    code: value.code,
    oomKilled: value.oomKilled === true,
    finishedAtMs: value.finishedAtMs,
    ...(typeof value.signal === 'number' ? { signal: value.signal } : {}),
    ...(value.hostWentDown === true ? { hostWentDown: true } : {}),
    ...driftOf(value.drift),
  };
}

function driftOf(value: unknown): { readonly drift?: DriftKind } {
  const drift = driftKinds.find((kind) => kind === value);
  return drift === undefined ? {} : { drift };
}

export function parseLastRun(json: Json | undefined): LastRun | undefined {
  if (json === undefined) return undefined;
  const exit = parseExit(json.exit);
  const kills = json.memoryKills;
  const { count, atMs } = isObject(kills) ? kills : {};
  return {
    ...(typeof count === 'number' && typeof atMs === 'number' ? { memoryKills: { count, atMs } } : {}),
    ...(typeof json.startedAtMs === 'number' ? { startedAtMs: json.startedAtMs } : {}),
    ...(exit === undefined ? {} : { exit }),
  };
}

function parseIdentity(value: unknown): ProcessIdentity | undefined {
  if (!isObject(value) || typeof value.pid !== 'number' || typeof value.startTicks !== 'number') return undefined;
  return { pid: value.pid, startTicks: value.startTicks };
}

export function parseRunProcesses(json: Json | undefined): RunProcesses | undefined {
  const init = parseIdentity(json?.init);
  const monitor = parseIdentity(json?.monitor);
  if (init === undefined || monitor === undefined || typeof json?.startedAtMs !== 'number') return undefined;
  return { init, monitor, startedAtMs: json.startedAtMs };
}

/** A kill that was seen so long before the end is not why it ended. */
const killEchoMs = 10_000;

export interface ExitInput {
  readonly code: number;
  readonly finishedAtMs: number;
  /** How often the kernel killed for memory in this run. */
  readonly memoryKills: number;
  /** What of it was seen while it ran. */
  readonly known: KnownKills | undefined;
}

/**
 * A helper process that was killed for memory is why its container ends if that follows at once and is a failure; not
 * if the container ended well, or went on for a while.
 */
function isMemoryTheReason({ code, finishedAtMs, memoryKills, known }: ExitInput): boolean {
  if (code === 0 || memoryKills === 0) return false;
  return known === undefined || memoryKills > known.count || finishedAtMs - known.atMs < killEchoMs;
}

/** Pure: conmon writes 128 + n for a process that signal n ended, which a plain exit code cannot be told from. */
export function exitOf(input: ExitInput): Exit {
  const signal = input.code > 128 && input.code <= 192 ? input.code - 128 : undefined;
  return {
    code: input.code,
    oomKilled: isMemoryTheReason(input),
    finishedAtMs: input.finishedAtMs,
    ...(signal === undefined ? {} : { signal }),
  };
}
