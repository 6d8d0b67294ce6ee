/** Whether one version of a CustomResourceDefinition is right: schema, subresources, columns, selectable fields. Pure. */

import { findSchema } from './crd-find-schema.ts';
import { validateOpenApi } from './crd-validate-schema.ts';
import { validateStructural } from './crd-validate-structural.ts';
import type { FieldError } from './field-errors.ts';
import { getPath, getString, isJsonObject, type Json, type JsonObject, objectsOf } from './json.ts';
import { parseJsonPath } from './resources.ts';
import { compileSchema, parseOpenApiSchema } from './schema.ts';

export interface CrdRules {
  /** What is wrong with the CEL rules of a schema that is all right otherwise. */
  readonly checkRules: (schema: JsonObject, field: string) => readonly FieldError[];
}

/** `field`: where a part of the version is said to be. */
export function validateVersionParts(
  version: JsonObject,
  field: (part: string) => string,
  rules: CrdRules,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const schema = getPath(version, ['schema', 'openAPIV3Schema']);
  if (isJsonObject(schema)) errors.push(...validateVersionSchema(version, schema, field('schema'), rules));
  errors.push(...validateScale(getPath(version, ['subresources', 'scale']), `${field('subresources')}.scale`));
  for (const [index, column] of objectsOf(version.additionalPrinterColumns).entries()) {
    errors.push(...validateColumn(column, `${field('additionalPrinterColumns')}[${index}]`));
  }
  errors.push(
    ...validateSelectable(version.selectableFields, isJsonObject(schema) ? schema : {}, field('selectableFields')),
  );
  errors.push(...validateDeprecation(version, field('deprecationWarning')));
  return errors;
}

/** Keywords that stay in force when the schema of the status is taken out of the whole. */
const rootKeywords = [
  'description',
  'type',
  'format',
  'title',
  'maximum',
  'exclusiveMaximum',
  'minimum',
  'exclusiveMinimum',
  'maxLength',
  'minLength',
  'pattern',
  'maxItems',
  'minItems',
  'uniqueItems',
  'multipleOf',
  'required',
  'enum',
  'items',
  'properties',
  'externalDocs',
  'example',
];

function validateVersionSchema(
  version: JsonObject,
  schema: JsonObject,
  parent: string,
  rules: CrdRules,
): readonly FieldError[] {
  const field = `${parent}.openAPIV3Schema`;
  const errors: FieldError[] = [];
  if (isJsonObject(getPath(version, ['subresources', 'status']))) {
    const others = Object.keys(schema).filter((key) => !rootKeywords.includes(key) && !key.startsWith('x-kubernetes-'));
    if (others.length > 0) {
      const detail = `only ${rootKeywords.join(' ')} fields are allowed at the root of the schema if the status subresource is enabled`;
      errors.push({ kind: 'invalid', field, value: schema, detail });
    }
  }
  if (schema.nullable === true) {
    errors.push({ kind: 'forbidden', field: `${field}.nullable`, detail: 'nullable cannot be true at the root' });
  }
  errors.push(...validateStructural(schema, field), ...validateOpenApi(schema, field));
  if (errors.length > 0) return errors;
  try {
    compileSchema(parseOpenApiSchema(schema, field), field);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    return [{ kind: 'invalid', field: parent, value: '', detail: `error building validator: ${what}` }];
  }
  return rules.checkRules(schema, field);
}

function checkPath(text: string): string | undefined {
  try {
    if (!text.startsWith('.')) return 'must be a simple json path starting with .';
    parseJsonPath(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function validateScale(value: Json | undefined, field: string): readonly FieldError[] {
  if (!isJsonObject(value)) return [];
  const errors: FieldError[] = [];
  const check = (name: string, under: readonly string[], isRequired: boolean): void => {
    const path = getString(value, name) ?? '';
    const at = `${field}.${name}`;
    if (path === '') {
      if (isRequired) errors.push({ kind: 'required', field: at, detail: '' });
      return;
    }
    const wrong = checkPath(path);
    if (wrong !== undefined || path.includes('[')) {
      const detail = wrong ?? 'must be a simple json path without brackets';
      errors.push({ kind: 'invalid', field: at, value: path, detail });
    } else if (!under.some((prefix) => path.startsWith(`${prefix}.`))) {
      const detail = `should be a json path under ${under.join(' or ')}`;
      errors.push({ kind: 'invalid', field: at, value: path, detail });
    }
  };
  check('specReplicasPath', ['.spec'], true);
  check('statusReplicasPath', ['.status'], true);
  check('labelSelectorPath', ['.spec', '.status'], false);
  return errors;
}

const columnTypes = ['boolean', 'date', 'integer', 'number', 'string'];
const columnFormats = ['byte', 'date', 'date-time', 'double', 'float', 'int32', 'int64', 'password'];

function validateColumn(column: JsonObject, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const { name, type, format, jsonPath } = column;
  if (name === '') errors.push({ kind: 'required', field: `${field}.name`, detail: '' });
  const types = `must be one of ${columnTypes.join(',')}`;
  if (type === '') errors.push({ kind: 'required', field: `${field}.type`, detail: types });
  else if (!columnTypes.includes(String(type))) {
    errors.push({ kind: 'invalid', field: `${field}.type`, value: type ?? null, detail: types });
  }
  if (typeof format === 'string' && format !== '' && !columnFormats.includes(format)) {
    const detail = `must be one of ${columnFormats.join(',')}`;
    errors.push({ kind: 'invalid', field: `${field}.format`, value: format, detail });
  }
  const path = String(jsonPath ?? '');
  // Kubernetes spells this one in capitals.
  const at = `${field}.JSONPath`;
  const wrong = checkPath(path);
  if (path === '') errors.push({ kind: 'required', field: at, detail: '' });
  else if (wrong !== undefined) errors.push({ kind: 'invalid', field: at, value: path, detail: wrong });
  return errors;
}

const maxSelectableFields = 8;

function validateSelectable(value: Json | undefined, schema: JsonObject, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, item] of objectsOf(value).entries()) {
    const at = `${field}[${index}].jsonPath`;
    const path = getString(item, 'jsonPath') ?? '';
    const invalid = (detail: string): void => {
      errors.push({ kind: 'invalid', field: at, value: path, detail });
    };
    if (path === '') {
      errors.push({ kind: 'required', field: at, detail: '' });
      continue;
    }
    const found = findSchema(schema, path);
    if (typeof found === 'string') {
      invalid(`is an invalid path: ${found}`);
      continue;
    }
    if (path.startsWith('.metadata')) invalid('must not point to fields in metadata');
    if (!['string', 'boolean', 'integer'].includes(String(found.type))) {
      const allowed = 'Enum string fields and strings with formats are allowed.';
      invalid(`must point to a field of type string, boolean or integer. ${allowed}`);
    }
    if (seen.has(path)) errors.push({ kind: 'duplicate', field: at, value: path });
    seen.add(path);
  }
  if (seen.size > maxSelectableFields) {
    errors.push({ kind: 'tooMany', field, count: seen.size, max: maxSelectableFields });
  }
  return errors;
}

const maxWarningLength = 256;

function validateDeprecation(version: JsonObject, field: string): readonly FieldError[] {
  const { deprecated, deprecationWarning } = version;
  if (typeof deprecationWarning !== 'string') return [];
  const details: string[] = [];
  if (deprecated !== true) details.push('can only be set for deprecated versions');
  else {
    if (deprecationWarning.length > maxWarningLength) details.push('must be <= 256 characters long');
    if (deprecationWarning === '') details.push('must not be an empty string');
    const control = deprecationWarning.search(/\p{C}/u);
    if (control >= 0) {
      details.push(`must only contain printable UTF-8 characters; non-printable character found at index ${control}`);
    }
  }
  return details.map((detail) => ({ kind: 'invalid', field, value: deprecationWarning, detail }));
}
