/** What an answer must look like: part of a JSON value, with patterns where the server chooses. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { isJsonArray, isJsonObject, type Json } from '../../store/json.ts';

/**
 * A part of a JSON value: an object names the fields that must be there (undefined: must not be there), a list is matched
 * item by item, a RegExp matches a string.
 */
export type Expected =
  | null
  | boolean
  | number
  | string
  | RegExp
  | Check
  | readonly Expected[]
  | { readonly [key: string]: Expected | undefined };

/** A rule of its own for one value. */
export class Check {
  readonly what: string;
  readonly holds: (value: Json | undefined) => boolean;
  /** The same rule with what stands in braces filled in. */
  readonly filled: (fill: (expected: Expected) => Expected) => Check;

  constructor(what: string, holds: Check['holds'], filled?: Check['filled']) {
    this.what = what;
    this.holds = holds;
    this.filled = filled ?? (() => this);
  }
}

/** A list that has at least these items, in any order. */
export function including(...items: readonly Expected[]): Check {
  return new Check(
    `a list with ${JSON.stringify(items)}`,
    (value) =>
      isJsonArray(value) && items.every((item) => value.some((found) => differences(item, found).length === 0)),
    (fill) => including(...items.map(fill)),
  );
}

/** This value and nothing more, where others may have fields beside those that are named. */
export function exactly(expected: Expected): Check {
  return new Check(
    `exactly ${JSON.stringify(expected)}`,
    (value) => isDeepStrictEqual(value, expected),
    (fill) => exactly(fill(expected)),
  );
}

/** A list without any such item. */
export function excluding(item: Expected): Check {
  return new Check(
    `a list without ${JSON.stringify(item)}`,
    (value) => isJsonArray(value) && value.every((found) => differences(item, found).length > 0),
    (fill) => excluding(fill(item)),
  );
}

export const aList = new Check('a list', isJsonArray);
export const anObject = new Check('an object', isJsonObject);
export const aNumber = new Check('a number', (value) => typeof value === 'number');
export const aTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/u;
export const aRevision = /^[1-9]\d*$/u;
/** Go writes what is empty as null, or leaves it out. */
export const nothing = new Check('nothing', (value) => value === undefined || value === null);

/** In what a value differs from what is expected: one line for each difference. */
export function differences(expected: Expected | undefined, actual: Json | undefined, at = ''): readonly string[] {
  const differs = (what: string): readonly string[] => [
    `${at === '' ? 'the answer' : at}: expected ${what}, got ${String(JSON.stringify(actual)).slice(0, 300)}`,
  ];
  if (expected instanceof Check) return expected.holds(actual) ? [] : differs(expected.what);
  if (expected instanceof RegExp) {
    return typeof actual === 'string' && expected.test(actual) ? [] : differs(String(expected));
  }
  if (Array.isArray(expected)) {
    if (!isJsonArray(actual)) return differs('a list');
    if (actual.length !== expected.length) return differs(`${expected.length} items`);
    return expected.flatMap((item, index) => differences(item, actual[index], `${at}[${index}]`));
  }
  if (typeof expected === 'object' && expected !== null) {
    if (!isJsonObject(actual)) return differs('an object');
    return Object.entries(expected).flatMap(([key, item]) => differences(item, actual[key], `${at}.${key}`));
  }
  return expected === actual ? [] : differs(String(JSON.stringify(expected)));
}
