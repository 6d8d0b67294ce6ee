/** metav1.ObjectMeta: its schema, and the rules for names, labels, annotations, finalizers and owners. Pure. */
import type { FieldError } from './field-errors.ts';
import { getString, isJsonObject, type Json, type JsonObject } from './json.ts';
import type { ObjectMeta, ResourceKind } from './resources.ts';
import { compileSchema, type OpenApiSchema } from './schema.ts';
import { normalize } from './schema-normalize.ts';
import { validateSchema } from './schema-validate.ts';

/** All annotations of one object together, in bytes. Source: apimachinery TotalAnnotationSizeLimitB. */
const maxAnnotationBytes = 256 * 1024;

const time = (description: string): OpenApiSchema => ({
  type: 'string',
  format: 'date-time',
  nullable: true,
  description,
});

export const objectMetaSchema: OpenApiSchema = {
  type: 'object',
  description: 'ObjectMeta is what every stored object has.',
  properties: {
    annotations: {
      type: 'object',
      nullable: true,
      additionalProperties: { type: 'string' },
      description: 'Data of tools, by key; not for selecting.',
    },
    creationTimestamp: time('When the object was created. Set by the server.'),
    deletionGracePeriodSeconds: {
      type: 'integer',
      format: 'int64',
      nullable: true,
      description: 'Seconds given for a graceful removal. Set when deletion is asked for.',
    },
    deletionTimestamp: time('When deletion was asked for; the object goes once its finalizers are done.'),
    finalizers: {
      type: 'array',
      nullable: true,
      items: { type: 'string' },
      description: 'What must be done before the object is removed, each by whoever added it.',
      'x-kubernetes-list-type': 'set',
      'x-kubernetes-patch-strategy': 'merge',
    },
    generateName: {
      type: 'string',
      description: 'Start of a name that the server completes; used when name is empty.',
    },
    generation: {
      type: 'integer',
      format: 'int64',
      description: 'Counts the changes of what is desired. Set by the server.',
    },
    labels: {
      type: 'object',
      nullable: true,
      additionalProperties: { type: 'string' },
      description: 'Words to select objects by.',
    },
    managedFields: {
      type: 'array',
      nullable: true,
      description: 'Who manages which field. Kept by the server; tools show it on request.',
      'x-kubernetes-list-type': 'atomic',
      items: {
        type: 'object',
        properties: {
          apiVersion: { type: 'string', description: 'Version of the fields.' },
          fieldsType: { type: 'string', description: 'How the fields are written: FieldsV1.' },
          fieldsV1: {
            type: 'object',
            nullable: true,
            description: 'The fields, as a tree.',
            'x-kubernetes-preserve-unknown-fields': true,
          },
          manager: { type: 'string', description: 'Who manages them.' },
          operation: { type: 'string', description: 'Apply or Update.' },
          subresource: { type: 'string', description: 'Through which subresource.' },
          time: time('When the entry was last changed.'),
        },
      },
    },
    name: { type: 'string', description: 'Name of the object, unique among those of its kind in its namespace.' },
    namespace: { type: 'string', description: 'Namespace that the name is unique in.' },
    ownerReferences: {
      type: 'array',
      nullable: true,
      description: 'Objects that this one depends on.',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['uid'],
      'x-kubernetes-patch-strategy': 'merge',
      'x-kubernetes-patch-merge-key': 'uid',
      items: {
        type: 'object',
        'x-kubernetes-map-type': 'atomic',
        required: ['apiVersion', 'kind', 'name', 'uid'],
        properties: {
          apiVersion: { type: 'string', description: 'API version of the owner.' },
          blockOwnerDeletion: { type: 'boolean', description: 'Whether this one holds back the removal of its owner.' },
          controller: { type: 'boolean', description: 'Whether the owner is the one that controls it.' },
          kind: { type: 'string', description: 'Kind of the owner.' },
          name: { type: 'string', description: 'Name of the owner.' },
          uid: { type: 'string', description: 'Unique id of the owner.' },
        },
      },
    },
    resourceVersion: { type: 'string', description: 'Revision of the object; opaque. Set by the server.' },
    selfLink: { type: 'string', description: 'No longer used.' },
    uid: { type: 'string', description: 'Unique id of the object. Set by the server.' },
  },
};

/** What clients send is checked for the parts of an owner below, in Kubernetes' words, wherever it is missing or empty. */
const compiledMeta = compileSchema(withoutRequiredOwners(objectMetaSchema), 'metadata');

function withoutRequiredOwners(schema: OpenApiSchema): OpenApiSchema {
  const { ownerReferences } = schema.properties ?? {};
  const { required: _required, ...items } = ownerReferences?.items ?? {};
  const { 'x-kubernetes-list-map-keys': _keys, 'x-kubernetes-list-type': _type, ...list } = ownerReferences ?? {};
  return { ...schema, properties: { ...schema.properties, ownerReferences: { ...list, items } } };
}

export interface ParsedMeta {
  /** Of the shape that ObjectMeta has, but not yet filled in by the server. */
  readonly meta: JsonObject;
  readonly unknownFields: readonly string[];
  readonly errors: readonly FieldError[];
}

/** Checks the shape of `metadata` as a client sent it; empty and null parts, managedFields and selfLink are left out. */
export function parseMeta(value: Json | undefined): ParsedMeta {
  const { value: pruned, unknownFields } = normalize(compiledMeta, value ?? {});
  const errors = validateSchema(compiledMeta, pruned, 'metadata');
  const entries = isJsonObject(pruned) ? Object.entries(pruned) : [];
  const kept = entries.filter(([key, item]) => key !== 'managedFields' && key !== 'selfLink' && !isEmpty(item));
  return { meta: Object.fromEntries(kept), unknownFields: unknownFields.map((field) => `metadata.${field}`), errors };
}

function isEmpty(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const dns1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const subdomainRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and " +
  "end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const labelRule =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " +
  "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const dns1035Rule =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and " +
  "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is " +
  "'[a-z]([-a-z0-9]*[a-z0-9])?')";
const qualifiedRule =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
  "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const labelValueRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** What is wrong with a label that may not begin with a digit, or undefined. */
export function checkDns1035Label(text: string): string | undefined {
  if (text.length > 63) return 'must be no more than 63 characters';
  return dns1035.test(text) ? undefined : dns1035Rule;
}

/** What is wrong with a name, or undefined. */
export function checkName(name: string, rule: ResourceKind['nameRule']): string | undefined {
  if (rule === 'segment') return checkSegment(name);
  const max = rule === 'label' ? 63 : 253;
  if (name.length > max) return `must be no more than ${max} characters`;
  if (rule === 'label') return label.test(name) ? undefined : labelRule;
  return subdomain.test(name) ? undefined : subdomainRule;
}

/** Longest name of a role: Kubernetes has no limit, and memory does. */
const maxSegment = 512;

/** Source: apimachinery/pkg/api/validation/path IsValidPathSegmentName. */
function checkSegment(name: string): string | undefined {
  if (name.length > maxSegment) return `must be no more than ${maxSegment} characters`;
  if (name === '.' || name === '..') return `may not be '${name}'`;
  const found = ['/', '%'].find((character) => name.includes(character));
  return found === undefined ? undefined : `may not contain '${found}'`;
}

/** What is wrong with a label's or annotation's key, or undefined. */
export function checkQualifiedName(key: string): string | undefined {
  const parts = key.split('/');
  const name = parts.length === 2 ? (parts[1] ?? '') : key;
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (parts.length > 2) return `a qualified name ${qualifiedRule.slice('name part '.length)} with an optional prefix`;
  if (prefix === '') return 'prefix part must be non-empty';
  const wrongPrefix = prefix === undefined ? undefined : checkName(prefix, 'subdomain');
  if (wrongPrefix !== undefined) return `prefix part ${wrongPrefix}`;
  if (name.length > 63) return 'name part must be no more than 63 characters';
  return qualifiedName.test(name) ? undefined : qualifiedRule;
}

/** What is wrong with a label's value, or undefined. */
export function checkLabelValue(value: string): string | undefined {
  if (value.length > 63) return 'must be no more than 63 characters';
  return labelValue.test(value) ? undefined : labelValueRule;
}

/** The rules for metadata of an object that is about to be stored. */
export function validateMeta(meta: ObjectMeta, kind: ResourceKind): readonly FieldError[] {
  const errors: FieldError[] = [];
  const invalid = (field: string, value: Json, detail: string | undefined): void => {
    if (detail !== undefined) errors.push({ kind: 'invalid', field, value, detail });
  };
  if (meta.name === '') {
    errors.push({ kind: 'required', field: 'metadata.name', detail: 'name or generateName is required' });
  } else invalid('metadata.name', meta.name, checkName(meta.name, kind.nameRule));
  for (const [key, value] of Object.entries(meta.labels ?? {})) {
    invalid('metadata.labels', key, checkQualifiedName(key));
    invalid('metadata.labels', value, checkLabelValue(value));
  }
  let annotationBytes = 0;
  for (const [key, value] of Object.entries(meta.annotations ?? {})) {
    invalid('metadata.annotations', key, checkQualifiedName(key.toLowerCase()));
    annotationBytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (annotationBytes > maxAnnotationBytes) {
    errors.push({ kind: 'tooLong', field: 'metadata.annotations', maxBytes: maxAnnotationBytes });
  }
  for (const [index, finalizer] of (meta.finalizers ?? []).entries()) {
    invalid(`metadata.finalizers[${index}]`, finalizer, checkQualifiedName(finalizer));
  }
  errors.push(...validateOwners(meta.ownerReferences ?? []));
  return errors;
}

/** Source: apimachinery ValidateOwnerReferences, which names the list and not the item. */
function validateOwners(owners: readonly JsonObject[]): readonly FieldError[] {
  const errors: FieldError[] = [];
  const invalid = (field: string, value: Json, detail: string): void => {
    errors.push({ kind: 'invalid', field: `metadata.ownerReferences${field}`, value, detail });
  };
  let controller: JsonObject | undefined;
  for (const owner of owners) {
    const [apiVersion, kind, name, uid] = ['apiVersion', 'kind', 'name', 'uid'].map(
      (key) => getString(owner, key) ?? '',
    );
    if (apiVersion === '' || apiVersion?.endsWith('/'))
      invalid('.apiVersion', apiVersion ?? '', 'version must not be empty');
    if (kind === '') invalid('.kind', '', 'kind must not be empty');
    if (name === '') invalid('.name', '', 'name must not be empty');
    if (uid === '') invalid('.uid', '', 'uid must not be empty');
    if (apiVersion === 'v1' && kind === 'Event') {
      invalid('', owner, '/v1, Kind=Event is disallowed from being an owner');
    }
    if (owner.controller !== true) continue;
    if (controller !== undefined) {
      const both = `${getString(controller, 'kind')}/${getString(controller, 'name')} and ${kind}/${name}`;
      const detail = `Only one reference can have Controller set to true. Found "true" in references for ${both}`;
      invalid('', owners, detail);
    }
    controller = owner;
  }
  return errors;
}
