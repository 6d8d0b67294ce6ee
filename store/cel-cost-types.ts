/**
 * How large the values of a schema may be, for estimates of what rules cost. Pure. Source: apiserver pkg/cel/common
 * (SchemaDeclType) and pkg/cel/limits.go: whatever the schema leaves open is as large as a request can make it.
 */
import { escapeName, headSchemas } from './cel-types.ts';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';

export type SizedKind = 'scalar' | 'string' | 'bytes' | 'list' | 'map' | 'object' | 'dyn';

export interface SizedType {
  readonly kind: SizedKind;
  /** Characters, bytes, items or entries; 0 for all else, as Kubernetes has it. */
  readonly maxElements: number;
  /** Bytes that a value takes in JSON at least. */
  readonly minBytes: number;
  /** Of an object, by their names in expressions. */
  readonly fields: ReadonlyMap<string, SizedType>;
  /** Of a list or map; undefined: nothing is known of them. */
  readonly items: SizedType | undefined;
}

const maxRequestBytes = 3 * 1024 * 1024;
const maxTextLength = maxRequestBytes - 2;
const dateTimeLength = 32;
const dateLength = 12;

function sized(kind: SizedKind, maxElements: number, minBytes: number, items?: SizedType): SizedType {
  return { kind, maxElements, minBytes, fields: new Map(), items };
}

/** Of keys of maps. */
export const keyType = sized('string', 0, 2);
const unknownType = sized('dyn', Number.POSITIVE_INFINITY, 2);

/** How often data of this size may stand in one request, where nothing bounds the lists and maps around it. */
export function maxCardinality({ minBytes }: SizedType): number {
  return Math.floor(maxRequestBytes / (minBytes + 1));
}

function numberOf(schema: JsonObject, keyword: string): number | undefined {
  const value = schema[keyword];
  return typeof value === 'number' ? Math.max(0, value) : undefined;
}

/** What a schema says of the number of its items or values; undefined: nothing. */
export function declaredElements(schema: JsonObject): number | undefined {
  if (schema.type === 'array') return numberOf(schema, 'maxItems');
  return isJsonObject(schema.additionalProperties) ? numberOf(schema, 'maxProperties') : 1;
}

/** The types of one schema and of all below it, each made once. */
export class SizedTypes {
  readonly #known = new Map<JsonObject, SizedType>();

  /** `root`: an object of Kubernetes, which has apiVersion, kind and metadata. */
  of(schema: JsonObject, place: 'root' | 'inside' = 'inside'): SizedType {
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    const type = this.#make(schema, place);
    this.#known.set(schema, type);
    return type;
  }

  #make(schema: JsonObject, place: 'root' | 'inside'): SizedType {
    if (schema['x-kubernetes-int-or-string'] === true) {
      const maxLength = numberOf(schema, 'maxLength');
      return sized('dyn', maxLength === undefined ? maxTextLength : maxLength * 4, 1);
    }
    switch (schema.type) {
      case 'array': {
        const items = isJsonObject(schema.items) ? this.of(schema.items) : unknownType;
        const most = Math.floor((maxRequestBytes - 2) / (items.minBytes + 1));
        return sized('list', numberOf(schema, 'maxItems') ?? most, 2, items);
      }
      case 'object':
        return this.#makeObject(schema, place);
      case 'string':
        return sizedText(schema);
      case 'boolean':
        return sized('scalar', 0, 4);
      case 'number':
      case 'integer':
        return sized('scalar', 0, 1);
      default:
        return unknownType;
    }
  }

  #makeObject(schema: JsonObject, place: 'root' | 'inside'): SizedType {
    const { properties, additionalProperties, required } = schema;
    const isObject = place === 'root' || schema['x-kubernetes-embedded-resource'] === true;
    if (isJsonObject(additionalProperties) && !isObject) {
      const values = this.of(additionalProperties);
      const most = Math.floor((maxRequestBytes - 2) / (values.minBytes + 6));
      return sized('map', numberOf(schema, 'maxProperties') ?? most, 2, values);
    }
    const own = isJsonObject(properties) ? properties : {};
    const needed = new Set(isJsonArray(required) ? required : []);
    const fields = new Map<string, SizedType>();
    let minBytes = 2;
    for (const [name, property] of Object.entries<Json | undefined>(isObject ? { ...own, ...headSchemas } : own)) {
      if (!isJsonObject(property)) continue;
      const type = this.of(property);
      const escaped = escapeName(name);
      if (escaped !== undefined) fields.set(escaped, type);
      if (needed.has(name) && property.default === undefined) minBytes += name.length + type.minBytes + 4;
    }
    return { kind: 'object', maxElements: 0, minBytes, fields, items: undefined };
  }
}

function sizedText(schema: JsonObject): SizedType {
  const maxLength = numberOf(schema, 'maxLength');
  switch (schema.format) {
    case 'byte':
      return sized('bytes', maxLength ?? maxTextLength, 2);
    case 'duration':
      return sized('scalar', dateTimeLength, 3);
    case 'date':
      return sized('scalar', dateLength, dateLength);
    case 'date-time':
      return sized('scalar', dateTimeLength, 21);
    default: {
      // A character may take four bytes.
      if (maxLength !== undefined) return sized('string', maxLength * 4, 2);
      const choices = isJsonArray(schema.enum) ? schema.enum.filter((choice) => typeof choice === 'string') : [];
      const longest = Math.max(...choices.map((choice) => Buffer.byteLength(choice)));
      return sized('string', choices.length === 0 ? maxTextLength : longest, 2);
    }
  }
}
