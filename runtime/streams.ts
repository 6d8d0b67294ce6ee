/** What a client can have of a running container: further processes, its streams, figures, connections. Effects. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { readJsonObject } from './atomic-file.ts';
import { type ContainerEntry, isRunning } from './container-entry.ts';
import { checkExecRequest, formatExecProcess, parseOciProcess } from './exec-process.ts';
import {
  type AttachRequest,
  ContainerNotRunningError,
  type ExecRequest,
  RuntimeOperationError,
  StartError,
  type Stats,
  type StreamSession,
} from './interface.ts';
import { createError } from './oci-runtime.ts';
import { isAlive, observeProcess, type ProcessIdentity } from './proc.ts';
import { RelayError, startRelay } from './relay.ts';
import { openExecSession } from './relay-sessions.ts';
import type { RunDeps } from './run.ts';
import { lookUpUser, type ProcessUser } from './user.ts';

export interface StreamsDeps extends RunDeps {
  readonly randomHex: (bytes: number) => string;
  /** Sees whether the container has ended meanwhile. */
  look(entry: ContainerEntry): void;
}

const SIGKILL = 9;
const beginDeadlineMs = 30_000;

export class ContainerStreams {
  readonly #deps: StreamsDeps;
  /** Sessions that are open. */
  readonly #sessions = new Set<{ close(): Promise<void> }>();

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
  }

  async exec(entry: ContainerEntry, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    const { layout, runtime, randomHex } = this.#deps;
    const { config, image } = entry.record;
    checkExecRequest(request);
    const init = this.#initOf(entry);
    const base = parseOciProcess(await readJsonObject(entry.paths.ociConfig));
    if (base === undefined) throw new RuntimeOperationError('exec', `${entry.paths.ociConfig} cannot be read`);
    const user = request.user === undefined ? undefined : await this.#lookUpUser(request.user, init.pid);
    const isHomeSet = [...image.env, ...config.env.map(({ name }) => `${name}=`)].some((one) =>
      one.startsWith('HOME='),
    );
    const process = formatExecProcess({ base, request, user, isHomeSet });
    const dir = join(layout.sessions, randomHex(8));
    await mkdir(dir, { mode: 0o700 });
    try {
      await writeFile(join(dir, 'process.json'), JSON.stringify(process), { mode: 0o600 });
      const command = [
        ...[runtime.path, '--root', layout.ociRoot, '--log', 'log', '--log-format', 'json', 'exec', '--detach'],
        ...['--pid-file', 'pid', ...(request.hasTerminal ? ['--console-socket', 'console'] : [])],
        ...['--process', 'process.json', config.id],
      ];
      const relay = await startRelay({
        operation: 'exec',
        args: ['exec', dir, ...flags(request.hasTerminal, request.hasStdin), String(base.oomScoreAdj ?? 0), ...command],
        hasStdin: request.hasStdin,
        hasOutput: true,
        deadlineMs: beginDeadlineMs,
        signal,
      });
      // Its pid is not another's yet: the relay is its parent.
      const stray = observeProcess(relay.pid);
      return this.#keep(openExecSession(relay, request.hasTerminal, () => this.#kill(stray)));
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw this.#explainExec(entry, request, error);
    }
  }

  async attach(_entry: ContainerEntry, _request: AttachRequest, _signal: AbortSignal): Promise<StreamSession> {
    throw new RuntimeOperationError('attach', 'comes within the hour');
  }

  async stats(_entry: ContainerEntry): Promise<Stats | undefined> {
    throw new RuntimeOperationError('stats', 'comes within the hour');
  }

  async dial(_entry: ContainerEntry, _port: number, _signal: AbortSignal): Promise<Duplex> {
    throw new RuntimeOperationError('dial', 'comes within the hour');
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
  }

  /** Its first process. Throws ContainerNotRunningError. */
  #initOf(entry: ContainerEntry): { readonly pid: number } {
    this.#deps.look(entry);
    const init = entry.processes?.init;
    if (init === undefined || !isRunning(entry) || !isAlive(init)) {
      throw new ContainerNotRunningError(entry.record.config.id);
    }
    return init;
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
    const said = [...error.text.matchAll(/"msg"\s*:\s*"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]).join('; ');
    const found = createError(said === '' ? error.text : said, request.args);
    return found instanceof StartError
      ? found
      : new RuntimeOperationError('exec', `${this.#deps.runtime.name}: ${said}`);
  }
}

function flags(...facts: readonly boolean[]): string[] {
  return facts.map((fact) => (fact ? '1' : '0'));
}
