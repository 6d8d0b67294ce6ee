/** The HTTPS server: who may come in, what each request costs, and which part answers it. Effects only. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { Logger } from 'pino';
import { answerError } from './answers.ts';
import type { Api } from './api.ts';
import { addOpenPaths, createFixedPaths, type Health } from './fixed-paths.ts';
import type { RequestLabels, StoreMetrics } from './metrics.ts';
import type { Credentials } from './pki.ts';
import { parseResourcePath, type ResourcePath } from './request-path.ts';
import type { Query } from './requests.ts';
import type { ResourceKind } from './resources.ts';
import { badRequest, internalError, StatusError, tooLarge, unauthorized, unknownPath } from './status-error.ts';
import { streamSubresources } from './stream-names.ts';
import { ClientGoneError, isStreamUpgrade } from './streams/index.ts';
import { handleUpgrade, type UpgradeHandler } from './upgrade.ts';
import { decideVerb } from './verbs.ts';

/** The largest body of a request, as kube-apiserver limits it. */
const maxBodyBytes = 3 * 1024 * 1024;

/** Longer than clients keep an idle connection: a handshake costs more than a socket. */
const keepAliveTimeoutMs = 120_000;

export interface HttpDeps {
  readonly api: Api;
  readonly kinds: readonly ResourceKind[];
  readonly credentials: Credentials;
  readonly listen: { readonly host: string; readonly port: number };
  readonly metrics: StoreMetrics;
  readonly healthy: () => Health;
  readonly log: Logger;
}

export interface HttpServer {
  readonly url: string;
  /** Takes a renewed certificate for the connections to come. */
  renew(credentials: Credentials): void;
  close(): Promise<void>;
}

/** The address cannot be listened on. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** Listens. Throws ListenError. */
export async function startHttpServer(deps: HttpDeps): Promise<HttpServer> {
  const { credentials, listen } = deps;
  let address = '';
  const app = createApp(deps, () => address);
  const server = createServer(
    {
      cert: credentials.certificate,
      key: credentials.key,
      minVersion: 'TLSv1.2',
      // What asks for another protocol than those of streams is answered as if it had not.
      shouldUpgradeCallback: ({ headers }: IncomingMessage) => isStreamUpgrade(headers),
    },
    (request, response) => {
      // Express makes its own of both, and gives back what has no path that it can read.
      app(request as Request, response as Response, (error?: unknown) => {
        if (response.headersSent) response.destroy();
        else answerError(response, error === undefined ? badRequest('the path cannot be read') : toStatusError(error));
      });
    },
  );
  server.keepAliveTimeout = keepAliveTimeoutMs;
  const switched = new Set<Duplex>();
  const upgrades = createUpgradeHandler(deps);
  server.on('upgrade', (request, socket, head) => {
    switched.add(socket);
    socket.once('close', () => switched.delete(socket));
    void handleUpgrade(upgrades, request, socket, head);
  });
  await startListening(server, listen);
  // A server that listens on a TCP port has an address with a port.
  const { port } = server.address() as AddressInfo;
  const reachable = listen.host === '0.0.0.0' || listen.host === '::' ? 'localhost' : listen.host;
  address = `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
  return {
    url: `https://${address}`,
    renew: ({ certificate, key }) => server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2' }),
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      // Connections become idle as what they carried is answered; what takes longer than a moment is cut.
      const idle = setInterval(() => server.closeIdleConnections(), 10);
      const deadline = setTimeout(() => {
        server.closeAllConnections();
        for (const socket of switched) socket.destroy(); // the server has forgotten these
      }, 1_000);
      await closed;
      clearInterval(idle);
      clearTimeout(deadline);
    },
  };
}

async function startListening(server: Server, { host, port }: HttpDeps['listen']): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    const message = `the store cannot listen on ${host}:${port}: ${what}; stop what uses it, or choose another address`;
    throw new ListenError(message, { cause: error });
  }
}

function createApp(deps: HttpDeps, address: () => string): express.Express {
  const { api, kinds, credentials, metrics, healthy, log } = deps;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  app.use((request, response, next) => {
    measure(request, response, api, metrics);
    next();
  });
  addOpenPaths(app, healthy);
  const tokenDigest = digest(credentials.adminToken);
  app.use((request, _response, next) => {
    if (!isAuthorized(request.headers.authorization, tokenDigest)) throw unauthorized();
    next();
  });
  app.use(createFixedPaths(kinds, address));
  app.use(express.raw({ type: (request) => !isArchive(request.url ?? ''), limit: maxBodyBytes }));
  app.use(async (request, response) => {
    const path = parseResourcePath(request.path);
    if (path === undefined) throw unknownPath();
    const body: unknown = request.body;
    const { method, headers } = request;
    const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
    await api.serve(
      { method, path, query: queryOf(request.originalUrl), headers, body: bytes, incoming: request },
      response,
    );
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const status = toStatusError(error);
    if (status.code >= 500) log.error({ err: error, method: request.method, path: request.path }, 'request failed');
    if (response.headersSent) response.destroy();
    else answerError(response, status);
  });
  return app;
}

/** An archive is not read into memory, and may be of any size. */
function isArchive(url: string): boolean {
  return tryParsePath(url.split('?', 1)[0] ?? '')?.subresource === 'archive';
}

function createUpgradeHandler({ api, credentials, metrics, log }: HttpDeps): UpgradeHandler {
  const tokenDigest = digest(credentials.adminToken);
  return {
    serve: async (request, socket, head) => {
      if (!isAuthorized(request.headers.authorization, tokenDigest)) throw unauthorized();
      const url = request.url ?? '';
      const path = parseResourcePath(url.split('?', 1)[0] ?? '');
      if (path === undefined) throw unknownPath();
      const query = queryOf(url);
      const labels = labelsOf(request.method ?? '', url, api);
      const end = metrics.longRunning(labels);
      try {
        const onSwitched = (): void => metrics.requestDone(labels, 101, undefined);
        await api.upgrade(path, { request, socket, head, query, onSwitched });
      } finally {
        end();
      }
    },
    toStatusError: (error) => {
      if (error instanceof ClientGoneError) return undefined;
      const status = toStatusError(error);
      if (status.code >= 500) log.error({ err: error }, 'a stream could not be opened');
      return status;
    },
    answered: (request, code) => {
      metrics.requestDone(labelsOf(request.method ?? '', request.url ?? '', api), code, undefined);
    },
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Digests of equal length are compared in constant time, so that the time tells nothing of the token. */
function isAuthorized(header: string | undefined, tokenDigest: Buffer): boolean {
  const [scheme, token, ...rest] = (header ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || token === undefined || rest.length > 0) return false;
  return timingSafeEqual(digest(token), tokenDigest);
}

function queryOf(url: string): Query {
  const begin = url.indexOf('?');
  return new URLSearchParams(begin === -1 ? '' : url.slice(begin + 1));
}

/** Errors of reading the body carry a `type`. Source: README of raw-body. */
function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof URIError) return badRequest(`the path is not valid percent-encoding: ${error.message}`);
  const type = error instanceof Error && 'type' in error ? error.type : undefined;
  const what = error instanceof Error ? error.message : String(error);
  switch (type) {
    case 'entity.too.large':
      return tooLarge(`limit is ${maxBodyBytes}`);
    case 'encoding.unsupported':
      return new StatusError(415, 'UnsupportedMediaType', `${what}; send the body as it is, or with gzip`);
    case 'request.aborted':
    case 'request.size.invalid':
      return badRequest(what);
    default:
      break;
  }
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (status === 400) return badRequest(what);
  return internalError('the store has a fault; its log says more', { cause: error });
}

const knownSubresources = new Set(['status', ...streamSubresources]);

function measure(request: Request, response: Response, api: Api, metrics: StoreMetrics): void {
  const begun = performance.now();
  const labels = labelsOf(request.method, request.originalUrl, api);
  const isLong = labels.verb === 'WATCH' || labels.verb === 'CONNECT';
  const end = isLong ? metrics.longRunning(labels) : undefined;
  response.once('close', () => {
    end?.();
    const durationSeconds = isLong ? undefined : (performance.now() - begun) / 1000;
    metrics.requestDone(labels, response.statusCode, durationSeconds);
  });
}

/** Only what the store serves becomes a label: clients must not be able to make up series. */
function labelsOf(method: string, url: string, api: Api): RequestLabels {
  const path = tryParsePath(url.split('?', 1)[0] ?? '');
  const kind = path === undefined ? undefined : api.kindAt(path);
  if (path === undefined || kind === undefined) return { verb: 'OTHER', resource: 'other', subresource: '' };
  const subresource = path.subresource ?? '';
  const known = subresource === '' || knownSubresources.has(subresource) ? subresource : 'other';
  return { verb: decideVerb(method, path, queryOf(url)), resource: kind.plural, subresource: known };
}

function tryParsePath(path: string): ResourcePath | undefined {
  try {
    return parseResourcePath(path);
  } catch {
    return undefined; // a bad path is refused when it is routed
  }
}
