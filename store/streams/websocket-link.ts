/**
 * A WebSocket as its users here need it: messages one way, with a pause when they are not taken; messages the other way,
 * each awaited; signs of life; and an end that is always seen. Effects only.
 */
import type { RawData, WebSocket } from 'ws';

/**
 * Also while nobody reads the client's messages, and so its pings, it must hear from us: kubectl gives up after 60 s
 * without a pong, and takes one that it did not ask for.
 */
const signOfLifeMs = 20_000;

/** A client that does not answer the close is cut off. */
const lingerMs = 10_000;

export class WebSocketLink {
  readonly #socket: WebSocket;
  readonly #gone = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** Why the messages are not read now. */
  readonly #holds = new Set<string>();

  constructor(socket: WebSocket, stop: AbortSignal) {
    this.#socket = socket;
    socket.binaryType = 'nodebuffer';
    const stopped = (): void => socket.terminate();
    stop.addEventListener('abort', stopped, { once: true });
    this.#timer = setInterval(() => this.#signOfLife(), signOfLifeMs);
    socket.on('error', () => {}); // `close` follows
    socket.once('close', () => {
      clearInterval(this.#timer);
      stop.removeEventListener('abort', stopped);
      this.#gone.abort();
    });
    this.hold('nobody listens yet');
    if (stop.aborted) stopped();
  }

  /** Aborted when the client has gone. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  onMessage(listener: (message: Buffer) => void): void {
    this.#socket.on('message', (data: RawData) => listener(toBuffer(data)));
    this.release('nobody listens yet');
  }

  /** Stops reading until all holds are released; `who` has at most one. */
  hold(who: string): void {
    this.#holds.add(who);
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.pause();
  }

  release(who: string): void {
    if (this.#holds.delete(who) && this.#holds.size === 0) this.#socket.resume();
  }

  /** Calls back when the message was handed to the system, or with what went wrong. */
  send(message: Buffer | string, done: (error?: Error | null) => void): void {
    this.#socket.send(message, { binary: typeof message !== 'string' }, (error) => done(error ?? null));
  }

  /** `code`: of RFC 6455. `reason`: at most 123 bytes. */
  close(code: number, reason = ''): void {
    this.#holds.clear();
    this.#socket.resume(); // or the client's answer is not read
    this.#socket.close(code, reason);
    const deadline = setTimeout(() => this.#socket.terminate(), lingerMs).unref();
    this.#socket.once('close', () => clearTimeout(deadline));
  }

  #signOfLife(): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#socket.ping();
    if (this.#holds.size > 0) this.#socket.pong();
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
