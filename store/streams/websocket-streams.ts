/** Channels of a WebSocket as Node's streams, with each side waiting for the other. Effects only. */
import { Readable, Writable } from 'node:stream';
import { type ChannelProtocol, formatMessage } from './websocket-channels.ts';
import type { WebSocketLink } from './websocket-link.ts';

const maxUnreadBytes = 256 * 1024;

/** What comes on a channel. Give it each piece by `push`, and null at the end. */
export class ChannelInput extends Readable {
  readonly #link: WebSocketLink;
  readonly #name: string;
  #isEnded = false;

  constructor(link: WebSocketLink, name: string) {
    super({ highWaterMark: maxUnreadBytes });
    this.#link = link;
    this.#name = name;
  }

  /** Takes in a message's data; the client waits while there is too much. Nothing is taken after the end. */
  receive(data: Buffer): void {
    if (this.destroyed || this.#isEnded) return;
    if (data.length > 0 && !this.push(data)) this.#link.hold(this.#name);
  }

  /** The client sends nothing more on this channel. */
  endInput(): void {
    if (this.#isEnded || this.destroyed) return;
    this.#isEnded = true;
    this.push(null);
    this.#link.release(this.#name);
  }

  override _read(): void {
    this.#link.release(this.#name);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#link.release(this.#name);
    done(error);
  }
}

/** What goes out on a channel. */
export class ChannelOutput extends Writable {
  readonly #send: (data: Buffer, done: (error?: Error | null) => void) => void;

  constructor(link: WebSocketLink, protocol: ChannelProtocol, channel: number) {
    super({ highWaterMark: maxUnreadBytes });
    this.#send = (data, done) => link.send(formatMessage({ channel, data }, protocol), done);
    this.on('error', () => {}); // the client has gone: the link says so
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk, done);
  }
}
