/** A store in a temporary folder and a client of it, for the suites of store/. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { Agent, type Dispatcher, request } from 'undici';
import { crdFiles } from '../../crds/index.ts';
import { createStore, type Store, type StoreDeps } from '../../store/index.ts';
import type { Json, JsonObject } from '../../store/json.ts';
import { readJsonLines } from '../json-lines.ts';

export const containers = '/apis/holdfast.dev/v1/namespaces/default/containers';

export interface Answer {
  readonly code: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body as JSON. */
  readonly body: JsonObject;
}

export interface Call {
  readonly body?: Json | Buffer | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: JsonObject;
}

export interface Watching extends AsyncIterable<WatchEvent> {
  /** The next event; fails after a deadline, or when the watch ends. */
  next(): Promise<WatchEvent>;
  close(): void;
}

export class Client {
  readonly url: string;
  readonly #agent: Agent;
  readonly #token: string;

  constructor({ url, caCertificate, adminToken }: Pick<Store, 'url' | 'caCertificate' | 'adminToken'>) {
    this.url = url;
    this.#token = adminToken;
    this.#agent = new Agent({ connect: { ca: caCertificate }, connections: 64 });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async call(method: string, path: string, { body, headers }: Call = {}): Promise<Answer> {
    const isRaw = body === undefined || typeof body === 'string' || Buffer.isBuffer(body);
    const { statusCode, ...response } = await request(this.url + path, {
      method: method as Dispatcher.HttpMethod, // each test names a method of HTTP
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json', ...headers },
      body: isRaw ? (body ?? null) : JSON.stringify(body),
    });
    const text = await response.body.text();
    return {
      code: statusCode,
      headers: response.headers,
      text,
      get body() {
        return JSON.parse(text);
      },
    };
  }

  /** The call's answer, which must have this code. */
  async expect(code: number, method: string, path: string, call: Call = {}): Promise<JsonObject> {
    const answer = await this.call(method, path, call);
    assert.equal(answer.code, code, `${method} ${path}: ${answer.text.slice(0, 500)}`);
    return answer.text.startsWith('{') ? answer.body : {};
  }

  async watch(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Watching> {
    const stop = new AbortController();
    const { statusCode, body } = await request(this.url + path, {
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#token}`, ...headers },
      signal: stop.signal,
      bodyTimeout: 0,
    });
    assert.equal(statusCode, 200);
    const events = readJsonLines<WatchEvent>(body);
    return {
      [Symbol.asyncIterator]: () => events,
      close: () => stop.abort(),
      next: async () => {
        const timer = setTimeout(() => stop.abort(new Error(`no event came on ${path}`)), 60_000);
        try {
          const result = await events.next();
          if (result.done === true) throw new Error(`the watch ${path} ended`);
          return result.value;
        } finally {
          clearTimeout(timer);
        }
      },
    };
  }
}

export interface Fixture {
  readonly store: Store;
  readonly client: Client;
  readonly dataDir: string;
  readonly metrics: Registry;
  close(): Promise<void>;
}

export const silent = pino({ level: 'silent' });

/** Starts a store; on a data directory of its own unless one is given, which then stays. */
export async function startStore(overrides: Partial<StoreDeps> = {}): Promise<Fixture> {
  const dataDir = overrides.dataDir ?? (await makeDir());
  const metrics = new Registry();
  const listen = { host: '127.0.0.1', port: 0 };
  const store = await createStore({ listen, crdFiles, log: silent, metrics, ...overrides, dataDir });
  const client = new Client(store);
  return {
    store,
    client,
    dataDir,
    metrics,
    close: async () => {
      await client.close();
      await store.close();
      if (overrides.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export function makeDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'holdfast-store-'));
}

export function container(name: string, spec: JsonObject = {}, metadata: JsonObject = {}): JsonObject {
  return {
    apiVersion: 'holdfast.dev/v1',
    kind: 'Container',
    metadata: { name, ...metadata },
    spec: { image: 'nginx', ...spec },
  };
}

export function configMap(name: string, data: JsonObject = {}, metadata: JsonObject = {}): JsonObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...metadata }, data };
}

/** The metadata of an object. */
export function metaOf(object: JsonObject): JsonObject {
  return object.metadata as JsonObject; // every object that the store answers has it
}

export function namesOf(list: JsonObject): readonly string[] {
  return (list.items as readonly JsonObject[]).map((item) => String(metaOf(item).name)); // a list, as the caller knows
}
