/**
 * The nftables tables of one bridge, one for IPv4 and one for IPv6: published ports in two maps, masquerading, and a
 * guard for the host's loopback. Pure text. A map answers in one step however many ports there are, and changing it is
 * one element.
 */
import { canonicalAddress, isUnspecified } from './addresses.ts';
import type { PortMapping } from './interface.ts';

export interface PublishedPort extends PortMapping {
  /** Address of the container; its family is that of the table. */
  readonly ip: string;
}

export type Family = 'ip' | 'ip6';

export interface NftInput {
  readonly family: Family;
  readonly table: string;
  readonly bridge: string;
  readonly subnet: string;
}

export function familyOf({ ip }: Pick<PublishedPort, 'ip'>): Family {
  return ip.includes(':') ? 'ip6' : 'ip';
}

function keyOf(port: PortMapping): { readonly map: 'published' | 'published_on'; readonly key: string } {
  const key = `${port.protocol} . ${port.hostPort}`;
  const isEverywhere = port.hostIP === undefined || isUnspecified(port.hostIP);
  return isEverywhere
    ? { map: 'published', key }
    : { map: 'published_on', key: `${canonicalAddress(port.hostIP ?? '')} . ${key}` };
}

function elements(table: string, verb: 'add' | 'delete', ports: readonly PublishedPort[]): string {
  return ports
    .map((port) => {
      const { map, key } = keyOf(port);
      return `${verb} element ${familyOf(port)} ${table} ${map} { ${key} : ${port.ip} . ${port.containerPort} }\n`;
    })
    .join('');
}

/** One transaction: takes out and puts in elements. */
export function formatPortChange(
  table: string,
  change: { readonly remove: readonly PublishedPort[]; readonly add: readonly PublishedPort[] },
): string {
  return elements(table, 'delete', change.remove) + elements(table, 'add', change.add);
}

/**
 * Rules of each chain. Only what is for the host itself is translated: what passes through it is none of our business.
 * The kernel sends nothing from ::1 to another interface, so a port is not published there: a client is refused at once
 * and tries 127.0.0.1.
 */
function chainsOf({ family, bridge, subnet }: NftInput): Readonly<Record<string, readonly string[]>> {
  const local = family === 'ip' ? 'fib daddr type local' : 'fib daddr type local ip6 daddr != ::1';
  const translate = [
    `${local} dnat ${family} to ${family} daddr . meta l4proto . th dport map @published_on`,
    `${local} dnat ${family} to meta l4proto . th dport map @published`,
  ];
  return {
    ...(family === 'ip6'
      ? {}
      : {
          guard: [
            'type filter hook prerouting priority raw; policy accept;',
            `iifname "${bridge}" ip daddr 127.0.0.0/8 drop`,
            `iifname "${bridge}" ip saddr 127.0.0.0/8 drop`,
          ],
        }),
    prerouting: ['type nat hook prerouting priority dstnat; policy accept;', ...translate],
    output: ['type nat hook output priority -100; policy accept;', ...translate],
    postrouting: [
      'type nat hook postrouting priority srcnat; policy accept;',
      `${family} saddr ${subnet} oifname != "${bridge}" masquerade`,
      ...(family === 'ip6' ? [] : [`ip saddr 127.0.0.0/8 oifname "${bridge}" masquerade`]),
      `${family} saddr ${subnet} oifname "${bridge}" ct status dnat masquerade`,
    ],
  };
}

/** One transaction that replaces the whole table, whatever it was before, and holds these ports (of its family). */
export function formatTable(input: NftInput, ports: readonly PublishedPort[]): string {
  const { family, table } = input;
  const address = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr';
  const chains = Object.entries(chainsOf(input)).map(
    ([name, lines]) => `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`,
  );
  return `add table ${family} ${table}
delete table ${family} ${table}
table ${family} ${table} {
  map published {
    type inet_proto . inet_service : ${address} . inet_service
  }
  map published_on {
    type ${address} . inet_proto . inet_service : ${address} . inet_service
  }
${chains.join('')}}
${elements(
  table,
  'add',
  ports.filter((port) => familyOf(port) === family),
)}`;
}

/** What is in a table: how many rules each chain has, and the published ports. */
export interface TableContent {
  readonly rules: ReadonlyMap<string, number>;
  readonly ports: readonly PublishedPort[];
}

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
    ports.push(...elementsOf(memberOf(item, 'map')));
  }
  return { rules, ports };
}

function elementsOf(map: unknown): PublishedPort[] {
  const elements = memberOf(map, 'elem');
  return Array.isArray(elements) ? elements.flatMap((element) => parseElement(element) ?? []) : [];
}

/**
 * Ports that the tables of other instances publish, from `nft -j list maps`, with each one's table. Pure.
 * `ownTable`: whose ports do not count.
 */
export function parseForeignPorts(text: string, ownTable: string): { table: string; port: PublishedPort }[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return []; // cut short: thousands of ports, and nothing to compare
  }
  const items = memberOf(value, 'nftables');
  if (!Array.isArray(items)) return [];
  return items.flatMap((item) => {
    const map = memberOf(item, 'map');
    const table = memberOf(map, 'table');
    if (typeof table !== 'string' || !table.startsWith('holdfast_') || table === ownTable) return [];
    return elementsOf(map).map((port) => ({ table, port }));
  });
}

/** Pure: whether `nft -j list tables` names a table. */
export function hasTable(text: string, family: Family, name: string): boolean {
  try {
    const items = memberOf(JSON.parse(text), 'nftables');
    if (!Array.isArray(items)) return false;
    const tables = items.map((item: unknown) => memberOf(item, 'table'));
    return tables.some((table) => memberOf(table, 'family') === family && memberOf(table, 'name') === name);
  } catch {
    return false; // it printed nothing: there is no table at all
  }
}

/**
 * Ports that rules of iptables' nat table lead elsewhere, as dockerd, podman and the CNI plugin portmap make them, from
 * `iptables -t nat -S`, with each one's chain. Pure.
 */
export function parseNatRules(text: string): { chain: string; port: PortMapping }[] {
  return text.split('\n').flatMap((line) => {
    const wordAfter = (flag: string): string | undefined => new RegExp(`(?:^| )${flag} (\\S+)`).exec(line)?.[1];
    const [chain, protocol, hostPort] = [wordAfter('-A'), wordAfter('-p'), wordAfter('--dport')];
    if (!line.includes(' -j DNAT') || chain === undefined || hostPort === undefined) return [];
    if (protocol !== 'tcp' && protocol !== 'udp') return [];
    const hostIP = wordAfter('-d')?.replace(/\/(32|128)$/, '');
    return [{ chain, port: { protocol, hostPort: Number(hostPort), containerPort: Number(hostPort), hostIP } }];
  });
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
export function findFault(
  content: TableContent,
  input: NftInput,
  published: readonly PublishedPort[],
): string | undefined {
  for (const [chain, lines] of Object.entries(chainsOf(input))) {
    const seen = content.rules.get(chain);
    // The first line is the hook.
    const count = lines.length - 1;
    if (seen !== count)
      return `the chain ${chain} ${seen === undefined ? 'is gone' : `has ${seen} rules, not ${count}`}`;
  }
  const textOf = (port: PublishedPort): string => `${keyOf(port).key} to ${port.ip} port ${port.containerPort}`;
  const there = new Set(content.ports.map(textOf));
  const expected = new Set(published.filter((port) => familyOf(port) === input.family).map(textOf));
  const missing = [...expected].find((text) => !there.has(text));
  if (missing !== undefined) return `${missing} is missing`;
  const extra = [...there].find((text) => !expected.has(text));
  return extra === undefined ? undefined : `${extra} should not be there`;
}
