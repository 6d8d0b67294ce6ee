/**
 * Where the commands of this host reach a store that runs: a socket in the data directory, which is its owner's alone. Who
 * may open it may read the database itself, so nobody is asked for a token. HTTP; effects.
 */
import { once } from 'node:events';
import { closeSync, openSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { takeBackup } from './backup.ts';
import { checkStore, type Served } from './checkup.ts';
import type { DatabaseFile } from './database.ts';

export interface MaintenanceDeps {
  readonly dataDir: string;
  readonly database: DatabaseFile;
  readonly served: Served;
  /** The uid of the namespace kube-system. */
  readonly instance: () => string | undefined;
  /** A backup was read to its end. */
  readonly backedUp: (nowMs: number) => void;
  /** Seals with the present key what an earlier one has sealed. */
  readonly reseal: () => void;
  readonly now: () => number;
  readonly log: Logger;
}

export const maintenanceSocket = 'store.sock';

/** Listens. Throws what the system throws. */
export async function startMaintenance(deps: MaintenanceDeps): Promise<{ close(): void }> {
  const { log } = deps;
  const server = createServer((request, response) => {
    answer(deps, `${request.method} ${request.url}`, response).catch((error: unknown) => {
      log.warn({ err: error, request: request.url }, 'a command of this host could not be carried out');
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end(error instanceof Error ? error.message : String(error));
    });
  });
  await withSocketPath(deps.dataDir, async (path) => {
    rmSync(path, { force: true }); // of one that was killed: the database's lock says that it is gone
    const mask = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(mask);
    }
    await once(server, 'listening');
  });
  server.on('error', (error) => log.warn({ err: error }, 'a command of this host could not be let in'));
  server.unref();
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
      rmSync(join(deps.dataDir, maintenanceSocket), { force: true });
    },
  };
}

/** A socket's path has at most 107 bytes (unix(7)), and a data directory may have more: by way of its open folder it fits. */
export async function withSocketPath<T>(dataDir: string, use: (path: string) => Promise<T>): Promise<T> {
  const path = join(dataDir, maintenanceSocket);
  if (Buffer.byteLength(path) < 104) return use(path);
  const fd = openSync(dataDir, 'r');
  try {
    return await use(`/proc/self/fd/${fd}/${maintenanceSocket}`);
  } finally {
    closeSync(fd);
  }
}

async function answer(deps: MaintenanceDeps, asked: string, response: ServerResponse): Promise<void> {
  const { database, served, now } = deps;
  switch (asked) {
    case 'GET /backup': {
      const facts = { instance: deps.instance(), nowMs: now(), revision: served.revision };
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      for await (const lines of takeBackup(database, facts)) {
        if (gone.signal.aborted) return;
        // Gone: seen above.
        if (!response.write(lines)) await once(response, 'drain', { signal: gone.signal }).catch(() => undefined);
      }
      response.end();
      return deps.backedUp(facts.nowMs);
    }
    case 'GET /check': {
      const report = await checkStore(database, served);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(report));
      return;
    }
    case 'POST /rotate-key': {
      const id = database.rotateKey();
      deps.reseal();
      response.writeHead(200).end(id);
      return;
    }
    default:
      response.writeHead(404).end(`there is no ${asked}`);
  }
}
