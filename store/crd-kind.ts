/**
 * The kind CustomResourceDefinition. Rules only: crd-controller.ts makes its kinds come and go. Definitions that the
 * server brings along are its own: their spec is set from their file at every start, and by nobody else.
 */
import { core } from './core-kinds.ts';
import { compileCrdSchema, crdOpenApi } from './crd-schema.ts';
import { cleanupFinalizer, decideStatus, setCondition, type TakenNames } from './crd-status.ts';
import { validateDefinition } from './crd-validate.ts';
import type { CrdRules } from './crd-validate-version.ts';
import { formatTime } from './format-time.ts';
import { getString, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import { type KubeObject, nameColumn, type ResourceKind } from './resources.ts';
import { forbidden } from './status-error.ts';

export const crdStorageKey = 'customresourcedefinitions.apiextensions.k8s.io';

export interface CrdKindDeps extends CrdRules {
  /** The names that others than this definition have in its group. */
  readonly taken: (group: string, definition: string) => TakenNames;
  /** The specs of the definitions that the server brings along, by name. */
  readonly owned: ReadonlyMap<string, Json>;
  readonly now: () => number;
}

export function createCrdKind(deps: CrdKindDeps): ResourceKind {
  const kind: ResourceKind = {
    ...core({
      kind: 'CustomResourceDefinition',
      plural: 'customresourcedefinitions',
      isNamespaced: false,
      openApi: { type: 'object' },
      columns: [
        nameColumn,
        {
          name: 'Created At',
          type: 'string',
          description: 'When the definition was created.',
          priority: 0,
          value: (object) => getString(object, 'metadata', 'creationTimestamp'),
        },
      ],
    }),
    group: 'apiextensions.k8s.io',
    storageKey: crdStorageKey,
    definitionName: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition',
    shortNames: ['crd', 'crds'],
    categories: ['api-extensions'],
    hasStatus: true,
    hasGeneration: true,
    openApi: crdOpenApi,
    schema: compileCrdSchema(),
    prepare: (object) => prepare(object, deps),
    validate: (object, previous) => validateDefinition(kind, object, previous, deps),
    prepareDeletion: (object) => prepareDeletion(object, deps),
  };
  const prepareOwned = (object: KubeObject): KubeObject => {
    const prepared = prepare(object, deps);
    const own = deps.owned.get(object.metadata.name);
    if (own === undefined || jsonEqual(own, prepared.spec)) return prepared;
    throw forbidden(kind, object.metadata.name, ownedBecause);
  };
  return { ...kind, prepare: prepareOwned };
}

const ownedBecause =
  'the definition belongs to this server, which sets it from its own file at every start; its labels and annotations ' +
  'can be changed, its spec cannot';

function prepare(object: KubeObject, { taken, now }: CrdKindDeps): KubeObject {
  const next: KubeObject = { ...object, spec: withDefaults(object.spec) };
  const group = getString(next, 'spec', 'group') ?? '';
  const names = taken(group, next.metadata.name);
  return { ...next, status: decideStatus(next, names, formatTime(now())) };
}

/** A spec with what Kubernetes fills in, and without nulls, which count as absent. */
export function withDefaults(spec: Json | undefined): JsonObject {
  if (!isJsonObject(spec)) return {};
  const clean = withoutNulls(spec);
  const names = isJsonObject(clean.names) ? clean.names : {};
  const kind = getString(names, 'kind') ?? '';
  const filled = {
    ...names,
    ...((getString(names, 'singular') ?? '') ? {} : { singular: kind.toLowerCase() }),
    ...((getString(names, 'listKind') ?? '') ? {} : { listKind: `${kind}List` }),
  };
  return {
    ...clean,
    ...(isJsonObject(clean.names) ? { names: filled } : {}),
    ...(clean.conversion === undefined ? { conversion: { strategy: 'None' } } : {}),
  };
}

/** Where null is a value of its own. */
const keepsNull: ReadonlySet<string> = new Set(['default', 'example', 'enum']);

function withoutNulls(object: JsonObject, isMapOfSchemas = false): JsonObject {
  const entries = Object.entries(object).flatMap(([key, value]): (readonly [string, Json])[] => {
    if (value === undefined || value === null) return [];
    if (keepsNull.has(key) && !isMapOfSchemas) return [[key, value]];
    if (isJsonObject(value)) return [[key, withoutNulls(value, key === 'properties' && !isMapOfSchemas)]];
    if (isJsonArray(value)) return [[key, value.map((item) => (isJsonObject(item) ? withoutNulls(item) : item))]];
    return [[key, value]];
  });
  return Object.fromEntries(entries);
}

function prepareDeletion(object: KubeObject, { owned, now }: CrdKindDeps): KubeObject {
  const { metadata } = object;
  if (owned.has(metadata.name)) {
    const because = 'the definition belongs to this server, which cannot do without it';
    throw forbidden({ group: 'apiextensions.k8s.io', plural: 'customresourcedefinitions' }, metadata.name, because);
  }
  const finalizers = metadata.finalizers ?? [];
  const status = isJsonObject(object.status) ? object.status : {};
  const terminating = {
    type: 'Terminating',
    status: 'True',
    reason: 'InstanceDeletionPending',
    message: 'CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon',
  } as const;
  return {
    ...object,
    metadata: {
      ...metadata,
      finalizers: finalizers.includes(cleanupFinalizer) ? finalizers : [...finalizers, cleanupFinalizer],
    },
    status: { ...status, conditions: setCondition(status.conditions, terminating, formatTime(now())) },
  };
}
