/**
 * The subresource scale (autoscaling/v1 Scale) of custom resources whose definition declares where the numbers are: read,
 * replaced, patched and applied, each write as a change of the object itself. In its managedFields the number is noted
 * for the writer with the subresource, as by kube-apiserver.
 */
import { column, core, root, text } from './core-kinds.ts';
import type { Entry } from './entry-object.ts';
import type { FieldError } from './field-errors.ts';
import { getPath, isJsonObject, type Json, type JsonObject, pick } from './json.ts';
import { applyJsonPatch, applyMergePatch } from './json-patch.ts';
import type { ApplyMode, ObjectPlace, Operations, Patch, WriteMode } from './operations.ts';
import {
  ageColumn,
  apiVersionOf,
  type KubeObject,
  nameColumn,
  type ResourceKind,
  type ScalePaths,
} from './resources.ts';
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
      const { entry } = await operations.patch(place, 'scale', { kind: 'merge', value }, mode);
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

export interface ScaleApply {
  readonly place: ObjectPlace;
  readonly paths: ScalePaths;
  /** The Scale that is applied. */
  readonly value: Json;
  readonly mode: ApplyMode;
}

/** Throws StatusError: 400 for what is no Scale, 409 for conflicts. Returns the entry of the Scale as it is then. */
export async function applyScale(operations: Operations, { place, paths, value, mode }: ScaleApply): Promise<Entry> {
  const { kind, name } = place;
  if (!isJsonObject(value)) throw badRequest('error decoding patch: what is applied must be an object');
  if (value.apiVersion !== 'autoscaling/v1' || value.kind !== 'Scale') {
    const seen = [value.apiVersion, value.kind].map((part) => String(part ?? '').slice(0, 253));
    throw badRequest(`invalid object type: ${seen[0]}, Kind=${seen[1]}`);
  }
  const { replicas, resourceVersion } = parseScale(value, place);
  const metadata = {
    ...pick(value.metadata, ['managedFields']),
    name,
    ...(place.namespace === undefined ? {} : { namespace: place.namespace }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
  const isSent = getPath(value, ['spec', 'replicas']) !== undefined;
  const config = {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata,
    ...(isSent ? nest(paths.specReplicas, replicas) : {}),
  };
  const { entry } = await operations.apply(place, 'scale', config, mode);
  return scaleEntry(entry, paths);
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
