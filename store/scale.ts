/**
 * The subresource scale (autoscaling/v1 Scale) of custom resources whose definition declares where the numbers are: read,
 * replaced and patched, each write as a change of the object itself.
 */
import { column, core, root, text } from './core-kinds.ts';
import type { FieldError } from './field-errors.ts';
import { getPath, isJsonObject, type Json, type JsonObject } from './json.ts';
import { applyJsonPatch, applyMergePatch } from './json-patch.ts';
import type { Entry } from './memory.ts';
import type { ObjectPlace, Operations, Patch, WriteMode } from './operations.ts';
import { ageColumn, type KubeObject, nameColumn, type ResourceKind, type ScalePaths } from './resources.ts';
import { badRequest, conflict, invalid, objectModified, StatusError } from './status-error.ts';

/** Of what the subresource answers. */
export const scaleKind: ResourceKind = {
  ...core({
    kind: 'Scale',
    plural: 'scales',
    isNamespaced: true,
    openApi: root('Scale is how many there are of something, and how many are wanted.', {
      spec: text(''),
      status: text(''),
    }),
    columns: [
      nameColumn,
      column('Desired', 'integer', (scale) => getPath(scale, ['spec', 'replicas'])),
      column('Available', 'integer', (scale) => getPath(scale, ['status', 'replicas'])),
      ageColumn,
    ],
  }),
  group: 'autoscaling',
};

function numberAt(object: JsonObject, path: readonly string[]): number {
  const value = getPath(object, path);
  return typeof value === 'number' ? value : 0;
}

/** The scale of an object. Pure. */
export function scaleOf(object: KubeObject, { specReplicas, statusReplicas, selector }: ScalePaths): KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const found = selector === undefined ? undefined : getPath(object, selector);
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      creationTimestamp,
    },
    spec: { replicas: numberAt(object, specReplicas) },
    status: {
      replicas: numberAt(object, statusReplicas),
      ...(typeof found === 'string' && found !== '' ? { selector: found } : {}),
    },
  };
}

/** An entry of a collection as the subresource shows it. */
export function scaleEntry({ key, revision, object }: Entry, paths: ScalePaths): Entry {
  const scale = scaleOf(object, paths);
  return { key, revision, object: scale, json: JSON.stringify(scale) };
}

/** What of a Scale that a client sent counts. Throws StatusError 400 or 422. */
function parseScale(value: Json, { name }: ObjectPlace): { replicas: number; resourceVersion: string | undefined } {
  if (!isJsonObject(value)) throw badRequest('the body must be an object of kind Scale');
  const { apiVersion, kind } = value;
  if (apiVersion !== undefined && apiVersion !== 'autoscaling/v1') {
    throw badRequest(`the API version in the data (${String(apiVersion).slice(0, 200)}) does not match autoscaling/v1`);
  }
  if (kind !== undefined && kind !== 'Scale') {
    throw badRequest(`the kind in the data (${String(kind).slice(0, 200)}) does not match the kind Scale`);
  }
  const sentName = getPath(value, ['metadata', 'name']);
  if (sentName !== undefined && sentName !== name) {
    throw badRequest(`the name of the object (${String(sentName)}) does not match the name on the URL (${name})`);
  }
  const replicas = getPath(value, ['spec', 'replicas']) ?? 0;
  const errors: FieldError[] = [];
  if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas > 2 ** 31 - 1) {
    const detail = 'spec.replicas in body must be of type int32';
    errors.push({ kind: 'type', field: 'spec.replicas', value: replicas, detail });
  } else if (replicas < 0) {
    const detail = 'must be greater than or equal to 0';
    errors.push({ kind: 'invalid', field: 'spec.replicas', value: replicas, detail });
  }
  if (errors.length > 0 || typeof replicas !== 'number') throw invalid(scaleKind, name, errors);
  const version = getPath(value, ['metadata', 'resourceVersion']);
  return { replicas, resourceVersion: typeof version === 'string' && version !== '' ? version : undefined };
}

export interface ScaleWrite {
  readonly place: ObjectPlace;
  readonly paths: ScalePaths;
  /** What the client sent: a whole Scale, or a patch of one. */
  readonly change: { readonly kind: 'replace'; readonly value: Json } | Patch;
  readonly mode: WriteMode;
  /** The object as it is. Throws StatusError 404. */
  readonly find: () => Entry;
}

/** Times that a patch is tried when the object changes beneath it. */
const maxTries = 5;

/** Throws StatusError. Returns the entry of the Scale as it is then. */
export async function writeScale(operations: Operations, write: ScaleWrite): Promise<Entry> {
  const { place, paths, change, mode, find } = write;
  for (let tries = 1; ; tries++) {
    const current = scaleOf(find().object, paths);
    const { replicas, resourceVersion } = parseScale(changed(current, change), place);
    const present = current.metadata.resourceVersion;
    if (resourceVersion !== undefined && resourceVersion !== present)
      throw conflict(place.kind, place.name, objectModified);
    const metadata = present === undefined ? {} : { metadata: { resourceVersion: present } };
    const value = { ...metadata, ...nest(paths.specReplicas, replicas) };
    try {
      const { entry } = await operations.patch(place, undefined, { kind: 'merge', value }, mode);
      return scaleEntry(entry, paths);
    } catch (error) {
      const isRace =
        error instanceof StatusError &&
        error.reason === 'Conflict' &&
        (change.kind !== 'replace' || resourceVersion === undefined);
      if (!isRace || tries >= maxTries) throw error;
    }
  }
}

function changed(current: KubeObject, change: ScaleWrite['change']): Json {
  switch (change.kind) {
    case 'replace':
      return change.value;
    case 'json':
      return applyJsonPatch(current, change.value);
    default:
      if (!isJsonObject(change.value)) throw badRequest('a merge patch must be an object');
      return applyMergePatch(current, change.value);
  }
}

function nest(path: readonly string[], value: Json): JsonObject {
  return path.reduceRight<Json>((inner, key) => ({ [key]: inner }), value) as JsonObject; // a path is never empty
}
