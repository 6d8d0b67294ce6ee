/**
 * The host's side of the containers' network: bridge, nftables table, forwarding. Brings them to what they should be
 * at start, and again when somebody took them away. Effects; the rules' text is nft-rules.ts.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Subnet } from './addresses.ts';
import { runCommand, runSuccessfully } from './command.ts';
import { type ContainerID, RuntimeOperationError } from './interface.ts';
import { findFault, formatPortChange, formatTable, type PublishedPort, parseTable } from './nft-rules.ts';

export interface HostNetworkDeps {
  readonly bridge: string;
  readonly nftTable: string;
  readonly subnet: Subnet;
  /** Says on the bridge that it is ours. Throws InstanceConflictError if it is not. */
  markBridge(): void;
  /** Host ends of the containers' cables, to plug in again when the bridge was made anew. */
  hostInterfaces(): readonly string[];
  readonly log: Logger;
}

const deadlineMs = 10_000;

/** Two rules let traffic of the bridge pass where somebody (dockerd) set the FORWARD policy to DROP. */
export function forwardRules(bridge: string): readonly (readonly string[])[] {
  return [
    ['-i', bridge, '-j', 'ACCEPT'],
    ['-o', bridge, '-j', 'ACCEPT'],
  ];
}

export class HostNetwork {
  readonly #deps: HostNetworkDeps;
  readonly #published = new Map<ContainerID, readonly PublishedPort[]>();
  /** Changes to the table go one after the other: each is a transaction on what the last one left. */
  #nftQueue: Promise<void> = Promise.resolve();
  #waiting: { change: PortChange; resolve: () => void; reject: (error: unknown) => void }[] = [];

  constructor(deps: HostNetworkDeps) {
    this.#deps = deps;
  }

  /** Makes or mends bridge, forwarding and table. Cheap when nothing is amiss and `thorough` is not asked for. */
  async ensure(how: 'bridge' | 'thorough' | 'rebuild'): Promise<void> {
    const { bridge } = this.#deps;
    const hasBridge = existsSync(`/sys/class/net/${bridge}`);
    if (!hasBridge) await this.#makeBridge();
    else if (how !== 'bridge') this.#deps.markBridge();
    if (hasBridge && how === 'bridge') return;
    await writeSysctl('net/ipv4/ip_forward', '1');
    // Packets from the host's loopback to a published port leave by the bridge.
    await writeSysctl(`net/ipv4/conf/${bridge}/route_localnet`, '1');
    await this.#allowForwarding();
    if (how === 'rebuild') await this.rebuildTable();
    else await this.#inQueue(() => this.#mendTable());
  }

  /** A look that costs one short process (4 ms): whether the table is what it should be, and a missing bridge. */
  async mend(): Promise<void> {
    if (!existsSync(`/sys/class/net/${this.#deps.bridge}`)) await this.ensure('bridge');
    else await this.#inQueue(() => this.#mendTable());
  }

  async #mendTable(): Promise<void> {
    // A change that waits for its turn is known to us but not yet to the kernel; the next look compares.
    if (this.#waiting.length > 0) return;
    const { nftTable, log } = this.#deps;
    const wanted = [...this.#published.values()].flat();
    const listed = await runCommand('network', ['nft', '-j', 'list', 'table', 'ip', nftTable], { deadlineMs });
    const content = listed.code === 0 ? parseTable(listed.stdout) : undefined;
    // More than a command's output may hold: thousands of ports, and nothing to compare.
    if (listed.code === 0 && content === undefined) return;
    const fault = content === undefined ? 'the table is gone' : findFault(content, wanted);
    if (fault === undefined) return;
    log.warn({ table: nftTable, fault }, 'the nftables table was changed by somebody and is made again');
    await this.#applyWhole();
  }

  /** Replaces the whole table by what should be published. */
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
    const change: PortChange = {
      remove: waiting.flatMap((one) => one.change.remove),
      add: waiting.flatMap((one) => one.change.add),
    };
    try {
      try {
        await this.#nft(formatPortChange(this.#deps.nftTable, change));
      } catch (error) {
        // Somebody flushed the rules, or an element is not what we thought: the whole truth puts it right.
        this.#deps.log.warn({ err: error }, 'publishing ports failed; the table is made again');
        await this.#applyWhole();
      }
      for (const one of waiting) one.resolve();
    } catch (error) {
      for (const one of waiting) one.reject(error);
    }
  }

  #applyWhole(): Promise<void> {
    const { nftTable, bridge, subnet } = this.#deps;
    const ports = [...this.#published.values()].flat();
    return this.#nft(formatTable({ table: nftTable, bridge, subnet: subnet.cidr }, ports));
  }

  async #nft(text: string): Promise<void> {
    await runSuccessfully('publish', ['nft', '-f', '-'], { deadlineMs, input: text });
  }

  async #makeBridge(): Promise<void> {
    const { bridge, subnet, log } = this.#deps;
    const lines = [
      `link add name ${bridge} type bridge`,
      `addr add ${subnet.gateway}/${subnet.prefixLength} dev ${bridge}`,
      `link set dev ${bridge} up`,
    ];
    const made = await runCommand('network', ['ip', '-batch', '-'], { deadlineMs, input: lines.join('\n') });
    if (made.code !== 0 && !existsSync(`/sys/class/net/${bridge}`)) {
      throw new RuntimeOperationError('network', `the bridge ${bridge} cannot be made: ${made.stderr.trim()}`);
    }
    this.#deps.markBridge();
    const cables = this.#deps.hostInterfaces().filter((name) => existsSync(`/sys/class/net/${name}`));
    if (cables.length === 0) return;
    const plug = cables.flatMap((name) => [`link set dev ${name} master ${bridge}`, `link set dev ${name} up`]);
    const hairpin = cables.map((name) => `link set dev ${name} type bridge_slave hairpin on`);
    await runSuccessfully('network', ['ip', '-batch', '-'], { deadlineMs, input: [...plug, ...hairpin].join('\n') });
    log.warn({ bridge, containers: cables.length }, 'the bridge was gone and is made again');
  }

  async #allowForwarding(): Promise<void> {
    const policy = await runCommand('network', ['iptables', '-w', '5', '-S', 'FORWARD'], { deadlineMs }).catch(
      () => undefined, // no iptables: then nobody set a policy with it
    );
    if (policy === undefined || !policy.stdout.includes('-P FORWARD DROP')) return;
    for (const rule of forwardRules(this.#deps.bridge)) {
      if (policy.stdout.includes(`-A FORWARD ${rule.join(' ')}`)) continue;
      await runSuccessfully('network', ['iptables', '-w', '5', '-I', 'FORWARD', ...rule], { deadlineMs });
    }
  }
}

interface PortChange {
  readonly remove: readonly PublishedPort[];
  readonly add: readonly PublishedPort[];
}

async function writeSysctl(name: string, value: string): Promise<void> {
  const path = `/proc/sys/${name}`;
  try {
    if ((await readFile(path, 'utf8')).trim() === value) return;
    await writeFile(path, value);
  } catch (error) {
    throw new RuntimeOperationError('network', `cannot set ${name.replaceAll('/', '.')} to ${value}`, { cause: error });
  }
}
