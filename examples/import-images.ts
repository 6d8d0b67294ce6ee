/**
 * Makes the images of the examples present in an instance's image store: builds those that are missing or whose
 * sources changed. What an image was built from is kept in a label-like record beside the store. Effects.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { createImageStore, ImageNotPresentError, type ImageStore, imageStoragePaths } from '../runtime/images/index.ts';
import { writeImageArchive } from './image-archive.ts';
import type { ImageRecipe } from './image-recipe.ts';

export interface BuildRequest {
  readonly recipes: readonly ImageRecipe[];
  readonly dataDir: string;
  readonly runDir: string;
  /** Downloaded Debian packages. */
  readonly cacheDir: string;
  /** An empty folder for what is being built; the caller removes it. */
  readonly workDir: string;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** One line for people about each image that was built. */
  report(line: string): void;
}

/** Image name → what it was built from, and what came of it. */
type BuildRecord = Readonly<Record<string, { readonly sources: string; readonly imageID: string }>>;

/** Throws an Error that says which image could not be made, and why. */
export async function buildExampleImages(request: BuildRequest): Promise<void> {
  const paths = imageStoragePaths(request);
  const recordFile = join(request.dataDir, 'example-images.json');
  let record = parseBuildRecord(await readFile(recordFile, 'utf8').catch(() => '{}'));
  const store = await createImageStore({
    ...paths,
    containersUsing: async () => [], // only asked on removal, and nothing is removed here
    log: request.log,
    metrics: new Registry(),
  });
  try {
    for (const recipe of request.recipes) {
      const sources = await digestOfSources(recipe);
      const known = record[recipe.name];
      if (known?.sources === sources && known.imageID === (await presentID(recipe.name, store, request.signal)))
        continue;
      const imageID = await buildOne(recipe, store, request);
      record = { ...record, [recipe.name]: { sources, imageID } };
      await writeFile(`${recordFile}.new`, JSON.stringify(record));
      await rename(`${recordFile}.new`, recordFile);
    }
  } finally {
    await store.close();
  }
}

/** undefined if the image is not there, or not whole. */
async function presentID(name: string, store: ImageStore, signal: AbortSignal): Promise<string | undefined> {
  try {
    return (await store.ensure(name, 'never', signal)).id;
  } catch (error) {
    if (error instanceof ImageNotPresentError) return undefined;
    throw error;
  }
}

async function buildOne(recipe: ImageRecipe, store: ImageStore, request: BuildRequest): Promise<string> {
  const startedMs = performance.now();
  const { workDir, signal } = request;
  const rootDir = join(workDir, 'root');
  const path = join(workDir, 'image.tar');
  try {
    await mkdir(rootDir, { recursive: true, mode: 0o755 });
    await recipe.fill(rootDir, request);
    await writeImageArchive({ layerDirs: [rootDir], settings: recipe.settings, format: 'oci-archive', path, signal });
    const { id } = await store.importAs(`oci-archive:${path}`, recipe.name, signal);
    request.report(`built ${recipe.name} in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
    return id;
  } catch (cause) {
    signal.throwIfAborted();
    throw new Error(`${recipe.name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  } finally {
    await rm(rootDir, { recursive: true, force: true });
    await rm(path, { force: true });
  }
}

async function digestOfSources(recipe: ImageRecipe): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([recipe.settings, recipe.fill.toString()]));
  for (const source of recipe.sources) hash.update(await readFile(source));
  return hash.digest('hex');
}

/** Pure. Whatever is not as it should be counts as never built. */
export function parseBuildRecord(text: string): BuildRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return {}; // half-written by a crash: the images are built again
  }
  if (typeof value !== 'object' || value === null) return {};
  const entries = Object.entries(value).flatMap(([name, entry]: [string, unknown]) => {
    if (typeof entry !== 'object' || entry === null || !('sources' in entry) || !('imageID' in entry)) return [];
    const { sources, imageID } = entry;
    return typeof sources === 'string' && typeof imageID === 'string' ? [[name, { sources, imageID }] as const] : [];
  });
  return Object.fromEntries(entries);
}
