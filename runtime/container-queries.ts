/** Which of the containers have something that is theirs: an image, a volume, a cable. Pure. */
import type { ContainerEntry } from './container-entry.ts';
import type { ContainerID } from './interface.ts';

/** Names of those that have a named volume, or of the one whose own a volume is. */
export function namesWithVolume(
  entries: Iterable<ContainerEntry>,
  volume: { readonly name: string } | { readonly owner: ContainerID },
): readonly string[] {
  return [...entries]
    .map((entry) => entry.record.config)
    .filter((config) =>
      'owner' in volume
        ? config.id === volume.owner
        : config.volumes?.some(({ source }) => source.kind === 'named' && source.name === volume.name) === true,
    )
    .map((config) => config.name);
}

export function namesUsing(entries: Iterable<ContainerEntry>, imageID: string): readonly string[] {
  return [...entries]
    .filter((entry) => entry.record.config.imageID === imageID)
    .map((entry) => entry.record.config.name);
}

/** Host ends of their cables. */
export function hostInterfacesOf(entries: Iterable<ContainerEntry>): readonly string[] {
  return [...entries].flatMap((entry) => entry.network?.hostInterface ?? []);
}
