/**
 * The nftables table of one bridge: published ports in two maps, masquerading, and a guard for the host's loopback.
 * Pure text. A map answers in one step however many ports there are, and changing it is one element.
 */
import type { PortMapping } from './interface.ts';

export interface PublishedPort extends PortMapping {
  /** Address of the container. */
  readonly ip: string;
}

export interface NftInput {
  readonly table: string;
  readonly bridge: string;
  readonly subnet: string;
}

function mapOf(port: PortMapping): 'published' | 'published_on' {
  return port.hostIP === undefined ? 'published' : 'published_on';
}

function keyOf(port: PortMapping): string {
  const key = `${port.protocol} . ${port.hostPort}`;
  return port.hostIP === undefined ? key : `${port.hostIP} . ${key}`;
}

function elements(table: string, verb: 'add' | 'delete', ports: readonly PublishedPort[]): string {
  return ports
    .map(
      (port) => `${verb} element ip ${table} ${mapOf(port)} { ${keyOf(port)} : ${port.ip} . ${port.containerPort} }\n`,
    )
    .join('');
}

/** One transaction: takes out and puts in elements. */
export function formatPortChange(
  table: string,
  change: { readonly remove: readonly PublishedPort[]; readonly add: readonly PublishedPort[] },
): string {
  return elements(table, 'delete', change.remove) + elements(table, 'add', change.add);
}

/** One transaction that replaces the whole table, whatever it was before, and holds these ports. */
export function formatTable({ table, bridge, subnet }: NftInput, ports: readonly PublishedPort[]): string {
  // Addresses of the host itself only: what passes through it is none of our business.
  const translate = [
    'fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @published_on',
    'fib daddr type local dnat ip to meta l4proto . th dport map @published',
  ].join('\n    ');
  return `add table ip ${table}
delete table ip ${table}
table ip ${table} {
  map published {
    type inet_proto . inet_service : ipv4_addr . inet_service
  }
  map published_on {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname "${bridge}" ip daddr 127.0.0.0/8 drop
    iifname "${bridge}" ip saddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ${translate}
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ${translate}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${subnet} oifname != "${bridge}" masquerade
    ip saddr 127.0.0.0/8 oifname "${bridge}" masquerade
    ip saddr ${subnet} oifname "${bridge}" ct status dnat masquerade
  }
}
${elements(table, 'add', ports)}`;
}

/** What is in a table: how many rules each chain has, and the published ports. */
export interface TableContent {
  readonly rules: ReadonlyMap<string, number>;
  readonly ports: readonly PublishedPort[];
}

/** Rules that formatTable puts into each chain. */
const rulesPerChain: Readonly<Record<string, number>> = { guard: 2, prerouting: 2, output: 2, postrouting: 3 };

/**
 * Reads `nft -j list table`, format of libnftables-json(5); undefined if it is not in that format (nft was cut short).
 * A chain counts only while it has its hook, and elements of a form that we never write are left out.
 */
export function parseTable(text: string): TableContent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const items = memberOf(value, 'nftables');
  if (!Array.isArray(items)) return undefined;
  const rules = new Map<string, number>();
  const ports: PublishedPort[] = [];
  for (const item of items) {
    const chain = memberOf(item, 'chain');
    const name = memberOf(chain, 'name');
    if (typeof name === 'string' && memberOf(chain, 'hook') !== undefined) rules.set(name, 0);
    const owner = memberOf(memberOf(item, 'rule'), 'chain');
    // Chains are listed before their rules.
    const count = typeof owner === 'string' ? rules.get(owner) : undefined;
    if (typeof owner === 'string' && count !== undefined) rules.set(owner, count + 1);
    const elements = memberOf(memberOf(item, 'map'), 'elem');
    if (Array.isArray(elements)) ports.push(...elements.flatMap((element) => parseElement(element) ?? []));
  }
  return { rules, ports };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function parseElement(element: unknown): PublishedPort | undefined {
  if (!Array.isArray(element)) return undefined;
  const [key, target] = element.map((side: unknown) => memberOf(side, 'concat'));
  if (!Array.isArray(key) || !Array.isArray(target)) return undefined;
  const [hostPort, protocol, hostIP] = key.toReversed();
  const [ip, containerPort] = target;
  if ((protocol !== 'tcp' && protocol !== 'udp') || typeof ip !== 'string') return undefined;
  if (typeof hostPort !== 'number' || typeof containerPort !== 'number') return undefined;
  return { protocol, hostPort, ip, containerPort, ...(typeof hostIP === 'string' ? { hostIP } : {}) };
}

/** Pure: what of the table is not as it should be, in words for the log; undefined when all is well. */
export function findFault(content: TableContent, wanted: readonly PublishedPort[]): string | undefined {
  for (const [chain, count] of Object.entries(rulesPerChain)) {
    const seen = content.rules.get(chain);
    if (seen !== count)
      return `the chain ${chain} ${seen === undefined ? 'is gone' : `has ${seen} rules, not ${count}`}`;
  }
  const textOf = (port: PublishedPort): string => `${keyOf(port)} to ${port.ip} port ${port.containerPort}`;
  const there = new Set(content.ports.map(textOf));
  const expected = new Set(wanted.map(textOf));
  const missing = [...expected].find((text) => !there.has(text));
  if (missing !== undefined) return `${missing} is missing`;
  const extra = [...there].find((text) => !expected.has(text));
  return extra === undefined ? undefined : `${extra} should not be there`;
}
