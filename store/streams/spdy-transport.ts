/** What carries a SPDY connection, a socket or the messages of a WebSocket, and whether its client is still there. Effects only. */
import { Duplex } from 'node:stream';
import type { SpdyConnection } from './spdy-connection.ts';
import type { WebSocketLink } from './websocket-link.ts';
import { ChannelInput } from './websocket-streams.ts';

const signOfLifeMs = 20_000;

export interface SpdyTransport {
  readonly socket: Duplex;
  /** Sends signs of life; the signal is aborted when the connection is gone. */
  watch(connection: SpdyConnection): AbortSignal;
}

export function createSpdyTransport(socket: Duplex, stop: AbortSignal): SpdyTransport {
  return {
    socket,
    watch: (connection) => {
      const gone = new AbortController();
      const timer = setInterval(() => connection.ping(), signOfLifeMs);
      const stopped = (): void => connection.destroy();
      stop.addEventListener('abort', stopped, { once: true });
      void connection.ended.then(() => {
        clearInterval(timer);
        stop.removeEventListener('abort', stopped);
        gone.abort();
      });
      if (stop.aborted) stopped();
      return gone.signal;
    },
  };
}

/** The bytes of a connection in the binary messages of a WebSocket, as kubectl's port-forward sends them. */
export function tunnelOf(link: WebSocketLink): Duplex {
  const input = new ChannelInput(link, 'tunnel');
  const socket = new Duplex({
    read: () => {
      input.resume();
    },
    write: (chunk: Buffer, _encoding, done) => link.send(chunk, done),
    final: (done) => {
      link.close(1000);
      done();
    },
    destroy: (error, done) => {
      link.close(1000);
      done(error);
    },
  });
  input.on('data', (bytes: Buffer) => {
    if (!socket.push(bytes)) input.pause();
  });
  link.onMessage((bytes) => input.receive(bytes));
  link.gone.addEventListener(
    'abort',
    () => {
      input.destroy();
      socket.destroy();
    },
    { once: true },
  );
  return socket;
}
