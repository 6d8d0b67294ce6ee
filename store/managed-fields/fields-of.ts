/**
 * From a value to the set of its fields, by the schema. Pure. Source: structured-merge-diff, typed/tofieldset.go: maps
 * are owned by their keys, and are members themselves only where they are empty or where no schema names them.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject } from '../json.ts';
import { childOf, type FieldSchema, kindOf, type ListSchema, type MapSchema } from './field-schema.ts';
import { asMember, type FieldSet, isEmpty, nothing } from './field-set.ts';
import { indexItems } from './list-items.ts';
import { fieldElement } from './path-element.ts';

export function fieldsOf(schema: FieldSchema, value: Json): FieldSet {
  return nodeOf(schema, value) ?? nothing;
}

/** The node of a value; undefined: no field is in it. */
function nodeOf(schema: FieldSchema, value: Json): FieldSet | undefined {
  const { list, map } = schema;
  switch (kindOf(schema, value)) {
    case 'map':
      if (map === undefined || map.relation === 'atomic') return nothing;
      return isJsonObject(value) ? nodeOfMap(map, value) : undefined;
    case 'list':
      if (list === undefined || list.relation === 'atomic') return nothing;
      return isJsonArray(value) ? nodeOfList(list, value) : undefined;
    default:
      return nothing;
  }
}

function nodeOfMap(schema: MapSchema, value: JsonObject): FieldSet | undefined {
  const node: Record<string, FieldSet> = {};
  for (const [name, item] of Object.entries(value)) {
    const child = childOf(schema, name);
    if (child === undefined || item === undefined) continue;
    const below = nodeOf(child, item);
    if (item === null || !schema.fields.has(name) || isEmptyMap(item)) {
      node[fieldElement(name)] = asMember(below ?? nothing);
    } else if (below !== undefined) node[fieldElement(name)] = below;
  }
  return isEmpty(node) ? undefined : node;
}

function isEmptyMap(value: Json): boolean {
  return isJsonObject(value) && Object.keys(value).length === 0;
}

function nodeOfList(schema: ListSchema, value: readonly Json[]): FieldSet | undefined {
  const node: Record<string, FieldSet> = {};
  for (const [element, [item = null, ...more]] of indexItems(schema, value)) {
    node[element] = more.length > 0 ? nothing : asMember(nodeOf(schema.items, item) ?? nothing);
  }
  return isEmpty(node) ? undefined : node;
}
