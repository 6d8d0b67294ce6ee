/** A client of exec or attach that speaks SPDY/3.1: it opens a stream for each of its streams. Effects only. */
import { formatExitStatus, formatExitText } from './exit-status.ts';
import type { CommandOptions } from './options.ts';
import type { CommandClient, CommandResult, TerminalSize } from './session.ts';
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts';
import type { SpdyTransport } from './spdy-transport.ts';
import { TerminalSizeReader } from './terminal-size.ts';

/** What a client may speak here, the best first. Source: k8s.io/apimachinery/pkg/util/remotecommand. */
export const spdyCommandProtocols = [
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
] as const;
export type SpdyCommandProtocol = (typeof spdyCommandProtocols)[number];

/** As the kubelet waits. */
const streamsMs = 30_000;
const streamNames = ['error', 'stdin', 'stdout', 'stderr', 'resize'] as const;
type StreamName = (typeof streamNames)[number];

/** Resolves when the client has opened the streams that it asked for; undefined if it does not, and is cut off. */
export async function createSpdyCommand(
  transport: SpdyTransport,
  protocol: SpdyCommandProtocol,
  options: CommandOptions,
): Promise<CommandClient | undefined> {
  const streams = new Map<StreamName, SpdyStream>();
  const expected = expectedStreams(protocol, options);
  let complete: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    complete = resolve;
  });
  const connection = new SpdyConnection(transport.socket, {
    maxStreams: streamNames.length,
    onStream: (stream) => {
      const name = streamNames.find((one) => one === stream.headers.get('streamtype'));
      if (name === undefined || streams.has(name)) return stream.destroy();
      streams.set(name, stream);
      if (expected.every((one) => streams.has(one))) complete();
    },
  });
  const gone = transport.watch(connection);
  const deadline = setTimeout(() => connection.destroy(), streamsMs);
  await Promise.race([opened, connection.ended]);
  clearTimeout(deadline);
  if (gone.aborted) return undefined;
  return clientOf(connection, streams, gone, protocol);
}

function expectedStreams(protocol: SpdyCommandProtocol, options: CommandOptions): readonly StreamName[] {
  const canResize = protocol === 'v4.channel.k8s.io' || protocol === 'v3.channel.k8s.io';
  const wanted: Readonly<Record<StreamName, boolean>> = {
    error: true,
    stdin: options.stdin,
    stdout: options.stdout,
    stderr: options.stderr,
    resize: options.tty && canResize,
  };
  return streamNames.filter((name) => wanted[name]);
}

function clientOf(
  connection: SpdyConnection,
  streams: ReadonlyMap<StreamName, SpdyStream>,
  gone: AbortSignal,
  protocol: SpdyCommandProtocol,
): CommandClient {
  const [stdin, stdout, stderr, error] = (['stdin', 'stdout', 'stderr', 'error'] as const).map((name) =>
    streams.get(name),
  );
  // Nothing comes on these, but their ends must be read.
  for (const stream of [stdout, stderr, error]) stream?.resume();
  return {
    stdin,
    stdout,
    stderr,
    gone,
    onResize: (listener: (size: TerminalSize) => void) => {
      const reader = new TerminalSizeReader();
      streams.get('resize')?.on('data', (bytes: Buffer) => {
        for (const size of reader.read(bytes.toString('utf8'))) listener(size);
      });
    },
    finish: async (result: CommandResult) => {
      const text = protocol === 'v4.channel.k8s.io' ? formatExitStatus(result) : formatExitText(result);
      if (text !== '') error?.write(text);
      await Promise.all([stdout, stderr, error, stdin].map((stream) => flushed(stream)));
      connection.close();
    },
  };
}

async function flushed(stream: SpdyStream | undefined): Promise<void> {
  if (stream === undefined || stream.destroyed || stream.writableFinished) return;
  await new Promise<void>((resolve) => {
    stream.once('close', () => resolve());
    stream.end(() => resolve());
  });
}
