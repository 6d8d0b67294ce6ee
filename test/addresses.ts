/**
 * Ports and subnets for tests that run beside others. What the kernel gives out by itself (listen on port 0, every
 * outgoing connection) comes from its ephemeral range, so a port from there may be somebody else's before it is used;
 * these are below it. Another suite may draw the same one before we use it (once in 240 starts of a daemon), so each is held
 * for this process by a socket of an abstract name, which the kernel frees with the process. Source: unix(7).
 */
import { randomInt } from 'node:crypto';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Below the ephemeral range, whose default begins at 32768, and below what test/runtime/ports.test.ts looks through. */
const ports = { from: 10_000, to: 21_000 };

/** A TCP port on which nobody listens, and that no other suite gets while this process lives. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(ports.from, ports.to);
    if (!(await reserve(`port-${port}`))) continue;
    const server = createServer();
    if (!(await canListen(server, { port, host: '0.0.0.0' }))) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A /24 network that no interface of this host is in, and that no other suite gets while this process lives. */
export async function freeSubnet(): Promise<string> {
  for (;;) {
    const prefix = `10.${randomInt(128, 251)}.${randomInt(0, 256)}.`;
    if (!(await reserve(`subnet-${prefix}`))) continue;
    const taken = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []);
    if (!taken.some((address) => address.startsWith(prefix))) return `${prefix}0/24`;
  }
}

/** Whether it is ours now, and until this process ends. */
async function reserve(what: string): Promise<boolean> {
  const holder = createServer().unref();
  return await canListen(holder, { path: `\0holdfast-test-${what}` });
}

function canListen(server: Server, where: ListenOptions): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(where, () => resolve(true));
  });
}
