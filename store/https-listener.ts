/** Listens for HTTPS: connections, their protocols and their end; what is asked is answered elsewhere. Effects only. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { startListening } from './listening.ts';
import type { Credentials } from './pki.ts';
import { StatusError } from './status-error.ts';
import { isStreamUpgrade } from './streams/index.ts';
import { handleUpgrade, type UpgradeHandler } from './upgrade.ts';

/** Longer than clients keep an idle connection: a handshake costs more than a socket. */
const keepAliveTimeoutMs = 120_000;
/** From the first byte of a request to the end of its headers; without one, a connection may say nothing for as long. */
const headersTimeoutMs = 20_000;
/** The URL among them. */
const maxHeaderBytes = 32 * 1024;
const maxConnections = 8_192;

export interface ListenerDeps {
  /** `clientCa`: PEM of the authorities whose client certificates count; without it none is asked for. */
  readonly credentials: Pick<Credentials, 'certificate' | 'key'> & { readonly clientCa?: string | undefined };
  readonly listen: { readonly host: string; readonly port: number };
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  readonly upgrades: UpgradeHandler;
  readonly log: Logger;
}

export interface Listener {
  /** Host and port, as it is reached from this host. */
  readonly address: string;
  /** Takes a renewed certificate for the connections to come. */
  renew(credentials: ListenerDeps['credentials']): void;
  /** Answers what is under way; what takes longer than a moment is cut. */
  close(): Promise<void>;
}

/** Listens. Throws ListenError. */
export async function startListener({ credentials, listen, handle, upgrades, log }: ListenerDeps): Promise<Listener> {
  const answers = new WeakMap<Duplex, Set<ServerResponse>>();
  const server = createServer(
    {
      ...secureContextOf(credentials),
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: 5_000,
      // A client may show a certificate; who it is without one is for others to find out.
      ...(credentials.clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: false }),
      // What asks for another protocol than those of streams is answered as if it had not.
      shouldUpgradeCallback: ({ headers }: IncomingMessage) => isStreamUpgrade(headers),
    },
    (request, response) => {
      const open = answers.get(request.socket);
      open?.add(response);
      response.once('close', () => open?.delete(response));
      handle(request, response);
    },
  );
  server.on('secureConnection', (socket) => {
    const open = new Set<ServerResponse>();
    answers.set(socket, open);
    socket.once('close', () => setImmediate(() => endAnswers(open)));
  });
  server.keepAliveTimeout = keepAliveTimeoutMs;
  server.maxConnections = maxConnections;
  server.on('clientError', refuseBadRequest);
  server.requestTimeout = 0; // an archive may take its time; headers have a deadline of their own
  const switched = new Set<Duplex>();
  server.on('upgrade', (request, socket, head) => {
    switched.add(socket);
    socket.once('close', () => switched.delete(socket));
    void handleUpgrade(upgrades, request, socket, head);
  });
  await startListening(server, listen);
  // Node tells so when a connection cannot be accepted, as for want of file descriptors: the next one may be.
  server.on('error', (error) => log.warn({ err: error }, 'a connection could not be accepted'));
  // A server that listens on a TCP port has an address with a port.
  const { port } = server.address() as AddressInfo;
  const reachable = listen.host === '0.0.0.0' || listen.host === '::' ? 'localhost' : listen.host;
  return {
    address: `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`,
    renew: (renewed) => server.setSecureContext(secureContextOf(renewed)),
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      // Connections become idle as what they carried is answered.
      const idle = setInterval(() => server.closeIdleConnections(), 10);
      const deadline = setTimeout(() => {
        server.closeAllConnections();
        for (const socket of switched) socket.destroy(); // the server has forgotten these
      }, 1_000);
      await closed;
      clearInterval(idle);
      clearTimeout(deadline);
    },
  };
}

/** What Node's parser refuses is told of as everything else is. */
function refuseBadRequest(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const [code, line, reason, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [
          431,
          'Request Header Fields Too Large',
          'RequestHeaderFieldsTooLarge',
          `headers and URL of a request may have ${maxHeaderBytes} bytes`,
        ]
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [
            408,
            'Request Timeout',
            'Timeout',
            `the headers of the request did not arrive within ${headersTimeoutMs / 1000} s`,
          ]
        : [400, 'Bad Request', 'BadRequest', 'the request is not HTTP'];
  const body = JSON.stringify(new StatusError(Number(code), String(reason), String(message)).toStatus());
  const head = [
    `HTTP/1.1 ${code} ${line}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  setTimeout(() => socket.destroy(), 5_000).unref();
}

function secureContextOf({ certificate, key, clientCa }: ListenerDeps['credentials']) {
  const ca = clientCa === undefined ? {} : { ca: [clientCa] };
  return { cert: certificate, key, minVersion: 'TLSv1.2' as const, ...ca };
}

/**
 * Node tells only the answer whose turn it is that the connection has ended: those that wait behind it (HTTP pipelining)
 * would be open for ever, unnoted and counted.
 */
function endAnswers(open: ReadonlySet<ServerResponse>): void {
  for (const response of open) {
    response.destroy();
    response.emit('close');
  }
}
