/**
 * Carries a session's streams over a connection that was taken over: input up to its end, output in frames or raw, the keys
 * that detach, and what it means when either side goes away. A client that reads slowly slows its session alone. Effects.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { StreamSession } from '../runtime/index.ts';
import { DetachWatch, formatFrame } from './stream-frames.ts';

export interface PumpInput {
  readonly connection: Duplex;
  readonly session: Pick<StreamSession, 'stdin' | 'stdout' | 'stderr'>;
  /** One output, without frames. */
  readonly isRaw: boolean;
  readonly wants: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  /** undefined: nothing that is typed detaches. */
  readonly detachKeys?: Buffer | undefined;
  /** Whether the end of the client's input is that of the process; else it means that the client goes away. */
  readonly endsInput: boolean;
  /** What the client may ask about when it sees the end; it is waited for, though not for ever. */
  readonly outcome?: Promise<unknown> | undefined;
  readonly pingMs?: number | undefined;
}

/** gone: the client went away; detached: it asked for that. Then the session's outputs are the caller's again. */
export type PumpEnd = 'ended' | 'gone' | 'detached';

/** A client that has ended its input may be gone altogether; an empty frame finds that out. */
const defaultPingMs = 15_000;
/** For the client to take note of the end, and to end its own side. */
const lingerMs = 10_000;
const outcomeDeadlineMs = 5_000;

/** Resolves when the client has all of the output, or is gone. */
export async function pump(input: PumpInput): Promise<PumpEnd> {
  const { connection, session, isRaw, wants, pingMs = defaultPingMs } = input;
  const outcome = Promise.withResolvers<PumpEnd>();
  const cleanUps: (() => void)[] = [];
  const on = (stream: Readable | Writable, event: string, listener: (data: Buffer) => void): void => {
    stream.on(event, listener);
    cleanUps.push(() => stream.off(event, listener));
  };
  connection.on('error', () => {}); // 'close' follows
  on(connection, 'close', () => outcome.resolve('gone'));
  // It may have gone before we look.
  if (connection.destroyed) outcome.resolve('gone');

  const sources = [
    { from: session.stdout, stream: 'stdout' as const, isWanted: wants.stdout },
    ...(session.stderr === undefined
      ? []
      : [{ from: session.stderr, stream: 'stderr' as const, isWanted: wants.stderr }]),
  ];
  const endings = sources.map(({ from, stream, isWanted }) => {
    const ended = Promise.withResolvers<void>();
    for (const event of ['end', 'close', 'error']) on(from, event, () => ended.resolve());
    if (from.readableEnded || from.destroyed) ended.resolve();
    on(from, 'data', (data: Buffer) => {
      if (!isWanted || connection.destroyed) return;
      if (!connection.write(isRaw ? data : formatFrame(stream, data))) for (const one of sources) one.from.pause();
    });
    return ended.promise;
  });
  on(connection, 'drain', () => {
    for (const { from } of sources) from.resume();
  });
  void Promise.all(endings).then(() => outcome.resolve('ended'));

  takeInput(input, on, outcome.resolve);
  const timer = setInterval(() => {
    if (!isRaw && connection.readableEnded) connection.write(formatFrame('stdout', Buffer.alloc(0)));
  }, pingMs);
  try {
    const end = await outcome.promise;
    if (end === 'ended') await settled(input.outcome);
    hangUp(connection);
    return end;
  } finally {
    clearInterval(timer);
    for (const cleanUp of cleanUps) cleanUp();
  }
}

function takeInput(
  { connection, session, wants, detachKeys, endsInput }: PumpInput,
  on: (stream: Readable | Writable, event: string, listener: (data: Buffer) => void) => void,
  finish: (end: PumpEnd) => void,
): void {
  const stdin = wants.stdin ? session.stdin : undefined;
  const watch = detachKeys === undefined ? undefined : new DetachWatch(detachKeys);
  const isOpen = (): boolean => stdin?.writable === true;
  on(connection, 'data', (chunk: Buffer) => {
    const { data, isDetached } = watch?.take(chunk) ?? { data: chunk, isDetached: false };
    // What nobody takes any more is dropped, so that the end of the connection is seen.
    if (data.length > 0 && isOpen() && stdin?.write(data) === false) connection.pause();
    if (isDetached) finish('detached');
  });
  if (stdin !== undefined) {
    stdin.on('error', () => {}); // 'close' follows
    for (const event of ['drain', 'close']) on(stdin, event, () => void connection.resume());
  }
  const ended = (): void => {
    if (!wants.stdin) return;
    if (endsInput) stdin?.end();
    else finish('gone');
  };
  on(connection, 'end', ended);
  if (connection.readableEnded || connection.destroyed) ended();
  connection.resume();
}

/** A program may close its outputs and go on. */
async function settled(outcome: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, outcomeDeadlineMs);
  });
  await Promise.race([outcome?.catch(() => {}), late]);
  clearTimeout(timer);
}

/** Ends the connection when what was written has arrived, whether or not the client ends its side. */
function hangUp(connection: Duplex): void {
  if (connection.destroyed) return;
  const timer = setTimeout(() => connection.destroy(), lingerMs).unref();
  connection.once('close', () => clearTimeout(timer));
  connection.end();
  connection.on('data', () => {}); // read on, or the end would not be seen
  connection.resume();
}
