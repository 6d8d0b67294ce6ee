/**
 * Starts relay.pl or archive.pl, one process for each session: what it carries are its standard streams, which Node reads
 * and writes as they are; what it says on fd 3 is parsed here. Effects; parseRelayMessage is pure.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { PassThrough, pipeline, type Readable, type Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describeSpawnError, programPath } from './command.ts';
import { boundSize } from './exec-process.ts';
import { RuntimeOperationError, type TerminalSize } from './interface.ts';

export type RelayMessage =
  /** pid: the process of an exec, else the relay's own. text: what else it said. */
  | { readonly kind: 'started'; readonly pid: number; readonly text: string }
  /** code: of the OCI runtime, 0 if it was not that which failed. */
  | { readonly kind: 'failed'; readonly code: number; readonly text: string }
  | { readonly kind: 'exit'; readonly code: number };

/** Pure: one line of the control channel; undefined if it is none. */
export function parseRelayMessage(line: string): RelayMessage | undefined {
  const match = /^(started|failed|exit) (-?[0-9]+)(?: (.*))?$/s.exec(line);
  if (match === null) return undefined;
  const [, kind, number = '', text = ''] = match;
  if (kind === 'started') return { kind, pid: Number(number), text };
  if (kind === 'exit') return { kind, code: Number(number) };
  return { kind: 'failed', code: Number(number), text: text.trim() };
}

/** What relay.pl could not do. `code`: of the OCI runtime, 0 if it was not that which failed. */
export class RelayError extends RuntimeOperationError {
  readonly code: number;
  readonly text: string;
  constructor(operation: string, code: number, text: string) {
    super(operation, text === '' ? 'it failed without a word' : text);
    this.code = code;
    this.text = text;
  }
}

export interface RelayRequest {
  readonly script: 'relay.pl' | 'archive.pl';
  /** For error messages. */
  readonly operation: string;
  readonly args: readonly string[];
  readonly hasStdin: boolean;
  readonly hasOutput: boolean;
  /** fd 4, for a connection. */
  readonly hasConnection?: boolean | undefined;
  /** For a session of relay.pl with output and without connection: where one may be that has been started already. */
  readonly spares?: SpareRelays | undefined;
  readonly deadlineMs: number;
  /** Counts until it has started. */
  readonly signal: AbortSignal;
}

export interface Relay {
  readonly pid: number;
  /** What it said when it started. */
  readonly text: string;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  readonly connection: Socket | undefined;
  resize(size: TerminalSize): void;
  /**
   * The exit code it told of; undefined when it ended without one, which it does when told to go away. Rejects with
   * RelayError when it failed after it had started.
   */
  readonly exit: Promise<number | undefined>;
  /** Tells it to go away and waits until it has. */
  close(): Promise<void>;
}

/** It kills what does not end when told; one that takes longer is itself stuck. */
const closeDeadlineMs = 10_000;
/** Starting one blocks us for some milliseconds, which the session that is being opened should not wait for. */
const refillDelayMs = 60;
/** How long a spare one is kept after the last session began: 6 MB. */
const spareMs = 60_000;

function spawnRelay(script: RelayRequest['script'], args: readonly string[], stdio: StdioOptions): ChildProcess {
  return spawn('perl', [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    stdio,
    env: { PATH: programPath, LC_ALL: 'C' },
  });
}

/**
 * Keeps one relay waiting while sessions are being opened, so that the next does not wait for perl to start: some
 * milliseconds by estimate, of the 46 that an exec takes without HTTPS (2026-11).
 */
export class SpareRelays {
  #spare: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** One that waits for its arguments. */
  take(): ChildProcess {
    const taken = this.#spare ?? this.#spawn();
    this.#spare = undefined;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refill(), refillDelayMs);
    this.#timer.unref();
    return taken;
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #refill(): void {
    if (this.#isClosed || this.#spare !== undefined) return;
    const spare = this.#spawn();
    this.#spare = spare;
    const forget = (): void => {
      if (this.#spare === spare) this.#spare = undefined;
    };
    // Also what cannot be started is not waited for.
    spare.once('exit', forget);
    spare.on('error', forget);
    this.#timer = setTimeout(() => this.#drop(), spareMs);
    this.#timer.unref();
  }

  #spawn(): ChildProcess {
    return spawnRelay('relay.pl', ['wait'], ['pipe', 'pipe', 'pipe', 'pipe']);
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#spare?.kill('SIGKILL');
    this.#spare = undefined;
  }
}

/** Resolves when the relay says that it has started. Throws RelayError, RuntimeOperationError, the signal's reason. */
export async function startRelay(request: RelayRequest): Promise<Relay> {
  const { script, operation, args, hasStdin, hasOutput, hasConnection, spares, deadlineMs, signal } = request;
  signal.throwIfAborted();
  const output = hasOutput ? 'pipe' : 'ignore';
  const more = hasConnection === true ? (['pipe'] as const) : [];
  const child =
    spares?.take() ?? spawnRelay(script, args, [hasStdin ? 'pipe' : 'ignore', output, output, 'pipe', ...more]);
  // 'pipe' in stdio makes these sockets; a spawn that fails leaves them undefined and emits 'error'.
  const control = child.stdio[3] as Socket | undefined;
  const connection = child.stdio[4] as Socket | undefined;
  if (connection !== undefined) connection.allowHalfOpen = true;
  if (spares !== undefined) {
    control?.write(`${args.map((arg) => arg.replace(/[^A-Za-z0-9_./:=-]/g, percentEncode)).join(' ')}\n`);
    if (!hasStdin) child.stdin?.destroy();
  }
  const started = Promise.withResolvers<{ readonly pid: number; readonly text: string }>();
  const exit = Promise.withResolvers<number | undefined>();
  const gone = Promise.withResolvers<void>();
  exit.promise.catch(() => {}); // whoever asks for it gets it all the same
  started.promise.catch(() => {});
  let rest = '';
  const hear = (line: string): void => {
    const message = parseRelayMessage(line);
    if (message?.kind === 'started') started.resolve(message);
    else if (message?.kind === 'failed') {
      const error = new RelayError(operation, message.code, message.text);
      started.reject(error);
      exit.reject(error);
    } else if (message?.kind === 'exit') exit.resolve(message.code);
  };
  control?.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk.toString()}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(line);
  });
  const end = (): void => {
    started.reject(new RelayError(operation, 0, 'the relay ended before it had begun; try again'));
    exit.resolve(undefined);
    gone.resolve();
  };
  control?.on('error', () => {}); // 'close' follows
  control?.once('close', end);
  child.once('error', (error: NodeJS.ErrnoException) => {
    started.reject(new RuntimeOperationError(operation, describeSpawnError('perl', error), { cause: error }));
    end();
  });
  // A client or program that goes away while there is something to write to it: the session's end says so.
  for (const stream of [child.stdin, connection]) stream?.on('error', () => {});
  const stdout = held(child.stdout);
  const stderr = held(child.stderr);
  const close = async (): Promise<void> => {
    control?.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), closeDeadlineMs);
    await gone.promise;
    clearTimeout(timer);
  };
  const giveUp = (reason: unknown): void => started.reject(reason);
  const onAbort = (): void => giveUp(signal.reason);
  const timer = setTimeout(
    () => giveUp(new RuntimeOperationError(operation, `it did not begin within ${deadlineMs} ms; try again`)),
    deadlineMs,
  );
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const { pid, text } = await started.promise;
    return {
      pid,
      text,
      stdin: hasStdin ? (child.stdin ?? undefined) : undefined,
      stdout,
      stderr,
      connection,
      exit: exit.promise,
      resize(size) {
        const { rows, columns } = boundSize(size);
        if (control?.writable === true) control.write(`resize ${rows} ${columns}\n`);
      },
      close,
    };
  } catch (error) {
    void close();
    for (const stream of [child.stdin, stdout, stderr, connection]) stream?.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function percentEncode(text: string): string {
  return [...Buffer.from(text)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
}

/** Node throws away what a child that has ended wrote unless somebody reads by then; this keeps it until somebody does. */
function held(output: Readable | null): Readable | undefined {
  if (output === null) return undefined;
  const kept = new PassThrough();
  pipeline(output, kept, () => {}); // how it ended is seen by whoever reads it
  kept.on('error', () => {});
  return kept;
}
