/**
 * The subresources of a container that are streams: log, exec, attach, portforward, stats and archive. Effects only.
 * Knows where the streams come from only as a StreamSource, so that any HTTPS server can offer them.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { answerObject } from './answers.ts';
import { type LogSink, serveLog } from './container-log.ts';
import { isTrue, parseArchivePath, parseLogOptions, type Query } from './requests.ts';
import { badRequest, methodNotAllowed, StatusError, serviceUnavailable } from './status-error.ts';
import type { PlainStream } from './stream-names.ts';
import type { StreamSource, StreamTarget } from './stream-source.ts';
import { StreamServer, type StreamSubresource } from './streams/index.ts';

export interface StreamApiDeps {
  /** undefined: this server serves no host's streams. */
  readonly source: StreamSource | undefined;
  readonly log: Logger;
  /** Aborted when the server closes: all streams end. */
  readonly stop: AbortSignal;
}

/** Exec, attach and port-forward at once: each takes a few sockets and processes of the host. */
const maxSessions = 512;
const statsIntervalMs = 1_000;

export interface PlainStreamRequest {
  readonly method: string;
  readonly query: Query;
  /** The body, not read yet. */
  readonly incoming: IncomingMessage;
}

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly query: Query;
  /** Called when the client was answered 101. */
  readonly onSwitched: () => void;
}

export class StreamApi {
  readonly #deps: StreamApiDeps;
  readonly #server: StreamServer;

  constructor(deps: StreamApiDeps) {
    this.#deps = deps;
    this.#server = new StreamServer({ log: deps.log, stop: deps.stop, maxSessions });
  }

  /** Serves what needs no upgrade. Throws StatusError as long as nothing was sent. */
  async serve(target: StreamTarget, stream: PlainStream, request: PlainStreamRequest, sink: LogSink): Promise<void> {
    const { method, query } = request;
    switch (stream) {
      case 'log': {
        if (method !== 'GET') throw methodNotAllowed(method);
        const options = parseLogOptions(query);
        const open = (signal: AbortSignal) => this.#source().log(target, options, signal);
        return serveLog(target, open, this.#deps, sink);
      }
      case 'stats':
        if (method !== 'GET') throw methodNotAllowed(method);
        return this.#stats(target, query, sink);
      case 'archive':
        return this.#archive(target, request, sink);
      default:
        throw new TypeError(`unknown stream: ${JSON.stringify(stream satisfies never)}`);
    }
  }

  /** Resolves when the session is over. Throws StatusError as long as nothing was sent. */
  async upgrade(target: StreamTarget, subresource: StreamSubresource, upgrade: UpgradeRequest): Promise<void> {
    const source = this.#source();
    await this.#server.serve({
      ...upgrade,
      subresource,
      ends: {
        exec: (options) => source.exec(target, options),
        attach: (options) => source.attach(target, options),
        portForward: () => source.portForward(target),
      },
    });
  }

  #source(): StreamSource {
    const { source } = this.#deps;
    if (source !== undefined) return source;
    throw serviceUnavailable(
      "this store serves no host's logs and streams: ask the host that runs the container for them",
    );
  }

  async #stats(target: StreamTarget, query: Query, sink: LogSink): Promise<void> {
    const first = await this.#source().stats(target);
    if (!isTrue(query, 'watch')) return answerObject(sink, 200, first);
    const signal = goneSignal(sink, this.#deps.stop);
    sink.setHeader('Content-Type', 'application/json');
    sink.setHeader('Cache-Control', 'no-cache, private');
    sink.writeHead(200);
    sink.flushHeaders();
    const source = this.#source();
    const lines = async function* (): AsyncGenerator<string> {
      for (let stats = first; ; stats = await source.stats(target)) {
        yield `${JSON.stringify(stats)}\n`;
        await delay(statsIntervalMs, undefined, { signal });
      }
    };
    try {
      await pipeline(lines, sink);
    } catch (error) {
      // The container has ended, which the end of the lines tells; or the client has gone.
      if (!(error instanceof StatusError) && !signal.aborted) {
        this.#deps.log.warn({ err: error, container: target.name, namespace: target.namespace }, 'stats ended early');
      }
      sink.end();
    }
  }

  async #archive(target: StreamTarget, { method, query, incoming }: PlainStreamRequest, sink: LogSink): Promise<void> {
    if (method !== 'GET' && method !== 'PUT') throw methodNotAllowed(method);
    const path = parseArchivePath(query);
    const signal = goneSignal(sink, this.#deps.stop);
    if (method === 'PUT') {
      await this.#source().writeArchive(target, path, incoming, signal);
      return answerObject(sink, 200, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' });
    }
    const archive = await this.#source().readArchive(target, path, signal);
    sink.setHeader('Content-Type', 'application/x-tar');
    sink.setHeader('Cache-Control', 'no-cache, private');
    sink.writeHead(200);
    sink.flushHeaders();
    try {
      await pipeline(archive, sink);
    } catch (error) {
      if (!signal.aborted) {
        this.#deps.log.warn({ err: error, container: target.name, path }, 'an archive ended early');
      }
      sink.destroy(); // the status is sent: only a broken connection still tells that the archive is not whole
    }
  }
}

/** 400: what kube-apiserver says to a request without the headers of an upgrade. */
export function upgradeRequired(): StatusError {
  return badRequest('Upgrade request required: connect with a WebSocket, or with SPDY/3.1');
}

function goneSignal(sink: LogSink, stop: AbortSignal): AbortSignal {
  const gone = new AbortController();
  sink.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, stop]);
}
