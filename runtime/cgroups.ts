/**
 * Control groups, in version 1 (one hierarchy for each controller) and version 2. Decisions are pure functions over
 * /proc/self/mountinfo and limits; the rest reads and writes the files. Source: Linux, Documentation/admin-guide.
 */
import { constants, type Dirent, existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Limits, RuntimeOperationError } from './interface.ts';
import { isMemoryLowered, limitWrites } from './limits.ts';

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

/**
 * Applies limits to a cgroup that exists. Throws RuntimeOperationError naming the file that refused; memory is never
 * lowered below what is in use, so nothing is killed by it.
 */
export async function applyLimits(layout: CgroupLayout, path: string, limits: Limits, before: Limits): Promise<void> {
  const needsRoom = layout.kind === 'v2' && limits.memoryBytes !== undefined && isMemoryLowered(limits, before);
  if (needsRoom) await makeRoom(join(layout.root, path), path, limits.memoryBytes);
  for (const write of limitWrites(layout.kind, limits, before)) {
    const dir = controllerDir(layout, write.controller, path);
    if (dir !== undefined) await writeControl(dir, path, write);
  }
  if (needsRoom) {
    await writeControl(join(layout.root, path), path, { file: 'memory.high', value: 'max', isOptional: true });
  }
}

/** `path`: the cgroup as messages call it. */
async function writeControl(
  dir: string,
  path: string,
  { file, value, isOptional }: { file: string; value: string; isOptional: boolean },
): Promise<void> {
  try {
    await writeFile(join(dir, file), value, { flag: constants.O_WRONLY | constants.O_TRUNC });
  } catch (error) {
    const code = errorCode(error);
    if (isOptional && (code === 'ENOENT' || code === 'EACCES')) return;
    const hint = code === 'EBUSY' ? '; it uses more than that now' : '';
    throw new RuntimeOperationError('cgroup', `cannot write ${value} to ${file} of ${path}: ${code}${hint}`, {
      cause: error,
    });
  }
}

/**
 * Version 2 kills what does not fit below a lowered memory.max, where version 1 refuses (EBUSY). memory.high first asks
 * the kernel to take back what it can; then we look.
 */
async function makeRoom(dir: string, path: string, limitBytes: number): Promise<void> {
  await writeControl(dir, path, { file: 'memory.high', value: String(limitBytes), isOptional: true });
  const text = await readFile(join(dir, 'memory.current'), 'latin1').catch(() => '0'); // no such controller: nothing to limit
  if (Number(text) <= limitBytes) return;
  await writeControl(dir, path, { file: 'memory.high', value: 'max', isOptional: true });
  throw new RuntimeOperationError(
    'update',
    `cannot lower memory.max of ${path} to ${limitBytes}: it uses ${text.trim()} bytes now; raise the limit or restart it`,
  );
}

/**
 * Version 2 gives a cgroup only the controllers that every one above it passes on: sees to it down to our parent of all
 * containers. systemd may take a controller away from the root that no unit of its own uses, but not while one below
 * passes it on, as our parent does then. Nothing to do on version 1. Throws RuntimeOperationError for what the kernel
 * does not have.
 */
export async function ensureControllers(layout: CgroupLayout, parent: string): Promise<void> {
  if (layout.kind === 'v1') return;
  const parts = parent.split('/').filter((part) => part !== '');
  await mkdir(join(layout.root, ...parts), { recursive: true });
  for (let depth = 0; depth <= parts.length; depth += 1) {
    const dir = join(layout.root, ...parts.slice(0, depth));
    const words = async (file: string): Promise<readonly string[]> =>
      (await readFile(join(dir, file), 'latin1')).split(/\s+/).filter((word) => word !== '');
    const offered = await words('cgroup.controllers');
    const missing = neededControllers.find((name) => !offered.includes(name));
    if (missing !== undefined) {
      throw new RuntimeOperationError(
        'cgroup',
        `the cgroup ${dir} has no controller "${missing}" (it has: ${offered.join(' ')}); boot without cgroup_disable=, or give it by Delegate=yes if Holdfast runs in a container`,
      );
    }
    const passedOn = await words('cgroup.subtree_control');
    const file = 'cgroup.subtree_control';
    const lacking = neededControllers.filter((name) => !passedOn.includes(name));
    if (lacking.length > 0) {
      await writeControl(dir, dir, { file, value: lacking.map((name) => `+${name}`).join(' '), isOptional: false });
    }
    for (const name of wantedControllers.filter((one) => offered.includes(one) && !passedOn.includes(one))) {
      // Figures only: a container runs as well without them.
      await writeFile(join(dir, file), `+${name}`, { flag: 'r+' }).catch(() => {});
    }
  }
}

const neededControllers = ['cpu', 'memory', 'pids'];
const wantedControllers = ['io', 'cpuset'];

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

/** Pids in a cgroup and below it, in every hierarchy. Synchronous: some 0.5 ms, a tenth of what it takes otherwise. */
export function observeCgroupPids(layout: CgroupLayout, path: string): ReadonlySet<number> {
  const pids = new Set<number>();
  for (const dir of cgroupDirs(layout, path)) {
    for (const folder of foldersDeepestFirst(dir)) {
      for (const line of readProcs(folder).split('\n')) if (line !== '') pids.add(Number(line));
    }
  }
  return pids;
}

function readProcs(folder: string): string {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'latin1');
  } catch {
    return ''; // gone meanwhile: empty
  }
}

/** Removes a cgroup and what is below it from every hierarchy; waits for dying processes. False if it stays busy. */
export async function removeCgroup(layout: CgroupLayout, path: string, deadlineMs: number): Promise<boolean> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const removed = await Promise.all(cgroupDirs(layout, path).map(removeTree));
    if (!removed.includes(false)) return true;
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
  for (const folder of foldersDeepestFirst(dir)) {
    try {
      await rmdir(folder);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') isRemoved = false;
    }
  }
  return isRemoved;
}

function foldersDeepestFirst(dir: string): string[] {
  const found: string[] = [];
  for (const entry of readFolder(dir))
    if (entry.isDirectory()) found.push(...foldersDeepestFirst(join(dir, entry.name)));
  return [...found, dir];
}

function readFolder(dir: string): readonly Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch {
    return []; // gone: nothing there
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
