/**
 * The networks of a container: which it is on, the names under which it is found there, and how it looks names up. Pure.
 * On a network of its own a container is found as NAME, by its aliases and by the first 12 digits of its id.
 */
import { type Container, type ContainerSpec, containerIDOf, defaultNetworkName } from '../crds/index.ts';
import type { DnsConfig, NetworkMembership } from '../runtime/index.ts';
import { distinct } from './distinct.ts';
import { dnsConfigOf } from './identity.ts';
import type { NetworkSearches } from './names.ts';
import { isInternalNetwork, type Sources } from './sources.ts';

type SpecNetworks = NonNullable<ContainerSpec['networks']>;

/** For the runtime: what a container without spec.networks is on. */
export const defaultNetworks: readonly NetworkMembership[] = [{ name: defaultNetworkName, isInternal: false }];

/** Names of the Network objects that a spec refers to, each of the container's own namespace. */
export function networkReferences({ networks = [] }: Pick<ContainerSpec, 'networks'>): readonly string[] {
  return networks.map(({ name }) => name).filter((name) => name !== defaultNetworkName);
}

/** Below the resolver's domain, by which a network's names are told from another's. A namespace and a network have no dot. */
export function networkDomain(namespace: string, network: string): string {
  return `${network}.${namespace}`;
}

/** What the resolver answers to with the container's addresses: names of its networks, or NAME.NAMESPACE. */
export function dnsNamesOf(object: Pick<Container, 'metadata' | 'spec'>): readonly string[] {
  const { metadata, spec } = object;
  const common = `${metadata.name}.${metadata.namespace}`;
  if (spec.networks === undefined) return [common];
  const id = containerIDOf(object).slice(0, 12);
  const names = spec.networks.flatMap(({ name: network, aliases = [] }) => {
    const domain = networkDomain(metadata.namespace, network);
    return network === defaultNetworkName ? [common] : [metadata.name, ...aliases, id].map((one) => `${one}.${domain}`);
  });
  return distinct(names);
}

/** How one on networks of its own looks names up: on these first, and on the default one only if it is on that. undefined: as by default. */
export function networkDnsOf(namespace: string, spec: ContainerSpec): DnsConfig | undefined {
  return spec.networks === undefined ? undefined : dnsConfigOf(namespace, spec, searchesOf(namespace, spec.networks));
}

function searchesOf(namespace: string, networks: SpecNetworks): NetworkSearches {
  return {
    domains: networkReferences({ networks }).map((name) => networkDomain(namespace, name)),
    isOnDefault: networks.some(({ name }) => name === defaultNetworkName),
  };
}

export interface ResolvedNetworks {
  /** undefined: the default one alone. */
  readonly networks: readonly NetworkMembership[] | undefined;
  /** What is not there, with the fix. */
  readonly missing: readonly string[];
  /** What was not heard of yet. */
  readonly unknown: readonly string[];
}

export function resolveNetworks(
  { metadata, spec }: Pick<Container, 'metadata' | 'spec'>,
  sources: Sources,
): ResolvedNetworks {
  if (spec.networks === undefined) return { networks: undefined, missing: [], unknown: [] };
  const { namespace } = metadata;
  const missing: string[] = [];
  const unknown: string[] = [];
  const networks = spec.networks.flatMap(({ name }): readonly NetworkMembership[] => {
    if (name === defaultNetworkName) return defaultNetworks;
    const lookup = sources.get('Network', namespace, name);
    if (lookup.kind === 'present')
      return [{ name: `${namespace}.${name}`, isInternal: isInternalNetwork(lookup.source) }];
    if (lookup.kind === 'unknown') unknown.push(`network "${name}"`);
    else
      missing.push(
        `network "${name}" not found; create it in namespace "${namespace}", or remove it from spec.networks`,
      );
    return [];
  });
  return { networks, missing, unknown };
}

/** What of the fields on the network cannot be. */
export function findNetworkProblems(
  spec: Pick<ContainerSpec, 'hostNetwork' | 'noNetwork' | 'networks' | 'ports'>,
): string[] {
  const { hostNetwork, noNetwork, networks, ports = [] } = spec;
  const problems: string[] = [];
  if (noNetwork === true && hostNetwork)
    problems.push('spec.noNetwork: with hostNetwork it has the network of the host; set the one or the other');
  if ((noNetwork === true || hostNetwork) && networks !== undefined)
    problems.push(
      `spec.networks: with ${hostNetwork ? 'hostNetwork' : 'noNetwork'} it can be on no other network; leave out the one or the other`,
    );
  if (noNetwork === true && ports.some(({ hostPort }) => hostPort !== undefined))
    problems.push('spec.ports: with noNetwork nothing can be published; leave out hostPort');
  if (networks?.some(({ name, aliases = [] }) => name === defaultNetworkName && aliases.length > 0) === true)
    problems.push('spec.networks: the default network has no aliases; leave them out, or name another network');
  return problems;
}
