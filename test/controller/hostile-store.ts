/** Stands between the controller and its store, and answers with nonsense when told to: plain HTTP on loopback. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { type Dispatcher, request as send } from 'undici';
import type { ApiAccess } from '../../client/index.ts';

/** Answers a request instead of the store. `real` gets what the store would have said, as JSON. */
export type Nonsense = (
  response: ServerResponse,
  url: URL,
  real: () => Promise<{ status: number; json: Record<string, unknown> }>,
) => void | Promise<void>;

export interface HostileStore {
  readonly access: ApiAccess;
  /** From now on; undefined: it tells the truth. Connections that are open are cut, or left as they are. */
  answerWith(nonsense: Nonsense | undefined, connections?: 'cut' | 'left'): void;
  /** Requests that were answered with the present nonsense, in order. */
  readonly asked: readonly URL[];
  /** What is being answered now, and since when, for whoever wonders why nothing is asked. */
  readonly open: readonly string[];
  close(): Promise<void>;
}

export async function startHostileStore(store: ApiAccess): Promise<HostileStore> {
  let nonsense: Nonsense | undefined;
  let asked: URL[] = [];
  const headersOf = async (): Promise<{ headers: Record<string, string>; dispatcher: Dispatcher | undefined }> => {
    const headers: Record<string, string> = {};
    let dispatcher: Dispatcher | undefined;
    await store.applySecurityAuthentication({
      setHeaderParam: (name: string, value: string) => {
        headers[name] = value;
      },
      setDispatcher: (given: Dispatcher) => {
        dispatcher = given;
      },
      // It uses no more of a RequestContext than these two.
    } as unknown as Parameters<ApiAccess['applySecurityAuthentication']>[0]);
    return { headers, dispatcher };
  };
  const forward = async (incoming: IncomingMessage, body: Buffer): Promise<Dispatcher.ResponseData> => {
    const { headers, dispatcher } = await headersOf();
    const { 'content-type': type, accept } = incoming.headers;
    return await send(`${store.getCurrentCluster()?.server}${incoming.url}`, {
      // Node's parser lets only methods through.
      method: incoming.method as Dispatcher.HttpMethod,
      headers: { ...headers, accept: accept ?? '*/*', ...(type === undefined ? {} : { 'content-type': type }) },
      body: body.length === 0 ? null : body,
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
  };
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    if (nonsense !== undefined) {
      asked.push(url);
      return await nonsense(response, url, async () => {
        const real = await forward(incoming, body);
        return { status: real.statusCode, json: (await real.body.json()) as Record<string, unknown> };
      });
    }
    const real = await forward(incoming, body);
    // Who asked may have gone meanwhile: a watch would stay open for good.
    real.body.on('error', () => response.destroy());
    if (response.destroyed) return void real.body.destroy();
    const { 'content-type': type } = real.headers;
    response.writeHead(real.statusCode, { 'content-type': String(type) });
    response.flushHeaders();
    const stream = Readable.from(real.body);
    response.on('close', () => real.body.destroy());
    stream.on('error', () => response.destroy());
    stream.pipe(response);
  };
  const open = new Set<string>();
  const server: Server = createServer((incoming, response) => {
    const what = `${incoming.method} ${incoming.url} since ${new Date().toISOString()}`;
    open.add(what);
    response.once('close', () => open.delete(what));
    answer(incoming, response).catch(() => response.destroy());
  });
  // All of them, whatever a parser has made of them by then, which is what closeAllConnections goes by.
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // Listening on a TCP port.
  const { port } = server.address() as AddressInfo;
  return {
    access: {
      getCurrentCluster: () => ({ name: 'hostile', server: `http://127.0.0.1:${port}`, skipTLSVerify: false }),
      applySecurityAuthentication: async () => {},
    },
    answerWith: (next, connections = 'cut') => {
      nonsense = next;
      asked = [];
      if (connections === 'cut') cut();
    },
    get asked() {
      return asked;
    },
    get open() {
      return [...open];
    },
    close: async () => {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
