/** What a reboot does to an instance, without the reboot: for its daemon that is not running. */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { removeHostState } from '../runtime/index.ts';

/**
 * Takes away processes, mounts, cgroups, network, and all of the run dir; what is on disk stays as it is. Throws
 * RuntimeOperationError if something stayed.
 */
export async function simulateReboot(host: {
  readonly dataDir: string;
  readonly runDir: string;
  readonly bridge: string;
}): Promise<void> {
  const [containers, stash] = [join(host.dataDir, 'containers'), join(host.dataDir, 'containers-of-the-last-boot')];
  await rename(containers, stash);
  await mkdir(containers);
  await removeHostState({ ...host, log: pino({ level: 'silent' }) });
  await rm(host.runDir, { recursive: true, force: true });
  await rm(containers, { recursive: true, force: true });
  await rename(stash, containers);
}
