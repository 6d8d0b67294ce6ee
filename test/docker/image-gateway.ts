/** The gateway's image endpoints over a real image store, on a socket of their own, with Debian's docker command line. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildRoutes } from '../../docker/builds.ts';
import { standingHeaders, startHttpServer } from '../../docker/http-server.ts';
import type { ImageUser } from '../../docker/image-removal.ts';
import { imageTransferRoutes } from '../../docker/image-transfers.ts';
import { type ImageEvent, imageRoutes } from '../../docker/images.ts';
import { registryRoutes } from '../../docker/registries.ts';
import type { Route } from '../../docker/route.ts';
import type { Images } from '../../runtime/index.ts';

export interface ImageGateway {
  readonly socketPath: string;
  /** May be changed. */
  users: readonly ImageUser[];
  readonly events: ImageEvent[];
  /** Runs docker. `input`: what it reads. */
  docker(args: readonly string[], options?: DockerOptions): Promise<DockerResult>;
  /** What the shell needs to run docker against it: variables of the environment. */
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

interface DockerOptions {
  readonly input?: Buffer | string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DockerResult {
  readonly code: number;
  readonly stdout: string;
  /** As it came, for archives. */
  readonly bytes: Buffer;
  readonly stderr: string;
}

/** `program`: the docker command line. `answer`: what the world outside says. */
export async function startImageGateway(
  images: Images,
  { program, answer }: { readonly program: string; readonly answer: typeof fetch },
): Promise<ImageGateway> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-docker-images-'));
  const socketPath = join(dir, 'docker.sock');
  const events: ImageEvent[] = [];
  const ping: Route['handle'] = async (call) => call.text(200, 'OK');
  const gateway: ImageGateway = {
    socketPath,
    users: [],
    events,
    environment: { DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: dir },
    docker: (args, options = {}) => runDocker(program, args, { ...options, environment: gateway.environment }),
    async close() {
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
  const deps = {
    images,
    users: () => gateway.users,
    emit: (event: ImageEvent) => void events.push(event),
    now: Date.now,
    fetch: answer,
  };
  const server = await startHttpServer({
    socket: { path: socketPath },
    headers: standingHeaders('0.0.0'),
    log: pino({ level: process.env.TEST_LOG ?? 'silent' }, pino.destination(2)),
    routes: [
      { method: 'GET', path: '/_ping', handle: ping },
      { method: 'HEAD', path: '/_ping', handle: ping },
      // As the gateway has them: what is exact stands before what takes any name.
      ...registryRoutes(deps),
      ...imageRoutes(deps),
      ...imageTransferRoutes(deps),
      ...buildRoutes(),
    ],
  });
  return gateway;
}

export function runDocker(
  program: string,
  args: readonly string[],
  { environment, input, signal }: DockerOptions & { readonly environment: Readonly<Record<string, string>> },
): Promise<DockerResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      [...args],
      {
        env: { ...process.env, ...environment },
        encoding: 'buffer',
        maxBuffer: 64 * 2 ** 20,
        timeout: 120_000,
        killSignal: 'SIGKILL',
        ...(signal === undefined ? {} : { signal }),
      },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') return reject(error);
        const code = error === null ? 0 : Number(error.code);
        resolve({ code, stdout: stdout.toString(), bytes: stdout, stderr: stderr.toString() });
      },
    );
    child.stdin?.on('error', () => {}); // it ended without reading all, which its code tells
    child.stdin?.end(input);
  });
}
