/** The controller over the real store, with simulated containers, each of which can be stopped and started again. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import {
  type ApiAccess,
  callApi,
  containersPath,
  parseContainer,
  startListWatch,
  tokenAccess,
} from '../../client/index.ts';
import { type Controller, createController, type StartPolicy } from '../../controller/index.ts';
import { type Container, crdFiles } from '../../crds/index.ts';
import type { Runtime } from '../../runtime/index.ts';
import { type Behaviour, createSimulatedRuntime, type SimulatedRuntime } from '../../runtime/simulated/index.ts';
import { createStore, type Store } from '../../store/index.ts';
import { freePort } from '../addresses.ts';
import { until } from '../until.ts';

const collection = '/apis/holdfast.dev/v1/namespaces/default/containers';
const log = pino({ level: process.env.HOLDFAST_TEST_LOG ?? 'silent' });

const nodeName = 'test-host';

interface Parts {
  store: Store;
  /** As the administrator. */
  readonly access: ReturnType<typeof tokenAccess>;
  /** Of the store as it is now: each start of it makes another token for its host. */
  hostAccess: ReturnType<typeof tokenAccess>;
  runtime: SimulatedRuntime;
}

function hostAccessOf({ url, caCertificate, hostToken }: Store): ReturnType<typeof tokenAccess> {
  if (hostToken === undefined) throw new Error('the store has no host');
  return tokenAccess({ server: url, ca: caCertificate, token: hostToken });
}

interface Seen {
  readonly type: 'ADDED' | 'DELETED';
  readonly object: Container;
}

export class Rig {
  /** How the controller reaches the store; by default directly, and as the host that it is of in `holdfast up`. */
  controllerAccess: ApiAccess | undefined;
  /** The runtime as the next controller has it; as it is by default. */
  controllerRuntime: (runtime: Runtime) => Runtime = (runtime) => runtime;
  /** Where the next controller keeps its checkpoint, in a folder that goes with the rig. */
  checkpointName = 'controller';
  /** Of the controller that runs. */
  metrics = new Registry();
  readonly behaviours = new Map<string, (earlierRuns: number) => Behaviour>();
  /** How far the host's clock has been set, for the controller and the runtime. */
  clockOffsetMs = 0;
  readonly #now = (): number => Date.now() + this.clockOffsetMs;
  readonly #signal = new AbortController().signal;
  readonly #closers: (() => Promise<void>)[] = [];
  #dataDir = '';
  #port = 0;
  #parts: Parts | undefined;
  #controller: Controller | undefined;

  get #open(): Parts {
    if (this.#parts === undefined) throw new Error('the rig is there only while a test runs');
    return this.#parts;
  }
  get access(): ReturnType<typeof tokenAccess> {
    return this.#open.access;
  }
  get runtime(): SimulatedRuntime {
    return this.#open.runtime;
  }

  async open(): Promise<void> {
    this.#dataDir = await mkdtemp(join(tmpdir(), 'holdfast-rig-'));
    this.#port = await freePort();
    this.behaviours.clear();
    this.clockOffsetMs = 0;
    const store = await this.#createStore();
    this.#parts = {
      store,
      access: tokenAccess({ server: store.url, ca: store.caCertificate, token: store.adminToken }),
      hostAccess: hostAccessOf(store),
      runtime: this.#createRuntime(),
    };
    await this.startController();
  }
  #createRuntime(): SimulatedRuntime {
    return createSimulatedRuntime({
      now: this.#now,
      behaviourOf: ({ name }, runs) => this.behaviours.get(name.replace('default/', ''))?.(runs) ?? {},
    });
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close();
    await this.stopController();
    await this.#open.runtime.close();
    await this.#open.access.close();
    await this.#open.hostAccess.close();
    await this.#open.store.close();
    await rm(this.#dataDir, { recursive: true, force: true });
  }

  #createStore(): Promise<Store> {
    const listen = { host: '127.0.0.1', port: this.#port };
    return createStore({ dataDir: this.#dataDir, listen, host: nodeName, crdFiles, log, metrics: new Registry() });
  }
  get checkpointDir(): string {
    return join(this.#dataDir, this.checkpointName);
  }
  /** The store's file is gone, and an empty store answers at the same address. */
  async loseStore(): Promise<void> {
    await this.stopStore();
    for (const suffix of ['', '-wal', '-shm']) await rm(join(this.#dataDir, `store.db${suffix}`), { force: true });
    await this.startStore();
  }
  /** The store's file as it is now; begin it without the store, and restore it so. */
  async copyStore(): Promise<{ restore(): Promise<void> }> {
    const path = join(this.#dataDir, 'store.db');
    await copyFile(path, `${path}.backup`);
    return { restore: () => copyFile(`${path}.backup`, path) };
  }
  /** What the store's file has under a key is nonsense now; begin it without the store. */
  damage(key: string): void {
    const database = new DatabaseSync(join(this.#dataDir, 'store.db'));
    database.prepare("UPDATE objects SET json = '{' WHERE key = ?").run(key);
    database.close();
  }
  async loseCheckpoint(): Promise<void> {
    await rm(this.checkpointDir, { recursive: true, force: true });
  }
  /** The host was switched off and on: no container is left on it. Begin it without a controller. */
  async reboot(): Promise<void> {
    await this.#open.runtime.close();
    this.#open.runtime = this.#createRuntime();
  }
  stopStore(): Promise<void> {
    return this.#open.store.close();
  }
  async startStore(): Promise<void> {
    this.#open.store = await this.#createStore();
    await this.#open.hostAccess.close();
    this.#open.hostAccess = hostAccessOf(this.#open.store);
  }

  async startController(startPolicy?: StartPolicy): Promise<void> {
    const runtime = this.controllerRuntime(this.#open.runtime);
    const access = this.controllerAccess ?? {
      getCurrentCluster: () => this.#open.hostAccess.getCurrentCluster(),
      applySecurityAuthentication: (context) => this.#open.hostAccess.applySecurityAuthentication(context),
    };
    this.metrics = new Registry();
    const controller = createController({
      ...{ access, runtime, log, now: this.#now, random: Math.random },
      nodeName,
      metrics: this.metrics,
      checkpointDir: this.checkpointDir,
      storePatienceMs: 300,
      relistMs: 200,
      startPolicy,
    });
    this.#controller = controller;
    await controller.synced;
  }
  async stopController(): Promise<void> {
    await this.#controller?.close();
    this.#controller = undefined;
  }
  async restartController(): Promise<void> {
    await this.stopController();
    await this.startController();
  }

  call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return callApi(this.#open.access, { method, path, body, contentType, signal: this.#signal });
  }
  // The store answers with what its schema has checked.
  async create(
    name: string,
    spec: Record<string, unknown> = {},
    annotations: Record<string, string> = {},
    namespace = 'default',
  ): Promise<Container> {
    return (await this.call('POST', collection.replace('default', namespace), {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name, annotations },
      spec: { image: 'app:1', backoff: { initial: '20ms', max: '100ms' }, terminationGracePeriodSeconds: 1, ...spec },
    })) as Container;
  }
  async get(name: string): Promise<Container> {
    return (await this.call('GET', `${collection}/${name}`)) as Container;
  }
  async list(): Promise<Container[]> {
    return ((await this.call('GET', collection)) as { items: Container[] }).items;
  }
  async patch(name: string, body: unknown): Promise<void> {
    await this.call('PATCH', `${collection}/${name}`, body);
  }
  async remove(name: string): Promise<void> {
    await this.call('DELETE', `${collection}/${name}`);
  }
  async events(): Promise<{ reason: string; message: string; involvedObject: { name: string } }[]> {
    const answer = await this.call('GET', '/api/v1/namespaces/default/events');
    return (answer as { items: { reason: string; message: string; involvedObject: { name: string } }[] }).items;
  }

  async reach(
    name: string,
    isThere: (status: NonNullable<Container['status']>) => boolean,
    what: string,
  ): Promise<Container> {
    let last: Container | undefined;
    try {
      await until(async () => {
        last = await this.get(name);
        return last.status !== undefined && isThere(last.status);
      }, `${name} to be ${what}`);
    } catch (error) {
      throw new Error(`${name} did not become ${what}: ${JSON.stringify(last?.status)}`, { cause: error });
    }
    if (last === undefined) throw new Error(`${name} was never read`);
    return last;
  }
  gone(name: string): Promise<void> {
    return until(async () => (await this.list()).every(({ metadata }) => metadata.name !== name), `${name} to be gone`);
  }
  async idOf(name: string): Promise<string> {
    return (await this.reach(name, ({ containerID }) => containerID !== undefined, 'known')).status?.containerID ?? '';
  }

  /** What a watch shows from now on, in order. */
  async watch(): Promise<readonly Seen[]> {
    const seen: Seen[] = [];
    const { access } = this.#open;
    const listWatch = startListWatch<Container>({
      ...{ access, now: Date.now, random: Math.random, log },
      path: containersPath,
      list: (query, signal) => callApi(access, { method: 'GET', path: containersPath, query, signal }),
      parse: parseContainer,
      onReplace: (objects) => seen.push(...objects.map((object) => ({ type: 'ADDED' as const, object }))),
      onChange: (kind, object) => seen.push({ type: kind === 'deleted' ? 'DELETED' : 'ADDED', object }),
      onActivity: () => {},
      onReconnect: () => {},
    });
    this.#closers.push(() => listWatch.close());
    await listWatch.synced;
    return seen;
  }

  /** Lets the controller look at the whole host so many times. */
  async relists(wanted: number): Promise<void> {
    const { containers } = this.runtime;
    const { list } = containers;
    let count = 0;
    Object.assign(containers, {
      list: () => {
        count += 1;
        return list();
      },
    });
    await until(() => count >= wanted, `${wanted} relists`);
    Object.assign(containers, { list });
  }
}

/** Registers the hooks of a suite: a fresh rig for each test. */
export function useRig(): Rig {
  const rig = new Rig();
  beforeEach(() => rig.open());
  afterEach(() => rig.close());
  return rig;
}
