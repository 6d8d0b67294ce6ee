/** Further processes in a running container: entered by a relay, or by the OCI runtime where only that can do it. Effects. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readJsonObject } from './atomic-file.ts';
import { cgroupDirs } from './cgroups.ts';
import { type ContainerEntry, initOf, isRunning } from './container-entry.ts';
import { checkExecRequest, formatExecProcess, type OciProcess, parseOciProcess } from './exec-process.ts';
import {
  type ContainerID,
  ContainerNotRunningError,
  type ExecRequest,
  RuntimeOperationError,
  type StreamSession,
} from './interface.ts';
import type { Json } from './json.ts';
import { observeProcess, type ProcessIdentity } from './proc.ts';
import { RelayError, startRelay } from './relay.ts';
import type { RelayHost } from './relay-host.ts';
import { formatJoin, hasSeccompFilter, joinedCgroupFiles } from './relay-join.ts';
import { explainExec, openExecSession } from './relay-sessions.ts';
import { cgroupPathOf, type RunDeps } from './run.ts';
import { lookUpUser, type ProcessUser } from './user.ts';

export interface ExecDeps extends RunDeps {
  readonly randomHex: (bytes: number) => string;
  readonly relays: RelayHost;
  /** Capabilities that the host has to give. */
  readonly capabilities: readonly string[];
  /** Sees whether the container has ended meanwhile. */
  look(entry: ContainerEntry): void;
}

const SIGKILL = 9;
const beginDeadlineMs = 30_000;

export class ContainerExec {
  readonly #deps: ExecDeps;

  constructor(deps: ExecDeps) {
    this.#deps = deps;
  }

  /**
   * Whoever gets the session closes it. Throws ContainerNotRunningError, ContainerConfigError, StartError,
   * RuntimeOperationError, the signal's reason.
   */
  async open(entry: ContainerEntry, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    const { layout, runtime, randomHex } = this.#deps;
    const { config, image } = entry.record;
    checkExecRequest(request);
    const init = initOf(entry, this.#deps.look);
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
      initOf(entry, this.#deps.look);
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
    return openExecSession(relay, request.hasTerminal, () => this.#kill(stray));
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
