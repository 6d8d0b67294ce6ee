/**
 * The credentials that spec.imagePullSecrets names. Pure. Which of them go with an image is the runtime's to find out.
 * Source: Kubernetes' "Pull an Image from a Private Registry"; the formats are those of Docker's config.json and .dockercfg.
 */
import type { Container } from '../crds/index.ts';
import type { RegistryCredential } from '../runtime/index.ts';
import type { Obstacle } from './decide.ts';
import { type Desired, hashOf } from './desired.ts';
import type { Source, Sources } from './sources.ts';

export interface PullSecrets {
  readonly credentials: readonly RegistryCredential[];
  /** Secrets that are of no use, and why. They are no reason not to try. */
  readonly problems: readonly string[];
}

type Subject = Pick<Container, 'metadata' | 'spec'>;

export function resolvePullSecrets({ metadata, spec }: Subject, sources: Sources): PullSecrets {
  const credentials: RegistryCredential[] = [];
  const problems: string[] = [];
  for (const { name } of spec.imagePullSecrets ?? []) {
    const lookup = sources.get('Secret', metadata.namespace, name);
    const parsed = lookup.kind === 'present' ? parsePullSecret(lookup.source) : 'not found';
    if (typeof parsed === 'string') problems.push(`secret "${name}" ${parsed}`);
    else credentials.push(...parsed);
  }
  return { credentials, problems };
}

/** The desired state with a digest of the credentials, so that a failed fetch is tried anew with others. */
export function noteCredentials(desired: Desired, object: Subject, sources: Sources): Desired {
  if ((object.spec.imagePullSecrets ?? []).length === 0 || findPullObstacle(object, sources) !== undefined)
    return desired;
  return { ...desired, credentialsHash: hashOf(resolvePullSecrets(object, sources)) };
}

/** Pulling without a Secret that was only not heard of yet would fail for nothing. */
export function findPullObstacle({ metadata, spec }: Subject, sources: Sources): Obstacle | undefined {
  const unknown = (spec.imagePullSecrets ?? []).filter(
    ({ name }) => sources.get('Secret', metadata.namespace, name).kind === 'unknown',
  );
  if (unknown.length === 0) return undefined;
  const names = unknown.map(({ name }) => `secret "${name}"`).join(', ');
  return {
    before: 'create',
    reason: 'ContainerCreating',
    message: `waits to hear of ${names} from the API server, to fetch the image with`,
  };
}

const formats: Readonly<Record<string, { readonly key: string; readonly member: string | undefined }>> = {
  'kubernetes.io/dockerconfigjson': { key: '.dockerconfigjson', member: 'auths' },
  'kubernetes.io/dockercfg': { key: '.dockercfg', member: undefined },
};

/** The credentials in a Secret, or what is wrong with it, in words that follow its name. No word of its content is in them. */
function parsePullSecret({ type, data }: Source): readonly RegistryCredential[] | string {
  const format = Object.hasOwn(formats, type ?? '') ? formats[type ?? ''] : undefined;
  if (format === undefined)
    return `is of type ${JSON.stringify(type ?? 'Opaque')}, not kubernetes.io/dockerconfigjson; make it with kubectl create secret docker-registry`;
  const text = data.get(format.key);
  const parsed = text === undefined ? undefined : parseJson(text.toString('utf8'));
  const auths = format.member === undefined ? parsed : asRecord(parsed)?.[format.member];
  const entries = asRecord(auths);
  if (entries === undefined) return `has no registries in its key ${format.key}; make it anew`;
  return Object.entries(entries).flatMap(([registry, entry]) => {
    const credential = parseEntry(entry);
    return credential === undefined ? [] : [{ registry, ...credential }];
  });
}

/** `auth` (base64 of user:password) is what clients write; username and password count where it is not there. */
function parseEntry(entry: unknown): { username: string; password: string } | undefined {
  const { auth, username, password } = asRecord(entry) ?? {};
  if (typeof auth === 'string' && auth !== '') {
    const text = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':');
    return colon === -1 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  return typeof username === 'string' && typeof password === 'string' ? { username, password } : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The caller says that it cannot be used; the parser's own words would quote it.
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>) // Just seen to be an object that is no list.
    : undefined;
}
