/**
 * Freezes and thaws the processes of a cgroup. Writing the control file takes 0.2 ms, asking the OCI runtime to do so 6.
 * Source: Linux, Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst (cgroup.freeze).
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type CgroupLayout, controllerDir } from './cgroups.ts';
import { RuntimeOperationError } from './interface.ts';

const deadlineMs = 2_000;
/** On v1 a process that was being born can keep a cgroup FREEZING until it is told once more. */
const repeatMs = 10;

const words = {
  v1: { write: 'freezer.state', read: 'freezer.state', frozen: 'FROZEN', thawed: 'THAWED' },
  v2: { write: 'cgroup.freeze', read: 'cgroup.events', frozen: '1', thawed: '0' },
} as const;

/** Pure: whether all processes stand still, by freezer.state (v1) or cgroup.events (v2). */
export function parseFrozen(kind: CgroupLayout['kind'], text: string): boolean {
  return kind === 'v1' ? text.trim() === words.v1.frozen : /^frozen 1$/m.test(text);
}

/** Whether the cgroup is frozen; false if there is none, or the kernel cannot freeze. Synchronous: some 20 µs. */
export function observeFrozen(layout: CgroupLayout, path: string): boolean {
  const dir = controllerDir(layout, 'freezer', path);
  if (dir === undefined) return false;
  try {
    return parseFrozen(layout.kind, readFileSync(join(dir, words[layout.kind].read), 'latin1'));
  } catch {
    return false; // a cgroup that is gone holds nobody
  }
}

/** Resolves when all processes of the cgroup stand still. On failure they go on. Throws RuntimeOperationError. */
export async function freeze(layout: CgroupLayout, path: string): Promise<void> {
  const dir = controllerDir(layout, 'freezer', path);
  if (dir === undefined) {
    throw new RuntimeOperationError('pause', 'this kernel has no freezer cgroup mounted; run "holdfast doctor"');
  }
  const { write, frozen } = words[layout.kind];
  const endMs = performance.now() + deadlineMs;
  let toldMs = Number.NEGATIVE_INFINITY;
  try {
    for (;;) {
      if (performance.now() - toldMs >= repeatMs) {
        await writeFile(join(dir, write), frozen, { flag: 'r+' });
        toldMs = performance.now();
      }
      if (observeFrozen(layout, path)) return;
      if (performance.now() > endMs) throw new Error(`its processes do not stand still within ${deadlineMs} ms`);
      await wait(1);
    }
  } catch (error) {
    await thaw(layout, path).catch(() => {}); // the first error tells more
    throw new RuntimeOperationError('pause', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** Lets the processes of the cgroup go on. No error if it is gone or was not frozen. Throws RuntimeOperationError. */
export async function thaw(layout: CgroupLayout, path: string): Promise<void> {
  const dir = controllerDir(layout, 'freezer', path);
  if (dir === undefined) return;
  const { write, thawed } = words[layout.kind];
  try {
    await writeFile(join(dir, write), thawed, { flag: 'r+' });
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENODEV')) return;
    throw new RuntimeOperationError('resume', error instanceof Error ? error.message : String(error), { cause: error });
  }
}
