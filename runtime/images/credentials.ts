/**
 * Which credentials go with an image, and the file that gives them to skopeo. Pure.
 * Source of the rule: Kubernetes' "Interpretation of config.json" (hosts may hold "*", paths are prefixes, every one that
 * matches is tried); containers-auth.json(5) for the file: the longest key that is a prefix of the name counts.
 */
import type { RegistryCredential } from '../interface.ts';
import type { RegistryReference } from './reference.ts';

interface Place {
  /** Lower case, with its port; may hold "*". */
  readonly host: string;
  /** Without slashes at its ends; empty: all of the registry. */
  readonly path: string;
}

/** Names under which Docker Hub's credentials are kept. */
const dockerHub = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com']);

/** The place that a credential is for, from what stands in a config.json: a host, a host and path, or a URL. */
export function parsePlace(registry: string): Place {
  const bare = registry.trim().replace(/^[a-z]+:\/\//i, '');
  const slash = bare.indexOf('/');
  const host = (slash === -1 ? bare : bare.slice(0, slash)).toLowerCase();
  const path = slash === -1 ? '' : bare.slice(slash).replace(/^\/v[12](?=\/|$)/, '');
  return { host: dockerHub.has(host) ? 'docker.io' : host, path: path.replace(/^\/+|\/+$/g, '') };
}

/** Those that may open this image, in the order in which to try them: the longer path first, then as given. */
export function matchCredentials(
  { registry, repository }: Pick<RegistryReference, 'registry' | 'repository'>,
  credentials: readonly RegistryCredential[],
): readonly RegistryCredential[] {
  const matching = credentials
    .map((credential) => ({ credential, place: parsePlace(credential.registry) }))
    .filter(({ place }) => isHost(place.host, registry.toLowerCase()) && isWithin(place.path, repository));
  const seen = new Set<string>();
  return matching
    .sort((a, b) => b.place.path.length - a.place.path.length)
    .map(({ credential }) => credential)
    .filter(({ username, password }) => {
      const pair = JSON.stringify([username, password]);
      return !seen.has(pair) && seen.add(pair).size > 0;
    });
}

/** "*" stands for characters other than a dot: *.example.com has one label more than example.com. */
function isHost(pattern: string, host: string): boolean {
  if (!pattern.includes('*')) return pattern === host;
  const [name, port] = splitPort(pattern);
  const [hostName, hostPort] = splitPort(host);
  const [parts, hostParts] = [name.split('.'), hostName.split('.')];
  if (port !== hostPort || parts.length !== hostParts.length) return false;
  return parts.every((part, index) => isLabel(part, hostParts[index] ?? ''));
}

/** Walks the pieces between the stars; no regular expression is made of what others wrote. */
function isLabel(pattern: string, label: string): boolean {
  const pieces = pattern.split('*');
  const [first = '', ...rest] = pieces;
  if (rest.length === 0) return pattern === label;
  const last = rest.pop() ?? '';
  if (!label.startsWith(first) || !label.endsWith(last) || label.length < first.length + last.length) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = label.indexOf(piece, at);
    if (found === -1 || found + piece.length > label.length - last.length) return false;
    at = found + piece.length;
  }
  return true;
}

function splitPort(host: string): readonly [string, string] {
  const colon = host.lastIndexOf(':');
  return colon === -1 || host.endsWith(']') ? [host, ''] : [host.slice(0, colon), host.slice(colon + 1)];
}

function isWithin(path: string, repository: string): boolean {
  return path === '' || repository === path || repository.startsWith(`${path}/`);
}

/** Whether a config.json or auth.json knows credentials of its own for an image; helpers count as if they did. */
export function hasCredentialFor(
  file: unknown,
  { registry, repository }: Pick<RegistryReference, 'registry' | 'repository'>,
): boolean {
  const { auths, credHelpers, credsStore } = asObject(file);
  if (typeof credsStore === 'string' && credsStore !== '') return true;
  return [...Object.keys(asObject(auths)), ...Object.keys(asObject(credHelpers))]
    .map(parsePlace)
    .some(({ host, path }) => host === registry.toLowerCase() && isWithin(path, repository));
}

/**
 * The text of an auth.json by which this image is asked for with `credential`. All else that is known stays in it, because a
 * mirror may want it: what the host's file says, and the other credentials.
 */
export function formatAuthFile(request: {
  readonly reference: Pick<RegistryReference, 'registry' | 'repository'>;
  readonly credential: RegistryCredential;
  readonly others: readonly RegistryCredential[];
  readonly hostFile: unknown;
}): string {
  const { reference, credential, others, hostFile } = request;
  const base = asObject(hostFile);
  const auths: Record<string, unknown> = { ...asObject(base.auths) };
  for (const other of others) {
    const { host, path } = parsePlace(other.registry);
    if (!host.includes('*')) auths[path === '' ? host : `${host}/${path}`] = authOf(other);
  }
  auths[`${reference.registry}/${reference.repository}`] = authOf(credential);
  // A helper for the registry would come before what stands here.
  const credHelpers = Object.fromEntries(
    Object.entries(asObject(base.credHelpers)).filter(([name]) => parsePlace(name).host !== reference.registry),
  );
  return JSON.stringify({ auths, ...(Object.keys(credHelpers).length === 0 ? {} : { credHelpers }) });
}

function authOf({ username, password }: RegistryCredential): { auth: string } {
  return { auth: Buffer.from(`${username}:${password}`).toString('base64') };
}

function asObject(value: unknown): Record<string, unknown> {
  // An object that is no array has string keys and values that are unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
