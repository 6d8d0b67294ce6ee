/**
 * The streams of a container's own process, as one client has them: input goes to its monitor through a relay, output
 * is followed in the log from now on. So a client that reads slowly holds up nobody, and one that only reads does not
 * touch the monitor, which ends the input when a client of its own goes away. Effects.
 */
import { PassThrough } from 'node:stream';
import type { AttachRequest, LogEntry, StreamSession, TerminalSize } from './interface.ts';
import type { PresentRun } from './log-reader.ts';
import type { Relay } from './relay.ts';

export interface AttachInput {
  readonly request: AttachRequest;
  readonly hasTerminal: boolean;
  /** undefined if it has no input, or the client wants none. */
  readonly relay: Relay | undefined;
  /** How the run ended, once it has and its output is in the log. */
  readonly ended: Promise<number>;
  /** Follows the log. */
  read(present: PresentRun, signal: AbortSignal): AsyncIterable<LogEntry>;
  resize(size: TerminalSize): Promise<void>;
}

/** Resolves when output that is written from now on is sure to be read. */
export async function openAttachSession(input: AttachInput): Promise<StreamSession> {
  const { request, hasTerminal, relay, ended } = input;
  const detach = new AbortController();
  const runEnd = new AbortController();
  const positioned = Promise.withResolvers<void>();
  const stdout = new PassThrough();
  const stderr = hasTerminal ? undefined : new PassThrough();
  for (const stream of [stdout, stderr]) stream?.on('error', () => {}); // destroyed by whoever reads it
  ended.then(
    () => runEnd.abort(),
    () => runEnd.abort(),
  );
  const forward = async (): Promise<void> => {
    const present = { ended: runEnd.signal, onPositioned: positioned.resolve };
    for await (const { stream, data } of input.read(present, detach.signal)) {
      const target = stream === 'stdout' ? stdout : (stderr ?? stdout);
      if (!target.destroyed && !target.write(data)) await drained(target, detach.signal);
    }
  };
  const forwarding = forward().finally(() => {
    stdout.end();
    stderr?.end();
  });
  forwarding.catch(positioned.reject);
  const exit = forwarding.then(async () => (detach.signal.aborted ? undefined : ended));
  exit.catch(() => {}); // for those who do not ask
  // With the run the monitor ends, and the relay with it; an input that never was connected is dropped here.
  void exit.finally(() => relay?.close()).catch(() => {});
  const session: StreamSession = {
    stdin: relay?.stdin,
    stdout,
    stderr,
    exit,
    resize: async (size) => {
      if (hasTerminal) await input.resize(size);
    },
    async close() {
      detach.abort();
      await relay?.close();
      for (const stream of [stdout, stderr]) stream?.destroy();
      await forwarding.catch(() => {}); // told by `exit`
    },
  };
  try {
    await positioned.promise;
    if (request.size !== undefined) await session.resize(request.size);
    return session;
  } catch (error) {
    await session.close();
    throw error;
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
