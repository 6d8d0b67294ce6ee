/** What the gateway is made of, and what its subjects share. Types only. */
import type { Logger } from 'pino';
import type { ApiAccess } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import type { Runtime } from '../runtime/index.ts';
import type { EventLog } from './events.ts';
import type { SocketAccess } from './listen.ts';
import type { Objects } from './objects.ts';

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
