/** What ownership of fields needs to know of a kind: its schema with that of metadata, and the fields nobody owns. Pure. */
import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import { objectMetaSchema } from '../object-meta.ts';
import type { KubeObject, ResourceKind } from '../resources.ts';
import type { OpenApiSchema } from '../schema.ts';
import { compileFieldSchema, type FieldSchema } from './field-schema.ts';
import { type FieldSet, nothing } from './field-set.ts';

/** Fields that the server sets, or that name the object. Source: apimachinery stripMetaManager. */
export const unowned: FieldSet = {
  'f:apiVersion': nothing,
  'f:kind': nothing,
  'f:metadata': {
    '.': nothing,
    'f:name': nothing,
    'f:namespace': nothing,
    'f:creationTimestamp': nothing,
    'f:selfLink': nothing,
    'f:uid': nothing,
    'f:clusterName': nothing,
    'f:generation': nothing,
    'f:managedFields': nothing,
    'f:resourceVersion': nothing,
  },
};

const head: Readonly<Record<string, OpenApiSchema>> = {
  apiVersion: { type: 'string' },
  kind: { type: 'string' },
  metadata: objectMetaSchema,
};

function schemaOfKind({ openApi }: Pick<ResourceKind, 'openApi'>): FieldSchema {
  return compileFieldSchema({ ...openApi, type: 'object', properties: { ...openApi.properties, ...head } });
}

/** Fields that a write to the object, or to a subresource, cannot change. */
function resetFieldsOf(kind: ResourceKind, subresource: string): FieldSet {
  if (subresource === 'status') return { 'f:metadata': nothing, 'f:spec': nothing };
  const names = [...(kind.hasStatus ? ['status'] : []), ...(kind.serverSetFields ?? [])];
  return Object.fromEntries(names.map((name) => [`f:${name}`, nothing]));
}

/** What an object of the kind is before it is created: those of core kinds have their parts already, though empty. */
function emptyObjectOf({ isCustom, openApi }: Pick<ResourceKind, 'isCustom' | 'openApi'>): JsonObject {
  if (isCustom) return { metadata: {} };
  const isPart = ({ type, properties, nullable }: OpenApiSchema): boolean =>
    type === 'object' && properties !== undefined && nullable !== true;
  const parts = Object.entries(openApi.properties ?? {}).filter(([, schema]) => isPart(schema));
  return { metadata: {}, ...Object.fromEntries(parts.map(([name]) => [name, {}])) };
}

/** All of it for one kind, made once. */
export interface KindFields {
  readonly schema: FieldSchema;
  readonly empty: JsonObject;
  readonly resetBy: (subresource: 'status' | 'scale' | undefined) => FieldSet;
}

export function compileKindFields(kind: ResourceKind): KindFields {
  const [main, status] = [resetFieldsOf(kind, ''), resetFieldsOf(kind, 'status')];
  const resetBy = (subresource: 'status' | 'scale' | undefined): FieldSet => (subresource === 'status' ? status : main);
  return { schema: schemaOfKind(kind), empty: emptyObjectOf(kind), resetBy };
}

/** The object without the record of who owns its fields. */
export function withoutManagedFields(object: Json): JsonObject {
  if (!isJsonObject(object)) return {};
  const { metadata } = object;
  if (!isJsonObject(metadata) || metadata.managedFields === undefined) return object;
  const { managedFields: _managedFields, ...rest } = metadata;
  return { ...object, metadata: rest };
}

/** An object with this record of who owns its fields; undefined: with none. */
export function withManagedFields(object: KubeObject, managedFields: readonly JsonObject[] | undefined): KubeObject {
  const { managedFields: before, ...metadata } = object.metadata;
  if (managedFields === before) return object;
  return { ...object, metadata: managedFields === undefined ? metadata : { ...metadata, managedFields } };
}
