/** The unix socket: who may open it, and what is done about one that an earlier daemon left. Effects. */
import { chmod, chown, lstat, mkdir, readFile, unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';

export interface SocketAccess {
  /** Absolute. */
  readonly path: string;
  /** Name or number of the group that may use it, beside root; undefined: none. */
  readonly group?: string | undefined;
}

/** The socket cannot be had; the message says why, and what to do. */
export class DockerListenError extends Error {
  override readonly name = 'DockerListenError';
}

/** sun_path without its final NUL. Source: unix(7). */
const maxPathBytes = 107;

/** Mode 0660, of root and the group: whoever can open it rules the host, as with Docker's. Throws DockerListenError. */
export async function listenOnSocket(
  server: Server,
  { path, group }: SocketAccess,
): Promise<{ close(): Promise<void> }> {
  if (Buffer.byteLength(path) > maxPathBytes)
    throw new DockerListenError(`the path of the Docker socket, "${path}", is longer than ${maxPathBytes} bytes`);
  const gid = group === undefined ? 0 : await findGroup(group);
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  if (await isAnswered(path))
    throw new DockerListenError(
      `somebody else listens on "${path}"; end that program, or choose another path with --docker-socket`,
    );
  const present = await lstat(path).catch(ignoreMissing);
  if (present !== undefined && !present.isSocket())
    throw new DockerListenError(`"${path}" is there and is no socket; remove it, or choose another path`);
  await unlink(path).catch(ignoreMissing);
  // Nobody may come in between bind and chmod: until then the mode is what the umask leaves.
  // Node binds within the call, so that no other file of this process is made with that mask.
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new DockerListenError(`cannot listen on "${path}": ${cause.message}`, { cause })),
    );
    const former = process.umask(0o177);
    try {
      server.listen({ path }, resolve);
    } finally {
      process.umask(former);
    }
  });
  await chown(path, 0, gid);
  await chmod(path, 0o660);
  return { close: () => unlink(path).catch(ignoreMissing) };
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function findGroup(group: string): Promise<number> {
  if (/^\d{1,9}$/.test(group)) return Number(group);
  const line = (await readFile('/etc/group', 'utf8')).split('\n').find((one) => one.startsWith(`${group}:`));
  const gid = line?.split(':')[2];
  if (gid === undefined)
    throw new DockerListenError(
      `there is no group "${group}" on this host; make it with groupadd ${group}, or leave --docker-group out`,
    );
  return Number(gid);
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
