/** What this whole host uses, in the form of a container's stats. Effects: reads /proc. */
import { readFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';

export async function observeHostStats() {
  const busyMs = cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0);
  const freeKiB = Number(/^MemAvailable:\s+(\d+) kB/mu.exec(await readFile('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  return {
    cpu: { usageCoreNanoSeconds: busyMs * 1e6 },
    memory: { workingSetBytes: Math.max(0, totalmem() - freeKiB * 1024) },
  };
}
