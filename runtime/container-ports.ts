/**
 * Which container has which host port. A container that runs keeps its ports; those of one that does not run can be
 * taken over by another's start, as with Docker. Decisions are taken without a pause in between, so one always wins.
 */
import { isIP } from 'node:net';
import type { Addresses } from './addresses.ts';
import { addressesOf, type ContainerEntry, isRunning } from './container-entry.ts';
import type { ForeignPorts } from './foreign-ports.ts';
import type { HostNetwork } from './host-network.ts';
import { ContainerConfigError, type ContainerID, type PortMapping, PortTakenError } from './interface.ts';
import { hasNoWayOut } from './isolation-rules.ts';
import type { PublishedPort } from './nft-rules.ts';
import { findFreePort, observePort, portsConflict } from './port-check.ts';

const freePortAttempts = 64;

export interface PortsDeps {
  readonly entries: ReadonlyMap<ContainerID, ContainerEntry>;
  readonly hostNetwork: HostNetwork;
  readonly foreign: ForeignPorts;
  /** Those that are being started and have made their ports theirs. */
  readonly claims: Set<ContainerID>;
}

function holdersOf(deps: PortsDeps, port: PortMapping, asker: ContainerID): ContainerEntry[] {
  return [...deps.entries.values()].filter(
    (entry) => entry.record.config.id !== asker && entry.record.ports.some((held) => portsConflict(held, port)),
  );
}

/** The container of this instance that runs, or starts, and has the port. */
function findHolder(deps: PortsDeps, port: PortMapping, asker: ContainerID): string | undefined {
  const holder = holdersOf(deps, port, asker).find(
    (entry) => isRunning(entry) || deps.claims.has(entry.record.config.id),
  );
  return holder === undefined ? undefined : `container "${holder.record.config.name}"`;
}

/** Who beside our containers has the port, in words. Throws ContainerConfigError for an address that the host lacks. */
async function findStranger(deps: PortsDeps, port: PortMapping): Promise<string | undefined> {
  // What was seen before counts only if it still is so.
  if (deps.foreign.takerOf(port) !== undefined) await deps.foreign.refresh();
  const foreign = deps.foreign.takerOf(port);
  if (foreign !== undefined) return foreign;
  const state = await observePort(port);
  if (state === 'no-address') {
    throw new ContainerConfigError('ports', `this host has no address ${port.hostIP}; correct or leave out hostIP`);
  }
  return state === 'taken' ? 'a program of the host' : undefined;
}

async function findTaker(deps: PortsDeps, port: PortMapping, asker: ContainerID): Promise<string | undefined> {
  return findHolder(deps, port, asker) ?? (await findStranger(deps, port)) ?? findHolder(deps, port, asker);
}

/** Whether what is asked for is one port and no other. */
function isFixed({ hostPort, hostPortEnd }: PortMapping): boolean {
  return hostPort !== 0 && (hostPortEnd === undefined || hostPortEnd <= hostPort);
}

function withPort({ hostPortEnd: _, ...rest }: PortMapping, hostPort: number): PortMapping {
  return { ...rest, hostPort };
}

/** The mappings with every 0 and every range replaced by a free port. Throws PortTakenError, ContainerConfigError. */
export async function choosePorts(
  deps: PortsDeps,
  id: ContainerID,
  wanted: readonly PortMapping[],
): Promise<readonly PortMapping[]> {
  // Fixed ones first, so that none of them is given away; reported in the order they were asked for.
  const chosen = new Map<PortMapping, PortMapping>();
  for (const port of wanted.filter(isFixed)) {
    const fixed = withPort(port, port.hostPort);
    if ([...chosen.values()].some((other) => portsConflict(other, fixed))) {
      throw new ContainerConfigError('ports', `host port ${port.hostPort}/${port.protocol} is asked for twice`);
    }
    const taker = await findTaker(deps, fixed, id);
    if (taker !== undefined) throw new PortTakenError(fixed, taker);
    chosen.set(port, fixed);
  }
  for (const port of wanted) {
    if (!isFixed(port)) chosen.set(port, await choose(deps, id, port, [...chosen.values()]));
  }
  return wanted.flatMap((port) => chosen.get(port) ?? []);
}

function choose(
  deps: PortsDeps,
  id: ContainerID,
  port: PortMapping,
  chosen: readonly PortMapping[],
): Promise<PortMapping> {
  return port.hostPort === 0 ? chooseFree(deps, id, port, chosen) : chooseOfRange(deps, id, port, chosen);
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
    const candidate = withPort(port, hostPort);
    const isOurs = chosen.some((other) => portsConflict(other, candidate)) || holdersOf(deps, candidate, id).length > 0;
    if (!isOurs) return candidate;
  }
  throw new PortTakenError(port, 'something, as is every other port that was tried');
}

/** The lowest port of the range that nobody has; one that a stopped container had is taken only when there is no other. */
async function chooseOfRange(
  deps: PortsDeps,
  id: ContainerID,
  port: PortMapping,
  chosen: readonly PortMapping[],
): Promise<PortMapping> {
  const end = port.hostPortEnd ?? port.hostPort;
  const all = Array.from({ length: end - port.hostPort + 1 }, (_, index) => withPort(port, port.hostPort + index));
  const possible = all.filter((candidate) => !chosen.some((other) => portsConflict(other, candidate)));
  const isHeld = (candidate: PortMapping): boolean => holdersOf(deps, candidate, id).length > 0;
  for (const candidate of [...possible.filter((one) => !isHeld(one)), ...possible.filter(isHeld)]) {
    if ((await findTaker(deps, candidate, id)) === undefined) return candidate;
  }
  throw new PortTakenError(port, `something, as is every port up to ${end}`);
}

/**
 * Makes the ports this container's before it starts, and returns them; one that it was free to choose is chosen anew if
 * somebody else has it by now. From here on they count as used, until releaseClaim.
 * Throws PortTakenError, ContainerConfigError.
 */
export async function claimPorts(deps: PortsDeps, entry: ContainerEntry): Promise<readonly PortMapping[]> {
  const { ports, config } = entry.record;
  const isFree = (index: number): boolean => config.ports[index] !== undefined && !isFixed(config.ports[index]);
  const claimed = new Map(ports.map((port, index) => [index, port]));
  for (const [index, port] of ports.entries()) {
    const holder = findHolder(deps, port, config.id);
    if (holder === undefined) continue;
    if (!isFree(index)) throw new PortTakenError(port, holder);
    claimed.delete(index);
  }
  deps.claims.add(config.id);
  for (const [index, port] of ports.entries()) {
    const stranger = claimed.has(index) ? await findStranger(deps, port) : undefined;
    if (stranger === undefined) continue;
    if (!isFree(index)) throw new PortTakenError(port, stranger);
    claimed.delete(index);
  }
  for (const [index, wanted] of config.ports.entries()) {
    if (!claimed.has(index)) claimed.set(index, await choose(deps, config.id, wanted, [...claimed.values()]));
  }
  const result = ports.map((port, index) => claimed.get(index) ?? port);
  for (const port of result) {
    for (const holder of holdersOf(deps, port, config.id)) await deps.hostNetwork.publish(holder.record.config.id, []);
  }
  return result;
}

/** The start is over: from now on its ports are its own because it runs, or not at all. */
export function releaseClaim(deps: PortsDeps, entry: ContainerEntry): void {
  deps.claims.delete(entry.record.config.id);
}

/** Looks whether rules of others have the ports; while the process is being made, for it takes a while. Throws PortTakenError. */
export async function refuseForeign(deps: PortsDeps, entry: ContainerEntry): Promise<void> {
  const { ports } = entry.record;
  if (ports.length === 0) return;
  await deps.foreign.refresh();
  for (const port of ports) {
    const taker = deps.foreign.takerOf(port);
    if (taker !== undefined) throw new PortTakenError(port, taker);
  }
}

/** Whether a container's ports are the host's own: with its network nothing is published, and its process binds to them. */
export function hasHostPorts(entry: ContainerEntry): boolean {
  return entry.record.config.namespaces?.network === 'host';
}

/** The ports as the kernel is to know them: on both families of addresses unless one is asked for. None without a network of its own, and none of one that has no way out. */
export function publishedPorts(entry: ContainerEntry): readonly PublishedPort[] {
  const isHidden = hasHostPorts(entry) || hasNoWayOut(entry.record.config.networks);
  const { ip, ip6 }: Partial<Addresses> = isHidden ? {} : (addressesOf(entry) ?? {});
  return entry.record.ports.flatMap((port): PublishedPort[] => {
    const family = port.hostIP === undefined ? 0 : isIP(port.hostIP);
    const targets = [family === 6 ? undefined : ip, family === 4 ? undefined : ip6];
    return targets.flatMap((address) => (address === undefined ? [] : [{ ...port, ip: address }]));
  });
}
