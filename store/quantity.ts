/** Kubernetes quantities as numbers, for comparing and adding them. Pure. Source: apimachinery resource.Quantity. */
import type { Json } from './json.ts';

const units: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** In cores, bytes or pieces; undefined for what is no quantity. */
export function parseQuantity(value: Json | undefined): number | undefined {
  const found = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/u.exec(String(value));
  if (found === null) return undefined;
  const [, number = '', exponent = '', unit = ''] = found;
  return Number(number + exponent) * (units[unit] ?? Number.NaN);
}

/** Whether two quantities are the same amount, however they are written. */
export function isSameQuantity(a: Json | undefined, b: Json | undefined): boolean {
  const [first, second] = [parseQuantity(a), parseQuantity(b)];
  return first !== undefined && second !== undefined && Math.abs(first - second) <= Math.abs(first) * 1e-12;
}
