/** Secrets and ConfigMaps on their way into containers: the controller, the real store, simulated containers. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { callApi, tokenAccess } from '../../client/index.ts';
import { type Controller, createController } from '../../controller/index.ts';
import { type Container, containerIDOf, crdFiles } from '../../crds/index.ts';
import { type ContainerConfig, ImagePullError, type RegistryCredential, StartError } from '../../runtime/index.ts';
import { createSimulatedRuntime, type SimulatedRuntime } from '../../runtime/simulated/index.ts';
import { createStore, type Store } from '../../store/index.ts';
import { until } from '../until.ts';

const collection = '/apis/holdfast.dev/v1/namespaces/default/containers';
const core = '/api/v1/namespaces/default';
const secretValue = 'kept-Between-us-47';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('Secrets and ConfigMaps of containers', function () {
  this.timeout(240_000);
  let dataDir: string;
  let store: Store;
  let access: ReturnType<typeof tokenAccess>;
  let runtime: SimulatedRuntime;
  let controller: Controller;
  let registry: Registry;
  let logged: string;
  /** The configurations that each container was started with, by its name. */
  let starts: Map<string, ContainerConfig[]>;
  /** What each image was asked for with. */
  let pullFails: (credentials: readonly RegistryCredential[]) => boolean;
  /** How starts fail. */
  let failure: Error | undefined;
  let pulls: Map<string, readonly RegistryCredential[]>;

  const signal = new AbortController().signal;
  const call = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown) =>
    callApi(access, {
      method,
      path,
      body,
      contentType: method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      signal,
    });
  const create = (name: string, spec: Record<string, unknown>): Promise<unknown> =>
    call('POST', collection, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name, labels: { tier: 'front' } },
      spec: { image: 'app:1', backoff: { initial: '20ms', max: '100ms' }, terminationGracePeriodSeconds: 1, ...spec },
    });
  const createSecret = (name: string, data: Record<string, string>): Promise<unknown> =>
    call('POST', `${core}/secrets`, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name },
      data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, base64(value)])),
    });
  // The store answers with what its schema has checked.
  const get = async (name: string): Promise<Container> => (await call('GET', `${collection}/${name}`)) as Container;
  const reach = async (
    name: string,
    isThere: (status: NonNullable<Container['status']>) => boolean,
    what: string,
  ): Promise<NonNullable<Container['status']>> => {
    let last: Container['status'];
    await until(async () => {
      last = (await get(name)).status;
      return last !== undefined && isThere(last);
    }, `${name} to be ${what}`).catch((error: unknown) => {
      throw new Error(`${name} is ${JSON.stringify(last)}`, { cause: error });
    });
    return last ?? {};
  };
  const running = (name: string) => reach(name, ({ state }) => state === 'Running', 'running');
  const idOf = async (name: string): Promise<string> => containerIDOf(await get(name));
  const lastStart = (name: string): ContainerConfig | undefined => starts.get(`default/${name}`)?.at(-1);
  const envOf = (name: string): Record<string, string> =>
    Object.fromEntries((lastStart(name)?.env ?? []).map((one) => [one.name, one.value]));
  const events = async (): Promise<{ reason: string; message: string; type: string }[]> =>
    ((await call('GET', `${core}/events`)) as { items: { reason: string; message: string; type: string }[] }).items;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'holdfast-configuration-'));
    logged = '';
    const write = (line: string): void => {
      logged += line;
    };
    const log = pino({ level: 'debug' }, { write });
    store = await createStore({
      dataDir,
      listen: { host: '127.0.0.1', port: 0 },
      crdFiles,
      log,
      metrics: new Registry(),
    });
    access = tokenAccess({ server: store.url, ca: store.caCertificate, token: store.adminToken });
    starts = new Map();
    pulls = new Map();
    failure = undefined;
    pullFails = () => false;
    runtime = createSimulatedRuntime({
      now: Date.now,
      behaviourOf: (config) => {
        starts.set(config.name, [...(starts.get(config.name) ?? []), config]);
        return { startError: failure };
      },
      pull: async (reference, _signal, options) => {
        const credentials = options?.credentials ?? [];
        pulls.set(reference, credentials);
        if (pullFails(credentials))
          throw new ImagePullError(reference, { kind: 'unauthorized', what: '401', fix: 'check the password' });
      },
    });
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
  });
  afterEach(async () => {
    await controller.close();
    await runtime.close();
    await access.close();
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  const passwordEnv = [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } }];

  it('waits for a Secret that is not there, names it, and starts as soon as it and its key are', async () => {
    await create('web', { env: passwordEnv });
    const isConfigError = (message: RegExp) => (status: NonNullable<Container['status']>) =>
      status.reason === 'CreateContainerConfigError' && message.test(status.message ?? '');
    const status = await reach('web', isConfigError(/^secret "db" not found; /), 'waiting for the Secret');
    assert.equal(status.state, 'Created');
    assert.equal(status.conditions?.find(({ type }) => type === 'Ready')?.reason, 'CreateContainerConfigError');
    await until(
      async () =>
        (await events()).some(
          ({ reason, message, type }) =>
            type === 'Warning' && reason === 'Failed' && message.startsWith('Error: secret "db" not found'),
        ),
      'the event',
    );
    await createSecret('db', { user: 'admin' });
    await reach('web', isConfigError(/^couldn't find key password in Secret default\/db; /), 'waiting for the key');
    await call('PATCH', `${core}/secrets/db`, { data: { password: base64(secretValue) } });
    await running('web');
    assert.equal(envOf('web').PASSWORD, secretValue);
  });

  it('gives the runtime the files of volumes, and tells it what becomes of the volumes of the image', async () => {
    const volume = { name: 'v', secret: { secretName: 'db', items: [{ key: 'password', path: 'p' }] } };
    await create('web', {
      volumes: [volume],
      volumeMounts: [{ name: 'v', mountPath: '/v' }],
      imageVolumes: { reclaimPolicy: 'Retain' },
    });
    const isWaiting = ({ reason, message }: NonNullable<Container['status']>): boolean =>
      reason === 'FailedMount' && message?.startsWith('volume "v" cannot be mounted: secret "db" not found; ') === true;
    await reach('web', isWaiting, 'waiting for the Secret');
    await createSecret('db', { password: secretValue });
    await running('web');
    const files = { v: [{ path: 'p', dataBase64: base64(secretValue), mode: 0o644 }] };
    assert.deepEqual(lastStart('web')?.files, files);
    assert.equal(lastStart('web')?.keepsImageVolumes, true);
    assert.doesNotMatch(logged + JSON.stringify(await get('web')), new RegExp(`${secretValue}|${base64(secretValue)}`));
    // In place, both: nothing is started again for it.
    const updates = (): number => runtime.calls.filter((call) => call === 'update default/web').length;
    const before = updates();
    await call('PATCH', `${collection}/web`, { spec: { imageVolumes: { reclaimPolicy: 'Delete' } } });
    await until(() => updates() === before + 1, 'the update');
    await call('PATCH', `${core}/secrets/db`, { data: { password: base64('another') } });
    await until(() => updates() === before + 2, 'the update');
    assert.equal(starts.get('default/web')?.length, 1);
  });

  it('lets a running container be when its Secret changes or goes, and counts the change at the next start', async () => {
    await createSecret('db', { password: 'first' });
    await create('web', { env: passwordEnv, args: ['--password=$(PASSWORD)'] });
    const { pid } = await running('web');
    await call('PATCH', `${core}/secrets/db`, { data: { password: base64('second') } });
    await until(() => runtime.calls.includes('update default/web'), 'the update');
    assert.deepEqual([(await get('web')).status?.pid, envOf('web').PASSWORD], [pid, 'first']);
    runtime.exit(await idOf('web'), 1);
    await reach('web', ({ state, restartCount }) => state === 'Running' && restartCount === 1, 'running again');
    assert.equal(envOf('web').PASSWORD, 'second');
    assert.deepEqual(lastStart('web')?.cmd, ['--password=second']);

    await call('DELETE', `${core}/secrets/db`);
    await create('witness', { env: passwordEnv });
    await reach(
      'witness',
      ({ reason }) => reason === 'CreateContainerConfigError',
      'waiting, so that the deletion is known',
    );
    assert.equal((await get('web')).status?.state, 'Running');
    runtime.exit(await idOf('web'), 1);
    await reach('web', ({ reason }) => reason === 'CreateContainerConfigError', 'waiting for the Secret');
    await createSecret('db', { password: 'third' });
    await running('web');
    assert.equal(envOf('web').PASSWORD, 'third');
    assert.equal((await get('web')).status?.restartCount, 2);
  });

  it('takes whole objects, fields of its own and a Secret that came long before it', async () => {
    await createSecret('all', { a: '1', b: '2' });
    await call('POST', `${core}/configmaps`, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'web' },
      data: { PORT: '80' },
    });
    const field = (fieldPath: string) => ({ valueFrom: { fieldRef: { fieldPath } } });
    await create('web', {
      envFrom: [{ secretRef: { name: 'all' }, prefix: 'S_' }, { configMapRef: { name: 'web' } }],
      env: [
        { name: 'NODE', ...field('spec.nodeName') },
        { name: 'TIER', ...field("metadata.labels['tier']") },
        { name: 'IP', ...field('status.podIP') },
        { name: 'HOST', ...field('status.hostIP') },
        { name: 'URL', value: 'http://$(IP):$(PORT)' },
      ],
    });
    await running('web');
    const { IP, URL, HOST, ...rest } = envOf('web');
    assert.deepEqual(rest, { S_a: '1', S_b: '2', PORT: '80', NODE: 'test-host', TIER: 'front' });
    // The runtime puts the address in.
    assert.equal(IP, lastStart('web')?.addressPlaceholder);
    assert.equal(URL, `http://${IP}:80`);
    assert.match(HOST ?? '', /^[0-9a-f:.]{3,}$/);
  });

  it('is told at once what cannot be, and by the schema what is no reference', async () => {
    await create('both', { env: [{ ...passwordEnv[0], value: 'x' }] });
    const { message } = await reach('both', ({ reason }) => reason === 'InvalidSpec', 'refused');
    assert.match(message ?? '', /spec\.env\[0\]: "PASSWORD" has both value and valueFrom/);
    for (const valueFrom of [
      { secretKeyRef: { name: '../../default/secrets', key: 'a' } },
      { secretKeyRef: { name: 'a', key: 'a/b' } },
      { fieldRef: { fieldPath: 'spec.image' } },
    ])
      await assert.rejects(create('bad', { env: [{ name: 'A', valueFrom }] }), /422 Invalid/);
  });

  it('shows a value from a Secret to nobody: not by links, status, events, logs or metrics', async () => {
    await createSecret('db', { password: secretValue });
    await create('db', {
      env: [
        ...passwordEnv,
        { name: 'URL', value: 'mysql://root:$(PASSWORD)@localhost' },
        { name: 'NAME', value: 'shop' },
      ],
      envFrom: [{ secretRef: { name: 'db' } }],
    });
    await create('agent', { links: [{ name: 'db' }] });
    await running('db');
    await running('agent');
    assert.equal(envOf('db').URL, `mysql://root:${secretValue}@localhost`);
    assert.equal(envOf('agent').DB_ENV_NAME, 'shop');
    const isShown = (text: string): boolean => text.includes(secretValue) || text.includes(base64(secretValue));
    const answers = [collection, `${core}/pods`, `${core}/events`].map((path) => call('GET', path));
    for (const answer of await Promise.all(answers)) assert.equal(isShown(JSON.stringify(answer)), false);
    assert.equal(isShown(JSON.stringify(lastStart('agent'))), false);
    assert.ok(logged.length > 0);
    assert.equal(isShown(logged), false);
    assert.equal(isShown(await registry.metrics()), false);
  });

  it('hides it in what an error quotes', async () => {
    await createSecret('db', { password: secretValue });
    failure = new StartError(`"${secretValue}" is not in the image`, 127);
    await create('web', { env: passwordEnv, command: ['$(PASSWORD)'] });
    const { message } = await reach('web', ({ reason }) => reason === 'RunContainerError', 'failing');
    assert.equal(message, '"(hidden: from a Secret)" is not in the image');
    await until(async () => (await events()).some(({ reason }) => reason === 'BackOff'), 'the events');
    assert.equal(JSON.stringify(await events()).includes(secretValue), false);
    assert.match(logged, /"err":"\\"\(hidden: from a Secret\)/);
    assert.equal(logged.includes(secretValue), false);
  });

  it('fetches an image with the credentials of its imagePullSecrets, and without those that are not there', async () => {
    const auth = { auths: { 'registry.example:5000': { auth: base64(`puller:${secretValue}`) } } };
    await call('POST', `${core}/secrets`, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'pull' },
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': base64(JSON.stringify(auth)) },
    });
    await create('web', {
      image: 'registry.example:5000/app:1',
      imagePullSecrets: [{ name: 'nope' }, { name: 'pull' }],
    });
    await running('web');
    assert.deepEqual(pulls.get('registry.example:5000/app:1'), [
      { registry: 'registry.example:5000', username: 'puller', password: secretValue },
    ]);
    await until(
      async () =>
        (await events()).some(
          ({ reason, message }) =>
            reason === 'FailedToRetrieveImagePullSecret' && message === 'tries without: secret "nope" not found',
        ),
      'the event',
    );
    assert.equal(logged.includes(secretValue), false);
  });

  it('tries a failed fetch anew when the credentials change, without waiting any longer', async () => {
    const dataOf = (password: string) => ({
      '.dockerconfigjson': base64(JSON.stringify({ auths: { 'r.example': { username: 'u', password } } })),
    });
    await call('POST', `${core}/secrets`, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'pull' },
      type: 'kubernetes.io/dockerconfigjson',
      data: dataOf('wrong'),
    });
    pullFails = (credentials) => credentials[0]?.password !== 'right';
    const spec = { image: 'r.example/app:1', imagePullSecrets: [{ name: 'pull' }] };
    await create('web', { ...spec, backoff: { initial: '1h', max: '1h' } });
    await reach('web', ({ reason }) => reason === 'ErrImagePull', 'failing');
    await call('PATCH', `${core}/secrets/pull`, { data: dataOf('right') });
    await running('web');
  });

  it('goes on with what it knows while the store is away', async () => {
    await createSecret('db', { password: 'known' });
    await create('web', { env: passwordEnv });
    await running('web');
    const id = await idOf('web');
    const count = starts.get('default/web')?.length ?? 0;
    await store.close();
    runtime.exit(id, 1);
    await until(() => (starts.get('default/web')?.length ?? 0) > count, 'another start');
    assert.equal(envOf('web').PASSWORD, 'known');
  });
});
