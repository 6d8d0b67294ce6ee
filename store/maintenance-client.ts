/** Asks the store that runs on a data directory, by its socket. Effects. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { withSocketPath } from './maintenance.ts';

/** The store that runs could not do what was asked; the message says why. */
export class MaintenanceError extends Error {
  override readonly name = 'MaintenanceError';
}

const noStore = new Set(['ENOENT', 'ECONNREFUSED']);

/** The answer's body; undefined: no store runs there. Throws MaintenanceError. */
export async function askStore(
  dataDir: string,
  method: 'GET' | 'POST',
  path: '/backup' | '/check' | '/rotate-key',
): Promise<IncomingMessage | undefined> {
  try {
    return await withSocketPath(dataDir, async (socketPath) => {
      const asked = request({ socketPath, method, path });
      asked.end();
      const [response] = (await once(asked, 'response')) as [IncomingMessage]; // as node:http documents the event
      response.setEncoding('utf8'); // a character may lie across two chunks
      if ((response.statusCode ?? 500) < 300) return response;
      const text = await textOf(response);
      throw new MaintenanceError(`the store that runs on ${dataDir} answers: ${text}`);
    });
  } catch (error) {
    if (error instanceof Error && 'code' in error && noStore.has(String(error.code))) return undefined;
    throw error;
  }
}

export async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response) text += String(part);
  return text;
}
