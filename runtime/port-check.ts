/**
 * Host ports: which mappings exclude each other (pure), and whether a program of the host holds one, which the kernel
 * tells when we bind to it for a moment.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import { canonicalAddress, isUnspecified } from './addresses.ts';
import type { PortMapping } from './interface.ts';

/** Two mappings that cannot both be published. Pure. */
export function portsConflict(a: PortMapping, b: PortMapping): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  const [one, other] = [a.hostIP, b.hostIP];
  if (one === undefined || other === undefined) return true;
  if (isIPv6(one) !== isIPv6(other)) return false;
  return canonicalAddress(one) === canonicalAddress(other) || isUnspecified(one) || isUnspecified(other);
}

/** What binding to a port says: 'taken' by a program of the host, or 'no-address' for a hostIP that it lacks. */
export type PortState = 'free' | 'taken' | 'no-address';

interface Where {
  readonly host: string;
  readonly isIPv6Only: boolean;
}

/** A wildcard of both families takes what either has; a host without IPv6 refuses it, and is asked for IPv4 alone. */
async function bind(port: number, hostIP: string | undefined, protocol: 'tcp' | 'udp'): Promise<number | PortState> {
  if (hostIP !== undefined) return await bindAt(port, { host: hostIP, isIPv6Only: isIPv6(hostIP) }, protocol);
  const both = await bindAt(port, { host: '::', isIPv6Only: false }, protocol);
  return both === 'no-address' ? await bindAt(port, { host: '0.0.0.0', isIPv6Only: false }, protocol) : both;
}

const noAddress = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);

function bindAt(port: number, { host, isIPv6Only }: Where, protocol: 'tcp' | 'udp'): Promise<number | PortState> {
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException): void =>
      resolve(noAddress.has(error.code ?? '') ? 'no-address' : 'taken');
    if (protocol === 'udp') {
      const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', ipv6Only: isIPv6Only, reuseAddr: false });
      socket.once('error', (error) => {
        socket.close();
        onError(error);
      });
      socket.bind({ port, address: host, exclusive: true }, () => {
        const bound = socket.address().port;
        socket.close(() => resolve(bound));
      });
      return;
    }
    const server = createServer();
    server.once('error', onError);
    server.listen({ port, host, ipv6Only: isIPv6Only, exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}

/** Whether a program of the host holds the port. */
export async function observePort(port: PortMapping): Promise<PortState> {
  const bound = await bind(port.hostPort, port.hostIP, port.protocol);
  return typeof bound === 'number' ? 'free' : bound;
}

/**
 * Where free ports are looked for: where Kubernetes has its node ports, below what the kernel gives out by itself. Nobody
 * listens on a published port, so the kernel would take one of its own for free and give it to a program of the host,
 * whose clients would then reach the container. Source: ip(7), ip_local_port_range, which begins at 32768.
 */
const freePorts = { first: 30_000, last: 32_767 };
const drawnPorts = 64;

/** A port that nobody has just now; undefined if none is found. */
export async function findFreePort(port: Pick<PortMapping, 'hostIP' | 'protocol'>): Promise<number | undefined> {
  for (let drawn = 0; drawn < drawnPorts; drawn += 1) {
    const bound = await bind(randomInt(freePorts.first, freePorts.last + 1), port.hostIP, port.protocol);
    if (typeof bound === 'number') return bound;
    if (bound === 'no-address') return undefined;
  }
  const bound = await bind(0, port.hostIP, port.protocol);
  return typeof bound === 'number' ? bound : undefined;
}
