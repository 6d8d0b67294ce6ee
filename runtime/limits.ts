/**
 * What limits mean to the kernel: the resources of an OCI configuration, and the control files that change them in a
 * running container, for cgroups version 1 and 2. Pure. Source: Linux, Documentation/admin-guide/cgroup-v1 and
 * cgroup-v2.rst; shares and weight as in Kubernetes' cm/helpers_linux.go and crun.
 */
import { ContainerConfigError, type Limits } from './interface.ts';

/** One value to write to one control file. */
export interface CgroupWrite {
  readonly controller: 'memory' | 'cpu' | 'pids';
  readonly file: string;
  readonly value: string;
  /** The kernel may be built without it; then there is nothing to limit. */
  readonly isOptional: boolean;
}

const cpuPeriodMicros = 100_000;
/** What the kernel gives every cgroup, as for one core. */
const defaultShares = 1_024;
const defaultWeight = 100;

/** Quota for each period, at least the kernel's minimum of 1 ms; undefined: no limit. */
export function cpuQuotaMicros({ cpuMillis }: Limits): number | undefined {
  return cpuMillis === undefined ? undefined : Math.max(1_000, Math.round(cpuMillis * 100));
}

/** Between the kernel's bounds, 2 and 262144; undefined: as the kernel has it. */
export function cpuShares({ cpuRequestMillis }: Limits): number | undefined {
  if (cpuRequestMillis === undefined) return undefined;
  return Math.min(262_144, Math.max(2, Math.floor((cpuRequestMillis * 1_024) / 1_000)));
}

/** Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000). */
function cpuWeight(shares: number): number {
  return 1 + Math.floor(((shares - 2) * 9_999) / 262_142);
}

/** Memory and swap together, in bytes; undefined: no limit. */
function totalBytes({ memoryBytes, swapBytes }: Limits): number | undefined {
  return memoryBytes === undefined ? undefined : memoryBytes + (swapBytes ?? 0);
}

/** Throws ContainerConfigError for limits that contradict each other or that the kernel would not take. */
export function checkLimits(limits: Limits): void {
  if (limits.swapBytes !== undefined && limits.memoryBytes === undefined) {
    throw new ContainerConfigError('limits', 'a limit of swap means nothing without one of memory; give both');
  }
  for (const [name, value] of Object.entries(limits)) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) continue;
    throw new ContainerConfigError('limits', `${name} is ${value}; use a whole number that is not negative`);
  }
}

/** linux.resources of an OCI configuration, but for devices. */
export function formatResources(limits: Limits, canLimitSwap: boolean): object {
  const quota = cpuQuotaMicros(limits);
  const shares = cpuShares(limits);
  const cpu = {
    ...(quota === undefined ? {} : { quota, period: cpuPeriodMicros }),
    ...(shares === undefined ? {} : { shares }),
  };
  return {
    ...(limits.memoryBytes === undefined
      ? {}
      : { memory: { limit: limits.memoryBytes, ...(canLimitSwap ? { swap: totalBytes(limits) } : {}) } }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(limits.pids === undefined ? {} : { pids: { limit: limits.pids } }),
  };
}

/** The writes that bring a cgroup to these limits, in an order that works upwards and downwards. */
export function limitWrites(kind: 'v1' | 'v2', limits: Limits, before: Limits): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const quota = cpuQuotaMicros(limits);
  const shares = cpuShares(limits);
  const isShareKept = shares === undefined && cpuShares(before) === undefined;
  const write = (controller: CgroupWrite['controller'], file: string, value: string, isOptional = false): void => {
    writes.push({ controller, file, value, isOptional });
  };
  if (kind === 'v2') {
    const swap = limits.memoryBytes === undefined ? 'max' : String(limits.swapBytes ?? 0);
    write('memory', 'memory.swap.max', swap, true);
    write('memory', 'memory.max', limits.memoryBytes === undefined ? 'max' : String(limits.memoryBytes));
    write('cpu', 'cpu.max', `${quota ?? 'max'} ${cpuPeriodMicros}`);
    if (!isShareKept) {
      write('cpu', 'cpu.weight', String(shares === undefined ? defaultWeight : cpuWeight(shares)));
    }
  } else {
    // memory + swap may never be below memory, so raising starts with it and lowering ends with it.
    const total = totalBytes(limits);
    const isRaised = (total ?? Infinity) > (totalBytes(before) ?? Infinity);
    const writeTotal = (): void => write('memory', 'memory.memsw.limit_in_bytes', String(total ?? -1), true);
    if (isRaised) writeTotal();
    write('memory', 'memory.limit_in_bytes', String(limits.memoryBytes ?? -1));
    if (!isRaised) writeTotal();
    write('cpu', 'cpu.cfs_period_us', String(cpuPeriodMicros));
    write('cpu', 'cpu.cfs_quota_us', String(quota ?? -1));
    if (!isShareKept) write('cpu', 'cpu.shares', String(shares ?? defaultShares));
  }
  write('pids', 'pids.max', limits.pids === undefined ? 'max' : String(limits.pids));
  return writes;
}

/** Whether less memory is allowed than before. */
export function isMemoryLowered(limits: Limits, before: Limits): boolean {
  return (limits.memoryBytes ?? Infinity) < (before.memoryBytes ?? Infinity);
}
