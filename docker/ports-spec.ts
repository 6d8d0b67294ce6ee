/** Ports of a request to create a container, as fields of its spec, and back for those who inspect it. Pure. */
import { isIP } from 'node:net';
import type { ContainerSpec } from '../crds/index.ts';
import type { Fields } from './fields.ts';

export type SpecPort = NonNullable<ContainerSpec['ports']>[number];

/** 80/tcp, as keys of ExposedPorts and PortBindings; the protocol may be left out. */
function parsePortKey(key: string): Pick<SpecPort, 'containerPort' | 'protocol'> | undefined {
  const match = /^([0-9]{1,5})(?:\/(tcp|udp))?$/i.exec(key);
  const containerPort = Number(match?.[1]);
  if (match === null || containerPort < 1 || containerPort > 65535) return undefined;
  return { containerPort, protocol: match[2]?.toLowerCase() === 'udp' ? 'UDP' : 'TCP' };
}

export function formatPortKey({
  containerPort,
  protocol,
}: Pick<SpecPort, 'containerPort'> & { protocol: string }): string {
  return `${containerPort}/${protocol.toLowerCase()}`;
}

function readPortKey(key: string, of: Fields, name: string): ReturnType<typeof parsePortKey> {
  const port = parsePortKey(key);
  if (port === undefined)
    of.problem(
      name,
      `"${key}" is no port of 1 to 65535 with protocol tcp or udp, such as 80/tcp; no others are published`,
    );
  return port;
}

/** '' and 0 are a free port, "8000-8010" the first free one of a range. */
function parseHostPort(text: string): Pick<SpecPort, 'hostPort' | 'hostPortEnd'> | undefined {
  if (text === '') return { hostPort: 0 };
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text);
  const [hostPort, end] = [Number(match?.[1]), match?.[2] === undefined ? undefined : Number(match[2])];
  if (match === null || hostPort > 65535 || (end !== undefined && (end > 65535 || end < hostPort || hostPort === 0)))
    return undefined;
  return { hostPort, ...(end === undefined || end === hostPort ? {} : { hostPortEnd: end }) };
}

function parseBinding(binding: Fields): Omit<SpecPort, 'containerPort' | 'protocol'> {
  const hostIP = binding.text('HostIp');
  const text = binding.text('HostPort') ?? '';
  binding.finish();
  if (hostIP !== undefined && isIP(hostIP) === 0) binding.problem('HostIp', `"${hostIP}" is not an IP address`);
  const port = parseHostPort(text);
  if (port === undefined) binding.problem('HostPort', `"${text}" is no port, and no range such as 8000-8010`);
  return { ...(port ?? { hostPort: 0 }), ...(hostIP === undefined ? {} : { hostIP }) };
}

/**
 * spec.ports: what is published, and what is exposed and not published. Ports of the image (80/tcp) stand there only when
 * all are published.
 */
export function parsePorts(config: Fields, host: Fields, imagePorts: readonly string[]): readonly SpecPort[] {
  const publishAll = host.flag('PublishAllPorts');
  const keys = host.keys('PortBindings');
  const bindings = keys.length === 0 ? undefined : host.object('PortBindings');
  const bound = keys.flatMap((key) => {
    const port = readPortKey(key, host, 'PortBindings');
    return port === undefined ? [] : [{ port, bindings: bindings?.objects(key) ?? [] }];
  });
  const published = bound.flatMap((one) => one.bindings.map((binding) => ({ ...one.port, ...parseBinding(binding) })));
  const exposed = config.keys('ExposedPorts').flatMap((key) => readPortKey(key, config, 'ExposedPorts') ?? []);
  const ofImage = publishAll ? imagePorts.flatMap((key) => parsePortKey(key) ?? []) : [];
  const all: SpecPort[] = [...published];
  for (const port of [...bound.map((one) => one.port), ...exposed, ...ofImage])
    if (!all.some((other) => formatPortKey(other) === formatPortKey(port)))
      all.push(publishAll ? { ...port, hostPort: 0 } : port);
  return all;
}

/** An object of an answer. */
export type Answer = Readonly<Record<string, unknown>>;

interface Binding {
  readonly HostIp: string;
  readonly HostPort: string;
}

/** HostConfig.PortBindings, as they were asked for. */
export function formatPortBindings(ports: readonly SpecPort[]): Readonly<Record<string, readonly Binding[]>> {
  const result: Record<string, Binding[]> = {};
  for (const port of ports) {
    if (port.hostPort === undefined) continue;
    const { hostPort, hostPortEnd, hostIP = '' } = port;
    const text = hostPortEnd === undefined ? String(hostPort) : `${hostPort}-${hostPortEnd}`;
    const key = formatPortKey(port);
    result[key] = [...(result[key] ?? []), { HostIp: hostIP, HostPort: hostPort === 0 ? '' : text }];
  }
  return result;
}

/** Config.ExposedPorts: those of the spec and of the image. */
export function formatExposedPorts(
  ports: readonly SpecPort[],
  imagePorts: readonly string[],
): Readonly<Record<string, Record<string, never>>> {
  const ofImage = imagePorts.flatMap((key) => parsePortKey(key) ?? []);
  return Object.fromEntries([...ports, ...ofImage].map((port) => [formatPortKey(port), {}]));
}

/** A published port as it is: one of status.ports. */
export interface StatusPort {
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIP?: string | undefined;
  readonly protocol: string;
}

/** The addresses that a port is published on; without one of its own, all of both families. */
function hostAddressesOf({ hostIP }: StatusPort, hasIPv6: boolean): readonly string[] {
  if (hostIP !== undefined) return [hostIP];
  return hasIPv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
}

/** NetworkSettings.Ports of a container that runs: each exposed port, with null where it is not published. */
export function formatPortMap(input: {
  readonly published: readonly StatusPort[];
  readonly exposed: readonly string[];
  readonly hasIPv6: boolean;
}): Readonly<Record<string, readonly Binding[] | null>> {
  const result: Record<string, Binding[] | null> = Object.fromEntries(input.exposed.map((key) => [key, null]));
  for (const port of input.published) {
    const key = formatPortKey(port);
    const bindings = hostAddressesOf(port, input.hasIPv6).map((HostIp) => ({
      HostIp,
      HostPort: String(port.hostPort),
    }));
    result[key] = [...(result[key] ?? []), ...bindings];
  }
  return result;
}

/** Ports in a list of containers. */
export function formatPortList(input: Parameters<typeof formatPortMap>[0]): readonly Answer[] {
  return Object.entries(formatPortMap(input)).flatMap(([key, bindings]): Answer[] => {
    const [port = '', Type = ''] = key.split('/', 2);
    const PrivatePort = Number(port);
    if (bindings === null) return [{ PrivatePort, Type }];
    return bindings.map(({ HostIp, HostPort }) => ({ IP: HostIp, PrivatePort, PublicPort: Number(HostPort), Type }));
  });
}
