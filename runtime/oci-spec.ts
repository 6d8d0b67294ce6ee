/**
 * The OCI runtime configuration (config.json) of a container, with Docker's default security. Pure.
 * Source: opencontainers/runtime-spec config.md and config-linux.md; the lists are moby's oci/defaults.go.
 */
import { cpuPeriodMicros, cpuQuotaMicros } from './cgroups.ts';
import type { Limits } from './interface.ts';
import type { Seccomp } from './seccomp.ts';
import type { ProcessUser } from './user.ts';

/** What a process may do at most; Docker's fourteen. */
export const defaultCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const maskedPaths = [
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

const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const kernelMounts: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'nosuid', 'noexec', 'nodev'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
];

/** null, zero, full, random, urandom, tty, console, ptmx, pseudo terminals; and making (not using) any node. */
const allowedDevices = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 1],
    [5, 2],
  ].map(([major, minor]) => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

export type SeccompChoice =
  /** Compiled already; crun loads it as it is. */
  { readonly kind: 'compiled'; readonly bpfBase64: string } | { readonly kind: 'profile'; readonly profile: Seccomp };

export interface OciSpecInput {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: ProcessUser;
  readonly hostname: string;
  readonly rootfs: string;
  readonly readonlyRootfs: boolean;
  readonly netnsPath: string;
  readonly cgroupsPath: string;
  readonly limits: Limits;
  readonly canLimitSwap: boolean;
  /** Files of the host under the container's /etc. */
  readonly etc: { readonly hosts: string; readonly hostname: string; readonly resolvConf: string };
  readonly seccomp: SeccompChoice;
}

function resources({ limits, canLimitSwap }: Pick<OciSpecInput, 'limits' | 'canLimitSwap'>): object {
  const quota = cpuQuotaMicros(limits);
  return {
    devices: allowedDevices,
    ...(limits.memoryBytes === undefined
      ? {}
      : { memory: { limit: limits.memoryBytes, ...(canLimitSwap ? { swap: limits.memoryBytes } : {}) } }),
    ...(quota === undefined ? {} : { cpu: { quota, period: cpuPeriodMicros } }),
    ...(limits.pids === undefined ? {} : { pids: { limit: limits.pids } }),
  };
}

/** The object to write as config.json. */
export function formatOciSpec(input: OciSpecInput): object {
  const { user, seccomp } = input;
  // Only root keeps the capabilities in effect; another user has them as the bound for what set-uid programs may get.
  const effective = user.uid === 0 ? defaultCapabilities : [];
  const bind = (source: string, destination: string): OciMount => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate'],
  });
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: {
        uid: user.uid,
        gid: user.gid,
        umask: 0o022,
        ...(user.additionalGids.length === 0 ? {} : { additionalGids: user.additionalGids }),
      },
      args: input.args,
      env: input.env,
      cwd: input.workingDir,
      capabilities: {
        bounding: defaultCapabilities,
        effective,
        permitted: effective,
      },
      noNewPrivileges: false,
      oomScoreAdj: 0,
    },
    root: { path: input.rootfs, readonly: input.readonlyRootfs },
    hostname: input.hostname,
    mounts: [
      ...kernelMounts,
      bind(input.etc.resolvConf, '/etc/resolv.conf'),
      bind(input.etc.hostname, '/etc/hostname'),
      bind(input.etc.hosts, '/etc/hosts'),
    ],
    linux: {
      cgroupsPath: input.cgroupsPath,
      resources: resources(input),
      namespaces: [
        { type: 'mount' },
        { type: 'pid' },
        { type: 'uts' },
        { type: 'ipc' },
        { type: 'cgroup' },
        { type: 'network', path: input.netnsPath },
      ],
      maskedPaths,
      readonlyPaths,
      // As Docker: any user may ping and bind low ports, which are the container's own.
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' },
      ...(seccomp.kind === 'profile' ? { seccomp: seccomp.profile } : {}),
    },
    ...(seccomp.kind === 'compiled' ? { annotations: { 'run.oci.seccomp_bpf_data': seccomp.bpfBase64 } } : {}),
  };
}
