/** What an image says about itself, read from its configuration and manifests. Pure; accepts what a hostile image brings. */
import type { ImageDescription } from '../interface.ts';
import { isObject, type Json } from '../json.ts';

export type DescribedConfiguration = Pick<ImageDescription, 'configuration' | 'platform' | 'createdAtMs' | 'labels'>;

/** Source: OCI image-spec config.md. */
export function describeConfiguration(document: unknown): DescribedConfiguration {
  const configuration = isObject(document) ? document : {};
  const config = isObject(configuration.config) ? configuration.config : {};
  const labels = isObject(config.Labels) ? Object.entries(config.Labels) : [];
  return {
    configuration,
    platform: describePlatform(configuration),
    createdAtMs: parseTime(configuration.created),
    labels: Object.fromEntries(labels.filter((pair): pair is [string, string] => typeof pair[1] === 'string')),
  };
}

export function describePlatform(words: Json): ImageDescription['platform'] {
  return { os: textOf(words.os), architecture: textOf(words.architecture), variant: textOf(words.variant) };
}

/** The diff ids of the layers, the lowest first. */
export function diffIDsOf(configuration: Json): readonly string[] {
  const ids = isObject(configuration.rootfs) ? configuration.rootfs.diff_ids : undefined;
  return Array.isArray(ids) ? ids.filter((id): id is string => typeof id === 'string') : [];
}

/**
 * By which digests registries know an image, of the manifests that are kept for it (digest → text). An index stands for those
 * that it lists. One whose layers are not compressed (named by their diff ids) was made here of an archive: no registry has it.
 */
export function registryDigests(manifests: ReadonlyMap<string, string>, diffIDs: readonly string[]): readonly string[] {
  const parsed = [...manifests].map(([digest, text]) => ({ digest, document: parseDocument(text) }));
  const digestsIn = (value: unknown): readonly string[] => objectsIn(value).map(({ digest }) => textOf(digest));
  const listed = new Set(parsed.flatMap(({ document }) => digestsIn(document.manifests)));
  const isRemote = ({ document }: { document: Json }): boolean =>
    Array.isArray(document.manifests) ||
    (Array.isArray(document.layers) && !digestsIn(document.layers).some((digest) => diffIDs.includes(digest)));
  return parsed.filter((one) => isRemote(one) && !listed.has(one.digest)).map(({ digest }) => digest);
}

function parseDocument(text: string): Json {
  try {
    const document: unknown = JSON.parse(text);
    return isObject(document) ? document : {};
  } catch {
    return {}; // damaged: it says nothing
  }
}

function objectsIn(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Go writes year 1 for a time that it does not know. */
function parseTime(value: unknown): number | undefined {
  const timeMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(timeMs) ? undefined : timeMs;
}
