/**
 * How far a download is: what lies in skopeo's temporary folder of what the manifest says. Effects; the parsers are pure.
 * skopeo prints no counts without a terminal, but writes each blob as it comes, compressed as the registry has it, into a
 * file of its --tmpdir, and keeps it there until the image is stored (seen with 1.9.3).
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PullProgress } from '../interface.ts';
import { isFor, type Platform } from './platform.ts';

export interface DownloadWatch {
  /** skopeo's --tmpdir, which holds nothing else. */
  readonly dir: string;
  /** Asked once, when the download takes longer than `totalAfterMs`; undefined: it cannot be known. */
  readonly askTotal: () => Promise<number | undefined>;
  readonly onProgress: (progress: PullProgress) => void;
  readonly intervalMs: number;
  /** Most downloads are over before anybody wants to know: the question costs a process and a request. */
  readonly totalAfterMs: number;
}

/** Reports what changed until the returned function is called, which waits for nothing. */
export function watchDownload({ dir, askTotal, onProgress, intervalMs, totalAfterMs }: DownloadWatch): () => void {
  const startedMs = performance.now();
  let totalBytes: number | undefined;
  let hasAsked = false;
  let last = '';
  let isLooking = false;
  let isOver = false;

  async function look(): Promise<void> {
    const doneBytes = await sizeOfFolder(dir);
    if (!hasAsked && performance.now() - startedMs >= totalAfterMs) {
      hasAsked = true;
      totalBytes = await askTotal().catch(() => undefined); // the pull itself will say what is wrong
    }
    // A tag that moved between the two requests gives a total of another image.
    const total = totalBytes === undefined || totalBytes < doneBytes ? undefined : totalBytes;
    const text = `${doneBytes}/${total}`;
    if (isOver || text === last || doneBytes === 0) return;
    last = text;
    onProgress({ doneBytes, totalBytes: total });
  }

  const timer = setInterval(() => {
    if (isLooking) return;
    isLooking = true;
    look().finally(() => {
      isLooking = false;
    });
  }, intervalMs);
  return () => {
    isOver = true;
    clearInterval(timer);
  };
}

/** Bytes of the files in a folder and in its folders. What vanishes meanwhile does not count. */
async function sizeOfFolder(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map(async (entry) => {
      if (!entry.isFile()) return 0;
      const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
      return found?.size ?? 0;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

export type Manifest =
  /** One image: its blobs, by digest. */
  | { readonly kind: 'image'; readonly blobs: readonly { readonly digest: string; readonly sizeBytes: number }[] }
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
  const blobs = [config, ...layers].map(asObject).map(({ digest, size }) => ({
    digest: asText(digest) ?? '',
    sizeBytes: typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : 0,
  }));
  return { kind: 'image', blobs };
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
