/** From a spec's security settings, namespaces and limits to the runtime's, with what cannot be. Pure; used by desired.ts. */
import type { ContainerSpec } from '../crds/index.ts';
import {
  type ContainerConfig,
  findSecurityProblems,
  type Limits,
  type NamespaceConfig,
  type SecurityConfig,
} from '../runtime/index.ts';
import { parseBytes, parseCpuMillis } from './quantity.ts';

/** The runtime's words for what the spec calls otherwise, by the member of ContainerConfig. */
export const securityFields: Readonly<Record<string, string>> = {
  'security.isPrivileged': 'securityContext.privileged',
  'security.addCapabilities': 'securityContext.capabilities.add',
  'security.dropCapabilities': 'securityContext.capabilities.drop',
  'security.seccomp': 'securityContext.seccompProfile.localhostProfile',
  'security.devices': 'securityContext.devices',
  'security.sysctls': 'securityContext.sysctls',
  'security.ulimits': 'securityContext.ulimits',
  'security.maskedPaths': 'securityContext.maskedPaths',
  'security.readonlyPaths': 'securityContext.readonlyPaths',
  'namespaces.pid': 'hostPID (with hostUsers: false)',
  'namespaces.ipc': 'hostIPC (with hostUsers: false)',
  'namespaces.network': 'hostNetwork (with hostUsers: false)',
  shmSizeBytes: 'shmSize',
  limits: 'resources.limits',
};

export type SecurityPart = Pick<ContainerConfig, 'security' | 'namespaces' | 'shmSizeBytes' | 'limits'>;

const minMemoryBytes = 4 * 2 ** 20;
const minCpuMillis = 10;

/** `problems`: each names the field, the value seen and the fix. */
export function parseSecurity(spec: ContainerSpec): {
  readonly config: SecurityPart;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const quantity = (
    value: number | string | undefined,
    field: string,
    parse: (value: number | string) => number | undefined,
    example: string,
  ): number | undefined => {
    if (value === undefined) return undefined;
    const parsed = parse(value);
    if (parsed === undefined) problems.push(`spec.${field}: ${JSON.stringify(value)} is not a quantity of ${example}`);
    return parsed;
  };
  const { limits, requests } = spec.resources;
  const least = (value: number | undefined, field: string, seen: unknown, least: number, text: string): void => {
    if (value !== undefined && value < least)
      problems.push(`spec.${field}: ${JSON.stringify(seen)} is less than the least, ${text}`);
  };
  const cpuMillis = quantity(limits.cpu, 'resources.limits.cpu', parseCpuMillis, 'cores; write it like 500m or 0.5');
  least(cpuMillis, 'resources.limits.cpu', limits.cpu, minCpuMillis, '10m');
  const bytes = 'bytes; write it like 64Mi or 1Gi';
  const memoryBytes = quantity(limits.memory, 'resources.limits.memory', parseBytes, bytes);
  least(memoryBytes, 'resources.limits.memory', limits.memory, minMemoryBytes, '4Mi');
  const cpuRequestMillis = quantity(
    requests?.cpu,
    'resources.requests.cpu',
    parseCpuMillis,
    'cores; write it like 500m or 0.5',
  );
  if (cpuRequestMillis !== undefined && cpuMillis !== undefined && cpuRequestMillis > cpuMillis) {
    problems.push(
      `spec.resources.requests.cpu: ${JSON.stringify(requests?.cpu)} is more than spec.resources.limits.cpu ${JSON.stringify(limits.cpu)}; lower the one or raise the other`,
    );
  }
  const swapBytes = quantity(limits.swap, 'resources.limits.swap', parseBytes, bytes);
  const shmSizeBytes = quantity(spec.shmSize, 'shmSize', parseBytes, bytes);
  const all: Limits = { cpuMillis, cpuRequestMillis, memoryBytes, swapBytes, pids: limits.pids };
  const { security, problems: contradictions } = parseSecurityContext(spec.securityContext);
  problems.push(...contradictions);
  const config: SecurityPart = { security, namespaces: parseNamespaces(spec), shmSizeBytes, limits: all };
  for (const { field, message } of findSecurityProblems(config)) {
    problems.push(`spec.${securityFields[field] ?? field}: ${message}`);
  }
  return { config, problems };
}

/** undefined if all is as by default: then the runtime has nothing to be told. */
function parseNamespaces(spec: ContainerSpec): NamespaceConfig | undefined {
  return definedOrNothing<NamespaceConfig>({
    pid: spec.hostPID ? 'host' : undefined,
    ipc: spec.hostIPC ? 'host' : undefined,
    network: spec.hostNetwork ? 'host' : spec.noNetwork === true ? 'none' : undefined,
    user: spec.hostUsers ? undefined : 'mapped',
  });
}

function parseSecurityContext(context: ContainerSpec['securityContext']): {
  readonly security: SecurityConfig | undefined;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const { privileged, capabilities, allowPrivilegeEscalation, seccompProfile, procMount, sysctls } = context;
  const isUnmasked = procMount === 'Unmasked';
  if (isUnmasked && (context.maskedPaths !== undefined || context.readonlyPaths !== undefined)) {
    problems.push(
      'spec.securityContext.procMount: Unmasked hides nothing, and maskedPaths or readonlyPaths say what to hide; take away the one or the other',
    );
  }
  const names = (sysctls ?? []).map(({ name }) => name);
  for (const name of new Set(names.filter((one, index) => names.indexOf(one) !== index))) {
    problems.push(`spec.securityContext.sysctls: ${name} is given twice; give it once`);
  }
  if (seccompProfile?.type === 'Localhost' && seccompProfile.localhostProfile === undefined) {
    problems.push('spec.securityContext.seccompProfile.localhostProfile: it is missing, and type Localhost needs it');
  }
  if (
    seccompProfile !== undefined &&
    seccompProfile.type !== 'Localhost' &&
    seccompProfile.localhostProfile !== undefined
  ) {
    problems.push(
      `spec.securityContext.seccompProfile.localhostProfile: it is only for type Localhost, and the type is ${seccompProfile.type}; take it away or change the type`,
    );
  }
  const security = definedOrNothing<SecurityConfig>({
    isPrivileged: privileged === true ? true : undefined,
    addCapabilities: notEmpty(capabilities?.add),
    dropCapabilities: notEmpty(capabilities?.drop),
    noNewPrivileges: allowPrivilegeEscalation === false ? true : undefined,
    seccomp: parseSeccomp(context),
    devices: notEmpty(
      context.devices?.map(({ hostPath, containerPath, permissions }) => ({
        hostPath,
        path: containerPath ?? hostPath,
        permissions,
      })),
    ),
    sysctls:
      names.length === 0 ? undefined : Object.fromEntries((sysctls ?? []).map(({ name, value }) => [name, value])),
    ulimits: notEmpty(context.ulimits?.map(({ name, soft, hard }) => ({ name, soft, hard: hard ?? soft }))),
    maskedPaths: isUnmasked ? [] : context.maskedPaths,
    readonlyPaths: isUnmasked ? [] : context.readonlyPaths,
  });
  return { security, problems };
}

function parseSeccomp({ seccompProfile, privileged }: ContainerSpec['securityContext']): SecurityConfig['seccomp'] {
  switch (seccompProfile?.type) {
    case 'Unconfined':
      return { kind: 'unconfined' };
    case 'Localhost':
      // Without a name the spec is refused as a whole.
      return { kind: 'file', path: seccompProfile.localhostProfile ?? 'missing' };
    default:
      // RuntimeDefault is what a container has if nothing is said, but for a privileged one.
      return privileged === true && seccompProfile !== undefined ? { kind: 'default' } : undefined;
  }
}

function notEmpty<T>(list: readonly T[] | undefined): readonly T[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list;
}

function definedOrNothing<T extends object>(value: T): T | undefined {
  return Object.values(value).every((member) => member === undefined) ? undefined : value;
}
