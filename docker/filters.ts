/** The query parameter `filters`, as JSON: {"status": ["running"]}, or of old {"status": {"running": true}}. Pure. */
import { RE2JS } from 're2js';
import { badParameter } from './docker-error.ts';

export type Filters = ReadonlyMap<string, readonly string[]>;

/** Throws DockerError: no JSON, or a filter that is not among the known ones. */
export function parseFilters(query: URLSearchParams, known: readonly string[]): Filters {
  const text = query.get('filters');
  if (text === null || text === '') return new Map();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw badParameter(`invalid filters: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (parsed === null) return new Map();
  if (typeof parsed !== 'object' || Array.isArray(parsed))
    throw badParameter('invalid filters: must be an object of lists, such as {"name":["web"]}');
  const filters = new Map<string, readonly string[]>();
  for (const [name, values] of Object.entries(parsed)) {
    if (!known.includes(name)) throw badParameter(`Invalid filter '${name}'`);
    const list: readonly unknown[] =
      Array.isArray(values) || typeof values !== 'object' || values === null
        ? [values].flat()
        : Object.entries(values).flatMap(([value, isWanted]) => (isWanted === true ? [value] : []));
    const texts = list.filter((value) => typeof value === 'string');
    if (texts.length !== list.length) throw badParameter(`Invalid filter '${name}': its values must be texts`);
    filters.set(name, texts);
  }
  return filters;
}

/** Without such a filter all is taken; of several values one is enough. */
export function matches(filters: Filters, name: string, is: (value: string) => boolean): boolean {
  const values = filters.get(name);
  return values === undefined || values.length === 0 || values.some(is);
}

/** KEY or KEY=VALUE; all that are given must hold. */
export function matchesLabels(filters: Filters, labels: Readonly<Record<string, string>>, name = 'label'): boolean {
  return (filters.get(name) ?? []).every((wanted) => {
    const at = wanted.indexOf('=');
    const key = at === -1 ? wanted : wanted.slice(0, at);
    return Object.hasOwn(labels, key) && (at === -1 || labels[key] === wanted.slice(at + 1));
  });
}

/**
 * A text as it is, or a regular expression of Go, as Docker's name filters are; matched in time that grows with the text
 * alone. Source: moby api/types/filters, Match.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  if (pattern === text) return true;
  try {
    return RE2JS.compile(pattern).matcher(text).find();
  } catch {
    return text.includes(pattern); // no regular expression
  }
}

/** label!: one that it must not have. */
export function hasLabelOf(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  return (filters.get('label!') ?? []).some((value) => matchesLabels(new Map([['label', [value]]]), labels));
}
