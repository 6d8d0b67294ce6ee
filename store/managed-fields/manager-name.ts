/** The names of field managers: given by the client, or taken from its User-Agent. Pure. Source: apiserver, managerOrUserAgent. */
import type { FieldError } from '../field-errors.ts';

const maxNameBytes = 128;

/** What Go's unicode.IsPrint takes: letters, marks, numbers, punctuation, symbols and the ASCII space. */
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** What is wrong with the name of a manager. */
export function checkManagerName(name: string, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (Buffer.byteLength(name) > maxNameBytes) errors.push({ kind: 'tooLong', field, maxBytes: maxNameBytes });
  let position = 0;
  for (const character of name) {
    if (!printable.test(character) && errors.length < 5) {
      const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
      const detail = `invalid character U+${code} (at position ${position})`;
      errors.push({ kind: 'invalid', field, value: name, detail });
    }
    position += Buffer.byteLength(character);
  }
  return errors;
}

/** The name of a manager that gave none: its program's, from the User-Agent header. */
export function managerOfUserAgent(userAgent: string | undefined): string {
  let name = '';
  for (const character of (userAgent ?? '').split('/', 1)[0] ?? '') {
    if (!printable.test(character)) continue;
    if (Buffer.byteLength(name) + Buffer.byteLength(character) > maxNameBytes) break;
    name += character;
  }
  return name === '' ? 'unknown' : name;
}
