/** The log of a container over HTTP: whoever holds the log opens it, and this sends it on as it comes. Effects only. */
import { pipeline } from 'node:stream/promises';
import type { Logger } from 'pino';
import type { AnswerSink } from './answers.ts';
import type { LogOptions } from './requests.ts';
import type { KubeObject } from './resources.ts';
import { serviceUnavailable } from './status-error.ts';

/** What to read of which container's log. */
export interface ContainerLogRequest extends LogOptions {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly object: KubeObject;
}

/** Opens a log; may throw a StatusError, which the client is told. Ends when the log does, or with the signal. */
export type OpenLog = (request: ContainerLogRequest, signal: AbortSignal) => Promise<AsyncIterable<Buffer>>;

export interface LogDeps {
  readonly openLog: OpenLog | undefined;
  readonly log: Logger;
  /** Aborted when the store closes. */
  readonly stop: AbortSignal;
}

export type LogSink = AnswerSink &
  NodeJS.WritableStream & {
    flushHeaders(): void;
    destroy(): void;
    once(event: 'close', listener: () => void): unknown;
  };

/** Throws StatusError as long as nothing was sent; after that, a log that ends early breaks the connection off. */
export async function serveLog(
  object: KubeObject,
  options: LogOptions,
  { openLog, stop, log }: LogDeps,
  sink: LogSink,
): Promise<void> {
  if (openLog === undefined) {
    throw serviceUnavailable("this store serves no host's logs: read them on the host that runs the container");
  }
  const gone = new AbortController();
  sink.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, stop]);
  const { name, namespace = '', uid } = object.metadata;
  const chunks = await openLog({ ...options, name, namespace, uid, object }, signal);
  sink.setHeader('Content-Type', 'text/plain; charset=utf-8');
  sink.setHeader('Cache-Control', 'no-cache, private');
  sink.writeHead(200);
  sink.flushHeaders();
  try {
    await pipeline(chunks, sink);
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error, container: name, namespace }, 'log ended early');
    sink.destroy(); // the status is sent: only a broken connection still tells that the log is not whole
  }
}
