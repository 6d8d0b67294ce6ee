/** The gateway: puts the subjects of the Engine API together over one view of the objects. Effects. */
import { containerRoutes } from './containers.ts';
import { createEventLog, eventRoutes } from './events.ts';
import { findContainer } from './find.ts';
import type { Gateway, GatewayDeps } from './gateway-parts.ts';
import { standingHeaders, startHttpServer } from './http-server.ts';
import { lifecycleRoutes } from './lifecycle.ts';
import { createObjects } from './objects.ts';
import { systemRoutes } from './system.ts';
import { waitRoutes } from './wait.ts';

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
