/** The mounts list of the OCI configuration. Pure. Source: opencontainers/runtime-spec config.md, Mounts. */
import type { VolumeSource } from '../interface.ts';
import type { OciMount } from '../kernel-mounts.ts';

/** As /tmp has it. */
export const defaultTmpfsMode = 0o1777;

const depthOf = ({ destination }: OciMount): number => destination.split('/').length;

/** What is to be mounted first stands first: parents before what lies in them. One's own replaces a given one at the same path. */
export function mergeMounts(given: readonly OciMount[], own: readonly OciMount[]): readonly OciMount[] {
  const taken = new Set(own.map(({ destination }) => destination));
  const all = [...given.filter(({ destination }) => !taken.has(destination)), ...own];
  return all.sort((a, b) => depthOf(a) - depthOf(b));
}

/** A mount of a volume; `source` is its path on the host, of no meaning for a tmpfs. */
export function formatMount(input: {
  readonly source: string;
  readonly destination: string;
  readonly volume: VolumeSource;
  readonly isReadOnly: boolean;
  /** The source is a folder, below which more may be mounted. */
  readonly isFolder: boolean;
}): OciMount {
  const { source, destination, volume, isReadOnly, isFolder } = input;
  if (volume.kind === 'tmpfs') {
    const size = volume.sizeBytes === undefined ? [] : [`size=${volume.sizeBytes}`];
    const mode = `mode=${(volume.mode ?? defaultTmpfsMode).toString(8)}`;
    // As Docker's --tmpfs.
    const options = ['nosuid', 'nodev', 'noexec', ...(isReadOnly ? ['ro'] : []), mode, ...size];
    return { destination, type: 'tmpfs', source: 'tmpfs', options };
  }
  // A bind does not take over the options of our own mount when it is made read-only.
  const memory = volume.kind === 'memory' || volume.kind === 'files' ? ['nosuid', 'nodev'] : [];
  return {
    destination,
    type: 'bind',
    source,
    // crun 1.8 opens the target of rro as a folder.
    options: ['rbind', 'rprivate', ...memory, ...(isReadOnly ? ['ro', ...(isFolder ? ['rro'] : [])] : ['rw'])],
  };
}
