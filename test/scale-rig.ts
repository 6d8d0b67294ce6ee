/**
 * Store and controller in this process over simulated containers, as many as are asked for: what the tests of scale and
 * the rows of `make bench --figures scale` are taken with. Effects; close() undoes all of them.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { ApiError, callApi, tokenAccess } from '../client/index.ts';
import { type Controller, createController } from '../controller/index.ts';
import { type Container, crdFiles } from '../crds/index.ts';
import { type Behaviour, createSimulatedRuntime, type SimulatedRuntime } from '../runtime/simulated/index.ts';
import { createStore, type Store } from '../store/index.ts';
import { until } from './until.ts';

const collection = '/apis/holdfast.dev/v1/namespaces/default/containers';

export interface ScaleOptions {
  /** What a run of this container does; by default it runs until it is told to stop. `name` is without the namespace. */
  readonly behaviourOf?: (name: string, earlierRuns: number) => Behaviour;
  /** See SimulatedRuntimeDeps. `name` is without the namespace. */
  readonly before?: (operation: string, name: string, signal?: AbortSignal) => Promise<void> | undefined;
  readonly relistMs?: number;
  /** Of calls of the runtime, in milliseconds; and after how long a worker leaves one to itself. */
  readonly patience?: { readonly deadlineMs: number; readonly slowMs: number };
}

export class ScaleRig {
  readonly dataDir: string;
  readonly store: Store;
  readonly access: ReturnType<typeof tokenAccess>;
  readonly runtime: SimulatedRuntime;
  readonly #options: ScaleOptions;
  readonly #signal = new AbortController().signal;
  #registry = new Registry();
  #controller: Controller | undefined;

  constructor(parts: {
    dataDir: string;
    store: Store;
    access: ReturnType<typeof tokenAccess>;
    runtime: SimulatedRuntime;
    options: ScaleOptions;
  }) {
    this.dataDir = parts.dataDir;
    this.store = parts.store;
    this.access = parts.access;
    this.runtime = parts.runtime;
    this.#options = parts.options;
  }

  async startController(): Promise<void> {
    this.#registry = new Registry();
    const { relistMs, patience } = this.#options;
    this.#controller = createController({
      access: this.access,
      runtime: this.runtime,
      nodeName: 'test-host',
      log: pino({ level: process.env.HOLDFAST_TEST_LOG ?? 'silent' }),
      metrics: this.#registry,
      now: Date.now,
      random: Math.random,
      ...(relistMs === undefined ? {} : { relistMs }),
      slowMs: patience?.slowMs,
      deadlines: patience === undefined ? undefined : { changeMs: patience.deadlineMs, quickMs: patience.deadlineMs },
    });
    await this.#controller.synced;
  }

  async stopController(): Promise<void> {
    await this.#controller?.close();
    this.#controller = undefined;
  }

  call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', below: string, body?: unknown): Promise<unknown> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const [path = '', query] = below.split('?', 2);
    return callApi(this.access, {
      ...{ method, body, contentType, signal: this.#signal },
      path: `${collection}${path}`,
      query: Object.fromEntries(new URLSearchParams(query)),
    });
  }

  /** Applies specs, so many requests at a time. */
  async create(names: readonly string[], spec: (name: string) => Record<string, unknown> = () => ({})): Promise<void> {
    const left = [...names].reverse();
    const send = async (): Promise<void> => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        const whole = { image: 'app:1', terminationGracePeriodSeconds: 1, ...spec(name) };
        await this.#apply({ apiVersion: 'holdfast.dev/v1', kind: 'Container', metadata: { name }, spec: whole });
      }
    };
    await Promise.all(Array.from({ length: 16 }, send));
  }

  /** On a machine that is busy with other things a request may take longer than its deadline: then it is sent again. */
  async #apply(object: object): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.call('POST', '', object);
        return;
      } catch (error) {
        if (error instanceof ApiError && error.code === 409 && attempt > 1) return; // the first one arrived
        if (error instanceof ApiError || attempt === 10) throw error;
      }
    }
  }

  /** One value of the controller's metrics, all label sets together. */
  async metric(name: string): Promise<number> {
    const found = this.#registry.getSingleMetric(name);
    if (found === undefined) throw new Error(`there is no metric ${name}`);
    return (await found.get()).values.reduce((sum, { value }) => sum + value, 0);
  }

  /** Resolves when the controller has nothing to do and writes nothing. */
  async idle(deadlineMs = 300_000): Promise<void> {
    let last = -1;
    let calm = 0;
    await until(
      async () => {
        const count = await this.metric('controller_runtime_reconcile_total');
        const busy = (await this.metric('workqueue_depth')) + (await this.metric('controller_runtime_active_workers'));
        calm = busy === 0 && count === last ? calm + 1 : 0;
        last = count;
        return calm >= 5;
      },
      'the controller to come to rest',
      deadlineMs,
    );
  }

  // The store answers with what its schema has checked.
  async get(name: string): Promise<Container> {
    return (await this.call('GET', `/${name}`)) as Container;
  }

  /** The store's revision: how much was written to it. */
  async revision(): Promise<number> {
    const list = (await this.call('GET', '?limit=1')) as { metadata: { resourceVersion: string } };
    return Number(list.metadata.resourceVersion);
  }

  async running(): Promise<number> {
    return (await this.runtime.containers.list()).filter(({ state }) => state.kind === 'running').length;
  }

  async close(): Promise<void> {
    await this.stopController();
    await this.runtime.close();
    await this.access.close();
    await this.store.close();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

/** Opens store and runtime, and starts the controller. */
export async function createScaleRig(options: ScaleOptions = {}): Promise<ScaleRig> {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-scale-'));
  const store = await createStore({
    dataDir,
    listen: { host: '127.0.0.1', port: 0 },
    crdFiles,
    log: pino({ level: process.env.HOLDFAST_TEST_LOG ?? 'silent' }),
    metrics: new Registry(),
  });
  const short = (name: string): string => name.replace('default/', '');
  const runtime = createSimulatedRuntime({
    now: Date.now,
    behaviourOf: ({ name }, runs) => options.behaviourOf?.(short(name), runs) ?? {},
    before: (operation, name, signal) => options.before?.(operation, short(name), signal),
    keepsCalls: false,
  });
  const access = tokenAccess({ server: store.url, ca: store.caCertificate, token: store.adminToken });
  const rig = new ScaleRig({ dataDir, store, access, runtime, options });
  await rig.startController();
  return rig;
}
