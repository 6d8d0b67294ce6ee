/**
 * The annotation of client-side apply, where the same user goes over to server-side apply: what it holds is no conflict,
 * and it is kept up to date. Pure. Source: apimachinery lastAppliedManager and lastAppliedUpdater.
 */
import { getPath, getString, isJsonArray, isJsonObject, type Json, type JsonObject } from '../json.ts';
import { compare } from './compare.ts';
import type { FieldSchema } from './field-schema.ts';
import { difference, type FieldSet } from './field-set.ts';
import { fieldsOf } from './fields-of.ts';

/** Only kubectl's own manager goes over. */
export const kubectlManager = 'kubectl';

const annotation = 'kubectl.kubernetes.io/last-applied-configuration';

/** All annotations together, in bytes. Source: apimachinery TotalAnnotationSizeLimitB. */
const maxAnnotationBytes = 256 * 1024;

/** The fields that client-side apply has set and that nobody has changed since. */
export function fieldsOfLastApplied(schema: FieldSchema, live: JsonObject): FieldSet | undefined {
  const text = getString(live, 'metadata', 'annotations', annotation);
  if (text === undefined || text === '') return undefined;
  let applied: Json;
  try {
    applied = JSON.parse(text);
  } catch {
    return undefined; // anybody can write anything into an annotation
  }
  if (!isJsonObject(applied) || applied.apiVersion !== live.apiVersion) return undefined;
  const { added, modified, removed } = compare(schema, applied, live);
  return [modified, added, removed].reduce(difference, fieldsOf(schema, applied));
}

/** The object with the annotation, if it has one, set to what is applied now. */
export function updateLastApplied(object: JsonObject, applied: JsonObject): JsonObject {
  const { metadata } = object;
  const annotations = getPath(metadata, ['annotations']);
  if (!isJsonObject(metadata) || !isJsonObject(annotations) || !annotations[annotation]) return object;
  const { [annotation]: _before, ...others } = annotations;
  const text = `${JSON.stringify(sortKeys(withoutAnnotation(applied)))}\n`;
  const sizes = Object.entries({ ...others, [annotation]: text }).map(
    ([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(String(value)),
  );
  const fits = sizes.reduce((sum, size) => sum + size, 0) <= maxAnnotationBytes;
  return { ...object, metadata: { ...metadata, annotations: fits ? { ...annotations, [annotation]: text } : others } };
}

function withoutAnnotation(applied: JsonObject): JsonObject {
  const { metadata } = applied;
  const annotations = getPath(metadata, ['annotations']);
  if (!isJsonObject(metadata) || !isJsonObject(annotations) || !Object.hasOwn(annotations, annotation)) return applied;
  const { [annotation]: _removed, ...others } = annotations;
  return { ...applied, metadata: { ...metadata, annotations: others } };
}

/** As Go writes maps. */
function sortKeys(value: Json): Json {
  if (isJsonArray(value)) return value.map(sortKeys);
  if (!isJsonObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item ?? null)]));
}
