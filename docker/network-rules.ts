/** Networks: requests to make and to join them, what is shown of them, and which are meant. Pure. Texts are moby's. */
import { type Container, containerIDOf, defaultNetworkName } from '../crds/index.ts';
import { dockerConfigAnnotation, isKubernetesLabel, labelsOf } from './docker-config.ts';
import { badParameter, conflict, DockerError, notFound } from './docker-error.ts';
import { readFields } from './fields.ts';
import { type Filters, matches, matchesLabels, matchesPattern } from './filters.ts';
import { isDockerName, nameAnnotations, objectNameFor } from './names.ts';
import { type FoundNetwork, isPredefined } from './network-lookup.ts';
import type { NetworkFacts } from './network-settings.ts';
import { type Link, networkEntry, parseEndpoint, type SpecNetwork } from './network-spec.ts';
import type { Answer } from './ports-spec.ts';

export function forbidden(message: string): DockerError {
  return new DockerError(403, message);
}

export interface NetworkRequest {
  readonly name: string;
  /** A Network, to be made in docker's namespace. */
  readonly object: object;
}

const bridgeOnly = 'networks of Holdfast have no options';

/** POST /networks/create. Throws DockerError. `all`: the networks that are there. */
export function parseNetworkRequest(
  body: unknown,
  { all, hasIPv6 }: { readonly all: readonly FoundNetwork[]; readonly hasIPv6: boolean },
): NetworkRequest {
  const problems: string[] = [];
  const request = readFields(body, '', problems);
  const name = request.text('Name') ?? '';
  const driver = request.text('Driver') ?? 'bridge';
  request.flag('CheckDuplicate'); // names are unique in any case
  request.flag('Attachable'); // any container may join
  const internal = request.flag('Internal');
  const labels = request.textMap('Labels');
  request.refuse('Ingress', [], 'there is no swarm');
  request.refuse('ConfigOnly', [], 'there is no swarm');
  request.refuse('ConfigFrom', [], 'there is no swarm');
  request.refuse('Scope', ['local'], 'there is no swarm');
  if (request.flag('EnableIPv6') && !hasIPv6)
    request.problem('EnableIPv6', 'this host has no IPv6 for containers; leave it out');
  request.raw('EnableIPv4');
  request.refuse('Options', [], bridgeOnly);
  const ipam = request.object('IPAM');
  ipam.refuse('Driver', ['default'], 'addresses are given by Holdfast');
  ipam.refuse('Options', [], bridgeOnly);
  for (const config of ipam.objects('Config'))
    for (const field of ['Subnet', 'IPRange', 'Gateway', 'AuxiliaryAddresses', 'AuxAddress'])
      config.refuse(
        field,
        [],
        'all networks of a host are in its one subnet, and differ in who reaches whom; leave it out',
      );
  ipam.finish();
  request.finish();
  if (problems.length > 0) throw badParameter(problems.join('; '));
  if (!isDockerName(name))
    throw badParameter(`invalid name: ${name} is invalid, use [a-zA-Z0-9][a-zA-Z0-9_.-] of two letters or more`);
  if (isPredefined(name)) throw forbidden(`operation is not permitted on predefined ${name} network `);
  if (name === 'default') throw forbidden('the name "default" stands for the network "bridge"; choose another');
  if (driver === 'host' || driver === 'null') throw forbidden(`only one instance of "${driver}" network is allowed`);
  if (driver !== 'bridge') throw notFound(`plugin "${driver}" not found: the only driver is bridge`);
  if (all.some((one) => one.name === name)) throw conflict(`network with name ${name} already exists`);
  const isPlain = ([key, value]: [string, string]): boolean => isKubernetesLabel(key, value);
  const entries = Object.entries(labels);
  const others = Object.fromEntries(entries.filter((entry) => !isPlain(entry)));
  return {
    name,
    object: {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Network',
      metadata: {
        name: objectNameFor(name),
        labels: Object.fromEntries(entries.filter(isPlain)),
        annotations: {
          ...nameAnnotations(name),
          ...(Object.keys(others).length === 0 ? {} : { [dockerConfigAnnotation]: JSON.stringify({ Labels: others }) }),
        },
      },
      spec: internal ? { internal } : {},
    },
  };
}

/** Whether the container is on the network by its spec. */
export function isOn({ spec, metadata }: Container, { objectName, name, object }: FoundNetwork): boolean {
  if (name === 'host' && object === undefined) return spec.hostNetwork;
  if (name === 'none' && object === undefined) return spec.noNetwork === true;
  if (spec.hostNetwork || spec.noNetwork === true) return false;
  if (object !== undefined && object.metadata.namespace !== metadata.namespace) return false;
  return networksOf({ spec }).some((one) => one.name === objectName);
}

/** spec.networks, also of one that has none. */
export function networksOf({ spec }: Pick<Container, 'spec'>): readonly SpecNetwork[] {
  return spec.networks ?? [{ name: defaultNetworkName }];
}

function driverOf({ name, object }: FoundNetwork): string {
  return object !== undefined || name === 'bridge' ? 'bridge' : name === 'none' ? 'null' : name;
}

export function networkLabels({ object }: FoundNetwork): Readonly<Record<string, string>> {
  return object === undefined ? {} : labelsOf(object);
}

/** `containers`: members of Containers, by id; none in a list. */
export function formatNetwork(
  network: FoundNetwork,
  input: {
    readonly facts: NetworkFacts;
    readonly startedAt: string;
    readonly containers: Readonly<Record<string, Answer>>;
  },
): Answer {
  const { subnet, gateway, subnet6, gateway6 } = input.facts;
  const driver = driverOf(network);
  const ranges = [
    { Subnet: subnet, Gateway: gateway },
    { Subnet: subnet6, Gateway: gateway6 },
  ].filter((range) => range.Subnet !== undefined);
  return {
    Name: network.name,
    Id: network.id,
    Created: network.object?.metadata.creationTimestamp ?? input.startedAt,
    Scope: 'local',
    Driver: driver,
    EnableIPv6: driver === 'bridge' && subnet6 !== undefined,
    IPAM: { Driver: 'default', Options: null, Config: driver === 'bridge' ? ranges : [] },
    Internal: network.object?.spec.internal ?? false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: input.containers,
    Options: {},
    Labels: networkLabels(network),
  };
}

/** A member of Containers, from the container's endpoint. */
export function formatNetworkMember(name: string, endpoint: Answer): Answer {
  const withLength = (address: unknown, length: unknown): string => (address === '' ? '' : `${address}/${length}`);
  return {
    Name: name,
    EndpointID: endpoint.EndpointID,
    MacAddress: endpoint.MacAddress,
    IPv4Address: withLength(endpoint.IPAddress, endpoint.IPPrefixLen),
    IPv6Address: withLength(endpoint.GlobalIPv6Address, endpoint.GlobalIPv6PrefixLen),
  };
}

export const networkFilters = ['driver', 'type', 'name', 'id', 'label', 'scope', 'dangling'];

/** Throws DockerError. `isUsed`: a container is on it. */
export function chooseNetworks(
  all: readonly FoundNetwork[],
  filters: Filters,
  isUsed: (network: FoundNetwork) => boolean,
): readonly FoundNetwork[] {
  const types = filters.get('type') ?? [];
  const wrong = types.find((type) => type !== 'custom' && type !== 'builtin');
  if (wrong !== undefined) throw badParameter(`invalid filter: 'type'='${wrong}'`);
  return all.filter((network) => {
    const { id, name, object } = network;
    return (
      matches(filters, 'driver', (value) => value === driverOf(network)) &&
      matches(filters, 'type', (value) => (value === 'custom') === (object !== undefined)) &&
      matches(filters, 'name', (value) => matchesPattern(value, name)) &&
      matches(filters, 'id', (value) => id.startsWith(value)) &&
      matches(filters, 'scope', (value) => value === 'local') &&
      matches(filters, 'dangling', (value) => isTrue(value) === (object !== undefined && !isUsed(network))) &&
      matchesLabels(filters, networkLabels(network))
    );
  });
}

export function isTrue(text: string): boolean {
  return ['1', 'true', 't'].includes(text.toLowerCase());
}

export interface ConnectRequest {
  readonly container: string;
  readonly aliases: readonly string[];
  readonly links: readonly Link[];
}

/** Body of POST /networks/{id}/connect. Throws DockerError. */
export function parseConnect(body: unknown, network: FoundNetwork): ConnectRequest {
  const problems: string[] = [];
  const request = readFields(body, '', problems);
  const container = request.text('Container') ?? '';
  const endpoint = request.object('EndpointConfig');
  const { aliases, links } = parseEndpoint(endpoint);
  if (network.object === undefined && aliases.length > 0)
    endpoint.problem('Aliases', 'network-scoped alias is supported only for containers in user defined networks');
  request.finish();
  if (container === '') request.problem('Container', 'is empty; name the container');
  if (problems.length > 0) throw badParameter(problems.join('; '));
  return { container, aliases, links };
}

/** Body of POST /networks/{id}/disconnect. Throws DockerError. */
export function parseDisconnect(body: unknown): { readonly container: string; readonly isForced: boolean } {
  const problems: string[] = [];
  const request = readFields(body, '', problems);
  const container = request.text('Container') ?? '';
  const isForced = request.flag('Force');
  request.finish();
  if (container === '') request.problem('Container', 'is empty; name the container');
  if (problems.length > 0) throw badParameter(problems.join('; '));
  return { container, isForced };
}

/** spec.networks of a container that joins the network. Throws DockerError. */
export function joined(
  container: Container,
  network: FoundNetwork,
  { aliases, dockerName }: { readonly aliases: readonly string[]; readonly dockerName: string },
): readonly SpecNetwork[] {
  const { spec, metadata } = container;
  const isForeign = network.object !== undefined && network.object.metadata.namespace !== metadata.namespace;
  if (isForeign) throw forbidden(`network ${network.name} is of another namespace than the container`);
  if (spec.hostNetwork || network.name === 'host')
    throw forbidden('container cannot be disconnected from host network or connected to host network');
  if (spec.noNetwork === true || network.name === 'none')
    throw forbidden(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  if (isOn(container, network))
    throw forbidden(`endpoint with name ${dockerName} already exists in network ${network.name}`);
  const entry = networkEntry(network.objectName, aliases, { docker: dockerName, object: metadata.name });
  return [...networksOf(container), entry];
}

/** spec.networks of one that leaves it. Throws DockerError. */
export function left(container: Container, network: FoundNetwork): readonly SpecNetwork[] {
  if (container.spec.hostNetwork && network.name === 'host')
    throw forbidden('container cannot be disconnected from host network or connected to host network');
  if (!isOn(container, network) || network.name === 'none')
    throw forbidden(`container ${containerIDOf(container)} is not connected to network ${network.name}`);
  return networksOf(container).filter(({ name }) => name !== network.objectName);
}
