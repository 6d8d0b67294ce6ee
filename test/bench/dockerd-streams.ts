/** Programs and terminals in dockerd's containers, as the docker command opens them. Effects. */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { Terminal } from './engine.ts';
import type { HttpClient } from './http.ts';
import { createEcho } from './terminal.ts';

export interface DockerStreams {
  readonly client: HttpClient;
  readonly socketPath: string;
  readonly apiVersion: string;
}

/** Source: Docker Engine API 1.41, POST /exec/{id}/start, which answers 101 and hands the connection over. */
async function start(
  deps: DockerStreams,
  container: string,
  settings: object,
): Promise<{ id: string; socket: Socket }> {
  const { client, socketPath, apiVersion } = deps;
  const made = await client.call('POST', `${apiVersion}/containers/${container}/exec`, settings);
  const { Id: id } = made as { Id: string };
  const body = JSON.stringify({ Detach: false, Tty: 'Tty' in settings });
  const headers = {
    host: 'docker',
    connection: 'Upgrade',
    upgrade: 'tcp',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  };
  const socket = await new Promise<Socket>((resolve, reject) => {
    const asked = request({ socketPath, method: 'POST', path: `${apiVersion}/exec/${id}/start`, headers });
    asked.once('upgrade', (_response, connection: Socket, head: Buffer) => {
      if (head.length > 0) connection.unshift(head);
      resolve(connection);
    });
    asked.once('response', (response) => reject(new Error(`exec was answered with ${response.statusCode}`)));
    asked.once('error', reject).end(body);
  });
  return { id, socket };
}

/** Resolves to the exit code. */
export async function execInDocker(
  deps: DockerStreams,
  container: string,
  command: readonly string[],
): Promise<number> {
  const { id, socket } = await start(deps, container, { Cmd: command, AttachStdout: true, AttachStderr: true });
  socket.resume();
  await new Promise<void>((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('error', reject);
  });
  socket.destroy();
  const info = await deps.client.call('GET', `${deps.apiVersion}/exec/${id}/json`);
  return (info as { ExitCode: number }).ExitCode;
}

export async function openTerminalInDocker(deps: DockerStreams, container: string): Promise<Terminal> {
  const attach = { AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: true };
  const { socket } = await start(deps, container, { Cmd: ['cat'], ...attach });
  const echo = createEcho((key) => socket.write(key));
  socket.on('data', echo.heard);
  socket.on('error', () => {}); // a key that does not come back is told
  return { echo: echo.next, close: () => socket.destroy() };
}
