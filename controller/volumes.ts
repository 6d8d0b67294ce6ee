/** Volumes of a spec: what the runtime is to mount where. Pure; volume-files.ts says what files they hold. */
import { posix } from 'node:path';
import { type Container, type ContainerSpec, volumeNameOf } from '../crds/index.ts';
import type { Volume, VolumeMount, VolumeSource } from '../runtime/index.ts';
import { parseBytes } from './quantity.ts';
import { findFileProblems } from './volume-files.ts';

type SpecVolume = NonNullable<ContainerSpec['volumes']>[number];
type SpecMount = NonNullable<ContainerSpec['volumeMounts']>[number];

export interface ParsedVolumes {
  /** undefined without any. */
  readonly volumes: readonly Volume[] | undefined;
  readonly mounts: readonly VolumeMount[] | undefined;
  /** Names of field, value and fix. */
  readonly problems: readonly string[];
}

const ensures = {
  '': 'any',
  Directory: 'directory',
  DirectoryOrCreate: 'directory-or-create',
  File: 'file',
  FileOrCreate: 'file-or-create',
  Socket: 'socket',
  CharDevice: 'char-device',
  BlockDevice: 'block-device',
} as const;

/** What it becomes when a value is wrong; it is never carried out. */
const standIn: VolumeSource = { kind: 'own', mode: 0o777 };

/** Parses spec.volumes and spec.volumeMounts. */
export function parseVolumes({ spec, metadata }: Pick<Container, 'spec' | 'metadata'>): ParsedVolumes {
  const problems: string[] = [];
  const volumes = (spec.volumes ?? []).map((volume, index): Volume => {
    const field = `spec.volumes[${index}]`;
    return { name: volume.name, source: parseSource(volume, { field, namespace: metadata.namespace, problems }) };
  });
  const mounts = (spec.volumeMounts ?? []).map((mount, index) => {
    const volume = (spec.volumes ?? []).find(({ name }) => name === mount.name);
    return parseMount(mount, { field: `spec.volumeMounts[${index}]`, volume, problems });
  });
  for (const [index, { path }] of mounts.entries()) {
    if (mounts.findIndex((other) => other.path === path) < index)
      problems.push(
        `spec.volumeMounts[${index}].mountPath: "${path}" has a volume already; mount each at a path of its own`,
      );
  }
  return {
    volumes: volumes.length === 0 ? undefined : volumes,
    mounts: mounts.length === 0 ? undefined : mounts,
    problems,
  };
}

function sourcesIn({ name: _name, ...sources }: SpecVolume): string[] {
  return Object.entries(sources).flatMap(([kind, value]) => (value === undefined ? [] : [kind]));
}

function parseSource(
  volume: SpecVolume,
  { field, namespace, problems }: { field: string; namespace: string; problems: string[] },
): VolumeSource {
  const kinds = sourcesIn(volume);
  if (kinds.length !== 1) {
    const seen = kinds.length === 0 ? 'has no source' : `has ${kinds.length} sources (${kinds.join(', ')})`;
    problems.push(`${field}: "${volume.name}" ${seen}; give exactly one, for instance emptyDir: {}`);
    return standIn;
  }
  const size = (quantity: number | string | undefined, name: string): number | undefined => {
    if (quantity === undefined) return undefined;
    const bytes = parseBytes(quantity);
    if (bytes === undefined || bytes === 0)
      problems.push(`${field}.${name}: ${JSON.stringify(quantity)} is not a quantity of bytes; write it like 64Mi`);
    return bytes;
  };
  const { emptyDir, hostPath, volume: named, tmpfs } = volume;
  if (emptyDir !== undefined) {
    const sizeBytes = size(emptyDir.sizeLimit, 'emptyDir.sizeLimit');
    if (emptyDir.medium === 'Memory') return { kind: 'memory', sizeBytes };
    if (sizeBytes !== undefined)
      problems.push(
        `${field}.emptyDir.sizeLimit: a folder on the disk cannot be limited; leave it out, or set medium: Memory`,
      );
    return { kind: 'own', mode: 0o777 };
  }
  if (hostPath !== undefined) {
    if (hasBackstep(hostPath.path))
      problems.push(`${field}.hostPath.path: "${hostPath.path}" has a ".." in it; write the path without`);
    return { kind: 'bind', path: hostPath.path, ensure: ensures[hostPath.type] };
  }
  if (named !== undefined) return { kind: 'named', name: volumeNameOf(namespace, named.name) };
  if (tmpfs !== undefined)
    return { kind: 'tmpfs', sizeBytes: size(tmpfs.sizeLimit, 'tmpfs.sizeLimit'), mode: tmpfs.mode };
  problems.push(...findFileProblems(volume, field));
  return { kind: 'files' };
}

function hasBackstep(path: string): boolean {
  return path.split('/').includes('..');
}

function parseMount(
  mount: SpecMount,
  { field, volume, problems }: { field: string; volume: SpecVolume | undefined; problems: string[] },
): VolumeMount {
  const path = posix.normalize(mount.mountPath).replace(/(?<=.)\/+$/, '');
  if (volume === undefined)
    problems.push(
      `${field}.name: there is no volume "${mount.name}" in spec.volumes; add it, or name one that is there`,
    );
  if (path === '/' || path === '/proc' || path.startsWith('/proc/') || path.includes('\0'))
    problems.push(`${field}.mountPath: nothing can be mounted at "${mount.mountPath}"; choose another path`);
  const subPath = mount.subPath === '' ? undefined : mount.subPath;
  if (subPath !== undefined && (subPath.startsWith('/') || hasBackstep(subPath) || subPath.includes('\0')))
    problems.push(`${field}.subPath: "${subPath}" must be a relative path without ".."`);
  if (subPath !== undefined && volume?.tmpfs !== undefined)
    problems.push(
      `${field}.subPath: volume "${mount.name}" is a tmpfs, empty at each start; leave subPath out, or use emptyDir`,
    );
  return {
    volume: mount.name,
    path,
    isReadOnly: mount.readOnly,
    subPath,
    // As Docker fills its volumes; an emptyDir is empty, as its name says.
    copiesUp: volume?.volume !== undefined,
  };
}

/** Names on this host of the volumes that go with the object; undefined without any. */
export function volumesToDelete({
  spec,
  metadata,
}: Pick<Container, 'spec' | 'metadata'>): readonly string[] | undefined {
  const names = (spec.volumes ?? []).flatMap(({ volume }) =>
    volume?.reclaimPolicy === 'Delete' ? [volumeNameOf(metadata.namespace, volume.name)] : [],
  );
  return names.length === 0 ? undefined : names;
}
