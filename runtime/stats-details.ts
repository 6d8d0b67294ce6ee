/**
 * The figures of a container one by one, as tools show them that are made for one container: from the texts of its cgroup
 * (version 1 or 2), its network's counters and the host's processor time. Pure.
 * Source: Linux, Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; proc(5) for net/dev and stat.
 */
import type { CgroupLayout } from './cgroups.ts';
import type { DiskStats, NetworkStats, StatsDetails } from './interface.ts';

/** Files of a cgroup that only these figures need. */
export const detailFiles = {
  v1: {
    cpuacct: ['cpuacct.usage_percpu', 'cpuacct.usage_user', 'cpuacct.usage_sys'],
    memory: ['memory.max_usage_in_bytes', 'memory.failcnt'],
    blkio: ['blkio.throttle.io_serviced'],
  },
  v2: { memory: ['memory.peak', 'memory.events'] },
} as const;

/** USER_HZ of proc(5), which is 100 on every machine that Node runs on. */
const nanosecondsPerTick = 10_000_000;

export interface DetailInput {
  readonly kind: CgroupLayout['kind'];
  /** Text of a file of the cgroup; '' if it is not there. */
  readonly textOf: (file: string) => string;
  /** /proc/stat of the host. */
  readonly hostStat: string;
  /** /proc/PID/net/dev of the container; '' if it has no network of its own. */
  readonly netDev: string;
}

export function parseStatsDetails({ kind, textOf, hostStat, netDev }: DetailInput): StatsDetails {
  const isV2 = kind === 'v2';
  const cpu = numbersOf(textOf('cpu.stat'));
  const host = parseHostStat(hostStat);
  const perProcessor = isV2 ? [] : words(textOf('cpuacct.usage_percpu')).map(Number);
  return {
    ...host,
    cgroupVersion: isV2 ? 2 : 1,
    cpuUserNanoseconds: isV2 ? 1_000 * (cpu.user_usec ?? 0) : Number(textOf('cpuacct.usage_user')),
    cpuKernelNanoseconds: isV2 ? 1_000 * (cpu.system_usec ?? 0) : Number(textOf('cpuacct.usage_sys')),
    ...(perProcessor.length === 0 ? {} : { cpuNanosecondsOfEach: perProcessor }),
    periods: cpu.nr_periods ?? 0,
    throttledPeriods: cpu.nr_throttled ?? 0,
    memoryUsageBytes: Number(textOf(isV2 ? 'memory.current' : 'memory.usage_in_bytes')),
    memoryPeakBytes: Number(textOf(isV2 ? 'memory.peak' : 'memory.max_usage_in_bytes')),
    memoryFailures: isV2 ? (numbersOf(textOf('memory.events')).max ?? 0) : Number(textOf('memory.failcnt')),
    memory: numbersOf(textOf('memory.stat')),
    disks: isV2
      ? parseIoStat(textOf('io.stat'))
      : parseBlkio(textOf('blkio.throttle.io_service_bytes'), textOf('blkio.throttle.io_serviced')),
    networks: parseNetworks(netDev),
  };
}

function words(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Lines of a word and a number. */
function numbersOf(text: string): Readonly<Record<string, number>> {
  return Object.fromEntries(
    [...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, name = '', number]) => [name, Number(number)]),
  );
}

function parseHostStat(text: string): Pick<StatsDetails, 'hostCpuNanoseconds' | 'processors'> {
  const [, total = ''] = /^cpu\s+(.*)$/m.exec(text) ?? [];
  // user, nice, system, idle, iowait, irq, softirq: as dockerd sums them; what a guest used is in user already.
  const ticks = words(total)
    .slice(0, 7)
    .reduce((sum, word) => sum + Number(word), 0);
  return { hostCpuNanoseconds: ticks * nanosecondsPerTick, processors: [...text.matchAll(/^cpu\d+ /gm)].length };
}

function parseIoStat(text: string): readonly DiskStats[] {
  return [...text.matchAll(/^(\d+):(\d+) (.*)$/gm)].map(([, major, minor, rest = '']) => {
    const figures = new Map([...rest.matchAll(/(\w+)=(\d+)/g)].map(([, name, number]) => [name, Number(number)]));
    return {
      major: Number(major),
      minor: Number(minor),
      readBytes: figures.get('rbytes') ?? 0,
      writtenBytes: figures.get('wbytes') ?? 0,
      reads: figures.get('rios') ?? 0,
      writes: figures.get('wios') ?? 0,
    };
  });
}

function parseBlkio(bytes: string, operations: string): readonly DiskStats[] {
  const disks = new Map<string, { readonly major: number; readonly minor: number } & Record<string, number>>();
  const take = (text: string, names: Readonly<Record<string, string>>): void => {
    for (const [, major = '', minor = '', what = '', number] of text.matchAll(/^(\d+):(\d+) (\w+) (\d+)$/gm)) {
      const name = names[what];
      if (name === undefined) continue;
      const key = `${major}:${minor}`;
      const known = disks.get(key) ?? { major: Number(major), minor: Number(minor) };
      disks.set(key, { ...known, [name]: Number(number) });
    }
  };
  take(bytes, { Read: 'readBytes', Write: 'writtenBytes' });
  take(operations, { Read: 'reads', Write: 'writes' });
  return [...disks.values()].map((disk) => ({ readBytes: 0, writtenBytes: 0, reads: 0, writes: 0, ...disk }));
}

/** Loopback apart. */
function parseNetworks(text: string): Readonly<Record<string, NetworkStats>> {
  const found = [...text.matchAll(/^\s*([^:\s]+):\s*(.*)$/gm)].filter(([, name]) => name !== 'lo');
  return Object.fromEntries(
    found.map(([, name = '', figures = '']) => {
      const [bytes, packets, errors, dropped, , , , , sent, sentPackets, sentErrors, sentDropped] =
        words(figures).map(Number);
      return [
        name,
        {
          receivedBytes: bytes ?? 0,
          receivedPackets: packets ?? 0,
          receiveErrors: errors ?? 0,
          receiveDropped: dropped ?? 0,
          sentBytes: sent ?? 0,
          sentPackets: sentPackets ?? 0,
          sendErrors: sentErrors ?? 0,
          sendDropped: sentDropped ?? 0,
        },
      ];
    }),
  );
}
