/**
 * docker/: the Docker Engine API on a unix socket, over the store's objects and the runtime's streams.
 * Used by: cli/. May import: crds/, client/, runtime/index.ts, npm. Must not know: crun, conmon, CNI, SQL.
 */
export { startDockerGateway } from './gateway.ts';
export type { GatewayDeps } from './gateway-parts.ts';
export { DockerListenError } from './listen.ts';
