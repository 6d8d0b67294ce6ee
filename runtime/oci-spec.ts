/**
 * The OCI runtime configuration (config.json) of a container, with Docker's default security. Pure.
 * Source: opencontainers/runtime-spec config.md and config-linux.md.
 */
import { decideCapabilities } from './capabilities.ts';
import { formatDeviceRules, type OciDevice } from './devices.ts';
import type { IdMap } from './id-map.ts';
import type { Limits, NamespaceConfig, SecurityConfig } from './interface.ts';
import { decideHiddenPaths, formatKernelMounts, type OciMount } from './kernel-mounts.ts';
import { formatRlimits, formatSysctls } from './kernel-settings.ts';
import { formatResources } from './limits.ts';
import type { Seccomp } from './seccomp.ts';
import type { ProcessUser } from './user.ts';
import { mergeMounts } from './volumes/index.ts';

export type SeccompChoice =
  /** Compiled already; crun loads it as it is. */
  | { readonly kind: 'compiled'; readonly bpfBase64: string }
  | { readonly kind: 'profile'; readonly profile: Seccomp }
  /** No filter: for privileged containers, and where it is asked for. */
  | { readonly kind: 'none' };

/** What one process of a container is: its first one, or one that is run in it later. */
export interface ProcessInput {
  readonly args: readonly string[];
  /** NAME=value */
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: ProcessUser;
  readonly hasTerminal: boolean;
  readonly security: SecurityConfig;
  /** Capabilities that the host has to give. */
  readonly availableCapabilities: readonly string[];
}

export interface OciSpecInput extends ProcessInput {
  readonly hostname: string;
  readonly rootfs: string;
  readonly readonlyRootfs: boolean;
  /** undefined: the network of the host, or none. */
  readonly netnsPath: string | undefined;
  readonly namespaces: NamespaceConfig;
  /** Where namespaces.user is mapped: the namespace and its ids. */
  readonly userNamespace?: { readonly path: string; readonly idMap: IdMap } | undefined;
  readonly cgroupsPath: string;
  readonly cgroupKind: 'v1' | 'v2';
  readonly limits: Limits;
  readonly canLimitSwap: boolean;
  readonly shmSizeBytes: number;
  readonly devices: readonly OciDevice[];
  /** Those of the host that are there. */
  readonly thermalPaths: readonly string[];
  /** Files of the host under the container's /etc. */
  readonly etc: { readonly hosts: string; readonly hostname: string; readonly resolvConf: string };
  /** Of volumes. */
  readonly mounts: readonly OciMount[];
  readonly seccomp: SeccompChoice;
}

/**
 * `process` of config.json, and the whole of a process.json for an exec: with the same input but for what was asked
 * for, a process run later is confined as the first one is. (The OCI runtime adds the container's seccomp filter.)
 * Throws ContainerConfigError for a capability or limit that cannot be.
 */
export function formatProcess(input: ProcessInput): object {
  const { user, security } = input;
  return {
    terminal: input.hasTerminal,
    user: {
      uid: user.uid,
      gid: user.gid,
      umask: 0o022,
      ...(user.additionalGids.length === 0 ? {} : { additionalGids: user.additionalGids }),
    },
    args: input.args,
    env: input.env,
    cwd: input.workingDir,
    capabilities: decideCapabilities({ security, uid: user.uid, available: input.availableCapabilities }),
    rlimits: formatRlimits(security.ulimits ?? []),
    noNewPrivileges: security.noNewPrivileges === true,
    oomScoreAdj: 0,
  };
}

function formatNamespaces({ namespaces, netnsPath, userNamespace }: OciSpecInput): object[] {
  return [
    { type: 'mount' },
    ...(namespaces.pid === 'host' ? [] : [{ type: 'pid' }]),
    { type: 'uts' },
    ...(namespaces.ipc === 'host' ? [] : [{ type: 'ipc' }]),
    { type: 'cgroup' },
    ...(netnsPath === undefined ? [] : [{ type: 'network', path: netnsPath }]),
    ...(userNamespace === undefined ? [] : [{ type: 'user', path: userNamespace.path }]),
    // A fresh one, with loopback only.
    ...(namespaces.network === 'none' ? [{ type: 'network' }] : []),
  ];
}

/** crun wants the ids even where the namespace that has them is given. */
function formatIdMappings({ userNamespace }: OciSpecInput): object {
  if (userNamespace === undefined) return {};
  const { hostID, size } = userNamespace.idMap;
  const mappings = [{ containerID: 0, hostID, size }];
  return { uidMappings: mappings, gidMappings: mappings };
}

function formatDevices(devices: readonly OciDevice[]): object {
  return devices.length === 0 ? {} : { devices: devices.map(({ access: _, ...device }) => device) };
}

/** The object to write as config.json. Throws ContainerConfigError for what of the security settings cannot be. */
export function formatOciSpec(input: OciSpecInput): object {
  const { security, namespaces, seccomp } = input;
  const bind = (source: string, destination: string): OciMount => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate'],
  });
  return {
    ociVersion: '1.0.2',
    process: formatProcess(input),
    root: { path: input.rootfs, readonly: input.readonlyRootfs },
    hostname: input.hostname,
    mounts: mergeMounts(
      [
        ...formatKernelMounts(input),
        bind(input.etc.resolvConf, '/etc/resolv.conf'),
        bind(input.etc.hostname, '/etc/hostname'),
        bind(input.etc.hosts, '/etc/hosts'),
      ],
      input.mounts,
    ),
    linux: {
      cgroupsPath: input.cgroupsPath,
      resources: {
        devices: formatDeviceRules(security, input.devices),
        ...formatResources(input.limits, input.canLimitSwap),
      },
      namespaces: formatNamespaces(input),
      ...formatIdMappings(input),
      ...formatDevices(input.devices),
      ...decideHiddenPaths(security, input.thermalPaths),
      sysctl: formatSysctls(security.sysctls ?? {}, namespaces),
      ...(seccomp.kind === 'profile' ? { seccomp: seccomp.profile } : {}),
    },
    ...(seccomp.kind === 'compiled' ? { annotations: { 'run.oci.seccomp_bpf_data': seccomp.bpfBase64 } } : {}),
  };
}
