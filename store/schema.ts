/**
 * Structural schemas (apiextensions.k8s.io/v1): the OpenAPI form as written, and a compiled form that is quick to walk.
 * Pure. Compiling refuses what a real API server would refuse to serve: a bad pattern, or no type where one is needed.
 */
import { compileGoRegExp, type GoRegExp } from './go-regexp.ts';
import type { Json, JsonObject } from './json.ts';

/** The part of OpenAPI v3 that structural schemas use, as found in a CustomResourceDefinition. */
export interface OpenApiSchema {
  readonly type?: string;
  readonly description?: string;
  readonly format?: string;
  readonly nullable?: boolean;
  readonly default?: Json;
  readonly enum?: readonly Json[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, OpenApiSchema>>;
  readonly additionalProperties?: boolean | OpenApiSchema;
  readonly items?: OpenApiSchema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly allOf?: readonly OpenApiSchema[];
  readonly anyOf?: readonly OpenApiSchema[];
  readonly oneOf?: readonly OpenApiSchema[];
  readonly not?: OpenApiSchema;
  readonly $ref?: string;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-embedded-resource'?: boolean;
  readonly 'x-kubernetes-list-type'?: string;
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: string;
  readonly 'x-kubernetes-validations'?: readonly Json[];
  readonly 'x-kubernetes-patch-strategy'?: string;
  readonly 'x-kubernetes-patch-merge-key'?: string;
  readonly 'x-kubernetes-group-version-kind'?: Json;
}

export interface CompiledSchema {
  /** JSON types allowed; empty means any. */
  readonly types: readonly string[];
  readonly format: string | undefined;
  readonly nullable: boolean;
  readonly default: Json | undefined;
  readonly enum: readonly Json[] | undefined;
  readonly required: readonly string[];
  readonly properties: ReadonlyMap<string, CompiledSchema>;
  /** The properties that have a default themselves; the walk looks for these even when they are absent. */
  readonly defaulted: readonly string[];
  /** `any`: unknown keys are kept as they are; undefined: they are pruned. */
  readonly additional: CompiledSchema | 'any' | undefined;
  readonly items: CompiledSchema | undefined;
  readonly source: OpenApiSchema;
  readonly pattern: GoRegExp | undefined;
  readonly listMapKeys: readonly string[] | undefined;
  readonly isSet: boolean;
  /** A whole object of Kubernetes, within another. */
  readonly isEmbedded: boolean;
  readonly allOf: readonly CompiledSchema[];
  readonly anyOf: readonly CompiledSchema[];
  readonly oneOf: readonly CompiledSchema[];
  readonly not: CompiledSchema | undefined;
}

/** What an embedded object has without its schema saying so. */
const embeddedProperties: Readonly<Record<string, OpenApiSchema>> = {
  apiVersion: { type: 'string' },
  kind: { type: 'string' },
  metadata: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
};

/** Throws TypeError that names the path of what cannot be compiled. */
export function compileSchema(schema: OpenApiSchema, path = 'openAPIV3Schema'): CompiledSchema {
  const isEmbedded = schema['x-kubernetes-embedded-resource'] === true;
  const own = isEmbedded ? { ...embeddedProperties, ...schema.properties } : (schema.properties ?? {});
  const properties = new Map(Object.entries(own).map(([key, child]) => [key, compileSchema(child, `${path}.${key}`)]));
  const list = (name: 'allOf' | 'anyOf' | 'oneOf'): readonly CompiledSchema[] =>
    (schema[name] ?? []).map((child, index) => compileSchema(child, `${path}.${name}[${index}]`));
  const isMap = schema['x-kubernetes-list-type'] === 'map';
  return {
    types: typesOf(schema),
    format: schema.format,
    nullable: schema.nullable === true,
    default: schema.default,
    enum: schema.enum,
    required: schema.required ?? [],
    properties,
    defaulted: [...properties].filter(([, child]) => child.default !== undefined).map(([key]) => key),
    additional: additionalOf(schema, path),
    items: schema.items === undefined ? undefined : compileSchema(schema.items, `${path}[*]`),
    source: schema,
    pattern: schema.pattern === undefined ? undefined : compilePattern(schema.pattern, path),
    listMapKeys: isMap ? (schema['x-kubernetes-list-map-keys'] ?? []) : undefined,
    isEmbedded,
    isSet: schema['x-kubernetes-list-type'] === 'set' || schema.uniqueItems === true,
    allOf: list('allOf'),
    anyOf: list('anyOf'),
    oneOf: list('oneOf'),
    not: schema.not === undefined ? undefined : compileSchema(schema.not, `${path}.not`),
  };
}

function typesOf(schema: OpenApiSchema): readonly string[] {
  if (schema['x-kubernetes-int-or-string'] === true) return ['integer', 'string'];
  return schema.type === undefined ? [] : [schema.type];
}

function additionalOf(schema: OpenApiSchema, path: string): CompiledSchema | 'any' | undefined {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return 'any';
  if (schema.additionalProperties === true) return 'any';
  if (schema.additionalProperties === undefined || schema.additionalProperties === false) return undefined;
  return compileSchema(schema.additionalProperties, `${path}.*`);
}

/** Throws TypeError that names the path. */
export function compilePattern(pattern: string, path: string): GoRegExp {
  try {
    return compileGoRegExp(pattern);
  } catch (error) {
    throw new TypeError(`${path}.pattern ${JSON.stringify(pattern)} is not a regular expression; correct it`, {
      cause: error,
    });
  }
}

/** Parses a schema read from a file, checking only what compileSchema relies on. Throws TypeError with the path. */
export function parseOpenApiSchema(value: Json | undefined, path: string): OpenApiSchema {
  checkSchema(value, path);
  // checkSchema has just proved the shape of every keyword that the interface names and the compiler reads.
  return value as unknown as OpenApiSchema;
}

const numberKeywords = ['minimum', 'maximum', 'multipleOf', 'minLength', 'maxLength', 'minItems', 'maxItems'];
const stringKeywords = ['type', 'format', 'pattern', 'description'];
const listKeywords = ['allOf', 'anyOf', 'oneOf'];

function checkSchema(value: Json | undefined, path: string): asserts value is JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${path} must be an object, not ${JSON.stringify(value)}`);
  }
  const schema = value as JsonObject; // neither null nor an array, as checked above
  const expect = (isRight: boolean, keyword: string, what: string): void => {
    if (!isRight) throw new TypeError(`${path}.${keyword} must be ${what}, not ${JSON.stringify(schema[keyword])}`);
  };
  for (const keyword of numberKeywords) {
    expect(['undefined', 'number'].includes(typeof schema[keyword]), keyword, 'a number');
  }
  for (const keyword of stringKeywords) {
    expect(['undefined', 'string'].includes(typeof schema[keyword]), keyword, 'a string');
  }
  for (const keyword of ['required', 'enum', 'x-kubernetes-list-map-keys']) {
    expect(schema[keyword] === undefined || Array.isArray(schema[keyword]), keyword, 'a list');
  }
  const { properties, items, not, additionalProperties } = schema;
  if (properties !== undefined) {
    expect(typeof properties === 'object' && properties !== null, 'properties', 'an object');
    for (const [key, child] of Object.entries(properties ?? {})) checkSchema(child, `${path}.${key}`);
  }
  if (items !== undefined) checkSchema(items, `${path}[*]`);
  if (not !== undefined) checkSchema(not, `${path}.not`);
  if (typeof additionalProperties === 'object') checkSchema(additionalProperties, `${path}.*`);
  for (const keyword of listKeywords) {
    const list = schema[keyword];
    if (list === undefined) continue;
    expect(Array.isArray(list), keyword, 'a list');
    for (const child of Array.isArray(list) ? list : []) checkSchema(child, `${path}.${keyword}`);
  }
}
