/**
 * What tells of hosts: Node, which a host's controller keeps, and Lease, its heartbeat; as data. Pure. Field names, rules and
 * columns are those of k8s.io/api/core/v1 and coordination/v1, and of kube-apiserver's printers.
 */
import { column, core, root, text } from './core-kinds.ts';
import type { FieldError } from './field-errors.ts';
import { getPath, getString, isJsonArray, isJsonObject, type JsonObject } from './json.ts';
import { amountOf } from './quantity.ts';
import { ageColumn, type KubeObject, nameColumn, type ResourceKind } from './resources.ts';
import type { OpenApiSchema } from './schema.ts';

/** Where Nodes are kept. */
export const nodeStorageKey = 'nodes';

/** Where the heartbeats of Nodes are. */
export const leaseNamespace = 'kube-node-lease';

const time = (description: string): OpenApiSchema => ({
  type: 'string',
  format: 'date-time',
  nullable: true,
  description,
});
const flag = (description: string): OpenApiSchema => ({ type: 'boolean', description });
const integer = (description: string): OpenApiSchema => ({ type: 'integer', format: 'int32', description });
const object = (description: string, properties: Readonly<Record<string, OpenApiSchema>>): OpenApiSchema => ({
  type: 'object',
  description,
  properties,
});
const texts = (description: string): OpenApiSchema => ({ type: 'array', items: { type: 'string' }, description });
const quantities = (description: string): OpenApiSchema => ({
  type: 'object',
  description,
  additionalProperties: { 'x-kubernetes-int-or-string': true },
});

/** A list that is merged by one key, in patches too. */
const keyed = (
  description: string,
  key: string,
  properties: Readonly<Record<string, OpenApiSchema>>,
  required: readonly string[],
): OpenApiSchema => ({
  type: 'array',
  description,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': [key],
  'x-kubernetes-patch-strategy': 'merge',
  'x-kubernetes-patch-merge-key': key,
  items: { type: 'object', required, properties },
});

const nodeInfoFields = [
  ...['architecture', 'bootID', 'containerRuntimeVersion', 'kernelVersion', 'kubeProxyVersion', 'kubeletVersion'],
  ...['machineID', 'operatingSystem', 'osImage', 'systemUUID'],
];

const nodeSchema = root('Node is a host that keeps containers. Its controller writes it.', {
  spec: object('What is asked of the host.', {
    podCIDR: text('Addresses of its containers.'),
    podCIDRs: texts('Addresses of its containers, of each family.'),
    providerID: text('Its id with whoever provides it.'),
    taints: {
      type: 'array',
      description: 'Marks by which containers would be kept away; they have no effect here.',
      items: {
        type: 'object',
        required: ['key', 'effect'],
        properties: {
          key: text('Key of the taint.'),
          value: text('Value of the taint.'),
          effect: text('NoSchedule, PreferNoSchedule or NoExecute.'),
          timeAdded: time('When it was added.'),
        },
      },
    },
    unschedulable: flag('Whether no further containers are to come; without effect here, where each names its host.'),
  }),
  status: object('What is true of the host now.', {
    addresses: {
      type: 'array',
      description: 'How it is reached.',
      // Several of one type are allowed; only patches merge by it.
      'x-kubernetes-patch-strategy': 'merge',
      'x-kubernetes-patch-merge-key': 'type',
      items: {
        type: 'object',
        required: ['type', 'address'],
        properties: { type: text('InternalIP, ExternalIP, Hostname, …'), address: text('The address.') },
      },
    },
    allocatable: quantities('What containers may use of it.'),
    capacity: quantities('What it has.'),
    conditions: keyed(
      'What is well with it and what is not.',
      'type',
      {
        type: text('Ready, MemoryPressure, DiskPressure, PIDPressure or NetworkUnavailable.'),
        status: text('True, False or Unknown.'),
        lastHeartbeatTime: time('When it was last told.'),
        lastTransitionTime: time('When the status last changed.'),
        reason: text('One word for it.'),
        message: text('Details for people.'),
      },
      ['type', 'status'],
    ),
    daemonEndpoints: {
      ...object('Ports of its daemons.', {}),
      'x-kubernetes-preserve-unknown-fields': true,
    },
    images: {
      type: 'array',
      description: 'Images that it has.',
      items: object('An image.', {
        names: texts('Its names.'),
        sizeBytes: { type: 'integer', format: 'int64', description: 'Its size.' },
      }),
    },
    nodeInfo: object(
      'What it is.',
      Object.fromEntries(nodeInfoFields.map((field) => [field, text(`The ${field} that it tells.`)])),
    ),
    phase: text('No longer used.'),
    volumesAttached: {
      type: 'array',
      description: 'Volumes attached to it.',
      items: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    },
    volumesInUse: texts('Volumes in use on it.'),
  }),
});

/** Conditions by their type. */
export function nodeConditionOf(node: JsonObject, type: string): JsonObject | undefined {
  const conditions = getPath(node, ['status', 'conditions']);
  return (isJsonArray(conditions) ? conditions : []).filter(isJsonObject).find((condition) => condition.type === type);
}

function formatNodeStatus(node: JsonObject): string {
  const ready = nodeConditionOf(node, 'Ready');
  const status = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return getPath(node, ['spec', 'unschedulable']) === true ? `${status},SchedulingDisabled` : status;
}

const rolePrefix = 'node-role.kubernetes.io/';

function formatRoles(node: JsonObject): string {
  const labels = getPath(node, ['metadata', 'labels']);
  const entries = Object.entries(isJsonObject(labels) ? labels : {});
  const roles = entries.flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix) && key.length > rolePrefix.length) return [key.slice(rolePrefix.length)];
    return key === 'kubernetes.io/role' && typeof value === 'string' && value !== '' ? [value] : [];
  });
  return roles.length === 0 ? '<none>' : [...new Set(roles)].sort().join(',');
}

function addressOf(type: string): (node: JsonObject) => string {
  return (node) => {
    const addresses = getPath(node, ['status', 'addresses']);
    const found = (isJsonArray(addresses) ? addresses : []).find((one) => getString(one, 'type') === type);
    return getString(found, 'address') ?? '<none>';
  };
}

const info = (field: string) => (node: JsonObject) => getString(node, 'status', 'nodeInfo', field) || '<unknown>';

function validateNode(node: KubeObject): readonly FieldError[] {
  return ['capacity', 'allocatable'].flatMap((list) => {
    const found = getPath(node, ['status', list]);
    return Object.entries(isJsonObject(found) ? found : {}).flatMap(([name, value]): readonly FieldError[] => {
      const quantity = amountOf(value);
      if (quantity !== undefined && quantity >= 0) return [];
      const detail =
        quantity === undefined ? 'must be a quantity, like 4, 500m or 16Gi' : 'must be greater than or equal to 0';
      return [{ kind: 'invalid', field: `status.${list}[${name}]`, value: value ?? null, detail }];
    });
  });
}

const nodes = core({
  kind: 'Node',
  plural: 'nodes',
  storageKey: nodeStorageKey,
  shortNames: ['no'],
  isNamespaced: false,
  hasStatus: true,
  openApi: nodeSchema,
  columns: [
    nameColumn,
    column('Status', 'string', formatNodeStatus),
    column('Roles', 'string', formatRoles),
    ageColumn,
    column('Version', 'string', (node) => getString(node, 'status', 'nodeInfo', 'kubeletVersion')),
    column('Internal-IP', 'string', addressOf('InternalIP'), 1),
    column('External-IP', 'string', addressOf('ExternalIP'), 1),
    column('OS-Image', 'string', info('osImage'), 1),
    column('Kernel-Version', 'string', info('kernelVersion'), 1),
    column('Container-Runtime', 'string', info('containerRuntimeVersion'), 1),
  ],
  selectableFields: new Map([['spec.unschedulable', ['spec', 'unschedulable']]]),
  selectorAliases: new Map([['spec.unschedulable', { false: '' }]]),
  validate: validateNode,
});

const leases = core({
  kind: 'Lease',
  plural: 'leases',
  group: 'coordination.k8s.io',
  isNamespaced: true,
  definitionName: 'io.k8s.api.coordination.v1.Lease',
  storageKey: 'leases.coordination.k8s.io',
  openApi: root(
    'Lease says who holds something, and since when: the heartbeat of a host, or the election of a leader.',
    {
      spec: object('Who holds it.', {
        acquireTime: time('When it was acquired.'),
        holderIdentity: text('Who holds it.'),
        leaseDurationSeconds: integer('How long it holds after a renewal.'),
        leaseTransitions: integer('How often it changed hands.'),
        preferredHolder: text('Who should take it next.'),
        renewTime: time('When it was last renewed.'),
        strategy: text('How the holder is chosen.'),
      }),
    },
  ),
  columns: [nameColumn, column('Holder', 'string', (lease) => getString(lease, 'spec', 'holderIdentity')), ageColumn],
  validate: (lease) => [
    ...atLeast(lease, 'leaseDurationSeconds', 1, 'must be greater than 0'),
    ...atLeast(lease, 'leaseTransitions', 0, 'must be greater than or equal to 0'),
  ],
});

function atLeast(lease: KubeObject, field: string, min: number, detail: string): readonly FieldError[] {
  const value = getPath(lease, ['spec', field]);
  return typeof value === 'number' && value < min ? [{ kind: 'invalid', field: `spec.${field}`, value, detail }] : [];
}

export const nodeKind: ResourceKind = nodes;
export const leaseKind: ResourceKind = leases;

/** In the order of discovery. */
export const nodeKinds: readonly ResourceKind[] = [nodes, leases];
