/** The controller against the real store, with simulated containers: whole courses of events, and many of them. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { ApiError, callApi, tokenAccess } from '../../client/index.ts';
import { type Controller, createController } from '../../controller/index.ts';
import { type Container, containerIDOf, crdFiles } from '../../crds/index.ts';
import { ImagePullError, type PullOptions, StartError } from '../../runtime/index.ts';
import { type Behaviour, createSimulatedRuntime, type SimulatedRuntime } from '../../runtime/simulated/index.ts';
import { createStore, type Store } from '../../store/index.ts';
import { until } from '../until.ts';

const collection = '/apis/holdfast.dev/v1/namespaces/default/containers';
const log = pino({ level: process.env.HOLDFAST_TEST_LOG ?? 'silent' });

describe('the controller over the store, with simulated containers', function () {
  this.timeout(240_000);
  let dataDir: string;
  let store: Store;
  let access: ReturnType<typeof tokenAccess>;
  let runtime: SimulatedRuntime;
  let controller: Controller;
  let registry: Registry;
  let behaviours: Map<string, (earlierRuns: number) => Behaviour>;
  let pull: (reference: string, options: PullOptions) => Promise<void>;

  const signal = new AbortController().signal;
  const call = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown) =>
    callApi(access, {
      method,
      path,
      body,
      contentType: method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      signal,
    });
  const create = (name: string, spec: Record<string, unknown> = {}): Promise<unknown> =>
    call('POST', collection, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name },
      spec: { image: 'app:1', backoff: { initial: '20ms', max: '100ms' }, terminationGracePeriodSeconds: 1, ...spec },
    });
  // The store answers with what its schema has checked.
  const get = async (name: string): Promise<Container> => (await call('GET', `${collection}/${name}`)) as Container;
  const list = async (): Promise<Container[]> => ((await call('GET', collection)) as { items: Container[] }).items;
  const reach = async (
    name: string,
    isThere: (status: NonNullable<Container['status']>) => boolean,
    what: string,
  ): Promise<Container> => {
    let last: Container | undefined;
    await until(async () => {
      last = await get(name);
      return last.status !== undefined && isThere(last.status);
    }, `${name} to be ${what}`).catch((error: unknown) => {
      throw new Error(`${name} is ${JSON.stringify(last?.status)}`, { cause: error });
    });
    if (last === undefined) throw new Error(`${name} was never read`);
    return last;
  };
  const startController = async (): Promise<void> => {
    registry = new Registry();
    controller = createController({
      access,
      runtime,
      nodeName: 'test-host',
      log,
      metrics: registry,
      now: Date.now,
      random: Math.random,
      relistMs: 200,
    });
    await controller.synced;
  };
  /** Lets the controller look at the whole host so many times. */
  const relists = async (wanted: number): Promise<void> => {
    const { list: original } = runtime.containers;
    let count = 0;
    Object.assign(runtime.containers, {
      list: () => {
        count += 1;
        return original();
      },
    });
    await until(() => count >= wanted, `${wanted} relists`);
    Object.assign(runtime.containers, { list: original });
  };
  const idOf = async (name: string): Promise<string> => containerIDOf(await get(name));

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'holdfast-controller-'));
    store = await createStore({
      dataDir,
      listen: { host: '127.0.0.1', port: 0 },
      crdFiles,
      log,
      metrics: new Registry(),
    });
    access = tokenAccess({ server: store.url, ca: store.caCertificate, token: store.adminToken });
    behaviours = new Map();
    pull = async () => {};
    runtime = createSimulatedRuntime({
      now: Date.now,
      behaviourOf: (config, runs) => behaviours.get(config.name.replace('default/', ''))?.(runs) ?? {},
      pull: (reference, _signal, options) => pull(reference, options),
    });
    await startController();
  });
  afterEach(async () => {
    await controller.close();
    await runtime.close();
    await access.close();
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('runs what is applied, and tells status, conditions and events', async () => {
    await create('web');
    const { status, metadata } = await reach('web', ({ state }) => state === 'Running', 'running');
    assert.equal(status?.containerID, containerIDOf({ metadata }));
    assert.deepEqual([status?.nodeName, status?.restartCount, status?.observedGeneration], ['test-host', 0, 1]);
    assert.deepEqual(
      status?.conditions?.map(({ type, status: value }) => `${type}=${value}`),
      ['Ready=True', 'ImageAvailable=True', 'DependenciesMet=True', 'SpecValid=True'],
    );
    assert.deepEqual(metadata.finalizers, ['holdfast.dev/container']);
    await until(async () => {
      const events = (
        (await call('GET', '/api/v1/namespaces/default/events')) as { items: { reason: string }[] }
      ).items.map(({ reason }) => reason);
      return ['Pulling', 'Pulled', 'Created', 'Started'].every((reason) => events.includes(reason));
    }, 'the events');
  });
  it('comes to rest: a container that runs causes no further work', async () => {
    await create('web');
    await reach('web', ({ state }) => state === 'Running', 'running');
    const version = (await get('web')).metadata.resourceVersion;
    const calls = runtime.calls.length;
    await relists(3);
    assert.deepEqual([(await get('web')).metadata.resourceVersion, runtime.calls.length], [version, calls]);
  });
  it('starts again what ended, with growing waits, and counts it', async () => {
    behaviours.set('crash', () => ({ exitAfterMs: 5, exitCode: 1 }));
    await create('crash');
    const { status } = await reach('crash', ({ restartCount }) => (restartCount ?? 0) >= 4, 'restarted four times');
    assert.ok((status?.backoff?.attempt ?? 4) >= 4);
    assert.match(
      await registry.getSingleMetricAsString('holdfast_container_restarts_total'),
      /container="crash"\} ([4-9]|[1-9]\d+)$/m,
    );
  });
  it('notices an exit that no event told of', async () => {
    await create('web');
    await reach('web', ({ state }) => state === 'Running', 'running');
    runtime.exit(await idOf('web'), 7, { silently: true });
    const { status } = await reach(
      'web',
      ({ restartCount, state }) => restartCount === 1 && state === 'Running',
      'running again',
    );
    assert.equal(status?.lastTermination?.exitCode, 7);
    assert.match(await registry.getSingleMetricAsString('holdfast_drift_total'), /kind="state"\} [1-9]/);
  });
  it('adopts what runs when it starts anew, counting nothing twice', async () => {
    behaviours.set('web', (runs) => (runs < 2 ? { exitAfterMs: 5, exitCode: 1 } : {}));
    await create('web');
    const before = await reach(
      'web',
      ({ restartCount, state }) => restartCount === 2 && state === 'Running',
      'running after two restarts',
    );
    const starts = () => runtime.calls.filter((one) => one.startsWith('start')).length;
    const count = starts();
    await controller.close();
    await startController();
    await relists(2);
    const after = await get('web');
    assert.deepEqual([after.status?.restartCount, after.status?.pid, starts()], [2, before.status?.pid, count]);
  });
  it('removes the containers of objects that were deleted while it was away', async () => {
    await create('web');
    await reach('web', ({ state }) => state === 'Running', 'running');
    await controller.close();
    await call('PATCH', `${collection}/web`, { metadata: { finalizers: null } });
    await call('DELETE', `${collection}/web`);
    await startController();
    await until(async () => (await runtime.containers.list()).length === 0, 'the orphan to be removed');
  });
  it('stops gracefully, kills what does not obey, and lets the object go', async () => {
    behaviours.set('stubborn', () => ({ isStubborn: true }));
    await create('stubborn');
    await reach('stubborn', ({ state }) => state === 'Running', 'running');
    await call('DELETE', `${collection}/stubborn`);
    await until(async () => (await list()).length === 0, 'the object to be gone');
    assert.deepEqual(
      runtime.calls.filter((one) => /signal|remove/.test(one)),
      ['signal-15 default/stubborn', 'signal-9 default/stubborn', 'remove default/stubborn'],
    );
  });
  it('makes a new container for a new object of the same name, after the old one is gone', async () => {
    await create('web');
    await reach('web', ({ state }) => state === 'Running', 'running');
    const old = await idOf('web');
    await call('PATCH', `${collection}/web`, { metadata: { finalizers: null } });
    await call('DELETE', `${collection}/web`);
    // The controller may have put its finalizer back in between; then the old object goes when its container has ended.
    await until(async () => {
      try {
        await create('web');
        return true;
      } catch (error) {
        if (error instanceof ApiError && error.code === 409) return false;
        throw error;
      }
    }, 'the name to be free');
    await reach('web', ({ state }) => state === 'Running', 'running');
    assert.notEqual(await idOf('web'), old);
    assert.deepEqual(
      (await runtime.containers.list()).map(({ id }) => id),
      [await idOf('web')],
    );
  });
  it('starts in the order of links and dependencies, and gives links their addresses', async () => {
    await create('agent', { links: [{ name: 'web', alias: 'inside' }], dependsOn: [{ name: 'db' }] });
    await reach('agent', ({ reason }) => reason === 'WaitingForDependency', 'waiting');
    await create('web');
    await create('db');
    await reach('agent', ({ state }) => state === 'Running', 'running');
    const starts = runtime.calls.filter((one) => one.startsWith('start '));
    assert.equal(starts.at(-1), 'start default/agent');
    assert.deepEqual([...starts].sort(), ['start default/agent', 'start default/db', 'start default/web']);
  });
  it('follows a link whose target got another address, without a restart', async () => {
    await create('web');
    await create('agent', { links: [{ name: 'web' }] });
    const before = await reach('agent', ({ state }) => state === 'Running', 'running');
    await call('PATCH', `${collection}/web`, { spec: { env: [{ name: 'A', value: 'b' }] } });
    await until(() => runtime.calls.includes('update default/agent'), 'the update of the link');
    const after = await get('agent');
    assert.deepEqual([after.status?.pid, after.status?.restartCount], [before.status?.pid, 0]);
  });
  it('gives up after maxRetries and starts anew when it is stopped and started', async () => {
    behaviours.set('tries', (runs) => (runs < 3 ? { exitAfterMs: 2, exitCode: 1 } : {}));
    await create('tries', { restart: { maxRetries: 2 } });
    await reach('tries', ({ reason }) => reason === 'BackoffLimitExceeded', 'given up');
    await call('PATCH', `${collection}/tries`, { spec: { desiredState: 'Stopped' } });
    await reach('tries', ({ reason }) => reason === 'Stopped', 'stopped');
    await call('PATCH', `${collection}/tries`, { spec: { desiredState: 'Running' } });
    await reach('tries', ({ state }) => state === 'Running', 'running');
  });
  it('reports a command that cannot run, and tries again', async () => {
    let isSeen = false;
    behaviours.set('bad', () => (isSeen ? {} : { startError: new StartError('"nope" is not in the image', 127) }));
    await create('bad', { backoff: { initial: '300ms', max: '300ms' } });
    const { status } = await reach('bad', ({ reason }) => reason === 'RunContainerError', 'failing');
    isSeen = true;
    assert.deepEqual(
      [status?.state, status?.exitCode, status?.message],
      ['Restarting', 127, '"nope" is not in the image'],
    );
    await reach('bad', ({ state }) => state === 'Running', 'running');
  });
  it('shows how far a pull is, asks for the platform, and says at the end how long it took', async () => {
    let arrive: (bytes: number) => void = () => {};
    let finish: () => void = () => {};
    let askedFor: string | undefined;
    pull = async (_reference, { platform, onProgress }) => {
      askedFor = platform;
      arrive = (bytes) => onProgress?.({ doneBytes: bytes, totalBytes: 100 * 2 ** 20 });
      arrive(2 ** 20);
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    };
    await create('pulled', { image: 'registry.example/big:1', platform: 'linux/arm64' });
    const { status } = await reach('pulled', ({ reason }) => reason === 'Pulling', 'pulling');
    assert.equal(status?.message, 'fetches the image "registry.example/big:1": 1.0 MiB of 100.0 MiB');
    assert.equal(askedFor, 'linux/arm64');
    let bytes = 2 ** 20;
    const arriving = setInterval(() => {
      bytes = Math.min(bytes + 2 ** 20, 100 * 2 ** 20);
      arrive(bytes);
    }, 50);
    try {
      await reach('pulled', ({ message }) => / [1-9][0-9]\.0 MiB of /.test(message ?? ''), 'further on');
      await reach('pulled', ({ message }) => /is being unpacked$/.test(message ?? ''), 'unpacking');
    } finally {
      clearInterval(arriving);
    }
    finish();
    await reach('pulled', ({ state }) => state === 'Running', 'running');
    let messages: string[] = [];
    await until(async () => {
      const events = (await call('GET', '/api/v1/namespaces/default/events')) as {
        items: { reason: string; message: string; involvedObject: { name: string } }[];
      };
      messages = events.items.filter((one) => one.involvedObject.name === 'pulled').map((one) => one.message);
      return messages.some((message) => /^fetched the image/.test(message));
    }, 'the event');
    assert.equal(messages.filter((message) => /MiB of/.test(message)).length, 0, 'progress makes no events');
  });
  it('opens the breaker of a dead registry, asks it no more, and lets other registries be', async () => {
    let asked = 0;
    pull = async (reference) => {
      if (!reference.startsWith('dead.example/')) return;
      asked += 1;
      throw new ImagePullError(reference, {
        kind: 'unreachable',
        what: 'connection refused',
        fix: 'start the registry',
      });
    };
    for (const index of [1, 2, 3, 4, 5, 6]) await create(`dead-${index}`, { image: `dead.example/app-${index}` });
    await until(
      async () =>
        /breaker="registry:dead.example",state="open"\} 1/.test(
          await registry.getSingleMetricAsString('holdfast_circuit_breaker_state'),
        ),
      'the breaker to open',
    );
    const sofar = asked;
    await create('dead-late', { image: 'dead.example/late' });
    const { status } = await reach('dead-late', ({ reason }) => reason === 'ImagePullBackOff', 'held back');
    assert.match(status?.message ?? '', /registry:dead\.example failed several times in a row/);
    assert.equal(asked, sofar);
    await create('alive', { image: 'alive.example/app' });
    await reach('alive', ({ state }) => state === 'Running', 'running');
  });
  it('starts again when an exit comes right after the start, and never runs one container twice', async () => {
    behaviours.set('flash', () => ({ exitAfterMs: 0, exitCode: 1 }));
    await create('flash', { backoff: { initial: '0s', max: '20ms' } });
    await reach('flash', ({ restartCount }) => (restartCount ?? 0) >= 20, 'restarted twenty times');
    assert.equal(runtime.peakRunning, 1);
  });
  it('keeps 300 containers of which a third crashes, and stays live', async () => {
    for (let index = 0; index < 100; index += 1)
      behaviours.set(`many-${index * 3}`, () => ({ exitAfterMs: 10, exitCode: 1 }));
    await Promise.all(Array.from({ length: 300 }, (_, index) => create(`many-${index}`)));
    await until(
      async () => {
        const objects = await list();
        const steady = objects.filter(({ metadata }) => Number(metadata.name.slice(5)) % 3 !== 0);
        const crashing = objects.filter(({ metadata }) => Number(metadata.name.slice(5)) % 3 === 0);
        return (
          steady.every(({ status }) => status?.state === 'Running') &&
          crashing.every(({ status }) => (status?.restartCount ?? 0) >= 2)
        );
      },
      'all to be as they should',
      90_000,
    );
    const steady = (await list()).filter(({ metadata }) => Number(metadata.name.slice(5)) % 3 !== 0);
    assert.ok(steady.length === 200 && steady.every(({ status }) => status?.restartCount === 0));
  });
});
