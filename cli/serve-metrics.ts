/** /metrics, /healthz and /readyz on an address of their own, without credentials. Effects. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { startListening } from '../store/index.ts';
import type { Address } from './config.ts';

export interface HealthDeps {
  readonly listen: Address;
  readonly registry: Registry;
  /** What is not ready yet, for people; empty when all is. */
  readonly unready: () => readonly string[];
  readonly log: Logger;
}

/** Throws ListenError. */
export async function serveMetrics({
  listen,
  registry,
  unready,
  log,
}: HealthDeps): Promise<{ readonly port: number; close(): Promise<void> }> {
  const app = express();
  app.disable('x-powered-by');
  app.get('/metrics', async (_request, response) => {
    response.type(registry.contentType).send(await registry.metrics());
  });
  app.get(['/healthz', '/livez'], (_request, response) => {
    response.type('text/plain').send('ok');
  });
  app.get('/readyz', (_request, response) => {
    const missing = unready();
    response
      .status(missing.length === 0 ? 200 : 503)
      .type('text/plain')
      .send(missing.length === 0 ? 'ok' : `not ready: ${missing.join(', ')}`);
  });
  const server = createServer(app);
  await startListening(server, listen);
  // Node tells so when a connection cannot be accepted, as for want of memory: the next one may be.
  server.on('error', (error) => log.warn({ err: error }, 'a connection for metrics could not be accepted'));
  // The server listens on TCP, so its address is an AddressInfo.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
