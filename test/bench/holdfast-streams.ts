/** Programs and terminals in Holdfast's containers, over the WebSocket protocol that kubectl speaks. Effects. */
import { WebSocket } from 'ws';
import { containersPath } from '../instance.ts';
import type { Terminal } from './engine.ts';
import { createEcho } from './terminal.ts';

export interface StreamEndpoint {
  readonly url: URL;
  readonly ca: string;
  readonly token: string;
}

/** Channels of v5.channel.k8s.io. Source: k8s.io/apimachinery, remotecommand. */
const channels = { stdin: 0, stdout: 1, status: 3 } as const;

async function open(endpoint: StreamEndpoint, container: string, query: URLSearchParams): Promise<WebSocket> {
  const url = new URL(`${containersPath}/${container}/exec?${query}`, endpoint.url);
  url.protocol = 'wss:';
  const socket = new WebSocket(url, 'v5.channel.k8s.io', {
    ca: endpoint.ca,
    headers: { authorization: `Bearer ${endpoint.token}` },
    ...(url.hostname === '127.0.0.1' ? { servername: '' } : {}),
  });
  socket.binaryType = 'nodebuffer';
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return socket;
}

/** Resolves to the exit code. */
export async function execInHoldfast(
  endpoint: StreamEndpoint,
  container: string,
  command: readonly string[],
): Promise<number> {
  const query = new URLSearchParams({ stdout: 'true', stderr: 'true' });
  for (const word of command) query.append('command', word);
  const socket = await open(endpoint, container, query);
  let status: unknown;
  // binaryType makes every message a Buffer.
  socket.on('message', (data: Buffer) => {
    if (data[0] === channels.status) status = JSON.parse(data.toString('utf8', 1));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('close', () => resolve());
    socket.once('error', reject);
  });
  return exitCodeOf(status);
}

/** Of the Status that ends a session. Source: Kubernetes API conventions; the cause ExitCode is kubelet's. */
function exitCodeOf(status: unknown): number {
  const { status: verdict, details } = status as {
    status?: string;
    details?: { causes?: { reason: string; message: string }[] };
  };
  if (verdict === 'Success') return 0;
  const cause = details?.causes?.find(({ reason }) => reason === 'ExitCode');
  if (cause === undefined) throw new Error(`the session ended with ${JSON.stringify(status)}`);
  return Number(cause.message);
}

export async function openTerminalInHoldfast(endpoint: StreamEndpoint, container: string): Promise<Terminal> {
  const query = new URLSearchParams({ stdin: 'true', stdout: 'true', tty: 'true', command: 'cat' });
  const socket = await open(endpoint, container, query);
  const echo = createEcho((key) => socket.send(Buffer.concat([Buffer.of(channels.stdin), key])));
  socket.on('message', (data: Buffer) => {
    if (data[0] === channels.stdout) echo.heard(data.subarray(1));
  });
  return { echo: echo.next, close: () => socket.terminate() };
}
