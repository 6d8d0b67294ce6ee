/**
 * Strategic merge patch: a merge patch that knows which lists are sets or maps by key, from the schema's
 * x-kubernetes-patch-strategy and -merge-key. Pure. Source: apimachinery/pkg/util/strategicpatch.
 */
import { getOwn, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import type { OpenApiSchema } from './schema.ts';
import { badRequest } from './status-error.ts';

const directive = '$patch';
const deleteFromList = '$deleteFromPrimitiveList/';
const setOrder = '$setElementOrder/';
const retainKeys = '$retainKeys';

/** Throws StatusError 400 for a directive that cannot be read. */
export function applyStrategicPatch(document: Json | undefined, patch: Json, schema: OpenApiSchema | undefined): Json {
  if (!isJsonObject(patch)) return patch;
  const before = isJsonObject(document) ? document : {};
  switch (patch[directive]) {
    case undefined:
    case 'merge':
      return mergeObject(before, patch, schema);
    case 'replace': {
      const { [directive]: _directive, ...rest } = patch;
      return rest;
    }
    case 'delete':
      return {};
    default:
      throw badRequest(`${directive}: ${JSON.stringify(patch[directive])} is not known; use merge, replace or delete`);
  }
}

function childSchema(schema: OpenApiSchema | undefined, key: string): OpenApiSchema | undefined {
  const properties = schema?.properties;
  if (properties !== undefined && Object.hasOwn(properties, key)) return properties[key];
  return typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined;
}

function mergeObject(before: JsonObject, patch: JsonObject, schema: OpenApiSchema | undefined): JsonObject {
  const retained = patch[retainKeys];
  const next: Record<string, Json | undefined> = isJsonArray(retained)
    ? Object.fromEntries(Object.entries(before).filter(([key]) => retained.includes(key)))
    : { ...before };
  for (const [key, value] of Object.entries(patch)) {
    if (key === directive || key === retainKeys || key.startsWith(setOrder)) continue;
    if (key.startsWith(deleteFromList)) {
      const field = checkField(key.slice(deleteFromList.length));
      const gone = isJsonArray(value) ? value : [];
      const list = getOwn(next, field);
      if (isJsonArray(list)) next[field] = list.filter((item) => !gone.some((removed) => jsonEqual(removed, item)));
    } else if (value === null || value === undefined) {
      delete next[key];
    } else {
      const child = childSchema(schema, key);
      const merged = isJsonArray(value)
        ? mergeList(getOwn(next, key), value, child)
        : applyStrategicPatch(getOwn(next, key), value, child);
      const isDeleted = isJsonObject(value) && value[directive] === 'delete';
      if (isDeleted) delete next[key];
      else next[key] = merged;
    }
  }
  return orderLists(next, patch, schema);
}

function checkField(field: string): string {
  if (field === '__proto__') throw badRequest('the key "__proto__" is not accepted');
  return field;
}

function mergeList(before: Json | undefined, patch: readonly Json[], schema: OpenApiSchema | undefined): Json {
  const isMerged = schema?.['x-kubernetes-patch-strategy']?.split(',').includes('merge') === true;
  const isReplaced = patch.some((item) => isJsonObject(item) && item[directive] === 'replace');
  const plain = patch.filter((item) => !isJsonObject(item) || item[directive] !== 'replace');
  if (!isMerged || isReplaced) return plain;
  const list = isJsonArray(before) ? before : [];
  const mergeKey = schema?.['x-kubernetes-patch-merge-key'];
  const identity = (item: Json): Json => (mergeKey === undefined ? item : idOf(item, mergeKey));
  const merged =
    mergeKey === undefined
      ? [...list, ...plain.filter((item) => !list.some((present) => jsonEqual(present, item)))]
      : plain.reduce<readonly Json[]>((sofar, item) => mergeItem(sofar, item, mergeKey, schema?.items), list);
  return inOrderOfPatch(merged, list.map(identity), plain.map(identity), identity);
}

function idOf(item: Json, mergeKey: string): Json {
  return isJsonObject(item) ? (getOwn(item, mergeKey) ?? null) : item;
}

/**
 * What the patch names comes in its order, each before what the list had after it; what is new therefore comes first.
 * Source: strategicpatch normalizeElementOrder and mergeSortedSlice.
 */
function inOrderOfPatch(
  merged: readonly Json[],
  before: readonly Json[],
  patched: readonly Json[],
  identity: (item: Json) => Json,
): readonly Json[] {
  const text = (item: Json): string => JSON.stringify(identity(item));
  const placeBefore = new Map(before.map((id, index) => [JSON.stringify(id), index]));
  const placePatched = new Map(patched.map((id, index) => [JSON.stringify(id), index]));
  const named = merged
    .filter((item) => placePatched.has(text(item)))
    .toSorted((a, b) => (placePatched.get(text(a)) ?? 0) - (placePatched.get(text(b)) ?? 0));
  const rest = merged.filter((item) => !placePatched.has(text(item)));
  const next: Json[] = [];
  for (const item of named) {
    const place = placeBefore.get(text(item)) ?? -1;
    while (rest[0] !== undefined && (placeBefore.get(text(rest[0])) ?? 0) < place) next.push(...rest.splice(0, 1));
    next.push(item);
  }
  return [...next, ...rest];
}

function mergeItem(
  list: readonly Json[],
  item: Json,
  mergeKey: string,
  schema: OpenApiSchema | undefined,
): readonly Json[] {
  if (!isJsonObject(item) || getOwn(item, mergeKey) === undefined) {
    throw badRequest(`an item of a list that is merged by ${mergeKey} does not have that key`);
  }
  const isSame = (present: Json): boolean => isJsonObject(present) && jsonEqual(present[mergeKey], item[mergeKey]);
  if (item[directive] === 'delete') return list.filter((present) => !isSame(present));
  if (!list.some(isSame)) return [...list, applyStrategicPatch({}, item, schema)];
  return list.map((present) => (isSame(present) ? applyStrategicPatch(present, item, schema) : present));
}

/** Sorts merged lists as $setElementOrder says; what it does not name stays behind, in the order it had. */
function orderLists(
  object: Readonly<Record<string, Json | undefined>>,
  patch: JsonObject,
  schema: OpenApiSchema | undefined,
): JsonObject {
  const next = { ...object };
  for (const [key, order] of Object.entries(patch)) {
    if (!key.startsWith(setOrder) || !isJsonArray(order)) continue;
    const field = checkField(key.slice(setOrder.length));
    const list = getOwn(next, field);
    if (!isJsonArray(list)) continue;
    const mergeKey = childSchema(schema, field)?.['x-kubernetes-patch-merge-key'];
    const identity = (item: Json): Json | undefined =>
      mergeKey !== undefined && isJsonObject(item) ? getOwn(item, mergeKey) : item;
    const places = new Map(order.map((wanted, index) => [JSON.stringify(identity(wanted)), index]));
    const place = (item: Json): number => places.get(JSON.stringify(identity(item))) ?? order.length;
    next[field] = list.toSorted((a, b) => place(a) - place(b));
  }
  return next;
}
