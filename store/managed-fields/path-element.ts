/**
 * One step of a field's path, as fieldsV1 writes it: `f:name` (field), `k:{"name":"web"}` (item of a list that is a map),
 * `v:"text"` (item of a list that is a set) and `i:3` (index). Pure. Source: structured-merge-diff, fieldpath.
 */
import { compareText, isJsonObject, type Json } from '../json.ts';

export function fieldElement(name: string): string {
  return `f:${name}`;
}

/** Of an item of a set. */
export function valueElement(value: Json): string {
  return `v:${JSON.stringify(value)}`;
}

/** Of an item of a list that is a map: its keys with their values. */
export function keyElement(keys: readonly (readonly [string, Json])[]): string {
  const sorted = keys.toSorted(([a], [b]) => compareText(a, b));
  return `k:{${sorted.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;
}

/** An element as a client wrote it, in our own spelling; undefined: of a kind that is not known. Throws SyntaxError. */
export function parseElement(text: string): string | undefined {
  if (text.length < 2 || text[1] !== ':') {
    throw new SyntaxError(`${JSON.stringify(text.slice(0, 100))} is not an element of a path`);
  }
  const content = text.slice(2);
  switch (text[0]) {
    case 'f':
      return text;
    case 'v':
      return valueElement(JSON.parse(content));
    case 'k': {
      const keys: Json = JSON.parse(content);
      if (!isJsonObject(keys)) throw new SyntaxError(`${JSON.stringify(text.slice(0, 100))} does not hold keys`);
      return keyElement(Object.entries(keys).map(([name, value]) => [name, value ?? null]));
    }
    case 'i':
      if (!/^-?\d{1,15}$/u.test(content)) throw new SyntaxError(`${JSON.stringify(text.slice(0, 100))} is no index`);
      return text;
    default:
      return undefined;
  }
}

/** An element as errors name it: `.spec`, `[name="web"]`, `[="text"]`, `[3]`. */
export function formatElement(element: string): string {
  const content = element.slice(2);
  switch (element[0]) {
    case 'f':
      return `.${content}`;
    case 'v':
      return `[=${content}]`;
    case 'k': {
      const keys: Json = JSON.parse(content);
      const pairs = isJsonObject(keys) ? Object.entries(keys) : [];
      return `[${pairs.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}]`;
    }
    default:
      return `[${content}]`;
  }
}

const ranks: Readonly<Record<string, number>> = { '.': 0, f: 1, k: 2, v: 3, i: 4 };

/** The order of elements in fieldsV1: by their kind, then by what they hold. */
export function compareElements(a: string, b: string): number {
  const kindA = a[0] ?? '';
  const kindB = b[0] ?? '';
  if (kindA !== kindB) return (ranks[kindA] ?? 5) - (ranks[kindB] ?? 5);
  if (kindA === 'f' || kindA === '.') return compareText(a, b);
  return compareValues(JSON.parse(a.slice(2)), JSON.parse(b.slice(2)));
}

const typeRanks: Readonly<Record<string, number>> = { number: 0, string: 1, boolean: 2, object: 3 };

function compareValues(a: Json, b: Json): number {
  if (typeof a !== typeof b) return (typeRanks[typeof a] ?? 4) - (typeRanks[typeof b] ?? 4);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (isJsonObject(a) && isJsonObject(b)) {
    const [entriesA, entriesB] = [Object.entries(a), Object.entries(b)];
    for (const [index, [name, value]] of entriesA.entries()) {
      const other = entriesB[index];
      if (other === undefined) return 1;
      const order = compareText(name, other[0]) || compareValues(value ?? null, other[1] ?? null);
      if (order !== 0) return order;
    }
    return entriesA.length - entriesB.length;
  }
  return compareText(JSON.stringify(a), JSON.stringify(b));
}
