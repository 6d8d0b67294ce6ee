/**
 * Schemas as types of CEL, and values of JSON as values of CEL. Pure. Source: Kubernetes' table of how OpenAPI types
 * are declared (apiserver/pkg/cel), with its escapes for names that are no identifiers.
 */
import { Duration, type Environment } from '@marcbachmann/cel-js/evaluator';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';

/** Of one schema: the name of its type in an environment, and how its values are made. */
export interface CelType {
  readonly name: string;
  readonly toCel: (value: Json) => unknown;
}

const dyn: CelType = { name: 'dyn', toCel: dynamic };

const scalars: ReadonlyMap<string, CelType> = new Map(
  Object.entries<CelType>({
    integer: { name: 'int', toCel: (value) => (typeof value === 'number' ? toInt(value) : dynamic(value)) },
    number: { name: 'double', toCel: (value) => value },
    boolean: { name: 'bool', toCel: (value) => value },
    string: { name: 'string', toCel: (value) => value },
  }),
);

const formats: ReadonlyMap<string, CelType> = new Map(
  Object.entries<CelType>({
    byte: { name: 'bytes', toCel: (value) => Buffer.from(String(value), 'base64') },
    date: { name: 'google.protobuf.Timestamp', toCel: (value) => new Date(String(value)) },
    'date-time': { name: 'google.protobuf.Timestamp', toCel: (value) => new Date(String(value)) },
    duration: { name: 'google.protobuf.Duration', toCel: (value) => parseDuration(String(value)) },
  }),
);

function toInt(value: number): bigint | number {
  return Number.isInteger(value) ? BigInt(value) : value;
}

/** A value whose schema says nothing of its type. */
function dynamic(value: Json): unknown {
  if (typeof value === 'number') return toInt(value);
  if (isJsonArray(value)) return value.map(dynamic);
  if (isJsonObject(value)) {
    return new Map(Object.entries(value).map(([key, item]) => [key, item === undefined ? null : dynamic(item)]));
  }
  return value;
}

const durationUnits: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000_001,
};

/** A duration as Go writes it, like 1h30m. */
export function parseDuration(text: string): Duration {
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?)(ms|us|µs|ns|h|m|s)/gu)];
  const ms = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (durationUnits[unit ?? ''] ?? 0), 0);
  return Duration.fromMilliseconds(text.startsWith('-') ? -ms : ms);
}

const keywords = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);

/** How a property is called in an expression; undefined: it cannot be named. */
export function escapeName(name: string): string | undefined {
  if (!/^[A-Za-z_./-][A-Za-z0-9_./-]*$/u.test(name)) return undefined;
  if (keywords.has(name)) return `__${name}__`;
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}

const metadataSchema: JsonObject = {
  type: 'object',
  properties: { name: { type: 'string' }, generateName: { type: 'string' } },
};
/** What every object of Kubernetes has, whatever its schema says. */
export const headSchemas: JsonObject = {
  apiVersion: { type: 'string' },
  kind: { type: 'string' },
  metadata: metadataSchema,
};

/** Declares types in one environment, all under names of their own. */
export class TypeDeclarer {
  readonly #environment: Environment;
  readonly #known = new Map<JsonObject, CelType>();
  #count = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** `root`: an object of Kubernetes, which has apiVersion, kind and metadata. */
  declare(schema: JsonObject, place: 'root' | 'inside' = 'inside'): CelType {
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    const type = this.#declare(schema, place);
    this.#known.set(schema, type);
    return type;
  }

  #declare(schema: JsonObject, place: 'root' | 'inside'): CelType {
    if (schema['x-kubernetes-int-or-string'] === true || schema.nullable === true) return dyn;
    const { type, format, items, properties, additionalProperties } = schema;
    if (type === 'array') {
      const item = isJsonObject(items) ? this.declare(items) : dyn;
      const toCel = (value: Json): unknown => (isJsonArray(value) ? value.map(item.toCel) : value);
      return { name: `list<${item.name}>`, toCel };
    }
    if (type === 'object') {
      const isObject = place === 'root' || schema['x-kubernetes-embedded-resource'] === true;
      const own = isJsonObject(properties) ? properties : {};
      const all = isObject ? { ...own, ...headSchemas } : own;
      if (Object.keys(all).length > 0) return this.#declareObject(all);
      return isJsonObject(additionalProperties) ? this.#declareMap(additionalProperties) : dyn;
    }
    const formatted = type === 'string' && typeof format === 'string' ? formats.get(format) : undefined;
    return formatted ?? (typeof type === 'string' ? scalars.get(type) : undefined) ?? dyn;
  }

  #declareMap(values: JsonObject): CelType {
    const item = this.declare(values);
    const toCel = (value: Json): unknown =>
      isJsonObject(value)
        ? new Map(Object.entries(value).map(([key, one]) => [key, one === undefined ? null : item.toCel(one)]))
        : value;
    return { name: `map<string, ${item.name}>`, toCel };
  }

  #declareObject(properties: JsonObject): CelType {
    const fields = new Map<string, { readonly name: string; readonly type: CelType }>();
    for (const [key, schema] of Object.entries(properties)) {
      const name = escapeName(key);
      if (name === undefined || !isJsonObject(schema) || key === '__proto__' || key === 'constructor') continue;
      fields.set(key, { name, type: this.declare(schema) });
    }
    const name = `Object${++this.#count}`;
    // A class for each, by which the library knows the type; a map, so that no key can mean anything but a field.
    const Instance = class extends Map<string, unknown> {};
    const types = Object.fromEntries([...fields.values()].map((field) => [field.name, field.type.name]));
    this.#environment.registerType(name, { ctor: Instance, fields: types });
    this.#environment.registerOperator(`${name} == ${name}`, celEqual);
    const toCel = (value: Json): unknown => {
      if (!isJsonObject(value)) return value;
      const instance = new Instance();
      for (const [key, item] of Object.entries(value)) {
        const field = fields.get(key);
        if (field !== undefined && item !== undefined) instance.set(field.name, field.type.toCel(item));
      }
      return instance;
    };
    return { name, toCel };
  }
}

/** Equality of CEL values that schemas make. */
export function celEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => celEqual(item, b[index]));
  }
  if (a instanceof Map) {
    return (
      b instanceof Map && a.size === b.size && [...a].every(([key, item]) => b.has(key) && celEqual(item, b.get(key)))
    );
  }
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime();
  if (a instanceof Duration) return b instanceof Duration && a.seconds === b.seconds && a.nanos === b.nanos;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (typeof a === 'bigint' && typeof b === 'number') return Number(a) === b;
  if (typeof a === 'number' && typeof b === 'bigint') return a === Number(b);
  return false;
}
