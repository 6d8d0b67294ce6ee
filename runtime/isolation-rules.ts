/**
 * Keeps containers of different networks apart that are all on one bridge: nftables tables of the bridge family and of
 * inet. Pure text. What counts is the port of the bridge by which a packet comes and goes, and no address that a container may
 * invent; and nobody can take the address of a container that is on a network.
 */
import type { Subnet } from './addresses.ts';
import type { NetworkMembership } from './interface.ts';

/** A container that is on other networks than the default one, or on further ones, or on none. */
export interface Member {
  /** Host end of its cable. */
  readonly hostInterface: string;
  readonly ip: string;
  readonly ip6?: string | undefined;
  /** Of its own end; undefined: not known. */
  readonly mac?: string | undefined;
  readonly networks: readonly NetworkMembership[];
}

export interface IsolationInput {
  readonly bridge: string;
  readonly table: string;
  readonly subnet: Subnet;
  readonly subnet6: Subnet | undefined;
}

/** Of containers that are given no networks: they reach each other, and nobody else reaches them. */
export const defaultNetwork: NetworkMembership = { name: 'default', isInternal: false };

export function isOnDefault(networks: readonly NetworkMembership[]): boolean {
  return networks.some(({ name }) => name === defaultNetwork.name);
}

/** Whether it has no way out, and nobody outside of its networks a way in: all of its networks are internal, or there are none. */
export function hasNoWayOut(networks: readonly NetworkMembership[] | undefined): boolean {
  return networks?.every(({ isInternal }) => isInternal) === true;
}

function formatSet(name: string, type: string, elements: readonly string[]): string {
  const content = elements.length === 0 ? '' : `\n    elements = { ${[...new Set(elements)].join(', ')} }`;
  return `  set ${name} {\n    type ${type}${content}\n  }\n`;
}

function formatChain(name: string, lines: readonly string[]): string {
  return `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
}

/** One transaction that replaces both tables, whatever they were before; without members there are none. */
export function formatIsolation(input: IsolationInput, members: readonly Member[]): string {
  const tables: readonly (readonly [family: string, content: string])[] = [
    ['bridge', formatContent(input, members)],
    ['inet', formatMarking(input)],
  ];
  return tables
    .map(([family, content]) => {
      const table = `table ${family} ${input.table}`;
      const clear = `add ${table}\ndelete ${table}\n`;
      return members.length === 0 ? clear : `${clear}${table} {\n${content}}\n`;
    })
    .join('');
}

/** What asks for these tables. */
export function formatListing({ table }: Pick<IsolationInput, 'table'>): string {
  return `list table bridge ${table}\nlist table inet ${table}\n`;
}

/** A bit of the packet's mark, from here to the bridge a few steps on. */
const publishedBit = 0x200000;
const hasBit = `meta mark & ${publishedBit} == ${publishedBit}`;
const clearBit = `meta mark set meta mark & ${(~publishedBit >>> 0).toString()}`;

/**
 * A container may ask for a published port of one that it is kept apart from. Where the kernel has its bridges ask
 * iptables (net.bridge.bridge-nf-call-iptables, which dockerd and kubelet switch on) such a packet is led to its target
 * within the bridge, which cannot tell it from others: so it is marked where that is known. No mark comes out of a
 * container, since a packet loses it on its way to another network namespace.
 */
function formatMarking({ bridge }: IsolationInput): string {
  return formatChain('forward', [
    'type filter hook forward priority 300; policy accept;',
    `iifname "${bridge}" oifname "${bridge}" ct status dnat meta mark set meta mark | ${publishedBit}`,
  ]);
}

function formatContent({ subnet, subnet6 }: IsolationInput, members: readonly Member[]): string {
  const cable = ({ hostInterface }: Member): string => `"${hostInterface}"`;
  const apart = members.filter(({ networks }) => !isOnDefault(networks));
  const groups = new Map<string, string[]>();
  for (const member of members)
    for (const { name } of member.networks)
      if (name !== defaultNetwork.name) groups.set(name, [...(groups.get(name) ?? []), cable(member)]);
  const cables = [...groups.values()];
  const pairs = (addressOf: (member: Member) => string | undefined, of: readonly Member[]): string[] =>
    of.flatMap((member) => {
      const address = addressOf(member);
      return address === undefined ? [] : [`${cable(member)} . ${address}`];
    });
  const singles = (addressOf: (member: Member) => string | undefined, of: readonly Member[]): string[] =>
    of.flatMap((member) => addressOf(member) ?? []);
  const [ip, ip6, mac] = [
    (member: Member) => member.ip,
    (member: Member) => member.ip6,
    (member: Member) => member.mac,
  ];
  const others = `ip daddr ${subnet.cidr} ip daddr != ${subnet.gateway}`;
  const others6 = subnet6 === undefined ? undefined : `ip6 daddr ${subnet6.cidr} ip6 daddr != ${subnet6.gateway}`;
  return [
    formatSet('apart', 'ifname', apart.map(cable)),
    formatSet('shut', 'ifname', members.filter(({ networks }) => hasNoWayOut(networks)).map(cable)),
    formatSet('ip_of', 'ifname . ipv4_addr', pairs(ip, members)),
    formatSet('ip6_of', 'ifname . ipv6_addr', pairs(ip6, members)),
    formatSet('mac_of', 'ifname . ether_addr', pairs(mac, members)),
    formatSet('ips', 'ipv4_addr', singles(ip, members)),
    formatSet('ip6s', 'ipv6_addr', singles(ip6, members)),
    formatSet('macs', 'ether_addr', singles(mac, members)),
    formatSet('apart_ips', 'ipv4_addr', singles(ip, apart)),
    formatSet('apart_ip6s', 'ipv6_addr', singles(ip6, apart)),
    ...cables.map((elements, index) => formatSet(`network_${index}`, 'ifname', elements)),
    // Before the addresses of others are learnt.
    formatChain('prerouting', [
      'type filter hook prerouting priority -300; policy accept;',
      'ether saddr @macs iifname . ether saddr != @mac_of drop',
      'ip saddr @ips iifname . ip saddr != @ip_of drop',
      'arp saddr ip @ips iifname . arp saddr ip != @ip_of drop',
      'ip6 saddr @ip6s iifname . ip6 saddr != @ip6_of drop',
      'iifname @apart ether type arp iifname . arp saddr ip != @ip_of drop',
      'iifname @apart ether type ip iifname . ip saddr != @ip_of drop',
      'iifname @apart ip6 saddr != { ::, fe80::/10 } iifname . ip6 saddr != @ip6_of drop',
    ]),
    formatChain('forward', [
      // After iptables was asked.
      'type filter hook forward priority 10; policy accept;',
      `${hasBit} ${clearBit} accept`,
      ...cables.map((_, index) => `iifname @network_${index} oifname @network_${index} accept`),
      'iifname @apart drop',
      'oifname @apart drop',
    ]),
    formatChain('postrouting', ['type filter hook postrouting priority -300; policy accept;', `${hasBit} ${clearBit}`]),
    // What the host would hand on: to a container by its router's back, and to the world.
    formatChain('input', [
      'type filter hook input priority filter; policy accept;',
      'ip daddr @apart_ips drop',
      'ip6 daddr @apart_ip6s drop',
      `iifname @apart ${others} drop`,
      ...(others6 === undefined ? [] : [`iifname @apart ${others6} drop`]),
      `iifname @shut ether type ip ip daddr != ${subnet.gateway} drop`,
      `iifname @shut ip6 daddr != { ${subnet6 === undefined ? '' : `${subnet6.gateway}, `}fe80::/10, ff02::/16 } drop`,
    ]),
  ].join('');
}

/** What a listing of the table says, in any order: the kernel keeps its own. */
export function normalizeListing(text: string): string {
  return text
    .split(/[\s,{}]+/)
    .sort()
    .join(' ');
}
