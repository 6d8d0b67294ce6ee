/** Quantities of Kubernetes (100m, 2Gi, 1e3) as exact numbers. Pure. Source: apimachinery/pkg/api/resource. */
import type { Json } from './json.ts';

const suffixes: ReadonlyMap<string, { readonly base: bigint; readonly power: number }> = new Map([
  ['n', { base: 10n, power: -9 }],
  ['u', { base: 10n, power: -6 }],
  ['m', { base: 10n, power: -3 }],
  ['', { base: 10n, power: 0 }],
  ['k', { base: 10n, power: 3 }],
  ['M', { base: 10n, power: 6 }],
  ['G', { base: 10n, power: 9 }],
  ['T', { base: 10n, power: 12 }],
  ['P', { base: 10n, power: 15 }],
  ['E', { base: 10n, power: 18 }],
  ['Ki', { base: 2n, power: 10 }],
  ['Mi', { base: 2n, power: 20 }],
  ['Gi', { base: 2n, power: 30 }],
  ['Ti', { base: 2n, power: 40 }],
  ['Pi', { base: 2n, power: 50 }],
  ['Ei', { base: 2n, power: 60 }],
]);

/** Nanos are the finest that a quantity has; what is finer is rounded up. */
const nanos = 1_000_000_000n;
const maxExponent = 30;
const maxLength = 64;

export class Quantity {
  /** In units of a billionth. */
  readonly value: bigint;

  constructor(value: bigint) {
    this.value = value;
  }
}

/** undefined: the text is no quantity. */
export function parseQuantity(text: string): Quantity | undefined {
  const found = /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE])([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/u.exec(text);
  if (found === null || text.length > maxLength) return undefined;
  const [, sign, whole = '', fraction = '', exponentLetter, exponent, suffix = ''] = found;
  if (whole === '' && fraction === '') return undefined;
  const power = exponentLetter === undefined ? suffixes.get(suffix) : { base: 10n, power: Number(exponent) };
  if (power === undefined || Math.abs(power.power) > (power.base === 10n ? maxExponent : 60)) return undefined;
  const digits = BigInt(`${whole}${fraction}` || '0');
  const scale = power.base ** BigInt(Math.abs(power.power));
  let up = digits * nanos;
  let down = 10n ** BigInt(fraction.length);
  if (power.power >= 0) up *= scale;
  else down *= scale;
  const rounded = (up + down - 1n) / down;
  return new Quantity(sign === '-' ? -rounded : rounded);
}

export function isWhole({ value }: Quantity): boolean {
  const whole = value / nanos;
  return value % nanos === 0n && whole < 2n ** 63n && whole >= -(2n ** 63n);
}

export function wholeOf({ value }: Quantity): bigint {
  return value / nanos;
}

export function floatOf({ value }: Quantity): number {
  return Number(value) / Number(nanos);
}

export function ofWhole(value: bigint): Quantity {
  return new Quantity(value * nanos);
}

/** In cores, bytes or pieces; undefined for what is no quantity. */
export function amountOf(value: Json | undefined): number | undefined {
  const quantity = parseQuantity(String(value));
  return quantity === undefined ? undefined : floatOf(quantity);
}

/** Whether two quantities are the same amount, however they are written. */
export function isSameQuantity(a: Json | undefined, b: Json | undefined): boolean {
  const [first, second] = [parseQuantity(String(a)), parseQuantity(String(b))];
  return first !== undefined && second !== undefined && first.value === second.value;
}
