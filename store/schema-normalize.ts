/**
 * Brings a value into the shape of its schema: unknown fields are pruned and named, absent ones get their defaults.
 * Pure: parts that need no change are shared with the input. Source: apiextensions structural schemas, pruning and
 * defaulting; as there, a null in a field that is not nullable counts as absent.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import type { CompiledSchema } from './schema.ts';

/** What every object has beside what its schema says of it. */
export const headFields: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'metadata']);

export interface Normalized {
  readonly value: Json;
  /** Paths of the fields that were pruned, like `spec.ports[0].hostPrt`. */
  readonly unknownFields: readonly string[];
}

/** `skip`: keys of the root that the schema does not decide on (apiVersion, kind, metadata). */
export function normalize(schema: CompiledSchema, value: Json, skip: ReadonlySet<string> = new Set()): Normalized {
  const unknownFields: string[] = [];
  return { value: walk(schema, value, '', unknownFields, skip), unknownFields };
}

const none: ReadonlySet<string> = new Set();

function walk(
  schema: CompiledSchema,
  value: Json,
  path: string,
  unknown: string[],
  skip: ReadonlySet<string> = none,
): Json {
  if (isJsonArray(value)) {
    const items = schema.items;
    if (items === undefined) return value;
    let changed = false;
    const next = value.map((item, index) => {
      const walked = walk(items, item, `${path}[${index}]`, unknown);
      changed ||= walked !== item;
      return walked;
    });
    return changed ? next : value;
  }
  return isJsonObject(value) ? walkObject(schema, value, path, unknown, skip) : value;
}

function walkObject(
  schema: CompiledSchema,
  value: JsonObject,
  path: string,
  unknown: string[],
  skip: ReadonlySet<string>,
): Json {
  let changed = false;
  const next: Record<string, Json> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const childPath = path === '' ? key : `${path}.${key}`;
    const child = schema.properties.get(key) ?? schema.additional;
    if (skip.has(key) || (child === 'any' && !schema.properties.has(key))) {
      next[key] = item;
    } else if (child === undefined || child === 'any') {
      unknown.push(childPath);
      changed = true;
    } else if (item === null && !child.nullable) {
      changed = true; // absent, so that a default below applies
    } else {
      const walked = walk(child, item, childPath, unknown);
      changed ||= walked !== item;
      next[key] = walked;
    }
  }
  for (const key of schema.defaulted) {
    if (Object.hasOwn(next, key)) continue;
    const child = schema.properties.get(key);
    if (child?.default === undefined) continue;
    next[key] = walk(child, child.default, path === '' ? key : `${path}.${key}`, unknown);
    changed = true;
  }
  return changed ? next : value;
}
