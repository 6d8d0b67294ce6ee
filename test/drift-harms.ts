/**
 * One harm for each kind of drift, done as somebody on the host would do it, and how to see that it is healed. The type
 * demands one for every kind, so that none can be forgotten. Used by test/runtime/drift.test.ts and test/e2e/drift.test.ts.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DriftKind } from '../runtime/index.ts';

/** A container that runs, and where it is. */
export interface Victim {
  readonly id: string;
  readonly pid: number;
  readonly ip: string;
  readonly dataDir: string;
  readonly runDir: string;
  readonly bridge: string;
}

export interface Harm {
  /** What it does; on the host's for all containers. */
  inflict(victim: Victim): void;
  /** Whether it does harm now, without which healing shows nothing. */
  isHarmed(victim: Victim): boolean;
  /** The container is started again for it: what is healed is told by its state. */
  readonly restarts?: true;
}

const run = (program: string, ...args: string[]): string => execFileSync(program, args, { stdio: 'pipe' }).toString();
const succeeds = (program: string, ...args: string[]): boolean => {
  try {
    run(program, ...args);
    return true;
  } catch {
    return false;
  }
};

/** Also what is written into it meanwhile. */
const wholly = { recursive: true, maxRetries: 10, retryDelay: 50 } as const;

const bundleOf = ({ runDir, id }: Victim): string => join(runDir, 'containers', id);
const homeOf = ({ dataDir, id }: Victim): string => join(dataDir, 'containers', id);
const stateOf = ({ runDir, id }: Victim): string => join(runDir, 'oci', id);
export const networkOf = (victim: Victim): { netnsPath: string; hostInterface: string } =>
  JSON.parse(readFileSync(join(bundleOf(victim), 'network.json'), 'utf8'));
const monitorOf = (victim: Victim): number => Number(readFileSync(join(bundleOf(victim), 'conmon.pid'), 'latin1'));
const tableOf = ({ bridge }: Victim): string => `holdfast_${bridge}`;
const isMounted = (path: string): boolean => {
  try {
    return statSync(path).dev !== statSync(dirname(path)).dev;
  } catch {
    return false;
  }
};
const isAlive = (pid: number): boolean => {
  try {
    return !/^[0-9]+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
};
/** In the container, whatever program it has. */
const inside = ({ pid }: Victim, ...args: string[]): string => run('nsenter', '-t', String(pid), '-n', ...args);
/** By the container's own ping: its image is busybox. */
const reachesBridge = ({ pid, ip }: Victim): boolean =>
  succeeds('nsenter', '-t', String(pid), '-n', '-m', 'ping', '-c', '1', '-W', '1', ip.replace(/[0-9]+$/, '1'));
const mountsOf = ({ pid }: Victim): string => readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
/** The folders of layers that the container's root is made of. */
const layersOf = ({ pid }: Victim): string[] =>
  (/lowerdir=([^,]*)/.exec(mountsOf({ pid } as Victim))?.[1] ?? '').split(':');
const pidsLimit = ({ bridge, id }: Victim): string => {
  const path = `/holdfast-${bridge}/${id}/pids.max`;
  return [`/sys/fs/cgroup/pids${path}`, `/sys/fs/cgroup${path}`].find((file) => existsSync(file)) ?? '';
};
const freezerOf = ({ bridge, id }: Victim): { file: string; frozen: string } => {
  const v1 = `/sys/fs/cgroup/freezer/holdfast-${bridge}/${id}/freezer.state`;
  return existsSync(v1)
    ? { file: v1, frozen: 'FROZEN' }
    : { file: `/sys/fs/cgroup/holdfast-${bridge}/${id}/cgroup.freeze`, frozen: '1' };
};
const resolversOf = ({ runDir }: Victim): number[] =>
  readdirSync('/proc').flatMap((name) => {
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return args.includes(`--addn-hosts=${join(runDir, 'resolver', 'names')}`) && isAlive(Number(name))
        ? [Number(name)]
        : [];
    } catch {
      return [];
    }
  });
/** Of the container's volume "named" (a volume of that name) and "memory". */
const namedVolume = ({ pid, dataDir }: Victim): string => {
  const line = mountsOf({ pid } as Victim)
    .split('\n')
    .find((one) => one.split(' ')[4] === '/named');
  return `/${(line?.split(' ')[3] ?? '').replace('//deleted', '').split('/').slice(1).join('/')}`.replace(
    /^.*\/volumes\//,
    `${dataDir}/volumes/`,
  );
};
const memoryVolume = ({ runDir, id }: Victim): string => join(runDir, 'volumes', id, 'memory', 'memory');

export const harms: Readonly<Record<DriftKind, Harm>> = {
  process: {
    inflict: ({ pid }) => process.kill(pid, 'SIGKILL'),
    isHarmed: ({ pid }) => !isAlive(pid),
    restarts: true,
  },
  monitor: {
    inflict: (victim) => process.kill(monitorOf(victim), 'SIGKILL'),
    isHarmed: ({ pid }) => !isAlive(pid),
    restarts: true,
  },
  'oci-state': {
    inflict: (victim) => rmSync(stateOf(victim), wholly),
    isHarmed: (victim) => !existsSync(join(stateOf(victim), 'status')),
  },
  bundle: {
    inflict(victim) {
      run('umount', '-l', join(bundleOf(victim), 'rootfs'));
      rmSync(bundleOf(victim), wholly);
    },
    isHarmed: (victim) =>
      !['config.json', 'process.json', 'network.json', 'ctl', 'rootfs'].every((name) =>
        existsSync(join(bundleOf(victim), name)),
      ),
  },
  record: {
    inflict: (victim) => rmSync(join(homeOf(victim), 'record.json')),
    isHarmed: (victim) => !existsSync(join(homeOf(victim), 'record.json')),
  },
  'root-mount': {
    inflict: (victim) => run('umount', '-l', join(bundleOf(victim), 'rootfs')),
    isHarmed: (victim) => !isMounted(join(bundleOf(victim), 'rootfs')),
  },
  'upper-layer': {
    inflict: (victim) => rmSync(join(homeOf(victim), 'upper'), wholly),
    isHarmed: ({ pid }) => !isAlive(pid),
    restarts: true,
  },
  'image-layer': {
    inflict: (victim) => {
      for (const layer of layersOf(victim)) rmSync(run('readlink', '-f', layer).trim(), wholly);
    },
    isHarmed: ({ pid }) => !isAlive(pid),
    restarts: true,
  },
  volume: {
    inflict: (victim) => rmSync(namedVolume(victim), wholly),
    isHarmed: ({ pid }) => !isAlive(pid),
    restarts: true,
  },
  'volume-mount': {
    inflict(victim) {
      run('nsenter', '-t', String(victim.pid), '-m', 'umount', '/named');
      run('umount', '-l', memoryVolume(victim));
    },
    isHarmed: (victim) => !/ \/named /.test(mountsOf(victim)) || !isMounted(memoryVolume(victim)),
  },
  namespace: {
    inflict: (victim) => run('umount', networkOf(victim).netnsPath),
    isHarmed: (victim) => !isMounted(networkOf(victim).netnsPath),
  },
  cable: {
    inflict: (victim) => run('ip', 'link', 'delete', networkOf(victim).hostInterface),
    isHarmed: (victim) =>
      !existsSync(`/sys/class/net/${networkOf(victim).hostInterface}/master`) ||
      !inside(victim, 'ip', 'addr').includes(`${victim.ip}/`) ||
      !reachesBridge(victim),
  },
  limits: {
    inflict: (victim) => writeFileSync(pidsLimit(victim), '7'),
    isHarmed: (victim) => readFileSync(pidsLimit(victim), 'latin1').trim() === '7',
  },
  pause: {
    inflict(victim) {
      const { file, frozen } = freezerOf(victim);
      writeFileSync(file, frozen);
    },
    isHarmed(victim) {
      const { file, frozen } = freezerOf(victim);
      return readFileSync(file, 'latin1').trim() === frozen;
    },
  },
  'etc-file': {
    inflict(victim) {
      rmSync(join(bundleOf(victim), 'hosts'));
      writeFileSync(join(bundleOf(victim), 'resolv.conf'), 'nameserver 192.0.2.1\n');
    },
    isHarmed: ({ pid, ...victim }) =>
      !existsSync(join(bundleOf({ pid, ...victim }), 'hosts')) ||
      readFileSync(`/proc/${pid}/root/etc/resolv.conf`, 'utf8').includes('192.0.2.1') ||
      statSync(`/proc/${pid}/root/etc/hosts`).ino !== statSync(join(bundleOf({ pid, ...victim }), 'hosts')).ino,
  },
  log: {
    inflict: (victim) => rmSync(join(homeOf(victim), 'log'), wholly),
    isHarmed: (victim) =>
      !existsSync(join(homeOf(victim), 'log', 'ctr.log')) ||
      readdirSync(`/proc/${monitorOf(victim)}/fd`).every(
        (fd) => readlinkSafely(`/proc/${monitorOf(victim)}/fd/${fd}`) !== join(homeOf(victim), 'log', 'ctr.log'),
      ),
  },
  bridge: {
    inflict: ({ bridge }) => run('ip', 'link', 'delete', bridge),
    isHarmed: (victim) => !existsSync(`/sys/class/net/${victim.bridge}`) || !reachesBridge(victim),
  },
  rules: {
    inflict: (victim) => run('nft', 'delete', 'table', 'ip', tableOf(victim)),
    isHarmed: (victim) => !succeeds('nft', 'list', 'map', 'ip', tableOf(victim), 'published'),
  },
  'published-port': {
    inflict: (victim) => run('nft', 'flush', 'map', 'ip', tableOf(victim), 'published'),
    isHarmed: (victim) => !run('nft', 'list', 'map', 'ip', tableOf(victim), 'published').includes('tcp . '),
  },
  firewall: {
    // Where nothing is dropped, nothing need be let through: see forwarding.ts for a host that drops.
    inflict() {},
    isHarmed: () => false,
  },
  forwarding: {
    inflict: ({ bridge }) => writeFileSync(`/proc/sys/net/ipv4/conf/${bridge}/route_localnet`, '0'),
    isHarmed: ({ bridge }) => readFileSync(`/proc/sys/net/ipv4/conf/${bridge}/route_localnet`, 'latin1').trim() === '0',
  },
  resolver: {
    inflict: (victim) => {
      for (const pid of resolversOf(victim)) process.kill(pid, 'SIGKILL');
    },
    isHarmed: (victim) => resolversOf(victim).length === 0,
  },
  'run-dir': {
    inflict: ({ runDir }) => rmSync(join(runDir, 'exits'), wholly),
    isHarmed: ({ runDir }) => !existsSync(join(runDir, 'exits')),
  },
};

function readlinkSafely(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
