/** Label and field selectors: parsing and matching. Pure. Syntax: apimachinery/pkg/labels and pkg/fields. */
import { type Entry, textToSearch } from './entry-object.ts';
import { getPath } from './json.ts';
import { checkLabelValue, checkQualifiedName } from './object-meta.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import { badRequest } from './status-error.ts';

type Requirement =
  | { readonly kind: 'in' | 'notIn'; readonly key: string; readonly values: ReadonlySet<string> }
  | { readonly kind: 'exists' | 'absent'; readonly key: string }
  | { readonly kind: 'greater' | 'less'; readonly key: string; readonly bound: number };

interface FieldRequirement {
  readonly field: string;
  readonly path: readonly string[];
  readonly value: string;
  /** What is stored for the value, where a client knows it as another. */
  readonly alias: string | undefined;
  readonly equals: boolean;
}

/** What of a list or a watch is shown. */
export interface EntrySelector {
  /** Whether every object matches, so that nothing need be looked at. */
  readonly isEverything: boolean;
  /** The object of an entry is read only if its text does not rule it out. */
  readonly matchesEntry: (entry: Entry) => boolean;
}

export interface Selector extends EntrySelector {
  /** The only name that can match, if a field selector says so. */
  readonly name: string | undefined;
  readonly matches: (object: KubeObject) => boolean;
}

/** Throws StatusError 400 for a selector that cannot be read, or a field that the kind does not offer. */
export function parseSelector(labels: string | undefined, fields: string | undefined, kind: ResourceKind): Selector {
  const requirements = parseLabelSelector(labels ?? '');
  const fieldRequirements = parseFieldSelector(fields ?? '', kind);
  const isEverything = requirements.length === 0 && fieldRequirements.length === 0;
  const matches = (object: KubeObject): boolean =>
    requirements.every((requirement) => matchesLabels(requirement, object.metadata.labels ?? {})) &&
    fieldRequirements.every((requirement) => matchesField(requirement, object));
  const words = [...requirements.flatMap(wordsOfLabels), ...fieldRequirements.flatMap(wordsOfField)];
  return {
    isEverything,
    name: fieldRequirements.find(({ field, equals }) => field === 'metadata.name' && equals)?.value,
    matches,
    matchesEntry: (entry) => {
      if (isEverything) return true;
      const text = textToSearch(entry);
      return words.every((word) => text.includes(word)) && matches(entry.object);
    },
  };
}

/** What stands in the text of every object that matches. */
function wordsOfLabels(requirement: Requirement): readonly string[] {
  if (requirement.kind === 'exists') return [requirement.key];
  if (requirement.kind !== 'in' || requirement.values.size !== 1) return [];
  return [requirement.key, ...requirement.values];
}

function wordsOfField({ value, alias, equals }: FieldRequirement): readonly string[] {
  // As it is in the text only without what JSON escapes.
  return equals && alias === undefined && JSON.stringify(value) === `"${value}"` ? [value] : [];
}

function matchesLabels(requirement: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.kind) {
    case 'in':
      return value !== undefined && requirement.values.has(value);
    case 'notIn':
      return value === undefined || !requirement.values.has(value);
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
    case 'greater':
      return value !== undefined && /^-?\d+$/u.test(value) && Number(value) > requirement.bound;
    case 'less':
      return value !== undefined && /^-?\d+$/u.test(value) && Number(value) < requirement.bound;
    default:
      throw new TypeError(`unknown requirement: ${JSON.stringify(requirement satisfies never)}`);
  }
}

function matchesField({ path, value, alias, equals }: FieldRequirement, object: KubeObject): boolean {
  const found = getPath(object, path);
  const text = found === undefined || found === null ? '' : String(found);
  return (text === value || text === alias) === equals;
}

const token = /\s*(==|=|!=|!|>|<|,|\(|\)|[^\s=!<>,()]+)\s*/uy;

export function parseLabelSelector(text: string): readonly Requirement[] {
  const tokens: string[] = [];
  for (token.lastIndex = 0; token.lastIndex < text.length; ) {
    const found = token.exec(text);
    if (found?.[1] === undefined) break;
    tokens.push(found[1]);
  }
  const requirements: Requirement[] = [];
  let at = 0;
  const next = (): string | undefined => tokens[at++];
  const fail = (detail: string): never => {
    throw badRequest(`unable to parse requirement in label selector ${JSON.stringify(text.slice(0, 256))}: ${detail}`);
  };
  while (at < tokens.length) {
    requirements.push(parseRequirement(next, () => tokens[at], fail));
    const separator = next();
    if (separator !== undefined && separator !== ',') fail(`found '${separator}', expected: ',' or the end`);
    if (separator === ',' && at >= tokens.length) fail("found the end after ',', expected: a key");
  }
  return requirements;
}

const operatorWords = new Set(['=', '==', '!=', '!', '>', '<', ',', '(', ')']);

function parseRequirement(
  next: () => string | undefined,
  peek: () => string | undefined,
  fail: (detail: string) => never,
): Requirement {
  const first = next();
  const key = first === '!' ? next() : first;
  if (key === undefined || operatorWords.has(key)) return fail(`found '${key ?? ''}', expected: a key`);
  const wrong = checkQualifiedName(key);
  if (wrong !== undefined) return fail(`key ${JSON.stringify(key)}: ${wrong}`);
  if (first === '!') return { kind: 'absent', key };
  const operator = peek();
  if (operator === undefined || operator === ',') return { kind: 'exists', key };
  next();
  switch (operator) {
    case '=':
    case '==':
    case '!=': {
      const after = peek();
      const value = after === undefined || after === ',' ? '' : (next() ?? '');
      return { kind: operator === '!=' ? 'notIn' : 'in', key, values: new Set([checkValue(value, fail)]) };
    }
    case 'in':
    case 'notin':
      return { kind: operator === 'in' ? 'in' : 'notIn', key, values: parseValues(next, peek, fail) };
    case '>':
    case '<': {
      const value = next() ?? '';
      if (!/^-?\d+$/u.test(value)) return fail(`for '>' and '<' the value must be an integer, not '${value}'`);
      return { kind: operator === '>' ? 'greater' : 'less', key, bound: Number(value) };
    }
    default:
      return fail(`found '${operator}', expected: in, notin, =, ==, !=, >, <`);
  }
}

function parseValues(
  next: () => string | undefined,
  peek: () => string | undefined,
  fail: (detail: string) => never,
): ReadonlySet<string> {
  const values = new Set<string>();
  if (next() !== '(') return fail("expected: '(' after in or notin");
  for (;;) {
    const after = peek();
    const value = after === ',' || after === ')' ? '' : next();
    if (value === undefined) return fail("found the end, expected: ',' or ')'");
    values.add(checkValue(value, fail));
    const separator = next();
    if (separator === ')') return values;
    if (separator !== ',') return fail(`found '${separator ?? 'the end'}', expected: ',' or ')'`);
  }
}

function checkValue(value: string, fail: (detail: string) => never): string {
  const wrong = operatorWords.has(value) ? `found '${value}', expected: a value` : checkLabelValue(value);
  return wrong === undefined ? value : fail(`value ${JSON.stringify(value)}: ${wrong}`);
}

function parseFieldSelector(text: string, kind: ResourceKind): readonly FieldRequirement[] {
  return text
    .split(/(?<!\\),/u)
    .filter((term) => term !== '')
    .map((term) => {
      const found = /^(.*?)(==|!=|=)(.*)$/su.exec(term);
      if (found === null) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`);
      const [, field = '', operator, value = ''] = found;
      const path = fieldPath(field.trim(), kind);
      if (path === undefined) {
        const offered = ['metadata.name', 'metadata.namespace', ...kind.selectableFields.keys()].join(', ');
        throw badRequest(`field label not supported: ${field}; ${kind.plural} offer ${offered}`);
      }
      const plain = value.replaceAll(/\\([\\,=])/gu, '$1');
      const aliases = kind.selectorAliases?.get(field.trim()) ?? {};
      const alias = Object.hasOwn(aliases, plain) ? aliases[plain] : undefined;
      return { field: field.trim(), path, value: plain, alias, equals: operator !== '!=' };
    });
}

function fieldPath(field: string, kind: ResourceKind): readonly string[] | undefined {
  if (field === 'metadata.name') return ['metadata', 'name'];
  if (field === 'metadata.namespace') return ['metadata', 'namespace'];
  return kind.selectableFields.get(field);
}
