/**
 * What an expression may cost at most, from the bounds that its schema sets. Pure. Source: cel-go, checker/cost.go, and
 * Kubernetes' costs of its own functions, apiserver pkg/cel/library/cost.go: definitions that kube-apiserver refuses as
 * too dear are refused, and no others. Costs and sizes beyond what can be told are Infinity.
 */
import { argumentsOf, type Expression, isExpression } from './cel-ast.ts';
import { type Called, callOf, unknownSize, type Value } from './cel-cost-calls.ts';
import { keyType, type SizedType } from './cel-cost-types.ts';

interface Estimate {
  readonly cost: number;
  readonly value: Value;
}

type Scope = ReadonlyMap<string, Value>;

/** Of making a list, and a map. */
const listCost = 10;
const mapCost = 30;
const letterCost = 0.1;

/** The most that one evaluation costs. `variables`: their types. */
export function estimateCost(expression: unknown, variables: ReadonlyMap<string, SizedType>): number {
  const scope = new Map([...variables].map(([name, type]) => [name, typed(type)]));
  return estimate(expression, scope).cost;
}

function typed(type: SizedType): Value {
  return { kind: type.kind, size: { min: 0, max: type.maxElements }, type };
}

/** Something of a kind, of whose size only the kind tells. */
function someOf(kind: Value['kind']): Value {
  return { kind, size: kind === 'scalar' ? { min: 1, max: 1 } : unknownSize };
}

const scalar = someOf('scalar');
/** Of `string` and the like, which Kubernetes takes to be of no size. */
const typeName: Value = { kind: 'dyn', size: { min: 0, max: 0 } };

function estimate(node: unknown, scope: Scope): Estimate {
  if (!isExpression(node)) return { cost: 0, value: someOf('dyn') };
  const parts = argumentsOf(node);
  switch (node.op) {
    case 'value':
      return { cost: 0, value: literal(node.args) };
    case 'id':
      return { cost: 1, value: scope.get(String(node.args)) ?? typeName };
    case '.':
      return select(estimate(parts[0], scope), String(parts[1]));
    case '.?':
    case '[?]':
      return { cost: sum(parts, scope) + 1, value: someOf('dyn') };
    case '[]':
      return index(parts, scope);
    case 'list': {
      const items = parts.map((part) => estimate(part, scope));
      const size = { min: parts.length, max: parts.length };
      return { cost: listCost + total(items), value: { kind: 'list', size, item: union(items) } };
    }
    case 'map': {
      const entries = parts.map((entry) => (Array.isArray(entry) ? entry.map((part) => estimate(part, scope)) : []));
      const size = { min: parts.length, max: parts.length };
      const value: Value = { kind: 'map', size, key: union(entries.flatMap(([key]) => key ?? [])) };
      return { cost: mapCost + total(entries.flat()), value };
    }
    case '?:': {
      const [condition, yes, no] = parts.map((part) => estimate(part, scope));
      const chosen = [yes, no].filter((one) => one !== undefined);
      return { cost: (condition?.cost ?? 0) + Math.max(...chosen.map(({ cost }) => cost)), value: union(chosen) };
    }
    case '&&':
    case '||':
      return { cost: sum(parts, scope), value: scalar };
    case 'call':
    case 'rcall':
      return call(node, scope);
    case '-_':
      if (isExpression(node.args) && node.args.op === 'value') return { cost: 0, value: scalar }; // a negative number
      return operator(node.op, [node.args], scope);
    default:
      return operator(node.op, parts.length > 0 ? parts : [node.args], scope);
  }
}

function total(estimates: readonly Estimate[]): number {
  return estimates.reduce((cost, one) => cost + one.cost, 0);
}

function sum(parts: readonly unknown[], scope: Scope): number {
  return total(parts.map((part) => estimate(part, scope)));
}

/** What may be any of these. */
function union(estimates: readonly Estimate[]): Value {
  const [first, ...more] = estimates.map(({ value }) => value);
  if (first === undefined) return someOf('dyn');
  const max = Math.max(first.size.max, ...more.map(({ size }) => size.max));
  const min = Math.min(first.size.min, ...more.map(({ size }) => size.min));
  const isOneKind = more.every(({ kind }) => kind === first.kind);
  return { ...(isOneKind ? first : { kind: 'dyn' }), size: { min, max } };
}

function literal(value: unknown): Value {
  if (typeof value === 'string') {
    const { length } = Array.from(value);
    return { kind: 'string', size: { min: length, max: length } };
  }
  if (value instanceof Uint8Array) return { kind: 'bytes', size: { min: value.length, max: value.length } };
  return scalar;
}

function select({ cost, value }: Estimate, name: string): Estimate {
  const own = value.type?.fields.get(name);
  const item = value.type?.items;
  const isStep = value.kind === 'object' || value.kind === 'map';
  return {
    cost: cost + (isStep ? 1 : 0),
    // Kubernetes does not look up the sizes of values of maps that are named like fields.
    value: own === undefined ? someOf(item?.kind ?? 'dyn') : typed(own),
  };
}

function index(parts: readonly unknown[], scope: Scope): Estimate {
  const [of, at] = parts.map((part) => estimate(part, scope));
  return { cost: (of?.cost ?? 0) + (at?.cost ?? 0) + 1, value: itemOf(of?.value) };
}

function itemOf(value: Value | undefined): Value {
  const known = value?.type?.items;
  return known === undefined ? (value?.item ?? someOf('dyn')) : typed(known);
}

function operator(name: string, parts: readonly unknown[], scope: Scope): Estimate {
  const operands = parts.map((part) => estimate(part, scope));
  const cost = total(operands);
  const [a, b] = operands.map(({ value }) => value);
  if (a === undefined || b === undefined) return { cost: cost + 1, value: scalar };
  const isText = a.kind === 'string' || a.kind === 'bytes';
  switch (name) {
    case '==':
    case '!=':
      return { cost: cost + compared(a, b), value: scalar };
    case '<':
    case '<=':
    case '>':
    case '>=':
      return { cost: cost + (isText ? compared(a, b) : 1), value: scalar };
    case 'in':
      return { cost: cost + (b.kind === 'list' ? b.size.max : 1), value: scalar };
    case '+': {
      if (!isText && a.kind !== 'list') return { cost: cost + 1, value: { ...scalar, kind: a.kind } };
      const size = { min: a.size.min + b.size.min, max: a.size.max + b.size.max };
      return { cost: cost + (isText ? Math.ceil(size.max * letterCost) : 1), value: { ...a, type: undefined, size } };
    }
    default:
      return { cost: cost + 1, value: scalar };
  }
}

function compared(a: Value, b: Value): number {
  return Math.ceil(Math.min(a.size.max, b.size.max) * letterCost);
}

/** Names before a dot that are part of a function's name. */
const namespaces: ReadonlySet<string> = new Set(['cel', 'sets', 'optional', 'format']);

function call(node: Expression, scope: Scope): Estimate {
  const parts = argumentsOf(node);
  const name = String(parts[0]);
  const last = parts.at(-1);
  const parameters: readonly unknown[] = Array.isArray(last) ? last : [];
  if (node.op === 'call') {
    if (name === 'has') return has(parameters[0], scope);
    return finish({ name, target: undefined, parameters: parameters.map((part) => estimate(part, scope)) });
  }
  const receiver = parts[1];
  const isNamed = isExpression(receiver) && receiver.op === 'id' && !scope.has(String(receiver.args));
  const namespace = isNamed && namespaces.has(String(receiver.args)) ? String(receiver.args) : undefined;
  if (namespace === 'cel') return bind(parameters, scope);
  const target = namespace === undefined ? estimate(receiver, scope) : undefined;
  const loop = target === undefined ? undefined : comprehension(name, target, parameters, scope);
  if (loop !== undefined) return loop;
  const full = namespace === undefined ? name : `${namespace}.${name}`;
  return finish({ name: full, target, parameters: parameters.map((part) => estimate(part, scope)) });
}

function finish({
  name,
  target,
  parameters,
}: {
  name: string;
  target: Estimate | undefined;
  parameters: readonly Estimate[];
}): Estimate {
  const called: Called = { name, target: target?.value, parameters: parameters.map(({ value }) => value) };
  const { cost, value } = callOf(called);
  return { cost: cost + (target?.cost ?? 0) + total(parameters), value: value ?? someOf('dyn') };
}

/** Costs nothing beyond what leads to it. */
function has(selection: unknown, scope: Scope): Estimate {
  const [object] = isExpression(selection) ? argumentsOf(selection) : [];
  return { cost: estimate(object, scope).cost, value: scalar };
}

function bind([variable, initial, body]: readonly unknown[], scope: Scope): Estimate {
  const bound = estimate(initial, scope);
  const { cost, value } = estimate(body, withVariable(scope, variable, bound.value));
  return { cost: listCost + bound.cost + cost, value };
}

function withVariable(scope: Scope, variable: unknown, value: Value): Scope {
  const name = isExpression(variable) ? String(variable.args) : '';
  return new Map([...scope, [name, value]]);
}

/** What a macro takes for each item beside its predicate, and at the end; see parser/macro.go of cel-go. */
const loops: ReadonlyMap<string, { readonly each: number; readonly once: number }> = new Map([
  ['all', { each: 3, once: 1 }],
  ['exists', { each: 4, once: 1 }],
  ['exists_one', { each: 2, once: 2 }],
  ['filter', { each: 13, once: listCost + 1 }],
  ['map', { each: 12, once: listCost + 1 }],
]);

/** undefined: it is no macro. */
function comprehension(
  name: string,
  { cost, value: range }: Estimate,
  [variable, ...bodies]: readonly unknown[],
  scope: Scope,
): Estimate | undefined {
  const loop = loops.get(name);
  if (loop === undefined || bodies.length === 0) return undefined;
  const isMap = range.kind === 'map' || range.kind === 'object';
  const item = isMap ? (range.key ?? typed(keyType)) : itemOf(range);
  const inner = bodies.map((body) => estimate(body, withVariable(scope, variable, item)));
  const each = loop.each + total(inner);
  const { size } = range;
  const made = name === 'map' ? inner.at(-1)?.value : item;
  const isList = name === 'map' || name === 'filter';
  const value: Value = isList ? { kind: 'list', size, ...(made === undefined ? {} : { item: made }) } : scalar;
  // Nothing times without end is nothing.
  return { cost: cost + loop.once + (size.max === 0 ? 0 : size.max * each), value };
}
