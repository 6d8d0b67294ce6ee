/**
 * What a write changed: the fields added, modified and removed between two states of an object. Pure, and quick where the
 * states share what did not change. Source: structured-merge-diff, typed/compare.go.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from '../json.ts';
import { childOf, type FieldSchema, kindOf, type ListSchema, type MapSchema } from './field-schema.ts';
import { type FieldSet, nothing, union } from './field-set.ts';
import { indexItems } from './list-items.ts';
import { fieldElement } from './path-element.ts';

export interface Changes {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

type Part = keyof Changes;
/** Nodes; undefined: there is no such change. */
type Found = { readonly [part in Part]?: FieldSet };
type Draft = { [part in Part]?: Record<string, FieldSet> };

const parts: readonly Part[] = ['added', 'modified', 'removed'];
const same: Found = {};

export function compare(schema: FieldSchema, before: Json, after: Json): Changes {
  const { added = nothing, modified = nothing, removed = nothing } = compareNodes(schema, before, after);
  return { added, modified, removed };
}

/** The node of what came or went as a whole: it is a member itself, beside all that is in it. */
function wholeOf({ map, list }: FieldSchema, value: Json): FieldSet {
  if (isJsonObject(value)) return map?.relation === 'granular' ? wholeOfMap(map, value) : nothing;
  if (!isJsonArray(value) || list === undefined || list.relation === 'atomic' || value.length === 0) return nothing;
  const node: Record<string, FieldSet> = { '.': nothing };
  for (const [element, [item = null, ...more]] of indexItems(list, value)) {
    node[element] = more.length > 0 ? nothing : wholeOf(list.items, item);
  }
  return node;
}

function wholeOfMap(map: MapSchema, value: JsonObject): FieldSet {
  const node: Record<string, FieldSet> = { '.': nothing };
  let count = 0;
  for (const name in value) {
    const item = value[name];
    const child = item === undefined ? undefined : childOf(map, name);
    if (item === undefined || child === undefined) continue;
    node[fieldElement(name)] = wholeOf(child, item);
    count++;
  }
  return count === 0 ? nothing : node;
}

function compareNodes(schema: FieldSchema, before: Json | undefined, after: Json | undefined): Found {
  if (before === after) return same;
  if (before === undefined) return { added: wholeOf(schema, after ?? null) };
  if (after === undefined) return { removed: wholeOf(schema, before) };
  const [kindBefore, kindAfter] = [kindOf(schema, before), kindOf(schema, after)];
  if (kindBefore === kindAfter) return compareAs(kindAfter, schema, before, after);
  return unite(compareAs(kindBefore, schema, before, after), compareAs(kindAfter, schema, before, after));
}

function unite(a: Found, b: Found): Found {
  const united: Draft = {};
  for (const part of parts) {
    const [left, right] = [a[part], b[part]];
    if (left !== undefined && right !== undefined) united[part] = union({ n: left }, { n: right }).n ?? left;
    else if (left !== undefined || right !== undefined) united[part] = left ?? right ?? nothing;
  }
  return united;
}

function compareAs(kind: ReturnType<typeof kindOf>, { map, list }: FieldSchema, before: Json, after: Json): Found {
  if (kind === 'map' && map?.relation === 'granular') {
    const [a, b] = [filledMap(before), filledMap(after)];
    if (a !== undefined || b !== undefined) return compareMaps(map, a ?? {}, b ?? {});
  }
  if (kind === 'list' && list !== undefined && list.relation !== 'atomic') {
    const [a, b] = [filledList(before), filledList(after)];
    if (a !== undefined || b !== undefined) return compareLists(list, a ?? [], b ?? []);
  }
  return jsonEqual(before, after) ? same : { modified: nothing };
}

function filledMap(value: Json): JsonObject | undefined {
  return isJsonObject(value) && Object.keys(value).length > 0 ? value : undefined;
}

function filledList(value: Json): readonly Json[] | undefined {
  return isJsonArray(value) && value.length > 0 ? value : undefined;
}

function note(draft: Draft, element: string, found: Found): void {
  for (const part of parts) {
    const node = found[part];
    if (node === undefined) continue;
    draft[part] ??= {};
    draft[part][element] = node;
  }
}

function compareMaps(schema: MapSchema, before: JsonObject, after: JsonObject): Found {
  const draft: Draft = {};
  const compareKey = (name: string, a: Json | undefined, b: Json | undefined): void => {
    if (a === b) return;
    const child = childOf(schema, name);
    if (child === undefined) return;
    const found = compareNodes(child, a, b);
    if (found !== same) note(draft, fieldElement(name), found);
  };
  for (const name in before) compareKey(name, before[name], Object.hasOwn(after, name) ? after[name] : undefined);
  for (const name in after) {
    if (!Object.hasOwn(before, name)) compareKey(name, undefined, after[name]);
  }
  return draft;
}

function compareLists(schema: ListSchema, before: readonly Json[], after: readonly Json[]): Found {
  const draft: Draft = {};
  const [was, is] = [indexItems(schema, before), indexItems(schema, after)];
  for (const [element, items] of was) note(draft, element, compareItems(schema, items, is.get(element) ?? []));
  for (const [element, items] of is) {
    if (!was.has(element)) note(draft, element, compareItems(schema, [], items));
  }
  return draft;
}

/** Items that stand more than once are compared all together. */
function compareItems(schema: ListSchema, was: readonly Json[], is: readonly Json[]): Found {
  if (was.length <= 1 && is.length <= 1) return compareNodes(schema.items, was[0], is[0]);
  if (was.length > 1 && is.length > 1) return jsonEqual(was, is) ? same : { modified: nothing };
  if (was.length > 1) {
    const found = is.length === 0 ? same : compareNodes(schema.items, undefined, is[0]);
    return { ...found, removed: nothing };
  }
  const found = was.length === 0 ? same : compareNodes(schema.items, was[0], undefined);
  return { ...found, added: nothing };
}
