/**
 * Networks by the names and ids that docker's users know them by, read anew for each request that needs them. Effects:
 * reads of the store and of the host.
 */
import { hash } from 'node:crypto';
import { callApi } from '../client/index.ts';
import { apiVersion, type Container, defaultNetworkName, type Network, networkPlural } from '../crds/index.ts';
import { badParameter, DockerError, notFound } from './docker-error.ts';
import type { Gateway } from './gateway-parts.ts';
import { dockerNameOf } from './names.ts';
import type { NetworkFacts, NetworkName } from './network-settings.ts';

export interface FoundNetwork extends NetworkName {
  /** As specs of its namespace name it. */
  readonly objectName: string;
  /** undefined: one of those that are always there. */
  readonly object?: Network | undefined;
}

export interface NetworkLookup {
  /** All of docker's namespace, the ones that are always there first; then those of others. */
  readonly all: readonly FoundNetwork[];
  /** By name, id, or the beginning of an id. Throws DockerError (404, or 400: several begin so). */
  find(reference: string): FoundNetwork;
  /**
   * As find, of those that containers of docker's namespace may be on. One that is not there is a 400: a client that
   * creates a container takes a 404 for an image that is to be pulled.
   */
  findOwn(reference: string): FoundNetwork;
  /** By the name in a spec of the namespace, or host or none. */
  nameOf(namespace: string, name: string): NetworkName;
  readonly facts: NetworkFacts;
  dockerName(object: Container): string;
}

/** The networks that are always there, as specs and as docker name them. */
const predefined = [
  [defaultNetworkName, 'bridge'],
  ['host', 'host'],
  ['none', 'none'],
] as const;

export function isPredefined(name: string): boolean {
  return predefined.some(([, dockerName]) => dockerName === name);
}

export function networkIDOf({ metadata }: Pick<Network, 'metadata'>): string {
  return hash('sha256', `holdfast network ${metadata.uid}`, 'hex');
}

/** Of all namespaces. */
export const networksPath = `/apis/${apiVersion}/${networkPlural}`;

/** A Network as a schema-checked API server sends it; undefined for anything else. */
export function parseNetwork(raw: unknown): Network | undefined {
  if (typeof raw !== 'object' || raw === null) return undefined;
  // Each member that counts is looked at below; the rest is the CRD schema's promise.
  const { metadata, spec } = raw as Partial<Network>;
  if (typeof metadata?.name !== 'string' || typeof metadata.namespace !== 'string') return undefined;
  if (typeof metadata.uid !== 'string' || typeof spec !== 'object' || spec === null) return undefined;
  return { apiVersion, kind: 'Network', metadata, spec };
}

/** `objects: 'none'`: nothing but the predefined ones is asked for, so that the store need not be. */
export async function createNetworkLookup(
  gateway: Pick<Gateway, 'access' | 'namespace' | 'nodeName' | 'runtime'>,
  { objects, signal }: { readonly objects: 'all' | 'none'; readonly signal?: AbortSignal },
): Promise<NetworkLookup> {
  const { access, namespace, nodeName, runtime } = gateway;
  const listed = objects === 'none' ? [] : await listNetworks(access, signal);
  const standing: FoundNetwork[] = predefined.map(([objectName, name]) => ({
    objectName,
    name,
    id: hash('sha256', `holdfast network ${nodeName} ${objectName}`, 'hex'),
  }));
  const found = listed.map(
    (object): FoundNetwork => ({
      objectName: object.metadata.name,
      name: dockerNameOf(object, namespace),
      id: networkIDOf(object),
      object,
    }),
  );
  const own = found.filter(({ object }) => object?.metadata.namespace === namespace);
  const all = [...standing, ...own, ...found.filter((one) => !own.includes(one))];
  const { ipv4, ipv6 } = runtime.info().network ?? {};
  return {
    all,
    facts: {
      subnet: ipv4?.cidr,
      gateway: ipv4?.gateway,
      prefixLength: ipv4?.prefixLength,
      subnet6: ipv6?.cidr,
      gateway6: ipv6?.gateway,
      prefixLength6: ipv6?.prefixLength,
    },
    find: (reference) => findAmong(all, reference),
    findOwn: (reference) => {
      try {
        return findAmong([...standing, ...own], reference);
      } catch (error) {
        throw error instanceof DockerError ? badParameter(error.message) : error;
      }
    },
    nameOf: (inNamespace, name) =>
      standing.find(({ objectName }) => objectName === name) ??
      found.find(({ objectName, object }) => objectName === name && object?.metadata.namespace === inNamespace) ?? {
        // It was deleted, or is to come: its id cannot be known.
        name: inNamespace === namespace ? name : `${name}.${inNamespace}`,
        id: '',
      },
    dockerName: (object) => dockerNameOf(object, namespace),
  };
}

const listDeadlineMs = 30_000;

async function listNetworks(access: Gateway['access'], given: AbortSignal | undefined): Promise<readonly Network[]> {
  const deadline = AbortSignal.timeout(listDeadlineMs);
  const signal = given === undefined ? deadline : AbortSignal.any([given, deadline]);
  const answer = await callApi(access, { method: 'GET', path: networksPath, signal });
  const items: unknown = typeof answer === 'object' && answer !== null && 'items' in answer ? answer.items : [];
  return Array.isArray(items) ? items.flatMap((item: unknown) => parseNetwork(item) ?? []) : [];
}

/** In Docker's order. Source: moby daemon/network.go, FindNetwork. */
function findAmong(all: readonly FoundNetwork[], reference: string): FoundNetwork {
  const exact = all.find(({ id }) => id === reference) ?? all.find(({ name }) => name === reference);
  if (exact !== undefined) return exact;
  const begun = /^[0-9a-f]{1,64}$/.test(reference) ? all.filter(({ id }) => id.startsWith(reference)) : [];
  const [first, second] = begun;
  if (second !== undefined)
    throw badParameter(`network ${reference} is ambiguous (${begun.length} matches found on ID prefix)`);
  if (first === undefined) throw notFound(`network ${reference} not found`);
  return first;
}

/** Whether any is on networks of its own, which have names in the store. */
export function needsNetworks(containers: readonly Container[]): 'all' | 'none' {
  return containers.some(({ spec }) => spec.networks !== undefined) ? 'all' : 'none';
}
