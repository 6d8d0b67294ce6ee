/** `holdfast up`, `store` and `controller`: wires the parts of the daemon and takes them down again. Effects. */
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ApiAccess } from '../client/index.ts';
import { createController, hasCheckpoint, observeHostFacts, startNodeHeartbeat } from '../controller/index.ts';
import { crdFiles } from '../crds/index.ts';
import { DockerListenError, startDockerGateway } from '../docker/index.ts';
import { createRuntime, type Runtime } from '../runtime/index.ts';
import { DatabaseOpenError, ListenError, PkiError, type Store, startStreamListener } from '../store/index.ts';
import { type Config, ConfigError } from './config.ts';
import { openEmbeddedStore } from './embedded-store.ts';
import { createContainerFinder } from './find-container.ts';
import { checkpointDirOf } from './held.ts';
import { lockInstance } from './instance-lock.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { lowerOomScore } from './oom-score.ts';
import { serveMetrics } from './serve-metrics.ts';
import { StartProgress } from './start-progress.ts';
import { createStreamSource } from './stream-source.ts';

export interface Daemon {
  /** Where the embedded store is, and how to talk to it; undefined without one. */
  readonly store?: Store | undefined;
  readonly access?: ApiAccess | undefined;
  readonly runtime?: Runtime | undefined;
  readonly metricsPort: number;
  /** Stops the daemon; containers go on. */
  close(): Promise<void>;
}

export type Role = 'up' | 'store' | 'controller';

/** Is this about what the user can mend: an address, the database, the certificates? */
export function isStartError(error: unknown): error is Error {
  return (
    error instanceof DockerListenError ||
    error instanceof ListenError ||
    error instanceof DatabaseOpenError ||
    error instanceof PkiError
  );
}

/** Starts the parts in order; when one fails, those before it are closed. */
export async function startDaemon(role: Role, config: Config, log: Logger): Promise<Daemon> {
  const opened: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closeOne of opened.splice(0).reverse()) await closeOne();
  };
  const progress = new StartProgress(log);
  try {
    progress.begin('taking the data dir');
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
    const lock = await lockInstance(config.dataDir);
    opened.push(() => lock.close());
    lowerOomScore(log);

    const registry = new Registry();
    // The default of 10 ms wakes the process a hundred times a second, which is half of what it uses at rest.
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 50 });
    const { version } = await readPackage();
    new Gauge({
      name: 'holdfast_build_info',
      help: 'The build that runs.',
      labelNames: ['version', 'node_version'],
      registers: [registry],
    }).set({ version, node_version: process.version }, 1);

    const unready: Record<string, () => boolean> = {};
    let runtime: Runtime | undefined;
    if (role !== 'store') {
      const { dataDir, runDir, bridge, subnet, subnet6, registriesConf, authFiles } = config;
      const made = await createRuntime({
        dataDir,
        runDir,
        bridge,
        subnet,
        subnet6,
        registriesConf,
        authFiles,
        log: log.child({ part: 'runtime' }),
        metrics: registry,
        begins: progress.begin,
      });
      opened.push(() => made.close());
      runtime = made;
    }
    let store: Store | undefined;
    let access: ApiAccess | undefined;
    let hostAccess: ApiAccess | undefined;
    if (role !== 'controller') {
      progress.begin('opening the store');
      const made = await openEmbeddedStore({
        dataDir: config.dataDir,
        listen: config.listen,
        host: config.nodeName,
        audit: config.audit,
        crdFiles,
        secretsKeyFile: config.secretsKeyFile,
        log: log.child({ part: 'store' }),
        metrics: registry,
        hasCheckpoint: async () => role === 'up' && (await hasCheckpoint(checkpointDirOf(config.dataDir))),
        ...(runtime === undefined ? {} : { streams: createStreamSource(runtime, { nodeName: config.nodeName }) }),
      });
      opened.push(() => made.close());
      store = made.store;
      access = made.access;
      hostAccess = made.hostAccess;
      unready['the store cannot be opened, or cannot write'] = () => made.problem() !== undefined;
    } else {
      if (config.kubeconfig === undefined)
        throw new ConfigError('`holdfast controller` needs --kubeconfig FILE: the API server to follow');
      access = await loadKubeconfig(config.kubeconfig);
      hostAccess = access;
    }
    if (runtime !== undefined && hostAccess !== undefined) {
      const controller = createController({
        access: hostAccess,
        runtime,
        nodeName: config.nodeName,
        log,
        metrics: registry,
        now: Date.now,
        random: Math.random,
        imageCollection: config.imageCollection,
        checkpointDir: checkpointDirOf(config.dataDir),
        startPolicy: config.startPolicy,
      });
      opened.push(() => controller.close());
      const heartbeat = startNodeHeartbeat({
        access: hostAccess,
        nodeName: config.nodeName,
        facts: () => observeHostFacts({ dataDir: config.dataDir, version }),
        now: Date.now,
        log: log.child({ part: 'node' }),
      });
      opened.push(() => heartbeat.close());
      unready['the controller has not listed its objects yet'] = () => !controller.isSynced;
      unready['the API server does not answer; containers are kept by the checkpoint'] = () =>
        controller.isSynced && !controller.isConnected;
    }
    if (role === 'controller' && runtime !== undefined && config.streamsListen !== undefined) {
      const streams = await startStreamListener({
        dataDir: config.dataDir,
        listen: config.streamsListen,
        source: createStreamSource(runtime),
        find: createContainerFinder(runtime, access),
        log: log.child({ part: 'streams' }),
        metrics: registry,
      });
      opened.push(() => streams.close());
    }
    const isDockerServed = role === 'up' || config.docker?.isAsked === true;
    if (config.docker !== undefined && isDockerServed && runtime !== undefined && access !== undefined) {
      const { socket, group, namespace } = config.docker;
      progress.begin('opening the docker socket');
      const gateway = await startDockerGateway({
        socket: { path: socket, group },
        access,
        runtime,
        nodeName: config.nodeName,
        namespace,
        version,
        dataDir: config.dataDir,
        log: log.child({ part: 'docker' }),
        now: Date.now,
        random: Math.random,
      });
      opened.push(() => gateway.close());
    }
    progress.begin('listening for metrics');
    const metrics = await serveMetrics({
      listen: config.metricsListen,
      registry,
      unready: () => Object.entries(unready).flatMap(([what, isUnready]) => (isUnready() ? [what] : [])),
      log,
    });
    opened.push(() => metrics.close());
    log.info(
      {
        store: store?.url,
        metrics: `http://${config.metricsListen.host}:${metrics.port}/metrics`,
        dataDir: config.dataDir,
        runDir: config.runDir,
        version,
      },
      'holdfast is up',
    );
    return { store, access, runtime, metricsPort: metrics.port, close };
  } catch (error) {
    progress.begin('giving up');
    await close();
    throw error;
  } finally {
    progress.end();
  }
}

async function readPackage(): Promise<{ version: string }> {
  const parsed: unknown = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  const version = (parsed as { version?: unknown }).version;
  return { version: typeof version === 'string' ? version : 'unknown' };
}
