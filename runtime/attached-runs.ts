/** Who is attached to the streams of a container's own process: those of the present run, and those who wait for the next. Effects. */
import { type AttachedRun, AttachSession } from './attach.ts';
import { type ContainerEntry, initOf, isRunning } from './container-entry.ts';
import { formatConmonSize } from './exec-process.ts';
import {
  type AttachRequest,
  type ContainerID,
  ContainerNotRunningError,
  RuntimeOperationError,
  type StreamSession,
  type TerminalSize,
} from './interface.ts';
import { sendControl } from './log-files.ts';
import { readLog } from './log-reader.ts';
import { isAlive } from './proc.ts';
import { startRelay } from './relay.ts';
import type { RelayHost } from './relay-host.ts';
import type { RunDeps } from './run.ts';

export interface AttachDeps extends Pick<RunDeps, 'log' | 'nowMs'> {
  readonly relays: RelayHost;
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

const beginDeadlineMs = 30_000;

export class AttachedRuns {
  readonly #deps: AttachDeps;
  /** Those who wait for the end of a run. */
  readonly #attached = new Set<Waiting>();
  /** Those who wait for a run to begin. */
  readonly #awaited = new Map<ContainerID, Set<{ readonly session: AttachSession; readonly request: AttachRequest }>>();

  constructor(deps: AttachDeps) {
    this.#deps = deps;
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
      return session;
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
    return session;
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
    initOf(entry, this.#deps.look);
    if (entry.record.config.hasTerminal === true) await this.#sendSize(entry, size);
  }

  async #sendSize({ paths }: ContainerEntry, size: TerminalSize): Promise<void> {
    await sendControl(paths.winsz, formatConmonSize(size));
  }

  /** Its run has ended, or it was removed. */
  runEnded(id: ContainerID): void {
    for (const { entry, ending } of this.#attached) {
      if (entry.record.config.id !== id) continue;
      const exit = entry.lastRun?.exit;
      if (exit === undefined) ending.reject(new RuntimeOperationError('attach', 'the container was removed'));
      else ending.resolve(exit.code);
    }
  }
}
