/** Addresses and blocks of addresses, as Kubernetes' library of CEL has them. Pure. Source: apiserver/pkg/cel/library. */
import { isIP } from 'node:net';

export class Ip {
  readonly family: 4 | 6;
  readonly value: bigint;

  constructor(family: 4 | 6, value: bigint) {
    this.family = family;
    this.value = value;
  }
}

export class Cidr {
  readonly address: Ip;
  readonly length: number;

  constructor(address: Ip, length: number) {
    this.address = address;
    this.length = length;
  }
}

/** undefined: no address, or one that Kubernetes does not take (zones, IPv4 within IPv6). */
export function parseIp(text: string): Ip | undefined {
  const family = isIP(text);
  if (family === 4) {
    return new Ip(
      4,
      text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n),
    );
  }
  if (family !== 6 || text.includes('%') || text.includes('.')) return undefined;
  const [head = '', tail] = text.split('::');
  const parts = (side: string): readonly string[] => (side === '' ? [] : side.split(':'));
  const before = parts(head);
  const after = tail === undefined ? [] : parts(tail);
  const zeros = tail === undefined ? [] : new Array<string>(8 - before.length - after.length).fill('0');
  return new Ip(
    6,
    [...before, ...zeros, ...after].reduce((sum, part) => (sum << 16n) | BigInt(`0x${part}`), 0n),
  );
}

export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length, ...more] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || length === undefined || more.length > 0 || !/^(0|[1-9]\d{0,2})$/u.test(length)) {
    return undefined;
  }
  return Number(length) > widthOf(ip) ? undefined : new Cidr(ip, Number(length));
}

function widthOf({ family }: Ip): number {
  return family === 4 ? 32 : 128;
}

function networkOf(ip: Ip, length: number): bigint {
  const rest = BigInt(widthOf(ip) - length);
  return (ip.value >> rest) << rest;
}

export function masked({ address, length }: Cidr): Cidr {
  return new Cidr(new Ip(address.family, networkOf(address, length)), length);
}

export function containsIp({ address, length }: Cidr, ip: Ip): boolean {
  return ip.family === address.family && networkOf(ip, length) === networkOf(address, length);
}

export function containsCidr(outer: Cidr, inner: Cidr): boolean {
  return inner.length >= outer.length && containsIp(outer, inner.address);
}

/** As Go writes it: the longest run of zeros of an IPv6 address left out. */
export function formatIp({ family, value }: Ip): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const parts = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(16 * (7 - index))) & 0xffffn).toString(16));
  const runs = [...parts.join(':').matchAll(/(?<![0-9a-f])0(:0)+(?![0-9a-f])/gu)];
  const longest = runs.reduce<RegExpExecArray | undefined>(
    (best, run) => (best === undefined || run[0].length > best[0].length ? run : best),
    undefined,
  );
  const text = parts.join(':');
  if (longest === undefined) return text;
  const before = text.slice(0, longest.index).replace(/:$/u, '');
  const after = text.slice(longest.index + longest[0].length).replace(/^:/u, '');
  return `${before}::${after}`;
}

export function formatCidr({ address, length }: Cidr): string {
  return `${formatIp(address)}/${length}`;
}

const linkLocal6 = new Cidr(new Ip(6, 0xfe80n << 112n), 10);

export const ipTests: Readonly<Record<string, (ip: Ip) => boolean>> = {
  isUnspecified: ({ value }) => value === 0n,
  isLoopback: ({ family, value }) => (family === 4 ? value >> 24n === 127n : value === 1n),
  isLinkLocalMulticast: ({ family, value }) =>
    family === 4 ? value >> 8n === 0xe00000n : ((value >> 112n) & 0xff0fn) === 0xff02n,
  isLinkLocalUnicast: (ip) => (ip.family === 4 ? ip.value >> 16n === 0xa9fen : containsIp(linkLocal6, ip)),
  isGlobalUnicast: (ip) => {
    const isMulticast = ip.family === 4 ? ip.value >> 28n === 0xen : ip.value >> 120n === 0xffn;
    const isBroadcast = ip.family === 4 && ip.value === 0xffffffffn;
    const isLinkLocal = ip.family === 4 ? ip.value >> 16n === 0xa9fen : containsIp(linkLocal6, ip);
    const isLoopback = ip.family === 4 ? ip.value >> 24n === 127n : ip.value === 1n;
    return ip.value !== 0n && !isMulticast && !isBroadcast && !isLinkLocal && !isLoopback;
  },
};
