/** Volumes of a spec: what the runtime is to mount where, and the files that come from Secrets and ConfigMaps. Pure. */
import { posix } from 'node:path';
import type { Container, ContainerSpec } from '../crds/index.ts';
import type { Volume, VolumeFile, VolumeMount, VolumeSource } from '../runtime/index.ts';
import { parseBytes } from './quantity.ts';
import type { Source, SourceRef, Sources } from './sources.ts';

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

/** A volume's name on this host: those of two namespaces differ. A namespace has no dot in its name. */
export function volumeNameOf(namespace: string, name: string): string {
  return `${namespace}.${name}`;
}

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
  for (const part of partsOf(volume, field)) problems.push(...findPartProblems(part));
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

/** One object of which a volume of files has some. */
interface FilesPart {
  readonly field: string;
  readonly ref: SourceRef;
  readonly items:
    | readonly { readonly key: string; readonly path: string; readonly mode?: number | undefined }[]
    | undefined;
  readonly defaultMode: number;
  readonly isOptional: boolean;
}

function partsOf({ configMap, secret }: SpecVolume, field: string): readonly FilesPart[] {
  const shared = (one: NonNullable<typeof configMap | typeof secret>): Omit<FilesPart, 'field' | 'ref'> => ({
    items: one.items?.length === 0 ? undefined : one.items,
    defaultMode: one.defaultMode,
    isOptional: one.optional,
  });
  return [
    ...(configMap === undefined
      ? []
      : [
          {
            field: `${field}.configMap`,
            ref: { kind: 'ConfigMap', name: configMap.name } as const,
            ...shared(configMap),
          },
        ]),
    ...(secret === undefined
      ? []
      : [{ field: `${field}.secret`, ref: { kind: 'Secret', name: secret.secretName } as const, ...shared(secret) }]),
  ];
}

function findPartProblems({ field, items }: FilesPart): string[] {
  const problems: string[] = [];
  const paths = (items ?? []).map(({ path }) => path);
  for (const [index, path] of paths.entries()) {
    const parts = path.split('/');
    const isSound = parts.every((part) => part !== '' && part !== '.' && part !== '..') && !path.startsWith('..');
    if (!isSound)
      problems.push(`${field}.items[${index}].path: "${path}" must be a relative path that does not begin with ".."`);
    const clash = paths.findIndex(
      (other) => other === path || other.startsWith(`${path}/`) || path.startsWith(`${other}/`),
    );
    if (clash < index)
      problems.push(`${field}.items[${index}].path: "${path}" clashes with items[${clash}]; choose another path`);
  }
  return problems;
}

/** The objects that files come from. */
export function volumeReferences({ volumes }: Pick<ContainerSpec, 'volumes'>): readonly SourceRef[] {
  return (volumes ?? []).flatMap((volume) => partsOf(volume, '').map(({ ref }) => ref));
}

export interface ResolvedFiles {
  /** By volume; undefined if no volume has files. */
  readonly files: Readonly<Record<string, readonly VolumeFile[]>> | undefined;
  /** What is referred to and not there, with the fix. */
  readonly missing: readonly string[];
  /** What is referred to and not heard of yet. */
  readonly unknown: readonly string[];
}

/** The files of all volumes, as Secrets and ConfigMaps are now. What is missing or unknown is named, and left out. */
export function resolveFiles(
  { spec, metadata }: Pick<Container, 'spec' | 'metadata'>,
  sources: Sources,
): ResolvedFiles {
  const missing: string[] = [];
  const unknown: string[] = [];
  const files: Record<string, readonly VolumeFile[]> = {};
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    const parts = partsOf(volume, `spec.volumes[${index}]`);
    if (parts.length === 0) continue;
    files[volume.name] = parts.flatMap((part): readonly VolumeFile[] => {
      const { kind, name } = part.ref;
      const lookup = sources.get(kind, metadata.namespace, name);
      if (lookup.kind === 'present')
        return filesOf(part, lookup.source, { volume: volume.name, namespace: metadata.namespace, missing });
      if (lookup.kind === 'unknown') unknown.push(`${kind.toLowerCase()} "${name}"`);
      else if (!part.isOptional)
        missing.push(
          `volume "${volume.name}" cannot be mounted: ${kind.toLowerCase()} "${name}" not found; create it in namespace "${metadata.namespace}", or set ${part.field}.optional`,
        );
      return [];
    });
  }
  return { files: Object.keys(files).length === 0 ? undefined : files, missing, unknown };
}

function filesOf(
  { ref, items, defaultMode, isOptional, field }: FilesPart,
  { data }: Source,
  { volume, namespace, missing }: { volume: string; namespace: string; missing: string[] },
): readonly VolumeFile[] {
  const wanted = items ?? [...data.keys()].sort().map((key) => ({ key, path: key, mode: undefined }));
  return wanted.flatMap(({ key, path, mode }): readonly VolumeFile[] => {
    const content = data.get(key);
    if (content !== undefined) return [{ path, dataBase64: content.toString('base64'), mode: mode ?? defaultMode }];
    if (!isOptional)
      missing.push(
        `volume "${volume}" cannot be mounted: ${ref.kind.toLowerCase()} ${namespace}/${ref.name} has no key "${key}"; add it there, or set ${field}.optional`,
      );
    return [];
  });
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
