/**
 * The process that relays are forked from, and with them the monitors of containers. Starting perl anew takes some 10 ms and
 * blocks us for a part of them; so does any fork of ours, since all of our memory is to be shared with the child (10 ms with
 * 140 MB, and again as much for what we write to next; measured 2026-11). It starts with us, and relays wait, forked ahead of
 * need, since that takes 10 ms as well until it runs. Effects.
 */
import type { ChildProcess } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describeSpawnError, programPath } from './command.ts';
import { RuntimeOperationError } from './interface.ts';
import { spawnChild } from './spawn-child.ts';

/** What a session has beside its control. */
export type RelayRole = 'stdin' | 'stdout' | 'stderr' | 'connection';

export interface RelayStreams extends Readonly<Partial<Record<RelayRole, Socket>>> {
  /** What the session says, and hears. */
  readonly control: Socket;
  readonly pid: number;
  /** Ends the relay, which does not hear any more. */
  kill(): void;
}

/** A relay that waits for its session. */
interface Spare {
  readonly session: string;
  readonly pid: number;
}

type Expecting = (spare: Spare) => void;

/** One that has carried a session of `owner`, whose words are in its memory. */
interface Kept extends Spare {
  readonly timer: NodeJS.Timeout;
}

interface Host {
  readonly process: ChildProcess;
  readonly control: Socket;
  /** What it says. */
  readonly lines: Interface;
  /** Of the host and its relays, as a path that a socket's address has room for. */
  readonly dir: string;
  /** Why it cannot enter containers by itself; undefined: it can. */
  readonly obstacle: string | undefined;
  /** The relays that wait, or will in a moment. */
  readonly spares: Promise<Spare>[];
  /** Who is told when a relay says that it waits, by session: those that are forked, and those that may come back. */
  readonly expected: Map<string, Expecting>;
  /** Relays that came back, by the owner of their sessions; the one that was used last is the last. */
  readonly kept: Map<string, Kept>;
  /** A session could not begin with it. */
  isAbandoned: boolean;
}

const startDeadlineMs = 10_000;
/** sun_path of unix(7), without the NUL. */
const maxSocketPathBytes = 107;
const sessionBytes = 8;
/** The next session finds one, while what was taken is replaced. */
const spareCount = 3;
/** What was taken is replaced so long after: who begins needs the processors more. */
const refillDelayMs = 50;
/** One whose session is over comes back within this, or nobody wants it any more. */
const comeBackMs = 250;
const keptCount = 3;
/** Longer than the usual period of a probe. */
const keptMs = 60_000;

export class RelayHost {
  /** Absolute; it holds the socket. */
  readonly #dir: string;
  readonly #randomHex: (bytes: number) => string;
  readonly #runtimePath: string;
  /** The one that the next session begins with. */
  #host: Promise<Host> | undefined;
  #isClosed = false;

  /** `runtimePath`: of the OCI runtime if that is crun, which monitors then run from a mount of its own. */
  constructor(dir: string, randomHex: (bytes: number) => string, runtimePath = '') {
    this.#dir = dir;
    this.#randomHex = randomHex;
    this.#runtimePath = runtimePath;
  }

  /** Why `join` cannot be used; undefined: it can. Starts the host. Throws RuntimeOperationError. */
  async findObstacle(): Promise<string | undefined> {
    return (await this.#ensure()).obstacle;
  }

  /** Has it ready for the first session. What goes wrong is told to that. */
  warm(): void {
    this.#ensure().then(
      (host) => this.#refill(host),
      () => {},
    );
  }

  /**
   * Connects to a relay that runs MODE with these arguments: to a new one, or to one that had sessions of this owner alone, as
   * its memory still has what those were told. Throws RuntimeOperationError when none can be had.
   */
  async open(roles: readonly RelayRole[], args: readonly string[], owner?: string): Promise<RelayStreams> {
    const starting = this.#ensure();
    const host = await starting;
    try {
      return await this.#begin(host, { roles, args, owner });
    } catch (error) {
      // Its folder was removed, or its relays were killed: another one has neither fault.
      if (this.#isClosed) throw error;
      this.#forget(starting);
      host.isAbandoned = true;
      // No further session begins with it; those that it has go on.
      host.control.end();
      return await this.#begin(await this.#ensure(), { roles, args, owner });
    }
  }

  async #begin(
    host: Host,
    request: {
      readonly roles: readonly RelayRole[];
      readonly args: readonly string[];
      readonly owner: string | undefined;
    },
  ): Promise<RelayStreams> {
    const { roles, args, owner } = request;
    const { session, pid } = await this.#take(host, owner);
    const path = join(host.dir, session);
    const connectAs = (role: RelayRole | 'control', line: string): Socket => {
      const socket = connect({ path, allowHalfOpen: role === 'connection' });
      socket.on('error', () => {}); // the session's end says so
      socket.write(`${line}\n`);
      return socket;
    };
    const streams: Partial<Record<RelayRole, Socket>> = {};
    for (const role of roles) streams[role] = connectAs(role, role);
    const words = ['control', ['control', ...roles].join(','), ...args.map(encode)];
    const control = connectAs('control', words.join(' '));
    try {
      await hasConnected(control);
    } catch (error) {
      for (const socket of [control, ...Object.values(streams)]) socket.destroy();
      throw error;
    }
    const kill = (): void => this.#dismiss(host, session);
    if (owner === undefined) return { ...streams, control, pid, kill };
    const expecting = (spare: Spare): void => this.#keep(host, owner, spare);
    const isExpected = (): boolean => host.expected.get(session) === expecting;
    host.expected.set(session, expecting);
    control.once('close', () => {
      setTimeout(() => isExpected() && host.expected.delete(session), comeBackMs).unref();
    });
    // It has one name for all of its sessions: not that of the next one is meant.
    return { ...streams, control, pid, kill: () => isExpected() && host.expected.delete(session) && kill() };
  }

  #take(host: Host, owner: string | undefined): Spare | Promise<Spare> {
    const kept = owner === undefined ? undefined : this.#release(host, owner);
    if (kept !== undefined) return kept;
    setTimeout(() => this.#refill(host), refillDelayMs).unref();
    return host.spares.shift() ?? this.#fork(host);
  }

  /** A relay that has carried its session to the end waits for another. */
  #keep(host: Host, owner: string, { session, pid }: Spare): void {
    const end = (): void => {
      const ended = this.#release(host, owner);
      if (ended !== undefined) this.#dismiss(host, ended.session);
    };
    end();
    if (this.#isOver(host)) return this.#dismiss(host, session);
    host.kept.set(owner, { session, pid, timer: setTimeout(end, keptMs).unref() });
    const [oldest] = host.kept;
    if (oldest === undefined || host.kept.size <= keptCount) return;
    this.#release(host, oldest[0]);
    this.#dismiss(host, oldest[1].session);
  }

  #release(host: Host, owner: string): Kept | undefined {
    const kept = host.kept.get(owner);
    clearTimeout(kept?.timer);
    host.kept.delete(owner);
    return kept;
  }

  #dismiss(host: Host, session: string): void {
    host.control.write(`kill ${session}\n`);
  }

  /** By the very start that is meant: the next one may have begun meanwhile, and nobody else would ever end that. */
  #forget(starting: Promise<Host>): void {
    if (this.#host === starting) this.#host = undefined;
  }

  /** No further session begins with it. */
  #isOver(host: Host): boolean {
    return this.#isClosed || host.isAbandoned || host.process.exitCode !== null || host.process.signalCode !== null;
  }

  #refill(host: Host): void {
    if (this.#isOver(host)) return;
    while (host.spares.length < spareCount) {
      const spare = this.#fork(host);
      host.spares.push(spare);
      spare.catch(() => {
        // The next session asks for one of its own, and is told.
        const at = host.spares.indexOf(spare);
        if (at >= 0) host.spares.splice(at, 1);
      });
    }
  }

  #fork(host: Host): Promise<Spare> {
    const session = this.#randomHex(sessionBytes);
    const forked = Promise.withResolvers<Spare>();
    const fail = (problem: string): void => forked.reject(new RuntimeOperationError('relay', problem));
    const timer = setTimeout(() => fail(`no relay began within ${startDeadlineMs} ms; try again`), startDeadlineMs);
    const hear = (line: string): void => {
      if (line.startsWith('failed ')) fail(line);
    };
    const ended = (): void => fail('the host of the relays has ended; try again');
    host.expected.set(session, forked.resolve);
    host.lines.on('line', hear);
    host.process.once('exit', ended);
    host.control.write(`relay ${session}\n`);
    return forked.promise.finally(() => {
      clearTimeout(timer);
      host.expected.delete(session);
      host.lines.off('line', hear);
      host.process.off('exit', ended);
    });
  }

  /** Sessions that are open go on. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#drop();
  }

  /** Gives the same promise until that host is forgotten. Rejects with RuntimeOperationError. */
  #ensure(): Promise<Host> {
    if (this.#isClosed)
      return Promise.reject(new RuntimeOperationError('relay', 'the runtime is closing; try again later'));
    if (this.#host !== undefined) return this.#host;
    const starting = this.#start();
    this.#host = starting;
    const forget = (): void => this.#forget(starting);
    starting.then(
      (host) =>
        host.process.once('exit', () => {
          forget();
          // Sessions that go on have its other end too.
          host.control.destroy();
        }),
      forget,
    );
    return starting;
  }

  async #start(): Promise<Host> {
    const script = fileURLToPath(new URL('relay.pl', import.meta.url));
    const child = spawnChild('perl', [script, 'host', this.#dir, this.#runtimePath], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      env: { PATH: programPath, LC_ALL: 'C' },
    });
    // 'pipe' in stdio makes it a socket; a spawn that fails leaves it undefined and emits 'error'.
    const control = child.stdio[3] as Socket | undefined;
    const started = Promise.withResolvers<RegExpExecArray>();
    const fail = (problem: string, cause?: unknown): void =>
      started.reject(new RuntimeOperationError('relay', problem, { cause }));
    control?.on('error', () => {}); // 'exit' follows
    const lines = control === undefined ? undefined : createInterface({ input: control }).setMaxListeners(0);
    // It tells of the error of its input once more: a host that is killed before it has read all resets the connection.
    lines?.on('error', () => {});
    lines?.once('line', (text) => {
      const line = /^started ([0-9]+) (.*)$/.exec(text);
      if (line === null) fail(`the host of the relays did not start: ${text}`);
      else started.resolve(line);
    });
    child.once('error', (error: NodeJS.ErrnoException) => fail(describeSpawnError('perl', error), error));
    child.once('exit', () => fail('the host of the relays ended as it began; try again'));
    const timer = setTimeout(() => {
      fail(`the host of the relays did not start within ${startDeadlineMs} ms; try again`);
      child.kill('SIGKILL');
    }, startDeadlineMs);
    try {
      const [, pid = '', seal = ''] = await started.promise;
      if (control === undefined || lines === undefined) {
        throw new RuntimeOperationError('relay', 'the host of the relays has no control');
      }
      const isShort = Buffer.byteLength(this.#dir) + 1 + 2 * sessionBytes <= maxSocketPathBytes;
      const dir = isShort ? this.#dir : `/proc/${pid}/cwd`;
      child.setMaxListeners(0);
      const obstacle = seal === 'sealed' ? undefined : seal;
      const expected = new Map<string, Expecting>();
      lines.on('line', (text) => {
        const [word, session = '', relay] = text.split(' ');
        if (word !== 'ready') return;
        const hear = expected.get(session);
        expected.delete(session);
        // One that nobody waits for any more.
        if (hear === undefined) control.write(`kill ${session}\n`);
        else hear({ session, pid: Number(relay) });
      });
      return {
        process: child,
        control,
        lines,
        dir,
        obstacle,
        spares: [],
        kept: new Map(),
        expected,
        isAbandoned: false,
      };
    } finally {
      clearTimeout(timer);
    }
  }

  async #drop(): Promise<void> {
    const dropped = this.#host;
    this.#host = undefined;
    const host = await dropped?.catch(() => undefined); // told to whoever wanted it
    if (host === undefined || host.process.exitCode !== null || host.process.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => host.process.once('exit', () => resolve()));
    // Those that wait end with it.
    host.control.end();
    const timer = setTimeout(() => host.process.kill('SIGKILL'), startDeadlineMs);
    await gone;
    clearTimeout(timer);
  }
}

/** The session has a relay to talk to. */
async function hasConnected(socket: Socket): Promise<void> {
  const connected = Promise.withResolvers<void>();
  socket.once('connect', () => connected.resolve());
  socket.once('error', (error) =>
    connected.reject(new RuntimeOperationError('relay', `its socket does not answer: ${error.message}; try again`)),
  );
  await connected.promise;
}

function encode(text: string): string {
  return text.replace(/[^A-Za-z0-9_./:=-]/gu, (found) =>
    [...Buffer.from(found)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
