/**
 * The streams of a host's containers on an HTTPS server of their own, at the paths that the store has for them: for
 * hosts whose store is elsewhere, as a kubelet serves them. Effects only.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import * as containers from '../crds/index.ts';
import { answerError, answerText } from './answers.ts';
import { createAuthorizer } from './authorize.ts';
import { startListener } from './https-listener.ts';
import { createMetrics, type RequestLabels } from './metrics.ts';
import { ensureCredentials } from './pki.ts';
import { podKind } from './pods.ts';
import { toStatusError } from './request-errors.ts';
import { parseResourcePath, type ResourcePath } from './request-path.ts';
import { parseQuery } from './requests.ts';
import { notFound, unauthorized, unknownPath } from './status-error.ts';
import { StreamApi, upgradeRequired } from './stream-api.ts';
import { isPlainStream, isUpgraded, streamSubresources } from './stream-names.ts';
import type { StreamSource, StreamTarget } from './stream-source.ts';
import { ClientGoneError } from './streams/index.ts';
import { decideVerb } from './verbs.ts';

export interface StreamListenerDeps {
  /** Holds certificates and the token; made if they are not there. */
  readonly dataDir: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly source: StreamSource;
  /** The container of this host that has the name; undefined: there is none. */
  readonly find: (namespace: string, name: string) => Promise<StreamTarget | undefined>;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Milliseconds since the epoch; Date.now if it is not given. */
  readonly now?: (() => number) | undefined;
}

export interface StreamListener {
  /** https://host:port, as it is reached from this host. */
  readonly url: string;
  /** PEM. */
  readonly caCertificate: string;
  readonly token: string;
  /** Ends what is under way. */
  close(): Promise<void>;
}

const renewalCheckMs = 12 * 60 * 60 * 1000;

/** Listens. Throws PkiError, ListenError. */
export async function startStreamListener(deps: StreamListenerDeps): Promise<StreamListener> {
  const { dataDir, listen, log, source, now = Date.now } = deps;
  const credentials = await ensureCredentials({ dataDir, listenHost: listen.host, nowMs: now() });
  const { caCertificate, adminToken: token } = credentials;
  const stop = new AbortController();
  const streams = new StreamApi({ source, log, stop: stop.signal });
  const metrics = createMetrics(deps.metrics, { objects: () => new Map(), damaged: () => new Map() });
  const isAuthorized = createAuthorizer(token);
  const parse = ({ url = '', headers }: IncomingMessage): ResourcePath => {
    if (!isAuthorized(headers.authorization)) throw unauthorized();
    const path = parseResourcePath(url.split('?', 1)[0] ?? '');
    if (path === undefined || plainKindOf(path) === undefined) throw unknownPath();
    return path;
  };
  const find = async ({ plural, group, namespace = '', name = '' }: ResourcePath): Promise<StreamTarget> => {
    const target = await deps.find(namespace, name);
    if (target === undefined) throw notFound({ plural, group }, name);
    return target;
  };
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { url = '', method = '' } = request;
    if (url === '/healthz') return answerText(response, 200, 'ok');
    const path = parse(request);
    if (isUpgraded(path.subresource)) {
      await find(path);
      throw upgradeRequired();
    }
    if (!isPlainStream(path.subresource)) throw unknownPath();
    const plain = { method, query: parseQuery(url), incoming: request };
    await streams.serve(await find(path), path.subresource, plain, response);
  };
  const told = (error: unknown) => {
    const status = toStatusError(error);
    if (status.code >= 500) log.error({ err: error }, 'a stream could not be served');
    return status;
  };
  const listener = await startListener({
    credentials,
    listen,
    log,
    handle: (request, response) => {
      const labels = labelsOf(request);
      const end = labels.verb === 'CONNECT' ? metrics.longRunning(labels) : undefined;
      response.once('close', () => {
        end?.();
        metrics.requestDone(labels, response.statusCode, undefined);
      });
      serve(request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else answerError(response, told(error));
      });
    },
    upgrades: {
      serve: async (request, socket, head) => {
        const path = parse(request);
        if (!isUpgraded(path.subresource)) throw unknownPath();
        const target = await find(path);
        const labels = labelsOf(request);
        const end = metrics.longRunning(labels);
        const onSwitched = (): void => metrics.requestDone(labels, 101, undefined);
        const query = parseQuery(request.url ?? '');
        await streams.upgrade(target, path.subresource, { request, socket, head, query, onSwitched }).finally(end);
      },
      toStatusError: (error) => (error instanceof ClientGoneError ? undefined : told(error)),
      answered: (request, code) => metrics.requestDone(labelsOf(request), code, undefined),
    },
  });
  const url = `https://${listener.address}`;
  log.info({ url }, 'streams are served');
  let { certificate } = credentials;
  const renew = async (): Promise<void> => {
    const renewed = await ensureCredentials({ dataDir, listenHost: listen.host, nowMs: now() });
    if (renewed.certificate !== certificate) listener.renew(renewed);
    certificate = renewed.certificate;
  };
  const renewal = setInterval(() => {
    renew().catch((error: unknown) => log.error({ err: error }, 'the certificate for streams could not be renewed'));
  }, renewalCheckMs).unref();
  return {
    url,
    caCertificate,
    token,
    close: async () => {
      clearInterval(renewal);
      stop.abort();
      await listener.close();
    },
  };
}

/** The kind below which a path's streams are; undefined: there are none. */
function plainKindOf({ group, version, plural, namespace, name }: ResourcePath): string | undefined {
  if (namespace === undefined || name === undefined) return undefined;
  const kinds = [podKind, containers];
  return kinds.find((kind) => kind.group === group && kind.version === version && kind.plural === plural)?.plural;
}

function labelsOf({ url = '', method = '' }: IncomingMessage): RequestLabels {
  const other = { verb: 'OTHER', resource: 'other', subresource: '' };
  try {
    const path = parseResourcePath(url.split('?', 1)[0] ?? '');
    const resource = path === undefined ? undefined : plainKindOf(path);
    if (path === undefined || resource === undefined) return other;
    const known = streamSubresources.find((one) => one === path.subresource);
    return { verb: decideVerb(method, path, parseQuery(url)), resource, subresource: known ?? 'other' };
  } catch {
    return other; // a bad path is refused when it is routed
  }
}
