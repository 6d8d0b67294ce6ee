/**
 * Says of a Node that nobody knows how it is when its host has stopped renewing its Lease. Effects. Time is counted from
 * when a renewal was seen here, on a clock that only goes on, so that clocks need not agree.
 * Source: the node lifecycle controller of kube-controller-manager, monitorNodeHealth and updateNodeHealth.
 */
import type { Logger } from 'pino';
import { formatTime } from './format-time.ts';
import { getPath, isJsonArray, isJsonObject, type JsonObject } from './json.ts';
import { leaseKind, leaseNamespace, nodeConditionOf, nodeKind } from './node-kinds.ts';
import type { KubeObject } from './resources.ts';
import type { Writer } from './writer.ts';

export interface NodeLifecycleDeps {
  readonly writer: Writer;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds that only go on. */
  readonly monotonic: () => number;
  readonly log: Logger;
}

/** Source: --node-monitor-grace-period and --node-monitor-period. */
const graceMs = 40_000;
const periodMs = 5_000;

const watched = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];

export class NodeLifecycle {
  readonly #deps: NodeLifecycleDeps;
  /** When a host was last heard of, by the name of its node. */
  readonly #seen = new Map<string, number>();
  readonly #unsubscribe: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor(deps: NodeLifecycleDeps) {
    this.#deps = deps;
    this.#unsubscribe = deps.writer.subscribe((storageKey, { entry, kind }) => {
      const { name, namespace } = entry.object.metadata;
      const isLease = storageKey === leaseKind.storageKey && namespace === leaseNamespace;
      if (!isLease && storageKey !== nodeKind.storageKey) return;
      if (kind === 'DELETED')
        this.#seen.delete(name); // a node that is still there has the whole grace period again
      else if (isLease) this.#seen.set(name, deps.monotonic());
    });
    this.#timer = setInterval(() => {
      this.look().catch((error: unknown) => deps.log.warn({ err: error }, 'nodes could not be looked at'));
    }, periodMs);
    this.#timer.unref();
  }

  /** Looks at all nodes once. */
  async look(): Promise<void> {
    const { writer, now, monotonic, log } = this.#deps;
    const atMs = monotonic();
    for (const { object } of writer.collection(nodeKind).list(undefined)) {
      const { name } = object.metadata;
      const seenMs = this.#seen.get(name);
      if (seenMs === undefined) this.#seen.set(name, atMs);
      if (seenMs === undefined || atMs - seenMs <= graceMs || !isBelieved(object)) continue;
      const isDoubted = await writer.write((transaction) => {
        const entry = transaction.get(nodeKind, undefined, name);
        // It may have been heard of meanwhile.
        if (entry === undefined || !isBelieved(entry.object) || this.#seen.get(name) !== seenMs) return false;
        transaction.put(nodeKind, doubtNode(entry.object, now()));
        return true;
      });
      if (isDoubted) log.warn({ node: name }, 'a node is not heard of any more');
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#unsubscribe();
  }
}

function isBelieved(node: KubeObject): boolean {
  return watched.some((type) => nodeConditionOf(node, type)?.status !== 'Unknown');
}

/** The node with every condition that only its host can tell as Unknown. Pure. */
export function doubtNode(node: KubeObject, nowMs: number): KubeObject {
  const time = formatTime(nowMs);
  const found = getPath(node, ['status', 'conditions']);
  const conditions = (isJsonArray(found) ? found : []).filter(isJsonObject);
  const doubted = conditions.map((condition): JsonObject => {
    if (!watched.includes(String(condition.type)) || condition.status === 'Unknown') return condition;
    return {
      ...condition,
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
      lastTransitionTime: time,
    };
  });
  const missing = watched.filter((type) => !conditions.some((condition) => condition.type === type));
  const never = missing.map((type) => ({
    type,
    status: 'Unknown',
    reason: 'NodeStatusNeverUpdated',
    message: 'Kubelet never posted node status.',
    lastHeartbeatTime: node.metadata.creationTimestamp,
    lastTransitionTime: time,
  }));
  const status = isJsonObject(node.status) ? node.status : {};
  return { ...node, status: { ...status, conditions: [...doubted, ...never] } };
}
