/** `docker stats`: the figures of a container, once or every second. Effects; how they are shown is pure. */
import { totalmem } from 'node:os';
import { type Container, containerIDOf } from '../crds/index.ts';
import { ContainerNotFoundError, type Stats } from '../runtime/index.ts';
import { dockerNameOf } from './names.ts';
import { booleanOf, type Call, type Route } from './route.ts';
import type { StreamDeps } from './stream-deps.ts';

export function statsRoutes(deps: StreamDeps): readonly Route[] {
  return [{ method: 'GET', path: '/containers/{id}/stats', handle: (call) => giveStats(deps, call) }];
}

interface Sample {
  readonly stats: Stats | undefined;
  readonly atMs: number;
}

const intervalMs = 1_000;

async function giveStats(deps: StreamDeps, call: Call): Promise<void> {
  const object = deps.find(call.params.id ?? '');
  const isStream = booleanOf(call.query, 'stream', true);
  const isOneShot = !isStream && booleanOf(call.query, 'one-shot');
  const format = (sample: Sample, before: Sample | undefined): object =>
    formatStats({
      object,
      name: dockerNameOf(object, deps.namespace),
      hostMemoryBytes: totalmem(),
      sample,
      before,
    });
  let last = await observe(deps, object);
  if (!isStream) {
    // Two of them, since how busy it is is the difference.
    const isEnough = isOneShot || last.stats === undefined;
    if (!isEnough) await pause(intervalMs, call.signal);
    const sample = isEnough ? last : await observe(deps, object);
    return call.json(200, format(sample, isEnough ? undefined : last));
  }
  const out = call.stream(200, { 'Content-Type': 'application/json' });
  out.on('error', () => {}); // the client went away: the signal says so
  let before: Sample | undefined;
  for (;;) {
    if (!out.write(`${JSON.stringify(format(last, before))}\n`)) {
      await new Promise<void>((resolve) => {
        for (const event of ['drain', 'close']) out.once(event, () => resolve());
      });
    }
    await pause(intervalMs, call.signal);
    if (deps.objects.get(object.metadata.uid) === undefined) break;
    before = last;
    last = await observe(deps, object);
  }
  out.end();
}

async function observe({ runtime, now }: StreamDeps, object: Container): Promise<Sample> {
  try {
    return { stats: await runtime.containers.stats(containerIDOf(object), { isDetailed: true }), atMs: now() };
  } catch (error) {
    if (error instanceof ContainerNotFoundError) return { stats: undefined, atMs: now() };
    throw error;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', aborted);
      resolve();
    }, ms);
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
  });
}

export interface FormatInput {
  readonly object: Container;
  readonly name: string;
  /** The limit of a container that has none. */
  readonly hostMemoryBytes: number;
  readonly sample: Sample;
  readonly before: Sample | undefined;
}

const never = '0001-01-01T00:00:00Z';

/** Names: Engine API, ContainerStats. */
export function formatStats({ object, name, hostMemoryBytes, sample, before }: FormatInput): object {
  const { stats } = sample;
  const details = stats?.details;
  const networks = Object.entries(details?.networks ?? {}).map(([card, one]) => [
    card,
    {
      rx_bytes: one.receivedBytes,
      rx_packets: one.receivedPackets,
      rx_errors: one.receiveErrors,
      rx_dropped: one.receiveDropped,
      tx_bytes: one.sentBytes,
      tx_packets: one.sentPackets,
      tx_errors: one.sendErrors,
      tx_dropped: one.sendDropped,
    },
  ]);
  return {
    read: details === undefined ? never : new Date(sample.atMs).toISOString(),
    preread: before?.stats === undefined ? never : new Date(before.atMs).toISOString(),
    pids_stats:
      stats === undefined
        ? {}
        : { current: stats.processes, ...(stats.processLimit === undefined ? {} : { limit: stats.processLimit }) },
    blkio_stats: formatDisks(stats),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: formatCpu(stats),
    precpu_stats: formatCpu(before?.stats),
    memory_stats: formatMemory(stats, hostMemoryBytes),
    name: `/${name}`,
    id: containerIDOf(object),
    ...(networks.length === 0 ? {} : { networks: Object.fromEntries(networks) }),
  };
}

function formatCpu(stats: Stats | undefined): object {
  const throttling = { periods: 0, throttled_periods: 0, throttled_time: 0 };
  const details = stats?.details;
  if (stats === undefined || details === undefined)
    return {
      cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
      throttling_data: throttling,
    };
  return {
    cpu_usage: {
      total_usage: stats.cpuNanoseconds,
      ...(details.cpuNanosecondsOfEach === undefined ? {} : { percpu_usage: details.cpuNanosecondsOfEach }),
      usage_in_kernelmode: details.cpuKernelNanoseconds,
      usage_in_usermode: details.cpuUserNanoseconds,
    },
    system_cpu_usage: details.hostCpuNanoseconds,
    online_cpus: details.processors,
    throttling_data: {
      periods: details.periods,
      throttled_periods: details.throttledPeriods,
      throttled_time: stats.throttledNanoseconds,
    },
  };
}

function formatMemory(stats: Stats | undefined, hostMemoryBytes: number): object {
  const details = stats?.details;
  if (stats === undefined || details === undefined) return {};
  const isV1 = details.cgroupVersion === 1;
  return {
    usage: details.memoryUsageBytes,
    ...(isV1 ? { max_usage: details.memoryPeakBytes } : {}),
    stats: details.memory,
    ...(details.memoryFailures === 0 ? {} : { failcnt: details.memoryFailures }),
    limit: stats.memoryLimitBytes ?? hostMemoryBytes,
  };
}

function formatDisks(stats: Stats | undefined): object {
  const disks = stats?.details?.disks ?? [];
  const isV1 = stats?.details?.cgroupVersion === 1;
  const list = (read: 'readBytes' | 'reads', written: 'writtenBytes' | 'writes') =>
    disks.flatMap((disk) => {
      const { major, minor } = disk;
      return [
        { major, minor, op: isV1 ? 'Read' : 'read', value: disk[read] },
        { major, minor, op: isV1 ? 'Write' : 'write', value: disk[written] },
        ...(isV1 ? [{ major, minor, op: 'Total', value: disk[read] + disk[written] }] : []),
      ];
    });
  return {
    io_service_bytes_recursive: list('readBytes', 'writtenBytes'),
    io_serviced_recursive: list('reads', 'writes'),
    io_queue_recursive: [],
    io_service_time_recursive: [],
    io_wait_time_recursive: [],
    io_merged_recursive: [],
    io_time_recursive: [],
    sectors_recursive: [],
  };
}
