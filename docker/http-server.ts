/**
 * HTTP/1.1 on a unix socket as Docker's clients speak it: version prefixes, error bodies, bodies with a bound, and
 * connections that are taken over for raw streams. Effects.
 */
import { setMaxListeners } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Socket } from 'node:net';
import { Duplex, type Readable } from 'node:stream';
import type { Logger } from 'pino';
import { badParameter, DockerError } from './docker-error.ts';
import { listenOnSocket, type SocketAccess } from './listen.ts';
import { type Call, createMatcher, newestMinor, oldestMinor, parseVersion, type Route } from './route.ts';
import { takeWebSocket, webSocketNeeded } from './web-socket.ts';

export interface HttpServerDeps {
  readonly socket: SocketAccess;
  readonly routes: readonly Route[];
  /** Set on every answer. */
  readonly headers: Readonly<Record<string, string>>;
  readonly log: Logger;
}

const maxBodyBytes = 4 * 1024 * 1024;
const headersTimeoutMs = 30_000;
const bodyTimeoutMs = 60_000;
/** For a client to read why its request could not be, and to end its side after an answer that was no takeover, or the body that was not waited for. */
const lingerMs = 10_000;

/** Listens. Throws ListenError. */
export async function startHttpServer(deps: HttpServerDeps): Promise<{ close(): Promise<void> }> {
  const { routes, log, headers } = deps;
  const match = createMatcher(routes);
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const open = new Set<Socket>();

  const serve = async (link: Link, method: string, url: string, incoming: IncomingMessage): Promise<void> => {
    // No AbortSignal.any: Node keeps such a signal for ever if a listener stays on it after the answer.
    const stopped = (): void => link.abort(stop.signal.reason);
    stop.signal.addEventListener('abort', stopped, { once: true });
    if (stop.signal.aborted) stopped();
    try {
      const { pathname, query } = readUrl(url);
      const version = parseVersion(pathname);
      if (version.kind === 'refused') throw badParameter(version.message);
      const found = match(method, version.path);
      if (found.kind === 'other-method') throw new DockerError(405, `${method} is not allowed on ${pathname}`);
      if (found.kind === 'none') throw new DockerError(404, 'page not found');
      const call: Call = {
        params: found.params,
        query,
        headers: incoming.headers,
        version: version.minor,
        signal: link.signal,
        input: link.input,
        body: () => readJson(link.input, incoming.headers),
        json: (status, value, more) =>
          link.answer(status, { ...more, 'Content-Type': 'application/json' }, `${JSON.stringify(value)}\n`),
        text: (status, text, more) =>
          link.answer(status, { 'Content-Type': 'text/plain; charset=utf-8', ...more }, text),
        empty: (status, more) => link.answer(status, { ...more }, ''),
        stream: (status, more) => link.stream(status, more),
        hijack: (contentType) => link.hijack(contentType),
        webSocket: () => link.webSocket(),
      };
      await found.route.handle(call);
    } catch (error) {
      answerError(link, error, { method, url }, log);
    } finally {
      stop.signal.removeEventListener('abort', stopped);
    }
  };

  const server = createServer(
    {
      headersTimeout: headersTimeoutMs,
      // An image that is loaded may take long; what is read into memory has a deadline of its own.
      requestTimeout: 0,
      // As Docker's daemon: a client that keeps a connection may send its next POST when it likes.
      keepAliveTimeout: 0,
      maxHeaderSize: 64 * 1024,
      shouldUpgradeCallback: (request) => isTakeover(request),
    },
    (request, response) => {
      void serve(linkOf(request, response, headers), request.method ?? '', request.url ?? '', request);
    },
  );
  // Only what may be taken over is an upgrade.
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const link = upgradedLinkOf(request, socket, head, headers);
    void serve(link, request.method ?? '', request.url ?? '', request);
  });
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    // What still comes of a request that was answered is refused again and again; to destroy the connection for that would
    // take the answer along.
    if (socket.writableEnded && !socket.destroyed) return;
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
    setTimeout(() => socket.destroy(), lingerMs).unref();
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
    const body = `${JSON.stringify({ message: `the request cannot be read: ${error.message}` })}\n`;
    socket.end(formatHead(status, { 'Content-Type': 'application/json', Connection: 'close' }, body));
  });
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {}); // what was under way is told by its abort signal
  });
  const listening = await listenOnSocket(server, deps.socket);
  return {
    close: async () => {
      stop.abort(new Error('the Docker gateway was closed'));
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
      await listening.close();
    },
  };
}

/**
 * A request that is answered before its body has come is read on for a while: a connection that is closed with bytes unread
 * is reset, and its client would not see the answer.
 */
function whenRead(request: IncomingMessage, done: () => void): void {
  if (request.complete || request.destroyed) return done();
  const deadline = setTimeout(() => end(), lingerMs).unref();
  const end = (): void => {
    clearTimeout(deadline);
    for (const event of ['end', 'close', 'error']) request.off(event, end);
    done();
  };
  for (const event of ['end', 'close', 'error']) request.on(event, end);
  request.resume();
}

/** A connection as one request has it. */
interface Link {
  readonly signal: AbortSignal;
  readonly input: Readable;
  readonly isAnswered: () => boolean;
  /** Aborts the signal. */
  abort(reason: unknown): void;
  answer(status: number, headers: Readonly<Record<string, string>>, body: string): void;
  stream(status: number, headers: Readonly<Record<string, string>>): ServerResponse | Duplex;
  hijack(contentType: string): Promise<Duplex>;
  webSocket(): Promise<Duplex>;
  /** Breaks off: the answer began, and cannot be finished. */
  destroy(): void;
}

type Headers = Readonly<Record<string, string>>;

function linkOf(request: IncomingMessage, response: ServerResponse, always: Headers): Link {
  const gone = new AbortController();
  response.on('close', () => {
    if (!response.writableFinished) gone.abort(new ClientGoneError());
  });
  // Written to after its end, or after the client's: nobody reads it any more, and the signal has told so.
  response.on('error', () => {});
  const open = (status: number, headers: Headers): void => {
    response.writeHead(status, { ...always, ...headers });
  };
  return {
    signal: gone.signal,
    abort: (reason) => gone.abort(reason),
    input: request,
    isAnswered: () => response.headersSent,
    answer: (status, headers, body) => {
      const isBare = status === 204 || status === 304;
      open(status, isBare ? headers : { ...headers, 'Content-Length': String(Buffer.byteLength(body)) });
      if (isBare || request.method === 'HEAD') response.flushHeaders();
      else response.write(body);
      whenRead(request, () => response.end());
    },
    stream: (status, headers) => {
      open(status, headers);
      response.flushHeaders();
      return response;
    },
    // Old clients do not ask for an upgrade: all they send is their request's body, and the answer ends with the connection.
    hijack: async (contentType) => {
      response.useChunkedEncodingByDefault = false;
      open(200, { 'Content-Type': contentType, Connection: 'close' });
      response.flushHeaders();
      return join(request, response);
    },
    webSocket: async () => {
      throw webSocketNeeded();
    },
    destroy: () => void response.destroy(),
  };
}

/** Both halves of an exchange as one stream, each with the other's patience. */
function join(request: IncomingMessage, response: ServerResponse): Duplex {
  const joined = new Duplex({
    read: () => void request.resume(),
    write: (chunk: Buffer, _encoding, done) => void response.write(chunk, done),
    final: (done) => void response.end(done),
    destroy: (error, done) => {
      response.destroy();
      done(error);
    },
  });
  joined.on('error', () => {}); // whoever uses it hears of its end by close
  request.on('data', (chunk: Buffer) => {
    if (!joined.push(chunk)) request.pause();
  });
  request.on('end', () => joined.push(null));
  response.on('close', () => joined.destroy());
  return joined;
}

function upgradedLinkOf(request: IncomingMessage, socket: Socket, head: Buffer, always: Headers): Link {
  const gone = new AbortController();
  let isAnswered = false;
  const closed = (): void => gone.abort(new ClientGoneError());
  socket.once('close', closed);
  // Each tells of a client that breaks off by an error of its own; 'close' follows.
  for (const stream of [socket, request]) stream.on('error', () => {});
  // Node gives the request's body as it does without an upgrade; what comes after it stays in the socket.
  if (head.length > 0) socket.unshift(head);
  const write = (status: number, headers: Headers, text: string, isWhole: boolean): void => {
    isAnswered = true;
    const length: Headers = isWhole ? { 'Content-Length': String(Buffer.byteLength(text)), Connection: 'close' } : {};
    socket.write(formatHead(status, { ...always, ...headers, ...length }, text));
  };
  return {
    signal: gone.signal,
    abort: (reason) => gone.abort(reason),
    input: request,
    isAnswered: () => isAnswered,
    answer: (status, headers, text) => {
      write(status, headers, text, true);
      socket.off('close', closed);
      socket.end();
      // Read on, or the end of the client's side would not be seen.
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
      socket.once('close', () => clearTimeout(timer));
    },
    stream: (status, headers) => {
      write(status, { ...headers, Connection: 'close' }, '', false);
      return socket;
    },
    hijack: async (contentType) => {
      await drained(request);
      write(101, { 'Content-Type': contentType, Connection: 'Upgrade', Upgrade: 'tcp' }, '', false);
      socket.off('close', closed);
      return socket;
    },
    webSocket: async () => {
      const stream = await takeWebSocket(request, socket);
      isAnswered = true;
      socket.off('close', closed);
      return stream;
    },
    destroy: () => void socket.destroy(),
  };
}

async function drained(body: Readable): Promise<void> {
  if (body.readableEnded) return;
  for await (const _ of body) void _;
}

/** Attach and exec, which the Engine API lets a client ask to take over; anything else is an ordinary request. */
function isTakeover({ method, url = '' }: IncomingMessage): boolean {
  return (
    (method === 'POST' && /^(\/v[\d.]+)?\/(containers\/[^/?]+\/attach|exec\/[^/?]+\/start)(\?|$)/.test(url)) ||
    (method === 'GET' && /^(\/v[\d.]+)?\/containers\/[^/?]+\/attach\/ws(\?|$)/.test(url))
  );
}

function formatHead(status: number, headers: Headers, body: string): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value.replaceAll(/[\r\n]/g, ' ')}\r\n`);
  const reason = status === 101 ? 'UPGRADED' : (STATUS_CODES[status] ?? 'Unknown');
  return `HTTP/1.1 ${status} ${reason}\r\n${lines.join('')}\r\n${body}`;
}

function readUrl(url: string): { readonly pathname: string; readonly query: URLSearchParams } {
  const at = url.indexOf('?');
  const pathname = at === -1 ? url : url.slice(0, at);
  return { pathname, query: new URLSearchParams(at === -1 ? '' : url.slice(at + 1)) };
}

/** The client has closed the connection. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
  constructor() {
    super('the client has closed the connection');
  }
}

function answerError(link: Link, error: unknown, asked: { method: string; url: string }, log: Logger): void {
  const isExpected = error instanceof DockerError || link.signal.aborted;
  if (!isExpected) log.error({ err: error, ...asked }, 'a request of a Docker client failed');
  if (link.isAnswered()) return link.destroy();
  const status = error instanceof DockerError ? error.status : 500;
  const message = error instanceof Error ? error.message : String(error);
  link.answer(status, { 'Content-Type': 'application/json' }, `${JSON.stringify({ message })}\n`);
}

async function readJson(input: Readable, headers: IncomingHttpHeaders): Promise<unknown> {
  // Said beforehand, it need not be waited for.
  if (Number(headers['content-length'] ?? 0) > maxBodyBytes)
    throw new DockerError(413, `the body has more than ${maxBodyBytes} bytes`);
  const chunks: Buffer[] = [];
  let length = 0;
  const read = async (): Promise<void> => {
    // Not destroyed when it is too long: that would take the connection along, and the answer.
    for await (const chunk of input.iterator({ destroyOnReturn: false })) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      length += bytes.length;
      if (length > maxBodyBytes) throw new DockerError(413, `the body has more than ${maxBodyBytes} bytes`);
      chunks.push(bytes);
    }
  };
  let deadline: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = new DockerError(408, `the body did not arrive within ${bodyTimeoutMs / 1000} s`);
    deadline = setTimeout(() => reject(error), bodyTimeoutMs);
  });
  const whole = read();
  whole.catch(() => {}); // it may fail after the deadline has told
  try {
    await Promise.race([whole, late]);
  } finally {
    clearTimeout(deadline);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  if (text.trim() === '') return undefined;
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  if (type.trim() !== 'application/json' && type.trim() !== '')
    throw badParameter(`unsupported Content-Type header (${type.slice(0, 100)}): must be 'application/json'`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw badParameter(`invalid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (isDeeper(parsed, mostLevels)) throw badParameter(`invalid JSON: nested deeper than ${mostLevels} levels`);
  return parsed;
}

/** What reads a body calls itself for each level. */
const mostLevels = 64;

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1));
}

/** What every answer says about the daemon. Source: Engine API, "Ping". */
export function standingHeaders(version: string): Readonly<Record<string, string>> {
  return {
    'Api-Version': `1.${newestMinor}`,
    Server: `Holdfast/${version} (linux)`,
    Ostype: 'linux',
    'Docker-Experimental': 'false',
    'X-Holdfast-Min-Api-Version': `1.${oldestMinor}`,
  };
}
