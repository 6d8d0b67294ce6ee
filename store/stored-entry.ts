/** Objects as they are on disk, brought into the shape of their kind's present schema. Pure. */
import { type Entry, leanEntry } from './entry-object.ts';
import { isJsonObject, type Json } from './json.ts';
import { keyOf } from './memory.ts';
import { apiVersionOf, type KubeObject, type ResourceKind } from './resources.ts';
import { headFields, normalize } from './schema-normalize.ts';

/** A stored object is JSON and no object of its kind; the message says in what, without a word of its content. */
export class DamagedError extends Error {
  override readonly name = 'DamagedError';
}

/** Throws DamagedError, or SyntaxError for what is not JSON. */
export function parseEntry(kind: ResourceKind, key: string, json: string): Entry {
  const stored: Json = JSON.parse(json);
  if (!isJsonObject(stored) || !isJsonObject(stored.metadata)) {
    throw new DamagedError('it is not an object with metadata');
  }
  const object = stored as KubeObject; // only objects that the rules made are ever stored
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const revision = Number(resourceVersion);
  if (keyOf(namespace, name) !== key) throw new DamagedError('it has another name than it is stored under');
  if (typeof uid !== 'string' || !Number.isSafeInteger(revision)) throw new DamagedError('it has no uid or revision');
  return refreshEntry(kind, leanEntry({ key, revision, object, json }));
}

/**
 * The entry as the present schema shows it: a field that came since the object was stored gets its default, and one that
 * went is hidden until the object is written. What is on disk is kept beside it, for the next change of the schema.
 */
export function refreshEntry(kind: ResourceKind, entry: Entry): Entry {
  const { key, revision, object: before } = entry;
  const stored = entry.stored ?? before;
  const apiVersion = apiVersionOf(kind);
  const current = kind.isCustom && stored.apiVersion !== apiVersion ? { ...stored, apiVersion } : stored;
  const { value } = normalize(kind.schema, current, headFields);
  // normalize gives back an object for an object, and leaves the head as it is
  const object = value as KubeObject;
  if (object === before) return entry;
  const same = object === stored;
  return leanEntry({ key, revision, object, json: JSON.stringify(object), ...(same ? {} : { stored }) });
}
