/**
 * Which images go, by age and by the fullness of the disk. Pure. Source of the rules: the kubelet's image garbage
 * collection (imageMinimumGCAge, imageMaximumGCAge, imageGCHighThresholdPercent, imageGCLowThresholdPercent).
 */
import type { CollectionPolicy } from '../interface.ts';

export interface CollectableImage {
  readonly id: string;
  /** Its layers, shared ones included. */
  readonly layers: readonly { readonly id: string; readonly sizeBytes: number }[];
  /** A container has it, or somebody is about to make one of it. */
  readonly isWanted: boolean;
  readonly firstSeenMs: number;
  readonly lastUsedMs: number;
}

export interface CollectionInput {
  readonly images: readonly CollectableImage[];
  readonly disk: { readonly capacityBytes: number; readonly availableBytes: number };
  readonly policy: CollectionPolicy;
  readonly nowMs: number;
}

export interface CollectionDecision {
  /** In the order in which to remove them, the longest unused first. */
  readonly remove: readonly { readonly id: string; readonly because: 'age' | 'space' }[];
  /** What the disk still lacks when all of these are gone. */
  readonly missingBytes: number;
}

export function decideCollection({ images, disk, policy, nowMs }: CollectionInput): CollectionDecision {
  const { minimumAgeMs, maximumAgeMs } = policy;
  // A clock that was set back must not keep an image for ever.
  const idleMs = ({ lastUsedMs }: CollectableImage): number => nowMs - Math.min(lastUsedMs, nowMs);
  const candidates = images
    .filter((image) => !image.isWanted && nowMs - Math.min(image.firstSeenMs, nowMs) >= minimumAgeMs)
    .filter((image) => idleMs(image) >= minimumAgeMs)
    .sort((a, b) => idleMs(b) - idleMs(a) || a.firstSeenMs - b.firstSeenMs || (a.id < b.id ? -1 : 1));
  const users = countUsers(images);
  let needBytes = bytesToFree(disk, policy);
  const remove: { id: string; because: 'age' | 'space' }[] = [];
  const take = (image: CollectableImage, because: 'age' | 'space'): void => {
    remove.push({ id: image.id, because });
    needBytes -= release(image, users);
  };
  const isTooOld = (image: CollectableImage): boolean => maximumAgeMs !== undefined && idleMs(image) >= maximumAgeMs;
  for (const image of candidates.filter(isTooOld)) take(image, 'age');
  for (const image of candidates) {
    if (needBytes <= 0) break;
    if (!isTooOld(image)) take(image, 'space');
  }
  return { remove, missingBytes: Math.max(0, needBytes) };
}

/** From the high threshold on, down to the low one. */
function bytesToFree({ capacityBytes, availableBytes }: CollectionInput['disk'], policy: CollectionPolicy): number {
  if (capacityBytes <= 0) return 0; // a file system that does not say, as the kubelet takes it
  const usedPercent = (100 * (capacityBytes - availableBytes)) / capacityBytes;
  if (!policy.isDiskFull && usedPercent < policy.highThresholdPercent) return 0;
  return Math.ceil((capacityBytes * (100 - policy.lowThresholdPercent)) / 100 - availableBytes);
}

function countUsers(images: readonly CollectableImage[]): Map<string, number> {
  const users = new Map<string, number>();
  for (const { layers } of images) for (const { id } of layers) users.set(id, (users.get(id) ?? 0) + 1);
  return users;
}

/** The bytes of the layers that nobody else has. */
function release({ layers }: CollectableImage, users: Map<string, number>): number {
  let freed = 0;
  for (const { id, sizeBytes } of layers) {
    const left = (users.get(id) ?? 1) - 1;
    users.set(id, left);
    if (left === 0) freed += sizeBytes;
  }
  return freed;
}
