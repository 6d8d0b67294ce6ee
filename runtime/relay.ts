/**
 * Begins the session of a relay (relay.pl) or archive.pl: what it carries are its streams, which Node reads and writes as
 * they are; what it says on its control, fd 3 of archive.pl, is parsed here. Effects; parseRelayMessage is pure.
 */
import type { Socket } from 'node:net';
import { PassThrough, pipeline, type Readable, type Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describeSpawnError, programPath } from './command.ts';
import { boundSize } from './exec-process.ts';
import { RuntimeOperationError, type TerminalSize } from './interface.ts';
import type { RelayHost } from './relay-host.ts';
import { spawnChild } from './spawn-child.ts';
import { within } from './within.ts';

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

/** What a relay could not do. `code`: of the OCI runtime or who does its work, 0 if it was not that which failed. */
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
  readonly program: /** owner: as RelayHost.open() takes it. */
    | { readonly kind: 'relay'; readonly host: RelayHost; readonly owner?: string }
    /** A process of its own. */
    | { readonly kind: 'script'; readonly script: 'archive.pl' };
  /** For error messages. */
  readonly operation: string;
  readonly args: readonly string[];
  readonly hasStdin: boolean;
  readonly hasOutput: boolean;
  /** Of a relay only. */
  readonly hasConnection?: boolean | undefined;
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

/** The ends of a relay that are ours. */
interface RelayEnds {
  /** undefined when it could not be spawned, which `failure` tells. */
  readonly control: Socket | undefined;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  readonly connection: Socket | undefined;
  /** Rejects when it could not be spawned; else it stays as it is. */
  readonly failure: Promise<never>;
  kill(): void;
}

async function openEnds(request: RelayRequest): Promise<RelayEnds> {
  const { program, args, hasStdin, hasOutput, hasConnection = false } = request;
  if (program.kind === 'script') return spawnEnds(program.script, request);
  const roles = [
    ...(hasStdin ? (['stdin'] as const) : []),
    ...(hasOutput ? (['stdout', 'stderr'] as const) : []),
    ...(hasConnection ? (['connection'] as const) : []),
  ];
  const { control, stdin, stdout, stderr, connection, kill } = await program.host.open(roles, args, program.owner);
  // So that its end is seen: nothing comes on it.
  stdin?.resume();
  return { control, stdin, stdout, stderr, connection, kill, failure: new Promise(() => {}) };
}

function spawnEnds(script: string, { operation, args, hasStdin, hasOutput }: RelayRequest): RelayEnds {
  const output = hasOutput ? 'pipe' : 'ignore';
  const child = spawnChild('perl', [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    stdio: [hasStdin ? 'pipe' : 'ignore', output, output, 'pipe'],
    env: { PATH: programPath, LC_ALL: 'C' },
  });
  const failure = new Promise<never>((_, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new RuntimeOperationError(operation, describeSpawnError('perl', error), { cause: error })),
    );
  });
  return {
    // 'pipe' in stdio makes it a socket; a spawn that fails leaves it undefined.
    control: child.stdio[3] as Socket | undefined,
    stdin: child.stdin ?? undefined,
    stdout: held(child.stdout),
    stderr: held(child.stderr),
    connection: undefined,
    failure,
    kill: () => void child.kill('SIGKILL'),
  };
}

/** Resolves when the relay says that it has started. Throws RelayError, RuntimeOperationError, the signal's reason. */
export async function startRelay(request: RelayRequest): Promise<Relay> {
  const { operation, deadlineMs, signal } = request;
  signal.throwIfAborted();
  const { control, stdin, stdout, stderr, connection, failure, kill } = await openEnds(request);
  const started = Promise.withResolvers<{ readonly pid: number; readonly text: string }>();
  const exit = Promise.withResolvers<number | undefined>();
  const gone = Promise.withResolvers<void>();
  exit.promise.catch(() => {}); // whoever asks for it gets it all the same
  started.promise.catch(() => {});
  const hear = (line: string): void => {
    const message = parseRelayMessage(line);
    if (message?.kind === 'started') started.resolve(message);
    else if (message?.kind === 'failed') {
      const error = new RelayError(operation, message.code, message.text);
      started.reject(error);
      exit.reject(error);
    } else if (message?.kind === 'exit') exit.resolve(message.code);
  };
  let rest = '';
  control?.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk.toString()}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(line);
  });
  const end = (): void => {
    started.reject(new RuntimeOperationError(operation, 'the relay ended before it had begun; try again'));
    exit.resolve(undefined);
    gone.resolve();
  };
  control?.on('error', () => {}); // 'close' follows
  control?.once('close', end);
  failure.catch((error: unknown) => {
    started.reject(error);
    end();
  });
  // A client or program that goes away while there is something to write to it: the session's end says so.
  for (const stream of [stdin, connection]) stream?.on('error', () => {});
  const close = async (): Promise<void> => {
    control?.end();
    const timer = setTimeout(() => {
      kill();
      // One that not even a signal ends, or that nobody can send one any more, is not waited for.
      control?.destroy();
    }, closeDeadlineMs);
    await gone.promise;
    clearTimeout(timer);
  };
  try {
    const problem = `it did not begin within ${deadlineMs} ms; try again`;
    const { pid, text } = await within(started.promise, { deadlineMs, signal }, { operation, problem });
    return {
      pid,
      text,
      stdin,
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
    for (const stream of [stdin, stdout, stderr, connection]) stream?.destroy();
    throw error;
  }
}

/** Node throws away what a child that has ended wrote unless somebody reads by then; this keeps it until somebody does. */
function held(output: Readable | null): Readable | undefined {
  if (output === null) return undefined;
  const kept = new PassThrough();
  pipeline(output, kept, () => {}); // how it ended is seen by whoever reads it
  kept.on('error', () => {});
  return kept;
}
