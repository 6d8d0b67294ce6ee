/** Mounts of a container, for those who inspect or list it. Pure. */
import type { ContainerSpec } from '../crds/index.ts';
import type { SpecMount, SpecVolume } from './mounts-spec.ts';
import type { Answer } from './ports-spec.ts';

export interface MountsViewInput {
  readonly spec: Pick<ContainerSpec, 'volumes' | 'volumeMounts'>;
  /** Paths that the image declares as volumes. */
  readonly imageVolumes: readonly string[];
  /** The folder of a named volume on this host; undefined: it is not made yet. */
  readonly pathOf: (volume: string) => string | undefined;
  /** A folder of the container's own: of a volume of the spec, or for a path of its image. undefined: not made yet. */
  readonly ownVolume: (
    of: { readonly volume: string } | { readonly imagePath: string },
  ) => { readonly name: string; readonly path: string } | undefined;
}

/** Members of Mounts, in the order of the paths. */
export function formatMounts({ spec, imageVolumes, pathOf, ownVolume }: MountsViewInput): readonly Answer[] {
  const { volumes = [], volumeMounts = [] } = spec;
  const own = (
    found: { name: string; path: string } | undefined,
    mount: Pick<SpecMount, 'mountPath' | 'readOnly'>,
  ): Answer => volumeMount({ name: found?.name ?? '', path: found?.path ?? '' }, mount);
  const given = volumeMounts.map((mount): Answer => {
    const volume = volumes.find(({ name }) => name === mount.name);
    if (volume?.volume !== undefined)
      return volumeMount({ name: volume.volume.name, path: pathOf(volume.volume.name) ?? '' }, mount);
    if (volume?.emptyDir !== undefined && volume.emptyDir.medium !== 'Memory')
      return own(ownVolume({ volume: volume.name }), mount);
    return plainMount(volume, mount);
  });
  const declared = imageVolumes
    .filter((path) => !volumeMounts.some(({ mountPath }) => mountPath === path))
    .map((imagePath) => own(ownVolume({ imagePath }), { mountPath: imagePath, readOnly: false }));
  return [...given, ...declared].sort((a, b) => (String(a.Destination) < String(b.Destination) ? -1 : 1));
}

function volumeMount(
  volume: { readonly name: string; readonly path: string },
  { mountPath, readOnly }: Pick<SpecMount, 'mountPath' | 'readOnly'>,
): Answer {
  return {
    Type: 'volume',
    Name: volume.name,
    Source: volume.path,
    Destination: mountPath,
    Driver: 'local',
    Mode: readOnly ? 'ro' : 'z',
    RW: !readOnly,
    Propagation: '',
  };
}

/** A path of the host, or memory: a tmpfs, and what else is kept there (Secrets and the like). */
function plainMount(volume: SpecVolume | undefined, { mountPath, readOnly }: SpecMount): Answer {
  const { hostPath } = volume ?? {};
  const isMemory = hostPath === undefined;
  const isReadOnly = readOnly || (isMemory && volume?.tmpfs === undefined && volume?.emptyDir === undefined);
  return {
    Type: isMemory ? 'tmpfs' : 'bind',
    Source: hostPath?.path ?? '',
    Destination: mountPath,
    Mode: readOnly ? 'ro' : '',
    RW: !isReadOnly,
    Propagation: isMemory ? '' : 'rprivate',
  };
}
