/** Runs external programs: with a deadline, bounded output, and errors that say what was printed. Effects only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { RuntimeOperationError } from './interface.ts';

export interface CommandOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Written to its stdin, which is closed then. */
  readonly input?: string | undefined;
  /** Added to an environment that holds only PATH and LC_ALL. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
}

export interface CommandResult {
  /** undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where Debian and others keep the programs that we call. */
export const programPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const maxOutputBytes = 1024 * 1024;

class Collector {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  add(chunk: Buffer): void {
    if (this.#bytes >= maxOutputBytes) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8', 0, maxOutputBytes);
  }
}

/** What to tell when a program could not be started at all. */
export function describeSpawnError(program: string, error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return `${program} is not installed; run "holdfast doctor" to see what is missing`;
  if (error.code === 'EAGAIN' || error.code === 'ENOMEM') {
    return `${program} cannot be started: the host is out of processes or memory (${error.code})`;
  }
  if (error.code === 'EMFILE' || error.code === 'ENFILE') {
    return `${program} cannot be started: out of file descriptors (${error.code}); raise LimitNOFILE of the service, or fs.file-max`;
  }
  return `${program} cannot be started: ${error.message}`;
}

/**
 * Runs a program to its end, whatever its exit code. Throws RuntimeOperationError(operation) if it cannot be started
 * or does not end in time (it is killed then), or the signal's reason.
 */
export function runCommand(
  operation: string,
  command: readonly [string, ...string[]],
  options: CommandOptions,
): Promise<CommandResult> {
  const [program, ...args] = command;
  options.signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const stdout = new Collector();
    const stderr = new Collector();
    let child: ChildProcess;
    try {
      child = spawn(program, args, {
        stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
        env: { PATH: programPath, LC_ALL: 'C', ...options.env },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      });
    } catch (error) {
      reject(new RuntimeOperationError(operation, `${program} cannot be started`, { cause: error }));
      return;
    }
    let problem: unknown;
    // What it has started may go on and hold its output open: nobody waits for that.
    const abandonOutput = (): void => {
      child.stdout?.destroy();
      child.stderr?.destroy();
    };
    const stop = (reason: unknown): void => {
      problem ??= reason;
      if (child.exitCode !== null || child.signalCode !== null) return abandonOutput();
      child.once('exit', abandonOutput);
      child.kill('SIGKILL');
    };
    const onAbort = (): void => stop(options.signal?.reason);
    const timer = setTimeout(() => {
      const said = stderr.text().trim();
      stop(
        new RuntimeOperationError(
          operation,
          `${program} did not end within ${options.deadlineMs} ms and was killed${said === '' ? '' : `; it said: ${said}`}`,
        ),
      );
    }, options.deadlineMs);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    child.stdout?.on('data', (chunk: Buffer) => stdout.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.add(chunk));
    // A program that ends without reading its input is judged by its exit code, not by EPIPE here.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input);
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      finish();
    };
    child.once('error', (error: NodeJS.ErrnoException) =>
      settle(() =>
        reject(problem ?? new RuntimeOperationError(operation, describeSpawnError(program, error), { cause: error })),
      ),
    );
    child.once('close', (code) =>
      settle(() =>
        problem === undefined
          ? resolve({ code: code ?? undefined, stdout: stdout.text(), stderr: stderr.text() })
          : reject(problem),
      ),
    );
  });
}

/** As runCommand, and throws RuntimeOperationError with what it printed when the exit code is not 0. */
export async function runSuccessfully(
  operation: string,
  command: readonly [string, ...string[]],
  options: CommandOptions,
): Promise<CommandResult> {
  const result = await runCommand(operation, command, options);
  if (result.code === 0) return result;
  const said = [result.stderr.trim(), result.stdout.trim()].filter((text) => text !== '').join('; ');
  const ending = result.code === undefined ? 'was ended by a signal' : `ended with ${result.code}`;
  throw new RuntimeOperationError(
    operation,
    `${command.slice(0, 4).join(' ')} ${ending}: ${said || 'it said nothing'}`,
  );
}
