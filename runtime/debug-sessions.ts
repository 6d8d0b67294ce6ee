/**
 * Programs that run in place of a container's own while that is down: in its root, network, volumes and limits, as its
 * user, but in a cgroup and process namespace of their own, so that the container may start beside them. To the OCI
 * runtime each is a container of its own, named <id>-<16 hex digits>; what is left of one that was cut short is removed
 * as that of any stray container. Effects only; opening and ending is called with the container's lock held.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureControllers } from './cgroups.ts';
import type { ContainerEntry } from './container-entry.ts';
import { ensureNetwork, type NetworkDeps } from './container-network.ts';
import { ensureRootfs, type SetupDeps, writeBundle } from './container-setup.ts';
import { boundSize, checkExecRequest } from './exec-process.ts';
import { ContainerConfigError, type ContainerID, type ExecRequest, type StreamSession } from './interface.ts';
import { formatRlimits } from './kernel-settings.ts';
import { settleAll } from './keyed-lock.ts';
import { startRelay } from './relay.ts';
import type { RelayHost } from './relay-host.ts';
import { explainExec, openExecSession } from './relay-sessions.ts';
import { removeTree } from './remove-tree.ts';
import { cgroupPathOf, endRun, type RunDeps } from './run.ts';
import { ensureUserNamespace } from './user-namespace.ts';
import { prepareMounts, type VolumeDeps } from './volumes/index.ts';

export interface DebugDeps extends SetupDeps, NetworkDeps, RunDeps, VolumeDeps {
  readonly relays: RelayHost;
  /** A session of the container has begun or ended. */
  changed(id: ContainerID): void;
}

interface DebugSession {
  readonly session: StreamSession;
  /** When nothing of it is left. */
  readonly cleaned: Promise<void>;
}

const beginDeadlineMs = 30_000;

export class DebugSessions {
  readonly #deps: DebugDeps;
  readonly #open = new Map<ContainerID, Set<DebugSession>>();

  constructor(deps: DebugDeps) {
    this.#deps = deps;
  }

  count(id: ContainerID): number {
    return this.#open.get(id)?.size ?? 0;
  }

  /** Throws as exec does. */
  async open(entry: ContainerEntry, request: ExecRequest, signal: AbortSignal): Promise<StreamSession> {
    const { layout, runtime, randomHex } = this.#deps;
    const { id } = entry.record.config;
    checkExecRequest(request);
    const name = `${id}-${randomHex(8)}`;
    const paths = layout.container(name);
    const dir = join(layout.sessions, randomHex(8));
    // With the marker a later daemon looks for what was started.
    await mkdir(paths.bundle, { recursive: true, mode: 0o700 });
    await writeFile(paths.starting, '');
    await mkdir(dir, { mode: 0o700 });
    try {
      await this.#prepare(entry, request, name, signal);
      const command = [
        ...[
          runtime.path,
          '--root',
          layout.ociRoot,
          '--log',
          join(dir, 'log'),
          '--log-format',
          'json',
          'run',
          '--detach',
        ],
        ...['--bundle', paths.bundle, '--pid-file', join(dir, 'pid')],
        ...(request.hasTerminal ? ['--console-socket', join(dir, 'console')] : []),
        name,
      ];
      const { hasTerminal, hasStdin } = request;
      const relay = await startRelay({
        program: { kind: 'relay', host: this.#deps.relays },
        operation: 'debug',
        args: ['exec', dir, hasTerminal ? '1' : '0', hasStdin ? '1' : '0', '0', ...command],
        hasStdin,
        hasOutput: true,
        deadlineMs: beginDeadlineMs,
        signal,
      });
      // A relay that is killed leaves a process; it ends with the rest.
      const session = openExecSession(relay, hasTerminal, () => {});
      this.#keep(id, name, session);
      return session;
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      await this.#remove(name);
      throw explainExec(request, error);
    }
  }

  /** Ends all sessions of a container; nothing of them is left then. */
  async end(id: ContainerID): Promise<void> {
    await Promise.all(
      [...(this.#open.get(id) ?? [])].map(async ({ session, cleaned }) => {
        await session.close();
        await cleaned;
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((id) => this.end(id)));
  }

  #keep(id: ContainerID, name: string, session: StreamSession): void {
    const ended = session.exit.then(
      () => {},
      () => {}, // told to whoever has the session
    );
    const sessions = this.#open.get(id) ?? new Set();
    this.#open.set(id, sessions);
    const cleaned = ended.then(async () => {
      await this.#remove(name);
      sessions.delete(kept);
      if (sessions.size === 0) this.#open.delete(id);
      this.#deps.changed(id);
    });
    const kept = { session, cleaned };
    sessions.add(kept);
    this.#deps.changed(id);
  }

  async #remove(name: string): Promise<void> {
    try {
      await endRun(this.#deps, name, undefined);
      await removeTree(this.#deps.layout.container(name).bundle);
    } catch (error) {
      this.#deps.log.warn(
        { err: error, containerID: name },
        'what is left of a debug session is left for the next start',
      );
    }
  }

  /** Writes the bundle: the container's own, but for the program and what the request says. */
  async #prepare(entry: ContainerEntry, request: ExecRequest, name: string, signal: AbortSignal): Promise<void> {
    const { layout, cgroups } = this.#deps;
    await mkdir(entry.paths.bundle, { recursive: true, mode: 0o700 });
    await ensureUserNamespace(this.#deps, entry);
    const [network] = await settleAll([
      ensureNetwork(this.#deps, entry),
      ensureRootfs(this.#deps, entry),
      ensureControllers(cgroups, layout.cgroupParent),
    ]);
    const mounts = await prepareMounts(this.#deps, entry, signal);
    const { ociConfig } = layout.container(name);
    try {
      await writeBundle(this.#deps, asDebugged(entry, request, ociConfig), { network, mounts });
    } catch (error) {
      // Just what may be broken: a user or a folder that the image does not have.
      const isOwn =
        error instanceof ContainerConfigError &&
        ((error.field === 'user' && request.user === undefined) ||
          (error.field === 'workingDir' && request.workingDir === undefined));
      if (!isOwn) throw error;
      await writeBundle(this.#deps, asDebugged(entry, { user: '0:0', workingDir: '/', ...request }, ociConfig), {
        network,
        mounts,
      });
    }
    const spec: OciConfig = JSON.parse(await readFile(ociConfig, 'utf8'));
    const size = request.size === undefined || !request.hasTerminal ? undefined : boundSize(request.size);
    const changed = {
      ...spec,
      process: {
        ...spec.process,
        // "No limit" is a number that does not survive being read.
        rlimits: formatRlimits(entry.record.config.security?.ulimits ?? []),
        ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
      },
      linux: { ...spec.linux, cgroupsPath: cgroupPathOf(layout, name) },
    };
    await writeFile(ociConfig, JSON.stringify(changed), { mode: 0o600 });
  }
}

/** Of what writeBundle writes. */
interface OciConfig {
  readonly process: object;
  readonly linux: object;
}

/** The container as it would be with the request's program for its own. */
function asDebugged(entry: ContainerEntry, request: ExecRequest, ociConfig: string): ContainerEntry {
  const { config } = entry.record;
  return {
    ...entry,
    paths: { ...entry.paths, ociConfig },
    record: {
      ...entry.record,
      config: {
        ...config,
        entrypoint: request.args,
        cmd: [],
        env: [...config.env, ...(request.env ?? [])],
        ...(request.user === undefined ? {} : { user: request.user, group: undefined, refusesRoot: false }),
        ...(request.workingDir === undefined ? {} : { workingDir: request.workingDir }),
        hasTerminal: request.hasTerminal,
      },
    },
  };
}
