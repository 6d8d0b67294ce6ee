/**
 * Taking a container out of the world: process, network, mounts, volumes, and last its folder, which a rename removes at
 * once. Each step bears being done again. Effects only; called with the container's lock held.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerEntry } from './container-entry.ts';
import { dropNetwork, type NetworkDeps } from './container-network.ts';
import type { HostNetwork } from './host-network.ts';
import type { ContainerID } from './interface.ts';
import { settleAll } from './keyed-lock.ts';
import { removeTree } from './remove-tree.ts';
import { endRun, type RunDeps } from './run.ts';
import { dropVolumes, type VolumeDeps } from './volumes/index.ts';

export interface RemovalDeps extends Pick<NetworkDeps, 'pool' | 'isolation'>, RunDeps, VolumeDeps {
  readonly hostNetwork: HostNetwork;
  readonly debugs: { end(id: ContainerID): Promise<void> };
  readonly attached: { logEnds(id: ContainerID): Promise<void> };
}

const SIGKILL = 9;

/** volumes: whether those of its own stay for a next container of this id. Throws RuntimeOperationError. */
export async function removeContainer(
  deps: RemovalDeps,
  entry: ContainerEntry,
  volumes: 'remove' | 'keep',
): Promise<void> {
  const { config } = entry.record;
  const { layout, syscalls, randomHex } = deps;
  const { paths } = entry;
  await deps.debugs.end(config.id);
  if (entry.processes !== undefined) await syscalls.kill(entry.processes.init, SIGKILL);
  entry.monitor?.close();
  entry.monitor = undefined;
  await endRun(deps, config.id, entry.processes);
  entry.processes = undefined;
  await settleAll([dropPortsAndNetwork(deps, entry), syscalls.unmount(paths.rootfs)]);
  await syscalls.unmount(paths.userNamespace);
  await removeTree(paths.bundle);
  await dropVolumes(deps, config.id, { volumes, keepsImageVolumes: config.keepsImageVolumes ?? false });
  await deps.attached.logEnds(config.id);
  // One rename takes it out of the world; deleting what may be large comes after.
  const grave = join(layout.trash, `${config.id}-${randomHex(4)}`);
  await rename(paths.home, grave).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await removeTree(grave);
}

/** Its published ports, then the network itself; the next start makes both anew. */
export async function dropPortsAndNetwork(
  deps: Pick<RemovalDeps, 'hostNetwork' | 'pool' | 'isolation'>,
  entry: ContainerEntry,
): Promise<void> {
  await deps.hostNetwork.publish(entry.record.config.id, []);
  await dropNetwork(deps, entry);
}
