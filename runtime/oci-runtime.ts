/**
 * The program that makes namespaces from a bundle: crun, or runc where crun is missing or cannot run. conmon calls it
 * to create; we call it to start (crun's start is imitated: 0.1 ms instead of 6) and to delete what is stuck.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { programPath, runCommand, runSuccessfully } from './command.ts';
import { type ContainerID, RuntimeOperationError, StartError } from './interface.ts';
import type { ContainerPaths } from './layout.ts';
import { isAlive, type ProcessIdentity } from './proc.ts';
import { isShortage } from './shortage.ts';

export interface OciRuntime {
  readonly name: 'crun' | 'runc';
  readonly path: string;
  readonly version: string;
}

const deadlineMs = 20_000;

/** Pure: why crun 1.8 would refuse this host, or undefined. Source: its cgroup code refuses a hybrid layout. */
export function crunObstacle(input: { cgroupKind: 'v1' | 'v2'; unifiedControllers: string }): string | undefined {
  const controllers = input.unifiedControllers.trim();
  if (input.cgroupKind === 'v2' || controllers === '') return undefined;
  return `the cgroup controllers ${controllers} are bound to no version 1 hierarchy`;
}

function unifiedControllers(): string {
  const file = '/sys/fs/cgroup/unified/cgroup.controllers';
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** Chooses crun or else runc, or the one that is wanted. Throws RuntimeOperationError when it cannot be used. */
export async function findOciRuntime(
  cgroupKind: 'v1' | 'v2',
  log: Logger,
  wanted?: OciRuntime['name'],
): Promise<OciRuntime> {
  const problems: string[] = [];
  const obstacle = crunObstacle({ cgroupKind, unifiedControllers: unifiedControllers() });
  for (const name of wanted === undefined ? (['crun', 'runc'] as const) : [wanted]) {
    if (name === 'crun' && obstacle !== undefined) {
      problems.push(`crun cannot run here: ${obstacle}`);
      continue;
    }
    try {
      const { stdout } = await runSuccessfully('probe', [name, '--version'], { deadlineMs });
      const version = /version ([^\s+]+)/.exec(stdout)?.[1] ?? 'unknown';
      if (problems.length > 0) log.warn({ problems, runtime: name }, 'falling back to another OCI runtime');
      return { name, path: pathOf(name), version };
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new RuntimeOperationError('probe', `no OCI runtime can be used: ${problems.join('; ')}; run "holdfast doctor"`);
}

/** Version of conmon. Throws RuntimeOperationError when it is missing. */
export async function findMonitor(): Promise<{ readonly path: string; readonly version: string }> {
  const { stdout } = await runSuccessfully('probe', ['conmon', '--version'], { deadlineMs });
  return { path: pathOf('conmon'), version: /version ([^\s+]+)/.exec(stdout)?.[1] ?? 'unknown' };
}

/** Of a program that was just run by its name. */
function pathOf(program: string): string {
  const found = programPath
    .split(':')
    .map((dir) => join(dir, program))
    .find((path) => isExecutable(path));
  if (found === undefined) throw new RuntimeOperationError('probe', `${program} is not in ${programPath}`);
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // the next place may have it
  }
}

/** Lets a created container run. */
export async function releaseStart(
  runtime: OciRuntime,
  input: { readonly id: ContainerID; readonly ociRoot: string; readonly paths: ContainerPaths },
): Promise<void> {
  if (runtime.name === 'crun' && openFifo(input.paths.execFifo)) return;
  await runSuccessfully('start', [runtime.path, '--root', input.ociRoot, 'start', input.id], { deadlineMs });
}

/** What `crun start` does within: the container's init waits for a byte. False: leave it to crun itself. */
function openFifo(path: string): boolean {
  try {
    const fifo = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      unlinkSync(path);
      writeSync(fifo, '0');
    } finally {
      closeSync(fifo);
    }
    return true;
  } catch {
    return false; // not as in the versions that we know: crun's own start says what is wrong
  }
}

/**
 * Whether a container was created but not let go: its process holds the FIFO open until then, also when the file was
 * unlinked and we were killed before the byte was written.
 */
export function isHeldBack(init: ProcessIdentity, { ociState, execFifo }: ContainerPaths): boolean {
  if (!isAlive(init)) return false;
  if (existsSync(execFifo)) return true;
  const fds = `/proc/${init.pid}/fd`;
  try {
    const { dev } = statSync(ociState);
    return readdirSync(fds).some((fd) => {
      if (!/\/exec\.fifo(?: \(deleted\))?$/.test(readlinkSync(join(fds, fd)))) return false;
      // A program may have a file of this name open, but not here.
      const found = statSync(join(fds, fd));
      return found.isFIFO() && found.dev === dev;
    });
  } catch (error) {
    if (isShortage(error)) throw error;
    return false; // it ended while we looked
  }
}

/** Deletes whatever the OCI runtime still knows of a container, killing it. No error if it knows nothing. */
export async function forceDelete(runtime: OciRuntime, ociRoot: string, id: ContainerID): Promise<void> {
  const command = [runtime.path, '--root', ociRoot, 'delete', '--force', id] as const;
  const result = await runCommand('remove', command, { deadlineMs });
  if (result.code !== 0 && !/does not exist|No such file/.test(result.stderr)) {
    throw new RuntimeOperationError('remove', `${runtime.name} delete failed: ${result.stderr.trim()}`);
  }
}

/** Pure: the error for what the OCI runtime said when it could not create the container. */
export function createError(said: string, args: readonly string[]): StartError | RuntimeOperationError {
  const program = args[0] ?? '';
  const text = said.trim() === '' ? 'the OCI runtime gave no reason' : said.trim();
  if (/executable file .*not found|exec: .*no such file/i.test(text)) {
    return new StartError(`the command "${program}" is not in the image: ${text}; correct command or PATH`, 127);
  }
  if (/open executable|exec: .*(permission denied|is a directory)|executable file .*(permission denied)/i.test(text)) {
    return new StartError(`the command "${program}" cannot be executed: ${text}; give it execute permission`, 126);
  }
  if (/chdir/i.test(text)) {
    return new StartError(`the working directory cannot be entered: ${text}; correct workingDir or user`, 126);
  }
  // Monitor and OCI runtime say what fork(2) and clone(2) say.
  const shortage = /resource temporarily unavailable/i.test(text)
    ? 'EAGAIN'
    : /cannot allocate memory/i.test(text)
      ? 'ENOMEM'
      : undefined;
  if (shortage !== undefined) {
    return new RuntimeOperationError('start', `the host is out of processes or memory (${shortage}): ${text}`);
  }
  return new RuntimeOperationError('start', `the OCI runtime cannot create the container: ${text}`);
}
