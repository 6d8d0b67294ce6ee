/**
 * The containers' resolver: one dnsmasq on the bridge, which outlives us as the containers do. A later daemon finds it
 * by its command line. It is watched, told of changes by SIGHUP (some 3 ms), and ended by teardown.ts. Effects only.
 */
import { spawn } from 'node:child_process';
import { chmodSync, close, existsSync, openSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { programPath } from './command.ts';
import type { ContainerID } from './interface.ts';
import type { Layout } from './layout.ts';
import { commandLineOf, findProcessesByCommandLine, isAlive, observeProcess, type ProcessIdentity } from './proc.ts';
import { formatLocalNames, formatNames, type NameRecord, resolverArgs } from './resolver-files.ts';
import type { Syscalls } from './syscalls.ts';

export interface ResolverDeps {
  readonly layout: Layout;
  readonly syscalls: Syscalls;
  /** It was gone and runs again. */
  found(detail: string): void;
  readonly log: Logger;
}

const SIGHUP = 1;
const SIGTERM = 15;
const SIGKILL = 9;
const firstRetryMs = 500;
const maxRetryMs = 30_000;
const endDeadlineMs = 5_000;
/** One that ran so long is started again at once. */
const soundMs = 5_000;
/** A container that is started again within this keeps its names: most are, and the resolver need not read all names twice. */
const leaveDelayMs = 100;
const program = 'dnsmasq';

export class Resolver {
  readonly #deps: ResolverDeps;
  readonly #records = new Map<ContainerID, NameRecord>();
  /** Those that do not run any more, until their names go. */
  readonly #leaving = new Map<ContainerID, NodeJS.Timeout>();
  #process: ProcessIdentity | undefined;
  #queue: Promise<void> = Promise.resolve();
  #waiting: Promise<void> | undefined;
  #written: string | undefined;
  #startedAtMs = 0;
  #retryMs = firstRetryMs;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** How one that ran well came to its end, to be told of when there is another. */
  #lost: string | undefined;
  /** What was last said about it, so that it is said once. */
  #said: string | undefined;

  constructor(deps: ResolverDeps) {
    this.#deps = deps;
  }

  /** Whether it runs: a container that starts now may rely on it. */
  get isAvailable(): boolean {
    if (this.#process === undefined) return false;
    try {
      return isAlive(this.#process);
    } catch {
      return true; // the host has no room for the answer: as it was
    }
  }

  /** Takes up the resolver that an earlier daemon left, or starts one. A host that cannot have one does without. */
  async open(): Promise<void> {
    await this.#inQueue(async () => {
      const { resolver } = this.#deps.layout;
      await mkdir(resolver.dir, { recursive: true });
      await chmod(resolver.dir, 0o755);
      this.#write();
      const wanted = this.#args();
      const found = findResolvers(this.#deps.layout);
      const [first] = found;
      if (first !== undefined && found.length === 1 && hasArgs(first, wanted)) {
        this.#process = first;
        await this.#hangUp();
        return;
      }
      for (const stranger of found) await endProcess(stranger, this.#deps.syscalls);
      this.#start();
    });
  }

  /** A look: starts it again if it is gone. */
  look(): void {
    if (this.#isClosed || this.isAvailable || this.#timer !== undefined) return;
    void this.#inQueue(async () => {
      if (this.isAvailable || this.#timer !== undefined) return;
      // One that an earlier daemon started ends without a word to us.
      if (this.#process !== undefined) this.#lost = 'its process was gone';
      this.#start();
    });
  }

  /** What a container's names answer from now on: without addresses, that there is none. Resolves when it was told. */
  async set(id: ContainerID, record: NameRecord): Promise<void> {
    this.#stays(id);
    if (JSON.stringify(this.#records.get(id)) === JSON.stringify(record)) return;
    this.#records.set(id, record);
    await this.#tell();
  }

  /** The container does not run any more; its names have no address a moment later, unless it is started again. */
  stopped(id: ContainerID): void {
    if (this.#leaving.has(id) || (this.#records.get(id)?.addresses.length ?? 0) === 0) return;
    const leave = (): void => {
      this.#leaves(id);
      this.#tellInBackground();
    };
    this.#leaving.set(id, setTimeout(leave, leaveDelayMs).unref());
  }

  #stays(id: ContainerID): void {
    clearTimeout(this.#leaving.get(id));
    this.#leaving.delete(id);
  }

  #leaves(id: ContainerID): void {
    this.#stays(id);
    const record = this.#records.get(id);
    if (record !== undefined) this.#records.set(id, { ...record, addresses: [] });
  }

  /** The container is gone. */
  forget(id: ContainerID): void {
    this.#stays(id);
    if (this.#records.delete(id)) this.#tellInBackground();
  }

  /** What was read back from disk, before open(). */
  adopt(id: ContainerID, record: NameRecord): void {
    this.#records.set(id, record);
  }

  /** Stops watching; the resolver goes on. */
  async close(): Promise<void> {
    const leaving = [...this.#leaving.keys()];
    for (const id of leaving) this.#leaves(id);
    if (leaving.length > 0) this.#tellInBackground();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#queue;
  }

  #inQueue(work: () => Promise<void>): Promise<void> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {}); // the caller of this turn gets the error
    return result;
  }

  /** Changes that come while one is being written go into the next together. */
  #tell(): Promise<void> {
    this.#waiting ??= this.#inQueue(async () => {
      this.#waiting = undefined;
      this.#write();
      await this.#hangUp();
    });
    return this.#waiting;
  }

  #tellInBackground(): void {
    this.#tell().catch((error: unknown) => {
      this.#deps.log.error({ err: error }, "the resolver's names cannot be written; the next change tries again");
    });
  }

  /** Synchronous: it is in memory, and with some names both are written within 0.1 ms. */
  #write(): void {
    const { resolver } = this.#deps.layout;
    const names = formatNames(this.#records.values());
    const localNames = formatLocalNames(this.#records.values());
    const text = names + localNames;
    if (text === this.#written) return;
    for (const [path, content] of [
      [resolver.localNames, localNames],
      [resolver.names, names],
    ] as const) {
      writeFileSync(`${path}.new`, content);
      chmodSync(`${path}.new`, 0o644);
      renameSync(`${path}.new`, path);
    }
    this.#written = text;
  }

  /** One that does not catch the signal yet has not read the files yet either, and the signal would end it. */
  async #hangUp(): Promise<void> {
    const process = this.#process;
    if (process === undefined || !isAlive(process) || !catchesHangUp(process.pid)) return;
    await this.#deps.syscalls.kill(process, SIGHUP);
  }

  #args(): readonly string[] {
    const { bridge, resolver } = this.#deps.layout;
    return resolverArgs({ bridge, files: resolver, isUnprivileged: isReachable(resolver.dir) && hasAccount() });
  }

  #start(): void {
    if (this.#isClosed) return;
    const { resolver } = this.#deps.layout;
    // A file: a pipe to us would end with us.
    this.#startedAtMs = performance.now();
    let errors: number;
    try {
      errors = openSync(resolver.errors, 'w', 0o600);
    } catch (error) {
      this.#failed(error instanceof Error ? error.message : String(error));
      return;
    }
    try {
      const child = spawn(program, [...this.#args()], {
        stdio: ['ignore', errors, errors],
        detached: true,
        cwd: '/',
        env: { PATH: programPath, LC_ALL: 'C' },
      });
      child.unref();
      child.once('error', (error: NodeJS.ErrnoException) => {
        const isMissing = error.code === 'ENOENT';
        this.#failed(isMissing ? 'dnsmasq is not installed; install dnsmasq-base' : error.message);
      });
      child.once('exit', (code, signal) => void this.#ended(code, signal));
      const stat = child.pid === undefined ? undefined : observeProcess(child.pid);
      this.#process = stat === undefined ? undefined : { pid: stat.pid, startTicks: stat.startTicks };
      if (stat !== undefined && this.#lost !== undefined) {
        this.#deps.found(this.#lost);
        this.#lost = undefined;
      }
    } finally {
      close(errors, () => {}); // nothing was written through it by us
    }
  }

  async #ended(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    const said = await readFile(this.#deps.layout.resolver.errors, 'utf8').catch(() => ''); // removed with the instance
    const isSomebodys = signal !== null && !this.#isClosed;
    if (isSomebodys) this.#lost = `killed by ${signal}`;
    this.#failed(said.trim() || `it ended with ${signal ?? code}`);
  }

  #failed(problem: string): void {
    this.#process = undefined;
    if (this.#isClosed) return;
    const wasSound = performance.now() - this.#startedAtMs > soundMs;
    const delayMs = wasSound ? 0 : this.#retryMs;
    if (problem !== this.#said) {
      const words =
        'the resolver of container names does not run; it is tried again, and containers that start now have the resolvers of the host';
      this.#deps.log.error({ problem }, words);
    }
    this.#said = problem;
    this.#retryMs = wasSound ? firstRetryMs : Math.min(maxRetryMs, delayMs * 2);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.look();
    }, delayMs);
    this.#timer.unref();
  }
}

/** The resolvers of an instance, ours and those of daemons that were killed. */
export function findResolvers({ resolver }: Pick<Layout, 'resolver'>): readonly ProcessIdentity[] {
  return findProcessesByCommandLine(`--addn-hosts=${resolver.names}`).filter(isAlive);
}

/** Ends the resolvers of an instance. */
export async function endResolvers(layout: Pick<Layout, 'resolver'>, syscalls: Syscalls): Promise<void> {
  for (const process of findResolvers(layout)) await endProcess(process, syscalls);
}

async function endProcess(process: ProcessIdentity, syscalls: Syscalls): Promise<void> {
  await syscalls.kill(process, SIGTERM);
  const endMs = performance.now() + endDeadlineMs;
  while (isAlive(process)) {
    if (performance.now() > endMs) {
      await syscalls.kill(process, SIGKILL);
      return;
    }
    await wait(2);
  }
}

function hasArgs({ pid }: ProcessIdentity, wanted: readonly string[]): boolean {
  return JSON.stringify(commandLineOf(pid).slice(1)) === JSON.stringify(wanted);
}

/** Whether its handler of SIGHUP is installed. Source: proc(5), SigCgt. */
function catchesHangUp(pid: number): boolean {
  try {
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false; // it ended
  }
}

/** Whether anybody may reach files in the folder, whose path they know. */
function isReachable(dir: string): boolean {
  for (let at = dir; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

function hasAccount(): boolean {
  return existsSync('/etc/passwd') && /^dnsmasq:/m.test(readFileSync('/etc/passwd', 'utf8'));
}
