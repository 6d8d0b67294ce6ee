/**
 * The streams of a container's own process, as one client has them: input goes to its monitor through a relay, output
 * is followed in the log. So a client that reads slowly holds up nobody, and one that only reads does not touch the
 * monitor, which ends the input when a client of its own goes away. A session may be there before the run that it is of:
 * it begins when the process is made and not yet let go, so that it gets every byte. Effects.
 */
import { PassThrough, pipeline, type Writable } from 'node:stream';
import type { AttachRequest, LogEntry, StreamSession, TerminalSize } from './interface.ts';
import type { PresentRun } from './log-reader.ts';
import type { Relay } from './relay.ts';

/** The run that a session is of. */
export interface AttachedRun {
  readonly hasTerminal: boolean;
  /** undefined if it has no input, or the client wants none. */
  readonly relay: Relay | undefined;
  /** How it ended, once it has and its output is in the log. */
  readonly ended: Promise<number>;
  /** Follows the log. */
  read(present: PresentRun, signal: AbortSignal): AsyncIterable<LogEntry>;
  resize(size: TerminalSize): Promise<void>;
}

export class AttachSession implements StreamSession {
  readonly stdin: Writable | undefined;
  readonly stdout = new PassThrough();
  readonly stderr: PassThrough | undefined;
  readonly exit: Promise<number | undefined>;
  readonly #ending = Promise.withResolvers<number | undefined>();
  readonly #detach = new AbortController();
  #run: AttachedRun | undefined;
  #size: TerminalSize | undefined;
  #forwarding: Promise<void> = Promise.resolve();
  #hold: (() => Promise<void>) | undefined;

  /** Of a run that is awaited it is not known yet whether it has a terminal: its stderr is then empty if it has one. */
  constructor(request: AttachRequest, present?: Pick<AttachedRun, 'hasTerminal' | 'relay'>) {
    this.#size = request.size;
    this.stdin = present === undefined && request.hasStdin ? new PassThrough() : present?.relay?.stdin;
    this.stderr = present?.hasTerminal === true ? undefined : new PassThrough();
    this.exit = this.#ending.promise;
    this.exit.catch(() => {}); // for those who do not ask
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.on('error', () => {}); // destroyed by whoever has it
  }

  get isWaiting(): boolean {
    return this.#run === undefined;
  }

  get isDetached(): boolean {
    return this.#detach.signal.aborted;
  }

  /** Resolves when output that is written from now on is sure to be read, and input reaches the process. */
  async begin(run: AttachedRun): Promise<void> {
    this.#run = run;
    const { relay, ended } = run;
    const runEnd = new AbortController();
    const endRun = (): void => runEnd.abort();
    ended.then(endRun, endRun);
    const positioned = Promise.withResolvers<void>();
    const onPositioned = (hold: () => Promise<void>): void => {
      this.#hold = hold;
      positioned.resolve();
    };
    const entries = run.read({ ended: runEnd.signal, onPositioned }, this.#detach.signal);
    this.#forwarding = this.#forward(entries).finally(() => this.#endOutput());
    this.#forwarding.catch(positioned.reject);
    this.#ending.resolve(this.#forwarding.then(async () => (this.isDetached ? undefined : ended)));
    // With the run the monitor ends, and the relay with it; an input that never was connected is dropped here.
    void this.exit.finally(() => relay?.close()).catch(() => {});
    const { stdin } = this;
    if (stdin instanceof PassThrough) {
      if (relay?.stdin === undefined) stdin.resume();
      else pipeline(stdin, relay.stdin, () => {}); // how the session ends tells of it
    }
    try {
      await positioned.promise;
      if (this.#size !== undefined) await this.resize(this.#size);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** The run that it waits for will not be. */
  fail(error: unknown): void {
    this.#ending.reject(error);
    this.#endOutput();
  }

  /** What was written until now is not needed under its name any more. */
  async hold(): Promise<void> {
    await this.#hold?.();
  }

  async resize(size: TerminalSize): Promise<void> {
    this.#size = size;
    if (this.#run?.hasTerminal === true) await this.#run.resize(size);
  }

  async close(): Promise<void> {
    this.#detach.abort();
    if (this.#run === undefined) this.#ending.resolve(undefined);
    await this.#run?.relay?.close();
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
    await this.#forwarding.catch(() => {}); // told by `exit`
  }

  async #forward(entries: AsyncIterable<LogEntry>): Promise<void> {
    const { stdout } = this;
    for await (const { stream, data } of entries) {
      const target = stream === 'stdout' ? stdout : (this.stderr ?? stdout);
      if (!target.destroyed && !target.write(data)) await drained(target, this.#detach.signal);
    }
  }

  #endOutput(): void {
    this.stdout.end();
    this.stderr?.end();
  }
}

function drained(stream: PassThrough, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close'] as const) stream.removeListener(event, done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    for (const event of ['drain', 'close'] as const) stream.once(event, done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}
