/**
 * Names of images as Docker shows and takes them. Pure. Source: distribution/reference, Familiar… and ParseAnyReference; Go's
 * path.Match for the filter `reference`.
 */
import { createHash } from 'node:crypto';
import {
  type ImageDescription,
  type ImageInfo,
  ImagePullError,
  parseReference,
  type RegistryReference,
} from '../runtime/index.ts';
import { badParameter } from './docker-error.ts';

/** docker.io/library/nginx:1 → nginx:1. */
export function formatFamiliar(canonical: string): string {
  return canonical.replace(/^docker\.io\/(?:library\/(?=[^/]*$))?/, '');
}

/** The repository alone: nginx, localhost:5000/team/web. */
export function familiarRepository({ registry, repository }: RegistryReference): string {
  return formatFamiliar(`${registry}/${repository}`);
}

/** Without a tag and without a digest. */
export function isNameOnly(text: string): boolean {
  return !text.includes('@') && !/:[^/]*$/.test(text);
}

/** The tag of a canonical name; undefined: it is by digest. */
export function tagOf({ canonical, digest }: RegistryReference): string | undefined {
  return digest === undefined ? canonical.slice(canonical.lastIndexOf(':') + 1) : undefined;
}

/** Throws DockerError in Docker's words. */
export function parseImageName(text: string): RegistryReference {
  try {
    const reference = parseReference(text);
    if (reference.kind === 'registry' && !text.startsWith('docker://')) return reference;
  } catch (error) {
    if (!(error instanceof ImagePullError)) throw error;
    if (/must be in lower case/.test(error.problem) && /[A-Z]/.test(text))
      throw badParameter('invalid reference format: repository name must be lowercase');
  }
  throw badParameter('invalid reference format');
}

/** `repo` and `tag` as two parameters give them. Throws DockerError. */
export function joinImageName(repo: string, tag: string): RegistryReference {
  if (tag === '' || tag === undefined) return parseImageName(repo);
  if (!isNameOnly(repo)) return parseImageName(repo.replace(/(@.*|:[^/]*)$/, '') + separatorOf(tag) + tag);
  return parseImageName(`${repo}${separatorOf(tag)}${tag}`);
}

function separatorOf(tag: string): string {
  return tag.includes(':') ? '@' : ':';
}

/** The names that registries could know; archives and the runtime's own marks are none. */
export function registryNames({ names }: Pick<ImageInfo, 'names'>): readonly RegistryReference[] {
  return names.flatMap((name) => {
    try {
      const reference = parseReference(name);
      return reference.kind === 'registry' && reference.canonical === name ? [reference] : [];
    } catch {
      return []; // the mark of an archive, or of an image for another platform
    }
  });
}

export interface Names {
  readonly tags: readonly RegistryReference[];
  /** repository@sha256:… for each repository that it has a name in. */
  readonly digests: readonly RegistryReference[];
}

/** As Docker with containerd's store: an image has its digests in each repository in which it has a name. */
export function namesOf(image: Pick<ImageDescription, 'names' | 'manifestDigests'>): Names {
  const all = registryNames(image);
  const tags = all.filter(({ digest }) => digest === undefined);
  const digests = new Map(all.filter(({ digest }) => digest !== undefined).map((one) => [one.canonical, one]));
  for (const { registry, repository } of tags)
    for (const digest of image.manifestDigests) {
      const canonical = `${registry}/${repository}@${digest}`;
      digests.set(canonical, { kind: 'registry', registry, repository, digest, canonical });
    }
  return { tags: tags.toSorted(byName), digests: [...digests.values()].toSorted(byName) };
}

function byName(a: RegistryReference, b: RegistryReference): number {
  return a.canonical < b.canonical ? -1 : 1;
}

/** 12 digits, as Docker shows an id. */
export function shortID(id: string): string {
  return id.replace('sha256:', '').slice(0, 12);
}

/** Ids of the layers with all that is below each, the lowest first. Source: OCI image-spec config.md, "Layer ChainID". */
export function chainIDs(layers: ImageDescription['layers']): readonly string[] {
  const chain: string[] = [];
  for (const { diffID } of layers) {
    const below = chain.at(-1);
    chain.push(
      below === undefined ? diffID : `sha256:${createHash('sha256').update(`${below} ${diffID}`).digest('hex')}`,
    );
  }
  return chain;
}

/** Whether a reference is meant by a pattern: with its tag or digest, or the repository alone. */
export function matchesReference(pattern: string, reference: RegistryReference): boolean {
  return [formatFamiliar(reference.canonical), familiarRepository(reference)].some((text) =>
    matchesPath(pattern, text),
  );
}

/** Go's path.Match, with "*" and "?" that do not go over a slash; walks instead of making a regular expression of what others wrote. */
export function matchesPath(pattern: string, text: string): boolean {
  const pieces = pattern.match(/\[\^?(?:\\.|[^\]\\])*\]|\\.|[\s\S]/g) ?? [];
  // Which beginnings of the text the pieces so far have taken, as positions after them.
  let at = new Set([0]);
  for (const piece of pieces) {
    const next = new Set<number>();
    for (const position of at) {
      if (piece === '*') {
        for (let end = position; end <= text.length; end += 1) {
          next.add(end);
          if (text[end] === '/') break;
        }
      } else if (position < text.length && takes(piece, text[position] ?? '')) next.add(position + 1);
    }
    at = next;
    if (at.size === 0) return false;
  }
  return at.has(text.length);
}

function takes(piece: string, character: string): boolean {
  if (piece === '?') return character !== '/';
  if (piece.startsWith('\\')) return piece[1] === character;
  if (!piece.startsWith('[') || piece.length === 1) return piece === character;
  const isNot = piece[1] === '^';
  const members = piece.slice(isNot ? 2 : 1, -1).replaceAll('\\', '');
  let isIn = false;
  for (let index = 0; index < members.length; index += 1) {
    const first = members[index] ?? '';
    const isRange = members[index + 1] === '-' && index + 2 < members.length;
    const last = isRange ? (members[index + 2] ?? '') : first;
    if (isRange) index += 2;
    if (first <= character && character <= last) isIn = true;
  }
  return isIn !== isNot && character !== '/';
}
