/**
 * Changes what a container was created with, while it runs or not: limits, names, networks, contents of its files. Effects
 * only; called with the container's lock held.
 */
import { replaceFile } from './atomic-file.ts';
import { applyLimits } from './cgroups.ts';
import { checkDnsNames, checkNetworks } from './config-check.ts';
import { type ContainerEntry, isRunning, nameRecordOf } from './container-entry.ts';
import { rewriteHosts, rewriteResolvConf } from './container-etc.ts';
import { memberOf, type NetworkDeps } from './container-network.ts';
import { publishedPorts } from './container-ports.ts';
import type { SetupDeps } from './container-setup.ts';
import type { HostNetwork } from './host-network.ts';
import type { MutableConfig } from './interface.ts';
import { formatRecord } from './record.ts';
import type { Resolver } from './resolver.ts';
import { cgroupPathOf, type RunDeps } from './run.ts';
import { type VolumeDeps, writeFiles } from './volumes/index.ts';

export interface UpdateDeps extends SetupDeps, NetworkDeps, RunDeps, VolumeDeps {
  readonly hostNetwork: HostNetwork;
  readonly resolver: Resolver;
}

/** Throws what Containers.update does; then all is as before, but for what a later update puts right. */
export async function updateContainer(
  deps: UpdateDeps,
  entry: ContainerEntry,
  change: Partial<MutableConfig>,
): Promise<void> {
  const { record } = entry;
  const before = record.config;
  const { id } = before;
  const config = { ...before, ...withoutUndefined(change) };
  checkDnsNames(config);
  checkNetworks(config);
  const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);
  const isLimitChanged = !isSame(config.limits, before.limits);
  if (isLimitChanged && isRunning(entry)) {
    await applyLimits(deps.cgroups, cgroupPathOf(deps.layout, id), config.limits, before.limits);
  }
  entry.record = { ...record, config };
  try {
    await rewriteHosts(entry);
    if (!isSame(before.dns, config.dns)) await rewriteResolvConf(deps, entry);
    if (!isSame(before.networks, config.networks)) await moveToNetworks(deps, entry);
    if (change.files !== undefined) await writeFiles(deps, entry);
    await deps.resolver.set(id, nameRecordOf(entry));
    const text = formatRecord(entry.record);
    // Last: whoever reads the record, also after a kill in between, takes all of it to be done.
    if (text !== formatRecord(record)) await replaceFile(entry.paths.record, text, 'durable');
  } catch (error) {
    entry.record = record;
    throw error;
  }
}

/** Its ports are to be as its networks have it: one that has no way out publishes none. */
async function moveToNetworks({ isolation, hostNetwork }: UpdateDeps, entry: ContainerEntry): Promise<void> {
  await isolation.set(entry.record.config.id, memberOf(entry));
  if (isRunning(entry)) await hostNetwork.publish(entry.record.config.id, publishedPorts(entry));
}

function withoutUndefined(change: Partial<MutableConfig>): Partial<MutableConfig> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
