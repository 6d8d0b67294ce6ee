/** Makes an OCI layout of one image out of a tar archive of a root file system. Effects: files in a scratch folder. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RootFsImport } from '../interface.ts';
import { takeArchive } from './archives.ts';
import type { Platform } from './platform.ts';

/** Returns the reference of the layout. Throws ImagePullError for what cannot be decompressed. */
export async function writeRootFsLayout(
  source: string | Readable,
  request: {
    readonly scratch: string;
    readonly platform: Platform;
    readonly nowMs: number;
    readonly image: Pick<RootFsImport, 'config' | 'comment'>;
  },
  signal: AbortSignal,
): Promise<string> {
  const { scratch, platform, nowMs, image } = request;
  const path = await takeArchive(source, scratch, signal);
  const layout = join(scratch, 'layout');
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (text: string, mediaType: string) => {
    const digest = createHash('sha256').update(text).digest('hex');
    await writeFile(join(blobs, digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash, { signal });
  const digest = hash.digest('hex');
  const { size } = await stat(path);
  await rename(path, join(blobs, digest));
  const created = new Date(nowMs).toISOString();
  const { comment, config } = image;
  const configuration = {
    ...{ created, ...platform, comment, config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
    history: [{ created, comment }],
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: await put(JSON.stringify(configuration), 'application/vnd.oci.image.config.v1+json'),
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${digest}`, size }],
  };
  const manifests = [await put(JSON.stringify(manifest), manifest.mediaType)];
  await writeFile(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return `oci:${layout}`;
}
