/**
 * What to make of an archive: which images it holds, and under which names they are to be known here. Pure; accepts
 * hostile input. Source: Docker image spec 1.2 (manifest.json), OCI image-spec image-layout.md (index.json), and the
 * annotation by which containerd and docker keep full names.
 */
import { ImagePullError } from '../interface.ts';
import { isObject } from '../json.ts';
import { parseReference } from './reference.ts';

export interface PlannedImport {
  /** transport:path[:selector], for parseReference. */
  readonly source: string;
  /** Canonical; empty: it gets no name. */
  readonly names: readonly string[];
}

export interface ImportInput {
  /** As it is in errors. */
  readonly title: string;
  /** Where the archive lies; without ":". */
  readonly path: string;
  /** Text of manifest.json; undefined: there is none. */
  readonly manifest: string | undefined;
  /** Text of index.json; undefined: there is none. */
  readonly index: string | undefined;
  /** Replaces the name of the only image. */
  readonly name: string | undefined;
}

const maxImages = 100;
const refName = 'org.opencontainers.image.ref.name';
const fullName = 'io.containerd.image.name';

/** Throws ImagePullError. An archive of both kinds (docker save since 25) is taken as Docker's. */
export function planImport(input: ImportInput): readonly PlannedImport[] {
  const { manifest, index, name, title } = input;
  const planned = manifest !== undefined ? planDocker(input, manifest) : planOci(input, index);
  if (planned.length === 0) throw corrupt(title, 'it holds no image');
  if (planned.length > maxImages) throw corrupt(title, `it holds ${planned.length} images, at most ${maxImages} go`);
  if (name === undefined) return planned;
  const [only, second] = planned;
  if (only === undefined || second !== undefined) {
    throw new ImagePullError(title, {
      kind: 'invalid-name',
      what: `it holds ${planned.length} images, and one name was given`,
      fix: 'import it without a name: the images keep those that they have in it',
    });
  }
  return [{ ...only, names: [canonicalName(title, name)] }];
}

function planDocker({ title, path }: ImportInput, text: string): readonly PlannedImport[] {
  return listOf(title, 'manifest.json', parse(title, 'manifest.json', text)).map((entry, position) => {
    const tags = entry.RepoTags;
    const names = Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === 'string') : [];
    return { source: `docker-archive:${path}:@${position}`, names: names.map((one) => canonicalName(title, one)) };
  });
}

function planOci({ title, path }: ImportInput, text: string | undefined): readonly PlannedImport[] {
  if (text === undefined) throw corrupt(title, 'it holds neither manifest.json nor index.json');
  const document = parse(title, 'index.json', text);
  const entries = listOf(title, 'index.json', isObject(document) ? document.manifests : undefined);
  return entries.map((entry) => {
    const annotations = isObject(entry.annotations) ? entry.annotations : {};
    const [selector, full] = [annotations[refName], annotations[fullName]];
    if (typeof selector !== 'string') {
      if (entries.length > 1) throw corrupt(title, `one of its ${entries.length} images has no name to choose it by`);
      return { source: `oci-archive:${path}`, names: [] };
    }
    // A selector alone may be a tag without a repository, which is no name.
    const chosen = typeof full === 'string' ? full : /[/:]/.test(selector) ? selector : undefined;
    const names = chosen === undefined ? [] : [canonicalName(title, chosen)];
    return { source: `oci-archive:${path}:${selector}`, names };
  });
}

function canonicalName(title: string, text: string): string {
  const reference = parseReference(text);
  if (reference.kind === 'registry' && reference.digest === undefined) return reference.canonical;
  throw new ImagePullError(title, {
    kind: 'invalid-name',
    what: `"${text.slice(0, 80)}" cannot be the name of an image here`,
    fix: 'give a name with a tag, like localhost/web:1',
  });
}

function parse(title: string, file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw corrupt(title, `its ${file} is no JSON`);
  }
}

function listOf(title: string, file: string, value: unknown): readonly Record<string, unknown>[] {
  if (Array.isArray(value) && value.every(isObject)) return value;
  throw corrupt(title, `its ${file} has no list of images`);
}

function corrupt(title: string, what: string): ImagePullError {
  const fix = 'give an archive as docker save, podman save or holdfast image export write it';
  return new ImagePullError(title, { kind: 'corrupt', what, fix });
}
