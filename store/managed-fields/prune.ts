/**
 * Takes out of an object what its applier no longer sends, as far as nobody else owns it. Pure.
 * Source: structured-merge-diff, merge/update.go (prune) and typed/remove.go.
 */
import { isJsonArray, isJsonObject, type Json } from '../json.ts';
import { childOf, type FieldSchema, kindOf, type ListSchema, type MapSchema } from './field-schema.ts';
import {
  asMember,
  below,
  difference,
  type FieldSet,
  intersection,
  isEmpty,
  isMember,
  nothing,
  union,
} from './field-set.ts';
import { fieldsOf } from './fields-of.ts';
import { tryElement } from './list-items.ts';
import { fieldElement } from './path-element.ts';

/**
 * `last`: what the applier owned before. `owned`: what all own now, this applier included.
 * undefined: nothing of the object is left.
 */
export function prune(schema: FieldSchema, merged: Json, last: FieldSet, owned: FieldSet): Json | undefined {
  if (isEmpty(difference(last, owned))) return merged;
  const named = (set: FieldSet): FieldSet => withNamedFields(schema, set);
  const before = named(fieldsOf(schema, merged));
  const left = (value: Json | undefined): FieldSet => (value === undefined ? nothing : named(fieldsOf(schema, value)));
  const bare = removeFields(schema, merged, named(last));
  const withOwned = removeFields(schema, merged, difference(before, union(left(bare), named(owned))));
  return removeFields(schema, merged, intersection(difference(before, left(withOwned)), named(last)));
}

/** A set with the fields that the schema names as members too, where something below them is one. */
function withNamedFields(schema: FieldSchema | undefined, set: FieldSet): FieldSet {
  if (isEmpty(set)) return set;
  const result: Record<string, FieldSet> = {};
  for (const [element, node] of Object.entries(set)) {
    const name = element.startsWith('f:') ? element.slice(2) : undefined;
    const child = name === undefined ? itemsOf(schema, element) : fieldOf(schema, name);
    const named = withNamedFields(child, node);
    const isNamed = name !== undefined && schema?.map?.fields.has(name) === true;
    result[element] = isNamed ? asMember(named) : named;
  }
  return result;
}

function fieldOf(schema: FieldSchema | undefined, name: string): FieldSchema | undefined {
  return schema?.map === undefined ? undefined : childOf(schema.map, name);
}

function itemsOf(schema: FieldSchema | undefined, element: string): FieldSchema | undefined {
  return element.startsWith('k:') ? schema?.list?.items : undefined;
}

/** undefined: nothing is left of the value. */
function removeFields(schema: FieldSchema, value: Json, fields: FieldSet): Json | undefined {
  if (isEmpty(fields)) return value;
  switch (kindOf(schema, value)) {
    case 'map':
      return schema.map?.relation === 'granular' ? removeKeys(schema.map, value, fields) : undefined;
    case 'list':
      return schema.list === undefined || schema.list.relation === 'atomic'
        ? undefined
        : removeItems(schema.list, value, fields);
    default:
      return value;
  }
}

function removeKeys(schema: MapSchema, value: Json, fields: FieldSet): Json | undefined {
  if (!isJsonObject(value)) return undefined;
  const left: [string, Json][] = [];
  for (const [name, item] of Object.entries(value)) {
    const node = fields[fieldElement(name)];
    if (isMember(node) || item === undefined) continue;
    const child = childOf(schema, name);
    const kept = node === undefined || child === undefined ? item : removeFields(child, item, below(node));
    if (kept !== undefined) left.push([name, kept]);
  }
  return left.length > 0 ? Object.fromEntries(left) : undefined;
}

function removeItems(schema: ListSchema, value: Json, fields: FieldSet): Json | undefined {
  if (!isJsonArray(value)) return undefined;
  const left = value.flatMap((item): Json[] => {
    const element = tryElement(schema, item);
    const node = element === undefined ? undefined : fields[element];
    if (node === undefined) return [item];
    if (isMember(node)) return [];
    const kept = removeFields(schema.items, item, node);
    return kept === undefined ? [] : [kept];
  });
  return left.length > 0 ? left : undefined;
}
