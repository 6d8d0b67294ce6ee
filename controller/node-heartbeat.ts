/**
 * Keeps the Node and the heartbeat Lease of this host at the API server, as a kubelet does. Effects; what the Node says is
 * in node-status.ts. It has nothing to do with containers: they go on whether it gets through or not.
 */
import type { Logger } from 'pino';
import { type ApiAccess, ApiError, type ApiRequest, callApi } from '../client/index.ts';
import type { HostFacts } from './host-facts.ts';
import { conditionsIn, formatNodeStatus, isNews, nodeLabelsOf } from './node-status.ts';

export interface NodeHeartbeatDeps {
  readonly access: ApiAccess;
  readonly nodeName: string;
  readonly facts: () => Promise<HostFacts>;
  readonly now: () => number;
  readonly log: Logger;
  /** Between two renewals; the kubelet's 10 s by default. */
  readonly everyMs?: number | undefined;
}

export interface NodeHeartbeat {
  close(): Promise<void>;
}

const renewMs = 10_000;
/** Source: the kubelet's nodeLeaseDurationSeconds. */
const leaseSeconds = 40;

/** Begins at once, and goes on until it is closed. */
export function startNodeHeartbeat(deps: NodeHeartbeatDeps): NodeHeartbeat {
  const { log, everyMs = renewMs } = deps;
  const stop = new AbortController();
  let problem: string | undefined;
  let running: Promise<void> | undefined;
  const beat = async (): Promise<void> => {
    try {
      await beatOnce(deps, stop.signal);
      if (problem !== undefined) log.info('the Node of this host is written again');
      problem = undefined;
    } catch (error) {
      if (stop.signal.aborted) return;
      // An outage lasts for many beats, and is told of once.
      const what = error instanceof ApiError ? `${error.code} ${error.reason}` : String(error);
      if (what !== problem) log.warn({ err: error }, 'the Node of this host cannot be written; trying on');
      problem = what;
    }
  };
  const begin = (): void => {
    running ??= beat().finally(() => {
      running = undefined;
    });
  };
  begin();
  const timer = setInterval(begin, everyMs);
  return {
    close: async () => {
      clearInterval(timer);
      stop.abort(new Error('the heartbeat was closed'));
      await running;
    },
  };
}

const nodesPath = '/api/v1/nodes';
const leasesPath = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';

/** A Node of a real cluster gets no Pods of others: nothing here would run them. */
const taint = { key: 'holdfast.dev/containers-only', effect: 'NoSchedule' };

/** One heartbeat: the Lease before the status, since it is what keeps the Node believed. */
async function beatOnce(deps: NodeHeartbeatDeps, signal: AbortSignal): Promise<void> {
  const call: Call = (request) => callApi(deps.access, { ...request, signal });
  const path = `${nodesPath}/${encodeURIComponent(deps.nodeName)}`;
  const found = await unlessMissing(call({ method: 'GET', path }));
  const known = found === undefined ? undefined : parseNode(found);
  if (known !== undefined && isOfAnother(known)) throw new ForeignNodeError(deps.nodeName);
  const isLeased = known !== undefined && (await renewLease(call, deps));
  const facts = await deps.facts();
  const node = known ?? (await createNode(call, deps, facts));
  if (!isLeased) await createLease(call, deps, node);
  await updateNode(call, deps, { path, node, facts });
}

/** A kubelet has a Node of that name: it is not ours to write. */
class ForeignNodeError extends Error {
  override readonly name = 'ForeignNodeError';
  constructor(nodeName: string) {
    super(
      `a kubelet keeps the Node ${nodeName}; give this host another name with --node-name to have it shown as well`,
    );
  }
}

function isOfAnother({ status }: KnownNode): boolean {
  const { nodeInfo } = (status ?? {}) as { nodeInfo?: { containerRuntimeVersion?: unknown } };
  const runtime = nodeInfo?.containerRuntimeVersion;
  return typeof runtime === 'string' && runtime !== '' && !runtime.startsWith('holdfast://');
}

type Call = (request: Omit<ApiRequest, 'signal'>) => Promise<unknown>;

function leaseSpec({ nodeName, now }: NodeHeartbeatDeps) {
  const renewTime = new Date(now()).toISOString().replace('Z', '000Z'); // metav1.MicroTime
  return { holderIdentity: nodeName, leaseDurationSeconds: leaseSeconds, renewTime };
}

/** False: there is none. */
async function renewLease(call: Call, deps: NodeHeartbeatDeps): Promise<boolean> {
  const path = `${leasesPath}/${encodeURIComponent(deps.nodeName)}`;
  const body = { spec: leaseSpec(deps) };
  const found = await unlessMissing(call({ method: 'PATCH', path, body, contentType: 'application/merge-patch+json' }));
  return found !== undefined;
}

/** Owned by the Node, so that it goes with it. */
async function createLease(call: Call, deps: NodeHeartbeatDeps, { uid }: KnownNode): Promise<void> {
  const { nodeName } = deps;
  const owner = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid };
  const body = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: nodeName, ownerReferences: [owner] },
    spec: leaseSpec(deps),
  };
  try {
    await call({ method: 'POST', path: leasesPath, body });
  } catch (error) {
    // That of a Node that is gone has not gone with it yet: the next heartbeat finds none.
    if (!(error instanceof ApiError && error.code === 409)) throw error;
  }
}

interface KnownNode {
  readonly uid: string;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly status: unknown;
}

async function createNode(call: Call, { nodeName }: NodeHeartbeatDeps, facts: HostFacts): Promise<KnownNode> {
  const metadata = { name: nodeName, labels: nodeLabelsOf(facts) };
  const body = { apiVersion: 'v1', kind: 'Node', metadata, spec: { taints: [taint] } };
  return parseNode(await call({ method: 'POST', path: nodesPath, body }));
}

/** Writes what has changed. */
async function updateNode(
  call: Call,
  { now }: NodeHeartbeatDeps,
  { path, node, facts }: { readonly path: string; readonly node: KnownNode; readonly facts: HostFacts },
): Promise<void> {
  const labels = nodeLabelsOf(facts);
  if (Object.entries(labels).some(([key, value]) => node.labels[key] !== value)) {
    await call({ method: 'PATCH', path, body: { metadata: { labels } }, contentType: 'application/merge-patch+json' });
  }
  const status = formatNodeStatus(facts, conditionsIn(node.status), now());
  if (!isNews(status, node.status, now())) return;
  // Strategic: conditions of others stay.
  const contentType = 'application/strategic-merge-patch+json';
  await call({ method: 'PATCH', path: `${path}/status`, body: { status }, contentType });
}

async function unlessMissing(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

/** Throws ApiError. */
function parseNode(raw: unknown): KnownNode {
  const { metadata, status } = (raw ?? {}) as { metadata?: { uid?: unknown; labels?: unknown }; status?: unknown };
  if (typeof metadata?.uid !== 'string') throw new ApiError('GET a Node', 502, 'BadGateway', 'a body that is no Node');
  const { uid, labels } = metadata;
  const isMap = typeof labels === 'object' && labels !== null;
  return { uid, labels: isMap ? (labels as Record<string, unknown>) : {}, status };
}
