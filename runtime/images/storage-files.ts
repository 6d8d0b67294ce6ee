/**
 * Reads the records of containers-storage straight from its files: no process is spawned, no lock taken. It writes
 * them by rename, so a reader sees a whole file. What was read is kept until the file's time, size or inode changes.
 * Source: containers/storage images.go, layers.go and drivers/overlay; seen with 1.43.
 */
import { type BigIntStats, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ImageConfig, type ImageDescription, ImageNotPresentError, RuntimeOperationError } from '../interface.ts';
import { type DescribedConfiguration, describeConfiguration, diffIDsOf, registryDigests } from './image-description.ts';
import type { Platform } from './platform.ts';

/** One entry of images.json. */
export interface ImageRecord {
  /** 64 digits, without sha256:. */
  readonly id: string;
  /** Fully qualified names that point to it. */
  readonly names: readonly string[];
  /** Id of the topmost layer; undefined for an image without layers. */
  readonly topLayer: string | undefined;
  /** The same with other owners, for containers with ids of their own. */
  readonly mappedLayers: readonly string[];
  /** Digests of the manifests under which it is known. */
  readonly manifestDigests: readonly string[];
}

export interface LayerRecord {
  readonly id: string;
  readonly parent: string | undefined;
  readonly sizeBytes: number;
  readonly incomplete: boolean;
  /** Digest of the blob it came as; undefined: not from a registry. */
  readonly blobDigest: string | undefined;
  /** Milliseconds since the epoch; 0: it does not say. */
  readonly createdAtMs: number;
}

type LayerIndex = ReadonlyMap<string, LayerRecord>;

export interface ImageDetails {
  readonly sizeBytes: number;
  readonly config: ImageConfig;
  /** What the image says that it was built for. */
  readonly platform: Partial<Platform>;
}

/** What is read again at each call, since nothing small would hold it. */
export interface StoredDescription extends DescribedConfiguration {
  readonly layers: ImageDescription['layers'];
  readonly manifestDigests: readonly string[];
}

export interface StorageFiles {
  /** All images. Cheap: one stat while nothing changed. */
  records(): Promise<ImageIndex>;
  /** Size and configuration; kept once read, because an id names its content. */
  detailsOf(record: ImageRecord): Promise<ImageDetails>;
  /** Throws ImageNotPresentError when it is not whole. */
  describe(record: ImageRecord): Promise<StoredDescription>;
  /** The overlay lower folders, topmost first. Throws ImageNotPresentError when one of them is not whole. */
  layersOf(record: ImageRecord): Promise<readonly string[]>;
  /** Its layers, topmost first. Throws ImageNotPresentError when one of them is not whole. */
  chainOf(record: ImageRecord): Promise<readonly LayerRecord[]>;
  /** Layers that no image and no container of storage's own is built on, those on top of others first. */
  orphans(): Promise<readonly LayerRecord[]>;
  /** Digests of the blobs whose content is here as a layer. */
  blobDigests(): Promise<ReadonlySet<string>>;
}

export interface ImageIndex {
  readonly all: readonly ImageRecord[];
  readonly byID: ReadonlyMap<string, ImageRecord>;
  readonly byName: ReadonlyMap<string, ImageRecord>;
  readonly byManifest: ReadonlyMap<string, ImageRecord>;
}

export function createStorageFiles(root: string): StorageFiles {
  const images = watchedFile(join(root, 'overlay-images', 'images.json'), (text) => indexImages(parseImages(text)));
  const layers = watchedFile(join(root, 'overlay-layers', 'layers.json'), parseLayers);
  const containers = watchedFile(join(root, 'overlay-containers', 'containers.json'), (text) =>
    parseList(text).flatMap((entry) => nonEmpty(entry.layer) ?? []),
  );
  const details = new Map<string, ImageDetails>();
  /** Layer folders by image, for one reading of layers.json: an image that is fetched again gets other folders. */
  const folders = new WeakMap<LayerIndex, Map<string, readonly string[]>>();

  async function chainOf(record: ImageRecord): Promise<readonly LayerRecord[]> {
    const known = await layers();
    const chain: LayerRecord[] = [];
    for (let id = record.topLayer; id !== undefined; id = chain.at(-1)?.parent) {
      const layer = known.get(id);
      if (layer === undefined || layer.incomplete || chain.length > 1024) throw broken(record, `its layer ${id}`);
      chain.push(layer);
    }
    return chain;
  }

  function configFile({ id }: ImageRecord): string {
    return join(root, 'overlay-images', id, bigDataName(`sha256:${id}`));
  }

  async function foldersOf(record: ImageRecord): Promise<readonly string[]> {
    const chain = await chainOf(record);
    return Promise.all(
      chain.map(async ({ id }) => {
        const link = await readFile(join(root, 'overlay', id, 'link'), 'utf8').catch((cause: unknown) => {
          throw broken(record, `the folder of its layer ${id}`, cause);
        });
        return join(root, 'overlay', 'l', link.trim());
      }),
    );
  }

  return {
    records: images,
    async detailsOf(record) {
      const kept = details.get(record.id);
      if (kept !== undefined) return kept;
      const chain = await chainOf(record);
      const read: ImageDetails = {
        sizeBytes: chain.reduce((sum, layer) => sum + layer.sizeBytes, 0),
        ...parseImageDocument(await readConfig(configFile(record), record)),
      };
      details.set(record.id, read);
      return read;
    },
    async describe(record) {
      const described = describeConfiguration(await readConfig(configFile(record), record));
      const chain = (await chainOf(record)).toReversed();
      const manifests = await Promise.all(
        record.manifestDigests.map(async (digest) => {
          const file = join(root, 'overlay-images', record.id, bigDataName(`manifest-${digest}`));
          return [digest, await readFile(file, 'utf8').catch(() => '')] as const; // one without a text says nothing
        }),
      );
      const diffIDs = diffIDsOf(described.configuration);
      return {
        ...described,
        layers: diffIDs.map((diffID, index) => ({ diffID, sizeBytes: chain[index]?.sizeBytes ?? 0 })),
        manifestDigests: registryDigests(new Map(manifests), diffIDs),
      };
    },
    async layersOf(record) {
      const index = await layers();
      const known = folders.get(index) ?? new Map<string, readonly string[]>();
      folders.set(index, known);
      const found = known.get(record.id) ?? (await foldersOf(record));
      for (const folder of found) {
        try {
          statSync(folder);
        } catch (cause) {
          throw broken(record, `the content of its layer at ${folder}`, cause);
        }
      }
      known.set(record.id, found);
      return found;
    },
    chainOf,
    async orphans() {
      const [known, { all }, owned] = [await layers(), await images(), await containers()];
      const roots = [...all.flatMap(({ topLayer, mappedLayers }) => [topLayer ?? [], mappedLayers].flat()), ...owned];
      return findOrphans(known, roots);
    },
    async blobDigests() {
      const known = [...(await layers()).values()];
      return new Set(known.flatMap(({ blobDigest, incomplete }) => (incomplete ? [] : (blobDigest ?? []))));
    },
  };
}

/** Pure. What no root is built on; a layer comes before the one below it. */
export function findOrphans(known: LayerIndex, roots: readonly string[]): readonly LayerRecord[] {
  const needed = new Set<string>();
  for (const root of roots) {
    for (let id: string | undefined = root; id !== undefined && !needed.has(id); id = known.get(id)?.parent)
      needed.add(id);
  }
  const depthOf = ({ parent }: LayerRecord): number => {
    let depth = 0;
    for (let id = parent; id !== undefined && depth <= known.size; id = known.get(id)?.parent) depth += 1;
    return depth;
  };
  const orphans = [...known.values()].filter(({ id }) => !needed.has(id));
  return orphans
    .map((layer) => ({ layer, depth: depthOf(layer) }))
    .sort((a, b) => b.depth - a.depth)
    .map(({ layer }) => layer);
}

/** A reader that parses the file again only when it changed. A file that is not there is an empty list. */
function watchedFile<T>(path: string, parse: (text: string) => T): () => Promise<T> {
  let kept: { readonly seen: string; readonly value: T } | undefined;
  return async () => {
    // A turn of the thread pool takes twenty times as long, at each start of a container.
    const seen = await fingerprint(path, (one) => statSync(one, { bigint: true }));
    if (kept?.seen === seen) return kept.value;
    const text = seen === 'none' ? '[]' : await readFile(path, 'utf8');
    try {
      kept = { seen, value: parse(text) };
    } catch (cause) {
      throw new RuntimeOperationError(
        'image_list',
        `cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}; if it is damaged, remove the image folder it is in and images are fetched again`,
        { cause },
      );
    }
    return kept.value;
  };
}

/** Changes whenever the file's content may have; 'none' when there is no file. */
export async function fingerprint(
  path: string,
  look: (path: string) => BigIntStats | Promise<BigIntStats> = (one) => stat(one, { bigint: true }),
): Promise<string> {
  try {
    const { mtimeNs, size, ino } = await look(path);
    return `${mtimeNs}:${size}:${ino}`;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return 'none';
    throw error;
  }
}

/** Names that are no plain words are written as "=" and base64. Source: containers/storage makeBigDataBaseName. */
function bigDataName(key: string): string {
  return `=${Buffer.from(key).toString('base64')}`;
}

async function readConfig(file: string, record: ImageRecord): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw broken(record, 'its configuration', cause);
  }
}

function broken(record: ImageRecord, what: string, cause?: unknown): ImageNotPresentError {
  const name = record.names[0] ?? `sha256:${record.id.slice(0, 12)}`;
  const message = `the image "${name}" is not whole on this host: ${what} is missing or damaged; fetch it again`;
  return new ImageNotPresentError(message, cause === undefined ? {} : { cause });
}

function indexImages(all: readonly ImageRecord[]): ImageIndex {
  return {
    all,
    byID: new Map(all.map((image) => [image.id, image])),
    byName: new Map(all.flatMap((image) => image.names.map((name) => [name, image] as const))),
    byManifest: new Map(all.flatMap((image) => image.manifestDigests.map((digest) => [digest, image] as const))),
  };
}

/** Pure. Throws when the text is not a list of objects with an id. */
export function parseImages(text: string): readonly ImageRecord[] {
  return parseList(text).map((entry) => ({
    id: idOf(entry),
    names: strings(entry.names),
    topLayer: nonEmpty(entry.layer),
    mappedLayers: strings(entry['mapped-layers']),
    manifestDigests: manifestDigests(entry),
  }));
}

function manifestDigests(entry: Record<string, unknown>): readonly string[] {
  const digests = Object.entries(asObject(entry['big-data-digests']))
    .filter(([key]) => key === 'manifest' || key.startsWith('manifest-'))
    .map(([, digest]) => digest);
  return [...new Set(strings([entry.digest, ...digests]))];
}

/** Pure. */
export function parseLayers(text: string): LayerIndex {
  const layers = parseList(text).map((entry): LayerRecord => {
    const size = entry['diff-size'];
    return {
      id: idOf(entry),
      parent: nonEmpty(entry.parent),
      sizeBytes: typeof size === 'number' ? size : 0,
      incomplete: asObject(entry.flags).incomplete === true,
      blobDigest: nonEmpty(entry['compressed-diff-digest']),
      createdAtMs: typeof entry.created === 'string' ? Date.parse(entry.created) || 0 : 0,
    };
  });
  return new Map(layers.map((layer) => [layer.id, layer]));
}

function parseImageDocument(document: unknown): Omit<ImageDetails, 'sizeBytes'> {
  const { os, architecture, variant } = asObject(document);
  const words = Object.entries({ os, architecture, variant }).filter(([, word]) => nonEmpty(word) !== undefined);
  return { config: parseImageConfig(document), platform: Object.fromEntries(words) };
}

/** Pure; whatever is missing or of a wrong type is as if not set. Accepts what a hostile image brings. */
export function parseImageConfig(document: unknown): ImageConfig {
  const config = asObject(asObject(document).config);
  const stopSignal = nonEmpty(config.StopSignal);
  return {
    entrypoint: strings(config.Entrypoint),
    cmd: strings(config.Cmd),
    env: strings(config.Env),
    workingDir: nonEmpty(config.WorkingDir) ?? '',
    user: nonEmpty(config.User) ?? '',
    ...(stopSignal === undefined ? {} : { stopSignal }),
    exposedPorts: Object.keys(asObject(config.ExposedPorts)),
    volumes: Object.keys(asObject(config.Volumes)),
  };
}

function parseList(text: string): readonly Record<string, unknown>[] {
  const list: unknown = text.trim() === '' ? [] : JSON.parse(text);
  if (!Array.isArray(list)) throw new TypeError('it is not a list');
  return list.map(asObject);
}

function idOf(entry: Record<string, unknown>): string {
  // Ids become parts of paths.
  if (typeof entry.id === 'string' && /^[0-9a-f]{64}$/.test(entry.id)) return entry.id;
  throw new TypeError(`an entry has the id ${JSON.stringify(entry.id)}`);
}

function asObject(value: unknown): Record<string, unknown> {
  // An object that is no array has string keys and values that are unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
