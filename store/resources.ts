/**
 * The kinds that the store serves. Pure: a kind is data, whether it comes from a CustomResourceDefinition or is one of
 * the core kinds; handlers know no kind by name.
 */
import * as containers from '../crds/index.ts';
import type { FieldError } from './field-errors.ts';
import {
  getOwn,
  getPath,
  getString,
  isJsonArray,
  isJsonObject,
  type Json,
  type JsonObject,
  jsonTypeOf,
} from './json.ts';
import { type CompiledSchema, compileSchema, type OpenApiSchema, parseOpenApiSchema } from './schema.ts';
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
}

/** One column of `kubectl get`. `priority` above 0 is shown by `-o wide` only. */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description: string;
  readonly priority: number;
  /** The cell's value: what JSON holds, before ages are reckoned. */
  readonly value: (object: JsonObject) => Json | undefined;
}

export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** How a kind is made from another, whose objects are kept under `storageKey`. `project` is pure. */
export interface Projection {
  readonly storageKey: string;
  readonly project: (object: KubeObject) => KubeObject;
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
  /** Whether metadata.generation counts changes of the spec. */
  readonly hasGeneration: boolean;
  /** Whether its host's log, exec, attach and port-forward are below it. */
  readonly hasStreams: boolean;
  /** The kind is read-only, and made from another. */
  readonly projection?: Projection;
  readonly schema: CompiledSchema;
  readonly openApi: OpenApiSchema;
  /** Under which name the schema is published, like io.k8s.api.core.v1.Secret. */
  readonly definitionName: string;
  /** Group and plural; where the objects are kept. */
  readonly storageKey: string;
  readonly nameRule: 'label' | 'subdomain';
  readonly columns: readonly Column[];
  /** Fields that a field selector may name, beside metadata.name and metadata.namespace. */
  readonly selectableFields: ReadonlyMap<string, readonly string[]>;
  /** Sets what the kind's own rules set, before validation. `previous` is undefined on creation. */
  readonly prepare: (object: KubeObject, previous: KubeObject | undefined) => KubeObject;
  /** The kind's own rules beyond its schema. */
  readonly validate: (object: KubeObject, previous: KubeObject | undefined) => readonly FieldError[];
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
export function verbsOf({ projection }: Pick<ResourceKind, 'projection'>): readonly Verb[] {
  return projection === undefined ? allVerbs : readingVerbs;
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

/** Reads one CustomResourceDefinition: a kind for each served version. Throws TypeError that says what is wrong. */
export function parseCustomResourceDefinition(value: Json): readonly ResourceKind[] {
  const name = getString(value, 'metadata', 'name') ?? '(no name)';
  const text = (...path: readonly string[]): string => {
    const found = getPath(value, path);
    if (typeof found === 'string' && found !== '') return found;
    throw new TypeError(
      `CustomResourceDefinition ${name}: ${path.join('.')} must be a string, not ${jsonTypeOf(found)}`,
    );
  };
  if (getString(value, 'kind') !== 'CustomResourceDefinition') {
    throw new TypeError(
      `${name}: kind must be CustomResourceDefinition, not ${JSON.stringify(getPath(value, ['kind']))}`,
    );
  }
  const group = text('spec', 'group');
  const plural = text('spec', 'names', 'plural');
  if (name !== `${plural}.${group}`) {
    throw new TypeError(`CustomResourceDefinition ${name}: metadata.name must be ${plural}.${group}`);
  }
  const kind = text('spec', 'names', 'kind');
  const shared = {
    group,
    plural,
    kind,
    listKind: getString(value, 'spec', 'names', 'listKind') ?? `${kind}List`,
    singular: getString(value, 'spec', 'names', 'singular') ?? kind.toLowerCase(),
    shortNames: strings(getPath(value, ['spec', 'names', 'shortNames'])),
    categories: strings(getPath(value, ['spec', 'names', 'categories'])),
    isNamespaced: text('spec', 'scope') === 'Namespaced',
    isCustom: true,
    hasGeneration: true,
    storageKey: `${plural}.${group}`,
    nameRule: 'subdomain',
    prepare: (object) => object,
    validate: () => [],
    ttlMs: undefined,
  } as const satisfies Partial<ResourceKind>;
  const versions = getPath(value, ['spec', 'versions']);
  const served = (isJsonArray(versions) ? versions : []).filter((version) => getPath(version, ['served']) === true);
  return served.map((served) => {
    const version = getString(served, 'name') ?? '';
    const openApi = parseOpenApiSchema(getPath(served, ['schema', 'openAPIV3Schema']), `${name}/${version}`);
    const reversed = group.split('.').reverse().join('.');
    return {
      ...shared,
      version,
      openApi,
      schema: compileSchema(openApi, `${name}/${version}`),
      hasStatus: getPath(served, ['subresources', 'status']) !== undefined,
      hasStreams: group === containers.group && plural === containers.plural,
      definitionName: `${reversed}.${version}.${kind}`,
      columns: customColumns(getPath(served, ['additionalPrinterColumns'])),
      selectableFields: customSelectableFields(getPath(served, ['selectableFields'])),
    };
  });
}

function strings(value: Json | undefined): readonly string[] {
  return isJsonArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function customSelectableFields(value: Json | undefined): ReadonlyMap<string, readonly string[]> {
  const paths = (isJsonArray(value) ? value : []).map((item) => getString(item, 'jsonPath') ?? '');
  return new Map(paths.map((path) => [path.replace(/^\./u, ''), parseJsonPath(path).map(String)]));
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

function customColumns(value: Json | undefined): readonly Column[] {
  const columns = isJsonArray(value) ? value : [];
  if (columns.length === 0) return [nameColumn, ageColumn];
  return [nameColumn, ...columns.map(customColumn)];
}

function customColumn(column: Json): Column {
  const path = parseJsonPath(getString(column, 'jsonPath') ?? '');
  const format = getString(column, 'format');
  const priority = getPath(column, ['priority']);
  return {
    name: getString(column, 'name') ?? '',
    type: getString(column, 'type') ?? 'string',
    ...(format === undefined ? {} : { format }),
    description: getString(column, 'description') ?? '',
    priority: typeof priority === 'number' ? priority : 0,
    value: (object) => readJsonPath(object, path),
  };
}
