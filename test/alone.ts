/**
 * What two suites must not do at the same time, though each runs in a process of its own. The lock is a socket in the
 * abstract namespace: the kernel lets one have it, and takes it back from a process that ends.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

const root = import.meta.dirname;

/** Runs the work while no other process of this checkout runs one of the same name. */
export async function alone<T>(name: string, work: () => Promise<T>): Promise<T> {
  const digest = createHash('sha256').update(`${root}\0${name}`).digest('hex');
  const path = `\0holdfast-test-${digest}`;
  for (;;) {
    const server = createServer((socket) => socket.destroy());
    const isMine = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') resolve(false);
        else reject(error);
      });
      server.listen(path, () => resolve(true));
    });
    if (!isMine) {
      await wait(100);
      continue;
    }
    try {
      return await work();
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }
}
