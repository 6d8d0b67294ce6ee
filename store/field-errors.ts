/** What is wrong with one field of an object, and how Kubernetes words it (apimachinery/util/validation/field). Pure. */
import type { Json } from './json.ts';

export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export type FieldError =
  | { readonly kind: 'required'; readonly field: string; readonly detail: string }
  | { readonly kind: 'invalid'; readonly field: string; readonly value: Json; readonly detail: string }
  | { readonly kind: 'type'; readonly field: string; readonly value: Json; readonly detail: string }
  | { readonly kind: 'unsupported'; readonly field: string; readonly value: Json; readonly supported: readonly Json[] }
  | { readonly kind: 'duplicate'; readonly field: string; readonly value: Json }
  | { readonly kind: 'forbidden'; readonly field: string; readonly detail: string }
  | { readonly kind: 'tooLong'; readonly field: string; readonly maxBytes: number }
  | { readonly kind: 'tooMany'; readonly field: string; readonly count: number; readonly max: number };

const reasons: Readonly<Record<FieldError['kind'], string>> = {
  required: 'FieldValueRequired',
  invalid: 'FieldValueInvalid',
  type: 'FieldValueTypeInvalid',
  unsupported: 'FieldValueNotSupported',
  duplicate: 'FieldValueDuplicate',
  forbidden: 'FieldValueForbidden',
  tooLong: 'FieldValueTooLong',
  tooMany: 'FieldValueTooMany',
};

/** A value is quoted in at most this many characters, so that an error is never larger than what caused it. */
const maxQuotedLength = 256;

function quote(value: Json): string {
  const text = JSON.stringify(value);
  return text.length <= maxQuotedLength ? text : `${text.slice(0, maxQuotedLength)}…`;
}

function formatBody(error: FieldError): string {
  switch (error.kind) {
    case 'required':
      return error.detail === '' ? 'Required value' : `Required value: ${error.detail}`;
    case 'invalid':
    case 'type':
      return `Invalid value: ${quote(error.value)}: ${error.detail}`;
    case 'unsupported':
      return `Unsupported value: ${quote(error.value)}: supported values: ${error.supported.map(quote).join(', ')}`;
    case 'duplicate':
      return `Duplicate value: ${quote(error.value)}`;
    case 'forbidden':
      return `Forbidden: ${error.detail}`;
    case 'tooLong':
      return `Too long: may not be more than ${error.maxBytes} bytes`;
    case 'tooMany':
      return `Too many: ${error.count}: must have at most ${error.max} items`;
    default:
      throw new TypeError(`unknown field error: ${JSON.stringify(error satisfies never)}`);
  }
}

export function formatFieldError(error: FieldError): string {
  return `${error.field}: ${formatBody(error)}`;
}

export function causeOf(error: FieldError): StatusCause {
  return { reason: reasons[error.kind], message: formatBody(error), field: error.field };
}
