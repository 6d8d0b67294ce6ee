/**
 * Parses image references as docker does, and those of archives. Pure; accepts hostile input.
 * Whatever it returns is safe to give to skopeo after "docker://" or "<transport>:", as one argument.
 * Source: distribution/reference grammar and ParseDockerRef; containers-transports(5).
 */
import { ImagePullError } from '../interface.ts';

/** An image in a registry. */
export interface RegistryReference {
  readonly kind: 'registry';
  /** Fully qualified: registry/repository:tag, or registry/repository@digest (a digest makes the tag meaningless). */
  readonly canonical: string;
  /** Host and port: docker.io, localhost:5000. */
  readonly registry: string;
  /** Without the registry: library/nginx. */
  readonly repository: string;
  /** sha256:…, when the reference is by digest. */
  readonly digest?: string;
}

/** An image in a file or folder of this host. */
export interface ArchiveReference {
  readonly kind: 'archive';
  /** transport:path[:selector] */
  readonly canonical: string;
  readonly transport: 'docker-archive' | 'oci-archive' | 'oci';
  /** Absolute. */
  readonly path: string;
  /** Which image of the archive: a name:tag or @index for docker-archive, a ref.name for OCI. */
  readonly selector?: string;
}

export type ImageReference = RegistryReference | ArchiveReference;

/** Archives, and images for other platforms, are kept under tags of this name, which are never shown. */
export const ownRepository = 'localhost/holdfast.archive';

const domain =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[A-Fa-f0-9:]+\])(?::[0-9]{1,5})?$/;
const component = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestLengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };
const maxNameLength = 255;
const maxReferenceLength = 4096;

/** Throws ImagePullError of kind 'invalid-name'; its message says what is wrong with the reference. */
export function parseReference(reference: string): ImageReference {
  if (reference.length > maxReferenceLength) throw invalid(`${reference.slice(0, 64)}…`, 'the reference is too long');
  const archive = /^(docker-archive|oci-archive|oci):(.*)$/s.exec(reference);
  if (archive?.[1] !== undefined && archive[2] !== undefined && !isTag(reference, archive[1], archive[2])) {
    // The pattern admits these three only.
    return parseArchive(reference, archive[1] as ArchiveReference['transport'], archive[2]);
  }
  const name = reference.startsWith('docker://') ? reference.slice('docker://'.length) : reference;
  return parseRegistryReference(reference, name);
}

/** "oci:1.2" is the image oci of Docker Hub at tag 1.2; paths start with "/". */
function isTag(reference: string, transport: string, rest: string): boolean {
  return transport === 'oci' && tagPattern.test(rest) && !reference.includes('/');
}

/** undefined for ids ("sha256:…", or 64 digits alone) look-alikes that are none. Returns the 64 digits. */
export function parseImageID(text: string): string | undefined {
  return /^(?:sha256:)?([0-9a-f]{64})$/.exec(text)?.[1];
}

function parseRegistryReference(reference: string, text: string): RegistryReference {
  if (/^[0-9a-f]{64}$/.test(text)) throw invalid(reference, 'it is an image id, not a name');
  const { name: tagged, digest } = splitDigest(reference, text);
  const { name, tag } = splitTag(reference, tagged);
  const { registry, repository } = splitRegistry(name);
  if (!domain.test(registry)) throw invalid(reference, `"${clip(registry)}" is not a registry's host[:port]`);
  for (const part of repository.split('/')) {
    if (!component.test(part)) throw invalid(reference, describeComponent(part));
  }
  const length = `${registry}/${repository}`.length;
  if (length > maxNameLength)
    throw invalid(reference, `its name has ${length} characters, at most ${maxNameLength} go`);
  const base = { kind: 'registry', registry, repository } as const;
  if (digest !== undefined) return { ...base, digest, canonical: `${registry}/${repository}@${digest}` };
  return { ...base, canonical: `${registry}/${repository}:${tag ?? 'latest'}` };
}

function splitDigest(reference: string, text: string): { name: string; digest?: string } {
  const at = text.indexOf('@');
  if (at === -1) return { name: text };
  const digest = text.slice(at + 1);
  const [algorithm = '', digits = ''] = digest.split(':', 2);
  const length = Object.hasOwn(digestLengths, algorithm) ? digestLengths[algorithm] : undefined;
  if (
    length === undefined ||
    digits.length !== length ||
    !/^[0-9a-f]+$/.test(digits) ||
    digest !== `${algorithm}:${digits}`
  ) {
    throw invalid(reference, `"${clip(digest)}" is not a digest such as sha256: and 64 lower-case hexadecimal digits`);
  }
  return { name: text.slice(0, at), digest };
}

function splitTag(reference: string, text: string): { name: string; tag?: string } {
  const colon = text.lastIndexOf(':');
  // A colon before the last slash belongs to a port.
  if (colon === -1 || text.includes('/', colon)) return { name: text };
  const tag = text.slice(colon + 1);
  if (!tagPattern.test(tag)) {
    throw invalid(reference, `"${clip(tag)}" is not a tag (up to 128 letters, digits, "_", "." and "-")`);
  }
  return { name: text.slice(0, colon), tag };
}

/** docker's splitDockerDomain: the first part is a host if it looks like one, else the image is Docker Hub's. */
function splitRegistry(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = slash !== -1 && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first);
  const registry = !isHost || first === 'index.docker.io' ? 'docker.io' : first;
  const rest = isHost ? name.slice(slash + 1) : name;
  return { registry, repository: registry === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest };
}

function describeComponent(part: string): string {
  if (part === '') return 'a part of its name is empty';
  if (component.test(part.toLowerCase())) return `"${clip(part)}" must be in lower case`;
  return `"${clip(part)}" is not a part of an image name (lower-case letters and digits, with ".", "_", "__" or "-" between them)`;
}

function parseArchive(reference: string, transport: ArchiveReference['transport'], rest: string): ArchiveReference {
  const colon = rest.indexOf(':');
  const path = colon === -1 ? rest : rest.slice(0, colon);
  const selector = colon === -1 ? undefined : rest.slice(colon + 1);
  if (!path.startsWith('/')) throw invalid(reference, `the path "${clip(path)}" must be absolute`);
  if (/\p{Cc}/u.test(path)) throw invalid(reference, 'the path holds a control character');
  if (path.split('/').includes('..')) throw invalid(reference, `the path "${clip(path)}" must not hold ".."`);
  if (selector === undefined) return { kind: 'archive', transport, path, canonical: `${transport}:${path}` };
  const checked =
    transport === 'docker-archive' ? dockerSelector(reference, selector) : ociSelector(reference, selector);
  return { kind: 'archive', transport, path, selector: checked, canonical: `${transport}:${path}:${checked}` };
}

function dockerSelector(reference: string, selector: string): string {
  if (/^@[0-9]{1,4}$/.test(selector)) return selector;
  const parsed = parseRegistryReference(reference, selector);
  if (parsed.digest !== undefined) throw invalid(reference, 'an image of a docker-archive is named name:tag or @index');
  return parsed.canonical;
}

function ociSelector(reference: string, selector: string): string {
  // No leading "@": newer skopeo reads that as an index, older as part of the name.
  if (/^[A-Za-z0-9](?:[A-Za-z0-9._:@/+-]{0,510})$/.test(selector)) return selector;
  throw invalid(reference, `"${clip(selector)}" is not the name of an image in an OCI layout`);
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function invalid(reference: string, what: string): ImagePullError {
  return new ImagePullError(reference, {
    kind: 'invalid-name',
    what,
    fix: 'write it like nginx, nginx:1.25, registry.example:5000/a/b@sha256:… or docker-archive:/file.tar',
  });
}
