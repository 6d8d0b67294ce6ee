/** Holdfast as `holdfast up` starts it, with folders, ports and bridge of its own. Effects; close() undoes all of them. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { type BenchImage, benchCommand, createWaits, type Engine } from './engine.ts';
import { createHttpClient, type HttpClient } from './http.ts';
import { descendants, observeCommandLine, observeProcesses } from './processes.ts';

const program = join(import.meta.dirname, '../../bin/holdfast');
const startDeadlineMs = 30_000;
const stopDeadlineMs = 60_000;
const containersPath = '/apis/holdfast.dev/v1/namespaces/default/containers';

/** Starts the daemon and fetches the image into it. Throws with the end of its log if it does not become ready. */
export async function startHoldfast(image: BenchImage): Promise<Engine> {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-bench-data-'));
  const runDir = await mkdtemp('/run/holdfast-bench-');
  const [storePort, metricsPort] = [await freePort(), await freePort()];
  const flags = ['--data-dir', dataDir, '--run-dir', runDir, '--listen', `127.0.0.1:${storePort}`]
    .concat(['--metrics-listen', `127.0.0.1:${metricsPort}`, '--log-level', 'warn'])
    .concat(['--bridge', `hfb${randomBytes(3).toString('hex')}`, '--subnet', '10.98.0.0/16']);
  const child = spawn(program, ['up', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString('utf8')).slice(-4096);
    });
  }
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  let client: HttpClient | undefined;
  const close = async () => {
    client?.close();
    child.kill('SIGTERM');
    await ended;
    await takeDown(flags);
    await rm(runDir, { recursive: true, force: true });
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    const isAlive = () => child.exitCode === null && child.signalCode === null;
    await waitUntilReady(`http://127.0.0.1:${metricsPort}/readyz`, isAlive);
    client = createHttpClient(parseKubeconfig(await readFile(join(dataDir, 'admin.kubeconfig'), 'utf8')));
    const engine = await createEngine({ client, image, dataDir, runDir, rootPid: child.pid ?? 0, close });
    await engine.run('fetch-image');
    await engine.remove(['fetch-image']);
    return engine;
  } catch (cause) {
    await close();
    throw new Error(`holdfast did not start: ${log.trim().split('\n').slice(-3).join(' | ')}`, { cause });
  }
}

/** What the watch last said of a container. */
interface Seen {
  readonly state: string | undefined;
  readonly pid: number | undefined;
}

async function createEngine(deps: {
  readonly client: HttpClient;
  readonly image: BenchImage;
  readonly dataDir: string;
  readonly runDir: string;
  readonly rootPid: number;
  readonly close: () => Promise<void>;
}): Promise<Engine> {
  const { client, image, dataDir, runDir, rootPid, close } = deps;
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
  return {
    name: `Holdfast ${version}`,
    run: async (container) => {
      await client.call('POST', containersPath, {
        apiVersion: 'holdfast.dev/v1',
        kind: 'Container',
        metadata: { name: container },
        spec: {
          image: `docker-archive:${image.path}`,
          command: benchCommand,
          backoff: { initial: '0s' },
          terminationGracePeriodSeconds: 0,
        },
      });
      await waits.until(`the start of ${container} by holdfast`, () => seen.get(container)?.state === 'Running');
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
        if (line.some((word) => word.startsWith(runDir) || word.startsWith(dataDir))) monitors.push(entry.pid);
      }
      return { daemon: descendants(all, rootPid, isMonitor).map(({ pid }) => pid), monitors };
    },
    close,
  };
}

/** Server, CA and token of the kubeconfig that `holdfast up` writes. */
function parseKubeconfig(text: string) {
  // Written by the daemon that was just started; a member that is missing makes the URL or the request fail.
  const config = load(text) as {
    clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }];
    users: [{ user: { token: string } }];
  };
  const { cluster } = config.clusters[0];
  return {
    kind: 'tls',
    url: new URL(cluster.server),
    ca: Buffer.from(cluster['certificate-authority-data'], 'base64').toString('utf8'),
    token: config.users[0].user.token,
  } as const;
}

async function waitUntilReady(url: string, isAlive: () => boolean): Promise<void> {
  const endMs = performance.now() + startDeadlineMs;
  for (;;) {
    const status = await fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
      (response) => response.status,
      () => undefined, // It does not listen yet.
    );
    if (status === 200) return;
    if (!isAlive()) throw new Error('the process ended');
    if (performance.now() > endMs) throw new Error(`${url} answered ${status ?? 'nothing'} for ${startDeadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** `holdfast down`: removes what the containers left on the host. */
async function takeDown(flags: readonly string[]): Promise<void> {
  const child = spawn(program, ['down', ...flags], { stdio: ['ignore', 'ignore', 'pipe'], timeout: stopDeadlineMs });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString('utf8')).slice(-2048);
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`holdfast down ended with ${String(code)}: ${errors.trim()}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}
