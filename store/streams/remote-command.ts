/**
 * Joins a client to a process's streams until one of them ends: bytes both ways, each side waiting for the other, sizes
 * of the terminal, and at last how it ended. Effects only; knows no protocol.
 */
import type { Readable, Writable } from 'node:stream';
import type { CommandClient, CommandResult, FailureStatus, OpenSession, Session, TerminalSize } from './session.ts';

/** Clients send their terminal's size at once; a program that asks for it first would see 0 × 0. */
const firstSizeMs = 250;

export interface RemoteCommand {
  readonly hasTerminal: boolean;
  readonly open: OpenSession;
  /** The failure to tell the client when the session cannot be had, or its end cannot be known. */
  readonly toFailure: (error: unknown) => FailureStatus;
}

/** Resolves when all is over and the client was told. Never rejects for what the client or the process did. */
export async function runRemoteCommand(client: CommandClient, command: RemoteCommand): Promise<void> {
  const sizes = new SizeRelay(client);
  let session: Session;
  try {
    const first = command.hasTerminal ? await sizes.first(client.gone) : undefined;
    session = await command.open(first, client.gone);
  } catch (error) {
    if (!client.gone.aborted) await client.finish({ kind: 'failed', status: command.toFailure(error) });
    return;
  }
  const leave = (): void => {
    // The client is told nothing any more; what is wrong with the process, its owner sees.
    session.close().catch(() => {});
  };
  session.exit.catch(() => {}); // awaited below, unless the client leaves before
  if (client.gone.aborted) leave();
  else client.gone.addEventListener('abort', leave, { once: true });
  sizes.follow(session);
  sendInput(client.stdin, session.stdin);
  const outputs = [sendOutput(session.stdout, client.stdout), sendOutput(session.stderr, client.stderr)];
  const result = await resultOf(session, outputs);
  client.gone.removeEventListener('abort', leave);
  // To a client that has gone, nothing is told, nor is what its leaving broke off a failure.
  if (!client.gone.aborted) {
    await client.finish(
      result instanceof Failure ? { kind: 'failed', status: command.toFailure(result.error) } : result,
    );
  }
  await session.close().catch(() => {}); // it has ended: this only frees what it still holds
}

class Failure {
  readonly error: unknown;
  constructor(error: unknown) {
    this.error = error;
  }
}

async function resultOf(session: Session, outputs: readonly Promise<void>[]): Promise<CommandResult | Failure> {
  try {
    const [code] = await Promise.all([session.exit, ...outputs]);
    return code === undefined ? { kind: 'detached' } : { kind: 'exited', code };
  } catch (error) {
    return new Failure(error);
  }
}

/** What the process does not take is thrown away, so that the client is not held up. */
function sendInput(from: Readable | undefined, to: Writable | undefined): void {
  if (from === undefined) return;
  from.on('error', () => {}); // the client has gone
  if (to === undefined || to.destroyed) {
    from.resume();
    return;
  }
  const discard = (): void => {
    from.unpipe(to);
    from.resume();
  };
  to.on('error', discard);
  to.once('close', discard);
  from.pipe(to);
}

/** Resolves when the process's output has ended and the client has it, or is gone. Rejects if the output breaks off. */
async function sendOutput(from: Readable | undefined, to: Writable | undefined): Promise<void> {
  if (from === undefined) return;
  const ended = new Promise<void>((resolve, reject) => {
    from.once('end', resolve);
    from.once('error', reject);
    from.once('close', () => {
      if (from.readableEnded) resolve();
      else reject(new Error("the process's output broke off"));
    });
  });
  // A client may close one of its streams before the process is there.
  if (to === undefined || to.destroyed) {
    from.resume();
    return ended;
  }
  const discard = (): void => {
    from.unpipe(to);
    from.resume();
  };
  to.on('error', discard);
  to.once('close', discard);
  from.pipe(to, { end: false });
  await ended;
}

/** Remembers the last size until there is a session, and then hands on each. */
class SizeRelay {
  #last: TerminalSize | undefined;
  #listener: (size: TerminalSize) => void = () => {};

  constructor(client: CommandClient) {
    client.onResize((size) => {
      this.#last = size;
      this.#listener(size);
    });
  }

  /** The first size, or undefined if none comes in time. */
  async first(gone: AbortSignal): Promise<TerminalSize | undefined> {
    if (this.#last !== undefined) return this.#last;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        gone.removeEventListener('abort', done);
        resolve(this.#last);
      };
      const timer = setTimeout(done, firstSizeMs);
      gone.addEventListener('abort', done, { once: true });
      this.#listener = done;
    });
  }

  follow(session: Session): void {
    let isBusy = false;
    let told: TerminalSize | undefined;
    // One at a time, or an older size could overtake the last one.
    const tell = async (): Promise<void> => {
      if (isBusy) return;
      isBusy = true;
      while (told !== this.#last && this.#last !== undefined) {
        told = this.#last;
        await session.resize(told).catch(() => {}); // it is gone, which the session's end tells
      }
      isBusy = false;
    };
    this.#listener = () => void tell();
    void tell();
  }
}
