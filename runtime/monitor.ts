/**
 * Starts conmon, the monitor that stays with a container: it creates it through the OCI runtime, keeps its output,
 * writes its log and its exit code, and outlives us. It is started while the bundle is still being made, since loading it
 * takes 4 ms, and waits for our word, having opened no more than its log. Effects only; what its answers mean is
 * parseSyncMessage (pure).
 */
import { readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { describeSpawnError, programPath } from './command.ts';
import { type ContainerConfig, type ContainerID, RuntimeOperationError } from './interface.ts';
import type { ContainerPaths } from './layout.ts';
import { createError, type OciRuntime } from './oci-runtime.ts';
import { commandLineOf, observeProcess, type ProcessIdentity } from './proc.ts';
import type { RelayHost } from './relay-host.ts';
import { type AnswerLimits, within } from './within.ts';

export interface MonitorRequest {
  readonly id: ContainerID;
  readonly conmon: string;
  /** A relay becomes the monitor. */
  readonly relays: RelayHost;
  readonly runtime: OciRuntime;
  readonly ociRoot: string;
  readonly exitsDir: string;
  readonly paths: ContainerPaths;
  readonly stdio: Stdio;
}

export interface CreateRequest extends AnswerLimits {
  /** For error messages. */
  readonly args: readonly string[];
}

/** A monitor that waits for the bundle. */
export interface WaitingMonitor {
  /** All that there is of it until `create`; undefined: it has ended. */
  readonly process: ProcessIdentity | undefined;
  /**
   * Once the bundle is there: creates the container, up to the point where its first process waits to be let go. On failure
   * something may be left half made, which the caller cleans up. Throws StartError, RuntimeOperationError, the signal's reason.
   */
  create(request: CreateRequest): Promise<Monitor>;
  /** Instead, when its process is dead: to a living one the end of its pipe is as good as our word. */
  close(): void;
}

/** What the container's own process has for streams. */
export type Stdio = Pick<ContainerConfig, 'hasStdin' | 'isStdinOnce' | 'hasTerminal'>;

export interface Monitor {
  /** The container's first process, waiting to be let go. */
  readonly initPid: number;
  /** Of conmon, for as long as the container runs. */
  readonly monitorPid: number;
  /** Calls back once when conmon has ended, however it ended; at once if it has already. */
  onEnd(listener: () => void): void;
  /** Forgets conmon, which goes on. */
  close(): void;
}

export type SyncMessage =
  | { readonly kind: 'created'; readonly pid: number }
  | { readonly kind: 'failed'; readonly message: string };

/** Pure: one line of conmon's sync pipe. */
export function parseSyncMessage(line: string): SyncMessage {
  const [, code, problem = ''] = /^failed ([0-9]+) (.*)$/.exec(line) ?? [];
  if (code !== undefined) return { kind: 'failed', message: describeFailure(Number(code), problem) };
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { kind: 'failed', message: `conmon answered ${JSON.stringify(line.slice(0, 500))}` };
  }
  if (typeof value !== 'object' || value === null) return { kind: 'failed', message: line };
  const data = 'data' in value ? value.data : undefined;
  if (typeof data === 'number' && data > 0) return { kind: 'created', pid: data };
  const message = 'message' in value && typeof value.message === 'string' ? value.message : '';
  return { kind: 'failed', message };
}

/** Why the relay did not become conmon. `errno`: 0 if there is none. */
function describeFailure(errno: number, problem: string): string {
  const isMissing = errno !== 0 && problem.startsWith('exec ');
  if (!isMissing) return problem;
  return describeSpawnError('conmon', Object.assign(new Error(problem), { code: getSystemErrorName(-errno) }));
}

/**
 * Pure. A terminal takes input without more. Without --leave-stdin-open conmon ends the input when any client goes away,
 * and with it, it can never be ended.
 */
export function stdioFlags({ hasStdin, isStdinOnce, hasTerminal }: Stdio): readonly string[] {
  if (hasTerminal === true) return ['-t'];
  if (hasStdin !== true) return [];
  return isStdinOnce === true ? ['-i'] : ['-i', '--leave-stdin-open'];
}

/** It has nothing to wait for. */
const decisionDeadlineMs = 5_000;
/** umask of the monitor, whose files say more themselves. */
const fileMask = 0o022;

function conmonArgs({ id, runtime, ociRoot, exitsDir, paths, stdio }: MonitorRequest): string[] {
  const runtimeArgs = ['--root', ociRoot, '--log', paths.runtimeLog, '--log-format', 'json'];
  return [
    '--api-version',
    ...['-c', id, '-u', id, '-n', id.slice(0, 12)],
    ...['-r', runtime.path, ...runtimeArgs.flatMap((arg) => ['--runtime-arg', arg])],
    ...['-b', paths.bundle, '-p', paths.pidFile, '-P', paths.monitorPidFile],
    ...['-l', `k8s-file:${paths.log}`],
    ...['--exit-dir', exitsDir, '--persist-dir', paths.bundle],
    ...stdioFlags(stdio),
    ...['--full-attach', '--log-level', 'error', '--no-sync-log'],
  ];
}

/**
 * The folders of the bundle and of the log must be there. If we are killed before `create`, it goes on as if we had called
 * that: without a config.json it ends, and else its container is never let go. Throws RuntimeOperationError.
 */
export async function openMonitor(request: MonitorRequest): Promise<WaitingMonitor> {
  const { paths, relays } = request;
  // The OCI runtime appends to its own: what it said of an earlier start is no reason why this one fails.
  rmSync(paths.runtimeLog, { force: true });
  rmSync(paths.ociConfig, { force: true });
  // Source: conmon.c, where it reads from the second before it forks.
  const env = [`PATH=${programPath}`, 'TZ=UTC', 'LC_ALL=C', '_OCI_SYNCPIPE=3', '_OCI_STARTPIPE=5'];
  const { control: pipe, pid } = await relays.open(
    [],
    ['monitor', paths.bundle, paths.monitorLog, String(fileMask), String(env.length), ...env].concat(
      request.conmon,
      conmonArgs(request),
    ),
  );
  let hasEnded = false;
  const listeners: (() => void)[] = [];
  pipe.once('close', () => {
    hasEnded = true;
    for (const listener of listeners) listener();
  });
  pipe.on('error', () => {}); // 'close' follows
  const answer = firstLine(pipe);
  return {
    // The same when it is conmon.
    process: observeProcess(pid),
    close: () => void pipe.destroy(),
    async create({ args, deadlineMs, signal }) {
      pipe.write('0');
      try {
        const problem = `conmon did not create the container within ${deadlineMs} ms`;
        const line = await within(answer, { deadlineMs, signal }, { operation: 'start', problem });
        const message =
          line === undefined
            ? { kind: 'failed' as const, message: 'conmon ended without an answer' }
            : parseSyncMessage(line);
        if (message.kind === 'failed') throw createError(await allSaid(message.message, paths), args);
        const monitorPid = await monitorPidOf(paths.monitorPidFile, { deadlineMs, signal });
        return {
          initPid: message.pid,
          monitorPid,
          onEnd(listener) {
            if (hasEnded) listener();
            else listeners.push(listener);
          },
          close() {
            pipe.removeAllListeners('close');
            pipe.destroy();
          },
        };
      } catch (error) {
        pipe.destroy();
        await hasDecided(pid);
        throw error;
      }
    },
  };
}

/**
 * A relay that has seen that we are there becomes conmon a moment later, and only then is it found by its arguments: whoever
 * cleans up behind a start that was given up must not come before.
 */
async function hasDecided(pid: number): Promise<void> {
  const endMs = performance.now() + decisionDeadlineMs;
  while (commandLineOf(pid)[0]?.startsWith('holdfast-relay') === true) {
    if (performance.now() > endMs) throw new RuntimeOperationError('start', `the relay ${pid} does not end; kill it`);
    await wait(1);
  }
}

/**
 * conmon's first process writes the file after it has forked the one that stays, which may have made the container before: the
 * file was missing once on a busy machine. Throws RuntimeOperationError, or the signal's reason.
 */
async function monitorPidOf(file: string, { deadlineMs, signal }: AnswerLimits): Promise<number> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const pid = Number.parseInt(readIfThere(file), 10);
    if (pid > 0) return pid;
    if (performance.now() > endMs)
      throw new RuntimeOperationError('start', `conmon did not write ${file} within ${deadlineMs} ms; try again`);
    await wait(1, undefined, { signal });
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // fs throws nothing else
    return '';
  }
}

/** The first line, or undefined if the pipe ends before. */
function firstLine(pipe: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    pipe.on('data', (chunk: Buffer) => {
      if (text.length < 65_536) text += chunk.toString();
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    pipe.once('close', () => resolve(text === '' ? undefined : text));
  });
}

/** conmon's message, or else what the OCI runtime and conmon wrote to their own logs. */
async function allSaid(message: string, paths: ContainerPaths): Promise<string> {
  const logged = (await readFile(paths.runtimeLog, 'utf8').catch(() => '')) // never written: nothing said
    .split('\n')
    .flatMap((line) => /"msg"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? []);
  const monitor = await readFile(paths.monitorLog, 'utf8').catch(() => '');
  return [message.trim(), ...logged.slice(-3), monitor.trim()]
    .filter((text) => text !== '')
    .join('; ')
    .slice(0, 2_000);
}
