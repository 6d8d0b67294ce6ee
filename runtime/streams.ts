/** What a client can have of a running container: further processes, its streams, figures, connections. Effects. */
import type { Duplex, Readable } from 'node:stream';
import {
  type ArchiveView,
  type Copying,
  openExport,
  openReadArchive,
  openWriteArchive,
  prepareStoppedView,
} from './archive.ts';
import { readJsonObject } from './atomic-file.ts';
import { AttachedRuns } from './attached-runs.ts';
import { type ContainerEntry, initOf, isRunning } from './container-entry.ts';
import { ContainerExec, type ExecDeps } from './container-exec.ts';
import { observeChanges } from './file-changes.ts';
import {
  type Archive,
  ContainerConfigError,
  type ContainerID,
  type ExecRequest,
  type FileChange,
  RuntimeOperationError,
  type Stats,
  type StreamSession,
  type WriteArchiveOptions,
} from './interface.ts';
import type { Json } from './json.ts';
import { type Relay, RelayError, startRelay } from './relay.ts';
import { cgroupPathOf } from './run.ts';
import { observeStats } from './stats.ts';

/** On loopback; a listener whose queue is full keeps one waiting. */
const dialDeadlineMs = 10_000;

export class ContainerStreams {
  readonly #deps: ExecDeps;
  /** Sessions that are open. */
  readonly #sessions = new Set<{ readonly endsWith?: ContainerID; close(): Promise<void> }>();
  readonly #exec: ContainerExec;
  /** Told by whoever begins and ends a run. */
  readonly attached: AttachedRuns;

  constructor(deps: ExecDeps) {
    this.#deps = deps;
    this.#exec = new ContainerExec(deps);
    this.attached = new AttachedRuns(deps);
  }

  async exec(entry: ContainerEntry, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    return this.#keep(await this.#exec.open(entry, request, signal));
  }

  /** As AttachedRuns.attach. */
  async attach(...request: Parameters<AttachedRuns['attach']>): Promise<StreamSession> {
    return this.#keep(await this.attached.attach(...request));
  }

  /** The view must be that of the container when it is called. */
  async readArchive(view: ArchiveView, path: string, signal: AbortSignal): Promise<Archive> {
    const { copying, ...archive } = await openReadArchive(view, path, signal);
    this.#keepCopying(copying);
    return archive;
  }

  /** As readArchive; resolves when it can be written to. */
  async openWriteArchive(
    view: ArchiveView,
    request: { readonly dir: string; readonly options: WriteArchiveOptions; readonly signal: AbortSignal },
  ): Promise<(archive: Readable) => Promise<void>> {
    const { copying, write } = await openWriteArchive(view, request);
    this.#keepCopying(copying);
    return write;
  }

  /** The container's root must be mounted. */
  async changes(entry: ContainerEntry, layers: readonly string[], signal: AbortSignal): Promise<readonly FileChange[]> {
    const { paths, record } = entry;
    const mounts = (await readJsonObject(paths.ociConfig))?.mounts;
    const destinations = Array.isArray(mounts) ? mounts.map((one: Json) => one.destination) : [];
    return await observeChanges({
      ...{ rootfs: paths.rootfs, upper: paths.upper, layers, signal, hasOwners: record.idMap === undefined },
      mountPoints: destinations.filter((one) => typeof one === 'string'),
      keep: (copying) => this.#keepCopying(copying),
    });
  }

  /** Its root alone, which must be mounted. */
  async exportRoot(entry: ContainerEntry, signal: AbortSignal): Promise<Readable> {
    const { copying, stream } = await openExport(await prepareStoppedView(entry, [], this.#deps.syscalls), signal);
    this.#keepCopying(copying);
    return stream;
  }

  #keepCopying(copying: Copying): void {
    this.#sessions.add(copying);
    void copying.done.then(() => this.#sessions.delete(copying));
  }

  /** Its run has ended, or it was removed: the streams of its own process and its connections end. */
  runEnded(id: ContainerID): void {
    for (const session of this.#sessions) if (session.endsWith === id) void session.close();
    this.attached.runEnded(id);
  }

  async stats(entry: ContainerEntry, isDetailed: boolean): Promise<Stats | undefined> {
    const { layout, cgroups, look } = this.#deps;
    look(entry);
    const pid = entry.processes?.init.pid;
    if (pid === undefined || !isRunning(entry)) return undefined;
    const { id, namespaces } = entry.record.config;
    const hasOwnNetwork = namespaces?.network !== 'host';
    const stats = await observeStats({ cgroups, path: cgroupPathOf(layout, id), pid, hasOwnNetwork, isDetailed });
    // What was read while it ended may be of nothing, or of another process.
    look(entry);
    return isRunning(entry) ? stats : undefined;
  }

  async dial(entry: ContainerEntry, port: number, signal: AbortSignal): Promise<Duplex> {
    const init = initOf(entry, this.#deps.look);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new ContainerConfigError('port', `${port} is no port; use 1 to 65535`);
    }
    try {
      const relay = await startRelay({
        program: { kind: 'relay', host: this.#deps.relays },
        operation: 'dial',
        args: ['dial', String(init.pid), String(init.startTicks), String(port)],
        hasStdin: false,
        hasOutput: false,
        hasConnection: true,
        deadlineMs: dialDeadlineMs,
        signal,
      });
      return this.#keepConnection(entry.record.config.id, relay);
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      initOf(entry, this.#deps.look);
      throw new RuntimeOperationError('dial', `port ${port} of the container: ${error.text}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
  }

  #keepConnection(id: ContainerID, relay: Relay): Duplex {
    const { connection } = relay;
    if (connection === undefined) throw new RuntimeOperationError('dial', 'the relay has no connection');
    const session = {
      endsWith: id,
      async close() {
        connection.destroy();
        await relay.close();
      },
    };
    this.#sessions.add(session);
    const forget = (): void => void this.#sessions.delete(session);
    // Either end of it ends the other.
    connection.once('close', () => void relay.close().then(forget));
    return connection;
  }

  #keep(session: StreamSession): StreamSession {
    this.#sessions.add(session);
    const forget = (): void => void this.#sessions.delete(session);
    session.exit.then(forget, forget);
    return session;
  }
}
