/**
 * Small images for the suites, made in well under a second from Debian's busybox-static, without network.
 * Effects: writes below the folder it is given, nothing else.
 */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type ArchiveFormat, type ImageSettings, writeBusyboxRoot, writeImageArchive } from '../examples/index.ts';

export interface BusyboxImageOptions extends ImageSettings {
  /** Where the archive is written; must exist. */
  readonly dir: string;
  /** Default 'docker-archive'. */
  readonly format?: ArchiveFormat;
  /** Name inside the archive; default none. */
  readonly name?: string;
  /** File name of the archive in `dir`; default busybox.tar (busybox for 'oci'). */
  readonly file?: string;
  /** Folders that become further layers above busybox's, the lowest first. */
  readonly moreLayers?: readonly string[];
  /** Absolute path in the image → content. A string or buffer makes a file of mode 0755; { from } copies a file or folder of the host. */
  readonly files?: Readonly<Record<string, string | Buffer | { readonly from: string }>>;
}

export interface BuiltImage {
  /** Path of the archive. */
  readonly path: string;
  /** What images.ensure() takes: docker-archive:PATH, oci-archive:PATH or oci:PATH. */
  readonly reference: string;
  /** Image id, sha256:…. */
  readonly id: string;
}

/** Builds an image with all of busybox's commands in /bin, /etc/passwd with root, www-data (33) and nobody (65534), and /tmp. Its default command is sh. */
export async function buildBusyboxImage(options: BusyboxImageOptions): Promise<BuiltImage> {
  const format = options.format ?? 'docker-archive';
  const path = join(options.dir, options.file ?? (format === 'oci' ? 'busybox' : 'busybox.tar'));
  const rootDir = await mkdtemp(join(options.dir, '.root-'));
  try {
    await writeBusyboxRoot(rootDir);
    for (const [name, content] of Object.entries(options.files ?? {})) {
      const target = join(rootDir, name);
      await mkdir(dirname(target), { recursive: true });
      if (typeof content === 'string' || Buffer.isBuffer(content)) await writeFile(target, content, { mode: 0o755 });
      else await cp(content.from, target, { recursive: true });
    }
    const settings: ImageSettings =
      options.cmd === undefined && options.entrypoint === undefined ? { ...options, cmd: ['sh'] } : options;
    const name = options.name === undefined ? {} : { name: options.name };
    const id = await writeImageArchive({
      layerDirs: [rootDir, ...(options.moreLayers ?? [])],
      settings,
      format,
      path,
      ...name,
    });
    return { path, reference: `${format}:${path}`, id };
  } finally {
    await rm(rootDir, { recursive: true, force: true });
  }
}
