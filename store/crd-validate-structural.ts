/**
 * Whether a schema is structural: every field has a type outside of allOf, anyOf, oneOf and not, and these only narrow.
 * Pure. Rules and words: apiextensions-apiserver, pkg/apiserver/schema.
 */
import type { FieldError } from './field-errors.ts';
import { compileGoRegExp } from './go-regexp.ts';
import { getPath, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual, objectsOf } from './json.ts';

type Level = 'root' | 'item' | 'field';

export function validateStructural(schema: JsonObject, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  checkInvariants(schema, 'root', field, errors);
  checkCompleteness(schema, schema, field, errors);
  return errors;
}

const intOrString: Json = [{ type: 'integer' }, { type: 'string' }];

function isIntOrString(schema: JsonObject): boolean {
  return schema['x-kubernetes-int-or-string'] === true;
}

function checkInvariants(schema: JsonObject, level: Level, field: string, errors: FieldError[]): void {
  const { type, items, properties, additionalProperties } = schema;
  const required = (part: string, detail: string): void => {
    errors.push({ kind: 'required', field: `${field}.${part}`, detail });
  };
  const invalid = (part: string, value: Json, detail: string): void => {
    errors.push({ kind: 'invalid', field: `${field}.${part}`, value, detail });
  };
  const forbidden = (part: string, detail: string): void => {
    errors.push({ kind: 'forbidden', field: `${field}.${part}`, detail });
  };
  const isEmbedded = schema['x-kubernetes-embedded-resource'] === true;
  const preserves = schema['x-kubernetes-preserve-unknown-fields'] === true;
  const hasType = typeof type === 'string' && type !== '';
  if (type === 'array' && items === undefined) required('items', 'must be specified');
  if (isJsonObject(items)) checkInvariants(items, 'item', `${field}.items`, errors);
  for (const [name, child] of entriesOf(properties)) {
    checkInvariants(child, 'field', `${field}.properties[${name}]`, errors);
  }
  if (additionalProperties !== undefined) {
    if (level === 'root') forbidden('additionalProperties', 'must not be used at the root');
    if (isJsonObject(additionalProperties)) {
      checkInvariants(additionalProperties, 'field', `${field}.additionalProperties`, errors);
    }
  }
  if (isIntOrString(schema)) {
    const detail = 'must be false if x-kubernetes-int-or-string is true';
    if (preserves) invalid('x-kubernetes-preserve-unknown-fields', true, detail);
    if (isEmbedded) invalid('x-kubernetes-embedded-resource', true, detail);
  }
  checkValueValidation(schema, level, field, errors, isIntOrString(schema));
  if (isEmbedded && type !== 'object') {
    const detail = 'must be object if x-kubernetes-embedded-resource is true';
    if (hasType) invalid('type', type, detail);
    else required('type', detail);
  } else if (!hasType && !isIntOrString(schema) && !preserves) {
    const where = { root: 'at the root', item: 'for specified array items', field: 'for specified object fields' };
    required('type', `must not be empty ${where[level]}`);
  }
  if (isEmbedded && additionalProperties !== undefined) {
    forbidden('additionalProperties', 'must not be used if x-kubernetes-embedded-resource is set');
  }
  if (level === 'root' && hasType && type !== 'object') invalid('type', type, 'must be object at the root');
  if (level === 'root' || isEmbedded) checkHead(schema, level, field, errors);
  if (isEmbedded && !preserves && entriesOf(properties).length === 0) {
    const detail =
      'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields';
    required('properties', detail);
  }
}

/** apiVersion, kind and metadata are the server's: a schema may say no more than it does of them. */
function checkHead(schema: JsonObject, level: Level, field: string, errors: FieldError[]): void {
  for (const name of ['kind', 'apiVersion']) {
    const type = getPath(schema, ['properties', name, 'type']);
    if (getPath(schema, ['properties', name]) === undefined || type === 'string') continue;
    const at = `${field}.properties[${name}].type`;
    errors.push({ kind: 'invalid', field: at, value: type ?? '', detail: 'must be string' });
  }
  const metadata = getPath(schema, ['properties', 'metadata']);
  if (!isJsonObject(metadata)) return;
  const at = `${field}.properties[metadata]`;
  if (metadata.type !== 'object') {
    errors.push({ kind: 'invalid', field: `${at}.type`, value: metadata.type ?? '', detail: 'must be object' });
  }
  if (level !== 'root') return;
  const { type: _type, properties, description: _description, default: _default, ...others } = metadata;
  const names = Object.keys(isJsonObject(properties) ? properties : {});
  if (Object.keys(others).length > 0 || names.some((name) => name !== 'name' && name !== 'generateName')) {
    const detail = 'must not specify anything other than name and generateName, but metadata is implicitly specified';
    errors.push({ kind: 'forbidden', field: at, detail });
  }
}

/** `isNumberOrText`: the two types that x-kubernetes-int-or-string stands for may be spelled out. */
function checkValueValidation(
  schema: JsonObject,
  level: Level,
  field: string,
  errors: FieldError[],
  isNumberOrText = false,
): void {
  for (const keyword of ['anyOf', 'allOf', 'oneOf'] as const) {
    if (keyword === 'anyOf' && isNumberOrText && jsonEqual(schema.anyOf, intOrString)) continue;
    for (const [index, child] of objectsOf(schema[keyword]).entries()) {
      const isSpelledOut = keyword === 'allOf' && index === 0 && isNumberOrText && jsonEqual(child.anyOf, intOrString);
      const nested = isSpelledOut ? { ...child, anyOf: [] } : child;
      checkNested(nested, level, `${field}.${keyword}[${index}]`, errors);
    }
  }
  if (isJsonObject(schema.not)) checkNested(schema.not, level, `${field}.not`, errors);
  const { pattern } = schema;
  if (typeof pattern === 'string' && pattern !== '') {
    try {
      compileGoRegExp(pattern);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      const detail = `must be a valid regular expression, but isn't: error parsing regexp: ${what}`;
      errors.push({ kind: 'invalid', field: `${field}.pattern`, value: pattern, detail });
    }
  }
}

const forbiddenInside: readonly { readonly keyword: string; readonly detail: string }[] = [
  { keyword: 'type', detail: 'must be empty to be structural' },
  { keyword: 'additionalProperties', detail: 'must be undefined to be structural' },
  { keyword: 'default', detail: 'must be undefined to be structural' },
  { keyword: 'title', detail: 'must be empty to be structural' },
  { keyword: 'description', detail: 'must be empty to be structural' },
  { keyword: 'nullable', detail: 'must be false to be structural' },
  { keyword: 'externalDocs', detail: 'must be undefined to be structural' },
  { keyword: 'x-kubernetes-preserve-unknown-fields', detail: 'must be false to be structural' },
  { keyword: 'x-kubernetes-embedded-resource', detail: 'must be false to be structural' },
  { keyword: 'x-kubernetes-int-or-string', detail: 'must be false to be structural' },
  { keyword: 'x-kubernetes-list-map-keys', detail: 'must be empty to be structural' },
  { keyword: 'x-kubernetes-list-type', detail: 'must be undefined to be structural' },
  { keyword: 'x-kubernetes-map-type', detail: 'must be undefined to be structural' },
  { keyword: 'x-kubernetes-validations', detail: 'must be empty to be structural' },
];

function isEmpty(value: Json | undefined): boolean {
  return value === undefined || value === '' || value === false || (isJsonArray(value) && value.length === 0);
}

function checkNested(schema: JsonObject, level: Level, field: string, errors: FieldError[]): void {
  checkValueValidation(schema, level, field, errors);
  if (isJsonObject(schema.items)) checkNested(schema.items, level, `${field}.items`, errors);
  for (const [name, child] of entriesOf(schema.properties)) {
    checkNested(child, 'field', `${field}.properties[${name}]`, errors);
  }
  for (const { keyword, detail } of forbiddenInside) {
    if (!isEmpty(schema[keyword])) errors.push({ kind: 'forbidden', field: `${field}.${keyword}`, detail });
  }
  if (isJsonObject(getPath(schema, ['properties', 'metadata']))) {
    const detail = 'must not be specified in a nested context';
    errors.push({ kind: 'forbidden', field: `${field}.properties[metadata]`, detail });
  }
}

/** Every field and item that a logical part names must be specified outside of it too. */
function checkCompleteness(schema: JsonObject, whole: JsonObject, field: string, errors: FieldError[]): void {
  for (const keyword of ['allOf', 'anyOf', 'oneOf'] as const) {
    for (const [index, child] of objectsOf(whole[keyword]).entries()) {
      checkCovered(schema, child, field, `${field}.${keyword}[${index}]`, errors);
    }
  }
  if (isJsonObject(whole.not)) checkCovered(schema, whole.not, field, `${field}.not`, errors);
  const { items, additionalProperties } = schema;
  if (isJsonObject(items)) checkCompleteness(items, items, `${field}.items`, errors);
  for (const [name, child] of entriesOf(schema.properties)) {
    checkCompleteness(child, child, `${field}.properties[${name}]`, errors);
  }
  if (isJsonObject(additionalProperties)) {
    checkCompleteness(additionalProperties, additionalProperties, `${field}.additionalProperties`, errors);
  }
}

function checkCovered(
  schema: JsonObject,
  nested: JsonObject,
  field: string,
  nestedField: string,
  errors: FieldError[],
): void {
  for (const [name, child] of entriesOf(nested.properties)) {
    const base = getPath(schema, ['properties', name]);
    const at = `${field}.properties[${name}]`;
    if (isJsonObject(base)) checkCovered(base, child, at, `${nestedField}.properties[${name}]`, errors);
    else missing(at, `${nestedField}.properties[${name}]`, errors);
  }
  if (isJsonObject(nested.items)) {
    const { items } = schema;
    if (isJsonObject(items)) checkCovered(items, nested.items, `${field}.items`, `${nestedField}.items`, errors);
    else missing(`${field}.items`, `${nestedField}.items`, errors);
  }
  for (const keyword of ['allOf', 'anyOf', 'oneOf'] as const) {
    for (const [index, child] of objectsOf(nested[keyword]).entries()) {
      checkCovered(schema, child, field, `${nestedField}.${keyword}[${index}]`, errors);
    }
  }
  if (isJsonObject(nested.not)) checkCovered(schema, nested.not, field, `${nestedField}.not`, errors);
}

function missing(field: string, because: string, errors: FieldError[]): void {
  if (errors.some((error) => error.kind === 'required' && error.field === field)) return;
  errors.push({ kind: 'required', field, detail: `because it is defined in ${because}` });
}

function entriesOf(value: Json | undefined): readonly (readonly [string, JsonObject])[] {
  return Object.entries(isJsonObject(value) ? value : {}).flatMap(([name, child]) =>
    isJsonObject(child) ? [[name, child] as const] : [],
  );
}
