/** The HTTPS server: who may come in, what each request costs, and which part answers it. Effects only. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { Logger } from 'pino';
import { negotiateErrorEncoding } from './accept.ts';
import { answerError } from './answers.ts';
import type { Api } from './api.ts';
import type { Door } from './door.ts';
import { addOpenPaths, createFixedPaths, type Health } from './fixed-paths.ts';
import { startListener } from './https-listener.ts';
import type { Kinds } from './kinds.ts';
import type { RequestLabels, StoreMetrics } from './metrics.ts';
import type { Credentials } from './pki.ts';
import { maxBodyBytes, toStatusError } from './request-errors.ts';
import { parseGet, parseResourcePath, type ResourcePath } from './request-path.ts';
import { parseQuery, type Query } from './requests.ts';
import { badRequest, unknownPath } from './status-error.ts';
import { streamSubresources } from './stream-names.ts';
import { ClientGoneError } from './streams/index.ts';
import type { UpgradeHandler } from './upgrade.ts';
import { decideVerb } from './verbs.ts';

export interface HttpDeps {
  readonly api: Api;
  readonly door: Door;
  readonly kinds: Kinds;
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

/** Listens. Throws ListenError. */
export async function startHttpServer(deps: HttpDeps): Promise<HttpServer> {
  const { listen } = deps;
  const asListened = (given: Credentials) => ({ ...given, clientCa: given.caCertificate });
  let address = '';
  const app = createApp(deps, () => address);
  const serveResource = createResourceHandler(deps);
  const listener = await startListener({
    credentials: asListened(deps.credentials),
    listen,
    handle: (request, response) => {
      const asked = readUrl(request.method, request.url);
      measure(request, response, asked, deps);
      const { path } = asked;
      if (path !== undefined) return serveResource(request, response, { ...asked, path });
      // Express makes its own of both, and gives back what has no path that it can read.
      app(request as Request, response as Response, (error?: unknown) => {
        if (response.headersSent) response.destroy();
        else answerError(response, error === undefined ? badRequest('the path cannot be read') : toStatusError(error));
      });
    },
    upgrades: createUpgradeHandler(deps),
    log: deps.log,
  });
  address = listener.address;
  return { url: `https://${address}`, renew: (renewed) => listener.renew(asListened(renewed)), close: listener.close };
}

/** What a request's URL says; read once, since everything that follows needs it. */
interface Asked {
  readonly pathname: string;
  /** undefined: the path names no resource, or cannot be read. */
  readonly path: ResourcePath | undefined;
  readonly query: Query;
}

type AskedResource = Asked & { readonly path: ResourcePath };

function readUrl(method: string | undefined, url = ''): Asked {
  const pathname = url.split('?', 1)[0] ?? '';
  const query = parseQuery(url);
  if (method !== 'GET') return { pathname, path: tryParsePath(pathname), query };
  try {
    return { pathname, ...parseGet(pathname, query) };
  } catch {
    return { pathname, path: undefined, query }; // a bad path is refused when it is routed
  }
}

/**
 * Resources do not go through express: matching its routes costs a tenth of what a whole request does (measured 2026-11).
 * Its body parser is used as it is.
 */
function createResourceHandler({ api, door, log }: HttpDeps) {
  const parseBody = express.raw({ type: () => true, limit: maxBodyBytes });
  /** undefined: it did not come in time, which was answered. */
  const readBody = (request: IncomingMessage, response: ServerResponse): Promise<Buffer | undefined> =>
    new Promise((resolve, reject) => {
      const arrived = door.expectBody((error) => {
        response.setHeader('Connection', 'close');
        answerError(response, error);
        response.once('close', () => request.destroy()); // the rest of it is not waited for
      });
      response.once('close', arrived);
      const parsed: IncomingMessage & { body?: unknown } = request;
      parseBody(request as Request, response as Response, (error?: unknown) => {
        arrived();
        if (response.headersSent) resolve(undefined);
        else if (error !== undefined) reject(error);
        else resolve(Buffer.isBuffer(parsed.body) ? parsed.body : noBody);
      });
    });
  const serve = async (request: IncomingMessage, response: ServerResponse, asked: AskedResource): Promise<void> => {
    const { path, query } = asked;
    const { method = '', headers } = request;
    const load = isLong(decideVerb(method, path, query)) ? 'long' : 'short';
    const caller = door.enter(request, response, { ...asked, load });
    // An archive is not read into memory, and may be of any size.
    const isRead = hasBody(headers) && path.subresource !== 'archive';
    const body = isRead ? await readBody(request, response) : noBody;
    if (body === undefined) return;
    if (isRead) caller.recheck();
    await api.serve({ method, path, query, headers, body, incoming: request, caller }, response);
  };
  return (request: IncomingMessage, response: ServerResponse, asked: AskedResource): void => {
    serve(request, response, asked).catch((error: unknown) => answerFailure(error, request, response, log));
  };
}

const noBody = Buffer.alloc(0);

/** Source: RFC 9112, section 6.3. */
function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

function answerFailure(error: unknown, request: IncomingMessage, response: ServerResponse, log: Logger): void {
  const { method, url, headers } = request;
  const status = toStatusError(error);
  if (status.code >= 500) log.error({ err: error, method, path: url?.split('?', 1)[0] }, 'request failed');
  if (response.headersSent) response.destroy();
  else answerError(response, status, negotiateErrorEncoding(headers.accept));
}

/** What is no resource. */
function createApp(deps: HttpDeps, address: () => string): express.Express {
  const { kinds, door, healthy, log } = deps;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  addOpenPaths(app, healthy);
  app.use((request, response, next) => {
    // Throws for a path that cannot be read.
    const path = parseResourcePath(request.path);
    const query = parseQuery(request.originalUrl);
    door.enter(request, response, { pathname: request.path, path, query, load: 'short' });
    next();
  });
  app.use(createFixedPaths(kinds, address));
  app.use(() => {
    throw unknownPath();
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    answerFailure(error, request, response, log);
  });
  return app;
}

function isLong(verb: RequestLabels['verb']): boolean {
  return verb === 'WATCH' || verb === 'CONNECT';
}

function createUpgradeHandler({ api, door, metrics, log }: HttpDeps): UpgradeHandler {
  return {
    serve: async (request, socket, head) => {
      const asked = readUrl(request.method, request.url);
      const { pathname, query } = asked;
      const path = parseResourcePath(pathname);
      const leave = door.enterUpgrade(request, { pathname, path, query, load: 'long' });
      const labels = labelsOf(request.method ?? '', asked, api);
      const end = metrics.longRunning(labels);
      try {
        if (path === undefined) throw unknownPath();
        const onSwitched = (): void => {
          metrics.requestDone(labels, 101, undefined);
          door.answeredUpgrade(request, 101);
        };
        await api.upgrade(path, { request, socket, head, query, onSwitched });
      } finally {
        end();
        leave();
      }
    },
    toStatusError: (error) => {
      if (error instanceof ClientGoneError) return undefined;
      const status = toStatusError(error);
      if (status.code >= 500) log.error({ err: error }, 'a stream could not be opened');
      return status;
    },
    answered: (request, code) => {
      door.answeredUpgrade(request, code);
      metrics.requestDone(labelsOf(request.method ?? '', readUrl(request.method, request.url), api), code, undefined);
    },
  };
}

const knownSubresources = new Set(['status', 'scale', ...streamSubresources]);

function measure(
  request: IncomingMessage,
  response: ServerResponse,
  asked: Asked,
  { api, metrics }: Pick<HttpDeps, 'api' | 'metrics'>,
): void {
  const begun = performance.now();
  const labels = labelsOf(request.method ?? '', asked, api);
  const isLasting = isLong(labels.verb);
  const end = isLasting ? metrics.longRunning(labels) : undefined;
  response.once('close', () => {
    end?.();
    const durationSeconds = isLasting ? undefined : (performance.now() - begun) / 1000;
    metrics.requestDone(labels, response.statusCode, durationSeconds);
  });
}

/** Only what the store serves becomes a label: clients must not be able to make up series. */
function labelsOf(method: string, { path, query }: Asked, api: Api): RequestLabels {
  const kind = path === undefined ? undefined : api.kindAt(path);
  if (path === undefined || kind === undefined) return { verb: 'OTHER', resource: 'other', subresource: '' };
  const subresource = path.subresource ?? '';
  const known = subresource === '' || knownSubresources.has(subresource) ? subresource : 'other';
  return { verb: decideVerb(method, path, query), resource: kind.plural, subresource: known };
}

function tryParsePath(path: string): ResourcePath | undefined {
  try {
    return parseResourcePath(path);
  } catch {
    return undefined; // a bad path is refused when it is routed
  }
}
