/** `format` of the strings extension of CEL. Pure. Source: cel-go/ext/formatting.go. */
import { Duration } from '@marcbachmann/cel-js/evaluator';

/** Throws RangeError for a format that its arguments do not fit. */
export function formatText(format: string, values: readonly unknown[]): string {
  let next = 0;
  let text = '';
  let at = 0;
  for (const found of format.matchAll(/%(%|(?:\.(\d+))?([A-Za-z]))/gu)) {
    text += format.slice(at, found.index);
    at = found.index + found[0].length;
    if (found[1] === '%') {
      text += '%';
      continue;
    }
    if (next >= values.length) throw new RangeError(`index ${next} out of range`);
    text += formatValue(found[3] ?? '', values[next++], found[2]);
  }
  return text + format.slice(at);
}

const maxPrecision = 100;

function formatValue(verb: string, value: unknown, precision: string | undefined): string {
  const digits = Math.min(maxPrecision, Number(precision ?? 6));
  const number = (): number => {
    if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
    throw new RangeError(`%${verb} needs a number`);
  };
  const whole = (radix: number): string => {
    if (typeof value === 'bigint') return value.toString(radix);
    if (typeof value === 'boolean') return value ? '1' : '0';
    if (typeof value === 'number' && Number.isInteger(value)) return value.toString(radix);
    throw new RangeError(`%${verb} needs a whole number`);
  };
  switch (verb) {
    case 's':
      return show(value);
    case 'd':
      return whole(10);
    case 'b':
      return whole(2);
    case 'o':
      return whole(8);
    case 'x':
      return typeof value === 'string' ? Buffer.from(value).toString('hex') : whole(16);
    case 'X':
      return formatValue('x', value, undefined).toUpperCase();
    case 'f':
      return number().toFixed(digits);
    case 'e':
      return number()
        .toExponential(digits)
        .replace(/e([+-])(\d)$/u, 'e$10$2');
    default:
      throw new RangeError(`unrecognized formatting clause "${verb}"`);
  }
}

function show(value: unknown): string {
  if (value instanceof Date) return value.toISOString().replace(/\.?0*Z$/u, 'Z');
  if (value instanceof Duration) return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (value instanceof Map) {
    return `{${[...value]
      .map(([key, item]) => `${show(key)}: ${show(item)}`)
      .sort()
      .join(', ')}}`;
  }
  return String(value);
}
