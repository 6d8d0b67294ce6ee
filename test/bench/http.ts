/** The bench's HTTP client: JSON requests and streams of JSON lines, over a unix socket or TLS. Effects. */
import { type ClientRequest, type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { createInterface } from 'node:readline';

export type Endpoint =
  | { readonly kind: 'unix'; readonly socketPath: string }
  | { readonly kind: 'tls'; readonly url: URL; readonly ca: string; readonly token: string };

export interface HttpClient {
  /** Resolves to the parsed body, undefined if it is empty. Throws on a status of 400 or more. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Sends a file's bytes as they are. */
  upload(path: string, bytes: Buffer, contentType: string): Promise<void>;
  /** Calls `onLine` with every JSON line of a stream that does not end; resolves once the answer has begun. */
  stream(path: string, onLine: (line: unknown) => void): Promise<void>;
  close(): void;
}

const requestDeadlineMs = 60_000;

export function createHttpClient(endpoint: Endpoint): HttpClient {
  const agent =
    endpoint.kind === 'unix'
      ? new PlainAgent({ keepAlive: true })
      : new TlsAgent({
          keepAlive: true,
          ca: endpoint.ca,
          servername: endpoint.url.hostname === '127.0.0.1' ? '' : endpoint.url.hostname,
        });
  const streams = new Set<ClientRequest>();

  const send = (method: string, path: string, headers: Record<string, string>, deadlineMs?: number): ClientRequest => {
    const timeout = deadlineMs === undefined ? {} : { signal: AbortSignal.timeout(deadlineMs) };
    return endpoint.kind === 'unix'
      ? plainRequest({
          socketPath: endpoint.socketPath,
          method,
          path,
          headers: { host: 'docker', ...headers },
          agent,
          ...timeout,
        })
      : tlsRequest(new URL(path, endpoint.url), {
          method,
          headers: { authorization: `Bearer ${endpoint.token}`, ...headers },
          agent,
          ca: endpoint.ca,
          ...timeout,
        });
  };
  const answerTo = (request: ClientRequest, payload?: string | Buffer): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      request.on('response', resolve).on('error', reject).end(payload);
    });
  const exchange = async (
    method: string,
    path: string,
    contentType: string,
    payload?: string | Buffer,
  ): Promise<string> => {
    const response = await answerTo(send(method, path, { 'content-type': contentType }, requestDeadlineMs), payload);
    response.setEncoding('utf8');
    let text = '';
    for await (const chunk of response) text += String(chunk);
    const status = response.statusCode ?? 0;
    if (status >= 400)
      throw new Error(`${method} ${path}: the server answered ${status}: ${text.trim().slice(0, 500)}`);
    return text;
  };

  return {
    call: async (method, path, body) => {
      const text = await exchange(
        method,
        path,
        'application/json',
        body === undefined ? undefined : JSON.stringify(body),
      );
      return text === '' ? undefined : JSON.parse(text);
    },
    upload: async (path, bytes, contentType) => {
      await exchange('POST', path, contentType, bytes);
    },
    stream: async (path, onLine) => {
      const request = send('GET', path, {});
      streams.add(request);
      const response = await answerTo(request);
      if (response.statusCode !== 200) throw new Error(`GET ${path}: the server answered ${response.statusCode}`);
      const lines = createInterface({ input: response });
      // Ended by close(), or by the daemon's end: whoever still waits has a deadline of its own.
      for (const source of [request, response, lines]) source.on('error', () => {});
      lines.on('line', (line) => {
        if (line !== '') onLine(JSON.parse(line));
      });
    },
    close: () => {
      for (const request of streams) request.destroy();
      agent.destroy();
    },
  };
}
