/**
 * Which container has which host port. A container that runs keeps its ports; those of one that does not run can be
 * taken over by another's start, as with Docker. Decisions are taken without a pause in between, so one always wins.
 */
import type { ContainerEntry } from './container-entry.ts';
import { isRunning } from './container-entry.ts';
import type { HostNetwork } from './host-network.ts';
import { ContainerConfigError, type ContainerID, type PortMapping, PortTakenError } from './interface.ts';
import type { Network } from './netns-pool.ts';
import type { PublishedPort } from './nft-rules.ts';
import { findFreePort, observePort, portsConflict } from './port-check.ts';

const freePortAttempts = 64;

export interface PortsDeps {
  readonly entries: ReadonlyMap<ContainerID, ContainerEntry>;
  readonly hostNetwork: HostNetwork;
}

function holdersOf(deps: PortsDeps, port: PortMapping, asker: ContainerID): ContainerEntry[] {
  return [...deps.entries.values()].filter(
    (entry) => entry.record.config.id !== asker && entry.record.ports.some((held) => portsConflict(held, port)),
  );
}

function refuseRunningHolders(deps: PortsDeps, ports: readonly PortMapping[], asker: ContainerID): void {
  for (const port of ports) {
    const holder = holdersOf(deps, port, asker).find((entry) => isRunning(entry) || entry.isStarting);
    if (holder !== undefined) throw new PortTakenError(port, `container "${holder.record.config.name}"`);
  }
}

async function refuseHostPrograms(ports: readonly PortMapping[]): Promise<void> {
  for (const port of ports) {
    const state = await observePort(port);
    if (state === 'taken') throw new PortTakenError(port, 'a program of the host');
    if (state === 'no-address') {
      throw new ContainerConfigError('ports', `this host has no address ${port.hostIP}; correct or leave out hostIP`);
    }
  }
}

/** The mappings with every 0 replaced by a free port. Throws PortTakenError, ContainerConfigError. */
export async function choosePorts(
  deps: PortsDeps,
  id: ContainerID,
  wanted: readonly PortMapping[],
): Promise<readonly PortMapping[]> {
  const chosen: PortMapping[] = [];
  for (const port of wanted) {
    if (port.hostPort !== 0) {
      if (chosen.some((other) => portsConflict(other, port))) {
        throw new ContainerConfigError('ports', `host port ${port.hostPort}/${port.protocol} is asked for twice`);
      }
      refuseRunningHolders(deps, [port], id);
      await refuseHostPrograms([port]);
      chosen.push(port);
      continue;
    }
    chosen.push(await chooseFree(deps, id, port, chosen));
  }
  return chosen;
}

async function chooseFree(
  deps: PortsDeps,
  id: ContainerID,
  port: PortMapping,
  chosen: readonly PortMapping[],
): Promise<PortMapping> {
  for (let attempt = 0; attempt < freePortAttempts; attempt += 1) {
    const hostPort = await findFreePort(port);
    if (hostPort === undefined) break;
    const candidate = { ...port, hostPort };
    const isOurs = chosen.some((other) => portsConflict(other, candidate)) || holdersOf(deps, candidate, id).length > 0;
    if (!isOurs) return candidate;
  }
  throw new PortTakenError(port, 'something, as is every other port that was tried');
}

/**
 * Makes the ports this container's before it starts. `entry.isStarting` must be set already: from here on they count
 * as used. Throws PortTakenError, ContainerConfigError.
 */
export async function claimPorts(deps: PortsDeps, entry: ContainerEntry): Promise<void> {
  const { ports, config } = entry.record;
  refuseRunningHolders(deps, ports, config.id);
  for (const port of ports) {
    for (const holder of holdersOf(deps, port, config.id)) await deps.hostNetwork.publish(holder.record.config.id, []);
  }
  await refuseHostPrograms(ports);
}

/** The ports as the kernel is to know them. */
export function publishedPorts(ports: readonly PortMapping[], network: Network): readonly PublishedPort[] {
  return ports.map((port) => ({ ...port, ip: network.ip }));
}
