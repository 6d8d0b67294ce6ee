/**
 * Makes the kernel wait ahead of time. Putting a process into a cgroup waits for a whole RCU grace period, 8 to 15 ms,
 * unless another did so a few milliseconds before (cgroup_threadgroup_rwsem). So while a start prepares its files we
 * "move" ourselves to where we are, which changes nothing, and the OCI runtime finds the wait done: 20 ms instead of 34
 * (measured 2026-11, Linux 6.18, two cores). A host mounted with favordynmods never waits.
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CgroupLayout } from './cgroups.ts';

/** Pure: cgroup.procs of the cgroup that /proc/self/cgroup names; undefined if it is not mounted. */
export function ownProcsFile(layout: CgroupLayout, procSelfCgroup: string): string | undefined {
  for (const line of procSelfCgroup.split('\n')) {
    const [, controllers, path] = /^[0-9]+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (layout.kind === 'v2' && controllers === '') return join(layout.root, path, 'cgroup.procs');
    const mount = layout.kind === 'v1' ? layout.controllers.get(controllers.split(',')[0] ?? '') : undefined;
    if (mount !== undefined) return join(mount, path, 'cgroup.procs');
  }
  return undefined;
}

export class CgroupPrimer {
  readonly #layout: CgroupLayout;
  #isUnderWay = false;

  constructor(layout: CgroupLayout) {
    this.#layout = layout;
  }

  /** Returns at once; one write at a time, since each occupies a thread. */
  prime(): void {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    void this.#write();
  }

  async #write(): Promise<void> {
    try {
      const file = ownProcsFile(this.#layout, readFileSync('/proc/self/cgroup', 'utf8'));
      if (file !== undefined) await writeFile(file, '0', { flag: 'r+' });
    } catch {
      // Not allowed here: then the start waits for the kernel, as it would have without us.
    } finally {
      this.#isUnderWay = false;
    }
  }
}
