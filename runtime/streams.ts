/** What a client can have of a running container: further processes, its streams, figures, connections. Effects. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
import { type AttachedRun, AttachSession } from './attach.ts';
import { cgroupDirs } from './cgroups.ts';
import { type ContainerEntry, isRunning } from './container-entry.ts';
import {
  checkExecRequest,
  formatConmonSize,
  formatExecProcess,
  type OciProcess,
  parseOciProcess,
} from './exec-process.ts';
import { observeChanges } from './file-changes.ts';
import {
  type Archive,
  type AttachRequest,
  ContainerConfigError,
  type ContainerID,
  ContainerNotRunningError,
  type ExecRequest,
  type FileChange,
  RuntimeOperationError,
  type Stats,
  type StreamSession,
  type TerminalSize,
  type WriteArchiveOptions,
} from './interface.ts';
import type { Json } from './json.ts';
import { sendControl } from './log-files.ts';
import { readLog } from './log-reader.ts';
import { isAlive, observeProcess, type ProcessIdentity } from './proc.ts';
import { type Relay, RelayError, startRelay } from './relay.ts';
import type { RelayHost } from './relay-host.ts';
import { formatJoin, hasSeccompFilter, joinedCgroupFiles } from './relay-join.ts';
import { explainExec, openExecSession } from './relay-sessions.ts';
import { cgroupPathOf, type RunDeps } from './run.ts';
import { observeStats } from './stats.ts';
import { lookUpUser, type ProcessUser } from './user.ts';

export interface StreamsDeps extends RunDeps {
  readonly randomHex: (bytes: number) => string;
  readonly relays: RelayHost;
  /** Capabilities that the host has to give. */
  readonly capabilities: readonly string[];
  /** Sees whether the container has ended meanwhile. */
  look(entry: ContainerEntry): void;
}

/** Waits for the end of a run. */
interface Waiting {
  readonly entry: ContainerEntry;
  readonly ending: PromiseWithResolvers<number>;
  session?: AttachSession;
}

interface RunOfSession extends AttachedRun {
  readonly waiting: Waiting;
  readonly forget: () => void;
}

const SIGKILL = 9;
const beginDeadlineMs = 30_000;
/** On loopback; a listener whose queue is full keeps one waiting. */
const dialDeadlineMs = 10_000;

export class ContainerStreams {
  readonly #deps: StreamsDeps;
  /** Sessions that are open. */
  readonly #sessions = new Set<{ readonly endsWith?: ContainerID; close(): Promise<void> }>();
  /** Those who wait for the end of a run. */
  readonly #attached = new Set<Waiting>();
  /** Those who wait for a run to begin. */
  readonly #awaited = new Map<ContainerID, Set<{ readonly session: AttachSession; readonly request: AttachRequest }>>();

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
  }

  async exec(entry: ContainerEntry, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    const { layout, runtime, randomHex } = this.#deps;
    const { config, image } = entry.record;
    checkExecRequest(request);
    const init = this.#initOf(entry);
    const ociConfig = await readJsonObject(entry.paths.ociConfig);
    const base = parseOciProcess(ociConfig);
    if (base === undefined) throw new RuntimeOperationError('exec', `${entry.paths.ociConfig} cannot be read`);
    const user = request.user === undefined ? undefined : await this.#lookUpUser(request.user, init.pid);
    const isHomeSet = [...image.env, ...config.env.map(({ name }) => `${name}=`)].some((one) =>
      one.startsWith('HOME='),
    );
    const { capabilities: available } = this.#deps;
    const security = config.security ?? {};
    const process = formatExecProcess({ base, request, security, user, available, isHomeSet });
    const joined = await this.#join(entry, { init, ociConfig, process, request }, signal);
    if (joined !== undefined) return joined;
    const dir = join(layout.sessions, randomHex(8));
    await mkdir(dir, { mode: 0o700 });
    try {
      await writeFile(join(dir, 'process.json'), JSON.stringify(process), { mode: 0o600 });
      const command = [
        ...[runtime.path, '--root', layout.ociRoot, '--log', 'log', '--log-format', 'json', 'exec', '--detach'],
        ...['--pid-file', 'pid', ...(request.hasTerminal ? ['--console-socket', 'console'] : [])],
        ...['--process', 'process.json', config.id],
      ];
      const told = [...flags(request.hasTerminal, request.hasStdin), String(base.oomScoreAdj ?? 0)];
      return await this.#startExec(['exec', dir, ...told, ...command], request, signal);
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw this.#explainExec(entry, request, error);
    }
  }

  /** undefined: only the OCI runtime can do it. */
  async #join(
    entry: ContainerEntry,
    input: { readonly init: ProcessIdentity; readonly ociConfig: Json | undefined } & {
      readonly process: OciProcess;
      readonly request: ExecRequest;
    },
    signal: AbortSignal,
  ): Promise<StreamSession | undefined> {
    const { relays, cgroups, layout, log } = this.#deps;
    const { init, process, request } = input;
    const hasFilter = hasSeccompFilter(input.ociConfig);
    const seccompFile = hasFilter ? join(entry.paths.ociState, 'seccomp.bpf') : undefined;
    const isKept = seccompFile === undefined || existsSync(seccompFile);
    if (entry.record.idMap !== undefined || !isKept || (await relays.findObstacle()) !== undefined) return undefined;
    const path = cgroupPathOf(layout, entry.record.config.id);
    const initCgroup = cgroups.kind === 'v1' ? '' : await readFile(`/proc/${init.pid}/cgroup`, 'utf8').catch(() => '');
    const cgroupFiles = joinedCgroupFiles(cgroupDirs(cgroups, path), { kind: cgroups.kind, path, initCgroup });
    const args = formatJoin({ init, process, hasStdin: request.hasStdin, cgroupFiles, seccompFile });
    if (args === undefined) return undefined;
    try {
      return await this.#startExec(args, request, signal, entry.record.config.id);
    } catch (error) {
      // The program was found wanting, or nothing can be entered any more.
      if (!(error instanceof RelayError) || error.code !== 0) throw this.#explainExec(entry, request, error);
      this.#initOf(entry);
      log.warn({ err: error, containerID: entry.record.config.id }, 'the OCI runtime is asked to exec instead');
      return undefined;
    }
  }

  /** `owner`: whose relay it may be, and remain. */
  async #startExec(
    args: readonly string[],
    request: ExecRequest,
    signal: AbortSignal,
    owner?: ContainerID,
  ): Promise<StreamSession> {
    const relay = await startRelay({
      program: { kind: 'relay', host: this.#deps.relays, ...(owner === undefined ? {} : { owner }) },
      operation: 'exec',
      args,
      hasStdin: request.hasStdin,
      hasOutput: true,
      deadlineMs: beginDeadlineMs,
      signal,
    });
    // Its pid is not another's yet: the relay is its parent.
    const stray = observeProcess(relay.pid);
    return this.#keep(openExecSession(relay, request.hasTerminal, () => this.#kill(stray)));
  }

  /** `entry`: undefined while there is no such container. Throws ContainerNotRunningError if it may not wait. */
  async attach(
    id: ContainerID,
    entry: ContainerEntry | undefined,
    request: AttachRequest,
    signal: AbortSignal,
  ): Promise<StreamSession> {
    if (entry !== undefined) this.#deps.look(entry);
    const init = entry?.processes?.init;
    const isThere = entry !== undefined && init !== undefined && isRunning(entry) && isAlive(init);
    if (!isThere && request.run === 'present-or-next') return this.#awaitRun(id, request, signal);
    if (!isThere) throw new ContainerNotRunningError(id);
    const run = await this.#runOf(entry, request, signal);
    try {
      const session = new AttachSession(request, run);
      await this.#begin(session, run);
      return this.#keep(session);
    } catch (error) {
      run.forget();
      await run.relay?.close();
      throw error;
    }
  }

  #awaitRun(id: ContainerID, request: AttachRequest, signal: AbortSignal): StreamSession {
    signal.throwIfAborted();
    const session = new AttachSession(request);
    const waiting = { session, request };
    const ofSame = this.#awaited.get(id) ?? new Set();
    this.#awaited.set(id, ofSame.add(waiting));
    const forget = (): void => {
      ofSame.delete(waiting);
      if (ofSame.size === 0 && this.#awaited.get(id) === ofSame) this.#awaited.delete(id);
    };
    session.exit.then(forget, forget);
    return this.#keep(session);
  }

  /** Its process is made and not yet let go: those who wait for it get all of it. */
  async runBegins(entry: ContainerEntry, signal: AbortSignal): Promise<void> {
    const { id } = entry.record.config;
    const awaited = this.#awaited.get(id);
    if (awaited === undefined) return;
    this.#awaited.delete(id);
    await Promise.all(
      [...awaited].map(async ({ session, request }) => {
        if (session.isDetached) return;
        try {
          const run = await this.#runOf(entry, request, signal);
          await this.#begin(session, run);
        } catch (error) {
          // No reason not to start it.
          this.#deps.log.warn({ err: error, containerID: id }, 'a client cannot be attached to the run that begins');
          session.fail(error);
        }
      }),
    );
  }

  /** Those who wait for the next run wait in vain. */
  awaitNoMore(id: ContainerID, error: unknown): void {
    for (const { session } of this.#awaited.get(id) ?? []) session.fail(error);
    this.#awaited.delete(id);
  }

  /** The sessions of the run that was to begin end with it. */
  startFailed(id: ContainerID, error: unknown): void {
    this.awaitNoMore(id, error);
    for (const { entry, ending } of this.#attached) if (entry.record.config.id === id) ending.reject(error);
  }

  /** Its log is about to be removed: those who read it hold it open first. */
  async logEnds(id: ContainerID): Promise<void> {
    const readers = [...this.#attached].filter(({ entry }) => entry.record.config.id === id);
    await Promise.all(readers.map(({ session }) => session?.hold().catch(() => {}))); // told to its reader
  }

  async #begin(session: AttachSession, run: RunOfSession): Promise<void> {
    run.waiting.session = session;
    session.exit.then(run.forget, run.forget);
    await session.begin(run);
  }

  async #runOf(entry: ContainerEntry, request: AttachRequest, signal: AbortSignal): Promise<RunOfSession> {
    const { paths, record } = entry;
    const { id, hasStdin = false, hasTerminal = false } = record.config;
    // From here on, so that an end which comes meanwhile is not missed.
    const ending = Promise.withResolvers<number>();
    ending.promise.catch(() => {}); // told by the session
    const waiting: Waiting = { entry, ending };
    this.#attached.add(waiting);
    const forget = (): void => void this.#attached.delete(waiting);
    const tailLines = request.hasLog === true ? undefined : 0;
    try {
      const relay =
        hasStdin && request.hasStdin
          ? await startRelay({
              program: { kind: 'relay', host: this.#deps.relays },
              operation: 'attach',
              args: ['attach', paths.bundle],
              hasStdin: true,
              hasOutput: false,
              deadlineMs: beginDeadlineMs,
              signal,
            })
          : undefined;
      return {
        waiting,
        forget,
        hasTerminal,
        relay,
        ended: ending.promise,
        read: (present, detached) =>
          readLog({
            ...{ id, dir: paths.logDir, options: { follow: true, tailLines }, isRunning: true, present },
            ...{ nowMs: this.#deps.nowMs, signal: detached },
          }),
        resize: (size) => this.#sendSize(entry, size),
      };
    } catch (error) {
      forget();
      throw error;
    }
  }

  /** Throws ContainerNotRunningError. */
  async resize(entry: ContainerEntry, size: TerminalSize): Promise<void> {
    this.#initOf(entry);
    if (entry.record.config.hasTerminal === true) await this.#sendSize(entry, size);
  }

  async #sendSize({ paths }: ContainerEntry, size: TerminalSize): Promise<void> {
    await sendControl(paths.winsz, formatConmonSize(size));
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
    for (const { entry, ending } of this.#attached) {
      if (entry.record.config.id !== id) continue;
      const exit = entry.lastRun?.exit;
      if (exit === undefined) ending.reject(new RuntimeOperationError('attach', 'the container was removed'));
      else ending.resolve(exit.code);
    }
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
    const init = this.#initOf(entry);
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
      this.#initOf(entry);
      throw new RuntimeOperationError('dial', `port ${port} of the container: ${error.text}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
  }

  /** Its first process. Throws ContainerNotRunningError. */
  #initOf(entry: ContainerEntry): ProcessIdentity {
    this.#deps.look(entry);
    const init = entry.processes?.init;
    if (init === undefined || !isRunning(entry) || !isAlive(init)) {
      throw new ContainerNotRunningError(entry.record.config.id);
    }
    return init;
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

  /** In the container as it is now, its volumes included. */
  async #lookUpUser(user: string, pid: number): Promise<ProcessUser> {
    const { syscalls } = this.#deps;
    const root = `/proc/${pid}/root`;
    const [passwd, group] = await Promise.all([
      syscalls.readFileInRoot(root, 'etc/passwd'),
      syscalls.readFileInRoot(root, 'etc/group'),
    ]);
    return lookUpUser({ user, passwd, group });
  }

  /** Its relay was killed, so nobody has its streams or would end it. */
  #kill(stray: ProcessIdentity | undefined): void {
    if (stray === undefined) return;
    this.#deps.syscalls.kill(stray, SIGKILL).catch((error: unknown) => {
      this.#deps.log.warn({ err: error, pid: stray.pid }, 'a process whose session is gone cannot be killed');
    });
  }

  #explainExec(entry: ContainerEntry, request: ExecRequest, error: unknown): unknown {
    if (!(error instanceof RelayError) || error.code === 0) return error;
    this.#deps.look(entry);
    if (!isRunning(entry)) return new ContainerNotRunningError(entry.record.config.id, { cause: error });
    return explainExec(request, error);
  }
}

function flags(...facts: readonly boolean[]): string[] {
  return facts.map((fact) => (fact ? '1' : '0'));
}
