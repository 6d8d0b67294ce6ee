/** The log of a container over HTTP: whoever holds the log opens it, and this sends it on as it comes. Effects only. */
import { pipeline } from 'node:stream/promises';
import type { Logger } from 'pino';
import type { AnswerSink } from './answers.ts';

/** Opens a log; may throw a StatusError, which the client is told. Ends when the log does, or with the signal. */
export type OpenLog = (signal: AbortSignal) => Promise<AsyncIterable<Buffer>>;

export interface LogDeps {
  readonly log: Logger;
  /** Aborted when the server closes. */
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
  { name, namespace }: { readonly name: string; readonly namespace: string },
  open: OpenLog,
  { stop, log }: LogDeps,
  sink: LogSink,
): Promise<void> {
  const gone = new AbortController();
  sink.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, stop]);
  const chunks = await open(signal);
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
