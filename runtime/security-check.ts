/**
 * What of a container's security settings, namespaces and limits cannot be, found before anything is made. Pure; also
 * for callers that would rather not ask for what would be refused.
 */
import { decideBound, knownCapabilities } from './capabilities.ts';
import { type ContainerConfig, ContainerConfigError, type SecurityConfig } from './interface.ts';
import { formatRlimits, formatSysctls } from './kernel-settings.ts';
import { checkLimits } from './limits.ts';

export type SecuritySettings = Pick<ContainerConfig, 'security' | 'namespaces' | 'limits' | 'shmSizeBytes'>;

/** Each problem once, by the member of ContainerConfig: "security.sysctls". Whether the host can do it is not asked. */
export function findSecurityProblems(settings: SecuritySettings): readonly ContainerConfigError[] {
  const { security = {}, namespaces = {}, limits } = settings;
  const { addCapabilities, dropCapabilities, ulimits, sysctls } = security;
  const checks: readonly (() => unknown)[] = [
    () => (addCapabilities ?? dropCapabilities) && decideBound({ security, available: knownCapabilities }),
    () => ulimits && formatRlimits(ulimits),
    () => sysctls && formatSysctls(sysctls, namespaces),
    () => checkLimits(limits),
    () => checkDevices(security),
    () => checkProfile(security),
    () => checkPaths(security, 'maskedPaths'),
    () => checkPaths(security, 'readonlyPaths'),
    () => checkShm(settings),
    () => checkMapping(settings),
  ];
  return checks.flatMap((check) => {
    try {
      check();
      return [];
    } catch (error) {
      if (error instanceof ContainerConfigError) return [error];
      throw error;
    }
  });
}

function isPlainPath(path: string): boolean {
  return (
    /^\/[^\0]*[^/\0]$/.test(path) &&
    !path.split('/').some((part, index) => part === '..' || part === '.' || (index > 0 && part === ''))
  );
}

function checkDevices({ devices = [] }: SecurityConfig): void {
  for (const { hostPath, path, permissions } of devices) {
    const refuse = (problem: string): never => {
      throw new ContainerConfigError('security.devices', problem);
    };
    for (const one of [hostPath, path]) {
      if (!isPlainPath(one)) refuse(`"${one}" is not a path of a device; write it in full, like /dev/fuse`);
    }
    if (!/^[rwm]{1,3}$/.test(permissions) || new Set(permissions).size !== permissions.length) {
      refuse(`"${permissions}" is not what may be done with ${hostPath}; use r, w and m, each once at most`);
    }
  }
}

function checkProfile({ seccomp }: SecurityConfig): void {
  if (seccomp?.kind !== 'file' || (!seccomp.path.startsWith('/') && isPlainPath(`/${seccomp.path}`))) return;
  throw new ContainerConfigError(
    'security.seccomp',
    `"${seccomp.path}" leads out of the folder of profiles; write it relative to that folder, without ".."`,
  );
}

/**
 * Only parts of /proc and /sys, and none with a mount below: crun 1.8 binds the path upon itself with all that is mounted
 * below, and what was read-only there is writable then (seen with /sys/fs/cgroup, 2026-11).
 */
function checkPaths(security: SecurityConfig, field: 'maskedPaths' | 'readonlyPaths'): void {
  const isPart = (path: string): boolean => isPlainPath(path) && /^\/(proc|sys)\/./.test(path);
  const bad = security[field]?.find((path) => !isPart(path) || '/sys/fs/cgroup/'.startsWith(`${path}/`));
  if (bad === undefined) return;
  throw new ContainerConfigError(
    `security.${field}`,
    `"${bad}" is not a part of /proc or /sys to hide or to protect; write it in full, like /proc/kcore, and use volumes elsewhere`,
  );
}

function checkShm({ shmSizeBytes, namespaces }: SecuritySettings): void {
  if (shmSizeBytes === undefined) return;
  if (namespaces?.ipc === 'host') {
    throw new ContainerConfigError(
      'shmSizeBytes',
      "the host's IPC has the host's /dev/shm; take away the one or the other",
    );
  }
  if (Number.isSafeInteger(shmSizeBytes) && shmSizeBytes > 0) return;
  throw new ContainerConfigError('shmSizeBytes', `${shmSizeBytes} is not a size; use a whole number of bytes above 0`);
}

/** A user namespace has no power over namespaces and devices of the host, so together they would be half of each. */
function checkMapping({ namespaces = {}, security = {} }: SecuritySettings): void {
  if (namespaces.user !== 'mapped') return;
  const of = {
    'namespaces.pid': namespaces.pid === 'host',
    'namespaces.ipc': namespaces.ipc === 'host',
    'namespaces.network': namespaces.network === 'host',
    'security.isPrivileged': security.isPrivileged === true,
  };
  for (const [field, isWanted] of Object.entries(of)) {
    if (!isWanted) continue;
    throw new ContainerConfigError(
      field,
      "cannot be had together with a user namespace of the container's own, which has no power over the host; take away the one or the other",
    );
  }
}
