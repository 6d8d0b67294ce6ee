/** NetworkSettings of a container, for those who inspect or list it. Pure. */
import { type Container, defaultNetworkName } from '../crds/index.ts';
import { type Answer, formatExposedPorts, formatPortMap, type StatusPort } from './ports-spec.ts';

/** A network as docker names it. */
export interface NetworkName {
  readonly name: string;
  /** 64 hexadecimal digits. */
  readonly id: string;
}

/** What the runtime's network is like; undefined members: not known, or not there. */
export interface NetworkFacts {
  /** 10.76.0.0/16 */
  readonly subnet?: string | undefined;
  readonly subnet6?: string | undefined;
  readonly gateway?: string | undefined;
  readonly prefixLength?: number | undefined;
  readonly gateway6?: string | undefined;
  readonly prefixLength6?: number | undefined;
}

export interface NetworkSettingsInput {
  readonly container: Pick<Container, 'spec' | 'status'>;
  /** 64 hexadecimal digits. */
  readonly containerID: string;
  /** Of the container, while it runs. */
  readonly address?: {
    readonly ip?: string | undefined;
    readonly ip6?: string | undefined;
    readonly mac?: string | undefined;
  };
  readonly isRunning: boolean;
  /** What the image exposes: 80/tcp. */
  readonly imagePorts: readonly string[];
  readonly facts: NetworkFacts;
  /** Docker's name and id of a network of the spec, also of bridge ("default"), host and none. */
  readonly networkOf: (name: string) => NetworkName;
  /** An alias that only stands for docker's name of the container, and was not asked for. */
  readonly nameAlias?: string | undefined;
}

/** Names of its networks: as in the spec, or bridge, host or none. */
function networksOf({
  spec,
}: Pick<Container, 'spec'>): readonly { name: string; aliases?: readonly string[] | undefined }[] {
  if (spec.hostNetwork) return [{ name: 'host' }];
  if (spec.noNetwork === true) return [{ name: 'none' }];
  return spec.networks ?? [{ name: defaultNetworkName }];
}

interface Endpoint {
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly MacAddress: string;
}

const noEndpoint: Endpoint = {
  EndpointID: '',
  Gateway: '',
  IPAddress: '',
  IPPrefixLen: 0,
  IPv6Gateway: '',
  GlobalIPv6Address: '',
  GlobalIPv6PrefixLen: 0,
  MacAddress: '',
};

function endpointOf(
  { isRunning, address = {}, facts, containerID }: NetworkSettingsInput,
  networkID: string,
): Endpoint {
  if (!isRunning || address.ip === undefined) return noEndpoint;
  return {
    // Stable, and another for each pair of container and network.
    EndpointID: `${containerID.slice(0, 32)}${networkID.slice(0, 32)}`,
    Gateway: facts.gateway ?? '',
    IPAddress: address.ip,
    IPPrefixLen: facts.prefixLength ?? 0,
    IPv6Gateway: address.ip6 === undefined ? '' : (facts.gateway6 ?? ''),
    GlobalIPv6Address: address.ip6 ?? '',
    GlobalIPv6PrefixLen: address.ip6 === undefined ? 0 : (facts.prefixLength6 ?? 0),
    MacAddress: address.mac ?? '',
  };
}

/** The members of NetworkSettings.Networks. */
export function formatEndpoints(input: NetworkSettingsInput): Readonly<Record<string, Answer>> {
  const { containerID, nameAlias } = input;
  return Object.fromEntries(
    networksOf(input.container).map(({ name, aliases = [] }) => {
      const network = input.networkOf(name);
      const isOwn = !['host', 'none', defaultNetworkName].includes(name);
      const asked = aliases.filter((alias) => alias !== nameAlias);
      const endpoint: Answer = {
        IPAMConfig: null,
        Links: null,
        Aliases: isOwn ? [...asked, containerID.slice(0, 12)] : null,
        NetworkID: network.id,
        ...(isOwn || name === defaultNetworkName ? endpointOf(input, network.id) : noEndpoint),
        DriverOpts: null,
      };
      return [network.name, endpoint];
    }),
  );
}

export function formatNetworkSettings(input: NetworkSettingsInput): Answer {
  const { container, containerID, isRunning, imagePorts } = input;
  const ports: readonly StatusPort[] = container.status?.ports ?? [];
  const isOnBridge = networksOf(container).some(({ name }) => name === defaultNetworkName);
  const exposed = Object.keys(formatExposedPorts(container.spec.ports ?? [], imagePorts));
  const hasIPv6 = input.facts.gateway6 !== undefined;
  const hasPorts = isRunning && !container.spec.hostNetwork && container.spec.noNetwork !== true;
  return {
    Bridge: '',
    SandboxID: isRunning ? containerID : '',
    SandboxKey: '',
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    Ports: hasPorts ? formatPortMap({ published: ports, exposed, hasIPv6 }) : {},
    // Only the default network's stand here.
    ...(isOnBridge ? endpointOf(input, input.networkOf(defaultNetworkName).id) : noEndpoint),
    Networks: formatEndpoints(input),
  };
}
