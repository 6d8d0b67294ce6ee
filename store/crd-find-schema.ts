/** Finds the schema of a field by its path. Pure. Source: apiextensions-apiserver, cel.ValidFieldPath. */
import { getOwn, isJsonObject, type JsonObject } from './json.ts';

/** The schema of the field at a path like .spec.color, or what is wrong with the path. */
export function findSchema(
  schema: JsonObject,
  path: string,
  brackets: 'brackets allowed' | 'no brackets' = 'no brackets',
): JsonObject | string {
  const step = /\.([^.[\]]*)|\['((?:[^'\\]|\\.)*)'\]/uy;
  let at: JsonObject = schema;
  while (step.lastIndex < path.length) {
    const from = step.lastIndex;
    const found = step.exec(path);
    if (found === null) return `expected [ or . but got: ${path.slice(from)}`;
    const [, plain, quoted] = found;
    if (quoted !== undefined && brackets === 'no brackets') return 'array notation is not allowed';
    const name = quoted ?? plain ?? '';
    if (name === '') return 'unexpected end of JSON path';
    const { properties, additionalProperties } = at;
    const child = isJsonObject(properties) ? getOwn(properties, name) : additionalProperties;
    if (!isJsonObject(child)) return 'does not refer to a valid field';
    at = child;
  }
  return at;
}
