/** The path elements of the items of lists that are sets or maps by key. Pure. */
import { getOwn, isJsonArray, isJsonObject, type Json } from '../json.ts';
import type { ListSchema } from './field-schema.ts';
import { keyElement, valueElement } from './path-element.ts';

/** An item that cannot be told from the others of its list; the message says why. */
export class ListItemError extends Error {
  override readonly name = 'ListItemError';
}

/** Throws ListItemError. */
export function elementOfItem(list: ListSchema, item: Json): string {
  if (list.relation === 'set') return elementOfValue(item);
  if (item === null) throw new ListItemError('associative list with keys may not have a null element');
  if (!isJsonObject(item)) throw new ListItemError('associative list with keys may not have non-map elements');
  const keys: [string, Json][] = [];
  for (const name of list.keys) {
    const value = getOwn(item, name) ?? list.items.map?.fields.get(name)?.default;
    if (value !== undefined) keys.push([name, value]);
  }
  if (keys.length === 0) {
    const named = list.keys.map((key) => JSON.stringify(key)).join(' ');
    throw new ListItemError(
      `associative list with keys has an element that omits all key fields [${named}] (and doesn't have default values for any key fields)`,
    );
  }
  return keyElement(keys);
}

function elementOfValue(item: Json): string {
  if (item === null) throw new ListItemError("associative list without keys has an element that's an explicit null");
  if (isJsonArray(item)) throw new ListItemError('not supported: associative list with lists as elements');
  if (isJsonObject(item)) throw new ListItemError("associative list without keys has an element that's a map type");
  return valueElement(item);
}

/** The items by their elements, in the order of the list; several where an element stands more than once. */
export function indexItems(list: ListSchema, items: readonly Json[]): ReadonlyMap<string, readonly Json[]> {
  const index = new Map<string, Json[]>();
  for (const item of items) {
    const element = tryElement(list, item);
    if (element === undefined) continue;
    const same = index.get(element);
    if (same === undefined) index.set(element, [item]);
    else same.push(item);
  }
  return index;
}

/** undefined: the item has no element, and nobody can own it. */
export function tryElement(list: ListSchema, item: Json): string | undefined {
  try {
    return elementOfItem(list, item);
  } catch (error) {
    if (error instanceof ListItemError) return undefined;
    throw error;
  }
}
