/**
 * The load generator of the bench's store figures: what clients do to any Kubernetes API server, over HTTPS with a token.
 * Effects: objects in namespaces of its own, which it makes and leaves to whoever throws the server away.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { connect } from 'node:tls';
import { Agent, type Dispatcher, request } from 'undici';
import { untilGiven } from '../until.ts';

export interface ApiServer {
  readonly url: string;
  /** PEM. */
  readonly ca: string;
  readonly token: string;
}

/** As many bytes as a ConfigMap has in all, about. */
const objectBytes = 1_024;
const filler = 'x'.repeat(objectBytes - 300);
const eventDeadlineMs = 30_000;

export class StoreLoad {
  readonly #server: ApiServer;
  readonly #agent: Agent;

  constructor(server: ApiServer, clients: number) {
    this.#server = server;
    this.#agent = new Agent({ connect: { ca: server.ca }, connections: clients, pipelining: 1 });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  /** The answer's text. Throws if its status is 400 or more. */
  async call(method: Dispatcher.HttpMethod, path: string, body?: unknown, contentType = 'application/json') {
    const { statusCode, body: answer } = await request(this.#server.url + path, {
      method,
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#server.token}`, 'content-type': contentType },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.text();
    if (statusCode >= 400) throw new Error(`${method} ${path}: ${statusCode} ${text.slice(0, 300)}`);
    return text;
  }

  async createNamespace(name: string): Promise<void> {
    await this.call('POST', '/api/v1/namespaces', { metadata: { name } });
  }

  async create(namespace: string, name: string): Promise<void> {
    await this.call('POST', pathOf(namespace), { metadata: { name }, data: { filler } });
  }

  async patch(namespace: string, name: string, value: string): Promise<void> {
    await this.call('PATCH', `${pathOf(namespace)}/${name}`, { data: { value } }, 'application/merge-patch+json');
  }

  async get(namespace: string, name: string): Promise<void> {
    await this.call('GET', `${pathOf(namespace)}/${name}`);
  }

  /** Milliseconds until the whole list was received; throws if it has another length. */
  async timeList(namespace: string, length: number): Promise<number> {
    const beganMs = performance.now();
    const text = await this.call('GET', pathOf(namespace));
    const tookMs = performance.now() - beganMs;
    const found = (JSON.parse(text) as { items: unknown[] }).items.length; // a list of the API has items
    if (found !== length) throw new Error(`the list of ${namespace} has ${found} objects, not ${length}`);
    return tookMs;
  }

  /** ConfigMaps in all namespaces. */
  async count(): Promise<number> {
    const text = await this.call('GET', '/api/v1/configmaps?limit=1');
    const { items, metadata } = JSON.parse(text) as { items: unknown[]; metadata: { remainingItemCount?: number } };
    return items.length + (metadata.remainingItemCount ?? 0);
  }

  async openWatchers(namespace: string, count: number): Promise<Watchers> {
    return await Watchers.open(this.#server, namespace, count);
  }
}

function pathOf(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps`;
}

/** Runs `work` for each of 0…count-1, by so many clients at once; resolves with how many were done in a second. */
export async function runAll(
  { count, clients }: { readonly count: number; readonly clients: number },
  work: (index: number) => Promise<void>,
): Promise<number> {
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) {
      const index = next;
      next += 1;
      await work(index);
    }
  };
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  return (count * 1_000) / (performance.now() - beganMs);
}

/** Runs `work` for each of 0…count-1, one after the other; resolves with the milliseconds of each. */
export async function timeEach(count: number, work: (index: number) => Promise<void>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const beganMs = performance.now();
    await work(index);
    times.push(performance.now() - beganMs);
  }
  return times;
}

/** Many watches, a connection each, that wait for objects by name: plain sockets, so that the client costs little. */
class Watchers {
  readonly #sockets: ReturnType<typeof connect>[] = [];
  #awaited: { readonly text: Buffer; left: number; readonly done: (atMs: number) => void } | undefined;

  static async open(server: ApiServer, namespace: string, count: number): Promise<Watchers> {
    const watchers = new Watchers();
    const batch = 20;
    for (let index = 0; index < count; index += batch)
      await Promise.all(
        Array.from({ length: Math.min(batch, count - index) }, () => watchers.#openOne(server, namespace)),
      );
    return watchers;
  }

  #openOne({ url, ca, token }: ApiServer, namespace: string): Promise<void> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port), ca, ALPNProtocols: ['http/1.1'] });
      this.#sockets.push(socket);
      socket.once('error', reject);
      socket.once('secureConnect', () =>
        socket.write(
          `GET ${pathOf(namespace)}?watch=1 HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
        ),
      );
      socket.once('data', (head: Buffer) => {
        const status = head.subarray(9, 12).toString();
        if (status !== '200') reject(new Error(`a watch was answered with ${status}`));
        resolve();
        socket.on('data', (chunk: Buffer) => this.#received(chunk));
      });
    });
  }

  /** Milliseconds from before the write until the last watcher has it. */
  async timeEvent(name: string, write: () => Promise<void>): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const awaited = { text: Buffer.from(`"${name}"`), left: this.#sockets.length, done: resolve };
    this.#awaited = awaited;
    const beganMs = performance.now();
    await write();
    const ended = await Promise.race([promise, wait(eventDeadlineMs, undefined, { ref: false })]);
    if (ended === undefined) throw new Error(`${awaited.left} watchers did not hear of ${name}`);
    return ended - beganMs;
  }

  #received(chunk: Buffer): void {
    const awaited = this.#awaited;
    if (awaited === undefined || !chunk.includes(awaited.text)) return;
    awaited.left -= 1;
    if (awaited.left === 0) awaited.done(performance.now());
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Waits until the server answers. */
export async function untilReady(load: StoreLoad): Promise<void> {
  await untilGiven(() => load.call('GET', '/version').catch(() => undefined), 'the API server to answer');
}
