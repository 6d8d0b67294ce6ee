/**
 * The Node that stands for this host, from what is known of the host. Pure. Reasons and labels are the kubelet's own, since
 * tools look for them. Source: pkg/kubelet/nodestatus/setters.go.
 */
import type { HostFacts } from './host-facts.ts';

export interface NodeCondition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly lastHeartbeatTime: string;
  readonly lastTransitionTime: string;
}

export interface NodeStatus {
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly capacity: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly conditions: readonly NodeCondition[];
  readonly nodeInfo: Readonly<Record<string, string>>;
}

/** Below so much free memory a kubelet evicts: --eviction-hard memory.available. */
const minFreeMemoryBytes = 100 * 2 ** 20;
/** Likewise of the disk (nodefs.available), and of process numbers. */
const minFreeDisk = 0.1;
const minFreeProcesses = 0.05;

/** Ports of one bridge of Linux (BR_MAX_PORTS, less the bridge's own): so many containers have a network of their own. */
const maxContainers = 1023;

/** The labels by which a host is told from others. */
export function nodeLabelsOf({ hostname, architecture }: HostFacts): Readonly<Record<string, string>> {
  return {
    'kubernetes.io/hostname': hostname,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
  };
}

type Verdict = Pick<NodeCondition, 'type' | 'status' | 'reason' | 'message'>;

function verdictsOf({ memory, disk, processes }: HostFacts): readonly Verdict[] {
  const pressure = (type: string, isShort: boolean, [bad, good]: readonly [string, string], what: string): Verdict => ({
    type,
    status: isShort ? 'True' : 'False',
    reason: `KubeletHas${isShort ? bad : good}`,
    message: isShort ? `the host is short of ${what}` : `the host has enough ${what}`,
  });
  return [
    {
      type: 'NetworkUnavailable',
      status: 'False',
      reason: 'HoldfastIsUp',
      message: 'holdfast gives containers their network on this host',
    },
    pressure(
      'MemoryPressure',
      memory.freeBytes < minFreeMemoryBytes,
      ['InsufficientMemory', 'SufficientMemory'],
      'memory',
    ),
    pressure(
      'DiskPressure',
      disk.freeBytes < disk.totalBytes * minFreeDisk,
      ['DiskPressure', 'NoDiskPressure'],
      'disk',
    ),
    pressure(
      'PIDPressure',
      processes.max - processes.count < processes.max * minFreeProcesses,
      ['InsufficientPID', 'SufficientPID'],
      'process numbers',
    ),
    { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'holdfast is posting ready status' },
  ];
}

/** `before`: conditions as the API server has them, which say since when each is so. `nowMs`: since the epoch. */
export function formatNodeStatus(
  facts: HostFacts,
  before: readonly Partial<NodeCondition>[],
  nowMs: number,
): NodeStatus {
  const now = formatTime(nowMs);
  const amounts = {
    cpu: String(facts.cpuCount),
    memory: `${Math.floor(facts.memory.totalBytes / 1024)}Ki`,
    'ephemeral-storage': `${Math.floor(facts.disk.totalBytes / 1024)}Ki`,
    pods: String(maxContainers),
  };
  return {
    addresses: [
      { type: 'InternalIP', address: facts.ip },
      { type: 'Hostname', address: facts.hostname },
    ],
    capacity: amounts,
    allocatable: amounts,
    conditions: verdictsOf(facts).map((verdict) => {
      const old = before.find(({ type }) => type === verdict.type);
      const since = old?.status === verdict.status ? old.lastTransitionTime : undefined;
      return { ...verdict, lastHeartbeatTime: now, lastTransitionTime: since ?? now };
    }),
    nodeInfo: {
      architecture: facts.architecture,
      bootID: facts.bootID,
      containerRuntimeVersion: `holdfast://${facts.version}`,
      kernelVersion: facts.kernelVersion,
      kubeProxyVersion: '',
      // What it speaks, in the form in which tools read versions; the build is whose it is.
      kubeletVersion: `v1.32.0+holdfast.${facts.version}`,
      machineID: facts.machineID,
      operatingSystem: 'linux',
      osImage: facts.osImage,
      systemUUID: facts.systemUUID,
    },
  };
}

/** Source: the kubelet's nodeStatusReportFrequency. */
const reportMs = 5 * 60_000;

/** Whether a status has to be written: it says something new, or nothing was said for five minutes. */
export function isNews(wanted: NodeStatus, present: unknown, nowMs: number): boolean {
  const known = readStatus(present);
  const ready = known.conditions.find(({ type }) => type === 'Ready');
  const toldMs = Date.parse(ready?.lastHeartbeatTime ?? '');
  if (Number.isNaN(toldMs) || Math.abs(nowMs - toldMs) >= reportMs) return true;
  const { conditions, ...rest } = wanted;
  const isTold = Object.entries(rest).every(
    ([key, value]) => JSON.stringify(sorted(value)) === JSON.stringify(sorted(known.rest[key])),
  );
  const verdict = ({ type, status, reason, message }: Partial<NodeCondition>) =>
    JSON.stringify([type, status, reason, message]);
  const told = new Set(known.conditions.map(verdict));
  return !isTold || !conditions.every((condition) => told.has(verdict(condition)));
}

/** The conditions of a status as it came from the API server; of anything else none. */
export function conditionsIn(status: unknown): readonly Partial<NodeCondition>[] {
  return readStatus(status).conditions;
}

function readStatus(status: unknown): {
  readonly conditions: readonly Partial<NodeCondition>[];
  readonly rest: Readonly<Record<string, unknown>>;
} {
  if (typeof status !== 'object' || status === null) return { conditions: [], rest: {} };
  const { conditions, ...rest } = status as { conditions?: unknown } & Record<string, unknown>;
  const list = Array.isArray(conditions) ? conditions : [];
  return { conditions: list.filter((one) => typeof one === 'object' && one !== null), rest };
}

/** The same with the keys of objects in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== '') // an API server leaves out what is empty
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/u, 'Z');
}
