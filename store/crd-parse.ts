/**
 * What a CustomResourceDefinition says, in the shapes that the store works with: a kind for each version that is served.
 * Pure. The definition has been validated by crd-validate.ts, or is one of ours.
 */
import * as containers from '../crds/index.ts';
import {
  getPath,
  getString,
  isJsonObject,
  type Json,
  type JsonObject,
  jsonTypeOf,
  objectsOf,
  textsOf,
} from './json.ts';
import type { CustomKinds } from './kinds.ts';
import {
  ageColumn,
  apiVersionOf,
  type Column,
  type Conversion,
  type KubeObject,
  nameColumn,
  parseJsonPath,
  type ResourceKind,
  readJsonPath,
  type ScalePaths,
} from './resources.ts';
import { compileSchema, parseOpenApiSchema } from './schema.ts';
import { headFields, normalize } from './schema-normalize.ts';

/**
 * Reads one definition. `rules`: what validates objects of a version beyond its schema; `ended`: see ResourceKind. Throws TypeError that says what is wrong.
 */
export function parseCustomResourceDefinition(
  value: Json,
  rules: (version: Json) => ResourceKind['validate'] = () => () => [],
  ended?: AbortSignal,
): CustomKinds {
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
  const isTerminating = getString(value, 'metadata', 'deletionTimestamp') !== undefined;
  const shared = {
    group,
    plural,
    kind,
    listKind: getString(value, 'spec', 'names', 'listKind') ?? `${kind}List`,
    singular: getString(value, 'spec', 'names', 'singular') ?? kind.toLowerCase(),
    shortNames: textsOf(getPath(value, ['spec', 'names', 'shortNames'])),
    categories: textsOf(getPath(value, ['spec', 'names', 'categories'])),
    isNamespaced: text('spec', 'scope') === 'Namespaced',
    isCustom: true,
    hasGeneration: true,
    hasStreams: group === containers.group && plural === containers.plural,
    storageKey: `${plural}.${group}`,
    nameRule: 'subdomain',
    prepare: (object) => object,
    ttlMs: undefined,
    ...(ended === undefined ? {} : { ended }),
    ...(isTerminating ? { isTerminating } : {}),
  } as const satisfies Partial<ResourceKind>;
  const versions = objectsOf(getPath(value, ['spec', 'versions']));
  const storage = versions.find((version) => getPath(version, ['storage']) === true);
  const parse = (version: Json): ResourceKind => {
    const versionName = getString(version, 'name') ?? '';
    const path = `${name}/${versionName}`;
    const openApi = parseOpenApiSchema(getPath(version, ['schema', 'openAPIV3Schema']), path);
    const reversed = group.split('.').reverse().join('.');
    const scale = scaleOf(getPath(version, ['subresources', 'scale']));
    const deprecation = deprecationOf(version, { group, version: versionName }, kind);
    return {
      ...shared,
      version: versionName,
      openApi,
      schema: compileSchema(openApi, path),
      hasStatus: getPath(version, ['subresources', 'status']) !== undefined,
      definitionName: `${reversed}.${versionName}.${kind}`,
      columns: customColumns(getPath(version, ['additionalPrinterColumns'])),
      selectableFields: customSelectableFields(getPath(version, ['selectableFields'])),
      validate: rules(version),
      ...(scale === undefined ? {} : { scale, subresources: [scaleSubresource] }),
      ...(deprecation === undefined ? {} : { deprecation }),
    };
  };
  if (storage === undefined) throw new TypeError(`CustomResourceDefinition ${name}: no version is the storage version`);
  const stored = parse(storage);
  const served = versions.filter((version) => version.served === true);
  return {
    stored,
    served: served.map((version) => (version === storage ? stored : converted(parse(version), stored))),
  };
}

/** A version whose objects are stored as another's: only apiVersion differs, and what each schema does not name. */
function converted(kind: ResourceKind, stored: ResourceKind): ResourceKind {
  return { ...kind, conversion: conversionBetween(kind, stored) };
}

function conversionBetween(kind: ResourceKind, stored: ResourceKind): Conversion {
  const convert = (object: KubeObject, to: ResourceKind): KubeObject => {
    // normalize gives back an object for an object, and leaves the head as it is
    const { value } = normalize(to.schema, { ...object, apiVersion: apiVersionOf(to) }, headFields);
    return value as KubeObject;
  };
  return { fromStorage: (object) => convert(object, kind), toStorage: (object) => convert(object, stored) };
}

function deprecationOf(
  version: Json,
  groupVersion: { readonly group: string; readonly version: string },
  kind: string,
): string | undefined {
  if (getPath(version, ['deprecated']) !== true) return undefined;
  return getString(version, 'deprecationWarning') ?? `${apiVersionOf(groupVersion)} ${kind} is deprecated`;
}

const scaleSubresource = {
  name: 'scale',
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  verbs: ['get', 'patch', 'update'],
};

function scaleOf(value: Json | undefined): ScalePaths | undefined {
  if (!isJsonObject(value)) return undefined;
  const path = (name: string): readonly string[] | undefined => {
    const found = getString(value, name) ?? '';
    return found === '' ? undefined : parseJsonPath(found).map(String);
  };
  return {
    specReplicas: path('specReplicasPath') ?? [],
    statusReplicas: path('statusReplicasPath') ?? [],
    selector: path('labelSelectorPath'),
  };
}

function customSelectableFields(value: Json | undefined): ReadonlyMap<string, readonly string[]> {
  const paths = objectsOf(value).map((item) => getString(item, 'jsonPath') ?? '');
  return new Map(paths.map((path) => [path.replace(/^\./u, ''), parseJsonPath(path).map(String)]));
}

function customColumns(value: Json | undefined): readonly Column[] {
  const columns = objectsOf(value);
  if (columns.length === 0) return [nameColumn, ageColumn];
  return [nameColumn, ...columns.map(customColumn)];
}

function customColumn(column: JsonObject): Column {
  const path = parseJsonPath(getString(column, 'jsonPath') ?? '');
  const format = getString(column, 'format');
  const { priority } = column;
  return {
    name: getString(column, 'name') ?? '',
    type: getString(column, 'type') ?? 'string',
    ...(format === undefined ? {} : { format }),
    description: getString(column, 'description') ?? '',
    priority: typeof priority === 'number' ? priority : 0,
    value: (object) => readJsonPath(object, path),
  };
}
