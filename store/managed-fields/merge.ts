/**
 * Merges what a client applies into the object as it is. Pure. Nothing is removed: what the client no longer sends is
 * pruned apart (prune.ts). Source: structured-merge-diff, typed/merge.go.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject } from '../json.ts';
import { childOf, type FieldSchema, kindOf, type ListSchema, type MapSchema } from './field-schema.ts';
import { tryElement } from './list-items.ts';

/** The configuration was found to be of the schema (check-applied.ts). */
export function mergeApplied(schema: FieldSchema, live: Json | undefined, config: Json | undefined): Json | undefined {
  if (live === undefined || live === config) return config;
  if (config === undefined) return live;
  const kind = kindOf(schema, config);
  if (kind !== kindOf(schema, live)) return config;
  const { map, list } = schema;
  if (kind === 'map' && map?.relation === 'granular') {
    if (isJsonObject(live) && isJsonObject(config)) return mergeMaps(map, live, config);
    return isJsonObject(live) && Object.keys(live).length > 0 ? live : config;
  }
  if (kind === 'list' && list !== undefined && list.relation !== 'atomic') {
    if (!isJsonArray(live) || live.length === 0) return config;
    return isJsonArray(config) && config.length > 0 ? mergeLists(list, live, config) : live;
  }
  return config;
}

function mergeMaps(schema: MapSchema, live: JsonObject, config: JsonObject): JsonObject {
  if (Object.keys(config).length === 0) return Object.keys(live).length === 0 ? config : live;
  let merged: Record<string, Json | undefined> | undefined;
  for (const [name, value] of Object.entries(config)) {
    const before = Object.hasOwn(live, name) ? live[name] : undefined;
    const child = childOf(schema, name);
    const after = child === undefined ? value : mergeApplied(child, before, value);
    if (after === before) continue;
    merged ??= { ...live };
    merged[name] = after;
  }
  return merged ?? live;
}

/** The order is that of the configuration where it names items, with the other items of the object where they were. */
function mergeLists(schema: ListSchema, live: readonly Json[], config: readonly Json[]): readonly Json[] {
  const liveElements = live.map((item) => tryElement(schema, item));
  const elements = config.map((item) => tryElement(schema, item) ?? '');
  const wanted = new Set(elements);
  const present = new Map<string, Json | undefined>();
  for (const [index, element] of liveElements.entries()) {
    // What stands twice is not merged: the configuration says all of it.
    if (element !== undefined) present.set(element, present.has(element) ? undefined : live[index]);
  }
  const shared = elements.filter((element) => present.has(element));
  const done = new Set<string>();
  const merged: Json[] = [];
  const take = (index: number): void => {
    const element = elements[index] ?? '';
    done.add(element);
    const item = mergeApplied(schema.items, present.get(element), config[index]);
    if (item !== undefined) merged.push(item);
    if (shared[0] === element) shared.shift();
  };
  let next = 0;
  for (const [index, element] of liveElements.entries()) {
    if (element === undefined || !wanted.has(element)) {
      merged.push(live[index] ?? null);
      continue;
    }
    // One that the configuration names later, or that was taken already, waits for its place there.
    if (done.has(element) || element !== shared[0]) continue;
    while (next < elements.length && !done.has(element)) take(next++);
  }
  while (next < elements.length) take(next++);
  return merged;
}
