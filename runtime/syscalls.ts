/**
 * System calls that Node lacks, made by a long-lived perl process (syscalls.pl): 0.3 ms each, where spawning mount(8)
 * costs 5. It is started at first use, again when it died, and ends with us since it reads our pipe. Effects only.
 */
import type { ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describeSpawnError, programPath } from './command.ts';
import { RuntimeOperationError } from './interface.ts';
import type { ProcessIdentity } from './proc.ts';
import { spawnChild } from './spawn-child.ts';

/** A system call failed. `errno` is the kernel's number. */
export class SyscallError extends RuntimeOperationError {
  readonly errno: number;
  constructor(operation: string, errno: number, message: string) {
    super(operation, message);
    this.errno = errno;
  }
}

export const errnos = { ENOENT: 2, ESRCH: 3, EBUSY: 16, EXDEV: 18, ENOTDIR: 20, EINVAL: 22, ELOOP: 40 } as const;
const MNT_DETACH = 2;
const maxFileBytes = 1024 * 1024;

function identify({ pid, startTicks }: ProcessIdentity): readonly string[] {
  return [String(pid), String(startTicks)];
}

interface Pending {
  readonly operation: string;
  readonly resolve: (result: string) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

type Helper = ChildProcessByStdio<Writable, Readable, Readable>;

export interface MountRequest {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags?: number;
  readonly data?: string;
  /** Folder that relative paths in `data` start from; default /. */
  readonly relativeTo?: string;
}

export interface BindBeneathRequest {
  readonly folder: string;
  readonly path: string;
  readonly target: string;
}

export class Syscalls {
  readonly #deadlineMs: number;
  readonly #pending = new Map<number, Pending>();
  #helper: Helper | undefined;
  #nextID = 1;
  #isClosed = false;

  constructor({ deadlineMs = 10_000 }: { readonly deadlineMs?: number } = {}) {
    this.#deadlineMs = deadlineMs;
  }

  async mount({ source, target, type, flags = 0, data = '', relativeTo = '/' }: MountRequest): Promise<void> {
    await this.#request('mount', [relativeTo, source, target, type, String(flags), data]);
  }

  /**
   * Binds what `path` names inside `folder` to `target`, which is made as a folder or a file. Missing parts of the path
   * become folders. Throws SyscallError with EXDEV if the path leaves the folder, by a link or otherwise.
   */
  async bindBeneath({ folder, path, target }: BindBeneathRequest): Promise<void> {
    await this.#request('bind_beneath', [folder, path, target]);
  }

  /**
   * Makes a path of folders inside `folder`; `owner` is user and group of those that were missing. Throws SyscallError
   * with ELOOP if a part is a symbolic link, with ENOTDIR if one is no folder.
   */
  async mkdirBeneath({ folder, path, owner }: { folder: string; path: string; owner: number }): Promise<void> {
    await this.#request('mkdir_beneath', [folder, path, String(owner)]);
  }

  /** Unmounts; nothing to do if nothing is mounted there. A busy one is detached: it goes when its last user does. */
  async unmount(target: string): Promise<void> {
    try {
      await this.#request('umount', [target, '0']);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.errno === errnos.EINVAL || error.errno === errnos.ENOENT) return;
      if (error.errno !== errnos.EBUSY) throw error;
      await this.#request('umount', [target, String(MNT_DETACH)]);
    }
  }

  /** Makes a network namespace with loopback up, kept by a bind mount on a new file at `path`. */
  async createNetns(path: string): Promise<void> {
    await this.#request('netns', [path]);
  }

  /**
   * Text of a regular file below a folder that counts as /, also while a process there moves things about; '' when there
   * is none, or when it is something else or absurdly big.
   */
  async readFileInRoot(root: string, path: string): Promise<string> {
    return Buffer.from(await this.#request('read', [root, path, String(maxFileBytes)]), 'hex').toString();
  }

  /** The same, belonging to the user namespace that is bound at `userNamespace`. */
  async createNetnsOf(path: string, userNamespace: string): Promise<void> {
    await this.#request('netns_of', [path, userNamespace]);
  }

  /** Makes a user namespace whose ids from 0 on are the host's from `hostID` on, kept by a bind mount at `path`. */
  async createUserNamespace(path: string, { hostID, size }: { hostID: number; size: number }): Promise<void> {
    await this.#request('userns', [path, String(hostID), String(size)]);
  }

  /**
   * Mounts an overlay whose layers are seen with the ids of a user namespace. `options`: all but lowerdir; absolute.
   * `scratch`: an empty folder. SyscallError with EINVAL: the kernel or the layers' file system cannot do it.
   */
  async mountMappedOverlay(request: {
    readonly userNamespace: string;
    readonly scratch: string;
    readonly target: string;
    readonly options: string;
    /** Topmost first, absolute. */
    readonly layers: readonly string[];
  }): Promise<void> {
    const { userNamespace, scratch, target, options, layers } = request;
    await this.#request('mapped_overlay', [userNamespace, scratch, target, options, ...layers]);
  }

  /** Binds what a process sees at `source` to `target`, a folder of ours: what it has mounted there, nothing below it. */
  async mountOutOf(request: {
    readonly process: ProcessIdentity;
    readonly source: string;
    readonly target: string;
  }): Promise<void> {
    const { process, source, target } = request;
    await this.#request('mount_out_of', [...identify(process), source, target]);
  }

  /** Binds a path of ours, with what is mounted below it, to what a process sees at `target`. */
  async mountInto(request: {
    readonly process: ProcessIdentity;
    readonly source: string;
    readonly target: string;
    readonly isReadOnly: boolean;
    /** Owners are seen through the user namespace of the process. */
    readonly isMapped: boolean;
  }): Promise<void> {
    const { process, source, target, isReadOnly, isMapped } = request;
    const flags = [isReadOnly, isMapped].map((isSo) => (isSo ? '1' : '0'));
    await this.#request('mount_into', [...identify(process), source, target, ...flags]);
  }

  /**
   * A word that changes with every change to nftables in our network namespace that may concern the tables of a name: what
   * is in them, the rules of iptables, and whatever chains there are beside those of other instances. undefined: the
   * kernel does not tell. Some 0.1 ms when nothing was changed at all, 1 ms otherwise, where nft takes 70.
   */
  async nftGeneration(table: string): Promise<string | undefined> {
    return (await this.#request('nft_generation', [table])) || undefined;
  }

  /** Signals a process if it is still the one that started at `startTicks`. False if it is gone. */
  async kill(process: { readonly pid: number; readonly startTicks: number }, signal: number): Promise<boolean> {
    try {
      await this.#request('kill', [String(process.pid), String(process.startTicks), String(signal)]);
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.errno === errnos.ESRCH) return false;
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#helper?.stdin.end();
    this.#drop(this.#helper, 'the runtime was closed');
  }

  #request(operation: string, args: readonly string[]): Promise<string> {
    if (this.#isClosed) return Promise.reject(new RuntimeOperationError(operation, 'the runtime was closed'));
    const helper = this.#helper ?? this.#start();
    const id = this.#nextID++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // It is stuck in the kernel (or stopped): those behind it in the queue would wait as well.
        helper.kill('SIGKILL');
        this.#drop(helper, `no answer within ${this.#deadlineMs} ms`);
      }, this.#deadlineMs);
      this.#pending.set(id, { operation, resolve, reject, timer });
      const fields = [String(id), operation, ...args];
      helper.stdin.write(`${fields.map((f) => f.replace(/[%\t\n]/g, encodeURIComponent)).join('\t')}\n`);
    });
  }

  #start(): Helper {
    const script = fileURLToPath(new URL('./syscalls.pl', import.meta.url));
    const helper = spawnChild('perl', [script], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: programPath, LC_ALL: 'C' },
    });
    this.#helper = helper;
    let said = '';
    helper.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-2_000);
    });
    helper.stdin.on('error', () => this.#drop(helper, `the helper ended: ${said.trim()}`));
    helper.once('error', (error) => this.#drop(helper, describeSpawnError('perl', error)));
    helper.once('close', () => this.#drop(helper, `the helper ended: ${said.trim()}`));
    const answers = createInterface({ input: helper.stdout });
    answers.on('line', (line) => this.#answer(line));
    answers.on('error', (error) => this.#drop(helper, `its answers cannot be read: ${error.message}`));
    return helper;
  }

  #answer(line: string): void {
    const [idText, status = '', text = ''] = line.split('\t');
    const pending = this.#take(Number(idText));
    if (pending === undefined) return;
    if (status === 'ok') pending.resolve(text);
    else pending.reject(new SyscallError(pending.operation, Number(status), text));
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  /** Forgets a helper that is of no more use; the next request starts another. */
  #drop(helper: Helper | undefined, problem: string): void {
    if (helper === undefined || this.#helper !== helper) return;
    this.#helper = undefined;
    for (const id of [...this.#pending.keys()]) {
      const pending = this.#take(id);
      pending?.reject(new RuntimeOperationError(pending.operation, `${problem}; trying again starts a new helper`));
    }
  }
}
