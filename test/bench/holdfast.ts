/** Holdfast as `holdfast up` starts it (test/instance.ts), driven and watched as a client would. Effects; close() undoes all of them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { containersPath, createInstance, type Instance } from '../instance.ts';
import { type BenchImage, benchCommand, createWaits, type Engine } from './engine.ts';
import { execInHoldfast, openTerminalInHoldfast, type StreamEndpoint } from './holdfast-streams.ts';
import { createHttpClient, type HttpClient } from './http.ts';
import { descendants, observeCommandLine, observeProcesses } from './processes.ts';

/** Has room for --containers 1000, other than an instance's own. */
const subnet = '10.98.0.0/16';

/** Starts the daemon and fetches the image into it. Throws with the end of its log if it does not become ready. */
export async function startHoldfast(image: BenchImage): Promise<Engine> {
  const instance = await createInstance({ flags: ['--log-level', 'warn', '--subnet', subnet] });
  let client: HttpClient | undefined;
  const close = async () => {
    client?.close();
    await instance.close();
  };
  try {
    await instance.start();
    const endpoint = {
      url: new URL(instance.storeUrl),
      ca: await readFile(join(instance.dataDir, 'pki/ca.crt'), 'utf8'),
      token: (await readFile(join(instance.dataDir, 'pki/admin-token'), 'utf8')).trim(),
    };
    client = createHttpClient({ kind: 'tls', ...endpoint });
    const engine = await createEngine({ client, endpoint, image, instance, close });
    await engine.run('fetch-image');
    await engine.remove(['fetch-image']);
    return engine;
  } catch (cause) {
    await close();
    throw new Error(`holdfast did not start: ${instance.log.trim().split('\n').slice(-3).join(' | ')}`, { cause });
  }
}

/** What the watch last said of a container. */
interface Seen {
  readonly state: string | undefined;
  readonly pid: number | undefined;
}

async function createEngine(deps: {
  readonly client: HttpClient;
  readonly endpoint: StreamEndpoint;
  readonly image: BenchImage;
  readonly instance: Instance;
  readonly close: () => Promise<void>;
}): Promise<Engine> {
  const { client, endpoint, image, instance, close } = deps;
  const seen = new Map<string, Seen>();
  const waits = createWaits();
  await client.stream(`${containersPath}?watch=1`, (line) => {
    // Source: Kubernetes API concepts, watch; the members are those of crds/container.yaml.
    const { type, object } = line as {
      type: string;
      object: { metadata: { name: string }; status?: { state?: string; pid?: number } };
    };
    if (type === 'DELETED') seen.delete(object.metadata.name);
    else seen.set(object.metadata.name, { state: object.status?.state, pid: object.status?.pid });
    waits.changed();
  });
  const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
    version: string;
  };
  const create = async (name: string, spec: object): Promise<void> => {
    await client.call('POST', containersPath, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name },
      spec: { image: `docker-archive:${image.path}`, terminationGracePeriodSeconds: 0, ...spec },
    });
  };
  return {
    name: `Holdfast ${version}`,
    run: async (container) => {
      await create(container, { command: benchCommand, backoff: { initial: '0s' } });
      await waits.until(`the start of ${container} by holdfast`, () => seen.get(container)?.state === 'Running');
    },
    keep: async (processes) => {
      for (const { name, args, pipesDir } of processes) {
        await create(name, {
          command: ['sh', ...args],
          // A kill of the next round is a first one again.
          backoff: { initial: '0s', resetAfter: '1s' },
          volumes: [{ name: 'pipes', hostPath: { path: pipesDir, type: 'Directory' } }],
          volumeMounts: [{ name: 'pipes', mountPath: pipesDir }],
        });
      }
    },
    exec: (container, command) => execInHoldfast(endpoint, container, command),
    openTerminal: (container) => openTerminalInHoldfast(endpoint, container),
    runToEnd: async (container, command) => {
      await create(container, { command, restartPolicy: 'Never' });
      await waits.until(`the end of ${container} by holdfast`, () => seen.get(container)?.state === 'Exited');
    },
    pidOf: async (container) => {
      const pid = seen.get(container)?.pid;
      if (pid === undefined) throw new Error(`the status of ${container} has no pid`);
      return pid;
    },
    runsAgain: (container, pid) =>
      waits.until(`the restart of ${container} by holdfast`, () => {
        const now = seen.get(container);
        return now?.state === 'Running' && now.pid !== undefined && now.pid !== pid;
      }),
    remove: async (containers) => {
      await Promise.all(containers.map((container) => client.call('DELETE', `${containersPath}/${container}`)));
      await waits.until(`the removal of ${containers.join(', ')} by holdfast`, () =>
        containers.every((container) => !seen.has(container)),
      );
    },
    processes: async () => {
      const all = await observeProcesses();
      const isMonitor = ({ name }: { name: string }) => name === 'conmon';
      const monitors: number[] = [];
      for (const entry of all.filter(isMonitor)) {
        const line = await observeCommandLine(entry.pid);
        if (line.some((word) => word.startsWith(instance.runDir) || word.startsWith(instance.dataDir)))
          monitors.push(entry.pid);
      }
      return { daemon: descendants(all, instance.pid, isMonitor).map(({ pid }) => pid), monitors };
    },
    close,
  };
}
