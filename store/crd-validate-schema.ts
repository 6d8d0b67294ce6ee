/**
 * Whether the keywords of a structural schema are right: those not supported, list types, and defaults, which must be
 * valid themselves. Pure. Rules and words: apiextensions-apiserver, pkg/apis/apiextensions/validation.
 */
import { validateRuleParts } from './crd-validate-rules.ts';
import type { FieldError } from './field-errors.ts';
import { getOwn, isJsonArray, isJsonObject, type JsonObject } from './json.ts';
import { compileSchema, parseOpenApiSchema } from './schema.ts';
import { normalize } from './schema-normalize.ts';
import { validateSchema } from './schema-validate.ts';

/** Where a schema is: what its ancestors forbid. */
interface Place {
  readonly isRoot: boolean;
  readonly isInsideMeta: boolean;
  /** Why there may be no default; undefined: there may. */
  readonly noDefault: string | undefined;
}

export function validateOpenApi(schema: JsonObject, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  walk(schema, field, { isRoot: true, isInsideMeta: false, noDefault: undefined }, errors);
  return errors;
}

const types = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
const unsupported = ['id', 'additionalItems', 'patternProperties', 'definitions', 'dependencies', '$ref'];
const metaFields = ['metadata', 'kind', 'apiVersion'];

function walk(schema: JsonObject, field: string, place: Place, errors: FieldError[]): void {
  checkKeywords(schema, field, place, errors);
  checkListType(schema, field, errors);
  checkMapType(schema, field, errors);
  checkDefault(schema, field, place, errors);
  errors.push(...validateRuleParts(schema, field));
  const { additionalProperties, properties, items } = schema;
  const below: Place = { ...place, isRoot: false };
  if (isJsonObject(additionalProperties)) {
    const noDefault = place.isInsideMeta ? ' inside additionalProperties applying to object metadata' : place.noDefault;
    walk(additionalProperties, `${field}.additionalProperties`, { ...below, noDefault }, errors);
  }
  for (const [name, child] of Object.entries(isJsonObject(properties) ? properties : {})) {
    if (!isJsonObject(child)) continue;
    const isMeta = (place.isRoot || schema['x-kubernetes-embedded-resource'] === true) && metaFields.includes(name);
    const noDefault = isMeta && place.isRoot ? ` in top-level ${name}` : place.noDefault;
    const childPlace = { isRoot: false, isInsideMeta: place.isInsideMeta || isMeta, noDefault };
    walk(child, `${field}.properties[${name}]`, childPlace, errors);
  }
  if (isJsonObject(items)) walk(items, `${field}.items`, below, errors);
  for (const keyword of ['allOf', 'anyOf', 'oneOf'] as const) {
    for (const [index, child] of (isJsonArray(schema[keyword]) ? schema[keyword] : []).entries()) {
      if (isJsonObject(child)) walk(child, `${field}.${keyword}[${index}]`, below, errors);
    }
  }
  if (isJsonObject(schema.not)) walk(schema.not, `${field}.not`, below, errors);
}

function checkKeywords(schema: JsonObject, field: string, place: Place, errors: FieldError[]): void {
  const forbidden = (part: string, detail: string): void => {
    errors.push({ kind: 'forbidden', field: `${field}.${part}`, detail });
  };
  const { type, items, additionalProperties, properties } = schema;
  if (type === 'null') forbidden('type', 'type cannot be set to null, use nullable as an alternative');
  else if (typeof type === 'string' && type !== '' && !types.includes(type)) {
    errors.push({ kind: 'unsupported', field: `${field}.type`, value: type, supported: types });
  }
  for (const keyword of unsupported) {
    if (schema[keyword] !== undefined && schema[keyword] !== '') forbidden(keyword, `${keyword} is not supported`);
  }
  if (isJsonArray(items)) forbidden('items', 'items must be a schema object and not an array');
  if (place.isInsideMeta && schema['x-kubernetes-embedded-resource'] === true) {
    forbidden('x-kubernetes-embedded-resource', 'must not be used inside of resource meta');
  }
  if (schema.uniqueItems === true) {
    const detail = 'uniqueItems cannot be set to true since the runtime complexity becomes quadratic';
    forbidden('uniqueItems', detail);
  }
  const hasProperties = isJsonObject(properties) && Object.keys(properties).length > 0;
  if (additionalProperties !== undefined && additionalProperties !== true && hasProperties) {
    forbidden('additionalProperties', 'additionalProperties and properties are mutual exclusive');
  }
  if (schema['x-kubernetes-preserve-unknown-fields'] === false) {
    const at = `${field}.x-kubernetes-preserve-unknown-fields`;
    errors.push({ kind: 'invalid', field: at, value: false, detail: 'must be true or undefined' });
  }
}

function checkMapType(schema: JsonObject, field: string, errors: FieldError[]): void {
  const mapType = schema['x-kubernetes-map-type'];
  if (mapType === undefined) return;
  wrongType(schema, 'object', 'must be object if x-kubernetes-map-type is specified', field, errors);
  if (mapType !== 'atomic' && mapType !== 'granular') {
    const supported = ['atomic', 'granular'];
    errors.push({ kind: 'unsupported', field: `${field}.x-kubernetes-map-type`, value: mapType, supported });
  }
}

function wrongType(schema: JsonObject, type: string, detail: string, field: string, errors: FieldError[]): void {
  if (schema.type === type) return;
  const at = `${field}.type`;
  if (schema.type === undefined || schema.type === '') errors.push({ kind: 'required', field: at, detail });
  else errors.push({ kind: 'invalid', field: at, value: schema.type, detail });
}

function checkListType(schema: JsonObject, field: string, errors: FieldError[]): void {
  const listType = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'];
  const hasKeys = isJsonArray(keys) && keys.length > 0;
  const at = `${field}.x-kubernetes-list-type`;
  if (hasKeys && listType !== 'map') {
    const detail = 'must be map if x-kubernetes-list-map-keys is non-empty';
    if (listType === undefined) errors.push({ kind: 'required', field: at, detail });
    else errors.push({ kind: 'invalid', field: at, value: listType, detail });
  }
  if (listType === undefined) return;
  wrongType(schema, 'array', 'must be array if x-kubernetes-list-type is specified', field, errors);
  if (listType !== 'atomic' && listType !== 'set' && listType !== 'map') {
    errors.push({ kind: 'unsupported', field: at, value: listType, supported: ['atomic', 'set', 'map'] });
  }
  const items = isJsonObject(schema.items) ? schema.items : undefined;
  if (listType === 'set' && items !== undefined) checkSet(items, `${field}.items`, errors);
  if (listType === 'map') checkMapList(schema, items, field, errors);
  if ((listType === 'set' || listType === 'map') && items?.nullable === true) {
    const detail = `cannot be nullable when x-kubernetes-list-type is ${listType}`;
    errors.push({ kind: 'forbidden', field: `${field}.items.nullable`, detail });
  }
}

function checkSet(items: JsonObject, field: string, errors: FieldError[]): void {
  const detail = 'must be atomic as item of a list with x-kubernetes-list-type=set';
  const keyword = items.type === 'array' ? 'x-kubernetes-list-type' : 'x-kubernetes-map-type';
  const value = items[keyword];
  const isWrong =
    items.type === 'array' ? value !== undefined && value !== 'atomic' : items.type === 'object' && value !== 'atomic';
  if (isWrong) errors.push({ kind: 'invalid', field: `${field}.${keyword}`, value: value ?? null, detail });
}

function checkMapList(schema: JsonObject, items: JsonObject | undefined, field: string, errors: FieldError[]): void {
  const value = schema['x-kubernetes-list-map-keys'];
  const keys = isJsonArray(value) ? value.map(String) : [];
  const at = `${field}.x-kubernetes-list-map-keys`;
  if (keys.length === 0) {
    errors.push({ kind: 'required', field: at, detail: 'must not be empty if x-kubernetes-list-type is map' });
  }
  if (items === undefined) {
    const detail = 'must have a schema if x-kubernetes-list-type is map';
    if (schema.items === undefined) errors.push({ kind: 'required', field: `${field}.items`, detail });
    return;
  }
  if (items.type !== 'object') {
    const detail = "must be object if parent array's x-kubernetes-list-type is map";
    errors.push({ kind: 'invalid', field: `${field}.items.type`, value: items.type ?? '', detail });
    return;
  }
  const properties = isJsonObject(items.properties) ? items.properties : {};
  const required = isJsonArray(items.required) ? items.required : [];
  const invalid = (detail: string): void => {
    errors.push({ kind: 'invalid', field: at, value: keys, detail });
  };
  if (new Set(keys).size !== keys.length) invalid('must not contain duplicate entries');
  for (const key of keys) {
    const property = getOwn(properties, key);
    const propertyField = `${field}.items.properties[${key}]`;
    if (!isJsonObject(property)) {
      invalid('entries must all be names of item properties');
      continue;
    }
    if (property.type === 'array' || property.type === 'object') {
      const detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
      errors.push({ kind: 'invalid', field: `${propertyField}.type`, value: property.type, detail });
    }
    const about = 'this property is in x-kubernetes-list-map-keys, so it';
    if (!required.includes(key) && property.default === undefined) {
      const detail = `${about} must have a default or be a required property`;
      errors.push({ kind: 'required', field: `${propertyField}.default`, detail });
    }
    if (property.nullable === true) {
      errors.push({ kind: 'forbidden', field: `${propertyField}.nullable`, detail: `${about} cannot be nullable` });
    }
  }
}

/** A default must be what its schema takes, with nothing in it that would be pruned. */
function checkDefault(schema: JsonObject, field: string, place: Place, errors: FieldError[]): void {
  const value = schema.default;
  if (value === undefined) return;
  const at = `${field}.default`;
  if (place.noDefault !== undefined) {
    errors.push({ kind: 'forbidden', field: at, detail: `must not be set${place.noDefault}` });
    return;
  }
  if (value === null && schema.nullable !== true) {
    const detail = `${at} in body must be of type ${String(schema.type ?? '')}: "null"`;
    errors.push({ kind: 'type', field: at, value: 'null', detail });
    return;
  }
  try {
    const { default: _default, ...rest } = schema;
    const compiled = compileSchema(parseOpenApiSchema(rest, field), field);
    const { value: whole, unknownFields } = normalize(compiled, value);
    if (unknownFields.length > 0) {
      const detail = `must not have unknown fields: ${unknownFields.join(', ')}`;
      errors.push({ kind: 'invalid', field: at, value, detail });
    }
    errors.push(...validateSchema(compiled, whole, at));
  } catch {
    // The schema does not compile, of which its own errors tell.
  }
}
