/**
 * One start of a container, from what it needs to a process that runs; one that fails is undone and says why. Effects
 * only; called with the container's lock held.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { replaceFile } from './atomic-file.ts';
import type { CgroupPrimer } from './cgroup-primer.ts';
import { ensureControllers } from './cgroups.ts';
import { type ContainerEntry, nameRecordOf, writeLastRun } from './container-entry.ts';
import { ensureNetwork, memberOf, type NetworkDeps } from './container-network.ts';
import { claimPorts, type PortsDeps, publishedPorts, refuseForeign } from './container-ports.ts';
import { dropPortsAndNetwork } from './container-removal.ts';
import { type Bundle, ensureRootfs, type SetupDeps, writeBundle } from './container-setup.ts';
import type { HostNetwork } from './host-network.ts';
import { PortTakenError, StartError } from './interface.ts';
import { type Semaphore, settleAll } from './keyed-lock.ts';
import { markRun } from './log-runs.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { releaseStart } from './oci-runtime.ts';
import { formatRecord, type LastRun } from './record.ts';
import type { RelayHost } from './relay-host.ts';
import type { Resolver } from './resolver.ts';
import { endRun, openRun, type RunDeps } from './run.ts';
import type { RunSupervisor } from './run-supervisor.ts';
import { isDiskFull } from './shortage.ts';
import { ensureUserNamespace, takeBackDevNull } from './user-namespace.ts';
import { prepareMounts, type VolumeDeps } from './volumes/index.ts';

export interface StartDeps extends SetupDeps, NetworkDeps, RunDeps, VolumeDeps {
  readonly hostNetwork: HostNetwork;
  readonly resolver: Resolver;
  readonly metrics: RuntimeMetrics;
  readonly ports: PortsDeps;
  readonly relays: RelayHost;
  readonly primer: CgroupPrimer;
  readonly runs: Pick<RunSupervisor, 'putAway' | 'look'>;
  readonly attached: { runBegins(entry: ContainerEntry, signal: AbortSignal): Promise<void> };
  /** How many containers are created by the monitor at the same time. */
  readonly starts: Semaphore;
}

/** Throws what Containers.start does. */
export async function startContainer(deps: StartDeps, entry: ContainerEntry, signal: AbortSignal): Promise<void> {
  const { hostNetwork, seccomp, runtime, layout, metrics, log } = deps;
  const { config } = entry.record;
  const { paths } = entry;
  await deps.runs.putAway(entry);
  // The monitor opens its log before it waits.
  for (const dir of [paths.bundle, paths.logDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const opening = openRun(deps, { id: config.id, stdio: config });
  const [run, { args, filter }] = await settleAll([opening, prepareBundle(deps, entry, signal)]).catch(
    async (error: unknown) => {
      try {
        await (await opening.catch(() => undefined))?.dismiss(); // an error of its own is the one, or comes after it
      } catch (problem) {
        log.warn({ err: problem, containerID: config.id }, 'a start was given up, and its monitor does not end');
      }
      throw error;
    },
  );
  const lastRun = entry.lastRun;
  try {
    const [prepared] = await settleAll([
      deps.starts.run(() => {
        // Once more: what was waited for as the start began may have to be waited for again by now.
        deps.primer.prime();
        return metrics.time('oci_create', () => run.create({ args, signal }));
      }),
      metrics.time('publish', async () => {
        await refuseForeign(deps.ports, entry);
        await hostNetwork.publish(config.id, publishedPorts(entry));
      }),
      deps.resolver.set(config.id, nameRecordOf(entry)),
      deps.isolation.set(config.id, memberOf(entry)),
    ]);
    entry.monitor = prepared.monitor;
    // Before anything else can happen: while it does not run, nobody changes the file.
    withoutSpace(deps, entry, () => markRun(paths.log, prepared.processes.startedAtMs));
    entry.processes = prepared.processes;
    await seccomp.learn(filter, paths.ociState);
    withoutSpace(deps, entry, () => writeLastRun(entry, { startedAtMs: prepared.processes.startedAtMs }));
    if (entry.record.idMap !== undefined) await takeBackDevNull();
    await deps.attached.runBegins(entry, signal);
    await releaseStart(runtime, { id: config.id, ociRoot: layout.ociRoot, paths });
    // From now on it has begun, however long its process takes to hear of it: one that is frozen may never.
    rmSync(paths.starting, { force: true });
  } catch (error) {
    await undoStart(deps, { entry, lastRun, error });
    throw error;
  }
  const { monitor } = entry;
  monitor?.onEnd(() => {
    if (entry.monitor === monitor) deps.runs.look(entry);
  });
}

/** All that the run needs. Throws what Containers.start does. */
async function prepareBundle(deps: StartDeps, entry: ContainerEntry, signal: AbortSignal): Promise<Bundle> {
  const { hostNetwork, layout, metrics } = deps;
  const { paths } = entry;
  const ports = await claimPorts(deps.ports, entry);
  if (JSON.stringify(ports) !== JSON.stringify(entry.record.ports)) {
    entry.record = { ...entry.record, ports };
    await replaceFile(paths.record, formatRecord(entry.record), 'durable');
  }
  await hostNetwork.ensure('bridge');
  await ensureUserNamespace(deps, entry);
  const [network] = await settleAll([
    ensureNetwork(deps, entry),
    metrics.time('mount', () => ensureRootfs(deps, entry)),
    ensureControllers(deps.cgroups, layout.cgroupParent),
  ]);
  const mounts = await metrics.time('volumes', () => prepareMounts(deps, entry, signal));
  const bundle = await writeBundle(deps, entry, { network, mounts });
  signal.throwIfAborted();
  return bundle;
}

/**
 * What a start writes to the data dir is not worth a container that stays down: without it, a later daemon knows of the
 * start from the run dir, and the log does not tell where this run began.
 */
function withoutSpace({ log }: StartDeps, entry: ContainerEntry, write: () => void): void {
  try {
    write();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    log.warn(
      { err: error, containerID: entry.record.config.id },
      'the disk is full; the container starts all the same',
    );
  }
}

/** Leaves nothing of the run; what was known of the one before is known again. */
async function undoStart(
  deps: StartDeps,
  { entry, lastRun, error }: { entry: ContainerEntry; lastRun: LastRun | undefined; error: unknown },
): Promise<void> {
  const { config } = entry.record;
  const { log, nowMs } = deps;
  deps.resolver.stopped(config.id);
  try {
    entry.monitor?.close();
    entry.monitor = undefined;
    await endRun(deps, config.id, entry.processes);
    // A missing command or a port of somebody else says nothing against the network; anything else may have spoilt it.
    if (!(error instanceof StartError || error instanceof PortTakenError)) await dropPortsAndNetwork(deps, entry);
  } catch (problem) {
    log.warn({ err: problem, containerID: config.id }, 'a failed start could not be cleaned up; the next one will');
  }
  entry.processes = undefined;
  if (error instanceof StartError) {
    writeLastRun(entry, { exit: { code: error.exitCode, oomKilled: false, finishedAtMs: nowMs() } });
  } else if (lastRun !== undefined) {
    writeLastRun(entry, lastRun);
  } else {
    entry.lastRun = undefined;
    await rm(entry.paths.lastRun, { force: true });
  }
}
