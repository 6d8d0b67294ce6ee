/**
 * A real instance with something of everything that its metrics speak of: a container that runs, one from a registry, one
 * in a crash loop, one that cannot start, one that was stopped, and some whose registry is dead. close() removes all of it.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildBusyboxImage } from '../images.ts';
import { createInstance, type Instance } from '../instance.ts';
import { startRegistry } from '../tools.ts';

/** Nobody listens there; the second is not asked until goOn(). */
const deadRegistry = '127.0.0.1:1';
const otherDeadRegistry = '127.0.0.1:2';
/** As many failures in a row as a registry's breaker needs to open. */
const orphans = ['orphan-1', 'orphan-2', 'orphan-3'];
const quick = { terminationGracePeriodSeconds: 1, backoff: { initial: '500ms', factor: 1, jitter: 0 } };
/** Runs until it is told to stop. */
export const idle = { command: ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1; done'], ...quick };

/** What is there to be seen after goOn(). */
export const troubledHost = {
  shouldRun: 9,
  running: ['web', 'pulled', 'pulled-late'],
  loop: 'loop',
  unstartable: 'typo',
  waitsToRestart: 2,
  /** Their breakers are open. */
  deadRegistries: [deadRegistry, otherDeadRegistry],
} as const;

export interface TroubledHost {
  readonly instance: Instance;
  /** HOST:PORT of its metrics. */
  readonly metricsAddress: string;
  /** Pulls once more with success, once more in vain, and asks the store for what is not there. */
  goOn(): Promise<void>;
  close(): Promise<void>;
}

/** Resolves when each container is in the state that is wanted of it, and the breaker is open. */
export async function startTroubledHost(): Promise<TroubledHost> {
  const opened: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closeOne of opened.splice(0).reverse()) await closeOne();
  };
  try {
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-monitoring-'));
    opened.push(() => rm(dir, { recursive: true, force: true }));
    const registry = await startRegistry();
    opened.push(() => registry.close());
    const instance = await createInstance({ flags: ['--registries-conf', registry.registriesConf] });
    opened.push(() => instance.close());
    const [{ reference: image }] = await Promise.all([buildBusyboxImage({ dir }), instance.start()]);
    const [pulled, late] = [`${registry.address}/busybox:1`, `${registry.address}/busybox:late`];
    const push = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false', image];
    for (const name of [pulled, late])
      await promisify(execFile)('skopeo', [...push, `docker://${name}`], { timeout: 60_000 });

    await instance.create('web', { image, ...idle, readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 } });
    await instance.create('pulled', { image: pulled, ...idle });
    await instance.create('stopped', { image, ...idle });
    await instance.create(troubledHost.loop, { image, command: ['sh', '-c', 'exit 3'], ...quick });
    await instance.create(troubledHost.unstartable, { image, command: ['/no/such/program'], ...quick });
    for (const name of orphans) await instance.create(name, { image: `${deadRegistry}/${name}:1`, ...quick });
    for (const name of ['web', 'pulled', 'stopped'])
      await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
    await instance.api('PATCH', '/apis/holdfast.dev/v1/namespaces/default/containers/stopped', {
      spec: { desiredState: 'Stopped' },
    });
    await instance.waitFor('stopped', ({ state }) => state === 'Exited', 'stopped');
    for (const name of [troubledHost.loop, troubledHost.unstartable])
      await instance.waitFor(name, ({ backoff }) => (backoff?.attempt ?? 0) >= 2, 'restarted');
    for (const name of orphans)
      await instance.waitFor(
        name,
        ({ message }) => message?.includes(`registry:${deadRegistry} failed several times`) ?? false,
        'turned away by the breaker',
      );
    const goOn = async (): Promise<void> => {
      await instance.create('pulled-late', { image: late, ...idle });
      await instance.create('orphan-late', { image: `${otherDeadRegistry}/orphan:1`, ...quick });
      await instance.waitFor('pulled-late', ({ state }) => state === 'Running', 'running');
      // The first word for it lasts for a moment only: then its registry's breaker opens.
      const isInTrouble = (reason: string | undefined): boolean =>
        reason === 'ErrImagePull' || reason === 'ImagePullBackOff';
      await instance.waitFor('orphan-late', ({ reason }) => isInTrouble(reason), 'in trouble');
      await instance.get('nobody');
    };
    return { instance, metricsAddress: new URL(instance.metricsUrl).host, goOn, close };
  } catch (error) {
    await close();
    throw error;
  }
}
