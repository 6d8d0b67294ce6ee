/**
 * What calls of functions cost, beside their arguments, and how large their results are. Pure. Source: cel-go
 * checker/cost.go (functionCost) and apiserver pkg/cel/library/cost.go (EstimateCallCost).
 */
import type { SizedKind, SizedType } from './cel-cost-types.ts';

export interface Size {
  readonly min: number;
  readonly max: number;
}

/** What is known of the value of a part of an expression. */
export interface Value {
  readonly kind: SizedKind;
  readonly size: Size;
  /** Where it comes from the object, what the schema says of it. */
  readonly type?: SizedType | undefined;
  /** Of a list that the expression makes. */
  readonly item?: Value;
  /** Of a map that the expression makes. */
  readonly key?: Value;
}

export interface Called {
  readonly name: string;
  /** undefined: it is called without one. */
  readonly target: Value | undefined;
  readonly parameters: readonly Value[];
}

export interface CallCost {
  readonly cost: number;
  /** undefined: nothing is known of it. */
  readonly value?: Value;
}

export const unknownSize: Size = { min: 0, max: Number.POSITIVE_INFINITY };

const letterCost = 0.1;
const patternCost = 0.25;
/** Bytes of an IP address. */
const addressSize = 16;

function times(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : a * b;
}

function traversal({ size }: Value, factor = 1): number {
  return Math.ceil(size.max * letterCost * factor);
}

const none: Value = { kind: 'dyn', size: { min: 0, max: 0 } };
const scalar: Value = { kind: 'scalar', size: { min: 1, max: 1 } };
const text: Value = { kind: 'string', size: unknownSize };
const listOfTexts = (max: number): Value => ({ kind: 'list', size: { min: 0, max }, item: text });

/** Functions whose result is a number, a time or a truth. */
const toScalar: ReadonlySet<string> = new Set([
  'size',
  'int',
  'uint',
  'double',
  'bool',
  'timestamp',
  'duration',
  'isIP',
  'isCIDR',
  'isURL',
  'isQuantity',
  'asInteger',
  'asApproximateFloat',
  'sign',
  'compareTo',
  'isInteger',
  'isGreaterThan',
  'isLessThan',
  'family',
  'prefixLength',
  'hasValue',
]);

export function callOf(called: Called): CallCost {
  const { name, target, parameters } = called;
  const [first = none] = parameters;
  switch (name) {
    case 'dyn':
      return { cost: 1, value: first };
    case 'isSorted':
    case 'sum':
    case 'max':
    case 'min':
    case 'indexOf':
    case 'lastIndexOf':
      return { cost: target === undefined ? 1 : wholeOf(target), value: scalar };
    case 'url':
    case 'validate':
      return { cost: traversal(first) };
    case 'lowerAscii':
    case 'upperAscii':
    case 'substring':
    case 'trim':
      return target === undefined
        ? { cost: 1 }
        : { cost: traversal(target), value: { kind: 'string', size: target.size } };
    case 'replace':
      return replace(called);
    case 'split':
      return target === undefined ? { cost: 1 } : { cost: traversal(target, 2), value: listOfTexts(target.size.max) };
    case 'join':
      return join(called);
    case 'find':
    case 'findAll':
    case 'matches':
    case 'goMatches':
      return match(called);
    case 'contains':
      if (target === undefined) return { cost: 1 };
      return { cost: times(traversal(target), traversal(first)), value: scalar };
    case 'startsWith':
    case 'endsWith':
      return { cost: traversal(first), value: scalar };
    case 'format':
      return { cost: target === undefined ? 1 : traversal(target), value: text };
    case 'bytes':
      return {
        cost: traversal(first),
        value: { kind: 'bytes', size: { min: first.size.min, max: first.size.max * 4 } },
      };
    case 'string':
      return first.kind === 'bytes'
        ? {
            cost: traversal(first),
            value: { kind: 'string', size: { min: Math.floor(first.size.min / 4), max: first.size.max } },
          }
        : { cost: 1, value: text };
    case 'containsIP':
      return { cost: Math.ceil(2 * addressSize * letterCost) + parsed(first), value: scalar };
    case 'containsCIDR':
      return {
        cost: Math.ceil(2 * addressSize * letterCost) + Math.ceil(addressSize * letterCost) + 1 + parsed(first),
        value: scalar,
      };
    case 'sets.contains':
    case 'sets.intersects':
    case 'sets.equivalent': {
      const [a = none, b = none] = parameters;
      const passes = name === 'sets.equivalent' ? 2 : 1;
      return { cost: times(a.size.max, b.size.max) * passes + 1, value: scalar };
    }
    default:
      return {
        cost: 1,
        ...(toScalar.has(name) || /^get[A-Z].*(?:Year|Month|Day|Date|Hours|Minutes|Seconds|Milliseconds)/u.test(name)
          ? { value: scalar }
          : {}),
      };
  }
}

function parsed(value: Value): number {
  return value.kind === 'string' ? traversal(value) : 0;
}

/** Of one look at everything in a list, or in a text. */
function wholeOf(value: Value): number {
  if (value.kind !== 'list') return traversal(value);
  const { type, item } = value;
  const kind = type?.items?.kind ?? item?.kind;
  const max = type?.items?.maxElements ?? item?.size.max ?? 0;
  const each = 1 + (kind === 'string' || kind === 'bytes' ? Math.ceil(max * letterCost) : 0);
  return times(value.size.max, each);
}

function match({ name, target, parameters: [pattern = none] }: Called): CallCost {
  if (target === undefined) return { cost: 1 };
  const { max } = target.size;
  const cost = times(Math.ceil((max + 1) * letterCost), Math.ceil(pattern.size.max * patternCost));
  if (name === 'findAll') return { cost, value: listOfTexts(max) };
  return { cost, value: name === 'find' ? { kind: 'string', size: { min: 0, max } } : scalar };
}

function replace({ target, parameters: [from = none, to = none] }: Called): CallCost {
  if (target === undefined) return { cost: 1 };
  const { max } = target.size;
  const cost = traversal(target, 2);
  if (from.size.min === 0)
    return { cost, value: { kind: 'string', size: { min: 0, max: times(max + 1, to.size.max) + max } } };
  const isLonger = to.size.max > from.size.min;
  const most = isLonger ? times(Math.ceil(max / from.size.min), to.size.max) : max;
  return { cost, value: { kind: 'string', size: { min: 0, max: most } } };
}

function join({ target, parameters: [separator] }: Called): CallCost {
  if (target === undefined) return { cost: 1 };
  const { max } = target.size;
  const each = target.type?.items?.maxElements ?? target.item?.size.max ?? Number.POSITIVE_INFINITY;
  const between = separator === undefined ? 0 : times(separator.size.max, Math.max(0, max - 1));
  const size = { min: 0, max: times(max, each) + between };
  return { cost: Math.ceil(size.max * letterCost), value: { kind: 'string', size } };
}
