/**
 * What a container's processes may do beyond an ordinary user. Pure. Source: capabilities(7), moby's
 * oci/caps/defaults.go and oci/caps/utils.go.
 */
import { ContainerConfigError, type SecurityConfig } from './interface.ts';

/** All that Linux knows, by number: the place in the list is the bit in CapBnd. Source: linux/capability.h of 6.18. */
export const knownCapabilities: readonly string[] = [
  ...['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_KILL', 'CAP_SETGID'],
  ...['CAP_SETUID', 'CAP_SETPCAP', 'CAP_LINUX_IMMUTABLE', 'CAP_NET_BIND_SERVICE', 'CAP_NET_BROADCAST', 'CAP_NET_ADMIN'],
  ...['CAP_NET_RAW', 'CAP_IPC_LOCK', 'CAP_IPC_OWNER', 'CAP_SYS_MODULE', 'CAP_SYS_RAWIO', 'CAP_SYS_CHROOT'],
  ...['CAP_SYS_PTRACE', 'CAP_SYS_PACCT', 'CAP_SYS_ADMIN', 'CAP_SYS_BOOT', 'CAP_SYS_NICE', 'CAP_SYS_RESOURCE'],
  ...['CAP_SYS_TIME', 'CAP_SYS_TTY_CONFIG', 'CAP_MKNOD', 'CAP_LEASE', 'CAP_AUDIT_WRITE', 'CAP_AUDIT_CONTROL'],
  ...['CAP_SETFCAP', 'CAP_MAC_OVERRIDE', 'CAP_MAC_ADMIN', 'CAP_SYSLOG', 'CAP_WAKE_ALARM', 'CAP_BLOCK_SUSPEND'],
  ...['CAP_AUDIT_READ', 'CAP_PERFMON', 'CAP_BPF', 'CAP_CHECKPOINT_RESTORE'],
];

/** What a process may do at most if nothing is said; Docker's fourteen. */
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

/** process.capabilities of the OCI runtime specification. */
export interface CapabilitySets {
  readonly bounding: readonly string[];
  readonly effective: readonly string[];
  readonly permitted: readonly string[];
  readonly inheritable?: readonly string[];
  readonly ambient?: readonly string[];
}

/** Names in a mask of /proc/PID/status, such as CapBnd's "000001ffffffffff". Bits beyond the known ones are left out. */
export function parseCapabilityMask(hex: string): readonly string[] {
  const mask = BigInt(`0x${hex.trim()}`);
  return knownCapabilities.filter((_, bit) => ((mask >> BigInt(bit)) & 1n) === 1n);
}

/** Pure: what a process may have at most, by the text of its /proc/PID/status. Throws TypeError if it does not say. */
export function ownCapabilities(status: string): readonly string[] {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (mask === undefined) throw new TypeError('/proc/self/status has no CapBnd: is /proc mounted?');
  return parseCapabilityMask(mask);
}

/** The capability's full name, CAP_NET_ADMIN, of one written with or without CAP_; undefined if there is none such. */
function parseCapability(text: string): string | undefined {
  const name = text.toUpperCase();
  return knownCapabilities.find((known) => known === name || known === `CAP_${name}`);
}

/** Throws ContainerConfigError naming the list and the word that is no capability. */
function parseCapabilities(
  names: readonly string[],
  field: 'addCapabilities' | 'dropCapabilities',
): { readonly isAll: boolean; readonly names: readonly string[] } {
  const found = names
    .filter((name) => name.toUpperCase() !== 'ALL')
    .map((name) => {
      const capability = parseCapability(name);
      if (capability !== undefined) return capability;
      throw new ContainerConfigError(
        `security.${field}`,
        `"${name}" is not a capability of Linux; use a name of capabilities(7) such as NET_ADMIN, or ALL`,
      );
    });
  return { isAll: names.some((name) => name.toUpperCase() === 'ALL'), names: found };
}

export interface CapabilityInput {
  readonly security: SecurityConfig;
  /** User of the process, as seen inside. */
  readonly uid: number;
  /** What the host has to give: the daemon's own bound. */
  readonly available: readonly string[];
}

/** The most that any process of the container may have. Throws ContainerConfigError for a name that is none, or not to be had. */
export function decideBound({ security, available }: Omit<CapabilityInput, 'uid'>): readonly string[] {
  const add = parseCapabilities(security.addCapabilities ?? [], 'addCapabilities');
  const drop = parseCapabilities(security.dropCapabilities ?? [], 'dropCapabilities');
  const missing = add.names.find((name) => !available.includes(name));
  if (missing !== undefined) {
    throw new ContainerConfigError(
      'security.addCapabilities',
      `${missing} is not to be had: Holdfast itself runs without it; start it with that capability or take it off the list`,
    );
  }
  if (security.isPrivileged === true) return available;
  const isKept = (name: string): boolean => {
    if (add.names.includes(name)) return !drop.names.includes(name) || drop.isAll;
    if (drop.names.includes(name)) return false;
    return !drop.isAll && (add.isAll || defaultCapabilities.includes(name));
  };
  return available.filter(isKept);
}

/**
 * Only root has the bound in effect; for another user it is the bound of what set-uid programs may get. What was added
 * by name, though, another user gets as well (ambient): it was asked for, and would have no effect otherwise.
 */
export function decideCapabilities(input: CapabilityInput): CapabilitySets {
  const bounding = decideBound(input);
  if (input.uid === 0) return { bounding, effective: bounding, permitted: bounding };
  const { names } = parseCapabilities(input.security.addCapabilities ?? [], 'addCapabilities');
  const own = bounding.filter((name) => names.includes(name));
  if (own.length === 0) return { bounding, effective: [], permitted: [] };
  return { bounding, effective: own, permitted: own, inheritable: own, ambient: own };
}
