/**
 * Takes over connections that ask for exec, attach or port-forward: finds out whether it can be had, chooses the
 * protocol, and joins client and process. Errors before the upgrade are HTTP answers; later ones go into the stream.
 * Effects only.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Query } from '../requests.ts';
import { badRequest, forbiddenProtocol, StatusError, tooManySessions } from '../status-error.ts';
import {
  type CommandOptions,
  type ExecOptions,
  parseAttachOptions,
  parseExecOptions,
  parseForwardPorts,
} from './options.ts';
import { forwardOverChannels, forwardOverSpdy, spdyForwardProtocol } from './port-forward.ts';
import { runRemoteCommand } from './remote-command.ts';
import type { CommandClient, DialPort, FailureStatus, OpenSession } from './session.ts';
import { createSpdyCommand, spdyCommandProtocols } from './spdy-command.ts';
import { createSpdyTransport, tunnelOf } from './spdy-transport.ts';
import {
  type ChannelProtocol,
  chooseCommandProtocol,
  chooseForwardProtocol,
  commandProtocolNames,
  forwardProtocolNames,
  parseOffered,
  tunnelProtocol,
} from './websocket-channels.ts';
import { createWebSocketCommand } from './websocket-command.ts';
import { WebSocketLink } from './websocket-link.ts';

export type StreamSubresource = 'exec' | 'attach' | 'portforward';

/** What a container's host has to say to a request; each may throw a StatusError, which the client is told. */
export interface StreamEnds {
  exec(options: ExecOptions): Promise<OpenSession>;
  attach(options: CommandOptions): Promise<OpenSession>;
  portForward(): Promise<DialPort>;
}

export interface StreamServerDeps {
  readonly log: Logger;
  /** Aborted when the server closes: sessions end. */
  readonly stop: AbortSignal;
  /** Sessions at once. */
  readonly maxSessions: number;
}

export interface StreamUpgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly subresource: StreamSubresource;
  readonly query: Query;
  readonly ends: StreamEnds;
  /** Called when the client was answered 101. */
  readonly onSwitched: () => void;
}

/** A message of a client; larger than any that clients make, which send what they read from a file or terminal. */
const maxMessageBytes = 16 * 1024 * 1024;
const keepAliveMs = 30_000;

/** Whether a request asks for one of the protocols spoken here. Pure. */
export function isStreamUpgrade({ upgrade }: IncomingHttpHeaders): boolean {
  return wantedUpgrade(upgrade) !== undefined;
}

function wantedUpgrade(header: string | undefined): 'websocket' | 'spdy' | undefined {
  switch (header?.toLowerCase()) {
    case 'websocket':
      return 'websocket';
    case 'spdy/3.1':
      return 'spdy';
    default:
      return undefined;
  }
}

export class StreamServer {
  readonly #deps: StreamServerDeps;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
  });
  #sessions = 0;

  constructor(deps: StreamServerDeps) {
    this.#deps = deps;
  }

  /** Resolves when the session is over. Throws StatusError as long as nothing was sent. */
  async serve(upgrade: StreamUpgrade): Promise<void> {
    const { maxSessions } = this.#deps;
    if (this.#sessions >= maxSessions) throw tooManySessions(maxSessions);
    this.#sessions++;
    try {
      // The socket is nobody's while the container's host is asked.
      const ignore = (): void => {};
      upgrade.socket.on('error', ignore);
      if ('setKeepAlive' in upgrade.socket && typeof upgrade.socket.setKeepAlive === 'function') {
        upgrade.socket.setKeepAlive(true, keepAliveMs);
      }
      if ('setNoDelay' in upgrade.socket && typeof upgrade.socket.setNoDelay === 'function') {
        upgrade.socket.setNoDelay(true);
      }
      await (wantedUpgrade(upgrade.request.headers.upgrade) === 'websocket'
        ? this.#serveWebSocket(upgrade)
        : this.#serveSpdy(upgrade));
    } finally {
      this.#sessions--;
    }
  }

  async #serveWebSocket(upgrade: StreamUpgrade): Promise<void> {
    const { request, subresource, query, ends } = upgrade;
    const offered = parseOffered(request.headers['sec-websocket-protocol']);
    if (subresource === 'portforward') {
      if (offered.includes(tunnelProtocol)) {
        const dial = await ends.portForward();
        const link = await this.#acceptWebSocket(upgrade, tunnelProtocol);
        return forwardOverSpdy(createSpdyTransport(tunnelOf(link), this.#deps.stop), dial);
      }
      const protocol = needProtocol(chooseForwardProtocol(offered), offered, forwardProtocolNames);
      const ports = parseForwardPorts(query);
      const dial = await ends.portForward();
      return forwardOverChannels(await this.#acceptWebSocket(upgrade, protocol.name), protocol, ports, dial);
    }
    const protocol = needProtocol(chooseCommandProtocol(offered), offered, commandProtocolNames);
    const { options, open } = await prepareCommand(upgrade);
    const link = await this.#acceptWebSocket(upgrade, protocol.name);
    await this.#run(createWebSocketCommand(link, protocol, options), options, open);
  }

  async #serveSpdy(upgrade: StreamUpgrade): Promise<void> {
    const { request, socket, head, subresource, ends } = upgrade;
    // One header with a list, or several headers: Node joins them.
    const offered = parseOffered(String(request.headers['x-stream-protocol-version'] ?? ''));
    const transport = createSpdyTransport(socket, this.#deps.stop);
    if (subresource === 'portforward') {
      if (offered.length > 0 && !offered.includes(spdyForwardProtocol)) {
        throw forbiddenProtocol(offered, [spdyForwardProtocol]);
      }
      const dial = await ends.portForward();
      switchToSpdy(socket, head, spdyForwardProtocol);
      upgrade.onSwitched();
      return forwardOverSpdy(transport, dial);
    }
    // Clients before Kubernetes 1.1 offer none and speak the oldest.
    const protocol =
      offered.length === 0 ? 'channel.k8s.io' : spdyCommandProtocols.find((one) => offered.includes(one));
    if (protocol === undefined) throw forbiddenProtocol(offered, spdyCommandProtocols);
    const { options, open } = await prepareCommand(upgrade);
    switchToSpdy(socket, head, protocol);
    upgrade.onSwitched();
    const client = await createSpdyCommand(transport, protocol, options);
    if (client !== undefined) await this.#run(client, options, open);
  }

  #run(client: CommandClient, { tty }: CommandOptions, open: OpenSession): Promise<void> {
    return runRemoteCommand(client, { hasTerminal: tty, open, toFailure: (error) => this.#toFailure(error) });
  }

  #toFailure(error: unknown): FailureStatus {
    if (error instanceof StatusError) return error;
    this.#deps.log.error({ err: error }, 'a stream failed');
    const message = error instanceof Error ? error.message : String(error);
    return { code: 500, reason: 'InternalError', message: `Internal error occurred: ${message}` };
  }

  /** `protocol`: chosen by us, for `ws` does not take the name of kubectl's tunnel. */
  #acceptWebSocket(upgrade: StreamUpgrade, protocol: string | undefined): Promise<WebSocketLink> {
    const { request, socket, head } = upgrade;
    const { promise, resolve, reject } = Promise.withResolvers<WebSocketLink>();
    if (socket.destroyed) throw new ClientGoneError('the client has gone before it was answered');
    socket.once('close', () => reject(new ClientGoneError('the client has gone while it was answered')));
    delete request.headers['sec-websocket-protocol'];
    const addProtocol = (headers: string[], answered: IncomingMessage): void => {
      if (answered === request && protocol !== undefined) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
    };
    this.#webSockets.on('headers', addProtocol);
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
      upgrade.onSwitched();
      resolve(new WebSocketLink(webSocket, this.#deps.stop));
    });
    this.#webSockets.off('headers', addProtocol);
    return promise;
  }
}

/** The client left, or did not know how to shake hands and was told so. Nobody is left to tell anything. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

function needProtocol(
  protocol: ChannelProtocol | undefined,
  offered: readonly string[],
  known: readonly string[],
): ChannelProtocol {
  if (protocol !== undefined) return protocol;
  throw badRequest(
    `none of the WebSocket protocols ${offered.join(', ')} is spoken here; these are: ${known.join(', ')}`,
  );
}

async function prepareCommand({
  subresource,
  query,
  ends,
}: StreamUpgrade): Promise<{ readonly options: CommandOptions; readonly open: OpenSession }> {
  if (subresource === 'exec') {
    const options = parseExecOptions(query);
    return { options, open: await ends.exec(options) };
  }
  const options = parseAttachOptions(query);
  return { options, open: await ends.attach(options) };
}

function switchToSpdy(socket: Duplex, head: Buffer, protocol: string): void {
  if (socket.destroyed) throw new ClientGoneError('the client has gone before it was answered');
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    `X-Stream-Protocol-Version: ${protocol}`,
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  if (head.length > 0) socket.unshift(head);
}
