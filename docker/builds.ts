/** Images are not made here: what would build or commit one says so, and what does it instead. */
import { notImplemented } from './docker-error.ts';
import type { Call, Route } from './route.ts';

const instead =
  'build it with "buildah bud -t NAME .", then "buildah push NAME docker-archive:FILE" and "docker load -i FILE"';

const refusals: readonly (readonly [string, string])[] = [
  ['/build', `Holdfast builds no images; ${instead}`],
  ['/session', `Holdfast builds no images; ${instead}`],
  ['/grpc', `Holdfast builds no images; ${instead}`],
  ['/commit', `Holdfast makes no image of a container; ${instead}, or export the container and import that`],
];

export function buildRoutes(): readonly Route[] {
  return [
    ...refusals.map(([path, message]): Route => ({ method: 'POST', path, handle: (call) => refuse(call, message) })),
    // There is nothing that builds could have left, which `docker system prune` asks to remove.
    {
      method: 'POST',
      path: '/build/prune',
      handle: async (call) => call.json(200, { CachesDeleted: null, SpaceReclaimed: 0 }),
    },
    { method: 'POST', path: '/build/cancel', handle: async (call) => call.empty(204) },
  ];
}

/** A client that is still sending what is to be built reads the answer only when it has sent all. */
async function refuse(call: Call, message: string): Promise<void> {
  call.input.on('error', () => {}); // it has gone away, which is as well
  call.input.resume();
  throw notImplemented(message);
}
