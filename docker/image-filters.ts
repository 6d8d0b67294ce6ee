/** Which images a list or a prune means. Pure. Source: moby daemon/images/images.go and image_prune.go. */
import type { ImageDescription } from '../runtime/index.ts';
import { badParameter } from './docker-error.ts';
import { type Filters, hasLabelOf, matchesLabels } from './filters.ts';
import { matchesReference, namesOf } from './image-reference.ts';

export const listFilters = ['dangling', 'label', 'before', 'since', 'reference', 'until'];
export const pruneFilters = ['dangling', 'label', 'label!', 'until'];

export interface ListInput {
  readonly images: readonly ImageDescription[];
  readonly filters: Filters;
  /** When the images were made that the filters `before` and `since` name. */
  readonly beforeMs: number | undefined;
  readonly sinceMs: number | undefined;
  readonly nowMs: number;
}

export interface ListedImage {
  readonly image: ImageDescription;
  /** The names that the filter `reference` chose; undefined: all. */
  readonly tags: ReadonlySet<string> | undefined;
}

/** The newest first. Throws DockerError. */
export function filterImages({ images, filters, beforeMs, sinceMs, nowMs }: ListInput): readonly ListedImage[] {
  const isDangling = flagIn(filters, 'dangling');
  const untilMs = untilIn(filters, nowMs);
  const patterns = filters.get('reference') ?? [];
  const listed = images.flatMap((image): ListedImage[] => {
    const { tags, digests } = namesOf(image);
    const createdMs = image.createdAtMs ?? 0;
    const all = [...tags, ...digests];
    if (isDangling !== undefined && isDangling !== (all.length === 0)) return [];
    if (!matchesLabels(filters, image.labels)) return [];
    if (beforeMs !== undefined && createdMs >= beforeMs) return [];
    if (sinceMs !== undefined && createdMs <= sinceMs) return [];
    if (untilMs !== undefined && createdMs >= untilMs) return [];
    if (patterns.length === 0) return [{ image, tags: undefined }];
    const chosen = all.filter((one) => patterns.some((pattern) => matchesReference(pattern, one)));
    return chosen.length === 0 ? [] : [{ image, tags: new Set(chosen.map(({ canonical }) => canonical)) }];
  });
  return listed.toSorted((a, b) => (b.image.createdAtMs ?? 0) - (a.image.createdAtMs ?? 0));
}

/** Those that no container has and that the filters choose; without them those that have no name. Throws DockerError. */
export function filterPruned(
  images: readonly ImageDescription[],
  { filters, used, nowMs }: { readonly filters: Filters; readonly used: ReadonlySet<string>; readonly nowMs: number },
): readonly ImageDescription[] {
  const isDanglingOnly = flagIn(filters, 'dangling') ?? true;
  const untilMs = untilIn(filters, nowMs);
  return images.filter((image) => {
    if (used.has(image.id)) return false;
    // Those of archives are names, too, though Docker has no word for them.
    if (isDanglingOnly && image.names.length > 0) return false;
    if (untilMs !== undefined && (image.createdAtMs ?? 0) >= untilMs) return false;
    return matchesLabels(filters, image.labels) && !hasLabelOf(filters, image.labels);
  });
}

function flagIn(filters: Filters, name: string): boolean | undefined {
  const values = filters.get(name) ?? [];
  if (values.length === 0) return undefined;
  const flags = values.map((value) => value.toLowerCase());
  if (flags.every((value) => ['true', '1', 't'].includes(value))) return true;
  if (flags.every((value) => ['false', '0', 'f'].includes(value))) return false;
  throw badParameter(`invalid filter '${name}=[${values}]'`);
}

/** Images made before: a time, or a duration (10m, 1h30m) counted back from now. */
function untilIn(filters: Filters, nowMs: number): number | undefined {
  const values = filters.get('until') ?? [];
  if (values.length > 1) throw badParameter('more than one until filter specified');
  const [value] = values;
  if (value === undefined) return undefined;
  const durationMs = parseDuration(value);
  if (durationMs !== undefined) return nowMs - durationMs;
  const timeMs = /^\d{1,12}(?:\.\d{1,9})?$/.test(value) ? Number(value) * 1000 : Date.parse(value);
  if (Number.isNaN(timeMs)) throw badParameter(`failed to parse value as time or duration: ${JSON.stringify(value)}`);
  return timeMs;
}

const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Go's durations, as far as people write them. */
function parseDuration(text: string): number | undefined {
  if (!/^(?:\d{1,9}(?:\.\d{1,9})?(?:h|ms|m|s)){1,8}$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)];
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (unitsMs[unit ?? ''] ?? 0), 0);
}
