/**
 * The host's side of the containers' network: bridge, nftables tables, forwarding. Brings them to what they should be
 * at start, and again when somebody took them away. Effects; the rules' text is nft-rules.ts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { ipv6Digits, type Subnet } from './addresses.ts';
import { runCommand, runSuccessfully } from './command.ts';
import { findObstacle, listChains, openFirewall } from './host-firewall.ts';
import { type ContainerID, RuntimeOperationError } from './interface.ts';
import {
  type Family,
  familyOf,
  findFault,
  formatPortChange,
  formatTable,
  type NftInput,
  type PublishedPort,
  parseTable,
} from './nft-rules.ts';

export interface HostNetworkDeps {
  readonly bridge: string;
  readonly nftTable: string;
  readonly subnet: Subnet;
  /** undefined: no IPv6. */
  readonly subnet6: Subnet | undefined;
  /** Says on the bridge that it is ours. Throws InstanceConflictError if it is not. */
  markBridge(): void;
  /** Host ends of the containers' cables, to plug in again when the bridge was made anew. */
  hostInterfaces(): readonly string[];
  /** A word that changes with every change to nftables that may concern us; undefined: not known. */
  nftGeneration(): Promise<string | undefined>;
  /** Something was found changed and put back. */
  found(kind: 'bridge' | 'rules' | 'published-port' | 'firewall' | 'forwarding', detail: string): void;
  readonly log: Logger;
}

const deadlineMs = 10_000;

/** NET_ADDR_SET of linux/include/uapi/linux/netdevice.h. */
const chosenAddress = '3';

/** The same for a bridge that is made anew, so that the containers find it at once. As CNI's plugins made them: pkg/utils/hwaddr. */
function bridgeAddress({ gateway }: Subnet): string {
  return ['0a', '58', ...gateway.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))].join(':');
}

/** Whether the kernel has IPv6 and it is not switched off. */
export function hasIPv6(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/all/disable_ipv6', 'latin1').trim() === '0';
  } catch {
    return false; // a kernel without it
  }
}

export class HostNetwork {
  readonly #deps: HostNetworkDeps;
  readonly #published = new Map<ContainerID, readonly PublishedPort[]>();
  /** Changes to the tables go one after the other: each is a transaction on what the last one left. */
  #nftQueue: Promise<void> = Promise.resolve();
  #waiting: { change: PortChange; resolve: () => void; reject: (error: unknown) => void }[] = [];
  /** The kernel may have IPv6 and no NAT for it: then containers reach each other by it, and nothing is published. */
  #hasNat6: boolean;
  /** What was last told of the host's firewall. */
  #obstacle: string | undefined;
  /** Of the rules when they were last found in order. */
  #seenGeneration: string | undefined;
  /** What is missing now was there once. */
  #wasMade = false;
  /**
   * The kernel's number of the bridge that was last seen to, read before that: another one of its name, also one that came
   * meanwhile, has another, by which the next look finds it.
   */
  #bridgeIndex: string | undefined;
  #isOpened = false;

  constructor(deps: HostNetworkDeps) {
    this.#deps = deps;
    this.#hasNat6 = deps.subnet6 !== undefined;
  }

  /** Makes or mends bridge, forwarding and tables. Cheap when nothing is amiss and `thorough` is not asked for. */
  async ensure(how: 'bridge' | 'thorough' | 'rebuild'): Promise<void> {
    const { bridge } = this.#deps;
    const hasBridge = existsSync(`/sys/class/net/${bridge}`);
    if (hasBridge && how === 'bridge') return;
    const index = hasBridge ? await this.#acceptBridge() : await this.#makeBridge();
    await this.#fixAddress();
    this.#bridgeIndex = index;
    await this.#ensureForwarding(hasBridge ? 'made' : 'new');
    await this.#ensureFirewall();
    if (how === 'rebuild') await this.rebuildTable();
    else await this.#inQueue(() => this.#mendTables());
    this.#wasMade = true;
  }

  /**
   * A look that starts no process while nothing was changed: whether bridge, forwarding and tables are as they should be.
   * What is not is put back.
   */
  async mend(): Promise<void> {
    const { bridge } = this.#deps;
    const index = observeIndex(bridge);
    if (index === undefined) return this.ensure('bridge');
    if (index !== this.#bridgeIndex) await this.#takeOverBridge();
    await this.#mendBridge();
    await this.#fixAddress();
    this.#bridgeIndex = index;
    await this.#ensureForwarding('made');
    const generation = await this.#deps.nftGeneration();
    const isChanged = generation === undefined || generation !== this.#seenGeneration;
    if (!isChanged && !hasOldIptables()) return;
    await this.#ensureFirewall();
    await this.#inQueue(() => this.#mendTables());
    // As it was before we looked: whatever was changed since, by us as well, makes the next look look again.
    this.#seenGeneration = generation;
  }

  /** It may be another one of that name than was last seen. Returns the kernel's number of it. */
  async #acceptBridge(): Promise<string | undefined> {
    const index = observeIndex(this.#deps.bridge);
    const isAnother = this.#bridgeIndex !== undefined && index !== this.#bridgeIndex;
    if (isAnother) await this.#takeOverBridge();
    else this.#deps.markBridge();
    return index;
  }

  /** The CNI plugin makes a bridge that is missing when a network is made at that moment, and knows nothing of ours. */
  async #takeOverBridge(): Promise<void> {
    const { bridge, subnet } = this.#deps;
    this.#deps.markBridge();
    await this.#setAddress(bridgeAddress(subnet));
    if (this.#bridgeIndex !== undefined) this.#found('bridge', `${bridge} was gone`);
    await this.#plugIn();
  }

  /**
   * One that chose its hardware address itself has the lowest of its cables', and another one whenever a container with that
   * comes or goes. The others then send to an address that nobody has, for up to 8 s: to the resolver, and out of the host.
   * What it has stays, since they know it. Source: Linux net/bridge/br_stp_if.c, br_stp_recalculate_bridge_id.
   */
  async #fixAddress(): Promise<void> {
    const { bridge } = this.#deps;
    const read = async (name: string): Promise<string> => {
      try {
        return (await readFile(`/sys/class/net/${bridge}/${name}`, 'latin1')).trim();
      } catch (cause) {
        throw new RuntimeOperationError('network', `the bridge ${bridge} went just now; try again`, { cause });
      }
    };
    if ((await read('addr_assign_type')) !== chosenAddress) await this.#setAddress(await read('address'));
  }

  async #setAddress(address: string): Promise<void> {
    const command = ['ip', 'link', 'set', 'dev', this.#deps.bridge, 'address', address] as const;
    await runSuccessfully('network', command, { deadlineMs });
  }

  /** Without its address a bridge has no route, as when it is switched off. */
  async #mendBridge(): Promise<void> {
    const { bridge, subnet } = this.#deps;
    if (hasRoute(await readFile('/proc/net/route', 'latin1'), bridge)) return;
    const lines = [`addr replace ${subnet.gateway}/${subnet.prefixLength} dev ${bridge}`, `link set dev ${bridge} up`];
    await runSuccessfully('network', ['ip', '-batch', '-'], { deadlineMs, input: lines.join('\n') });
    this.#found('bridge', `${bridge} had no address or was switched off`);
  }

  /** Settings of a bridge that was made just now are nobody's doing. */
  async #ensureForwarding(age: 'made' | 'new'): Promise<void> {
    const { bridge, subnet6 } = this.#deps;
    const changed = [
      await writeSysctl('net/ipv4/ip_forward', '1'),
      // Packets from the host's loopback to a published port leave by the bridge.
      await writeSysctl(`net/ipv4/conf/${bridge}/route_localnet`, '1'),
      ...(subnet6 === undefined ? [] : await this.#ensureIPv6(subnet6, age)),
    ].filter((name) => name !== undefined);
    if (changed.length > 0 && age === 'made') this.#found('forwarding', changed.join(', '));
  }

  async #ensureFirewall(): Promise<void> {
    const { bridge, subnet6, log } = this.#deps;
    const chains = await listChains();
    const added = await openFirewall({ bridge, hasIPv6: subnet6 !== undefined }, chains, log);
    if (added > 0 && this.#isOpened) this.#found('firewall', `${added} rules of iptables were missing`);
    this.#isOpened = true;
    const obstacle = findObstacle(bridge, chains);
    if (obstacle !== undefined && obstacle !== this.#obstacle) log.warn({ bridge }, obstacle);
    this.#obstacle = obstacle;
  }

  /** The first time something is made, nobody has taken it away. */
  #found(kind: Parameters<HostNetworkDeps['found']>[0], detail: string): void {
    if (this.#wasMade) this.#deps.found(kind, detail);
  }

  async #mendTables(): Promise<void> {
    const { log } = this.#deps;
    for (const input of this.#tables()) {
      // A change that waits for its turn is known to us but not yet to the kernel; the next look compares.
      if (this.#waiting.length > 0) return;
      const { family, table } = input;
      const wanted = [...this.#published.values()].flat();
      const listed = await runCommand('network', ['nft', '-j', 'list', 'table', family, table], { deadlineMs });
      const content = listed.code === 0 ? parseTable(listed.stdout) : undefined;
      // More than a command's output may hold: thousands of ports, and nothing to compare.
      if (listed.code === 0 && content === undefined) continue;
      const fault = content === undefined ? 'the table is gone' : findFault(content, input, wanted);
      if (fault === undefined) continue;
      log.warn({ family, table, fault }, 'the nftables table was changed by somebody and is made again');
      await this.#applyWhole();
      this.#found(content === undefined || fault.startsWith('the chain') ? 'rules' : 'published-port', fault);
      return;
    }
  }

  /** Replaces the whole tables by what should be published. */
  rebuildTable(): Promise<void> {
    return this.#inQueue(() => this.#applyWhole());
  }

  /** The ports of a container as they should be known to the kernel; without any, its are taken out. */
  async publish(id: ContainerID, ports: readonly PublishedPort[]): Promise<void> {
    const before = this.#published.get(id) ?? [];
    const same = (a: PublishedPort, b: PublishedPort): boolean => JSON.stringify(a) === JSON.stringify(b);
    const change: PortChange = {
      remove: before.filter((port) => !ports.some((other) => same(port, other))),
      add: ports.filter((port) => !before.some((other) => same(port, other))),
    };
    if (ports.length === 0) this.#published.delete(id);
    else this.#published.set(id, ports);
    if (change.remove.length === 0 && change.add.length === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ change, resolve, reject });
      // What comes in while nft runs goes into one transaction together.
      if (this.#waiting.length === 1) void this.#inQueue(() => this.#applyWaiting());
    });
  }

  /** What a container has published; used when the state on disk is read back. */
  adopt(id: ContainerID, ports: readonly PublishedPort[]): void {
    if (ports.length > 0) this.#published.set(id, ports);
  }

  isPublished(id: ContainerID): boolean {
    return this.#published.has(id);
  }

  #inQueue(work: () => Promise<void>): Promise<void> {
    const result = this.#nftQueue.then(work);
    this.#nftQueue = result.catch(() => {}); // the caller of this turn gets the error; the next turn is its own
    return result;
  }

  async #applyWaiting(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const canHold = (port: PublishedPort): boolean => familyOf(port) === 'ip' || this.#hasNat6;
    const change: PortChange = {
      remove: waiting.flatMap((one) => one.change.remove).filter(canHold),
      add: waiting.flatMap((one) => one.change.add).filter(canHold),
    };
    try {
      try {
        await this.#nft(formatPortChange(this.#deps.nftTable, change));
      } catch (error) {
        // Somebody flushed the rules, or an element is not what we thought: the whole truth puts it right.
        this.#deps.log.warn({ err: error }, 'publishing ports failed; the tables are made again');
        await this.#applyWhole();
      }
      await this.#forgetFlows([...change.remove, ...change.add]);
      for (const one of waiting) one.resolve();
    } catch (error) {
      for (const one of waiting) one.reject(error);
    }
  }

  #tables(): readonly NftInput[] {
    const { nftTable: table, bridge, subnet, subnet6 } = this.#deps;
    const of = (family: Family, { cidr }: Subnet): NftInput => ({ family, table, bridge, subnet: cidr });
    return [of('ip', subnet), ...(subnet6 === undefined || !this.#hasNat6 ? [] : [of('ip6', subnet6)])];
  }

  async #applyWhole(): Promise<void> {
    const ports = [...this.#published.values()].flat();
    const textOf = (): string =>
      this.#tables()
        .map((input) => formatTable(input, ports))
        .join('');
    try {
      await this.#nft(textOf());
    } catch (error) {
      if (!this.#hasNat6) throw error;
      this.#hasNat6 = false;
      await this.#nft(textOf());
      const words = 'the kernel has no NAT for IPv6: ports are published on IPv4 only, and IPv6 ends at this host';
      this.#deps.log.warn({ err: error }, words);
    }
  }

  /**
   * The kernel remembers where it led a UDP client, for as long as that goes on sending. TCP begins anew by itself.
   * Without the program a client must pause for 30 s (net.netfilter.nf_conntrack_udp_timeout); doctor says so.
   */
  async #forgetFlows(ports: readonly PublishedPort[]): Promise<void> {
    const keys = ports
      .filter(({ protocol }) => protocol === 'udp')
      .map((port) => `${familyOf(port) === 'ip' ? 'ipv4' : 'ipv6'} ${port.hostPort}`);
    for (const key of new Set(keys)) {
      const [family = '', port = ''] = key.split(' ');
      const command = ['conntrack', '-D', '-f', family, '-p', 'udp', '--orig-port-dst', port] as const;
      // It ends with 1 when there was nothing to forget.
      await runCommand('publish', command, { deadlineMs }).catch((error: unknown) => {
        this.#deps.log.debug({ err: error }, 'old UDP flows cannot be forgotten');
      });
    }
  }

  async #nft(text: string): Promise<void> {
    if (text !== '') await runSuccessfully('publish', ['nft', '-f', '-'], { deadlineMs, input: text });
  }

  /** Returns the kernel's number of the bridge that there is then. */
  async #makeBridge(): Promise<string | undefined> {
    const { bridge, subnet } = this.#deps;
    const lines = [
      `link add name ${bridge} address ${bridgeAddress(subnet)} type bridge`,
      `addr add ${subnet.gateway}/${subnet.prefixLength} dev ${bridge}`,
      `link set dev ${bridge} up`,
    ];
    const made = await runCommand('network', ['ip', '-batch', '-'], { deadlineMs, input: lines.join('\n') });
    const index = observeIndex(bridge);
    if (made.code !== 0) {
      if (index === undefined)
        throw new RuntimeOperationError('network', `the bridge ${bridge} cannot be made: ${made.stderr.trim()}`);
      // Somebody else was first, and the rest was not done.
      await this.#takeOverBridge();
      await this.#mendBridge();
      return index;
    }
    this.#deps.markBridge();
    this.#found('bridge', `${bridge} was gone`);
    await this.#plugIn();
    return index;
  }

  /** All containers that run, into a bridge that was made anew. */
  async #plugIn(): Promise<void> {
    const { bridge, log } = this.#deps;
    const cables = this.#deps.hostInterfaces().filter((name) => existsSync(`/sys/class/net/${name}`));
    if (cables.length === 0) return;
    const plug = cables.flatMap((name) => [`link set dev ${name} master ${bridge}`, `link set dev ${name} up`]);
    const hairpin = cables.map((name) => `link set dev ${name} type bridge_slave hairpin on`);
    await runSuccessfully('network', ['ip', '-batch', '-'], { deadlineMs, input: [...plug, ...hairpin].join('\n') });
    log.warn({ bridge, containers: cables.length }, 'the bridge was gone and is made again');
  }

  /** The bridge's address, at once and without asking the neighbours whether it is free, and forwarding. */
  async #ensureIPv6({ gateway, prefixLength }: Subnet, age: 'made' | 'new'): Promise<readonly (string | undefined)[]> {
    const { bridge } = this.#deps;
    const changed = [
      await writeSysctl(`net/ipv6/conf/${bridge}/disable_ipv6`, '0'),
      // No container tells the host where its routers are.
      await writeSysctl(`net/ipv6/conf/${bridge}/accept_ra`, '0'),
    ];
    const digits = ipv6Digits(gateway);
    const isThere = readFileSync('/proc/net/if_inet6', 'latin1')
      .split('\n')
      .some((line) => line.startsWith(digits) && line.endsWith(` ${bridge}`));
    if (!isThere) {
      const command = ['ip', '-6', 'addr', 'replace', `${gateway}/${prefixLength}`, 'dev', bridge, 'nodad'] as const;
      await runSuccessfully('network', command, { deadlineMs });
      if (age === 'made') this.#found('bridge', `${bridge} had lost ${gateway}`);
    }
    if ((await readFile('/proc/sys/net/ipv6/conf/all/forwarding', 'latin1')).trim() === '1') return changed;
    // A host that forwards heeds its routers' announcements only where it is told to: without this it would lose the
    // addresses and routes that it has from them. Source: Linux ip-sysctl.rst, accept_ra.
    for (const name of readdirSync('/proc/sys/net/ipv6/conf')) {
      const path = `net/ipv6/conf/${name}/accept_ra`;
      const value = await readFile(`/proc/sys/${path}`, 'latin1').catch(() => ''); // the interface went
      if (value.trim() === '1' && name !== 'lo') await writeSysctl(path, '2');
    }
    return [...changed, await writeSysctl('net/ipv6/conf/all/forwarding', '1')];
  }
}

/** Pure: whether /proc/net/route has one by that interface. */
export function hasRoute(routes: string, device: string): boolean {
  return routes.split('\n').some((line) => line.startsWith(`${device}\t`));
}

/** Rules of iptables as it was before nftables are in no generation of theirs. */
function hasOldIptables(): boolean {
  try {
    return readFileSync('/proc/net/ip_tables_names', 'latin1').trim() !== '';
  } catch {
    return false; // the kernel does not know them
  }
}

interface PortChange {
  readonly remove: readonly PublishedPort[];
  readonly add: readonly PublishedPort[];
}

/** The setting's name if it was another. */
async function writeSysctl(name: string, value: string): Promise<string | undefined> {
  const path = `/proc/sys/${name}`;
  try {
    if ((await readFile(path, 'utf8')).trim() === value) return undefined;
    await writeFile(path, value);
    return name.replaceAll('/', '.');
  } catch (error) {
    throw new RuntimeOperationError('network', `cannot set ${name.replaceAll('/', '.')} to ${value}`, { cause: error });
  }
}

/** undefined if there is no such interface. */
function observeIndex(name: string): string | undefined {
  const path = `/sys/class/net/${name}/ifindex`;
  return existsSync(path) ? readFileSync(path, 'latin1').trim() : undefined;
}
