/**
 * What a write makes of an object: creation, update, status update and deletion. Pure: time and chance are passed in.
 * The rules are those of kube-apiserver (registry/rest and the strategies of custom resources and core kinds).
 */
import { specFinalizersOf } from './core-kinds.ts';
import { finalizersOnDelete, type Preconditions, type Propagation } from './delete-options.ts';
import type { Entry } from './entry-object.ts';
import type { FieldError } from './field-errors.ts';
import { formatTime } from './format-time.ts';
import {
  getPath,
  getString,
  isJsonArray,
  isJsonObject,
  type Json,
  type JsonObject,
  jsonEqual,
  pick,
  without,
} from './json.ts';
import { parseMeta, validateMeta } from './object-meta.ts';
import { apiVersionOf, type KubeObject, type ObjectMeta, type ResourceKind } from './resources.ts';
import { headFields, normalize } from './schema-normalize.ts';
import { validateSchema } from './schema-validate.ts';
import { badRequest, conflict, forbidden, invalid, objectModified } from './status-error.ts';

/** An object as a client sent it: of the right kind, pruned and defaulted, but not yet checked. */
export interface ParsedObject {
  /** All but apiVersion, kind and metadata. */
  readonly content: JsonObject;
  readonly meta: JsonObject;
  readonly unknownFields: readonly string[];
  readonly metaErrors: readonly FieldError[];
  /** What the client says of who owns which field; taken up by managed-fields/. */
  readonly managedFields: Json | undefined;
}

/** Where a request says that the object is. */
export interface Target {
  readonly namespace: string | undefined;
  /** undefined on creation, where the object names itself. */
  readonly name: string | undefined;
}

/** Throws StatusError 400 if the value is not an object of this kind for this place. */
export function parseObject(kind: ResourceKind, value: Json, target: Target): ParsedObject {
  if (!isJsonObject(value)) throw badRequest(`the body must be an object of kind ${kind.kind}`);
  const expected = apiVersionOf(kind);
  if (value.apiVersion !== undefined && value.apiVersion !== expected) {
    const seen = typeof value.apiVersion === 'string' ? value.apiVersion : JSON.stringify(value.apiVersion);
    throw badRequest(
      `the API version in the data (${seen.slice(0, 200)}) does not match the expected API version (${expected})`,
    );
  }
  if (value.kind !== undefined && value.kind !== kind.kind) {
    throw badRequest(`the kind in the data (${String(value.kind).slice(0, 200)}) does not match the kind ${kind.kind}`);
  }
  const { meta, unknownFields, errors } = parseMeta(value.metadata);
  checkTarget(meta, target);
  const normalized = normalize(kind.schema, value, headFields);
  // normalize gives back an object for an object
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...content } = normalized.value as JsonObject;
  const managedFields = getPath(value.metadata, ['managedFields']);
  return {
    content,
    meta,
    unknownFields: [...unknownFields, ...normalized.unknownFields],
    metaErrors: errors,
    managedFields,
  };
}

function checkTarget(meta: JsonObject, { name, namespace }: Target): void {
  if (name !== undefined && meta.name === undefined) {
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  }
  if (name !== undefined && meta.name !== name) {
    throw badRequest(`the name of the object (${String(meta.name)}) does not match the name on the URL (${name})`);
  }
  if (meta.namespace !== undefined && meta.namespace !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}

/** Time and chance for one write. */
export interface Circumstances {
  readonly nowMs: number;
  readonly uid: string;
  /** Completes metadata.generateName. */
  readonly suffix: string;
}

/** Longest start of a generated name, so that the whole is a label. Source: apiserver/pkg/storage/names. */
const maxGeneratedPrefix = 58;

/** The object that a POST creates. Throws StatusError 400 or 422. */
export function createObject(
  kind: ResourceKind,
  parsed: ParsedObject,
  namespace: string | undefined,
  { nowMs, uid, suffix }: Circumstances,
): KubeObject {
  const { meta } = parsed;
  if (meta.resourceVersion !== undefined) {
    throw badRequest('resourceVersion should not be set on objects to be created');
  }
  rejectMeta(kind, parsed, getString(meta, 'name') ?? '');
  const generateName = getString(meta, 'generateName');
  const generated = generateName === undefined ? '' : `${generateName.slice(0, maxGeneratedPrefix)}${suffix}`;
  const metadata = {
    ...pick(meta, ['name', 'generateName']),
    name: getString(meta, 'name') ?? generated,
    ...(namespace === undefined ? {} : { namespace }),
    uid,
    ...(kind.hasGeneration ? { generation: 1 } : {}),
    creationTimestamp: formatTime(nowMs),
    ...pick(meta, userMeta),
  };
  const content = kind.hasStatus ? without(parsed.content, 'status') : parsed.content;
  const object = kind.prepare({ apiVersion: apiVersionOf(kind), kind: kind.kind, metadata, ...content }, undefined);
  check(kind, object, undefined);
  return object;
}

/** What clients decide on in metadata. */
const userMeta = ['labels', 'annotations', 'finalizers', 'ownerReferences'] as const;

const jsonTypes: ReadonlySet<string> = new Set(['array', 'boolean', 'integer', 'null', 'number', 'object', 'string']);

/** Metadata of every kind, and core kinds whole, have types that Kubernetes decodes into: what does not fit is no object. */
function rejectWrongTypes(kind: ResourceKind, errors: readonly FieldError[]): void {
  const [first] = errors.filter((error) => error.kind === 'type');
  if (first === undefined) return;
  const what = `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}`;
  // A value that is of the right type, and not of the right form, may be a secret.
  const [rule] = first.detail.split(': "', 1);
  const seen = jsonTypes.has(String(first.value)) ? `, and is of type ${first.value}` : '';
  throw badRequest(`${what}: ${rule}${seen}`);
}

function rejectMeta(kind: ResourceKind, { metaErrors }: ParsedObject, name: string): void {
  rejectWrongTypes(kind, metaErrors);
  if (metaErrors.length > 0) throw invalid(kind, name, metaErrors);
}

function check(kind: ResourceKind, object: KubeObject, previous: KubeObject | undefined): void {
  const { name, namespace } = object.metadata;
  // The schema of a kind may narrow the name, as the Container's does.
  const errors = [...validateMeta(object.metadata, kind), ...checkContent(kind, object, previous)];
  if (!kind.isCustom) rejectWrongTypes(kind, errors);
  // The rules of a custom resource rely on its schema.
  if (!kind.isCustom || errors.length === 0) errors.push(...kind.validate(object, previous));
  if (errors.length > 0) throw invalid(kind, name, errors);
  if (previous !== undefined && namespace !== previous.metadata.namespace) throw badRequest('namespace is immutable');
}

/** Custom resources may keep what was right by an earlier schema; of lists, also items that stand twice. */
function checkContent(kind: ResourceKind, object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  if (!kind.isCustom || previous === undefined) return validateSchema(kind.schema, object);
  const errors = validateSchema(kind.schema, object, '', previous);
  const isDuplicate = (error: FieldError): boolean => error.kind === 'duplicate';
  if (!errors.some(isDuplicate) || !validateSchema(kind.schema, previous).some(isDuplicate)) return errors;
  return errors.filter((error) => !isDuplicate(error));
}

/** `scale` writes the object itself; only its writer is noted apart. */
export type Subresource = 'status' | 'scale' | 'finalize' | undefined;

/** What becomes of an object that was written or asked to go. */
export type Outcome =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'store'; readonly object: KubeObject }
  | { readonly kind: 'remove'; readonly object: KubeObject };

/** `resourceVersion`: whether the request must name the revision that it changes. */
export interface UpdateRules {
  readonly subresource: Subresource;
  readonly resourceVersion: 'required' | 'optional';
  /** What a uid that the request names is, if it is another than the object's. Default: a precondition. */
  readonly uid?: 'precondition' | 'immutable';
}

/** What a PUT or an applied PATCH makes of the object. Throws StatusError 409 or 422. */
export function updateObject(
  kind: ResourceKind,
  { object: current }: Entry,
  parsed: ParsedObject,
  rules: UpdateRules,
): Outcome {
  const { meta } = parsed;
  const { name } = current.metadata;
  rejectMeta(kind, parsed, name);
  checkFixed(kind, current, meta, rules);
  if (meta.resourceVersion === undefined && rules.resourceVersion === 'required') {
    const detail = 'must be specified for an update';
    throw invalid(kind, name, [{ kind: 'invalid', field: 'metadata.resourceVersion', value: 0, detail }]);
  }
  if (meta.resourceVersion !== undefined && meta.resourceVersion !== current.metadata.resourceVersion) {
    throw conflict(kind, name, objectModified);
  }
  const merged = merge(kind, current, parsed, rules.subresource);
  const object = rules.subresource === 'finalize' ? merged : kind.prepare(merged, current);
  check(kind, object, current);
  checkFinalizers(kind, current, object);
  if (isGone(object)) return { kind: 'remove', object };
  return jsonEqual(object, current) ? { kind: 'unchanged' } : { kind: 'store', object };
}

/** Source: apimachinery ValidateObjectMetaAccessorUpdate; a PUT takes the uid for a precondition. */
function checkFixed(kind: ResourceKind, current: KubeObject, meta: JsonObject, rules: UpdateRules): void {
  const uid = getString(meta, 'uid');
  const { name, deletionTimestamp } = current.metadata;
  if (rules.uid !== 'immutable') checkPreconditions(kind, current, { uid, resourceVersion: undefined });
  const isMarked = deletionTimestamp !== undefined;
  const changed = [
    ...(uid === undefined || uid === current.metadata.uid ? [] : ['uid']),
    ...(isMarked || meta.deletionTimestamp === undefined ? [] : ['deletionTimestamp']),
    ...(isMarked || meta.deletionGracePeriodSeconds === undefined ? [] : ['deletionGracePeriodSeconds']),
  ];
  const errors = changed.map((key): FieldError => {
    const detail = 'field is immutable';
    return { kind: 'invalid', field: `metadata.${key}`, value: meta[key] ?? null, detail };
  });
  if (errors.length > 0) throw invalid(kind, name, errors);
}

function merge(
  kind: ResourceKind,
  current: KubeObject,
  { content, meta }: ParsedObject,
  subresource: Subresource,
): KubeObject {
  const { apiVersion, kind: kindName, metadata } = current;
  if (subresource === 'status') {
    const { status } = content;
    return {
      apiVersion,
      kind: kindName,
      metadata,
      ...contentOf(kind, current),
      ...(status === undefined ? {} : { status }),
    };
  }
  if (subresource === 'finalize') return withSpecFinalizers(current, content);
  const { status: _sent, ...sent } = content;
  const desired = kind.hasStatus ? sent : content;
  const status = kind.hasStatus && current.status !== undefined ? { status: current.status } : {};
  const { labels: _l, annotations: _a, finalizers: _f, ownerReferences: _o, ...kept } = metadata;
  const before = contentOf(kind, current);
  const generation =
    kind.hasGeneration && !jsonEqual(before, desired) ? { generation: (metadata.generation ?? 0) + 1 } : {};
  // kept holds every field that ObjectMeta requires; pick adds only what parseMeta has checked
  const next = { ...kept, ...generation, ...pick(meta, userMeta) } as ObjectMeta;
  return { apiVersion, kind: kindName, metadata: next, ...desired, ...status };
}

/** Of what is sent to `finalize`, spec.finalizers count alone. Source: registry/core/namespace, finalizeStrategy. */
function withSpecFinalizers(current: KubeObject, content: JsonObject): KubeObject {
  const before = isJsonObject(current.spec) ? without(current.spec, 'finalizers') : {};
  const finalizers = getPath(content, ['spec', 'finalizers']);
  const isSome = isJsonArray(finalizers) && finalizers.length > 0;
  return { ...current, spec: { ...before, ...(isSome ? { finalizers } : {}) } };
}

/** What is desired: all but the head, and the status where that is a subresource. */
function contentOf(kind: ResourceKind, object: KubeObject): JsonObject {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...content } = object;
  return kind.hasStatus ? without(content, 'status') : content;
}

function checkFinalizers(kind: ResourceKind, current: KubeObject, object: KubeObject): void {
  if (current.metadata.deletionTimestamp === undefined) return;
  const before = new Set(current.metadata.finalizers);
  const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
  if (added.length === 0) return;
  const detail = `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`;
  throw invalid(kind, current.metadata.name, [{ kind: 'forbidden', field: 'metadata.finalizers', detail }]);
}

/** Whether nothing holds back an object whose deletion was asked for. */
function isGone(object: KubeObject): boolean {
  const { deletionTimestamp, finalizers = [] } = object.metadata;
  return deletionTimestamp !== undefined && finalizers.length === 0 && specFinalizersOfNamespace(object).length === 0;
}

function specFinalizersOfNamespace(object: KubeObject): readonly string[] {
  return object.kind === 'Namespace' && object.apiVersion === 'v1' ? specFinalizersOf(object) : [];
}

function checkPreconditions(kind: ResourceKind, current: KubeObject, { uid, resourceVersion }: Preconditions): void {
  const { metadata } = current;
  if (uid !== undefined && uid !== metadata.uid) {
    const because = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`;
    throw conflict(kind, metadata.name, because);
  }
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
    const because = `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`;
    throw conflict(kind, metadata.name, because);
  }
}

/** Namespaces that Kubernetes never removes. */
const lastingNamespaces: ReadonlySet<string> = new Set(['default', 'kube-system']);

/** What a DELETE makes of the object. Throws StatusError 403 or 409. */
export function deleteObject(
  kind: ResourceKind,
  { object: current }: Entry,
  preconditions: Preconditions,
  nowMs: number,
  propagation: Propagation = 'default',
): Outcome {
  checkPreconditions(kind, current, preconditions);
  const { metadata } = current;
  const isNamespace = current.kind === 'Namespace' && current.apiVersion === 'v1';
  if (isNamespace && lastingNamespaces.has(metadata.name)) {
    throw forbidden(kind, metadata.name, 'this namespace may not be deleted');
  }
  const kept = withFinalizers(current, finalizersOnDelete(metadata.finalizers, propagation));
  if (metadata.deletionTimestamp !== undefined) {
    if (isGone(kept)) return { kind: 'remove', object: kept };
    return jsonEqual(kept, current) ? { kind: 'unchanged' } : { kind: 'store', object: kept };
  }
  const generation = metadata.generation === undefined ? {} : { generation: metadata.generation + 1 };
  const marked: KubeObject = {
    ...kept,
    metadata: { ...kept.metadata, ...generation, deletionTimestamp: formatTime(nowMs), deletionGracePeriodSeconds: 0 },
    ...(isNamespace
      ? { status: { ...(isJsonObject(current.status) ? current.status : {}), phase: 'Terminating' } }
      : {}),
  };
  const prepared = kind.prepareDeletion?.(marked) ?? marked;
  return isGone(prepared) ? { kind: 'remove', object: current } : { kind: 'store', object: prepared };
}

function withFinalizers(object: KubeObject, finalizers: readonly string[]): KubeObject {
  const { finalizers: _before, ...metadata } = object.metadata;
  return { ...object, metadata: { ...metadata, ...(finalizers.length === 0 ? {} : { finalizers }) } };
}

/** What is left of an object that one finalizer holds no more. */
export function dropFinalizer(object: KubeObject, finalizer: string): Outcome {
  const { finalizers = [] } = object.metadata;
  if (!finalizers.includes(finalizer)) return { kind: 'unchanged' };
  const next = withFinalizers(
    object,
    finalizers.filter((name) => name !== finalizer),
  );
  return isGone(next) ? { kind: 'remove', object: next } : { kind: 'store', object: next };
}

/** A namespace that was found empty, without the finalizer that held it. */
export function finishNamespace(object: KubeObject, finalizer: string): Outcome {
  const finalizers = specFinalizersOf(object).filter((name) => name !== finalizer);
  const spec = isJsonObject(object.spec) ? object.spec : {};
  const next: KubeObject = {
    ...object,
    spec: { ...without(spec, 'finalizers'), ...(finalizers.length > 0 ? { finalizers } : {}) },
  };
  if (isGone(next)) return { kind: 'remove', object: next };
  return jsonEqual(next, object) ? { kind: 'unchanged' } : { kind: 'store', object: next };
}
