/** Requests to the gateway's socket byte by byte, as a client that keeps to no rule would send them. Effects. */
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  /** 0: the connection was closed without an answer. */
  readonly status: number;
  /** As much of the body as was read. */
  readonly body: string;
}

export interface RawRequest {
  readonly method: string;
  /** Path and query, sent as they are. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const mostBytes = 1_000_000;

export function formatRequest({ method, target, headers = {}, body }: RawRequest): Buffer {
  const bytes = Buffer.from(body ?? '');
  const all: Record<string, string> = {
    Host: 'docker',
    Connection: 'close',
    ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': String(bytes.length) }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`), bytes]);
}

export function open(socketPath: string): Socket {
  return connect({ path: socketPath, allowHalfOpen: true });
}

/**
 * Sends a request and reads its answer: to the end, or for as long as a stream may run. Rejects when nothing at all is
 * answered within a minute.
 */
export async function ask(socketPath: string, request: RawRequest, streamMs = 1_500): Promise<RawAnswer> {
  const socket = open(socketPath);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`no answer to ${request.method} ${request.target.slice(0, 200)}`)),
        60_000,
      );
      let stream: NodeJS.Timeout | undefined;
      const done = (): void => {
        clearTimeout(late);
        clearTimeout(stream);
        resolve();
      };
      socket.on('data', (chunk: Buffer) => {
        clearTimeout(late);
        stream ??= setTimeout(done, streamMs);
        chunks.push(chunk);
        length += chunk.length;
        if (length > mostBytes) done();
      });
      for (const event of ['end', 'close', 'error']) socket.once(event, done);
      socket.write(formatRequest(request));
    });
  } finally {
    socket.destroy();
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const at = text.indexOf('\r\n\r\n');
  const head = at < 0 ? text : text.slice(0, at);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? 0);
  const isChunked = /^transfer-encoding: chunked$/im.test(head);
  const body = at < 0 ? '' : text.slice(at + 4);
  return { status, body: isChunked ? body.replaceAll(/^[0-9a-f]+\r\n|\r\n(?:[0-9a-f]+\r\n|$)/gi, '') : body };
}
