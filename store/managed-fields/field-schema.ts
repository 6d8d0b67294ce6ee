/**
 * Schemas as far as ownership of fields asks: which lists are atomic, sets or maps by key, and which maps are atomic.
 * Pure: compiled from the OpenAPI form. Source: kube-openapi/pkg/schemaconv.
 */
import { type Json, jsonTypeOf } from '../json.ts';
import type { OpenApiSchema } from '../schema.ts';

export interface ListSchema {
  readonly relation: 'atomic' | 'set' | 'map';
  readonly keys: readonly string[];
  readonly items: FieldSchema;
}

export interface MapSchema {
  readonly relation: 'atomic' | 'granular';
  readonly fields: ReadonlyMap<string, FieldSchema>;
  /** Of keys that are not fields; undefined: there are no such keys. */
  readonly others: FieldSchema | undefined;
}

export type Scalar = 'numeric' | 'string' | 'boolean' | 'untyped';

/** What a value may be; at the least one of the three. */
export interface FieldSchema {
  readonly scalar?: Scalar;
  readonly list?: ListSchema;
  readonly map?: MapSchema;
  readonly default?: Json;
}

interface Mutable {
  scalar?: Scalar;
  list?: ListSchema;
  map?: MapSchema;
}

/** Of values that no schema says anything about, within an atomic list. */
const untyped: FieldSchema = makeUntyped();
/** Of values that no schema says anything about: maps are granular, lists atomic. */
const deduced: FieldSchema = makeDeduced();

function makeUntyped(): FieldSchema {
  const schema: Mutable = { scalar: 'untyped' };
  schema.list = { relation: 'atomic', keys: [], items: schema };
  schema.map = { relation: 'atomic', fields: new Map(), others: schema };
  return schema;
}

function makeDeduced(): FieldSchema {
  const schema: Mutable = { scalar: 'untyped', list: { relation: 'atomic', keys: [], items: untyped } };
  schema.map = { relation: 'granular', fields: new Map(), others: schema };
  return schema;
}

export function compileFieldSchema(source: OpenApiSchema): FieldSchema {
  const shape = compileShape(source);
  return source.default === undefined ? shape : { ...shape, default: source.default };
}

function compileShape(source: OpenApiSchema): FieldSchema {
  if (source['x-kubernetes-int-or-string'] === true) return { scalar: 'untyped' };
  const keepsUnknown = source['x-kubernetes-preserve-unknown-fields'] === true;
  switch (source.type) {
    case 'array':
      return { list: compileList(source) };
    case 'object':
      return { map: compileMap(source, keepsUnknown) };
    case 'integer':
    case 'number':
      return { scalar: 'numeric' };
    case 'boolean':
      return { scalar: 'boolean' };
    case 'string':
      return { scalar: source.format === undefined ? 'string' : 'untyped' };
    default:
      if (source.properties !== undefined) return { map: compileMap(source, keepsUnknown) };
      return keepsUnknown ? deduced : untyped;
  }
}

function compileList(source: OpenApiSchema): ListSchema {
  const items = source.items === undefined ? untyped : compileFieldSchema(source.items);
  const strategy = source['x-kubernetes-patch-strategy']?.split(',').includes('merge') === true;
  const mergeKey = source['x-kubernetes-patch-merge-key'];
  switch (source['x-kubernetes-list-type']) {
    case 'map':
      return { relation: 'map', keys: source['x-kubernetes-list-map-keys'] ?? [], items };
    case 'set':
      return { relation: 'set', keys: [], items };
    case undefined:
      if (!strategy) return { relation: 'atomic', keys: [], items };
      if (mergeKey === undefined) return { relation: 'set', keys: [], items };
      return { relation: 'map', keys: [mergeKey], items };
    default:
      return { relation: 'atomic', keys: [], items };
  }
}

function compileMap(source: OpenApiSchema, keepsUnknown: boolean): MapSchema {
  const { properties = {}, additionalProperties } = source;
  const fields = new Map(Object.entries(properties).map(([name, child]) => [name, compileFieldSchema(child)]));
  return {
    relation: source['x-kubernetes-map-type'] === 'atomic' ? 'atomic' : 'granular',
    fields,
    others: othersOf(additionalProperties, keepsUnknown || fields.size === 0),
  };
}

function othersOf(additional: OpenApiSchema['additionalProperties'], keepsUnknown: boolean): FieldSchema | undefined {
  if (typeof additional === 'object') return compileFieldSchema(additional);
  return additional === true || (additional === undefined && keepsUnknown) ? deduced : undefined;
}

export function childOf({ fields, others }: MapSchema, name: string): FieldSchema | undefined {
  return fields.get(name) ?? others;
}

/** What of a schema applies to a value: the part for its type, or all of it where there is none. */
export function kindOf(schema: FieldSchema, value: Json | undefined): 'scalar' | 'list' | 'map' {
  switch (value === undefined ? 'null' : jsonTypeOf(value)) {
    case 'object':
      if (schema.map !== undefined) return 'map';
      break;
    case 'array':
      if (schema.list !== undefined) return 'list';
      break;
    case 'null':
      break;
    default:
      if (schema.scalar !== undefined) return 'scalar';
  }
  if (schema.map !== undefined) return 'map';
  return schema.scalar === undefined ? 'list' : 'scalar';
}
