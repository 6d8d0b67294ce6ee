/** Who a container's process is, and under which names it finds itself and others. Pure. */
import { isIP } from 'node:net';
import type { ContainerSpec } from '../crds/index.ts';
import type { ContainerConfig, DnsConfig, HostEntry } from '../runtime/index.ts';
import { dnsOf, type NetworkSearches } from './names.ts';

type Identity = Pick<ContainerConfig, 'user' | 'group' | 'groups' | 'refusesRoot'>;

/** Where in the spec the runtime's words come from. */
export const identityFields: Readonly<Record<string, string>> = {
  group: 'securityContext.runAsGroup',
  groups: 'securityContext.supplementalGroups',
  refusesRoot: 'securityContext.runAsNonRoot',
  hasInit: 'init',
};

/** spec.user, or securityContext's numbers. Source: Kubernetes' SecurityContext; what the image has counts for the rest. */
export function identityOf({ user, securityContext }: Pick<ContainerSpec, 'user' | 'securityContext'>): Identity {
  const { runAsUser, runAsGroup, runAsNonRoot, supplementalGroups = [] } = securityContext;
  return {
    user: user ?? runAsUser?.toString(),
    group: runAsGroup?.toString(),
    groups: supplementalGroups.length === 0 ? undefined : supplementalGroups.map(String),
    refusesRoot: runAsNonRoot === true ? true : undefined,
  };
}

/** What spec.hostAliases puts into /etc/hosts. */
export function hostAliasesOf({ hostAliases = [] }: Pick<ContainerSpec, 'hostAliases'>): readonly HostEntry[] {
  return hostAliases.map(({ ip, hostnames }) => ({ ip, names: hostnames }));
}

/**
 * How names are looked up. Source: Kubernetes' "Pod's DNS Policy" and "Pod's DNS Config": the policy gives what dnsConfig
 * is added to. The names of containers stand where a cluster's services do.
 */
export function dnsConfigOf(
  namespace: string,
  { dnsPolicy, dnsConfig }: Pick<ContainerSpec, 'dnsPolicy' | 'dnsConfig'>,
  networks?: NetworkSearches,
): DnsConfig {
  const { nameservers = [], searches = [], options = [] } = dnsConfig ?? {};
  const own: DnsConfig = {
    servers: nameservers,
    searches,
    options: options.map(({ name, value }) => (value === undefined ? name : `${name}:${value}`)),
  };
  switch (dnsPolicy) {
    case 'None':
      return { ...own, base: 'none' };
    case 'Default':
      return { ...own, base: 'host' };
    case 'ClusterFirst':
    case 'ClusterFirstWithHostNet': {
      const names = dnsOf(namespace, networks);
      return {
        servers: own.servers,
        searches: [...names.searches, ...own.searches],
        options: [...names.options, ...own.options],
      };
    }
    default:
      throw new TypeError(`unknown dnsPolicy: ${JSON.stringify(dnsPolicy satisfies never)}`);
  }
}

/** What of all this cannot be. */
export function findIdentityProblems(
  spec: Pick<ContainerSpec, 'user' | 'securityContext' | 'hostAliases' | 'dnsPolicy' | 'dnsConfig'>,
): string[] {
  const { user, securityContext, hostAliases = [], dnsPolicy, dnsConfig } = spec;
  const { runAsUser, runAsNonRoot } = securityContext;
  const problems: string[] = [];
  if (user !== undefined && runAsUser !== undefined)
    problems.push(`spec.securityContext.runAsUser: ${runAsUser} is given beside spec.user "${user}"; give one of them`);
  if (runAsNonRoot === true && (runAsUser === 0 || /^0+(:|$)/.test(user ?? '')))
    problems.push(
      `spec.securityContext.runAsNonRoot: the spec asks for user 0 and forbids it; choose another user, or allow root`,
    );
  const checkAddress = (field: string, address: string): void => {
    if (isIP(address) === 0)
      problems.push(`${field}: "${address}" is not an IP address; write it like 192.0.2.1 or fd00::1`);
  };
  for (const [index, { ip }] of hostAliases.entries()) checkAddress(`spec.hostAliases[${index}].ip`, ip);
  const nameservers = dnsConfig?.nameservers ?? [];
  for (const [index, address] of nameservers.entries()) checkAddress(`spec.dnsConfig.nameservers[${index}]`, address);
  if (dnsPolicy === 'None' && nameservers.length === 0)
    problems.push('spec.dnsConfig.nameservers: is empty, and spec.dnsPolicy "None" brings none; give at least one');
  return problems;
}
