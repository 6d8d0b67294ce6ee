/**
 * The kinds that the store serves. Pure: a kind is data, whether it comes from a CustomResourceDefinition or is one of
 * the core kinds; handlers know no kind by name.
 */
import type { FieldError } from './field-errors.ts';
import { getOwn, getString, isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import type { CompiledSchema, OpenApiSchema } from './schema.ts';
import type { ResourceName } from './status-error.ts';

/** A stored object: any kind, with what every kind has. */
export interface KubeObject extends JsonObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** metav1.ObjectMeta as stored; `namespace` is absent for cluster-wide kinds. */
export interface ObjectMeta extends JsonObject {
  readonly name: string;
  readonly namespace?: string;
  readonly generateName?: string;
  readonly uid: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: { readonly [key: string]: string };
  readonly annotations?: { readonly [key: string]: string };
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly JsonObject[];
  readonly managedFields?: readonly JsonObject[];
}

/** One column of `kubectl get`. `priority` above 0 is shown by `-o wide` only. */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description: string;
  readonly priority: number;
  /** The cell's value: what JSON holds, before ages are reckoned. */
  readonly value: (object: JsonObject, nowMs: number) => Json | undefined;
}

export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** Reads an object of another kind, as it is now. */
export type Lookup = (storageKey: string, namespace: string | undefined, name: string) => KubeObject | undefined;

/** How a kind is made from another, whose objects are kept under `storageKey`. `project` is pure. */
export interface Projection {
  readonly storageKey: string;
  readonly project: (object: KubeObject, lookup: Lookup) => KubeObject;
}

/** How objects of a version are read from, and written to, what is stored as another version. Pure. */
export interface Conversion {
  readonly fromStorage: (object: KubeObject) => KubeObject;
  readonly toStorage: (object: KubeObject) => KubeObject;
}

/** Where an object has what the subresource scale shows. */
export interface ScalePaths {
  readonly specReplicas: readonly string[];
  readonly statusReplicas: readonly string[];
  /** Of a label selector as text; undefined: it has none. */
  readonly selector: readonly string[] | undefined;
}

export interface ResourceKind extends ResourceName {
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly isNamespaced: boolean;
  /** Custom resources differ in two rules: PUT needs a resourceVersion, and there is no strategic merge patch. */
  readonly isCustom: boolean;
  readonly hasStatus: boolean;
  /** Fields at the top of the object, beside status, that the server sets whatever a client sends. */
  readonly serverSetFields?: readonly string[];
  /** Whether its finalizers in the spec are written by a subresource of their own, as those of namespaces are. */
  readonly hasFinalize?: boolean;
  /** Whether a whole collection cannot be deleted at once. */
  readonly isKeptFromDeleteCollection?: boolean;
  /** Whether a PUT of what is not there creates it. */
  readonly isCreatedByUpdate?: boolean;
  /** Whether metadata.generation counts changes of the spec. */
  readonly hasGeneration: boolean;
  /** Whether its host's log, exec, attach and port-forward are below it. */
  readonly hasStreams: boolean;
  /** Nothing of the kind is stored: a POST is a question, and is answered. */
  readonly isReview?: boolean;
  /** Beside status and streams, for discovery; `group`, `version` and `kind` are those of what is sent. */
  readonly subresources?: readonly {
    readonly name: string;
    readonly group: string;
    readonly version: string;
    readonly kind: string;
    readonly verbs: readonly string[];
  }[];
  /** The kind is read-only, and made from another. */
  readonly projection?: Projection;
  /** Its objects are measured when they are asked for (metrics-api.ts): there is nothing to watch. */
  readonly isMeasured?: boolean;
  /** The kind's objects are stored as those of another version. */
  readonly conversion?: Conversion;
  readonly scale?: ScalePaths;
  /** What clients of the version are warned of. */
  readonly deprecation?: string;
  /** Aborted when the kind is served no more as it is here: watches end. */
  readonly ended?: AbortSignal;
  /** The kind is being removed: none of its objects is created any more. */
  readonly isTerminating?: boolean;
  readonly schema: CompiledSchema;
  readonly openApi: OpenApiSchema;
  /** Under which name the schema is published, like io.k8s.api.core.v1.Secret. */
  readonly definitionName: string;
  /** Group and plural; where the objects are kept. */
  readonly storageKey: string;
  /** `segment`: whatever can stand in a path. */
  readonly nameRule: 'label' | 'subdomain' | 'segment';
  readonly columns: readonly Column[];
  /** Fields that a field selector may name, beside metadata.name and metadata.namespace. */
  readonly selectableFields: ReadonlyMap<string, readonly string[]>;
  /** Values that a field selector may give for another that is stored, by field: what a client knows it as. */
  readonly selectorAliases?: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Sets what the kind's own rules set, before validation. `previous` is undefined on creation. */
  readonly prepare: (object: KubeObject, previous: KubeObject | undefined) => KubeObject;
  /** The kind's own rules beyond its schema. */
  readonly validate: (object: KubeObject, previous: KubeObject | undefined) => readonly FieldError[];
  /** What a deletion marks an object with, beside the time. */
  readonly prepareDeletion?: (object: KubeObject) => KubeObject;
  /** Objects of this kind are removed this long after they were last written. */
  readonly ttlMs: number | undefined;
}

export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

const readingVerbs: readonly Verb[] = ['get', 'list', 'watch'];

/** What may be done with objects of a kind. */
export function verbsOf(
  kind: Pick<ResourceKind, 'projection' | 'isReview' | 'isMeasured' | 'isKeptFromDeleteCollection'>,
): readonly Verb[] {
  if (kind.isReview === true) return ['create'];
  if (kind.isMeasured === true) return ['get', 'list'];
  if (kind.projection !== undefined) return readingVerbs;
  return kind.isKeptFromDeleteCollection === true ? allVerbs.filter((verb) => verb !== 'deletecollection') : allVerbs;
}

export function apiVersionOf({ group, version }: { readonly group: string; readonly version: string }): string {
  return group === '' ? version : `${group}/${version}`;
}

/** Walks a simple JSONPath (`.spec.image`, `.status.ports[0].hostPort`, `.metadata.annotations['a\.b/c']`). */
export function parseJsonPath(text: string): readonly (string | number)[] {
  const steps: (string | number)[] = [];
  const step = /\.?\[(\d+)\]|\.?\['((?:[^'\\]|\\.)*)'\]|\.((?:[^.[\]\\]|\\.)+)/uy;
  let at = 0;
  while (at < text.length) {
    step.lastIndex = at;
    const match = step.exec(text);
    if (match === null) {
      throw new TypeError(
        `JSONPath ${JSON.stringify(text)}: cannot read ${JSON.stringify(text.slice(at))}; use .a.b[0]`,
      );
    }
    const [, index, quoted, plain] = match;
    steps.push(index !== undefined ? Number(index) : (quoted ?? plain ?? '').replaceAll(/\\(.)/gu, '$1'));
    at = step.lastIndex;
  }
  return steps;
}

export function readJsonPath(value: Json, steps: readonly (string | number)[]): Json | undefined {
  let at: Json | undefined = value;
  for (const step of steps) {
    if (typeof step === 'number') at = isJsonArray(at) ? at[step] : undefined;
    else at = isJsonObject(at) ? getOwn(at, step) : undefined;
  }
  return at;
}

export const nameColumn: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name of the object, unique among the objects of its kind in its namespace.',
  priority: 0,
  value: (object) => getString(object, 'metadata', 'name'),
};

export const ageColumn: Column = {
  name: 'Age',
  type: 'date',
  description: 'Time since the object was created.',
  priority: 0,
  value: (object) => getString(object, 'metadata', 'creationTimestamp'),
};
