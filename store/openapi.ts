/**
 * OpenAPI documents, v2 and v3, from the kinds. Pure. Paths carry no more than clients look for: kubectl reads which
 * kinds there are (x-kubernetes-group-version-kind) and whether PATCH takes dryRun and fieldValidation.
 */
import { createHash } from 'node:crypto';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import { objectMetaSchema } from './object-meta.ts';
import { apiVersionOf, type ResourceKind } from './resources.ts';

const metaGroup = 'io.k8s.apimachinery.pkg.apis.meta.v1';

interface Dialect {
  readonly version: 'v2' | 'v3';
  readonly reference: (definition: string) => JsonObject;
}

const v2: Dialect = { version: 'v2', reference: (name) => ({ $ref: `#/definitions/${name}` }) };
const v3: Dialect = {
  version: 'v3',
  // Beside a $ref nothing else counts, so it stands in an allOf, as kube-apiserver writes it.
  reference: (name) => ({ allOf: [{ $ref: `#/components/schemas/${name}` }] }),
};

/** Keywords that Swagger 2.0 does not have. Source: apiextensions ToStructuralOpenAPIV2. */
const notInV2 = new Set(['nullable', 'anyOf', 'oneOf', 'not']);

function toDialect(schema: Json | undefined, dialect: Dialect): JsonObject {
  const source = isJsonObject(schema) ? schema : {};
  const result: Record<string, Json | undefined> = {};
  for (const [key, value] of Object.entries(source)) {
    if (dialect.version === 'v2' && (notInV2.has(key) || (key === 'allOf' && source.type !== undefined))) continue;
    if (key === 'properties' && isJsonObject(value)) {
      result.properties = Object.fromEntries(
        Object.entries(value).map(([name, child]) => [name, toDialect(child, dialect)]),
      );
    } else if ((key === 'items' || key === 'additionalProperties' || key === 'not') && isJsonObject(value)) {
      result[key] = toDialect(value, dialect);
    } else if (['allOf', 'anyOf', 'oneOf'].includes(key) && isJsonArray(value)) {
      result[key] = value.map((child) => toDialect(child, dialect));
    } else result[key] = value;
  }
  if (dialect.version === 'v2' && source['x-kubernetes-preserve-unknown-fields'] === true) delete result.items;
  return result;
}

function gvkOf({ group, version, kind }: Pick<ResourceKind, 'group' | 'version' | 'kind'>): JsonObject {
  return { group, kind, version };
}

/** The schema as JSON: an interface of known keywords is a JSON object all the same. */
function schemaJson(kind: ResourceKind): JsonObject {
  return kind.openApi as unknown as JsonObject;
}

function definitionsOf(kinds: readonly ResourceKind[], dialect: Dialect): JsonObject {
  const definitions: Record<string, Json> = {
    [`${metaGroup}.ObjectMeta`]: toDialect(objectMetaSchema as unknown as JsonObject, dialect),
    [`${metaGroup}.ListMeta`]: listMeta,
  };
  for (const kind of kinds) {
    const schema = toDialect(schemaJson(kind), dialect);
    const properties = isJsonObject(schema.properties) ? schema.properties : {};
    const gvk = { 'x-kubernetes-group-version-kind': [gvkOf(kind)] };
    const metadata = { ...dialect.reference(`${metaGroup}.ObjectMeta`), description: 'Standard object metadata.' };
    definitions[kind.definitionName] = { ...schema, properties: { ...properties, metadata }, ...gvk };
    definitions[`${kind.definitionName}List`] = listDefinition(kind, dialect);
  }
  return definitions;
}

const listMeta: JsonObject = {
  type: 'object',
  description: 'ListMeta is what every list has.',
  properties: {
    continue: { type: 'string', description: 'Asks for the next page.' },
    remainingItemCount: { type: 'integer', format: 'int64', description: 'Items after this page.' },
    resourceVersion: { type: 'string', description: 'Revision at which the list was taken.' },
  },
};

function listDefinition(kind: ResourceKind, dialect: Dialect): JsonObject {
  return {
    type: 'object',
    description: `${kind.listKind} is a list of ${kind.kind}.`,
    required: ['items'],
    properties: {
      apiVersion: { type: 'string', description: `The versioned schema of this list, ${apiVersionOf(kind)}.` },
      items: { type: 'array', items: dialect.reference(kind.definitionName), description: 'The objects.' },
      kind: { type: 'string', description: 'The kind of this list.' },
      metadata: { ...dialect.reference(`${metaGroup}.ListMeta`), description: 'Standard list metadata.' },
    },
    'x-kubernetes-group-version-kind': [gvkOf({ ...kind, kind: kind.listKind })],
  };
}

const methods = [
  { method: 'get', action: 'get', onCollection: false },
  { method: 'put', action: 'put', onCollection: false },
  { method: 'patch', action: 'patch', onCollection: false },
  { method: 'delete', action: 'delete', onCollection: false },
  { method: 'get', action: 'list', onCollection: true },
  { method: 'post', action: 'post', onCollection: true },
  { method: 'delete', action: 'deletecollection', onCollection: true },
] as const;

const writing = new Set<string>(['put', 'patch', 'post']);

function pathsOf(kinds: readonly ResourceKind[], dialect: Dialect): JsonObject {
  const paths: Record<string, Json> = {};
  for (const kind of kinds) {
    const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
    const collection = kind.isNamespaced ? `${root}/namespaces/{namespace}/${kind.plural}` : `${root}/${kind.plural}`;
    paths[collection] = pathItem(kind, dialect, 'collection');
    if (kind.isReview !== true) paths[`${collection}/{name}`] = pathItem(kind, dialect, 'object');
  }
  return paths;
}

function pathItem(kind: ResourceKind, dialect: Dialect, place: 'collection' | 'object'): JsonObject {
  const inPath = [...(kind.isNamespaced ? ['namespace'] : []), ...(place === 'object' ? ['name'] : [])];
  const parameters = inPath.map((name) => parameter(dialect, name, 'path'));
  const operations = methods.filter(
    ({ onCollection, method }) =>
      onCollection === (place === 'collection') &&
      (kind.projection === undefined || method === 'get') &&
      (kind.isReview !== true || method === 'post'),
  );
  const entries = operations.map(({ method, action }) => [method, operation(kind, dialect, action)] as const);
  return { ...Object.fromEntries(entries), ...(parameters.length > 0 ? { parameters } : {}) };
}

function operation(kind: ResourceKind, dialect: Dialect, action: string): JsonObject {
  const query = writing.has(action) ? ['dryRun', 'fieldManager', 'fieldValidation'] : [];
  const isV2 = dialect.version === 'v2';
  const name = action === 'list' ? `${kind.definitionName}List` : kind.definitionName;
  const schema = dialect.reference(name);
  const body = isV2
    ? { name: 'body', in: 'body', required: true, schema: action === 'patch' ? { type: 'object' } : schema }
    : undefined;
  const answer = isV2 ? { schema } : { content: { 'application/json': { schema } } };
  const parameters = [
    ...(body !== undefined && writing.has(action) ? [body] : []),
    ...query.map((parameterName) => parameter(dialect, parameterName, 'query')),
  ];
  const requestBody = { requestBody: { content: { '*/*': { schema } }, required: true } };
  return {
    operationId: `${action}${kind.group.replaceAll('.', '')}${kind.version}${kind.kind}`,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(!isV2 && writing.has(action) && action !== 'patch' ? requestBody : {}),
    responses: { 200: { description: 'OK', ...answer } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvkOf(kind),
  };
}

function parameter(dialect: Dialect, name: string, place: 'path' | 'query'): JsonObject {
  const type = { type: 'string', uniqueItems: true };
  return {
    name,
    in: place,
    ...(place === 'path' ? { required: true } : {}),
    ...(dialect.version === 'v2' ? type : { schema: type }),
  };
}

const info = { title: 'Holdfast', version: 'v1.32.0+holdfast' };

/** GET /openapi/v2. */
export function formatOpenApiV2(kinds: readonly ResourceKind[]): JsonObject {
  return { swagger: '2.0', info, paths: pathsOf(kinds, v2), definitions: definitionsOf(kinds, v2) };
}

export interface OpenApiV3 {
  /** GET /openapi/v3: the addresses of the documents, each with its hash. */
  readonly index: string;
  /** By path below /openapi/v3/, like `apis/holdfast.dev/v1`. */
  readonly documents: ReadonlyMap<string, string>;
}

export function formatOpenApiV3(kinds: readonly ResourceKind[]): OpenApiV3 {
  const byPath = Map.groupBy(kinds, ({ group, version }) =>
    group === '' ? `api/${version}` : `apis/${group}/${version}`,
  );
  const documents = new Map(
    [...byPath].map(([path, some]) => {
      const schemas = definitionsOf(some, v3);
      return [path, JSON.stringify({ openapi: '3.0.0', info, paths: pathsOf(some, v3), components: { schemas } })];
    }),
  );
  const addresses = [...documents].map(([path, text]) => {
    const serverRelativeURL = `/openapi/v3/${path}?hash=${digestOf(text)}`;
    return [path, { serverRelativeURL }] as const;
  });
  return { index: JSON.stringify({ paths: Object.fromEntries(addresses) }), documents };
}

/** A digest for cache-busting addresses and entity tags. */
export function digestOf(content: string | Buffer): string {
  return createHash('sha512').update(content).digest('hex').toUpperCase();
}
