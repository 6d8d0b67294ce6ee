/**
 * Channels over a WebSocket: each message begins with the number of a stream, and the rest is that stream's. Pure.
 * In the base64 protocols a message is text, the number is a digit, and the rest is base64.
 * Source: apimachinery/pkg/util/httpstream/wsstream, and the v5 protocol of KEP-4006.
 */

export const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export interface ChannelProtocol {
  /** As the client offered it; undefined: it offered none. */
  readonly name: string | undefined;
  readonly isBase64: boolean;
  /** The error channel carries a Status rather than text. */
  readonly hasStatus: boolean;
  /** A message on channel 255 ends a stream. */
  readonly canEndInput: boolean;
}

const commandProtocols: ReadonlyMap<string, Omit<ChannelProtocol, 'name'>> = new Map([
  ['v5.channel.k8s.io', { isBase64: false, hasStatus: true, canEndInput: true }],
  ['v4.channel.k8s.io', { isBase64: false, hasStatus: true, canEndInput: false }],
  ['v4.base64.channel.k8s.io', { isBase64: true, hasStatus: true, canEndInput: false }],
  ['channel.k8s.io', { isBase64: false, hasStatus: false, canEndInput: false }],
  ['base64.channel.k8s.io', { isBase64: true, hasStatus: false, canEndInput: false }],
]);

const forwardProtocols: ReadonlyMap<string, Omit<ChannelProtocol, 'name'>> = new Map([
  ['v4.channel.k8s.io', { isBase64: false, hasStatus: false, canEndInput: false }],
  ['v4.base64.channel.k8s.io', { isBase64: true, hasStatus: false, canEndInput: false }],
]);

/** kubectl's port-forward: a SPDY connection in the messages of a WebSocket. */
export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

/** The protocols that a client offers, in its order. */
export function parseOffered(header: string | undefined): readonly string[] {
  return (header ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}

/** The first of the client's that is spoken here; a client that offers none gets the oldest one. undefined: there is none. */
export function chooseCommandProtocol(offered: readonly string[]): ChannelProtocol | undefined {
  return choose(commandProtocols, offered, { isBase64: false, hasStatus: false, canEndInput: false });
}

export function chooseForwardProtocol(offered: readonly string[]): ChannelProtocol | undefined {
  return choose(forwardProtocols, offered, { isBase64: false, hasStatus: false, canEndInput: false });
}

export const commandProtocolNames: readonly string[] = [...commandProtocols.keys()];
export const forwardProtocolNames: readonly string[] = [tunnelProtocol, ...forwardProtocols.keys()];

function choose(
  known: ReadonlyMap<string, Omit<ChannelProtocol, 'name'>>,
  offered: readonly string[],
  fallback: Omit<ChannelProtocol, 'name'>,
): ChannelProtocol | undefined {
  if (offered.length === 0) return { ...fallback, name: undefined };
  for (const name of offered) {
    const protocol = known.get(name);
    if (protocol !== undefined) return { ...protocol, name };
  }
  return undefined;
}

export interface ChannelMessage {
  readonly channel: number;
  readonly data: Buffer;
}

/** undefined: the message names no channel. */
export function parseMessage(
  message: Buffer,
  { isBase64 }: Pick<ChannelProtocol, 'isBase64'>,
): ChannelMessage | undefined {
  const first = message[0];
  if (first === undefined) return undefined;
  if (!isBase64) return { channel: first, data: message.subarray(1) };
  const digit = first - 0x30;
  if (digit < 0 || digit > 9) return undefined;
  return { channel: digit, data: Buffer.from(message.toString('latin1', 1), 'base64') };
}

export function formatMessage(
  { channel: which, data }: ChannelMessage,
  { isBase64 }: Pick<ChannelProtocol, 'isBase64'>,
): Buffer | string {
  if (isBase64) return `${which}${data.toString('base64')}`;
  const message = Buffer.allocUnsafe(data.length + 1);
  message[0] = which;
  data.copy(message, 1);
  return message;
}
