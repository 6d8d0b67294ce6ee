/** Removes what processes that are gone have left: entries of a folder that are named PID-…. Effects. */
import { access, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Entries of other live processes stay. At a start, those of this process's own number are of an earlier process that had
 * it: 'own-too'.
 */
export async function removeStale(dir: string, which: 'own-too' | 'keep-own'): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    const pid = /^([0-9]+)-/.exec(name)?.[1];
    const isOwn = pid === String(process.pid);
    if (pid !== undefined && (isOwn ? which === 'keep-own' : await isThere(`/proc/${pid}`))) continue;
    await rm(join(dir, name), { recursive: true, force: true });
  }
}

/** Whether there is something at the path that this process can reach. */
export async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false, // whatever the reason, a program of ours could not read it either
  );
}
