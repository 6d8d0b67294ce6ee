/** A client of exec or attach that speaks channels over a WebSocket. Effects only. */
import { formatExitStatus, formatExitText } from './exit-status.ts';
import type { CommandOptions } from './options.ts';
import type { CommandClient, CommandResult, TerminalSize } from './session.ts';
import { parseTerminalSize } from './terminal-size.ts';
import { type ChannelProtocol, channel, formatMessage, parseMessage } from './websocket-channels.ts';
import type { WebSocketLink } from './websocket-link.ts';
import { ChannelInput, ChannelOutput } from './websocket-streams.ts';

export function createWebSocketCommand(
  link: WebSocketLink,
  protocol: ChannelProtocol,
  options: Pick<CommandOptions, 'stdin' | 'stdout' | 'stderr'>,
): CommandClient {
  const stdin = options.stdin ? new ChannelInput(link, 'stdin') : undefined;
  const output = (isWanted: boolean, number: number) =>
    isWanted ? new ChannelOutput(link, protocol, number) : undefined;
  let resized: (size: TerminalSize) => void = () => {};
  let lastSize: TerminalSize | undefined;
  link.onMessage((bytes) => {
    const message = parseMessage(bytes, protocol);
    switch (message?.channel) {
      case channel.stdin:
        stdin?.receive(message.data);
        return;
      case channel.resize:
        lastSize = parseTerminalSize(message.data.toString('utf8')) ?? lastSize;
        if (lastSize !== undefined) resized(lastSize);
        return;
      case channel.close:
        if (protocol.canEndInput && message.data[0] === channel.stdin) stdin?.endInput();
        return;
      default:
        return; // channels that a client has nothing to send on; kube-apiserver ignores them too
    }
  });
  link.gone.addEventListener('abort', () => stdin?.destroy(), { once: true });
  const send = (number: number, data: Buffer): Promise<void> =>
    new Promise((resolve) => {
      // A failure means that the client has gone, which the link tells.
      link.send(formatMessage({ channel: number, data }, protocol), () => resolve());
    });
  // As kube-apiserver does: an empty message tells the client that it is connected.
  const firstOutput = options.stdout ? channel.stdout : options.stderr ? channel.stderr : channel.error;
  void send(firstOutput, Buffer.alloc(0));
  const stdout = output(options.stdout, channel.stdout);
  const stderr = output(options.stderr, channel.stderr);
  return {
    stdin,
    stdout,
    stderr,
    gone: link.gone,
    onResize: (listener) => {
      resized = listener;
      if (lastSize !== undefined) listener(lastSize);
    },
    finish: async (result: CommandResult) => {
      await Promise.all([stdout, stderr].map((one) => flushed(one)));
      const text = protocol.hasStatus ? formatExitStatus(result) : formatExitText(result);
      if (text !== '') await send(channel.error, Buffer.from(text));
      stdin?.destroy();
      link.close(1000);
    },
  };
}

async function flushed(output: ChannelOutput | undefined): Promise<void> {
  if (output === undefined || output.destroyed) return;
  await new Promise<void>((resolve) => {
    output.once('close', () => resolve());
    output.end(() => resolve());
  });
}
