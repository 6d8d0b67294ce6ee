/** Whether the parts of x-kubernetes-validations are right beside the expressions, which cel-compile.ts looks at. Pure. */
import { findSchema } from './crd-find-schema.ts';
import type { FieldError } from './field-errors.ts';
import { getString, isJsonArray, isJsonObject, type JsonObject } from './json.ts';

const reasons = ['FieldValueDuplicate', 'FieldValueForbidden', 'FieldValueInvalid', 'FieldValueRequired'];

export function validateRuleParts(schema: JsonObject, field: string): readonly FieldError[] {
  const rules = schema['x-kubernetes-validations'];
  return (isJsonArray(rules) ? rules : [])
    .filter(isJsonObject)
    .flatMap((rule, index) => validateRule(rule, schema, `${field}.x-kubernetes-validations[${index}]`));
}

function hasNewlines(text: string): boolean {
  return /[\n\r]/u.test(text);
}

function validateRule(source: JsonObject, schema: JsonObject, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const text = (name: string): string => getString(source, name) ?? '';
  const invalid = (name: string, detail: string): void => {
    errors.push({ kind: 'invalid', field: `${field}.${name}`, value: text(name), detail });
  };
  const [rule, message] = [text('rule').trim(), text('message').trim()];
  if (rule === '') errors.push({ kind: 'required', field: `${field}.rule`, detail: 'rule is not specified' });
  else if (text('message') !== '' && message === '') invalid('message', 'message must be non-empty if specified');
  else if (hasNewlines(message)) invalid('message', 'message must not contain line breaks');
  else if (hasNewlines(rule) && message === '') {
    const detail = 'message must be specified if rule contains line breaks';
    errors.push({ kind: 'required', field: `${field}.message`, detail });
  }
  if (text('messageExpression') !== '' && text('messageExpression').trim() === '') {
    const detail = 'messageExpression must be non-empty if specified';
    errors.push({ kind: 'required', field: `${field}.messageExpression`, detail });
  }
  if (source.reason !== undefined && !reasons.includes(text('reason'))) {
    errors.push({ kind: 'unsupported', field: `${field}.reason`, value: source.reason, supported: reasons });
  }
  const path = text('fieldPath');
  if (path !== '') {
    if (path.trim() === '') invalid('fieldPath', 'fieldPath must be non-empty if specified');
    if (hasNewlines(path)) invalid('fieldPath', 'fieldPath must not contain line breaks');
    if (typeof findSchema(schema, path, 'brackets allowed') === 'string') {
      invalid('fieldPath', 'fieldPath must be a valid path');
    }
  }
  return errors;
}
