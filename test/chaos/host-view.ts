/**
 * What the kernel says of the containers, asked without any code or file of ours: /proc, the kernel's mount table,
 * cgroups, crun's own list. Effects: reads only.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../instance.ts';

/** The first process of a container that runs, found by its marker. */
export interface Run {
  readonly pid: number;
  readonly startTicks: number;
  /** The process that holds the container. */
  readonly parentPid: number;
  readonly name: string;
  /** Of the write that the container is of. */
  readonly value: string;
}

/** Seconds since boot, which containers see as well. */
export function uptimeSeconds(): number {
  return Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
}

/** All first processes whose marker begins with the prefix. A zombie has no arguments and is none. */
export function observeRuns(prefix: string): readonly Run[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^[0-9]+$/.test(pid)) return [];
    const marker = argumentsOf(pid).find((argument) => argument.startsWith(`${prefix}/`));
    if (marker === undefined) return [];
    const process = observeProcess(Number(pid));
    // Its children have the same arguments until they run a program of their own.
    if (process === undefined || !isFirst(pid)) return [];
    const [, name = '', value = ''] = marker.split('/');
    return [{ ...process, name, value }];
  });
}

export function argumentsOf(pid: number | string): readonly string[] {
  return read(join('/proc', String(pid), 'cmdline'))
    .split('\0')
    .slice(0, -1);
}

export interface ProcessView {
  readonly pid: number;
  readonly startTicks: number;
  readonly parentPid: number;
  readonly command: string;
}

/** undefined: there is none, or only its zombie. */
export function observeProcess(pid: number): ProcessView | undefined {
  const match = /^\d+ \((.*)\) (\S) (.*)$/s.exec(read(`/proc/${pid}/stat`));
  if (match === null || match[2] === 'Z' || match[2] === 'X') return undefined;
  // After the state: ppid is field 4 of proc(5), starttime field 22.
  const fields = (match[3] ?? '').split(' ').map(Number);
  return { pid, startTicks: fields[18] ?? 0, parentPid: fields[0] ?? 0, command: match[1] ?? '' };
}

export function observeProcesses(): readonly ProcessView[] {
  return readdirSync('/proc').flatMap((pid) => (/^[0-9]+$/.test(pid) ? (observeProcess(Number(pid)) ?? []) : []));
}

export function isSameAlive({ pid, startTicks }: Pick<Run, 'pid' | 'startTicks'>): boolean {
  return observeProcess(pid)?.startTicks === startTicks;
}

/** Whether the process is the first one of a process namespace other than ours. */
function isFirst(pid: string): boolean {
  const numbers = /^NSpid:\s+(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1]?.split('\t') ?? [];
  return numbers.length > 1 && numbers.at(-1) === '1';
}

/** The id of a run's container and the pid of its monitor; undefined while it has none that lives. */
export function observeMonitor({ parentPid }: Run): { readonly pid: number; readonly id: string } | undefined {
  if (observeProcess(parentPid)?.command !== 'conmon') return undefined;
  const words = argumentsOf(parentPid);
  const id = words[words.indexOf('-c') + 1];
  return id === undefined ? undefined : { pid: parentPid, id };
}

/** Places in our own mount namespace at which something is mounted, with this text in their path. */
export function observeMounts(text: string): readonly string[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .filter((path) => path.includes(text));
}

/** The folders of a process in the control groups, by controller; '' is the one of cgroup v2. */
export function observeCgroups(pid: number): ReadonlyMap<string, string> {
  const folders = new Map<string, string>();
  for (const line of read(`/proc/${pid}/cgroup`).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (controllers === '') folders.set('', join('/sys/fs/cgroup', path));
    for (const one of controllers.split(',').filter((word) => word !== ''))
      folders.set(one, join('/sys/fs/cgroup', controllers, path));
  }
  return folders;
}

/**
 * Which of these (all that there are, unless told) crun says are running. Each is asked for by itself: `crun list` fails
 * as a whole while any container is just being made and has no status yet.
 */
export async function observeRunning(ociRoot: string, ids?: readonly string[]): Promise<ReadonlySet<string>> {
  const running = new Set<string>();
  for (const id of ids ?? readdirSync(ociRoot)) {
    const { code, stdout } = await run('crun', ['--root', ociRoot, 'state', id]);
    if (code === 0 && (JSON.parse(stdout) as { status: string }).status === 'running') running.add(id);
  }
  return running;
}

/** The host's end of a container's cable. */
export async function observeCable(pid: number): Promise<string | undefined> {
  const inside = await run('nsenter', ['-t', String(pid), '-n', 'ip', '-j', 'link', 'show', 'eth0']);
  if (inside.code !== 0) return undefined;
  const [{ link_index: index } = {}] = JSON.parse(inside.stdout) as { link_index?: number }[];
  const names = readdirSync('/sys/class/net');
  return names.find((name) => read(join('/sys/class/net', name, 'ifindex')).trim() === String(index));
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // it went while we looked
  }
}
