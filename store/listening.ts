/** Has a server listen, and tells what is in the way as a user can mend it. Effects. */
import { once } from 'node:events';
import type { Server } from 'node:net';

/** Somebody else has the address, or it is none of this host's. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** Resolves when it listens. `port`: 0 for any that is free. Throws ListenError. */
export async function startListening(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    const message = `holdfast cannot listen on ${host}:${port}: ${what}; stop what uses it, or choose another address`;
    throw new ListenError(message, { cause: error });
  }
}
