/**
 * Ports and subnets for tests that run beside others. What the kernel gives out by itself (listen on port 0, every
 * outgoing connection) comes from its ephemeral range, so a port from there may be somebody else's before it is used;
 * these are below it, and drawn from so many that two suites do not meet.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Below the ephemeral range, whose default begins at 32768, and below what test/runtime/ports.test.ts looks through. */
const ports = { from: 10_000, to: 21_000 };

/** A TCP port on which nobody listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(ports.from, ports.to);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '0.0.0.0', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A /24 network that no interface of this host is in. */
export function freeSubnet(): string {
  const taken = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []);
  for (;;) {
    const prefix = `10.${randomInt(128, 251)}.${randomInt(0, 256)}.`;
    if (!taken.some((address) => address.startsWith(prefix))) return `${prefix}0/24`;
  }
}
