/** Which names of an image go, and whether it goes, or why not. Pure. Source of rules and texts: moby daemon/images/image_delete.go. */
import type { ImageDescription, RegistryReference } from '../runtime/index.ts';
import { chainIDs, formatFamiliar, namesOf, shortID } from './image-reference.ts';

export interface ImageUser {
  /** 64 digits. */
  readonly id: string;
  readonly imageID: string;
  /** Running, paused or restarting. */
  readonly isRunning: boolean;
}

export interface RemovalInput {
  readonly image: Pick<ImageDescription, 'id' | 'names' | 'manifestDigests'>;
  /** The name by which it was meant, canonical; undefined: by its id. */
  readonly name: string | undefined;
  readonly isForced: boolean;
  /** The containers that have it. */
  readonly users: readonly ImageUser[];
}

export type Removal =
  | { readonly kind: 'conflict'; readonly message: string }
  /** These names go; `untagged` is what is told of it. The image stays. */
  | { readonly kind: 'untag'; readonly names: readonly string[]; readonly untagged: readonly string[] }
  /** The image goes, with all its names. */
  | { readonly kind: 'remove'; readonly untagged: readonly string[] };

export function decideRemoval({ image, name, isForced, users }: RemovalInput): Removal {
  const { tags, digests } = namesOf(image);
  const running = users.find(({ isRunning }) => isRunning);
  const stopped = users.find(({ isRunning }) => !isRunning);
  const all = [...tags, ...digests].map(({ canonical }) => formatFamiliar(canonical));
  const everyName = [...new Set([...tags, ...digests.filter(({ canonical }) => image.names.includes(canonical))])].map(
    ({ canonical }) => canonical,
  );
  if (name === undefined) {
    const refuse = (how: string, why: string): Removal => ({
      kind: 'conflict',
      message: `conflict: unable to delete ${shortID(image.id)} (${how}) - ${why}`,
    });
    if (running !== undefined)
      return refuse('cannot be forced', `image is being used by running container ${shortID(running.id)}`);
    if (!isForced && !isSingle(tags, digests))
      return refuse('must be forced', 'image is referenced in multiple repositories');
    if (!isForced && stopped !== undefined)
      return refuse('must be forced', `image is being used by stopped container ${shortID(stopped.id)}`);
    // A container that is not removed may be started again: what it is made of stays, without a name.
    return stopped === undefined
      ? { kind: 'remove', untagged: all }
      : { kind: 'untag', names: everyName, untagged: all };
  }
  const [user] = users;
  if (!isForced && user !== undefined && isSingle(tags, digests))
    return {
      kind: 'conflict',
      message: `conflict: unable to remove repository reference "${formatFamiliar(name)}" (must force) - container ${shortID(user.id)} is using its referenced image ${shortID(image.id)}`,
    };
  const left = tags.filter(({ canonical }) => canonical !== name);
  const isLeft = ({ registry, repository }: RegistryReference): boolean =>
    left.some((one) => one.registry === registry && one.repository === repository);
  // With the last tag in a repository its digests there are gone, too.
  const lost = digests.filter((one) => one.canonical === name || !isLeft(one)).map(({ canonical }) => canonical);
  const stays = [...left, ...digests.filter(({ canonical }) => !lost.includes(canonical))];
  const untagged = [...new Set([name, ...lost])];
  const told = untagged.map(formatFamiliar);
  if (stays.length > 0 || user !== undefined)
    return { kind: 'untag', names: untagged.filter((one) => image.names.includes(one)), untagged: told };
  return { kind: 'remove', untagged: told };
}

/** One tag at most, and digests in its repository alone. Source: isSingleReference. */
function isSingle(tags: readonly RegistryReference[], digests: readonly RegistryReference[]): boolean {
  const [first, second] = [
    ...new Set([...tags, ...digests].map(({ registry, repository }) => `${registry}/${repository}`)),
  ];
  return tags.length <= 1 && (first === undefined || second === undefined);
}

/** What is told of an image that went: itself, and the layers that no other has, the uppermost first. */
export function deletedOf(
  image: Pick<ImageDescription, 'id' | 'layers'>,
  others: readonly Pick<ImageDescription, 'layers'>[],
): { readonly deleted: readonly string[]; readonly freedBytes: number } {
  const kept = new Set(others.flatMap(({ layers }) => chainIDs(layers)));
  const gone = chainIDs(image.layers)
    .map((chainID, index) => ({ chainID, sizeBytes: image.layers[index]?.sizeBytes ?? 0 }))
    .filter(({ chainID }) => !kept.has(chainID))
    .toReversed();
  return {
    deleted: [image.id, ...gone.map(({ chainID }) => chainID)],
    freedBytes: gone.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}
