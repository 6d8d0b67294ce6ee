/** The gateway: puts the subjects of the Engine API together over one view of the objects. Effects. */
import type { Logger } from 'pino';
import type { ApiAccess } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import type { Runtime } from '../runtime/index.ts';
import { containerRoutes } from './containers.ts';
import { createEventLog, type EventLog, eventRoutes } from './events.ts';
import { findContainer } from './find.ts';
import { standingHeaders, startHttpServer } from './http-server.ts';
import { lifecycleRoutes } from './lifecycle.ts';
import type { SocketAccess } from './listen.ts';
import { createObjects, type Objects } from './objects.ts';
import { systemRoutes } from './system.ts';
import { waitRoutes } from './wait.ts';

export interface GatewayDeps {
  readonly socket: SocketAccess;
  /** Of the API server, with the rights to read and write Containers. */
  readonly access: ApiAccess;
  readonly runtime: Runtime;
  /** Only this host's containers are shown; what is created is for it. */
  readonly nodeName: string;
  /** Kubernetes namespace of what is created. */
  readonly namespace: string;
  /** Holdfast's own version. */
  readonly version: string;
  readonly dataDir: string;
  readonly log: Logger;
  readonly now: () => number;
  /** From 0 to 1 (exclusive). */
  readonly random: () => number;
}

/** What the subjects of the API share. */
export interface Gateway extends Omit<GatewayDeps, 'socket'> {
  readonly objects: Objects;
  readonly events: EventLog;
  /** Ids of what `docker exec` runs, or ran lately, in a container. */
  execIDsOf(containerID: string): readonly string[];
  /** By id, name, or the beginning of an id. Throws DockerError. */
  find(reference: string): Container;
}

/** Listens on the socket until it is closed. Throws DockerListenError. */
export async function startDockerGateway(deps: GatewayDeps): Promise<{ close(): Promise<void> }> {
  const { access, nodeName, namespace, log, socket } = deps;
  const objects = createObjects({ access, nodeName, log });
  const events = createEventLog({ ...deps, objects });
  const gateway: Gateway = {
    ...deps,
    objects,
    events,
    execIDsOf: () => [],
    find: (reference) => findContainer(objects.list(), reference, namespace),
  };
  const close = async (): Promise<void> => {
    events.close();
    await objects.close();
  };
  try {
    const server = await startHttpServer({
      socket,
      headers: standingHeaders(deps.version),
      log,
      routes: [
        ...systemRoutes(gateway),
        ...eventRoutes(events),
        ...containerRoutes(gateway),
        ...lifecycleRoutes(gateway),
        ...waitRoutes(gateway),
      ],
    });
    return {
      close: async () => {
        await server.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
