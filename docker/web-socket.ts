/** A connection that becomes a WebSocket, as one stream: each message is a piece of it. Effects. Source: RFC 6455. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws';
import { badParameter } from './docker-error.ts';

/** More than a client reads from its terminal or a file at once. */
const maxMessageBytes = 16 * 1024 * 1024;

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: maxMessageBytes,
});

/** Throws DockerError for a request that asks for something else; rejects with an Error when the client shakes no hands. */
export async function takeWebSocket(request: IncomingMessage, socket: Socket): Promise<Duplex> {
  if (request.headers.upgrade?.toLowerCase() !== 'websocket') throw webSocketNeeded();
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
  const closed = (): void => reject(new Error('the client has gone, or knows no WebSocket'));
  socket.once('close', closed);
  // What came after the request is in the socket again.
  server.handleUpgrade(request, socket, Buffer.alloc(0), resolve);
  const webSocket = await promise;
  socket.off('close', closed);
  return createWebSocketStream(webSocket);
}

export function webSocketNeeded(): Error {
  return badParameter('this is for a WebSocket: ask for an upgrade to it, or use POST /containers/{id}/attach');
}
