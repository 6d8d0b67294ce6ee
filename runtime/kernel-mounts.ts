/**
 * The file systems of the kernel that every container has: /proc, /dev, /sys and what is below them, and which parts of
 * /proc and /sys it may not see or change. Pure. Source: moby's oci/defaults.go and daemon/oci_linux.go.
 */
import type { NamespaceConfig, SecurityConfig } from './interface.ts';

/** An entry of `mounts` of an OCI configuration. */
export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const defaultMaskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

const defaultReadonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export interface KernelMountsInput {
  readonly security: SecurityConfig;
  readonly namespaces: NamespaceConfig;
  readonly cgroupKind: 'v1' | 'v2';
  /** Of /dev/shm. */
  readonly shmSizeBytes: number;
}

/** Docker's size of /dev/shm. */
export const defaultShmBytes = 64 * 2 ** 20;

export function formatKernelMounts(input: KernelMountsInput): readonly OciMount[] {
  const { security, namespaces, cgroupKind, shmSizeBytes } = input;
  const access = security.isPrivileged === true ? [] : ['ro'];
  const secure = ['nosuid', 'noexec', 'nodev'];
  const mount = (destination: string, type: string, source: string, options: readonly string[]): OciMount => ({
    destination,
    type,
    source,
    options,
  });
  // Hierarchies of version 1 cannot be mounted by a user namespace, and /sys/fs/cgroup stays empty then.
  const hasCgroups = cgroupKind === 'v2' || namespaces.user !== 'mapped';
  return [
    mount('/proc', 'proc', 'proc', secure),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', [
      ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    ]),
    mount('/sys', 'sysfs', 'sysfs', [...secure, ...access]),
    ...(hasCgroups ? [mount('/sys/fs/cgroup', 'cgroup', 'cgroup', [...secure, ...access])] : []),
    // The OCI runtime makes each hierarchy of version 1 read-only, but not the tmpfs that they are in.
    ...(hasCgroups && cgroupKind === 'v1'
      ? [mount('/sys/fs/cgroup', 'tmpfs', 'tmpfs', ['remount', ...secure, ...access])]
      : []),
    // It shows the queues of whatever IPC namespace the container is in.
    mount('/dev/mqueue', 'mqueue', 'mqueue', secure),
    namespaces.ipc === 'host'
      ? mount('/dev/shm', 'bind', '/dev/shm', ['rbind', 'rprivate', ...secure])
      : mount('/dev/shm', 'tmpfs', 'shm', [...secure, 'mode=1777', `size=${shmSizeBytes}`]),
  ];
}

/**
 * What of /sys tells how hot each processor is, by which neighbours can be watched. Takes the host's names, since there
 * is one for each processor. Source: moby's oci/defaults.go.
 */
export function thermalPathsOf(processorFolders: readonly string[]): readonly string[] {
  return processorFolders
    .filter((name) => /^cpu[0-9]+$/.test(name))
    .map((name) => `/sys/devices/system/cpu/${name}/thermal_throttle`);
}

/** maskedPaths and readonlyPaths of an OCI configuration: none for a privileged container, unless it names some. */
export function decideHiddenPaths(
  security: SecurityConfig,
  thermalPaths: readonly string[],
): {
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
} {
  const isPrivileged = security.isPrivileged === true;
  return {
    maskedPaths: security.maskedPaths ?? (isPrivileged ? [] : [...defaultMaskedPaths, ...thermalPaths]),
    readonlyPaths: security.readonlyPaths ?? (isPrivileged ? [] : defaultReadonlyPaths),
  };
}
