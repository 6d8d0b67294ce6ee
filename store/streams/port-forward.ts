/**
 * Port-forward: each connection of a client's program becomes one to a port of the container. Effects only.
 * Over SPDY a connection is a pair of streams, of type error and data with one requestID; over channels of a WebSocket,
 * each port has one connection. Source: k8s.io/kubelet/pkg/cri/streaming/portforward.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import { parsePort } from './options.ts';
import type { DialPort } from './session.ts';
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts';
import type { SpdyTransport } from './spdy-transport.ts';
import { type ChannelProtocol, parseMessage } from './websocket-channels.ts';
import type { WebSocketLink } from './websocket-link.ts';
import { ChannelInput, ChannelOutput } from './websocket-streams.ts';

/** Streams at once: two for each connection. */
const maxStreams = 2_000;
/** For the other stream of a pair, as the kubelet waits. */
const pairMs = 30_000;
/** For a program in the container that says no more, but does not take what the client still sent. */
const lingerMs = 30_000;

/** One forwarded connection, as the client has it. */
interface ForwardClient {
  readonly input: Readable;
  readonly output: Writable;
  /** Tells what went wrong, if anything did, and ends both outputs. */
  finish(problem: string | undefined): void;
  readonly gone: AbortSignal;
}

export const spdyForwardProtocol = 'portforward.k8s.io';

/** Resolves when the client has closed the connection. */
export async function forwardOverSpdy(transport: SpdyTransport, dial: DialPort): Promise<void> {
  const halves = new Map<string, { readonly stream: SpdyStream; readonly timer: NodeJS.Timeout }>();
  const connection = new SpdyConnection(transport.socket, {
    maxStreams,
    onStream: (stream) => {
      const kind = stream.headers.get('streamtype');
      const port = parsePort(stream.headers.get('port') ?? '');
      if ((kind !== 'error' && kind !== 'data') || port === undefined) return stream.destroy();
      // Clients of Kubernetes before 1.4 send no requestID, and open the data stream right after the error stream.
      const request = stream.headers.get('requestid') ?? `stream ${kind === 'error' ? stream.id : stream.id - 2}`;
      const key = `${port} ${request}`;
      const other = halves.get(key);
      if (other === undefined || other.stream.destroyed) {
        const timer = setTimeout(() => stream.destroy(), pairMs);
        const half = { stream, timer };
        halves.set(key, half);
        stream.once('close', () => {
          clearTimeout(timer);
          if (halves.get(key) === half) halves.delete(key);
        });
        return;
      }
      if (other.stream.headers.get('streamtype') === kind) return stream.destroy();
      clearTimeout(other.timer);
      halves.delete(key);
      const [error, data] = kind === 'error' ? [stream, other.stream] : [other.stream, stream];
      void forwardPair(error, data, port, dial, gone);
    },
  });
  const gone = transport.watch(connection);
  await connection.ended;
}

async function forwardPair(
  error: SpdyStream,
  data: SpdyStream,
  port: number,
  dial: DialPort,
  gone: AbortSignal,
): Promise<void> {
  error.resume();
  const closed = new AbortController();
  data.once('close', () => closed.abort());
  await forward(port, dial, {
    input: data,
    output: data,
    gone: AbortSignal.any([gone, closed.signal]),
    finish: (problem) => {
      if (problem !== undefined) error.write(problem);
      error.end();
      data.end();
    },
  });
}

/** Resolves when all ports' connections have ended, or the client is gone. */
export async function forwardOverChannels(
  link: WebSocketLink,
  protocol: ChannelProtocol,
  ports: readonly number[],
  dial: DialPort,
): Promise<void> {
  const inputs = ports.map((_port, index) => new ChannelInput(link, `port ${index}`));
  link.onMessage((bytes) => {
    const message = parseMessage(bytes, protocol);
    if (message !== undefined && message.channel % 2 === 0) inputs[message.channel / 2]?.receive(message.data);
  });
  link.gone.addEventListener(
    'abort',
    () => {
      for (const input of inputs) input.destroy();
    },
    { once: true },
  );
  await Promise.all(
    inputs.map(async (input, index) => {
      const port = ports[index] ?? 0; // there is one for each input
      const [data, error] = [0, 1].map((offset) => new ChannelOutput(link, protocol, 2 * index + offset));
      if (data === undefined || error === undefined) return; // not possible: two were made
      // Both channels begin with the port, in little-endian order.
      const head = Buffer.alloc(2);
      head.writeUInt16LE(port);
      data.write(head);
      error.write(head);
      await forward(port, dial, {
        input,
        output: data,
        gone: link.gone,
        finish: (problem) => {
          if (problem !== undefined) error.write(problem);
          error.end();
          data.end();
          input.destroy();
        },
      });
      await Promise.all([data, error].map((one) => flushed(one)));
    }),
  );
  link.close(1000);
}

async function flushed(output: ChannelOutput): Promise<void> {
  if (output.writableFinished || output.destroyed) return;
  await new Promise<void>((resolve) => output.once('close', () => resolve()));
}

/**
 * Carries bytes both ways. Over when the container's side has ended: a client that waits for the error stream's end
 * before it closes its own would otherwise wait for ever.
 */
async function forward(port: number, dial: DialPort, client: ForwardClient): Promise<void> {
  client.input.on('error', () => {}); // `gone` says so
  let socket: Duplex;
  try {
    socket = await dial(port, client.gone);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    client.input.resume();
    if (!client.gone.aborted) client.finish(`cannot forward to port ${port}: ${what}\n`);
    return;
  }
  if (client.gone.aborted) {
    socket.destroy();
    return;
  }
  let problem: string | undefined;
  const closed = new Promise<void>((resolve) => {
    socket.on('error', (error) => {
      problem = `port ${port}: ${error.message}\n`;
    });
    socket.once('close', () => resolve());
    socket.once('end', () => resolve());
  });
  const cut = (): void => void socket.destroy();
  client.gone.addEventListener('abort', cut, { once: true });
  client.input.pipe(socket);
  socket.pipe(client.output, { end: false });
  await closed;
  client.input.unpipe(socket);
  client.input.resume();
  socket.end();
  client.gone.removeEventListener('abort', cut);
  const deadline = setTimeout(cut, lingerMs).unref();
  socket.once('close', () => clearTimeout(deadline));
  if (!client.gone.aborted) client.finish(problem);
  else cut();
}
