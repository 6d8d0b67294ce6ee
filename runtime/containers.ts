/**
 * The containers of this host: the operations of the interface, one at a time for each container. The steps live in
 * container-setup.ts, run.ts and container-ports.ts; here is their order, and what is recorded when.
 */
import { mkdir, rename, rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import type { Logger } from 'pino';
import { type ArchiveView, prepareStoppedView } from './archive.ts';
import { replaceFile } from './atomic-file.ts';
import type { CgroupPrimer } from './cgroup-primer.ts';
import { applyLimits, ensureControllers } from './cgroups.ts';
import {
  type ContainerEntry,
  infoOf,
  isRunning,
  logOf,
  nameRecordOf,
  stateOf,
  writeLastRun,
} from './container-entry.ts';
import { rewriteHosts } from './container-etc.ts';
import { dropNetwork, ensureNetwork, hostAddresses, type NetworkDeps } from './container-network.ts';
import {
  choosePorts,
  claimPorts,
  type PortsDeps,
  publishedPorts,
  refuseForeign,
  releaseClaim,
} from './container-ports.ts';
import { ensureRootfs, type SetupDeps, writeBundle } from './container-setup.ts';
import { DebugSessions } from './debug-sessions.ts';
import { ForeignPorts } from './foreign-ports.ts';
import { freeze, observeFrozen, thaw } from './freezer.ts';
import type { HostNetwork } from './host-network.ts';
import { decideIdMap, type IdMap } from './id-map.ts';
import {
  type Archive,
  type AttachRequest,
  type ContainerConfig,
  ContainerConfigError,
  type ContainerID,
  type ContainerInfo,
  ContainerNotFoundError,
  ContainerNotRunningError,
  type Containers,
  type ExecRequest,
  ImageNotPresentError,
  type Images,
  type LogEntry,
  type LogOptions,
  type MutableConfig,
  PortTakenError,
  RuntimeClosedError,
  type RuntimeEvent,
  RuntimeOperationError,
  StartError,
  type Stats,
  type StreamSession,
  type WriteArchiveOptions,
} from './interface.ts';
import { KeyedLock, Semaphore, settleAll } from './keyed-lock.ts';
import { readLog } from './log-reader.ts';
import type { ContainerLog } from './log-rotator.ts';
import { markRun } from './log-runs.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { releaseStart } from './oci-runtime.ts';
import { isAlive } from './proc.ts';
import { mergeArgs, parseSignal } from './process-config.ts';
import { formatRecord, type LastRun } from './record.ts';
import { SpareRelays } from './relay.ts';
import { removeTree } from './remove-tree.ts';
import type { Resolver } from './resolver.ts';
import { isDnsName } from './resolver-files.ts';
import { cgroupPathOf, endRun, prepareRun, type RunDeps } from './run.ts';
import { RunSupervisor } from './run-supervisor.ts';
import { findSecurityProblems } from './security-check.ts';
import { ContainerStreams } from './streams.ts';
import { ensureUserNamespace, observeRanges, takeBackDevNull } from './user-namespace.ts';
import { dropVolumes, planMounts, prepareMounts, type VolumeDeps, writeFiles } from './volumes/index.ts';

export interface ContainersDeps extends SetupDeps, NetworkDeps, RunDeps, VolumeDeps {
  readonly images: Pick<Images, 'inspect'>;
  readonly hostNetwork: HostNetwork;
  readonly resolver: Resolver;
  readonly metrics: RuntimeMetrics;
  readonly primer: CgroupPrimer;
  readonly randomHex: (bytes: number) => string;
  emit(event: RuntimeEvent): void;
  /** Called before each start, which waits for it. */
  logBegins(log: ContainerLog): Promise<void>;
  /** How many containers are created by conmon at the same time. */
  readonly startConcurrency: number;
  readonly log: Logger;
}

const idForm = /^[0-9a-f]{64}$/;
const SIGTERM = 15;
const SIGKILL = 9;

export class LocalContainers implements Containers {
  readonly #deps: ContainersDeps;
  readonly #entries: Map<ContainerID, ContainerEntry>;
  readonly #ports: PortsDeps;
  readonly #lock = new KeyedLock();
  readonly #starts: Semaphore;
  #startsUnderWay = 0;
  readonly #runs: RunSupervisor;
  readonly #streams: ContainerStreams;
  readonly #debugs: DebugSessions;
  readonly #spares = new SpareRelays();
  readonly #closing = new AbortController();

  /** `entries`: what was read back from disk. */
  constructor(deps: ContainersDeps, entries: Map<ContainerID, ContainerEntry>) {
    this.#deps = deps;
    this.#entries = entries;
    this.#ports = {
      entries,
      hostNetwork: deps.hostNetwork,
      foreign: new ForeignPorts(deps.layout.nftTable),
      claims: new Set(),
    };
    this.#starts = new Semaphore(deps.startConcurrency);
    const emit = (event: RuntimeEvent): void => {
      // Before others hear of it and start the next run.
      if (event.kind === 'exited') this.#streams.runEnded(event.id);
      deps.emit(event);
    };
    this.#runs = new RunSupervisor({ ...deps, emit, lock: this.#lock, closing: this.#closing.signal });
    const spares = this.#spares;
    this.#debugs = new DebugSessions({ ...deps, spares, changed: (id) => deps.emit({ kind: 'debug', id }) });
    this.#streams = new ContainerStreams({ ...deps, spares, look: (entry) => this.#runs.look(entry) });
  }

  get isBusy(): boolean {
    return this.#startsUnderWay > 0;
  }

  create(config: ContainerConfig, signal: AbortSignal): Promise<ContainerInfo> {
    return this.#operate('create', config.id, signal, async () => {
      const existing = this.#entries.get(config.id);
      if (existing !== undefined) return this.#info(existing);
      this.#deps.primer.prime();
      return this.#info(await this.#create(config, signal));
    });
  }

  start(id: ContainerID, signal: AbortSignal): Promise<ContainerInfo> {
    return this.#operate('start', id, signal, async () => {
      const entry = this.#get(id);
      this.#runs.look(entry);
      if (isRunning(entry) && entry.processes !== undefined && isAlive(entry.processes.init)) return this.#info(entry);
      if (isRunning(entry)) await this.#runs.waitForExit(entry, signal);
      this.#deps.primer.prime();
      this.#startsUnderWay += 1;
      entry.isStarting = true;
      try {
        await this.#deps.logBegins(logOf(entry));
        await this.#start(entry, signal);
      } finally {
        entry.isStarting = false;
        releaseClaim(this.#ports, entry);
        this.#startsUnderWay -= 1;
      }
      // It may have ended already, unheeded while it was being started.
      this.#runs.look(entry);
      return this.#info(entry);
    });
  }

  update(id: ContainerID, change: Partial<MutableConfig>): Promise<void> {
    return this.#operate('update', id, undefined, async () => {
      const entry = this.#get(id);
      const before = entry.record.config;
      const config = { ...before, ...withoutUndefined(change) };
      checkDnsNames(config);
      const isLimitChanged = JSON.stringify(config.limits) !== JSON.stringify(before.limits);
      if (isLimitChanged && isRunning(entry)) {
        await applyLimits(this.#deps.cgroups, cgroupPathOf(this.#deps.layout, id), config.limits, before.limits);
      }
      entry.record = { ...entry.record, config };
      await replaceFile(entry.paths.record, formatRecord(entry.record), 'durable');
      await rewriteHosts(entry);
      if (change.files !== undefined) await writeFiles(this.#deps, entry);
      await this.#deps.resolver.set(id, nameRecordOf(entry));
    });
  }

  /** Waits for no other operation, so that a container can be stopped while something else goes on. */
  async signal(id: ContainerID, signal: number): Promise<void> {
    await this.#deps.metrics.time('signal', async () => {
      this.#closing.signal.throwIfAborted();
      const entry = this.#get(id);
      if (entry.processes === undefined || !isRunning(entry)) return;
      await this.#deps.syscalls.kill(entry.processes.init, signal);
      // On cgroup v1 a process that is frozen does not even die.
      if (signal === SIGKILL) await thaw(this.#deps.cgroups, cgroupPathOf(this.#deps.layout, id));
    });
  }

  pause(id: ContainerID): Promise<void> {
    return this.#operate('pause', id, undefined, async () => {
      const entry = this.#get(id);
      this.#runs.look(entry);
      if (!isRunning(entry)) throw new ContainerNotRunningError(id);
      if (!this.#isPaused(entry)) await freeze(this.#deps.cgroups, cgroupPathOf(this.#deps.layout, id));
    });
  }

  resume(id: ContainerID): Promise<void> {
    return this.#operate('resume', id, undefined, async () => {
      this.#get(id);
      await thaw(this.#deps.cgroups, cgroupPathOf(this.#deps.layout, id));
    });
  }

  remove(id: ContainerID, { volumes }: { volumes: 'remove' | 'keep' } = { volumes: 'remove' }): Promise<void> {
    return this.#operate('remove', id, undefined, async () => {
      const entry = this.#entries.get(id);
      if (entry === undefined) {
        if (idForm.test(id)) await dropVolumes(this.#deps, id, { volumes });
        return;
      }
      entry.isRemoving = true;
      try {
        await this.#remove(entry, volumes);
      } finally {
        entry.isRemoving = false;
      }
      this.#entries.delete(id);
      this.#streams.runEnded(id);
      this.#deps.emit({ kind: 'removed', id });
    });
  }

  async listKept(): Promise<readonly ContainerID[]> {
    return (await this.#deps.volumes.owners()).filter((id) => !this.#entries.has(id));
  }

  async inspect(id: ContainerID): Promise<ContainerInfo | undefined> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    this.#runs.look(entry);
    return this.#info(entry);
  }

  async list(): Promise<readonly ContainerInfo[]> {
    return [...this.#entries.values()].map((entry) => {
      this.#runs.look(entry);
      return this.#info(entry);
    });
  }

  async *log(id: ContainerID, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const entry = this.#get(id);
    const either = AbortSignal.any([signal, this.#closing.signal]);
    this.#runs.look(entry);
    const { nowMs } = this.#deps;
    yield* readLog({ id, dir: entry.paths.logDir, options, isRunning: isRunning(entry), nowMs, signal: either });
  }

  async exec(id: ContainerID, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    const entry = this.#get(id);
    // It would be frozen at birth, and so would be whoever waits for it.
    if (this.#isPaused(entry)) throw new ContainerNotRunningError(id, { isPaused: true });
    this.#deps.primer.prime();
    return this.#deps.metrics.time('exec', () => this.#streams.exec(entry, request, signal));
  }

  /** Beside what runs it is no more than a further process. */
  debug(id: ContainerID, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    return this.#operate('debug', id, signal, async () => {
      const entry = this.#get(id);
      this.#runs.look(entry);
      if (isRunning(entry)) return this.exec(id, request, signal);
      await this.#deps.hostNetwork.ensure('bridge');
      return this.#debugs.open(entry, request, signal);
    });
  }

  async readArchive(id: ContainerID, path: string, signal: AbortSignal): Promise<Archive> {
    return this.#streams.readArchive(await this.#viewOf(id, signal), path, signal);
  }

  async writeArchive(
    id: ContainerID,
    dir: string,
    archive: Readable,
    options: WriteArchiveOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const view = await this.#viewOf(id, signal);
    const write = await this.#streams.openWriteArchive(view, { dir, options, signal });
    await write(archive);
  }

  /** What the container sees; of one that does not run, its root and volumes are made ready. */
  #viewOf(id: ContainerID, signal: AbortSignal): Promise<ArchiveView> {
    return this.#operate('view', id, signal, async () => {
      const entry = this.#get(id);
      this.#runs.look(entry);
      const init = entry.processes?.init;
      if (init !== undefined && isRunning(entry)) return { kind: 'running', ...init };
      await ensureRootfs(this.#deps, entry);
      return prepareStoppedView(entry, await prepareMounts(this.#deps, entry, signal), this.#deps.syscalls);
    });
  }

  attach(id: ContainerID, request: AttachRequest, signal: AbortSignal): Promise<StreamSession> {
    return this.#streams.attach(this.#get(id), request, signal);
  }

  stats(id: ContainerID): Promise<Stats | undefined> {
    return this.#streams.stats(this.#get(id));
  }

  dial(id: ContainerID, port: number, signal: AbortSignal): Promise<Duplex> {
    return this.#streams.dial(this.#get(id), port, signal);
  }

  /** Something may have happened to this container: concludes what did. */
  check(id: ContainerID): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#runs.look(entry);
  }

  checkAll(): void {
    for (const entry of this.#entries.values()) {
      this.#runs.look(entry);
      this.#runs.lookForMemoryKills(entry);
    }
  }

  *logs(): Generator<ContainerLog> {
    for (const entry of this.#entries.values()) if (!entry.isRemoving) yield logOf(entry);
  }

  countStates(): Record<'created' | 'running' | 'exited', number> {
    const counts = { created: 0, running: 0, exited: 0 };
    for (const entry of this.#entries.values()) counts[stateOf(entry).kind] += 1;
    return counts;
  }

  /** Names of the containers that have a named volume, or of the one whose own a volume is. */
  namesWithVolume(volume: { readonly name: string } | { readonly owner: ContainerID }): readonly string[] {
    return [...this.#entries.values()]
      .map((entry) => entry.record.config)
      .filter((config) =>
        'owner' in volume
          ? config.id === volume.owner
          : config.volumes?.some(({ source }) => source.kind === 'named' && source.name === volume.name) === true,
      )
      .map((config) => config.name);
  }

  namesUsing(imageID: string): readonly string[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.record.config.imageID === imageID)
      .map((entry) => entry.record.config.name);
  }

  hostInterfaces(): readonly string[] {
    return [...this.#entries.values()].flatMap((entry) => entry.network?.hostInterface ?? []);
  }

  /** Takes up monitoring of what was read back: runs that ended meanwhile are settled. */
  takeUp(): void {
    for (const entry of this.#entries.values()) this.#runs.resume(entry);
  }

  async close(): Promise<void> {
    this.#closing.abort(new RuntimeClosedError('the runtime was closed'));
    await Promise.all([this.#streams.close(), this.#debugs.close()]);
    this.#spares.close();
    await this.#lock.idle();
    for (const entry of this.#entries.values()) entry.monitor?.close();
  }

  #get(id: ContainerID): ContainerEntry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new ContainerNotFoundError(id);
    return entry;
  }

  /** Asked of the kernel each time: somebody else may freeze and thaw as well. */
  #isPaused(entry: ContainerEntry): boolean {
    const { cgroups, layout } = this.#deps;
    return isRunning(entry) && observeFrozen(cgroups, cgroupPathOf(layout, entry.record.config.id));
  }

  #info(entry: ContainerEntry): ContainerInfo {
    return {
      ...infoOf(entry, this.#isPaused(entry)),
      debugSessions: this.#debugs.count(entry.record.config.id),
    };
  }

  #operate<T>(
    operation: 'create' | 'start' | 'update' | 'pause' | 'resume' | 'remove' | 'debug' | 'view',
    id: ContainerID,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    return this.#lock.run(id, () => {
      this.#closing.signal.throwIfAborted();
      signal?.throwIfAborted();
      return this.#deps.metrics.time(operation, async () => {
        try {
          return await work();
        } catch (error) {
          throw explain(operation, error);
        }
      });
    });
  }

  async #create(config: ContainerConfig, signal: AbortSignal): Promise<ContainerEntry> {
    checkConfig(config);
    const { layout, images, nowMs, hostNetwork } = this.#deps;
    const image = await images.inspect(config.imageID);
    if (image === undefined) {
      throw new ImageNotPresentError(`the image ${config.imageID} is not on this host; pull it first`);
    }
    mergeArgs({ entrypoint: config.entrypoint, cmd: config.cmd, image: image.config });
    planMounts(config, image.config);
    const ports = await choosePorts(this.#ports, config.id, config.ports);
    const idMap = await this.#chooseIDs(config);
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
      hostAddresses: hostAddresses(this.#deps),
      monitor: undefined,
      isStarting: false,
      isRemoving: false,
    };
    // From here on its ports count, and its image is in use.
    this.#entries.set(config.id, entry);
    try {
      for (const dir of [paths.upper, paths.work, paths.logDir, paths.bundle]) {
        await mkdir(dir, { recursive: true, mode: dir === paths.upper ? 0o755 : 0o700 });
      }
      await hostNetwork.ensure('bridge');
      await ensureUserNamespace(this.#deps, entry);
      // The record makes it a container; without it a later daemon throws the rest away.
      await settleAll([
        replaceFile(paths.record, formatRecord(entry.record), 'durable'),
        this.#deps.metrics.time('mount', () => ensureRootfs(this.#deps, entry)),
        ensureNetwork(this.#deps, entry),
      ]);
    } catch (error) {
      // Volumes may be kept for it since an earlier container of this id.
      await this.#remove(entry, 'keep').catch((problem: unknown) => {
        this.#deps.log.warn(
          { err: problem, containerID: config.id },
          'a half-made container is left for the next start',
        );
      });
      this.#entries.delete(config.id);
      throw error;
    }
    return entry;
  }

  /** The ids of a container that is to have a user namespace of its own. */
  async #chooseIDs({ id, namespaces }: ContainerConfig): Promise<IdMap | undefined> {
    if (namespaces?.user !== 'mapped') return undefined;
    const { runtime } = this.#deps;
    if (runtime.name !== 'crun') {
      throw new ContainerConfigError(
        'namespaces.user',
        `${runtime.name} ${runtime.version} cannot join a user namespace that is there already; install crun, or do without`,
      );
    }
    const ranges = await observeRanges();
    const taken = [...this.#entries.values()].flatMap((entry) => entry.record.idMap ?? []);
    return decideIdMap({ ranges, taken, id });
  }

  async #start(entry: ContainerEntry, signal: AbortSignal): Promise<void> {
    const { hostNetwork, seccomp, runtime, layout, metrics } = this.#deps;
    const { config } = entry.record;
    const { paths } = entry;
    await this.#runs.putAway(entry);
    const ports = await claimPorts(this.#ports, entry);
    if (JSON.stringify(ports) !== JSON.stringify(entry.record.ports)) {
      entry.record = { ...entry.record, ports };
      await replaceFile(paths.record, formatRecord(entry.record), 'durable');
    }
    await mkdir(paths.bundle, { recursive: true, mode: 0o700 });
    await hostNetwork.ensure('bridge');
    await ensureUserNamespace(this.#deps, entry);
    const [network] = await settleAll([
      ensureNetwork(this.#deps, entry),
      metrics.time('mount', () => ensureRootfs(this.#deps, entry)),
      ensureControllers(this.#deps.cgroups, layout.cgroupParent),
    ]);
    const mounts = await metrics.time('volumes', () => prepareMounts(this.#deps, entry, signal));
    const { args, filter } = await writeBundle(this.#deps, entry, { network, mounts });
    const lastRun = entry.lastRun;
    try {
      const [prepared] = await settleAll([
        this.#starts.run(() =>
          metrics.time('oci_create', () => prepareRun(this.#deps, { id: config.id, args, stdio: config, signal })),
        ),
        metrics.time('publish', async () => {
          await refuseForeign(this.#ports, entry);
          await hostNetwork.publish(config.id, publishedPorts(entry));
        }),
        this.#deps.resolver.set(config.id, nameRecordOf(entry)),
      ]);
      entry.monitor = prepared.monitor;
      // Before anything else can happen: while it does not run, nobody changes the file.
      markRun(paths.log, prepared.processes.startedAtMs);
      entry.processes = prepared.processes;
      await seccomp.learn(filter, paths.ociState);
      writeLastRun(entry, { startedAtMs: prepared.processes.startedAtMs });
      if (entry.record.idMap !== undefined) await takeBackDevNull();
      await releaseStart(runtime, { id: config.id, ociRoot: layout.ociRoot, paths });
    } catch (error) {
      await this.#undoStart(entry, lastRun, error);
      throw error;
    }
    const { monitor } = entry;
    monitor?.onEnd(() => {
      if (entry.monitor === monitor) this.check(config.id);
    });
  }

  async #undoStart(entry: ContainerEntry, lastRun: LastRun | undefined, error: unknown): Promise<void> {
    const { config } = entry.record;
    const { log, nowMs } = this.#deps;
    this.#deps.resolver.stopped(config.id);
    try {
      entry.monitor?.close();
      entry.monitor = undefined;
      await endRun(this.#deps, config.id, entry.processes);
      // A missing command or a port of somebody else says nothing against the network; anything else may have spoilt it.
      if (!(error instanceof StartError || error instanceof PortTakenError)) await this.#dropNetwork(entry);
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

  async #dropNetwork(entry: ContainerEntry): Promise<void> {
    await this.#deps.hostNetwork.publish(entry.record.config.id, []);
    await dropNetwork(this.#deps, entry);
  }

  async #remove(entry: ContainerEntry, volumes: 'remove' | 'keep'): Promise<void> {
    const { config } = entry.record;
    const { layout, syscalls, hostNetwork, randomHex } = this.#deps;
    const { paths } = entry;
    await this.#debugs.end(config.id);
    if (entry.processes !== undefined) await syscalls.kill(entry.processes.init, SIGKILL);
    entry.monitor?.close();
    entry.monitor = undefined;
    await endRun(this.#deps, config.id, entry.processes);
    entry.processes = undefined;
    await settleAll([
      hostNetwork.publish(config.id, []).then(() => dropNetwork(this.#deps, entry)),
      syscalls.unmount(paths.rootfs),
    ]);
    await syscalls.unmount(paths.userNamespace);
    await removeTree(paths.bundle);
    await dropVolumes(this.#deps, config.id, { volumes, keepsImageVolumes: config.keepsImageVolumes ?? false });
    // One rename takes it out of the world; deleting what may be large comes after.
    const grave = join(layout.trash, `${config.id}-${randomHex(4)}`);
    await rename(paths.home, grave).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await removeTree(grave);
  }
}

function checkConfig(config: ContainerConfig): void {
  if (!idForm.test(config.id)) {
    throw new ContainerConfigError(
      'id',
      `"${config.id}" is no container id; it needs 64 lower-case hexadecimal digits`,
    );
  }
  if (!/^[A-Za-z0-9]([-A-Za-z0-9.]{0,62})$/.test(config.hostname)) {
    throw new ContainerConfigError(
      'hostname',
      `"${config.hostname}" cannot be a host name; use up to 63 letters and digits`,
    );
  }
  checkDnsNames(config);
  const [problem] = findSecurityProblems(config);
  if (problem !== undefined) throw problem;
  for (const port of config.ports) {
    const { containerPort, hostPort, hostPortEnd = hostPort, hostIP } = port;
    const isPort = (number: number): boolean => Number.isInteger(number) && number >= 0 && number <= 65_535;
    const isSound =
      containerPort >= 1 &&
      [containerPort, hostPort, hostPortEnd].every(isPort) &&
      hostPortEnd >= hostPort &&
      (hostPort > 0 || hostPortEnd === 0) &&
      (hostIP === undefined || isIP(hostIP) > 0);
    if (!isSound) throw new ContainerConfigError('ports', `${JSON.stringify(port)} is not a port mapping`);
  }
}

function checkDnsNames({ dnsNames = [] }: Pick<MutableConfig, 'dnsNames'>): void {
  const wrong = dnsNames.find((name) => !isDnsName(name));
  if (wrong === undefined) return;
  throw new ContainerConfigError(
    'dnsNames',
    `"${wrong}" cannot be a name for the resolver; use labels of up to 63 lower-case letters, digits and dashes`,
  );
}

/** A failed system call of Node's own is told as what it is for the caller: a step of the host that failed. */
function explain(operation: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return error;
  const hint = error.code === 'ENOSPC' || error.code === 'EDQUOT' ? '; free space on that disk' : '';
  return new RuntimeOperationError(operation, `${error.message}${hint}`, { cause: error });
}

function withoutUndefined(change: Partial<MutableConfig>): Partial<MutableConfig> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
