/** Memory and processor time of processes, and which are whose: read from /proc. Effects: reading only. */
import { readdir, readFile } from 'node:fs/promises';

/** USER_HZ of every Linux that Node runs on. Source: proc(5), sysconf(_SC_CLK_TCK). */
const ticksPerSecond = 100;

export interface ProcessEntry {
  readonly pid: number;
  readonly parentPid: number;
  readonly name: string;
  /** Own and of children that were waited for, so that short-lived helpers count. */
  readonly cpuSeconds: number;
}

export interface Memory {
  /** Resident set: counts what is shared with other processes in full. */
  readonly rssBytes: number;
  /** Proportional set: counts what is shared by its share. */
  readonly pssBytes: number;
}

/** All processes that there are. */
export async function observeProcesses(): Promise<readonly ProcessEntry[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const entries = await Promise.all(
    pids.map(async (pid) => parseStat(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''))),
  );
  return entries.filter((entry) => entry !== undefined);
}

/** A line of /proc/PID/stat; undefined if there is none. The name may hold spaces and brackets. */
export function parseStat(line: string): ProcessEntry | undefined {
  const match = /^(\d+) \((.*)\) \S (.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, pid, name = '', rest = ''] = match;
  const fields = rest.trim().split(' ').map(Number);
  // After the state: ppid is field 4 of proc(5), utime 14, stime 15, cutime 16, cstime 17.
  const cpuTicks = fields.slice(10, 14).reduce((sum, ticks) => sum + ticks, 0);
  return { pid: Number(pid), parentPid: fields[0] ?? 0, name, cpuSeconds: cpuTicks / ticksPerSecond };
}

/** The process and all below it, but for those that `isOther` and what is below those. Pure. */
export function descendants(
  all: readonly ProcessEntry[],
  rootPid: number,
  isOther: (entry: ProcessEntry) => boolean,
): readonly ProcessEntry[] {
  const below = (entry: ProcessEntry): readonly ProcessEntry[] =>
    isOther(entry) ? [] : [entry, ...all.filter(({ parentPid }) => parentPid === entry.pid).flatMap(below)];
  return all.filter(({ pid }) => pid === rootPid).flatMap(below);
}

/** The command line, its arguments split; empty when the process is gone. */
export async function observeCommandLine(pid: number): Promise<readonly string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').slice(0, -1);
}

/** Sum over the processes; one that has gone counts as nothing. */
export async function observeMemory(pids: readonly number[]): Promise<Memory> {
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
      const bytes = (key: string) => 1024 * Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
      return { rssBytes: bytes('Rss'), pssBytes: bytes('Pss') };
    }),
  );
  return {
    rssBytes: sizes.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    pssBytes: sizes.reduce((sum, { pssBytes }) => sum + pssBytes, 0),
  };
}
