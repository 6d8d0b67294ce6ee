/** The gateway: puts the subjects of the Engine API together over one view of the objects. Effects. */
import { attachRoutes } from './attach.ts';
import { buildRoutes } from './builds.ts';
import { containerRoutes } from './containers.ts';
import { diskUsageRoutes } from './disk-usage.ts';
import { createEventLog, eventRoutes } from './events.ts';
import { execRoutes } from './exec.ts';
import { createExecInstances } from './exec-instances.ts';
import { fileRoutes } from './files.ts';
import { findContainer } from './find.ts';
import type { Gateway, GatewayDeps } from './gateway-parts.ts';
import { standingHeaders, startHttpServer } from './http-server.ts';
import { imageTransferRoutes } from './image-transfers.ts';
import { imageUsers } from './image-users.ts';
import { imageRoutes } from './images.ts';
import { lifecycleRoutes } from './lifecycle.ts';
import { logRoutes } from './logs.ts';
import { networkRoutes } from './networks.ts';
import { createObjects } from './objects.ts';
import { registryRoutes } from './registries.ts';
import { statsRoutes } from './stats.ts';
import { afterSync } from './sync-gate.ts';
import { systemRoutes } from './system.ts';
import { topRoutes } from './top.ts';
import { volumeRoutes } from './volumes.ts';
import { waitRoutes } from './wait.ts';

/** Listens on the socket until it is closed. Throws DockerListenError. */
export async function startDockerGateway(deps: GatewayDeps): Promise<{ close(): Promise<void> }> {
  const { access, nodeName, namespace, log, socket } = deps;
  const objects = createObjects({ access, nodeName, log });
  const events = createEventLog({ ...deps, objects });
  const execs = createExecInstances({ objects });
  const gateway: Gateway = {
    ...deps,
    objects,
    events,
    execIDsOf: (id) => execs.idsOf(id),
    find: (reference) => findContainer(objects.list(), reference, namespace),
  };
  const imageDeps = {
    images: deps.runtime.images,
    users: () => imageUsers(objects.list(), deps.now()),
    emit: events.emit,
    now: deps.now,
    fetch: globalThis.fetch,
  };
  const close = async (): Promise<void> => {
    execs.close();
    events.close();
    await objects.close();
  };
  try {
    const server = await startHttpServer({
      socket,
      headers: standingHeaders(deps.version),
      log,
      routes: afterSync(
        [
          ...systemRoutes(gateway),
          ...eventRoutes(events),
          ...containerRoutes(gateway),
          ...lifecycleRoutes(gateway),
          ...waitRoutes(gateway),
          ...networkRoutes(gateway),
          ...volumeRoutes(gateway),
          ...attachRoutes(gateway),
          ...logRoutes(gateway),
          ...execRoutes({ ...gateway, execs }),
          ...statsRoutes(gateway),
          ...topRoutes(gateway),
          ...fileRoutes(gateway),
          ...diskUsageRoutes(gateway),
          ...registryRoutes(imageDeps),
          ...imageRoutes(imageDeps),
          ...imageTransferRoutes(imageDeps),
          ...buildRoutes(),
        ],
        objects.synced,
      ),
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
