/**
 * What a request to create a container says of its network, as fields of the spec. Pure. On a network of its own a
 * container is found by its name, by its aliases and, as docker's users expect, by the first 12 digits of its id.
 */
import { isIP } from 'node:net';
import { type ContainerSpec, defaultNetworkName } from '../crds/index.ts';
import type { Fields } from './fields.ts';
import { type Answer, parsePorts } from './ports-spec.ts';

export type SpecNetwork = NonNullable<ContainerSpec['networks']>[number];

export interface Link {
  readonly name: string;
  readonly alias: string;
}

export interface NetworkContext {
  /** Docker's name of the container, and the name of its object: where they differ, the former is an alias. */
  readonly names: { readonly docker: string; readonly object: string };
  /** What the image exposes: 80/tcp. */
  readonly imagePorts: readonly string[];
  /** The object's name of a user-defined network by its docker name, id or beginning of its id. Throws DockerError. */
  readonly findNetwork: (reference: string) => string;
  /** The bridge's own address: what host-gateway stands for. */
  readonly gateway: string | undefined;
}

/** Fields of the spec; those that stay as by default are absent. */
export type NetworkPart = Partial<
  Pick<ContainerSpec, 'hostNetwork' | 'noNetwork' | 'networks' | 'ports' | 'hostAliases' | 'dnsPolicy' | 'dnsConfig'>
>;

export interface NetworkRequest {
  readonly spec: NetworkPart;
  /** Links by docker names that endpoints bring, beside HostConfig.Links. */
  readonly links: readonly Link[];
  /** For the answer's Warnings. */
  readonly warnings: readonly string[];
}

const aliasForm = /^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*$/;
const maxAlias = 72;
const noStaticAddress = 'addresses are given by Holdfast; leave it out';
/** What is told of an endpoint, and means nothing in a request. */
const toldOnly = [
  ...['NetworkID', 'EndpointID', 'Gateway', 'IPAddress', 'IPPrefixLen', 'IPv6Gateway', 'GlobalIPv6Address'],
  ...['GlobalIPv6PrefixLen', 'DNSNames'],
];

function isAlias(text: string): boolean {
  return text.length <= maxAlias && aliasForm.test(text);
}

/** Whether a name or NetworkMode means the network of containers that have no other. */
export function isDefaultNetwork(name: string): boolean {
  return name === '' || name === 'default' || name === 'bridge';
}

/** Aliases and links of EndpointSettings. What cannot be honoured becomes a problem. */
export function parseEndpoint(endpoint: Fields): {
  readonly aliases: readonly string[];
  readonly links: readonly Link[];
} {
  const ipam = endpoint.object('IPAMConfig');
  for (const name of ['IPv4Address', 'IPv6Address', 'LinkLocalIPs']) ipam.refuse(name, [], noStaticAddress);
  endpoint.refuse('MacAddress', [], noStaticAddress);
  endpoint.refuse('DriverOpts', [], 'the driver has no options');
  endpoint.refuse('GwPriority', [], 'a container has one gateway on all its networks');
  const aliases = (endpoint.texts('Aliases') ?? []).map((alias) => alias.toLowerCase());
  for (const alias of aliases)
    if (!isAlias(alias))
      endpoint.problem('Aliases', `"${alias}" is not a name of a host; use letters, digits, dashes and dots`);
  const links = (endpoint.texts('Links') ?? []).map((link) => {
    const [name = '', alias = name] = link.split(':', 2);
    return { name, alias };
  });
  for (const name of toldOnly) endpoint.raw(name);
  endpoint.finish();
  return { aliases: [...new Set(aliases)], links };
}

/** The alias under which a container is found whose docker name is no object's name. */
export function nameAlias({ docker, object }: NetworkContext['names']): string | undefined {
  const alias = docker.toLowerCase();
  return alias !== object && isAlias(alias) ? alias : undefined;
}

/** Throws DockerError for a network that is not there; what else is wrong becomes a problem of the fields. */
export function parseNetworks(
  config: Fields,
  host: Fields,
  networking: Fields,
  context: NetworkContext,
): NetworkRequest {
  const mode = host.text('NetworkMode') ?? '';
  const ports = parsePorts(config, host, context.imagePorts);
  const hostAliases = parseExtraHosts(host, context.gateway);
  const rest = hostAliases.length === 0 ? {} : { hostAliases };
  if (mode.startsWith('container:')) {
    host.problem('NetworkMode', "a container cannot have another container's network; use a user-defined network");
    return { spec: {}, links: [], warnings: [] };
  }
  if (mode === 'host' || mode === 'none') {
    for (const name of networking.keys('EndpointsConfig'))
      if (name !== mode && name !== 'default')
        networking.problem(
          `EndpointsConfig.${name}`,
          `a container of network mode ${mode} cannot be part of another network`,
        );
    const isPublished = mode === 'host' && ports.some(({ hostPort }) => hostPort !== undefined);
    const own: NetworkPart = mode === 'host' ? { hostNetwork: true } : { noNetwork: true };
    return {
      spec: { ...own, ...rest, ...parseDns(host, 'default') },
      links: [],
      warnings: isPublished ? ['Published ports are discarded when using host network mode'] : [],
    };
  }
  const { networks, links } = joinNetworks(mode, networking, context);
  return {
    spec: {
      ...(networks === undefined ? {} : { networks }),
      ...(ports.length === 0 ? {} : { ports }),
      ...rest,
      ...parseDns(host, networks === undefined ? 'default' : 'named'),
    },
    links,
    warnings: [],
  };
}

/** As dockerd: the endpoints say which networks, and without any the mode does. */
function joinNetworks(
  mode: string,
  networking: Fields,
  { findNetwork, names }: NetworkContext,
): { readonly networks: readonly SpecNetwork[] | undefined; readonly links: readonly Link[] } {
  const given = networking.keys('EndpointsConfig');
  const endpoints = given.length === 0 ? undefined : networking.object('EndpointsConfig');
  const isSaidByEndpoints = given.length > 0 && isDefaultNetwork(mode);
  const aliasesOf = new Map<string, readonly string[]>();
  const links: Link[] = [];
  for (const name of new Set([...(isSaidByEndpoints ? [] : [mode]), ...given])) {
    const isDefault = isDefaultNetwork(name);
    const object = isDefault ? defaultNetworkName : findNetwork(name);
    const endpoint = given.includes(name) ? endpoints?.object(name) : undefined;
    const parsed = endpoint === undefined ? undefined : parseEndpoint(endpoint);
    if (isDefault && (parsed?.aliases.length ?? 0) > 0)
      endpoint?.problem('Aliases', 'network-scoped alias is supported only for containers in user defined networks');
    links.push(...(parsed?.links ?? []));
    aliasesOf.set(object, [...(aliasesOf.get(object) ?? []), ...(parsed?.aliases ?? [])]);
  }
  const isPlain = aliasesOf.size === 1 && aliasesOf.has(defaultNetworkName);
  if (isPlain) return { networks: undefined, links };
  return { networks: [...aliasesOf].map(([name, aliases]) => networkEntry(name, aliases, names)), links };
}

/** An entry of spec.networks. */
export function networkEntry(name: string, aliases: readonly string[], names: NetworkContext['names']): SpecNetwork {
  if (name === defaultNetworkName) return { name };
  const own = nameAlias(names);
  const all = [...new Set([...aliases, ...(own === undefined ? [] : [own])])];
  return { name, ...(all.length === 0 ? {} : { aliases: all }) };
}

/** HostConfig.ExtraHosts: NAME:ADDRESS, where host-gateway is the bridge's own address. */
function parseExtraHosts(host: Fields, gateway: string | undefined): NonNullable<ContainerSpec['hostAliases']> {
  return (host.texts('ExtraHosts') ?? []).flatMap((line) => {
    // Newer CLIs write NAME=ADDRESS as well.
    const match = /^([^:=\s]+)[:=](\S+)$/.exec(line);
    const [, name = '', given = ''] = match ?? [];
    const ip = given === 'host-gateway' ? (gateway ?? '') : given.replace(/^\[(.*)\]$/, '$1');
    if (!/^[A-Za-z0-9_]([-._A-Za-z0-9]*[A-Za-z0-9])?$/.test(name)) {
      host.problem('ExtraHosts', `bad format for add-host: "${line}"`);
      return [];
    }
    if (isIP(ip) === 0) {
      host.problem('ExtraHosts', `invalid IP address in add-host: "${given}"`);
      return [];
    }
    return [{ ip, hostnames: [name] }];
  });
}

/** What resolv.conf says beyond the default. */
function parseDns(host: Fields, network: 'default' | 'named'): NetworkPart {
  const [servers, searches, options] = ['Dns', 'DnsSearch', 'DnsOptions'].map((name) =>
    (host.texts(name) ?? []).filter((text) => text !== ''),
  );
  const nameservers = servers ?? [];
  for (const server of nameservers) if (isIP(server) === 0) host.problem('Dns', `${server} is not an ip address`);
  if (nameservers.length > 3)
    host.problem('Dns', `${nameservers.length} servers are more than a resolver asks; give 3 at the most`);
  if (network === 'named' && nameservers.length > 0)
    host.problem(
      'Dns',
      "on a user-defined network names are answered by Holdfast's resolver, which asks those of the host for all others",
    );
  const dnsConfig = {
    ...(nameservers.length === 0 ? {} : { nameservers }),
    ...(searches === undefined || searches.length === 0 ? {} : { searches }),
    ...(options === undefined || options.length === 0 ? {} : { options: options.map(parseOption) }),
  };
  return {
    // As Docker, which asks these and no others then.
    ...(nameservers.length === 0 ? {} : { dnsPolicy: 'None' }),
    ...(Object.keys(dnsConfig).length === 0 ? {} : { dnsConfig }),
  };
}

function parseOption(option: string): { readonly name: string; readonly value?: string } {
  const [name = '', value] = option.split(':', 2);
  return value === undefined ? { name } : { name, value };
}

/** HostConfig's members on the network, for those who inspect a container. `modeOf`: docker's name of a network. */
export function formatNetworkConfig(spec: ContainerSpec, modeOf: (network: string) => string): Answer {
  const { dnsConfig = {} } = spec;
  const [first] = spec.networks ?? [];
  const mode = spec.hostNetwork
    ? 'host'
    : spec.noNetwork === true || (spec.networks !== undefined && !first)
      ? 'none'
      : undefined;
  return {
    NetworkMode: mode ?? (first === undefined ? 'default' : modeOf(first.name)),
    Dns: dnsConfig.nameservers ?? [],
    DnsOptions: (dnsConfig.options ?? []).map(({ name, value }) => (value === undefined ? name : `${name}:${value}`)),
    DnsSearch: dnsConfig.searches ?? [],
    ExtraHosts:
      spec.hostAliases === undefined
        ? null
        : spec.hostAliases.flatMap(({ ip, hostnames }) => hostnames.map((name) => `${name}:${ip}`)),
  };
}
