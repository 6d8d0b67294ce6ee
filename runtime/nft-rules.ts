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
