/**
 * Makes the images of the examples present in an instance's image store: builds those that are missing or whose
 * sources changed. What an image was built from is kept in a label-like record beside the store. Effects.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
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
  /** Built images are kept here as archives, for other instances; by default they are not kept. */
  readonly archiveDir?: string | undefined;
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
      const imageID = await provideOne({ recipe, sources, store }, request);
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

interface Wanted {
  readonly recipe: ImageRecipe;
  readonly sources: string;
  readonly store: ImageStore;
}

/** Imports the image from an archive that was kept, or builds it. */
async function provideOne({ recipe, sources, store }: Wanted, request: BuildRequest): Promise<string> {
  const startedMs = performance.now();
  const { workDir, archiveDir, signal } = request;
  const built = join(workDir, 'image.tar');
  const kept = archiveDir === undefined ? undefined : keptArchive(archiveDir, sources);
  const isKept = kept !== undefined && existsSync(kept);
  try {
    if (!isKept) await buildArchive(recipe, built, request);
    const { id } = await store.importAs(`oci-archive:${isKept ? kept : built}`, recipe.name, signal);
    if (kept !== undefined && !isKept) await keep(built, kept);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    request.report(`${isKept ? 'imported' : 'built'} ${recipe.name} in ${seconds} s`);
    return id;
  } catch (cause) {
    signal.throwIfAborted();
    throw new Error(`${recipe.name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  } finally {
    await rm(built, { force: true });
  }
}

/** What building an archive needs. */
type BuildPlace = Pick<BuildRequest, 'cacheDir' | 'workDir' | 'signal'>;

export interface ArchiveBuildRequest extends BuildPlace {
  readonly archiveDir: string;
}

/** The path of an image's oci-archive in archiveDir, where it is built unless it is kept there already. */
export async function provideExampleArchive(recipe: ImageRecipe, request: ArchiveBuildRequest): Promise<string> {
  const kept = keptArchive(request.archiveDir, await digestOfSources(recipe));
  if (existsSync(kept)) return kept;
  const built = join(request.workDir, 'image.tar');
  try {
    await buildArchive(recipe, built, request);
    await keep(built, kept);
    return kept;
  } finally {
    await rm(built, { force: true });
  }
}

function keptArchive(archiveDir: string, sources: string): string {
  return join(archiveDir, `${sources}.tar`);
}

async function buildArchive(recipe: ImageRecipe, path: string, request: BuildPlace): Promise<void> {
  const rootDir = join(request.workDir, 'root');
  try {
    await mkdir(rootDir, { recursive: true, mode: 0o755 });
    await recipe.fill(rootDir, request);
    const { settings } = recipe;
    await writeImageArchive({ layerDirs: [rootDir], settings, format: 'oci-archive', path, signal: request.signal });
  } finally {
    await rm(rootDir, { recursive: true, force: true });
  }
}

async function keep(built: string, kept: string): Promise<void> {
  await mkdir(dirname(kept), { recursive: true });
  const beside = `${kept}.${process.pid}.new`;
  try {
    await copyFile(built, beside); // the folder may be on another disk
    await rename(beside, kept);
  } finally {
    await rm(beside, { force: true });
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
