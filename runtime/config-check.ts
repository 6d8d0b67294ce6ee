/**
 * What of a container's configuration cannot be, found before anything is made: ids, names, ports and security. Pure.
 */
import { isIP } from 'node:net';
import { type ContainerConfig, ContainerConfigError, type MutableConfig } from './interface.ts';
import { isDnsName } from './resolver-files.ts';
import { findSecurityProblems } from './security-check.ts';

const idForm = /^[0-9a-f]{64}$/;

/** Whether it is a container id: 64 lower-case hexadecimal digits. */
export function isContainerID(id: string): boolean {
  return idForm.test(id);
}

/** Throws ContainerConfigError for the first thing that is wrong. */
export function checkConfig(config: ContainerConfig): void {
  if (!isContainerID(config.id)) {
    throw new ContainerConfigError(
      'id',
      `"${config.id}" is no container id; it needs 64 lower-case hexadecimal digits`,
    );
  }
  if (!/^[A-Za-z0-9]([-A-Za-z0-9.]{0,62})$/.test(config.hostname)) {
    throw new ContainerConfigError(
      'hostname',
      `"${config.hostname}" cannot be a host name; use up to 63 letters and digits`,
    );
  }
  checkDnsNames(config);
  checkNetworks(config);
  const [problem] = findSecurityProblems(config);
  if (problem !== undefined) throw problem;
  for (const port of config.ports) {
    const { containerPort, hostPort, hostPortEnd = hostPort, hostIP } = port;
    const isPort = (number: number): boolean => Number.isInteger(number) && number >= 0 && number <= 65_535;
    const isSound =
      containerPort >= 1 &&
      [containerPort, hostPort, hostPortEnd].every(isPort) &&
      hostPortEnd >= hostPort &&
      (hostPort > 0 || hostPortEnd === 0) &&
      (hostIP === undefined || isIP(hostIP) > 0);
    if (!isSound) throw new ContainerConfigError('ports', `${JSON.stringify(port)} is not a port mapping`);
  }
}

/** Throws ContainerConfigError for a network whose name cannot be. */
export function checkNetworks({ networks = [] }: Pick<MutableConfig, 'networks'>): void {
  const wrong = networks.find(({ name }) => !/^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/.test(name));
  if (wrong === undefined) return;
  throw new ContainerConfigError(
    'networks',
    `"${wrong.name}" cannot be a network's name; use letters, digits, _ . and -`,
  );
}

/** Throws ContainerConfigError for a name that the resolver could not answer to. */
export function checkDnsNames({ dnsNames = [] }: Pick<MutableConfig, 'dnsNames'>): void {
  const wrong = dnsNames.find((name) => !isDnsName(name));
  if (wrong === undefined) return;
  throw new ContainerConfigError(
    'dnsNames',
    `"${wrong}" cannot be a name for the resolver; use labels of up to 63 lower-case letters, digits and dashes`,
  );
}
