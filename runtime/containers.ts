/**
 * The containers of this host: the operations of the interface, one at a time for each container. How one is made, started,
 * changed and removed is in container-creation.ts, container-start.ts, container-update.ts and container-removal.ts.
 */
import type { Duplex, Readable } from 'node:stream';
import type { Logger } from 'pino';
import { type ArchiveView, prepareStoppedView } from './archive.ts';
import type { CgroupPrimer } from './cgroup-primer.ts';
import { observeCgroupPids } from './cgroups.ts';
import { isContainerID } from './config-check.ts';
import { type CreationDeps, createContainer } from './container-creation.ts';
import { type ContainerEntry, infoOf, isRunning, logOf, stateOf } from './container-entry.ts';
import type { NetworkDeps } from './container-network.ts';
import { type PortsDeps, releaseClaim } from './container-ports.ts';
import { type RemovalDeps, removeContainer } from './container-removal.ts';
import { ensureRootfs, type SetupDeps } from './container-setup.ts';
import { type StartDeps, startContainer } from './container-start.ts';
import { updateContainer } from './container-update.ts';
import { DebugSessions } from './debug-sessions.ts';
import { DriftWatch } from './drift-watch.ts';
import { ForeignPorts } from './foreign-ports.ts';
import { freeze, observeFrozen, thaw } from './freezer.ts';
import type { HostNetwork } from './host-network.ts';
import {
  type Archive,
  type AttachRequest,
  type ContainerConfig,
  type ContainerID,
  type ContainerInfo,
  ContainerNotFoundError,
  ContainerNotRunningError,
  type Containers,
  type ExecRequest,
  type FileChange,
  type Images,
  type LogEntry,
  type LogOptions,
  type MutableConfig,
  RuntimeClosedError,
  type RuntimeEvent,
  RuntimeOperationError,
  type Stats,
  type StreamSession,
  type TerminalSize,
  type WriteArchiveOptions,
} from './interface.ts';
import { KeyedLock, Semaphore } from './keyed-lock.ts';
import { readLog } from './log-reader.ts';
import type { ContainerLog } from './log-rotator.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { isAlive } from './proc.ts';
import { RelayHost } from './relay-host.ts';
import type { Resolver } from './resolver.ts';
import { cgroupPathOf, type RunDeps } from './run.ts';
import { RunSupervisor } from './run-supervisor.ts';
import { isDiskFull } from './shortage.ts';
import { ContainerStreams } from './streams.ts';
import { observeTreeBytes } from './tree-size.ts';
import { dropVolumes, prepareMounts, type VolumeDeps } from './volumes/index.ts';

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

const SIGKILL = 9;

export class LocalContainers implements Containers {
  readonly #deps: ContainersDeps;
  readonly #entries: Map<ContainerID, ContainerEntry>;
  readonly #steps: CreationDeps & StartDeps & RemovalDeps;
  readonly #lock = new KeyedLock();
  #startsUnderWay = 0;
  readonly #runs: RunSupervisor;
  readonly #drift: DriftWatch;
  readonly #streams: ContainerStreams;
  readonly #debugs: DebugSessions;
  readonly #relays: RelayHost;
  readonly #closing = new AbortController();

  /** `entries`: what was read back from disk. */
  constructor(deps: ContainersDeps, entries: Map<ContainerID, ContainerEntry>) {
    this.#deps = deps;
    this.#entries = entries;
    const ports: PortsDeps = {
      entries,
      hostNetwork: deps.hostNetwork,
      foreign: new ForeignPorts(deps.layout.nftTable),
      claims: new Set(),
    };
    const emit = (event: RuntimeEvent): void => {
      // Before others hear of it and start the next run.
      if (event.kind === 'exited') this.#streams.runEnded(event.id);
      deps.emit(event);
    };
    this.#runs = new RunSupervisor({ ...deps, emit, lock: this.#lock, closing: this.#closing.signal });
    this.#drift = new DriftWatch({ ...deps, entries, lock: this.#lock, closing: this.#closing.signal });
    const crun = deps.runtime.name === 'crun' ? deps.runtime.path : undefined;
    const relays = new RelayHost(deps.layout.sessions, deps.randomHex, crun);
    this.#relays = relays;
    this.#debugs = new DebugSessions({ ...deps, relays, changed: (id) => deps.emit({ kind: 'debug', id }) });
    this.#streams = new ContainerStreams({ ...deps, relays, look: (entry) => this.#runs.look(entry) });
    this.#steps = {
      ...deps,
      entries,
      ports,
      runs: this.#runs,
      relays,
      attached: this.#streams.attached,
      debugs: this.#debugs,
      starts: new Semaphore(deps.startConcurrency),
    };
  }

  get isBusy(): boolean {
    return this.#startsUnderWay > 0;
  }

  create(config: ContainerConfig, signal: AbortSignal): Promise<ContainerInfo> {
    return this.#operate('create', config.id, signal, async () => {
      const existing = this.#entries.get(config.id);
      if (existing !== undefined) return this.#info(existing);
      this.#deps.primer.prime();
      return this.#info(await createContainer(this.#steps, config, signal));
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
        await startContainer(this.#steps, entry, signal);
      } catch (error) {
        this.#streams.attached.startFailed(id, error);
        throw error;
      } finally {
        entry.isStarting = false;
        releaseClaim(this.#steps.ports, entry);
        this.#startsUnderWay -= 1;
      }
      // It may have ended already, unheeded while it was being started.
      this.#runs.look(entry);
      return this.#info(entry);
    });
  }

  update(id: ContainerID, change: Partial<MutableConfig>): Promise<void> {
    return this.#operate('update', id, undefined, () => updateContainer(this.#deps, this.#get(id), change));
  }

  /** Waits for no other operation, so that a container can be stopped while something else goes on. */
  async signal(id: ContainerID, signal: number): Promise<void> {
    await this.#deps.metrics.time('signal', async () => {
      this.#closing.signal.throwIfAborted();
      const entry = this.#get(id);
      if (entry.processes === undefined || !isRunning(entry)) return;
      if (signal === SIGKILL) entry.killed = entry.processes;
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
      if (volumes === 'remove') {
        this.#streams.attached.awaitNoMore(id, new RuntimeOperationError('attach', 'the container was removed'));
      }
      if (entry === undefined) {
        if (isContainerID(id)) await dropVolumes(this.#deps, id, { volumes });
        return;
      }
      entry.isRemoving = true;
      try {
        await removeContainer(this.#steps, entry, volumes);
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

  async attach(id: ContainerID, request: AttachRequest, signal: AbortSignal): Promise<StreamSession> {
    const entry = request.run === 'present-or-next' ? this.#entries.get(id) : this.#get(id);
    return this.#streams.attach(id, entry, request, signal);
  }

  async resize(id: ContainerID, size: TerminalSize): Promise<void> {
    await this.#streams.attached.resize(this.#get(id), size);
  }

  async stats(id: ContainerID, { isDetailed = false } = {}): Promise<Stats | undefined> {
    return this.#streams.stats(this.#get(id), isDetailed);
  }

  async processes(id: ContainerID): Promise<readonly number[]> {
    const { cgroups, layout } = this.#deps;
    this.#get(id);
    return [...observeCgroupPids(cgroups, cgroupPathOf(layout, id))];
  }

  async usage(id: ContainerID, signal: AbortSignal): Promise<number> {
    return observeTreeBytes('container usage', this.#get(id).paths.upper, signal);
  }

  async changes(id: ContainerID, signal: AbortSignal): Promise<readonly FileChange[]> {
    const entry = await this.#withRoot(id, signal);
    return this.#streams.changes(entry, await this.#deps.layersOf(entry.record.config.imageID), signal);
  }

  async exportRoot(id: ContainerID, signal: AbortSignal): Promise<Readable> {
    return this.#streams.exportRoot(await this.#withRoot(id, signal), signal);
  }

  #withRoot(id: ContainerID, signal: AbortSignal): Promise<ContainerEntry> {
    return this.#operate('view', id, signal, async () => {
      const entry = this.#get(id);
      this.#runs.look(entry);
      if (!isRunning(entry)) await ensureRootfs(this.#deps, entry);
      return entry;
    });
  }

  dial(id: ContainerID, port: number, signal: AbortSignal): Promise<Duplex> {
    return this.#streams.dial(this.#get(id), port, signal);
  }

  /** Something may have happened to this container: concludes what did. */
  check(id: ContainerID): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#runs.look(entry);
  }

  /** Looks for what was changed behind our back; resolves when all were looked at. */
  lookForDrift(): Promise<void> {
    return this.#drift.look();
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

  /** Takes up monitoring of what was read back: runs that ended meanwhile are settled. */
  takeUp(): void {
    for (const entry of this.#entries.values()) this.#runs.resume(entry);
    this.#relays.warm();
  }

  async close(): Promise<void> {
    this.#closing.abort(new RuntimeClosedError('the runtime was closed'));
    await Promise.all([this.#streams.close(), this.#debugs.close()]);
    await this.#lock.idle();
    await this.#relays.close();
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
}

/** A failed system call of Node's own is told as what it is for the caller: a step of the host that failed. */
function explain(operation: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return error;
  const hint = isDiskFull(error) ? '; free space on that disk' : '';
  return new RuntimeOperationError(operation, `${error.message}${hint}`, { cause: error });
}
