/**
 * Which volumes a container mounts where: those of its configuration, and one for each further path that its image
 * declares as a volume (OCI image-spec config.md, Volumes). Pure; configuration and image are hostile.
 */
import { posix } from 'node:path';
import {
  type ContainerConfig,
  ContainerConfigError,
  type ImageConfig,
  type Volume,
  type VolumeMount,
} from '../interface.ts';
import { shortHash } from '../layout.ts';

export interface PlannedMount {
  readonly mount: VolumeMount;
  readonly volume: Volume;
  /** The image asked for it. */
  readonly isOfImage: boolean;
}

const maxMounts = 256;
const maxPathBytes = 4_095;
const volumeName = /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/;

/** Image volumes' own names begin so; no path's hash is another's. */
export const imageVolumePrefix = 'image-';

export function imageVolumeName(path: string): string {
  return `${imageVolumePrefix}${shortHash(path)}`;
}

/** A path as it is written shortest; undefined if nothing can be mounted there. */
export function normalizeMountPath(path: string): string | undefined {
  if (!path.startsWith('/') || path.includes('\0') || Buffer.byteLength(path) > maxPathBytes) return undefined;
  const normal = posix.normalize(path).replace(/(?<=.)\/+$/, '');
  return normal === '/' || normal === '/proc' || normal.startsWith('/proc/') ? undefined : normal;
}

/** All mounts, in the order given, the image's last. Throws ContainerConfigError (volumes, mounts, imageID). */
export function planMounts(
  config: Pick<ContainerConfig, 'volumes' | 'mounts'>,
  image: Pick<ImageConfig, 'volumes'>,
): readonly PlannedMount[] {
  const volumes = new Map<string, Volume>();
  for (const volume of config.volumes ?? []) {
    if (!volumeName.test(volume.name)) {
      throw new ContainerConfigError(
        'volumes',
        `"${volume.name}" cannot be a volume's name; use letters, digits, . and -`,
      );
    }
    if (volumes.has(volume.name)) throw new ContainerConfigError('volumes', `the name "${volume.name}" is given twice`);
    volumes.set(volume.name, volume);
  }
  const byPath = new Map<string, PlannedMount>();
  for (const mount of config.mounts ?? []) {
    const volume = volumes.get(mount.volume);
    if (volume === undefined) throw new ContainerConfigError('mounts', `there is no volume "${mount.volume}"`);
    const path = normalizeMountPath(mount.path);
    if (path === undefined) {
      throw new ContainerConfigError(
        'mounts',
        `nothing can be mounted at "${mount.path}"; choose an absolute path other than / and /proc`,
      );
    }
    if (byPath.has(path))
      throw new ContainerConfigError('mounts', `two volumes are mounted at ${path}; choose another path for one`);
    if (mount.subPath !== undefined) checkSubPath(mount.subPath, volume);
    byPath.set(path, { mount: { ...mount, path }, volume, isOfImage: false });
  }
  for (const declared of image.volumes) {
    const path = normalizeMountPath(declared.startsWith('/') ? declared : `/${declared}`);
    if (path === undefined) {
      throw new ContainerConfigError(
        'imageID',
        `the image declares a volume at "${declared}", where nothing can be mounted; use another image`,
      );
    }
    if (byPath.has(path)) continue;
    const name = imageVolumeName(path);
    byPath.set(path, {
      mount: { volume: name, path, isReadOnly: false, copiesUp: true },
      volume: { name, source: { kind: 'own', mode: 0o755 } },
      isOfImage: true,
    });
  }
  if (byPath.size > maxMounts) {
    throw new ContainerConfigError(
      'mounts',
      `there are ${byPath.size} mounts with those that the image declares; the most is ${maxMounts}`,
    );
  }
  return [...byPath.values()];
}

function checkSubPath(subPath: string, volume: Volume): void {
  const isSound =
    subPath !== '' && !subPath.startsWith('/') && !subPath.includes('\0') && !subPath.split('/').includes('..');
  if (!isSound)
    throw new ContainerConfigError(
      'mounts',
      `"${subPath}" cannot be a path inside volume "${volume.name}"; give a relative one without ".."`,
    );
  if (volume.source.kind === 'tmpfs') {
    throw new ContainerConfigError(
      'mounts',
      `volume "${volume.name}" is empty at each start and has no paths inside; leave the sub path out`,
    );
  }
}

/** Names of the own volumes of containers so configured. */
export function ownVolumeNames(
  planned: readonly PlannedMount[],
  config: Pick<ContainerConfig, 'volumes'>,
): Set<string> {
  const all = [...(config.volumes ?? []), ...planned.map(({ volume }) => volume)];
  return new Set(all.filter(({ source }) => source.kind === 'own').map(({ name }) => name));
}
