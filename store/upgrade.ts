/** Requests to switch protocols: let in like all others, answered in HTTP until the switch, and counted. Effects only. */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { type AnswerSink, answerError } from './answers.ts';
import type { StatusError } from './status-error.ts';

/** A client that does not close its side after the answer is cut off. */
const lingerMs = 5_000;

export interface UpgradeHandler {
  /** Throws when the request cannot be carried out, as long as nothing was sent. */
  serve(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
  /** What an error is to the client; undefined: there is nobody left to tell. */
  toStatusError(error: unknown): StatusError | undefined;
  /** Called with the answer's code. */
  answered(request: IncomingMessage, code: number): void;
}

/** Takes over the socket: it is closed in the end, whatever happens. */
export async function handleUpgrade(
  handler: UpgradeHandler,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  socket.on('error', () => {}); // `close` follows
  try {
    await handler.serve(request, socket, head);
  } catch (error) {
    const status = handler.toStatusError(error);
    if (status === undefined || socket.destroyed) {
      socket.destroy();
      return;
    }
    answerError(new SocketAnswer(socket), status);
    handler.answered(request, status.code);
    socket.resume(); // the client's end must be seen
    const deadline = setTimeout(() => socket.destroy(), lingerMs).unref();
    socket.once('close', () => clearTimeout(deadline));
  }
}

/** An HTTP answer on a connection that Node has handed over. */
class SocketAnswer implements AnswerSink {
  readonly #socket: Duplex;
  readonly #headers = new Map<string, string>();
  #head = '';

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  get headersSent(): boolean {
    return this.#head !== '';
  }

  setHeader(name: string, value: string | number | readonly string[]): void {
    this.#headers.set(name, String(value));
  }

  writeHead(statusCode: number): void {
    const lines = [
      `HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? ''}`,
      ...[...this.#headers].map(([name, value]) => `${name}: ${value}`),
      'Connection: close',
    ];
    this.#head = `${lines.join('\r\n')}\r\n\r\n`;
  }

  end(body: string | Buffer = ''): void {
    this.#socket.end(Buffer.concat([Buffer.from(this.#head), Buffer.from(body)]));
  }
}
