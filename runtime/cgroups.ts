/**
 * Control groups, in version 1 (one hierarchy for each controller) and version 2. Decisions are pure functions over
 * /proc/self/mountinfo and limits; the rest reads and writes the files. Source: Linux, Documentation/admin-guide.
 */
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Limits, RuntimeOperationError } from './interface.ts';

export type CgroupLayout =
  | { readonly kind: 'v2'; readonly root: string }
  /** `mounts`: every hierarchy, the named and the unified one included; `controllers`: name → its mount point. */
  | { readonly kind: 'v1'; readonly mounts: readonly string[]; readonly controllers: ReadonlyMap<string, string> };

/** Pure: what /proc/self/mountinfo says. Throws TypeError when no cgroup file system is mounted. */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const mounts: string[] = [];
  const controllers = new Map<string, string>();
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4];
    const [type, , options = ''] = after.split(' ');
    if (mountPoint === undefined || !mountPoint.startsWith('/sys/fs/cgroup')) continue;
    if (type === 'cgroup2' && mountPoint === '/sys/fs/cgroup') return { kind: 'v2', root: mountPoint };
    if (type !== 'cgroup' && type !== 'cgroup2') continue;
    mounts.push(mountPoint);
    if (type === 'cgroup') for (const option of options.split(',')) controllers.set(option, mountPoint);
  }
  if (mounts.length === 0) {
    throw new TypeError('no cgroup file system is mounted below /sys/fs/cgroup; run "holdfast doctor"');
  }
  return { kind: 'v1', mounts, controllers };
}

/** One value to write to one control file. */
export interface CgroupWrite {
  readonly controller: 'memory' | 'cpu' | 'pids';
  readonly file: string;
  readonly value: string;
  /** The kernel may be built without it; then there is nothing to limit. */
  readonly isOptional: boolean;
}

export const cpuPeriodMicros = 100_000;

/** Quota for each period, at least the kernel's minimum of 1 ms; undefined: no limit. */
export function cpuQuotaMicros(limits: Limits): number | undefined {
  return limits.cpuMillis === undefined ? undefined : Math.max(1_000, Math.round(limits.cpuMillis * 100));
}

/** Pure: the writes that bring a cgroup to these limits, in an order that works upwards and downwards. */
export function limitWrites(kind: CgroupLayout['kind'], limits: Limits, before: Limits): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const quota = cpuQuotaMicros(limits);
  const isRaised = (limits.memoryBytes ?? Infinity) > (before.memoryBytes ?? Infinity);
  const write = (controller: CgroupWrite['controller'], file: string, value: string, isOptional = false): void => {
    writes.push({ controller, file, value, isOptional });
  };
  if (kind === 'v2') {
    write('memory', 'memory.swap.max', limits.memoryBytes === undefined ? 'max' : '0', true);
    write('memory', 'memory.max', limits.memoryBytes === undefined ? 'max' : String(limits.memoryBytes));
    write('cpu', 'cpu.max', `${quota ?? 'max'} ${cpuPeriodMicros}`);
  } else {
    // memory + swap may never be below memory, so raising starts with it and lowering ends with it.
    const memory = limits.memoryBytes === undefined ? '-1' : String(limits.memoryBytes);
    if (isRaised) write('memory', 'memory.memsw.limit_in_bytes', memory, true);
    write('memory', 'memory.limit_in_bytes', memory);
    if (!isRaised) write('memory', 'memory.memsw.limit_in_bytes', memory, true);
    write('cpu', 'cpu.cfs_period_us', String(cpuPeriodMicros));
    write('cpu', 'cpu.cfs_quota_us', String(quota ?? -1));
  }
  write('pids', 'pids.max', limits.pids === undefined ? 'max' : String(limits.pids));
  return writes;
}

/** Folders of a cgroup in every hierarchy. `path` as in linux.cgroupsPath. */
export function cgroupDirs(layout: CgroupLayout, path: string): readonly string[] {
  return layout.kind === 'v2' ? [join(layout.root, path)] : layout.mounts.map((mount) => join(mount, path));
}

/** Folder of a cgroup in the hierarchy of a controller; undefined if the kernel has no such controller mounted. */
export function controllerDir(layout: CgroupLayout, controller: string, path: string): string | undefined {
  if (layout.kind === 'v2') return join(layout.root, path);
  const mount = layout.controllers.get(controller);
  return mount === undefined ? undefined : join(mount, path);
}

/** Whether memory and swap can be limited together on this host. */
export function canLimitSwap(layout: CgroupLayout): boolean {
  // On v2 the file appears with the first child that has the memory controller; any kernel with swap has it.
  if (layout.kind === 'v2') return existsSync('/proc/swaps');
  const memory = layout.controllers.get('memory');
  return memory !== undefined && existsSync(join(memory, 'memory.memsw.limit_in_bytes'));
}

/** Applies limits to a cgroup that exists. Throws RuntimeOperationError naming the file that refused. */
export async function applyLimits(layout: CgroupLayout, path: string, limits: Limits, before: Limits): Promise<void> {
  for (const { controller, file, value, isOptional } of limitWrites(layout.kind, limits, before)) {
    const dir = controllerDir(layout, controller, path);
    if (dir === undefined) continue;
    try {
      await writeFile(join(dir, file), value, { flag: 'r+' });
    } catch (error) {
      const code = errorCode(error);
      if (isOptional && (code === 'ENOENT' || code === 'EACCES')) continue;
      const hint = code === 'EBUSY' ? '; it uses more than that now' : '';
      throw new RuntimeOperationError('update', `cannot write ${value} to ${file} of ${path}: ${code}${hint}`, {
        cause: error,
      });
    }
  }
}

/** How often the kernel killed for memory in this cgroup; 0 when that cannot be read. */
export function observeOomKills(layout: CgroupLayout, path: string): number {
  const dir = controllerDir(layout, 'memory', path);
  if (dir === undefined) return 0;
  try {
    const text = readFileSync(join(dir, layout.kind === 'v2' ? 'memory.events' : 'memory.oom_control'), 'latin1');
    return Number(/^oom_kill ([0-9]+)$/m.exec(text)?.[1] ?? 0);
  } catch {
    return 0; // a cgroup that is gone has nothing to tell
  }
}

/** Pids in a cgroup and below it, in every hierarchy. */
export async function observeCgroupPids(layout: CgroupLayout, path: string): Promise<ReadonlySet<number>> {
  const pids = new Set<number>();
  for (const dir of cgroupDirs(layout, path)) {
    for (const folder of await foldersDeepestFirst(dir)) {
      const text = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => ''); // gone meanwhile: empty
      for (const line of text.split('\n')) if (line !== '') pids.add(Number(line));
    }
  }
  return pids;
}

/** Removes a cgroup and what is below it from every hierarchy; waits for dying processes. False if it stays busy. */
export async function removeCgroup(layout: CgroupLayout, path: string, deadlineMs: number): Promise<boolean> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    let isBusy = false;
    for (const dir of cgroupDirs(layout, path)) {
      if (!(await removeTree(dir))) isBusy = true;
    }
    if (!isBusy) return true;
    if (performance.now() > endMs) return false;
    await wait(2);
  }
}

async function removeTree(dir: string): Promise<boolean> {
  try {
    await rmdir(dir);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return true;
  }
  let isRemoved = true;
  for (const folder of await foldersDeepestFirst(dir)) {
    try {
      await rmdir(folder);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') isRemoved = false;
    }
  }
  return isRemoved;
}

async function foldersDeepestFirst(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => undefined); // gone: nothing there
  if (entries === undefined) return [];
  const found: string[] = [];
  for (const entry of entries)
    if (entry.isDirectory()) found.push(...(await foldersDeepestFirst(join(dir, entry.name))));
  return [...found, dir];
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
