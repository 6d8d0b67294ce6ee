/**
 * Every Container as a core/v1 Pod of the same name, for clients that know only Pods: kubectl logs, exec, attach, cp and
 * port-forward, and tools that show what runs. Read-only, and pure. An extra of this store: controllers must not depend on
 * it. Source of the fields: k8s.io/api/core/v1; of the columns: kube-apiserver's printers, printPod.
 */
import * as containers from '../crds/index.ts';
import { column, core, root, text } from './core-kinds.ts';
import { getPath, getString, isJsonObject, type JsonObject, objectsOf, pick } from './json.ts';
import { nodeStorageKey } from './node-kinds.ts';
import { podSpecOf } from './pod-spec.ts';
import { podStatusOf } from './pod-status.ts';
import { ageColumn, type KubeObject, type Lookup, nameColumn, type ResourceKind } from './resources.ts';
import type { OpenApiSchema } from './schema.ts';
import { formatAge } from './tables.ts';

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** The Pod that shows a Container. Both have one uid and one resourceVersion. */
export function podOf(container: KubeObject, lookup: Lookup): KubeObject {
  const { name, uid, annotations, finalizers: _finalizers, managedFields: _managed, ...meta } = container.metadata;
  const shown = Object.entries(annotations ?? {}).filter(([key]) => key !== lastApplied);
  const owner = { apiVersion: container.apiVersion, kind: container.kind, name, uid, controller: true };
  const grace = meta.deletionTimestamp === undefined ? {} : pick(container.spec, ['terminationGracePeriodSeconds']);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...meta,
      name,
      uid,
      ...(typeof grace.terminationGracePeriodSeconds === 'number'
        ? { deletionGracePeriodSeconds: grace.terminationGracePeriodSeconds }
        : {}),
      ...(shown.length === 0 ? {} : { annotations: Object.fromEntries(shown) }),
      ownerReferences: [owner],
    },
    spec: podSpecOf(container),
    status: podStatusOf(container, hostAddressOf(container, lookup)),
  };
}

/** The address of its node, as the node itself tells it. */
function hostAddressOf(container: KubeObject, lookup: Lookup): string | undefined {
  const nodeName = getString(container, 'status', 'nodeName');
  const node = nodeName === undefined ? undefined : lookup(nodeStorageKey, undefined, nodeName);
  const address = objectsOf(getPath(node, ['status', 'addresses'])).find(({ type }) => type === 'InternalIP')?.address;
  return typeof address === 'string' ? address : undefined;
}

/** What `kubectl get pods` shows as STATUS. */
export function formatPodStatus(pod: JsonObject): string {
  const phase = getString(pod, 'status', 'phase') ?? '';
  const isOver = phase === 'Succeeded' || phase === 'Failed';
  if (getString(pod, 'metadata', 'deletionTimestamp') !== undefined && !isOver) return 'Terminating';
  const [status] = objectsOf(getPath(pod, ['status', 'containerStatuses']));
  const waiting = getString(status, 'state', 'waiting', 'reason') ?? '';
  if (waiting !== '') return waiting;
  const terminated = getPath(status, ['state', 'terminated']);
  if (!isJsonObject(terminated)) return getString(pod, 'status', 'reason') ?? phase;
  const { reason, signal, exitCode } = terminated;
  if (typeof reason === 'string' && reason !== '') return reason;
  return typeof signal === 'number' && signal !== 0 ? `Signal:${signal}` : `ExitCode:${String(exitCode)}`;
}

function formatReady(pod: JsonObject): string {
  const all = objectsOf(getPath(pod, ['spec', 'containers']));
  const statuses = objectsOf(getPath(pod, ['status', 'containerStatuses']));
  return `${statuses.filter(({ ready }) => ready === true).length}/${all.length}`;
}

/** With how long ago the last one was, if there was one. */
function formatRestarts(pod: JsonObject, nowMs: number): string {
  const [status] = objectsOf(getPath(pod, ['status', 'containerStatuses']));
  const count = String(status?.restartCount ?? 0);
  const atMs = Date.parse(getString(status, 'lastState', 'terminated', 'finishedAt') ?? '');
  return count === '0' || Number.isNaN(atMs) ? count : `${count} (${formatAge(nowMs - atMs)} ago)`;
}

const shown = (description: string): OpenApiSchema => ({
  type: 'object',
  description,
  'x-kubernetes-preserve-unknown-fields': true,
});

/** The kind Pod, made from Containers. */
export const podKind: ResourceKind = core({
  kind: 'Pod',
  plural: 'pods',
  shortNames: ['po'],
  isNamespaced: true,
  hasStatus: true,
  hasStreams: true,
  openApi: root('Pod shows the Container of its name to clients that know only Pods. It is read-only.', {
    spec: {
      ...shown('The spec of the Container, in the words of a Pod.'),
      properties: {
        nodeName: text('The host that keeps the container.'),
        restartPolicy: text('When the container is started again.'),
      },
    },
    status: {
      ...shown('The status of the Container, in the words of a Pod.'),
      properties: { phase: text('Pending, Running, Succeeded or Failed.'), podIP: text('Address of the container.') },
    },
  }),
  columns: [
    nameColumn,
    column('Ready', 'string', formatReady),
    column('Status', 'string', formatPodStatus),
    column('Restarts', 'string', formatRestarts),
    ageColumn,
    column('IP', 'string', (pod) => getString(pod, 'status', 'podIP') ?? '<none>', 1),
    column('Node', 'string', (pod) => getString(pod, 'spec', 'nodeName') ?? '<none>', 1),
    column('Nominated Node', 'string', () => '<none>', 1),
    column('Readiness Gates', 'string', () => '<none>', 1),
  ],
  selectableFields: new Map([
    ['spec.nodeName', ['spec', 'nodeName']],
    ['spec.restartPolicy', ['spec', 'restartPolicy']],
    ['spec.schedulerName', ['spec', 'schedulerName']],
    ['spec.serviceAccountName', ['spec', 'serviceAccountName']],
    ['spec.hostNetwork', ['spec', 'hostNetwork']],
    ['status.nominatedNodeName', ['status', 'nominatedNodeName']],
    ['status.phase', ['status', 'phase']],
    ['status.podIP', ['status', 'podIP']],
  ]),
  projection: { storageKey: `${containers.plural}.${containers.group}`, project: podOf },
});
