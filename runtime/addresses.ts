/** Subnets of the containers, IPv4 and IPv6. Pure. */
import { createHash } from 'node:crypto';
import { BlockList, isIPv4, isIPv6 } from 'node:net';

export interface Subnet {
  /** 10.76.0.0/16, fd12:3456:789a::/64 */
  readonly cidr: string;
  readonly prefixLength: number;
  /** Its first address: the bridge's own. */
  readonly gateway: string;
}

/** A container's addresses: IPv4 always, IPv6 where the host has it. */
export interface Addresses {
  readonly ip: string;
  readonly ip6?: string | undefined;
}

export function parseIPv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^[0-9]{1,3}$/.test(part) && Number(part) <= 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

function formatIPv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** Throws TypeError with what is wrong. */
export function parseSubnet(cidr: string): Subnet {
  const [addressText = '', prefixText = ''] = cidr.split('/', 2);
  const address = parseIPv4(addressText);
  const prefixLength = Number(prefixText);
  if (address === undefined || !/^[0-9]{1,2}$/.test(prefixText) || prefixLength < 8 || prefixLength > 29) {
    throw new TypeError(`"${cidr}" is not an IPv4 subnet for containers; write one like 10.76.0.0/16 (/8 to /29)`);
  }
  const size = 2 ** (32 - prefixLength);
  const network = Math.floor(address / size) * size;
  return { cidr: `${formatIPv4(network)}/${prefixLength}`, prefixLength, gateway: formatIPv4(network + 1) };
}

/** The shortest form of an IPv6 address, in which the kernel and the CNI plugins write it. */
function shorten(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

/** The 32 hexadecimal digits of an IPv6 address, as in /proc/net/if_inet6. */
export function ipv6Digits(address: string): string {
  const [head = '', tail] = shorten(address).split('::', 2);
  const groupsOf = (text: string | undefined): string[] => (text ? text.split(':') : []);
  const [front, back] = [groupsOf(head), groupsOf(tail)];
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0');
  return [...front, ...zeros, ...back].map((group) => group.padStart(4, '0')).join('');
}

function formatIPv6(address: bigint): string {
  const groups = address.toString(16).padStart(32, '0').match(/.{4}/g) ?? [];
  return shorten(groups.join(':'));
}

/** Throws TypeError with what is wrong. */
export function parseSubnet6(cidr: string): Subnet {
  const [addressText = '', prefixText = ''] = cidr.split('/', 2);
  const prefixLength = Number(prefixText);
  if (!isIPv6(addressText) || addressText.includes('%') || !/^[0-9]{1,3}$/.test(prefixText)) {
    throw new TypeError(`"${cidr}" is not an IPv6 subnet for containers; write one like fd00:76::/64`);
  }
  if (prefixLength < 8 || prefixLength > 120) {
    throw new TypeError(`"${cidr}" has a prefix of ${prefixLength} bits; containers need one of 8 to 120, such as /64`);
  }
  const size = 1n << BigInt(128 - prefixLength);
  const network = (BigInt(`0x${ipv6Digits(addressText)}`) / size) * size;
  return { cidr: `${formatIPv6(network)}/${prefixLength}`, prefixLength, gateway: formatIPv6(network + 1n) };
}

/**
 * A subnet of unique local addresses that is the same for one seed and another for another: 40 bits of it are a hash.
 * Source: RFC 4193, section 3.2.
 */
export function deriveSubnet6(seed: string): Subnet {
  const hex = createHash('sha256').update(`holdfast subnet6 ${seed}`).digest('hex').slice(0, 10);
  return parseSubnet6(`fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}::/64`);
}

export function isWithin({ cidr, prefixLength }: Subnet, address: string): boolean {
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  const [network = ''] = cidr.split('/');
  if (isIPv4(network) !== (family === 'ipv4')) return false;
  const list = new BlockList();
  list.addSubnet(network, prefixLength, family);
  return list.check(address, family);
}

/** One text for one address, in which nft and the kernel write it. */
export function canonicalAddress(address: string): string {
  return isIPv6(address) ? shorten(address) : address;
}

/** Every address of a family: what 0.0.0.0 and :: stand for. */
export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || (isIPv6(address) && /^0+$/.test(ipv6Digits(address)));
}
