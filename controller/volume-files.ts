/** Volumes of files: which Secrets, ConfigMaps and fields of the object they come from, and what is in them now. Pure. */
import type { Container, ContainerSpec } from '../crds/index.ts';
import type { VolumeFile } from '../runtime/index.ts';
import type { Source, SourceRef, Sources } from './sources.ts';

type SpecVolume = NonNullable<ContainerSpec['volumes']>[number];
type Owner = Pick<Container, 'spec' | 'metadata'>;

/** What of a volume comes from one object. */
type FilesPart = {
  readonly field: string;
  readonly defaultMode: number;
} & (
  | {
      readonly kind: 'object';
      readonly ref: SourceRef;
      /** undefined: every key. */
      readonly items: readonly Item[] | undefined;
      readonly isOptional: boolean;
    }
  /** The container's own object. */
  | { readonly kind: 'fields'; readonly items: readonly FieldItem[] }
);

interface Item {
  readonly key: string;
  readonly path: string;
  readonly mode?: number | undefined;
}

interface FieldItem {
  readonly fieldRef: { readonly fieldPath: string };
  readonly path: string;
  readonly mode?: number | undefined;
}

interface ObjectSource {
  readonly items?: readonly Item[] | undefined;
  readonly optional: boolean;
}

/** Whether the volume holds files that we write. */
export function hasFiles({ configMap, secret, projected, downwardAPI }: SpecVolume): boolean {
  return [configMap, secret, projected, downwardAPI].some((source) => source !== undefined);
}

function partsOf({ configMap, secret, projected, downwardAPI }: SpecVolume, at: string): readonly FilesPart[] {
  const objectPart = (
    field: string,
    ref: SourceRef,
    { items, optional }: ObjectSource,
    defaultMode: number,
  ): FilesPart => ({
    kind: 'object',
    field,
    ref,
    items: items?.length === 0 ? undefined : items,
    defaultMode,
    isOptional: optional,
  });
  const parts: FilesPart[] = [];
  if (configMap !== undefined) {
    const ref: SourceRef = { kind: 'ConfigMap', name: configMap.name };
    parts.push(objectPart(`${at}.configMap`, ref, configMap, configMap.defaultMode));
  }
  if (secret !== undefined) {
    const ref: SourceRef = { kind: 'Secret', name: secret.secretName };
    parts.push(objectPart(`${at}.secret`, ref, secret, secret.defaultMode));
  }
  if (downwardAPI !== undefined) {
    const { items, defaultMode } = downwardAPI;
    parts.push({ kind: 'fields', field: `${at}.downwardAPI`, items: items ?? [], defaultMode });
  }
  for (const [index, source] of (projected?.sources ?? []).entries()) {
    const field = `${at}.projected.sources[${index}]`;
    const defaultMode = projected?.defaultMode ?? 0;
    if (source.configMap !== undefined) {
      const ref: SourceRef = { kind: 'ConfigMap', name: source.configMap.name };
      parts.push(objectPart(`${field}.configMap`, ref, source.configMap, defaultMode));
    }
    if (source.secret !== undefined) {
      const ref: SourceRef = { kind: 'Secret', name: source.secret.name };
      parts.push(objectPart(`${field}.secret`, ref, source.secret, defaultMode));
    }
    if (source.downwardAPI !== undefined) {
      parts.push({ kind: 'fields', field: `${field}.downwardAPI`, items: source.downwardAPI.items ?? [], defaultMode });
    }
  }
  return parts;
}

/** What is wrong with the volume's files in themselves: field, value and fix. */
export function findFileProblems(volume: SpecVolume, at: string): string[] {
  const problems: string[] = [];
  for (const [index, source] of (volume.projected?.sources ?? []).entries()) {
    const count = Object.values(source).filter((member) => member !== undefined).length;
    if (count !== 1)
      problems.push(
        `${at}.projected.sources[${index}]: has ${count} sources; give exactly one of secret, configMap and downwardAPI`,
      );
  }
  const items = partsOf(volume, at).flatMap((part) =>
    (part.items ?? []).map(({ path }, index) => ({ path, field: `${part.field}.items[${index}]` })),
  );
  for (const [index, { path, field }] of items.entries()) {
    const parts = path.split('/');
    const isSound = parts.every((part) => part !== '' && part !== '.' && part !== '..') && !path.startsWith('..');
    if (!isSound) problems.push(`${field}.path: "${path}" must be a relative path that does not begin with ".."`);
    const clash = items
      .slice(0, index)
      .find((other) => other.path === path || other.path.startsWith(`${path}/`) || path.startsWith(`${other.path}/`));
    if (clash !== undefined)
      problems.push(`${field}.path: "${path}" clashes with that of ${clash.field}; choose another path`);
  }
  return problems;
}

/** The objects that files come from. */
export function volumeReferences({ volumes }: Pick<ContainerSpec, 'volumes'>): readonly SourceRef[] {
  return (volumes ?? []).flatMap((volume) =>
    partsOf(volume, '').flatMap((part) => (part.kind === 'object' ? [part.ref] : [])),
  );
}

export interface ResolvedFiles {
  /** By volume; undefined if no volume has files. */
  readonly files: Readonly<Record<string, readonly VolumeFile[]>> | undefined;
  /** What is referred to and not there, with the fix. */
  readonly missing: readonly string[];
  /** What is referred to and not heard of yet. */
  readonly unknown: readonly string[];
}

/** The files of all volumes, as their objects are now. What is missing or unknown is named, and left out. */
export function resolveFiles(owner: Owner, sources: Sources): ResolvedFiles {
  const missing: string[] = [];
  const unknown: string[] = [];
  const files: Record<string, readonly VolumeFile[]> = {};
  for (const [index, volume] of (owner.spec.volumes ?? []).entries()) {
    if (!hasFiles(volume)) continue;
    const byPath = new Map<string, VolumeFile>();
    for (const part of partsOf(volume, `spec.volumes[${index}]`)) {
      const found =
        part.kind === 'fields'
          ? part.items.map(({ path, mode, fieldRef }) =>
              fileOf(path, Buffer.from(fieldOf(fieldRef.fieldPath, owner)), mode ?? part.defaultMode),
            )
          : filesOf(part, owner, sources, {
              missing: (what) => missing.push(`volume "${volume.name}" cannot be mounted: ${what}`),
              unknown: (what) => unknown.push(what),
            });
      // Of two objects with one key the later counts, as in Kubernetes.
      for (const file of found) byPath.set(file.path, file);
    }
    files[volume.name] = [...byPath.values()];
  }
  return { files: Object.keys(files).length === 0 ? undefined : files, missing, unknown };
}

function fileOf(path: string, content: Buffer, mode: number): VolumeFile {
  return { path, dataBase64: content.toString('base64'), mode };
}

function filesOf(
  part: Extract<FilesPart, { kind: 'object' }>,
  { metadata: { namespace } }: Owner,
  sources: Sources,
  tell: { missing(what: string): void; unknown(what: string): void },
): readonly VolumeFile[] {
  const { ref, isOptional, field } = part;
  const kind = ref.kind.toLowerCase();
  const lookup = sources.get(ref.kind, namespace, ref.name);
  switch (lookup.kind) {
    case 'present':
      return pickFiles(part, lookup.source, (key) =>
        tell.missing(`${kind} ${namespace}/${ref.name} has no key "${key}"; add it there, or set ${field}.optional`),
      );
    case 'unknown':
      tell.unknown(`${kind} "${ref.name}"`);
      return [];
    case 'missing':
      if (!isOptional)
        tell.missing(
          `${kind} "${ref.name}" not found; create it in namespace "${namespace}", or set ${field}.optional`,
        );
      return [];
    default:
      throw new TypeError(`unknown lookup: ${JSON.stringify(lookup satisfies never)}`);
  }
}

function pickFiles(
  { items, defaultMode, isOptional }: Extract<FilesPart, { kind: 'object' }>,
  { data }: Source,
  tellMissing: (key: string) => void,
): readonly VolumeFile[] {
  const wanted: readonly Item[] = items ?? [...data.keys()].sort().map((key) => ({ key, path: key }));
  return wanted.flatMap(({ key, path, mode }): readonly VolumeFile[] => {
    const content = data.get(key);
    if (content !== undefined) return [fileOf(path, content, mode ?? defaultMode)];
    if (!isOptional) tellMissing(key);
    return [];
  });
}

/** A field of the object's metadata. The schema lets no other path through. Source: Kubernetes, "Downward API". */
function fieldOf(path: string, { metadata }: Owner): string {
  const subscript = /^metadata\.(labels|annotations)(?:\['(.+)'\])?$/s.exec(path);
  const map = (subscript?.[1] === 'labels' ? metadata.labels : metadata.annotations) ?? {};
  if (subscript?.[2] !== undefined) return map[subscript[2]] ?? '';
  if (subscript !== null) {
    const lines = Object.entries(map).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    return lines.sort().join('\n');
  }
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace;
    case 'metadata.uid':
      return metadata.uid;
    default:
      return '';
  }
}
