/**
 * Which layer of a download is how far. Pure. skopeo does not say which of its files is which blob, so a file of just the size
 * of a blob is taken for that blob, and the others for the first ones that they may still become: it begins them in order.
 */
import type { LayerProgress } from '../interface.ts';

export interface Blob {
  /** sha256:… */
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface ManifestBlobs {
  readonly config: Blob;
  /** The lowest first. */
  readonly layers: readonly Blob[];
}

/** Bytes of the blobs that are still to be fetched. */
export function missingBytes({ config, layers }: ManifestBlobs, known: ReadonlySet<string>): number {
  const sizes = new Map([config, ...layers].map(({ digest, sizeBytes }) => [digest, sizeBytes]));
  return [...sizes].reduce((sum, [digest, sizeBytes]) => (known.has(digest) ? sum : sum + sizeBytes), 0);
}

export interface ObservedDownload {
  readonly layers: readonly Blob[];
  /** Bytes of each file, in the order in which they were begun. */
  readonly files: readonly number[];
  /** Blobs whose content was here before. */
  readonly known: ReadonlySet<string>;
  /** Blobs whose content is here now. */
  readonly stored: ReadonlySet<string>;
}

export function observeLayers({ layers, files, known, stored }: ObservedDownload): readonly LayerProgress[] {
  const waiting = new Map(layers.filter(({ digest }) => !known.has(digest)).map((layer) => [layer.digest, layer]));
  const done = new Map<string, number>();
  const assign = (size: number, fits: (layer: Blob) => boolean): boolean => {
    const layer = [...waiting.values()].find(fits);
    if (layer === undefined) return false;
    waiting.delete(layer.digest);
    done.set(layer.digest, size);
    return true;
  };
  const growing = files.filter((size) => !assign(size, ({ sizeBytes }) => sizeBytes === size));
  for (const size of growing) assign(size, ({ sizeBytes }) => sizeBytes > size);
  return layers.map(({ digest, sizeBytes }) => {
    const doneBytes = done.get(digest);
    if (known.has(digest)) return { digest, sizeBytes, doneBytes: sizeBytes, state: 'present' };
    if (stored.has(digest)) return { digest, sizeBytes, doneBytes: sizeBytes, state: 'stored' };
    if (doneBytes === undefined) return { digest, sizeBytes, doneBytes: 0, state: 'waiting' };
    return { digest, sizeBytes, doneBytes, state: doneBytes === sizeBytes ? 'downloaded' : 'downloading' };
  });
}
