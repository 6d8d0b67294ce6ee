/** IPv4 subnets as numbers. Pure. */

export interface Subnet {
  /** 10.76.0.0/16 */
  readonly cidr: string;
  readonly prefixLength: number;
  /** Its first address: the bridge's own. */
  readonly gateway: string;
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
