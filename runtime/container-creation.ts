/**
 * Making a container: its record, root file system and network, all or nothing. Effects only; called with the
 * container's lock held.
 */
import { mkdir } from 'node:fs/promises';
import { replaceFile } from './atomic-file.ts';
import { checkConfig } from './config-check.ts';
import type { ContainerEntry } from './container-entry.ts';
import { ensureNetwork, hostAddresses, type NetworkDeps } from './container-network.ts';
import { choosePorts, type PortsDeps } from './container-ports.ts';
import { type RemovalDeps, removeContainer } from './container-removal.ts';
import { ensureRootfs, type SetupDeps } from './container-setup.ts';
import { decideIdMap, type IdMap } from './id-map.ts';
import {
  type ContainerConfig,
  ContainerConfigError,
  type ContainerID,
  ImageNotPresentError,
  type Images,
} from './interface.ts';
import { settleAll } from './keyed-lock.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { mergeArgs, parseSignal } from './process-config.ts';
import { formatRecord } from './record.ts';
import { ensureUserNamespace, observeRanges } from './user-namespace.ts';
import { planMounts } from './volumes/index.ts';

export interface CreationDeps extends SetupDeps, NetworkDeps, RemovalDeps {
  readonly images: Pick<Images, 'inspect'>;
  readonly metrics: RuntimeMetrics;
  readonly ports: PortsDeps;
  /** All containers; the new one is entered as soon as its ports and image count. */
  readonly entries: Map<ContainerID, ContainerEntry>;
}

const SIGTERM = 15;

/** Throws what Containers.create does; then nothing of it is left. */
export async function createContainer(
  deps: CreationDeps,
  config: ContainerConfig,
  signal: AbortSignal,
): Promise<ContainerEntry> {
  checkConfig(config);
  const { layout, images, nowMs, hostNetwork } = deps;
  const image = await images.inspect(config.imageID);
  if (image === undefined) {
    throw new ImageNotPresentError(`the image ${config.imageID} is not on this host; pull it first`);
  }
  mergeArgs({ entrypoint: config.entrypoint, cmd: config.cmd, image: image.config });
  planMounts(config, image.config);
  const ports = await choosePorts(deps.ports, config.id, config.ports);
  const idMap = await chooseIDs(deps, config);
  signal.throwIfAborted();
  const paths = layout.container(config.id);
  const entry: ContainerEntry = {
    paths,
    record: {
      version: 1,
      config,
      image: image.config,
      ports,
      createdAtMs: nowMs(),
      idMap,
      stopSignal: parseSignal(image.config.stopSignal ?? '') ?? SIGTERM,
    },
    lastRun: undefined,
    processes: undefined,
    network: undefined,
    hostAddresses: hostAddresses(deps),
    monitor: undefined,
    isStarting: false,
    isRemoving: false,
  };
  // From here on its ports count, and its image is in use.
  deps.entries.set(config.id, entry);
  try {
    for (const dir of [paths.upper, paths.work, paths.logDir, paths.bundle]) {
      await mkdir(dir, { recursive: true, mode: dir === paths.upper ? 0o755 : 0o700 });
    }
    await hostNetwork.ensure('bridge');
    await ensureUserNamespace(deps, entry);
    // The record makes it a container; without it a later daemon throws the rest away.
    await settleAll([
      replaceFile(paths.record, formatRecord(entry.record), 'durable'),
      deps.metrics.time('mount', () => ensureRootfs(deps, entry)),
      ensureNetwork(deps, entry),
    ]);
  } catch (error) {
    // Volumes may be kept for it since an earlier container of this id.
    await removeContainer(deps, entry, 'keep').catch((problem: unknown) => {
      deps.log.warn({ err: problem, containerID: config.id }, 'a half-made container is left for the next start');
    });
    deps.entries.delete(config.id);
    throw error;
  }
  return entry;
}

/** The ids of a container that is to have a user namespace of its own. */
async function chooseIDs(
  deps: Pick<CreationDeps, 'entries' | 'runtime'>,
  { id, namespaces }: ContainerConfig,
): Promise<IdMap | undefined> {
  if (namespaces?.user !== 'mapped') return undefined;
  const { runtime } = deps;
  if (runtime.name !== 'crun') {
    throw new ContainerConfigError(
      'namespaces.user',
      `${runtime.name} ${runtime.version} cannot join a user namespace that is there already; install crun, or do without`,
    );
  }
  const ranges = await observeRanges();
  const taken = [...deps.entries.values()].flatMap((entry) => entry.record.idMap ?? []);
  return decideIdMap({ ranges, taken, id });
}
