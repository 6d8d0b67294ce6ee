/**
 * How far a download is: what lies in skopeo's temporary folder of what the manifest says. Effects; the parsers are pure.
 * skopeo prints no counts without a terminal, but writes each blob as it comes, compressed as the registry has it, into a
 * file of its --tmpdir, and keeps it there until the image is stored (seen with 1.9.3).
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerProgress, PullProgress } from '../interface.ts';
import { type Blob, type ManifestBlobs, missingBytes, observeLayers } from './layer-progress.ts';
import { isFor, type Platform } from './platform.ts';

export interface DownloadWatch {
  /** skopeo's --tmpdir, which holds nothing else. */
  readonly dir: string;
  /** Asked once, when the download takes longer than `blobsAfterMs`; undefined: it cannot be known. */
  readonly askBlobs: () => Promise<ManifestBlobs | undefined>;
  /** Blobs whose content was here before. */
  readonly known: ReadonlySet<string>;
  /** Those whose content is here now. */
  readonly stored: () => Promise<ReadonlySet<string>>;
  readonly onProgress: (progress: PullProgress) => void;
  readonly intervalMs: number;
  /** Most downloads are over before anybody wants to know: the question costs a process and a request. */
  readonly blobsAfterMs: number;
}

export interface Watching {
  /** Waits for nothing. */
  stop(): void;
  /** All is here: says so of each layer, for which it may have to wait until it is known which there are. */
  finish(): Promise<void>;
}

/** Reports what changed until it is stopped or finished. */
export function watchDownload(watch: DownloadWatch): Watching {
  const { dir, known, onProgress } = watch;
  const startedMs = performance.now();
  let blobs: ManifestBlobs | undefined;
  let asking: Promise<void> | undefined;
  let last = '';
  let isLooking = false;
  let isOver = false;

  function ask(): Promise<void> {
    // The pull itself will say what is wrong.
    asking ??= watch.askBlobs().then(
      (answer) => {
        blobs = answer;
      },
      () => undefined,
    );
    return asking;
  }

  function report(progress: PullProgress): void {
    const text = JSON.stringify(progress);
    if (isOver || text === last || (progress.doneBytes === 0 && progress.layers === undefined)) return;
    last = text;
    onProgress(progress);
  }

  async function look(): Promise<void> {
    const files = await sizesOfFiles(dir);
    const doneBytes = files.reduce((sum, size) => sum + size, 0);
    if (performance.now() - startedMs >= watch.blobsAfterMs) await ask();
    const missing = blobs === undefined ? undefined : missingBytes(blobs, known);
    // A tag that moved between the two requests gives a total of another image.
    const totalBytes = missing === undefined || missing < doneBytes ? undefined : missing;
    const layers =
      blobs === undefined
        ? undefined
        : observeLayers({ layers: blobs.layers, files, known, stored: await watch.stored() });
    report({ doneBytes, totalBytes, layers });
  }

  const tick = () => {
    if (isLooking) return;
    isLooking = true;
    look()
      .catch(() => undefined) // the store's lists cannot be read: the pull itself will say so
      .finally(() => {
        isLooking = false;
      });
  };
  const timer = setInterval(tick, watch.intervalMs);
  if (watch.blobsAfterMs === 0) tick();
  const stop = () => {
    isOver = true;
    clearInterval(timer);
  };
  return {
    stop,
    async finish() {
      clearInterval(timer);
      if (watch.blobsAfterMs === 0) await ask();
      if (blobs !== undefined) {
        const bytes = missingBytes(blobs, known);
        const layers = blobs.layers.map((layer): LayerProgress => {
          const state = known.has(layer.digest) ? 'present' : 'stored';
          return { ...layer, doneBytes: layer.sizeBytes, state };
        });
        report({ doneBytes: bytes, totalBytes: bytes, layers });
      }
      stop();
    },
  };
}

/** Sizes of the files in a folder and in its folders, in the order of their numbers. What vanishes meanwhile does not count. */
async function sizesOfFiles(dir: string): Promise<readonly number[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .sort((a, b) => Number(a.name) - Number(b.name))
      .map((entry) => stat(join(entry.parentPath, entry.name)).catch(() => undefined)),
  );
  return sizes.flatMap((found) => (found === undefined ? [] : found.size));
}

export type Manifest =
  | ({ readonly kind: 'image' } & ManifestBlobs)
  /** An image for several platforms: the digest of the manifest for this one; undefined: there is none. */
  | { readonly kind: 'index'; readonly digest: string | undefined }
  | { readonly kind: 'unknown' };

/** Pure. Source: OCI image-spec manifest.md and image-index.md; Docker's schema 2. Schema 1 says no sizes. */
export function parseManifest(text: string, platform: Platform): Manifest {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { kind: 'unknown' };
  }
  const { manifests, layers, config } = asObject(document);
  if (Array.isArray(manifests)) {
    const fitting = manifests.map(asObject).find((entry) => {
      const { os, architecture, variant } = asObject(entry.platform);
      const words = { os: asText(os), architecture: asText(architecture), variant: asText(variant) };
      return words.os !== undefined && isFor(dropUndefined(words), platform);
    });
    return { kind: 'index', digest: asText(fitting?.digest) };
  }
  if (!Array.isArray(layers)) return { kind: 'unknown' };
  return { kind: 'image', config: blobOf(config), layers: layers.map(blobOf) };
}

function blobOf(descriptor: unknown): Blob {
  const { digest, size } = asObject(descriptor);
  const sizeBytes = typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : 0;
  return { digest: asText(digest) ?? '', sizeBytes };
}

function dropUndefined(words: Record<'os' | 'architecture' | 'variant', string | undefined>): Partial<Platform> {
  return Object.fromEntries(Object.entries(words).filter(([, word]) => word !== undefined));
}

function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function asObject(value: unknown): Record<string, unknown> {
  // An object that is no array has string keys and values that are unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
