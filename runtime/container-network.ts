/**
 * A container's network: a namespace of its own on the bridge, the host's, or one with loopback only. It keeps its own
 * from one run to the next, unless it can no longer be used or its process could have changed it. Effects.
 */
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import type { Addresses, Subnet } from './addresses.ts';
import type { ContainerEntry } from './container-entry.ts';
import type { SecurityConfig } from './interface.ts';
import type { Isolation } from './isolation.ts';
import { isOnDefault, type Member } from './isolation-rules.ts';
import { hasNetns, isOfSubnets, type NetnsPool, type Network } from './netns-pool.ts';
import { ensureUserNamespace, type UserNamespaceDeps } from './user-namespace.ts';

export interface NetworkDeps extends UserNamespaceDeps {
  readonly pool: NetnsPool;
  readonly isolation: Isolation;
  readonly subnet: Subnet;
  readonly subnet6: Subnet | undefined;
}

/** At which others reach a container that has the host's network: the bridge's own addresses. Pure. */
export function hostAddresses({ subnet, subnet6 }: Pick<NetworkDeps, 'subnet' | 'subnet6'>): Addresses {
  return { ip: subnet.gateway, ...(subnet6 === undefined ? {} : { ip6: subnet6.gateway }) };
}

/** Pure: addresses, routes and rules of its namespace are the process's to change. */
export function canChangeNetwork({ isPrivileged, addCapabilities = [] }: SecurityConfig = {}): boolean {
  return isPrivileged === true || addCapabilities.some((name) => /^ALL$|^(CAP_)?(NET|SYS)_ADMIN$/.test(name));
}

/** Whether a network can still be used: both ends of its cable are there, and its addresses are of our subnets. */
function isSound(network: Network, deps: NetworkDeps): boolean {
  return (
    hasNetns(network, deps.layout) &&
    existsSync(`/sys/class/net/${network.hostInterface}`) &&
    isOfSubnets(network, deps)
  );
}

/**
 * Before a run: keeps the container's network, or gives it another. undefined: it is to have none of its own.
 * Throws RuntimeOperationError.
 */
export async function ensureNetwork(deps: NetworkDeps, entry: ContainerEntry): Promise<Network | undefined> {
  const { namespaces, security } = entry.record.config;
  if (namespaces?.network !== undefined) return undefined;
  const isChanged = entry.lastRun !== undefined && canChangeNetwork(security);
  if (entry.network !== undefined && !isChanged && isSound(entry.network, deps)) return entry.network;
  await dropNetwork(deps, entry);
  await mkdir(entry.paths.bundle, { recursive: true, mode: 0o700 });
  const userNamespace = await ensureUserNamespace(deps, entry);
  entry.network =
    userNamespace === undefined
      ? await deps.pool.take(entry.paths.network)
      : await deps.pool.takeOf(entry.paths.network, userNamespace.path);
  return entry.network;
}

/** What keeps it apart from others; undefined: it is on the default network alone, or has no network of its own. Pure. */
export function memberOf({ record, network }: Pick<ContainerEntry, 'record' | 'network'>): Member | undefined {
  const { networks } = record.config;
  if (network === undefined || networks === undefined || (networks.length === 1 && isOnDefault(networks))) {
    return undefined;
  }
  const { hostInterface, ip, ip6, mac } = network;
  return { hostInterface, ip, ip6, mac, networks };
}

/** Takes the network down; the next start gets a fresh one. */
export async function dropNetwork(deps: Pick<NetworkDeps, 'pool' | 'isolation'>, entry: ContainerEntry): Promise<void> {
  const { network } = entry;
  if (network === undefined) return;
  entry.network = undefined;
  await deps.pool.release(network);
  await rm(entry.paths.network, { force: true });
  // Last: until its cable is gone it stays apart.
  await deps.isolation.set(entry.record.config.id, undefined);
}
