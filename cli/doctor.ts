/** `holdfast doctor`: what this host lacks, in plain words, and how to get it. The diagnosis is pure; the look at the host is not. */
import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What was seen of the host. */
export interface HostFacts {
  readonly uid: number;
  readonly nodeVersion: string;
  /** Programs by name, whether they were found. */
  readonly programs: Readonly<Record<string, boolean>>;
  /** Files by path, whether they are there. */
  readonly files: Readonly<Record<string, boolean>>;
  /** Text of /proc/filesystems. */
  readonly filesystems: string;
  readonly namespaces: Readonly<Record<string, boolean>>;
  readonly cgroups: {
    readonly layout: 'v1' | 'v2' | 'hybrid' | 'none';
    readonly unboundControllers: readonly string[];
  };
  readonly freeBytes: number;
  readonly dataDir: string;
}

export interface Finding {
  readonly severity: 'error' | 'warning';
  readonly problem: string;
  readonly fix: string;
}

/** Debian's package for each program that a container needs. */
export const packageOf: Readonly<Record<string, string>> = {
  crun: 'crun',
  conmon: 'conmon',
  skopeo: 'skopeo',
  'containers-storage': 'containers-storage',
  nft: 'nftables',
  iptables: 'iptables',
  ip: 'iproute2',
  openssl: 'openssl',
  perl: 'perl-base',
};
/** Programs without which containers run, and miss what is said here. */
const helpful: Readonly<Record<string, { readonly package: string; readonly without: string }>> = {
  dnsmasq: { package: 'dnsmasq-base', without: 'containers cannot find each other by name' },
  'tini-static': { package: 'tini', without: 'a container with spec.init cannot start' },
  conntrack: {
    package: 'conntrack',
    without: 'a UDP client that goes on sending may miss a container that was started again',
  },
};
const packageOfFile: Readonly<Record<string, string>> = {
  '/usr/lib/cni/bridge': 'containernetworking-plugins',
  '/usr/lib/cni/host-local': 'containernetworking-plugins',
  '/usr/share/containers/seccomp.json': 'golang-github-containers-common',
};
const neededNamespaces = ['pid', 'mnt', 'net', 'uts', 'ipc', 'cgroup'];
const minFreeBytes = 512 * 2 ** 20;

export function diagnose(facts: HostFacts): Finding[] {
  const findings: Finding[] = [];
  const error = (problem: string, fix: string): void => {
    findings.push({ severity: 'error', problem, fix });
  };
  if (facts.uid !== 0)
    error(
      `it runs as user ${facts.uid}, and only root may make namespaces, mounts and networks`,
      'run it with sudo, or as a system service',
    );
  if (Number(/^v(\d+)/.exec(facts.nodeVersion)?.[1] ?? 0) < 26)
    error(
      `Node is ${facts.nodeVersion}, and at least 26 is needed`,
      'run `make setup`, which brings Node 26 from npm, and start with bin/holdfast',
    );
  const missing = new Set<string>();
  for (const [name, packageName] of Object.entries(packageOf))
    if (facts.programs[name] !== true && !(name === 'crun' && facts.programs.runc === true))
      missing.add(`${name} (package ${packageName})`);
  for (const [path, packageName] of Object.entries(packageOfFile))
    if (facts.files[path] !== true) missing.add(`${path} (package ${packageName})`);
  const packages = [...missing].map((one) => /package (\S+)\)/.exec(one)?.[1] ?? '');
  if (missing.size > 0)
    error(
      `these are missing: ${[...missing].join(', ')}`,
      `run \`make setup\`, or \`apt-get install ${[...new Set(packages)].join(' ')}\``,
    );
  for (const [name, { package: packageName, without }] of Object.entries(helpful))
    if (facts.programs[name] !== true)
      findings.push({
        severity: 'warning',
        problem: `${name} is missing, so ${without}`,
        fix: `run \`make setup\`, or \`apt-get install ${packageName}\``,
      });
  if (!/\toverlay$/m.test(facts.filesystems))
    error(
      'the kernel has no overlay file system',
      'run `modprobe overlay`, or use a kernel built with CONFIG_OVERLAY_FS',
    );
  const without = neededNamespaces.filter((name) => facts.namespaces[name] !== true);
  if (without.length > 0)
    error(
      `the kernel has no ${without.join(', ')} namespaces`,
      'use a kernel with namespaces; inside a container, run Holdfast on the host instead',
    );
  const { layout, unboundControllers } = facts.cgroups;
  if (layout === 'none')
    error('no cgroup hierarchy is mounted', 'run `make setup`, which mounts it, or boot with systemd');
  if (layout === 'hybrid' && unboundControllers.length > 0) {
    error(
      `the cgroup controllers ${unboundControllers.join(', ')} are bound to no v1 hierarchy, and crun refuses such a hybrid layout`,
      'run `make setup`, which mounts them as cgroupfs-mount does, or boot with systemd.unified_cgroup_hierarchy=1',
    );
  }
  if (facts.freeBytes < minFreeBytes)
    findings.push({
      severity: 'warning',
      problem: `${facts.dataDir} has only ${Math.round(facts.freeBytes / 2 ** 20)} MiB free`,
      fix: 'free some space, or use another --data-dir: images and logs need it',
    });
  return findings;
}

export function observeHost(dataDir: string): HostFacts {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return ''; // Not there: the diagnosis says what that means.
    }
  };
  const has = (program: string): boolean =>
    `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
      .split(delimiter)
      .some((dir) => dir !== '' && existsSync(join(dir, program)));
  const unified = '/sys/fs/cgroup/cgroup.controllers';
  const hybrid = '/sys/fs/cgroup/unified/cgroup.controllers';
  const layout = existsSync(unified)
    ? 'v2'
    : existsSync(hybrid)
      ? 'hybrid'
      : /^\S+ \S+ cgroup /m.test(read('/proc/mounts'))
        ? 'v1'
        : 'none';
  return {
    uid: process.getuid?.() ?? -1,
    nodeVersion: process.version,
    programs: Object.fromEntries(
      [...Object.keys(packageOf), ...Object.keys(helpful), 'runc'].map((name) => [name, has(name)]),
    ),
    files: Object.fromEntries(Object.keys(packageOfFile).map((path) => [path, existsSync(path)])),
    filesystems: read('/proc/filesystems'),
    namespaces: Object.fromEntries(neededNamespaces.map((name) => [name, existsSync(`/proc/self/ns/${name}`)])),
    cgroups: {
      layout,
      unboundControllers: read(hybrid)
        .split(/\s+/)
        .filter((one) => one !== ''),
    },
    freeBytes: freeBytesOf(dataDir),
    dataDir,
  };
}

function freeBytesOf(path: string): number {
  let dir = path;
  while (!isDirectory(dir) && dir !== '/') dir = join(dir, '..');
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** The whole answer, one finding after the other. */
export function formatFindings(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'This host has all that Holdfast needs.\n';
  return findings.map(({ severity, problem, fix }) => `${severity}: ${problem}\n  to mend it: ${fix}\n`).join('');
}
