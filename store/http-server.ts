/** The HTTPS server: who may come in, what each request costs, and which part answers it. Effects only. */
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
import { parseResourcePath, type ResourcePath } from './request-path.ts';
import { parseQuery } from './requests.ts';
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
  const listener = await startListener({
    credentials: asListened(deps.credentials),
    listen,
    handle: (request, response) => {
      // Express makes its own of both, and gives back what has no path that it can read.
      app(request as Request, response as Response, (error?: unknown) => {
        if (response.headersSent) response.destroy();
        else answerError(response, error === undefined ? badRequest('the path cannot be read') : toStatusError(error));
      });
    },
    upgrades: createUpgradeHandler(deps),
  });
  address = listener.address;
  return { url: `https://${address}`, renew: (renewed) => listener.renew(asListened(renewed)), close: listener.close };
}

function createApp(deps: HttpDeps, address: () => string): express.Express {
  const { api, kinds, door, metrics, healthy, log } = deps;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  app.use((request, response, next) => {
    measure(request, response, api, metrics);
    next();
  });
  addOpenPaths(app, healthy);
  app.use((request, response, next) => {
    const path = parseResourcePath(request.path);
    const query = parseQuery(request.originalUrl);
    const load = path !== undefined && isLong(decideVerb(request.method, path, query)) ? 'long' : 'short';
    door.enter(request, response, { pathname: request.path, path, query, load });
    next();
  });
  app.use(createFixedPaths(kinds, address));
  const readBody = express.raw({ type: (request) => !isArchive(request.url ?? ''), limit: maxBodyBytes });
  app.use((request, response, next) => {
    if (isArchive(request.url)) return next();
    const arrived = door.expectBody((error) => {
      response.setHeader('Connection', 'close');
      answerError(response, error);
      response.once('close', () => request.destroy()); // the rest of it is not waited for
    });
    response.once('close', arrived);
    readBody(request, response, (error?: unknown) => {
      arrived();
      if (!response.headersSent) next(error);
    });
  });
  app.use(async (request, response) => {
    const path = parseResourcePath(request.path);
    const caller = door.caller(request);
    if (path === undefined || caller === undefined) throw unknownPath();
    const body: unknown = request.body;
    const { method, headers } = request;
    const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
    await api.serve(
      { method, path, query: parseQuery(request.originalUrl), headers, body: bytes, incoming: request, caller },
      response,
    );
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const status = toStatusError(error);
    if (status.code >= 500) log.error({ err: error, method: request.method, path: request.path }, 'request failed');
    if (response.headersSent) response.destroy();
    else answerError(response, status, negotiateErrorEncoding(request.headers.accept));
  });
  return app;
}

/** An archive is not read into memory, and may be of any size. */
function isArchive(url: string): boolean {
  return tryParsePath(url.split('?', 1)[0] ?? '')?.subresource === 'archive';
}

function isLong(verb: RequestLabels['verb']): boolean {
  return verb === 'WATCH' || verb === 'CONNECT';
}

function createUpgradeHandler({ api, door, metrics, log }: HttpDeps): UpgradeHandler {
  return {
    serve: async (request, socket, head) => {
      const url = request.url ?? '';
      const pathname = url.split('?', 1)[0] ?? '';
      const path = parseResourcePath(pathname);
      const query = parseQuery(url);
      const leave = door.enterUpgrade(request, { pathname, path, query, load: 'long' });
      const labels = labelsOf(request.method ?? '', url, api);
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
      metrics.requestDone(labelsOf(request.method ?? '', request.url ?? '', api), code, undefined);
    },
  };
}

const knownSubresources = new Set(['status', 'scale', ...streamSubresources]);

function measure(request: Request, response: Response, api: Api, metrics: StoreMetrics): void {
  const begun = performance.now();
  const labels = labelsOf(request.method, request.originalUrl, api);
  const isLasting = isLong(labels.verb);
  const end = isLasting ? metrics.longRunning(labels) : undefined;
  response.once('close', () => {
    end?.();
    const durationSeconds = isLasting ? undefined : (performance.now() - begun) / 1000;
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
  return { verb: decideVerb(method, path, parseQuery(url)), resource: kind.plural, subresource: known };
}

function tryParsePath(path: string): ResourcePath | undefined {
  try {
    return parseResourcePath(path);
  } catch {
    return undefined; // a bad path is refused when it is routed
  }
}
