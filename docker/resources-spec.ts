/** Limits of HostConfig, in create and update, as those of a spec, and back. Pure. */
import type { ContainerSpec } from '../crds/index.ts';
import type { Fields } from './fields.ts';

type Resources = {
  readonly limits?: Partial<ContainerSpec['resources']['limits']>;
  readonly requests?: ContainerSpec['resources']['requests'];
};

/** Docker's share of a processor that is as of one core. Source: docker run, --cpu-shares. */
const sharesOfACore = 1024;
const defaultPeriodMicroseconds = 100_000;
const nanosPerMilli = 1_000_000;
/** Source: Linux, PID_MAX_LIMIT. */
const mostPids = 4_194_304;
const minMemoryBytes = 6 * 2 ** 20;

/** Only what is given, so that an update leaves the rest. */
export function parseResources(host: Fields): { readonly resources?: Resources; readonly shmSize?: number } {
  const memory = host.count('Memory');
  const memorySwap = host.integer('MemorySwap') ?? 0;
  const nanoCpus = host.count('NanoCpus');
  const quota = host.integer('CpuQuota') ?? 0;
  const period = host.count('CpuPeriod') ?? defaultPeriodMicroseconds;
  const shares = host.count('CpuShares');
  const pids = host.integer('PidsLimit') ?? 0;
  const shmSize = host.count('ShmSize');
  if (memory !== undefined && memory < minMemoryBytes) host.problem('Memory', 'Minimum memory limit allowed is 6MB');
  if (memorySwap === -1) host.problem('MemorySwap', 'swap without a limit cannot be had; give a number of bytes');
  if (memorySwap > 0 && memory === undefined)
    host.problem('MemorySwap', 'You should always set the Memory limit when using Memoryswap limit, see usage');
  if (memorySwap > 0 && memory !== undefined && memorySwap < memory)
    host.problem('MemorySwap', 'Minimum memoryswap limit should be larger than memory limit, see usage');
  if (nanoCpus !== undefined && quota > 0)
    host.problem('NanoCpus', 'Conflicting options: Nano CPUs and CPU Quota cannot both be set.');
  host.refuse('MemoryReservation', [], 'there is no soft limit; leave it out');
  host.refuse('MemorySwappiness', [-1], 'it cannot be set; leave it out');
  host.refuse('KernelMemory', [], 'kernels have none any more');
  host.refuse('KernelMemoryTCP', [], 'kernels have none any more');
  host.refuse('OomKillDisable', [], 'a container that may use no more memory would hang; leave it out');
  host.refuse('CpuRealtimePeriod', [], 'it cannot be set; leave it out');
  host.refuse('CpuRealtimeRuntime', [], 'it cannot be set; leave it out');
  host.refuse('CpusetCpus', [], 'processors cannot be chosen; use --cpus');
  host.refuse('CpusetMems', [], 'memory nodes cannot be chosen; leave it out');
  host.refuse('CgroupParent', [], 'cgroups are laid out by Holdfast; leave it out');
  const cpuMillis =
    nanoCpus === undefined
      ? quota > 0
        ? Math.round((quota * 1000) / period)
        : undefined
      : Math.round(nanoCpus / nanosPerMilli);
  if (cpuMillis !== undefined && cpuMillis < 10) host.problem('NanoCpus', 'the least is 0.01 of a processor');
  const limits = {
    ...(memory === undefined ? {} : { memory }),
    ...(memorySwap > 0 && memory !== undefined ? { swap: memorySwap - memory } : {}),
    ...(cpuMillis === undefined ? {} : { cpu: `${cpuMillis}m` }),
    ...(pids === 0 ? {} : { pids: pids < 0 ? mostPids : pids }),
  };
  const requests =
    shares === undefined ? undefined : { cpu: `${Math.max(1, Math.round((shares * 1000) / sharesOfACore))}m` };
  const isEmpty = Object.keys(limits).length === 0 && requests === undefined;
  return {
    ...(isEmpty ? {} : { resources: { limits, ...(requests === undefined ? {} : { requests }) } }),
    ...(shmSize === undefined ? {} : { shmSize }),
  };
}

const suffixes: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  m: 1e-3,
};

/** A Kubernetes quantity as the schema lets it through; 0 without one. */
function quantityOf(value: number | string | undefined): number {
  if (value === undefined || typeof value === 'number') return value ?? 0;
  const [, number = '0', suffix = ''] = /^([0-9.]+)([a-zA-Z]*)$/.exec(value) ?? [];
  return Number(number) * (suffixes[suffix] ?? 1);
}

/** As HostConfig has them: bytes, billionths of a processor. */
export function formatResources({ resources: { limits, requests }, shmSize }: ContainerSpec): object {
  const memory = Math.round(quantityOf(limits.memory));
  return {
    Memory: memory,
    MemorySwap: memory === 0 ? 0 : memory + Math.round(quantityOf(limits.swap)),
    NanoCpus: Math.round(quantityOf(limits.cpu) * 1e9),
    CpuShares: Math.round(quantityOf(requests?.cpu) * sharesOfACore),
    PidsLimit: limits.pids,
    ShmSize: shmSize === undefined ? 64 * 2 ** 20 : Math.round(quantityOf(shmSize)),
  };
}
