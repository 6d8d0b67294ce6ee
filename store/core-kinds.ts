/**
 * The core kinds: Namespace, Secret, ConfigMap and Event, as data. Pure. Field names, rules and columns are those of
 * k8s.io/api/core/v1 and of kube-apiserver's printers.
 */
import * as containers from '../crds/index.ts';
import type { FieldError } from './field-errors.ts';
import { getPath, getString, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import { ageColumn, type Column, type KubeObject, nameColumn, type ResourceKind } from './resources.ts';
import { compileSchema, type OpenApiSchema } from './schema.ts';
import { validateSecretType } from './secret-types.ts';

/** Data of one Secret or ConfigMap, in bytes. Source: core/v1 MaxSecretSize. */
const maxDataBytes = 1024 * 1024;

const eventTtlMs = 60 * 60 * 1000; // kube-apiserver's --event-ttl

/** The schema of a string. */
export const text = (description: string): OpenApiSchema => ({ type: 'string', description });
const time = (description: string): OpenApiSchema => ({ type: 'string', format: 'date-time', description });
const int32 = (description: string): OpenApiSchema => ({ type: 'integer', format: 'int32', description });
const textMap = (description: string): OpenApiSchema => ({
  type: 'object',
  description,
  additionalProperties: { type: 'string' },
});
const bytesMap = (description: string): OpenApiSchema => ({
  type: 'object',
  description,
  additionalProperties: { type: 'string', format: 'byte' },
});

const objectReference = (description: string): OpenApiSchema => ({
  type: 'object',
  description,
  'x-kubernetes-map-type': 'atomic',
  properties: {
    apiVersion: text('API version of the object.'),
    fieldPath: text('Part of the object that is meant, like spec.containers{name}.'),
    kind: text('Kind of the object.'),
    name: text('Name of the object.'),
    namespace: text('Namespace of the object.'),
    resourceVersion: text('Revision of the object that is meant.'),
    uid: text('Unique id of the object.'),
  },
});

/** The schema of a kind: the properties given, beside those that every object has. */
export function root(
  description: string,
  properties: Readonly<Record<string, OpenApiSchema>>,
  required: readonly string[] = [],
) {
  return {
    type: 'object',
    description,
    ...(required.length === 0 ? {} : { required: ['metadata', ...required] }),
    properties: {
      apiVersion: text('The versioned schema of this object, v1.'),
      kind: text('The kind of this object.'),
      metadata: { type: 'object', description: 'Standard object metadata.' },
      ...properties,
    },
  } satisfies OpenApiSchema;
}

type CoreKind = Pick<ResourceKind, 'kind' | 'plural' | 'isNamespaced' | 'openApi' | 'columns'> & Partial<ResourceKind>;

/** A core kind: what is not given is as most of them have it. */
export function core(kind: CoreKind): ResourceKind {
  return {
    group: '',
    version: 'v1',
    listKind: `${kind.kind}List`,
    singular: kind.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    isCustom: false,
    hasStatus: false,
    hasGeneration: false,
    hasStreams: false,
    schema: compileSchema(kind.openApi, kind.kind),
    definitionName: `io.k8s.api.core.v1.${kind.kind}`,
    storageKey: kind.plural,
    nameRule: 'subdomain',
    selectableFields: new Map(),
    prepare: (object) => object,
    validate: () => [],
    ttlMs: undefined,
    ...kind,
  };
}

/** A column without a description. */
export const column = (name: string, type: string, value: Column['value'], priority = 0): Column => ({
  name,
  type,
  description: '',
  priority,
  value,
});

/** Name of the finalizer in spec.finalizers that holds a namespace until it is empty. */
export const namespaceFinalizer = 'kubernetes';

const namespaces = core({
  kind: 'Namespace',
  plural: 'namespaces',
  shortNames: ['ns'],
  isNamespaced: false,
  hasStatus: true,
  serverSetFields: ['spec'],
  hasFinalize: true,
  isKeptFromDeleteCollection: true,
  nameRule: 'label',
  openApi: root('Namespace is a scope for the names of objects.', {
    spec: {
      type: 'object',
      description: 'How the namespace behaves.',
      properties: {
        finalizers: {
          type: 'array',
          items: { type: 'string' },
          description: 'What must be done before the namespace is removed; kubernetes empties it.',
          'x-kubernetes-list-type': 'atomic',
        },
      },
    },
    status: {
      type: 'object',
      description: 'What is true of the namespace now.',
      properties: {
        phase: text('Active or Terminating.'),
        conditions: {
          type: 'array',
          description: 'Details of a removal that is under way.',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['type'],
          'x-kubernetes-patch-strategy': 'merge',
          'x-kubernetes-patch-merge-key': 'type',
          items: {
            type: 'object',
            required: ['type', 'status'],
            properties: {
              type: text('Type of condition.'),
              status: text('True, False or Unknown.'),
              reason: text('One word for it.'),
              message: text('Details for people.'),
              lastTransitionTime: time('When the status last changed.'),
            },
          },
        },
      },
    },
  }),
  columns: [nameColumn, column('Status', 'string', (object) => getString(object, 'status', 'phase')), ageColumn],
  selectableFields: new Map([['status.phase', ['status', 'phase']]]),
  prepare: prepareNamespace,
});

function prepareNamespace(object: KubeObject, previous: KubeObject | undefined): KubeObject {
  const labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name };
  const metadata = { ...object.metadata, labels };
  if (previous !== undefined) return { ...object, metadata, spec: getPath(previous, ['spec']) ?? {} };
  return { ...object, metadata, spec: { finalizers: [namespaceFinalizer] }, status: { phase: 'Active' } };
}

const secrets = core({
  kind: 'Secret',
  plural: 'secrets',
  isNamespaced: true,
  openApi: root('Secret holds secret data of at most 1 MiB.', {
    data: bytesMap('The data: values in base64 by key.'),
    immutable: { type: 'boolean', description: 'If true, the data cannot be changed any more.' },
    stringData: textMap('Data as plain text, for writing only: it is merged into data.'),
    type: { ...text('For programs: what kind of data it is.'), default: 'Opaque' },
  }),
  columns: [
    nameColumn,
    column('Type', 'string', (object) => getString(object, 'type')),
    column('Data', 'string', (object) => countKeys(getPath(object, ['data']))),
    ageColumn,
  ],
  selectableFields: new Map([['type', ['type']]]),
  prepare: mergeStringData,
  validate: (object, previous) => [
    ...validateSecretType(object, previous),
    ...validateData(object, ['data']),
    ...validateImmutable(object, previous, ['data']),
  ],
});

function countKeys(...maps: readonly (Json | undefined)[]): number {
  return maps.reduce<number>((sum, map) => sum + (isJsonObject(map) ? Object.keys(map).length : 0), 0);
}

function mergeStringData(object: KubeObject): KubeObject {
  const { stringData, ...rest } = object;
  if (!isJsonObject(stringData)) return object;
  const encoded = Object.entries(stringData).map(([key, value]) => [
    key,
    Buffer.from(String(value)).toString('base64'),
  ]);
  const data = getPath(object, ['data']);
  return { ...rest, data: { ...(isJsonObject(data) ? data : {}), ...Object.fromEntries(encoded) } };
}

const configMaps = core({
  kind: 'ConfigMap',
  plural: 'configmaps',
  shortNames: ['cm'],
  isNamespaced: true,
  openApi: root('ConfigMap holds configuration data of at most 1 MiB.', {
    binaryData: bytesMap('Data that is not text: values in base64 by key.'),
    data: textMap('The data: text by key.'),
    immutable: { type: 'boolean', description: 'If true, the data cannot be changed any more.' },
  }),
  columns: [
    nameColumn,
    column('Data', 'string', (object) => countKeys(getPath(object, ['data']), getPath(object, ['binaryData']))),
    ageColumn,
  ],
  validate: (object, previous) => [
    ...validateData(object, ['data', 'binaryData']),
    ...validateImmutable(object, previous, ['data', 'binaryData']),
  ],
});

const dataKey = /^[-._a-zA-Z0-9]+$/;

function validateData(object: KubeObject, fields: readonly string[]): readonly FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  let sizeBytes = 0;
  for (const field of fields) {
    const data = getPath(object, [field]);
    for (const [key, value] of Object.entries(isJsonObject(data) ? data : {})) {
      const at = `${field}[${key}]`;
      if (key.length > 253 || !dataKey.test(key) || key === '.' || key === '..') {
        const detail =
          "a valid config key must consist of at most 253 alphanumeric characters, '-', '_' or '.' (e.g. 'key.name')";
        errors.push({ kind: 'invalid', field: at, value: key, detail });
      }
      if (seen.has(key)) {
        errors.push({ kind: 'invalid', field: at, value: key, detail: `duplicate of key present in ${fields[0]}` });
      }
      seen.add(key);
      sizeBytes += key.length + (typeof value === 'string' ? Buffer.byteLength(value) : 0);
    }
  }
  if (sizeBytes > maxDataBytes) errors.push({ kind: 'tooLong', field: fields[0] ?? '', maxBytes: maxDataBytes });
  return errors;
}

function validateImmutable(
  object: KubeObject,
  previous: KubeObject | undefined,
  fields: readonly string[],
): readonly FieldError[] {
  if (previous === undefined || getPath(previous, ['immutable']) !== true) return [];
  const detail = 'field is immutable when `immutable` is set';
  const changed = fields.filter((field) => !jsonEqual(getPath(object, [field]), getPath(previous, [field])));
  const stillSet = getPath(object, ['immutable']) === true;
  return [...(stillSet ? [] : ['immutable']), ...changed].map((field) => ({ kind: 'forbidden', field, detail }));
}

const eventFields = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];

/** When an Event was last seen, by whichever of its three forms it was written in. */
export function lastSeenOf(event: JsonObject): string | undefined {
  return (
    getString(event, 'series', 'lastObservedTime') ??
    getString(event, 'lastTimestamp') ??
    getString(event, 'eventTime') ??
    getString(event, 'metadata', 'creationTimestamp')
  );
}

const events = core({
  kind: 'Event',
  plural: 'events',
  shortNames: ['ev'],
  isNamespaced: true,
  ttlMs: eventTtlMs,
  isCreatedByUpdate: true,
  openApi: root(
    'Event reports what happened to an object. It is kept for an hour.',
    {
      action: text('What was done or failed.'),
      count: int32('How often it happened.'),
      eventTime: { ...time('When it was first seen.'), nullable: true },
      firstTimestamp: { ...time('When it was first recorded.'), nullable: true },
      involvedObject: objectReference('The object that the event is about.'),
      lastTimestamp: { ...time('When it was last recorded.'), nullable: true },
      message: text('Details for people.'),
      reason: text('One word for why the object changed as it did.'),
      related: { ...objectReference('A second object that has to do with it.'), nullable: true },
      reportingComponent: text('The controller that reports it.'),
      reportingInstance: text('The instance of that controller.'),
      series: {
        type: 'object',
        nullable: true,
        description: 'How it repeats.',
        properties: {
          count: int32('How often it happened.'),
          lastObservedTime: time('When it was last seen.'),
        },
      },
      source: {
        type: 'object',
        description: 'What reports it.',
        properties: {
          component: text('The component that reports it.'),
          host: text('The host it happened on.'),
        },
      },
      type: text('Normal or Warning.'),
    },
    ['involvedObject'],
  ),
  columns: [
    column('Last Seen', 'date', lastSeenOf),
    column('Type', 'string', (event) => getString(event, 'type')),
    column('Reason', 'string', (event) => getString(event, 'reason')),
    column('Object', 'string', (event) => {
      const kind = (getString(event, 'involvedObject', 'kind') ?? '').toLowerCase();
      const name = getString(event, 'involvedObject', 'name') ?? '';
      return name === '' ? kind : `${kind}/${name}`;
    }),
    column('Subobject', 'string', (event) => getString(event, 'involvedObject', 'fieldPath'), 1),
    column('Source', 'string', formatSource, 1),
    column('Message', 'string', (event) => getString(event, 'message')?.trim()),
    { ...ageColumn, name: 'First Seen', priority: 1, value: (event) => firstSeenOf(event) },
    column('Count', 'string', (event) => getPath(event, ['series', 'count']) ?? getPath(event, ['count']) ?? 1, 1),
    { ...nameColumn, priority: 1 },
  ],
  selectableFields: new Map<string, readonly string[]>([
    ...eventFields.map((field) => [`involvedObject.${field}`, ['involvedObject', field]] as const),
    ['reason', ['reason']],
    ['reportingComponent', ['reportingComponent']],
    ['source', ['source', 'component']],
    ['type', ['type']],
  ]),
  // What happens to a Container has happened to its Pod (pods.ts): so kubectl events --for pod/NAME finds it.
  selectorAliases: new Map([
    ['involvedObject.kind', { Pod: 'Container' }],
    ['involvedObject.apiVersion', { v1: containers.apiVersion }],
  ]),
  validate: validateEvent,
});

function firstSeenOf(event: JsonObject): string | undefined {
  return (
    getString(event, 'firstTimestamp') ??
    getString(event, 'eventTime') ??
    getString(event, 'metadata', 'creationTimestamp')
  );
}

function formatSource(event: JsonObject): string {
  const component = getString(event, 'source', 'component') ?? getString(event, 'reportingComponent') ?? '';
  const host = getString(event, 'source', 'host') ?? getString(event, 'reportingInstance') ?? '';
  return host === '' ? component : `${component}, ${host}`;
}

/** An event about a namespaced object lives in that object's namespace; about any other, in `default`. */
function validateEvent(event: KubeObject): readonly FieldError[] {
  const about = getString(event, 'involvedObject', 'namespace') ?? '';
  const { namespace } = event.metadata;
  if (about === namespace || (about === '' && (namespace === 'default' || namespace === 'kube-system'))) return [];
  return [
    { kind: 'invalid', field: 'involvedObject.namespace', value: about, detail: 'does not match event.namespace' },
  ];
}

/** In the order of discovery. */
export const coreKinds: readonly ResourceKind[] = [configMaps, events, namespaces, secrets];

/** The kind that holds namespaces; objects of namespaced kinds need one of it. */
export const namespaceKind: ResourceKind = namespaces;

export const eventKind: ResourceKind = events;

/** Items of spec.finalizers of a namespace. */
export function specFinalizersOf(object: JsonObject): readonly string[] {
  const found = getPath(object, ['spec', 'finalizers']);
  return isJsonArray(found) ? found.filter((item) => typeof item === 'string') : [];
}
