/**
 * Host ports: which mappings exclude each other (pure), and whether a program of the host holds one, which the kernel
 * tells when we bind to it for a moment.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { PortMapping } from './interface.ts';

/** Two mappings that cannot both be published. Pure. */
export function portsConflict(a: PortMapping, b: PortMapping): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  return a.hostIP === undefined || b.hostIP === undefined || a.hostIP === b.hostIP;
}

/** What binding to a port says: 'taken' by a program of the host, or 'no-address' for a hostIP that it lacks. */
export type PortState = 'free' | 'taken' | 'no-address';

function bind(port: number, hostIP: string | undefined, protocol: 'tcp' | 'udp'): Promise<number | PortState> {
  const host = hostIP ?? '0.0.0.0';
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException): void =>
      resolve(error.code === 'EADDRNOTAVAIL' ? 'no-address' : 'taken');
    if (protocol === 'udp') {
      const socket = createSocket({ type: 'udp4', reuseAddr: false });
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
    server.listen({ port, host, exclusive: true }, () => {
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

/** A port that the kernel finds free just now; undefined if it finds none. */
export async function findFreePort(port: Pick<PortMapping, 'hostIP' | 'protocol'>): Promise<number | undefined> {
  const bound = await bind(0, port.hostIP, port.protocol);
  return typeof bound === 'number' ? bound : undefined;
}
