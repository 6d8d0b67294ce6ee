/**
 * What a running container uses: read from its cgroup (version 1 or 2) and its network's counters. The parsing is pure.
 * Source: Linux, Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; proc(5) for net/dev.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CgroupLayout, controllerDir } from './cgroups.ts';
import type { Stats } from './interface.ts';
import { detailFiles, parseStatsDetails } from './stats-details.ts';

/** Text of the files that are looked at, by name; '' if one is not there. */
export type CgroupTexts = (file: string) => string;

const files = {
  v1: {
    cpuacct: ['cpuacct.usage'],
    cpu: ['cpu.stat'],
    memory: ['memory.usage_in_bytes', 'memory.stat', 'memory.limit_in_bytes'],
    pids: ['pids.current', 'pids.max'],
    blkio: ['blkio.throttle.io_service_bytes'],
  },
  v2: {
    cpu: ['cpu.stat'],
    memory: ['memory.current', 'memory.stat', 'memory.max'],
    pids: ['pids.current', 'pids.max'],
    io: ['io.stat'],
  },
} as const;

/** A limit of this size or more is none: version 1 has no word for it. */
const noLimitBytes = 2 ** 62;

function numberIn(text: string): number {
  const number = Number(text.trim());
  return text.trim() === '' || Number.isNaN(number) ? 0 : number;
}

/** undefined: no limit. */
function limitIn(text: string): number | undefined {
  const limit = text.trim() === 'max' ? 0 : numberIn(text);
  return limit === 0 || limit >= noLimitBytes ? undefined : limit;
}

/** The number after a word at the beginning of a line; 0 if there is none. */
function field(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return numberIn(line?.slice(name.length + 1) ?? '');
}

function sum(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].reduce((total, [, number]) => total + numberIn(number ?? ''), 0);
}

/** Pure. */
export function parseCgroupStats(
  kind: CgroupLayout['kind'],
  textOf: CgroupTexts,
): Omit<Stats, 'networkReceivedBytes' | 'networkSentBytes' | 'details'> {
  const isV2 = kind === 'v2';
  const cpu = textOf('cpu.stat');
  const memoryStat = textOf('memory.stat');
  const usedBytes = numberIn(textOf(isV2 ? 'memory.current' : 'memory.usage_in_bytes'));
  const droppableBytes = field(memoryStat, isV2 ? 'inactive_file' : 'total_inactive_file');
  const memoryLimitBytes = limitIn(textOf(isV2 ? 'memory.max' : 'memory.limit_in_bytes'));
  const processLimit = limitIn(textOf('pids.max'));
  const disk = textOf(isV2 ? 'io.stat' : 'blkio.throttle.io_service_bytes');
  return {
    cpuNanoseconds: isV2 ? field(cpu, 'usage_usec') * 1_000 : numberIn(textOf('cpuacct.usage')),
    throttledNanoseconds: isV2 ? field(cpu, 'throttled_usec') * 1_000 : field(cpu, 'throttled_time'),
    memoryBytes: Math.max(0, usedBytes - droppableBytes),
    ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
    processes: numberIn(textOf('pids.current')),
    ...(processLimit === undefined ? {} : { processLimit }),
    diskReadBytes: sum(disk, isV2 ? /\brbytes=([0-9]+)/g : /^[0-9]+:[0-9]+ Read ([0-9]+)$/gm),
    diskWrittenBytes: sum(disk, isV2 ? /\bwbytes=([0-9]+)/g : /^[0-9]+:[0-9]+ Write ([0-9]+)$/gm),
  };
}

/** Pure: sums up the text of /proc/PID/net/dev, loopback apart. */
export function parseNetworkStats(text: string): Pick<Stats, 'networkReceivedBytes' | 'networkSentBytes'> {
  let networkReceivedBytes = 0;
  let networkSentBytes = 0;
  for (const line of text.split('\n')) {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line);
    if (match === null || match[1] === 'lo') continue;
    const figures = (match[2] ?? '').split(/\s+/);
    networkReceivedBytes += numberIn(figures[0] ?? '');
    networkSentBytes += numberIn(figures[8] ?? '');
  }
  return { networkReceivedBytes, networkSentBytes };
}

export interface StatsInput {
  readonly cgroups: CgroupLayout;
  /** As in linux.cgroupsPath. */
  readonly path: string;
  /** Of the container's first process. */
  readonly pid: number;
  /** Else its network's figures are the host's, and are left out. */
  readonly hasOwnNetwork: boolean;
  readonly isDetailed?: boolean | undefined;
}

/** A file that is missing (a controller that this host lacks, a container that ends) counts as 0. */
export async function observeStats(input: StatsInput): Promise<Stats> {
  const { cgroups, path, pid, hasOwnNetwork, isDetailed = false } = input;
  const { kind } = cgroups;
  const texts = new Map<string, string>();
  const read = async (file: string): Promise<string> => readFile(file, 'utf8').catch(() => ''); // missing: as said above
  const wanted: readonly (readonly [string, readonly string[]])[] = [
    ...Object.entries(files[kind]),
    ...(isDetailed ? Object.entries(detailFiles[kind]) : []),
  ];
  const reading = wanted.flatMap(([controller, names]) => {
    const dir = controllerDir(cgroups, controller, path);
    return dir === undefined ? [] : names.map(async (name) => texts.set(name, await read(join(dir, name))));
  });
  const [netDev, hostStat] = await Promise.all([
    hasOwnNetwork ? read(`/proc/${pid}/net/dev`) : '',
    isDetailed ? read('/proc/stat') : '',
    ...reading,
  ]);
  const textOf = (file: string): string => texts.get(file) ?? '';
  return {
    ...parseCgroupStats(kind, textOf),
    ...parseNetworkStats(netDev),
    ...(isDetailed ? { details: parseStatsDetails({ kind, textOf, hostStat, netDev }) } : {}),
  };
}
