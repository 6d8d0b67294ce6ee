/**
 * Device nodes of a container and which it may use. Rules and numbers are pure; observeDevices looks at the host's /dev.
 * Source: opencontainers/runtime-spec config-linux.md; the default list is moby's oci/defaults.go.
 */
import type { BigIntStats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerConfigError, type Device, type SecurityConfig } from './interface.ts';

/** linux.devices of an OCI configuration. */
export interface OciDevice {
  readonly path: string;
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of r, w and m. Goes into a rule, not into the device. */
  readonly access: string;
}

/** linux.resources.devices of an OCI configuration. */
export interface DeviceRule {
  readonly allow: boolean;
  readonly type?: 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

/** null, zero, full, random, urandom, tty, console, ptmx, pseudo terminals; and making (not using) any node. */
const defaultRules: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...(
    [
      [1, 3],
      [1, 5],
      [1, 7],
      [1, 8],
      [1, 9],
      [5, 0],
      [5, 1],
      [5, 2],
    ] as const
  ).map(([major, minor]): DeviceRule => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

/** Pure: the rules for the default nodes and these; a privileged container has no bound. */
export function formatDeviceRules(security: SecurityConfig, devices: readonly OciDevice[]): readonly DeviceRule[] {
  if (security.isPrivileged === true) return [{ allow: true, access: 'rwm' }];
  return [
    ...defaultRules,
    ...devices.map(({ type, major, minor, access }): DeviceRule => ({ allow: true, type, major, minor, access })),
  ];
}

/** Pure: major and minor number of a stat's rdev. Source: glibc, gnu_dev_major and gnu_dev_minor. */
export function splitDeviceNumber(rdev: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}

/** Nodes that every container has of its own, and folders that are file systems of their own. */
const ownNames = new Set([
  ...['null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx'],
  ...['pts', 'shm', 'fd', 'mqueue', 'hugepages', '.lxc', '.lxd-mounts', '.udev', 'stdin', 'stdout', 'stderr', 'core'],
]);

/**
 * The nodes to make: those asked for (a folder stands for all devices below it), and for a privileged container all of
 * the host. Throws ContainerConfigError for a path that is not there or is no device.
 */
export async function observeDevices(security: SecurityConfig): Promise<readonly OciDevice[]> {
  const found = new Map<string, OciDevice>();
  const all: readonly Device[] = security.isPrivileged === true ? await hostDevices() : [];
  for (const device of [...all, ...(security.devices ?? [])]) {
    for (const one of await expand(device, all.includes(device))) found.set(one.path, one);
  }
  return [...found.values()];
}

async function hostDevices(): Promise<readonly Device[]> {
  const names = await readdir('/dev');
  return names
    .filter((name) => !ownNames.has(name))
    .map((name) => ({ hostPath: join('/dev', name), path: join('/dev', name), permissions: 'rwm' }));
}

/** What is asked for by name may be a link to a device; what is merely found is taken as it is. */
function statOf(path: string, isOptional: boolean): Promise<BigIntStats> {
  return isOptional ? lstat(path, { bigint: true }) : stat(path, { bigint: true });
}

async function expand({ hostPath, path, permissions }: Device, isOptional: boolean): Promise<readonly OciDevice[]> {
  const found = await statOf(hostPath, isOptional).catch((error: NodeJS.ErrnoException) => {
    if (isOptional) return undefined; // it went away meanwhile
    throw new ContainerConfigError(
      'security.devices',
      `the host has no device ${hostPath} (${error.code}); correct hostPath or load its driver`,
      { cause: error },
    );
  });
  if (found === undefined) return [];
  if (found.isDirectory()) {
    const below = await readdir(hostPath);
    const lists = await Promise.all(
      below.map((name) => expand({ hostPath: join(hostPath, name), path: join(path, name), permissions }, true)),
    );
    return lists.flat();
  }
  if (!found.isCharacterDevice() && !found.isBlockDevice()) {
    if (isOptional) return [];
    throw new ContainerConfigError(
      'security.devices',
      `${hostPath} is not a device of the host; name a device node or a folder of them, or use a volume for files`,
    );
  }
  return [
    {
      path,
      type: found.isBlockDevice() ? 'b' : 'c',
      ...splitDeviceNumber(found.rdev),
      fileMode: Number(found.mode & 0o7777n),
      uid: Number(found.uid),
      gid: Number(found.gid),
      access: permissions,
    },
  ];
}
