/** JSON of unknown shape. Pure. */

export type Json = Readonly<Record<string, unknown>>;

/** An object that is no array: its members are unknown until each is looked at. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
