/** The address under which this host is known to others. Effects: reads the kernel's routes, sends nothing. */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';

/** Documentation addresses (RFC 5737, RFC 3849): routed as any far one, and never answered. */
const farAway = { udp4: '192.0.2.1', udp6: '2001:db8::1' } as const;

/** The source address of the default route, IPv4 before IPv6; without a route the first address that is not loopback. */
export async function observeHostIP(): Promise<string> {
  return (
    (await sourceAddress('udp4')) ??
    (await sourceAddress('udp6')) ??
    Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ internal }) => !internal)?.address ??
    '127.0.0.1'
  );
}

async function sourceAddress(family: 'udp4' | 'udp6'): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const socket = createSocket(family);
    const end = (address: string | undefined): void => {
      socket.removeAllListeners();
      socket.on('error', () => {}); // It has answered already.
      socket.close();
      resolve(address);
    };
    socket.once('error', () => end(undefined)); // No route of this family.
    socket.connect(9, farAway[family], () => end(socket.address().address));
  });
}
