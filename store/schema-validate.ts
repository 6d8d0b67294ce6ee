/**
 * Checks a value against its schema. Pure. Errors carry the wording of kube-openapi's validation, which people know
 * and search for. A wrong type ends the checks of that value; everything else is reported together. What an update
 * leaves as it was is let pass, as kube-apiserver does from 1.30 on (KEP-4008): a schema may be made stricter.
 */
import type { FieldError } from './field-errors.ts';
import { getOwn, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual, jsonTypeOf } from './json.ts';
import type { CompiledSchema } from './schema.ts';
import { hasFormat } from './schema-formats.ts';

/** Longer strings are refused where a pattern is to be matched: a backtracking pattern must not stall the store. */
export const maxPatternInputLength = 4096;

/** No more errors than this are gathered for one object. */
const maxErrors = 50;

/** `field`: where the value is in its object; '' for the object itself. `old`: what it was before, if it may stay so. */
export function validateSchema(schema: CompiledSchema, value: Json, field = '', old?: Json): FieldError[] {
  const errors: FieldError[] = [];
  check(schema, value, field, errors, old);
  return errors;
}

/** As checkValue, but what did not change is right. `old` undefined: there is nothing that it can be compared with. */
function check(schema: CompiledSchema, value: Json, field: string, errors: FieldError[], old: Json | undefined): void {
  const count = errors.length;
  checkValue(schema, value, field, errors, old);
  if (errors.length > count && old !== undefined && jsonEqual(old, value)) errors.length = count;
}

function checkValue(
  schema: CompiledSchema,
  value: Json,
  field: string,
  errors: FieldError[],
  old: Json | undefined,
): void {
  if (errors.length >= maxErrors) return;
  if (value === null && schema.nullable) return;
  if (!hasType(schema, value)) {
    const actual = jsonTypeOf(value);
    const detail = `${field} in body must be of type ${schema.types.join(',')}: ${JSON.stringify(actual)}`;
    errors.push({ kind: 'type', field, value: actual, detail });
    return;
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => jsonEqual(allowed, value))) {
    errors.push({ kind: 'unsupported', field, value, supported: schema.enum });
  }
  if (typeof value === 'string') checkString(schema, value, field, errors);
  else if (typeof value === 'number') checkNumber(schema, value, field, errors);
  else if (isJsonArray(value)) checkArray(schema, value, field, errors, old);
  else if (isJsonObject(value)) checkObject(schema, value, field, errors, old);
  checkCombinations(schema, value, field, errors, old);
}

function hasType(schema: CompiledSchema, value: Json): boolean {
  if (schema.types.length === 0) return true;
  const actual = jsonTypeOf(value);
  return schema.types.some((type) => type === actual || (type === 'number' && actual === 'integer'));
}

function checkString(schema: CompiledSchema, value: string, field: string, errors: FieldError[]): void {
  const { minLength, maxLength, pattern } = schema.source;
  const invalid = (rule: string): void => {
    errors.push({ kind: 'invalid', field, value, detail: `${field} in body ${rule}` });
  };
  const length = maxLength === undefined && minLength === undefined ? 0 : countCharacters(value);
  if (maxLength !== undefined && length > maxLength) {
    errors.push({ kind: 'tooLong', field, maxBytes: maxLength });
    return;
  }
  if (minLength !== undefined && length < minLength) invalid(`should be at least ${minLength} chars long`);
  if (schema.pattern !== undefined) {
    if (value.length > maxPatternInputLength) {
      errors.push({ kind: 'tooLong', field, maxBytes: maxPatternInputLength });
    } else if (!schema.pattern.test(value)) invalid(`should match '${pattern}'`);
  }
  if (schema.format !== undefined && !hasFormat(schema.format, value)) {
    const detail = `${field} in body must be of type ${schema.format}: ${JSON.stringify(value.slice(0, 256))}`;
    errors.push({ kind: 'type', field, value, detail });
  }
}

/** Code points, as Go counts them; quick for the usual text. */
function countCharacters(text: string): number {
  let pairs = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit >= 0xd800 && unit <= 0xdbff) pairs++;
  }
  return text.length - pairs;
}

const integerRanges: Readonly<Record<string, readonly [number, number]>> = {
  int32: [-2147483648, 2147483647],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

function checkNumber(schema: CompiledSchema, value: number, field: string, errors: FieldError[]): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema.source;
  const invalid = (rule: string): void => {
    errors.push({ kind: 'invalid', field, value, detail: `${field} in body ${rule}` });
  };
  // 1e400 is JSON, but no number that JSON could hold again.
  if (!Number.isFinite(value)) return invalid('should be a finite number');
  const range = schema.format === undefined ? undefined : integerRanges[schema.format];
  if (range !== undefined && (value < range[0] || value > range[1])) {
    const detail = `Checked value must be of type integer with format ${schema.format} in ${field}`;
    errors.push({ kind: 'invalid', field, value, detail });
    return;
  }
  if (minimum !== undefined) {
    if (exclusiveMinimum === true && value <= minimum) invalid(`should be greater than ${minimum}`);
    if (exclusiveMinimum !== true && value < minimum) invalid(`should be greater than or equal to ${minimum}`);
  }
  if (maximum !== undefined) {
    if (exclusiveMaximum === true && value >= maximum) invalid(`should be less than ${maximum}`);
    if (exclusiveMaximum !== true && value > maximum) invalid(`should be less than or equal to ${maximum}`);
  }
  if (multipleOf !== undefined && !Number.isInteger(value / multipleOf))
    invalid(`should be a multiple of ${multipleOf}`);
}

function checkArray(
  schema: CompiledSchema,
  value: readonly Json[],
  field: string,
  errors: FieldError[],
  old: Json | undefined,
): void {
  const { minItems, maxItems } = schema.source;
  if (maxItems !== undefined && value.length > maxItems) {
    errors.push({ kind: 'tooMany', field, count: value.length, max: maxItems });
    return;
  }
  if (minItems !== undefined && value.length < minItems) {
    errors.push({ kind: 'invalid', field, value, detail: `${field} in body should have at least ${minItems} items` });
  }
  if (schema.items !== undefined) {
    const before = oldItems(schema.source['x-kubernetes-list-type'], schema.listMapKeys, old);
    for (const [index, item] of value.entries()) {
      check(schema.items, item, `${field}[${index}]`, errors, before(item, index));
    }
  }
  if (schema.isSet || schema.listMapKeys !== undefined) checkUnique(schema, value, field, errors);
}

/**
 * What an item of a list was before: of a map, the one with its keys; of a list without a type, the one in its place;
 * items of sets and atomic lists have none. Source: apiserver, pkg/cel/common/equality.go.
 */
export function oldItems(
  type: string | undefined,
  keys: readonly string[] | undefined,
  old: Json | undefined,
): (item: Json, index: number) => Json | undefined {
  if (!isJsonArray(old) || type === 'set' || type === 'atomic') return () => undefined;
  if (keys === undefined) return (_item, index) => old[index];
  const byKeys = new Map(old.map((item) => [JSON.stringify(keysOf(item, keys)), item]));
  return (item) => byKeys.get(JSON.stringify(keysOf(item, keys)));
}

function checkUnique(schema: CompiledSchema, value: readonly Json[], field: string, errors: FieldError[]): void {
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    const identity = schema.listMapKeys === undefined ? item : keysOf(item, schema.listMapKeys);
    const text = JSON.stringify(identity);
    if (seen.has(text)) errors.push({ kind: 'duplicate', field: `${field}[${index}]`, value: identity });
    seen.add(text);
  }
}

function keysOf(item: Json, keys: readonly string[]): Json {
  if (!isJsonObject(item)) return item;
  return Object.fromEntries(keys.map((key) => [key, getOwn(item, key) ?? null]));
}

function checkObject(
  schema: CompiledSchema,
  value: JsonObject,
  field: string,
  errors: FieldError[],
  old: Json | undefined,
): void {
  const { minProperties, maxProperties } = schema.source;
  const at = (key: string): string => (field === '' ? key : `${field}.${key}`);
  for (const key of schema.required) {
    if (!Object.hasOwn(value, key)) errors.push({ kind: 'required', field: at(key), detail: '' });
  }
  if (schema.isEmbedded) {
    for (const key of ['apiVersion', 'kind']) {
      if (getOwn(value, key) !== undefined && value[key] !== '') continue;
      errors.push({ kind: 'required', field: at(key), detail: 'must not be empty' });
    }
  }
  const keys = Object.keys(value);
  if (maxProperties !== undefined && keys.length > maxProperties) {
    errors.push({ kind: 'tooMany', field, count: keys.length, max: maxProperties });
  }
  if (minProperties !== undefined && keys.length < minProperties) {
    const detail = `${field} in body should have at least ${minProperties} properties`;
    errors.push({ kind: 'invalid', field, value, detail });
  }
  for (const key of keys) {
    const child = schema.properties.get(key) ?? schema.additional;
    const item = value[key];
    if (child === undefined || child === 'any' || item === undefined) continue;
    check(child, item, at(key), errors, isJsonObject(old) ? getOwn(old, key) : undefined);
  }
}

function checkCombinations(
  schema: CompiledSchema,
  value: Json,
  field: string,
  errors: FieldError[],
  old: Json | undefined,
): void {
  if (schema.allOf.length + schema.anyOf.length + schema.oneOf.length === 0 && schema.not === undefined) return;
  const passes = (child: CompiledSchema): boolean => {
    const found: FieldError[] = [];
    check(child, value, field, found, old);
    return found.length === 0;
  };
  const fail = (rule: string): void => {
    errors.push({ kind: 'invalid', field, value, detail: `${field === '' ? '<nil>' : field} in body ${rule}` });
  };
  for (const child of schema.allOf) check(child, value, field, errors, old);
  if (schema.anyOf.length > 0 && !schema.anyOf.some(passes)) fail('must validate at least one schema (anyOf)');
  if (schema.oneOf.length > 0 && schema.oneOf.filter(passes).length !== 1) {
    fail('must validate one and only one schema (oneOf)');
  }
  if (schema.not !== undefined && passes(schema.not)) fail('must not validate the schema (not)');
}
