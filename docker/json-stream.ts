/**
 * The answer to what takes long: messages of JSON one after the other, which the command line makes lines and bars of.
 * What fails before the first of them is an ordinary error; afterwards it is the last message. Effects.
 * Source: moby pkg/jsonmessage and pkg/streamformatter.
 */
import type { Writable } from 'node:stream';
import type { Call } from './route.ts';

export interface JsonStream {
  write(message: object): void;
  /** Without a message before it, it is empty. */
  end(): void;
}

/** Runs `work`, which may write messages. `errorOf` makes a DockerError of what it throws, if the client is to know it. */
export async function answerInStream(
  call: Pick<Call, 'stream' | 'signal'>,
  errorOf: (error: unknown) => unknown,
  work: (stream: JsonStream) => Promise<void>,
): Promise<void> {
  let out: Writable | undefined;
  const stream: JsonStream = {
    write(message) {
      out ??= call.stream(200, { 'Content-Type': 'application/json' });
      // The messages are few, so one who reads slowly is not waited for.
      if (!out.destroyed) out.write(`${JSON.stringify(message)}\r\n`);
    },
    end() {
      out ??= call.stream(200, { 'Content-Type': 'application/json' });
      out.end();
    },
  };
  try {
    await work(stream);
  } catch (error) {
    const told = errorOf(error);
    if (out === undefined || call.signal.aborted) throw told;
    stream.write(formatStreamError(told));
  }
  stream.end();
}

/** Pure. The last message of what failed under way. */
export function formatStreamError(error: unknown): object {
  const message = error instanceof Error ? error.message : String(error);
  return { errorDetail: { message }, error: message };
}
