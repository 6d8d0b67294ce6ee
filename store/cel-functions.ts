/**
 * The functions that Kubernetes adds to CEL: lists, sets, strings and regular expressions here, those with types of their
 * own in cel-own-types.ts. Pure. Source: apiserver/pkg/cel/library, cel-go/ext.
 */
import type { Environment } from '@marcbachmann/cel-js/evaluator';
import type { Budget } from './cel-budget.ts';
import { addOwnTypes, compare, need, type Optionals, type Ordered } from './cel-own-types.ts';
import { formatText } from './cel-strings.ts';
import { celEqual } from './cel-types.ts';
import { compileGoRegExp, type GoRegExp } from './go-regexp.ts';

/** `budget`: what each look at an item or a letter is taken from. */
export function addFunctions(environment: Environment, optionals: Optionals, budget: Budget): void {
  const isEqual: Equal = (a, b) => {
    budget.step();
    return celEqual(a, b);
  };
  addLists(environment, isEqual);
  addStrings(environment, budget);
  addOwnTypes(environment, optionals);
}

const ordered = ['int', 'uint', 'double', 'bool', 'string', 'google.protobuf.Duration', 'google.protobuf.Timestamp'];

type Equal = (a: unknown, b: unknown) => boolean;

function addLists(environment: Environment, isEqual: Equal): void {
  for (const type of [...ordered, 'dyn']) {
    const list = `list<${type}>`;
    environment.registerFunction(`${list}.isSorted(): bool`, (items: Ordered[]) =>
      items.every((item, index) => index === 0 || compare(need(items[index - 1], 'no item'), item) <= 0),
    );
    const pick = (items: Ordered[], sign: number, name: string): Ordered =>
      need(
        items.reduce<Ordered | undefined>(
          (best, item) => (best === undefined || compare(item, best) * sign > 0 ? item : best),
          undefined,
        ),
        `${name} called on empty list`,
      );
    environment.registerFunction(`${list}.min(): ${type}`, (items: Ordered[]) => pick(items, -1, 'min'));
    environment.registerFunction(`${list}.max(): ${type}`, (items: Ordered[]) => pick(items, 1, 'max'));
    environment.registerFunction(`${list}.sort(): ${list}`, (items: Ordered[]) => items.toSorted(compare));
  }
  environment.registerFunction('list<int>.sum(): int', (items: bigint[]) =>
    items.reduce((sum, item) => sum + item, 0n),
  );
  environment.registerFunction('list<double>.sum(): double', (items: number[]) =>
    items.reduce((sum, item) => sum + item, 0),
  );
  const indexOf = (items: unknown[], wanted: unknown) => BigInt(items.findIndex((item) => isEqual(item, wanted)));
  environment.registerFunction('list<A>.indexOf(A): int', indexOf);
  environment.registerFunction('list<A>.lastIndexOf(A): int', (items: unknown[], wanted: unknown) =>
    BigInt(items.findLastIndex((item) => isEqual(item, wanted))),
  );
  environment.registerFunction('list<A>.reverse(): list<A>', (items: unknown[]) => items.toReversed());
  environment.registerFunction('list<A>.slice(int, int): list<A>', (items: unknown[], from: bigint, to: bigint) => {
    if (from < 0n || to > BigInt(items.length) || from > to) throw new RangeError(`cannot slice(${from}, ${to})`);
    return items.slice(Number(from), Number(to));
  });
  environment.registerFunction('list<A>.distinct(): list<A>', (items: unknown[]) =>
    items.filter((item, index) => items.findIndex((other) => isEqual(item, other)) === index),
  );
  addSets(environment, isEqual);
}

class SetsNamespace {}

function addSets(environment: Environment, isEqual: Equal): void {
  environment
    .registerType('SetsNamespace', SetsNamespace)
    .registerConstant('sets', 'SetsNamespace', new SetsNamespace());
  const has = (list: unknown[], wanted: unknown): boolean => list.some((item) => isEqual(item, wanted));
  const contains = (list: unknown[], other: unknown[]): boolean => other.every((item) => has(list, item));
  environment.registerFunction(
    'SetsNamespace.contains(list<A>, list<A>): bool',
    (_: unknown, a: unknown[], b: unknown[]) => contains(a, b),
  );
  environment.registerFunction(
    'SetsNamespace.equivalent(list<A>, list<A>): bool',
    (_: unknown, a: unknown[], b: unknown[]) => contains(a, b) && contains(b, a),
  );
  environment.registerFunction(
    'SetsNamespace.intersects(list<A>, list<A>): bool',
    (_: unknown, a: unknown[], b: unknown[]) => b.some((item) => has(a, item)),
  );
}

/** Longest text that an expression matches against a pattern. */
const maxMatched = 1_000_000;

/** Matches in one text. */
const maxFound = 100_000;

/** Letters looked at that count as one step of the budget. */
const lettersPerStep = 100;

/** Compiled patterns that are kept: rules have few. */
const maxPatterns = 256;

type Compile = (pattern: string, text: string) => GoRegExp;

function createCompiler(budget: Budget): Compile {
  const compiled = new Map<string, GoRegExp>();
  return (pattern, text) => {
    budget.step(1 + Math.ceil(text.length / lettersPerStep));
    if (text.length > maxMatched) throw new RangeError('the text is too long to be matched');
    let found = compiled.get(pattern);
    if (found === undefined) {
      found = compileGoRegExp(pattern);
      if (compiled.size >= maxPatterns) compiled.clear();
      compiled.set(pattern, found);
    }
    return found;
  };
}

function addStrings(environment: Environment, budget: Budget): void {
  const regExp = createCompiler(budget);
  environment.registerFunction('string.goMatches(string): bool', (text: string, pattern: string) =>
    regExp(pattern, text).test(text),
  );
  environment.registerFunction(
    'string.find(string): string',
    (text: string, pattern: string) => regExp(pattern, text).find(text, 1)[0] ?? '',
  );
  const findAll = (text: string, pattern: string, limit: bigint): string[] => {
    const most = limit < 0n ? maxFound : Math.min(Number(limit), maxFound);
    const found = regExp(pattern, text).find(text, most);
    if (found.length === maxFound) throw new RangeError('too much of the text matches');
    return found;
  };
  environment.registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
    findAll(text, pattern, -1n),
  );
  environment.registerFunction('string.findAll(string, int): list<string>', findAll);
  environment.registerFunction('string.charAt(int): string', (text: string, at: bigint) => {
    const characters = Array.from(text);
    if (at < 0n || at > BigInt(characters.length)) throw new RangeError(`index out of range: ${at}`);
    return characters[Number(at)] ?? '';
  });
  const replace = (text: string, from: string, to: string, limit: bigint): string => {
    const parts = text.split(from);
    budget.step(parts.length);
    if (text.length + parts.length * to.length > maxMatched) throw new RangeError('the text would be too long');
    if (limit < 0n) return parts.join(to);
    const head = parts.slice(0, Number(limit) + 1).join(to);
    const rest = parts.slice(Number(limit) + 1);
    return rest.length === 0 ? head : [head, ...rest].join(from);
  };
  environment.registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) =>
    replace(text, from, to, -1n),
  );
  environment.registerFunction('string.replace(string, string, int): string', replace);
  environment.registerFunction('string.reverse(): string', (text: string) => Array.from(text).reverse().join(''));
  environment.registerFunction('string.format(list): string', formatText);
}
