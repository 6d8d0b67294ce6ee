/** Removing containers: by name, when they are pruned, and with --rm when they could not be started. Effects. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { isUp, stateOf } from './container-state.ts';
import { within } from './deadline.ts';
import { conflict, DockerError } from './docker-error.ts';
import type { Gateway } from './gateway-parts.ts';

const removeDeadlineMs = 120_000;

export interface RemoveOptions {
  readonly isForced: boolean;
  readonly withVolumes: boolean;
}

/** Texts: moby daemon/delete.go. */
export async function removeContainer(
  { objects, now }: Pick<Gateway, 'objects' | 'now'>,
  object: Container,
  { isForced, withVolumes }: RemoveOptions,
  signal: AbortSignal,
): Promise<void> {
  const state = stateOf(object, now());
  const id = containerIDOf(object);
  if (isUp(state) && !isForced) {
    const procedure =
      state.name === 'paused'
        ? 'Unpause and then stop the container before attempting removal or force remove'
        : 'Stop the container before attempting removal or force remove';
    throw conflict(`You cannot remove a ${state.name} container ${id}. ${procedure}`);
  }
  const { spec } = object;
  const volumes = spec.volumes?.map((volume) =>
    volume.volume !== undefined && isAnonymous(volume.volume.name)
      ? { ...volume, volume: { ...volume.volume, reclaimPolicy: 'Delete' } }
      : volume,
  );
  const changes = {
    ...(isForced && isUp(state) ? { terminationGracePeriodSeconds: 0 } : {}),
    ...(withVolumes
      ? { imageVolumes: { reclaimPolicy: 'Delete' }, ...(volumes === undefined ? {} : { volumes }) }
      : {}),
  };
  try {
    if (Object.keys(changes).length > 0) await objects.patch(object, { spec: changes }, signal);
    await objects.remove(object, signal);
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return; // --rm was quicker
    throw error;
  }
  const { uid } = object.metadata;
  const isGone = (current: Container | undefined): true | undefined => (current === undefined ? true : undefined);
  await within({ signal, ms: removeDeadlineMs, what: `container ${id} was not removed` }, (ending) =>
    objects.waitFor(uid, isGone, ending),
  ).catch((error: unknown) => {
    if (!(error instanceof DockerError)) throw error;
    const why = objects.get(uid)?.status?.message ?? 'its host has not answered';
    throw new DockerError(error.status, `${error.message}: ${why}; it goes on by itself`);
  });
}

/** A volume that nobody has named. */
function isAnonymous(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}
