/** From a spec's ports to the runtime's, with what cannot be. Pure; used by desired.ts. */
import { isIP } from 'node:net';
import type { ContainerSpec } from '../crds/index.ts';
import type { PortMapping } from '../runtime/index.ts';

type PortSpec = NonNullable<ContainerSpec['ports']>[number];

/** The ports that are to be published, in the spec's order; with the host's network all, as they are. */
export function parsePorts({ ports = [], hostNetwork }: Pick<ContainerSpec, 'ports' | 'hostNetwork'>): {
  readonly ports: readonly PortMapping[];
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const published: { readonly index: number; readonly mapping: PortMapping }[] = [];
  for (const [index, port] of ports.entries()) {
    const field = `spec.ports[${index}]`;
    problems.push(...findProblems(port, field, hostNetwork));
    const hostPort = hostNetwork ? port.containerPort : port.hostPort;
    if (hostPort === undefined) continue;
    const mapping: PortMapping = {
      containerPort: port.containerPort,
      hostPort,
      ...(port.hostPortEnd === undefined || hostNetwork ? {} : { hostPortEnd: port.hostPortEnd }),
      hostIP: port.hostIP,
      protocol: port.protocol === 'UDP' ? 'udp' : 'tcp',
    };
    if (published.some((other) => isTwin(other.mapping, mapping))) {
      problems.push(
        `${field}.hostPort: ${hostPort}/${mapping.protocol} is published twice; choose another, or 0 for a free one`,
      );
    }
    published.push({ index, mapping });
  }
  return { ports: published.map(({ mapping }) => mapping), problems };
}

function findProblems(port: PortSpec, field: string, hasHostNetwork: boolean): string[] {
  const { containerPort, hostPort, hostPortEnd, hostIP } = port;
  const problems: string[] = [];
  if (hostIP !== undefined && isIP(hostIP) === 0) {
    problems.push(`${field}.hostIP: "${hostIP}" is not an IP address; write one like 127.0.0.1 or fd00::1`);
  }
  if (hostPortEnd !== undefined && (hostPort === undefined || hostPort === 0 || hostPortEnd < hostPort)) {
    problems.push(
      `${field}.hostPortEnd: ${hostPortEnd} is the end of a range that begins with hostPort ${hostPort ?? '(unset)'}; give hostPort, 1 or more and not above it`,
    );
  }
  if (hasHostNetwork && (hostPortEnd !== undefined || (hostPort !== undefined && hostPort !== containerPort))) {
    problems.push(
      `${field}.hostPort: with hostNetwork the process binds to the host's port ${containerPort} itself; leave out hostPort, or make it the same`,
    );
  }
  return problems;
}

function isTwin(a: PortMapping, b: PortMapping): boolean {
  const isFixed = ({ hostPort, hostPortEnd }: PortMapping): boolean => hostPort !== 0 && hostPortEnd === undefined;
  return (
    isFixed(a) &&
    isFixed(b) &&
    a.protocol === b.protocol &&
    a.hostPort === b.hostPort &&
    (a.hostIP === undefined || b.hostIP === undefined || a.hostIP === b.hostIP)
  );
}
