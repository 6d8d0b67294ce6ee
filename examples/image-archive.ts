/**
 * Writes folders as the layers of a container image: docker-archive, oci-archive or OCI layout folder.
 * The same input gives the same bytes (times, owners and order are fixed), so an image id names its content.
 * Effects only. Source: OCI image-spec 1.0 (image-layout, manifest, config); Docker image spec 1.2 (manifest.json).
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export type ArchiveFormat = 'docker-archive' | 'oci-archive' | 'oci';

/** What the image says about running it; the words are those of the OCI image configuration. */
export interface ImageSettings {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  /** NAME=value */
  readonly env?: readonly string[];
  readonly user?: string;
  readonly workingDir?: string;
  readonly stopSignal?: string;
  /** "80/tcp", … */
  readonly exposedPorts?: readonly string[];
  readonly volumes?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** amd64, arm64, …; default: this machine's. */
  readonly architecture?: string;
}

export interface ArchiveRequest {
  /** Folders whose content becomes the layers, the lowest first. */
  readonly layerDirs: readonly string[];
  readonly settings: ImageSettings;
  readonly format: ArchiveFormat;
  /** Written into the archive (docker-archive: RepoTags, OCI: the ref.name annotation); undefined: nameless. */
  readonly name?: string;
  /** File to write (a folder for 'oci'); replaced when it is there. Its parent folder must exist. */
  readonly path: string;
  readonly signal?: AbortSignal;
}

interface Blob {
  readonly digest: string;
  readonly sizeBytes: number;
}

/** Writes the archive and returns the image id (sha256:…). A failure leaves nothing behind at `path`. */
export async function writeImageArchive(request: ArchiveRequest): Promise<string> {
  const work = await mkdtemp(join(dirname(request.path), '.image-'));
  try {
    const layers: Layer[] = [];
    for (const dir of request.layerDirs) {
      const path = join(work, `${layers.length}.tar`);
      await tar(['-C', dir, '-cf', path, '.'], request.signal);
      layers.push({ path, digest: await sha256OfFile(path), sizeBytes: (await stat(path)).size });
    }
    const config = JSON.stringify(imageConfig(request.settings, layers));
    const id = sha256(config);
    const tree = join(work, 'tree');
    await mkdir(tree);
    if (request.format === 'docker-archive') await writeDockerTree(tree, { layers, config, id }, request.name);
    else await writeOciTree(tree, { layers, config, id }, request.name);
    const done = request.format === 'oci' ? tree : join(work, 'archive.tar');
    if (done !== tree) await tar(['-C', tree, '-cf', done, '.'], request.signal);
    await rm(request.path, { recursive: true, force: true });
    await rename(done, request.path);
    return id;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface Layer extends Blob {
  /** Where its tar file is now. */
  readonly path: string;
}

interface Parts {
  /** The lowest first. */
  readonly layers: readonly Layer[];
  readonly config: string;
  readonly id: string;
}

async function writeDockerTree(tree: string, parts: Parts, name: string | undefined): Promise<void> {
  const configFile = `${hex(parts.id)}.json`;
  const layerFiles = parts.layers.map((layer) => `${hex(layer.digest)}.tar`);
  for (const layer of parts.layers) await rename(layer.path, join(tree, `${hex(layer.digest)}.tar`));
  await writeFile(join(tree, configFile), parts.config);
  const manifest = [{ Config: configFile, RepoTags: name === undefined ? null : [name], Layers: layerFiles }];
  await writeFile(join(tree, 'manifest.json'), JSON.stringify(manifest));
}

async function writeOciTree(tree: string, parts: Parts, name: string | undefined): Promise<void> {
  const blobs = join(tree, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  for (const layer of parts.layers) await rename(layer.path, join(blobs, hex(layer.digest)));
  await writeFile(join(blobs, hex(parts.id)), parts.config);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('config.v1+json', { digest: parts.id, sizeBytes: Buffer.byteLength(parts.config) }),
    layers: parts.layers.map((layer) => descriptor('layer.v1.tar', layer)),
  });
  await writeFile(join(blobs, hex(sha256(manifest))), manifest);
  const entry = descriptor('manifest.v1+json', {
    digest: sha256(manifest),
    sizeBytes: Buffer.byteLength(manifest),
  });
  const annotations = name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } };
  await writeFile(
    join(tree, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...entry, ...annotations }] }),
  );
  await writeFile(join(tree, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

function descriptor(type: string, blob: Blob): { mediaType: string; digest: string; size: number } {
  return { mediaType: `application/vnd.oci.image.${type}`, digest: blob.digest, size: blob.sizeBytes };
}

function imageConfig(settings: ImageSettings, layers: readonly Blob[]): object {
  const asSet = (names: readonly string[] | undefined) =>
    names === undefined ? undefined : Object.fromEntries(names.map((name) => [name, {}]));
  return {
    architecture: settings.architecture ?? (process.arch === 'x64' ? 'amd64' : process.arch),
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config: {
      Entrypoint: settings.entrypoint,
      Cmd: settings.cmd,
      Env: settings.env,
      User: settings.user,
      WorkingDir: settings.workingDir,
      StopSignal: settings.stopSignal,
      ExposedPorts: asSet(settings.exposedPorts),
      Volumes: asSet(settings.volumes),
      Labels: settings.labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'holdfast examples' })),
  };
}

const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];

async function tar(args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const child = spawn('tar', [...reproducible, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 120_000,
    ...(signal === undefined ? {} : { signal }),
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (stderr.length < 4096) stderr += chunk.toString('utf8');
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) throw new Error(`tar ${args.join(' ')} ended with ${code ?? 'a signal'}: ${stderr.trim()}`);
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `sha256:${hash.digest('hex')}`;
}

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function hex(digest: string): string {
  return digest.slice('sha256:'.length);
}
