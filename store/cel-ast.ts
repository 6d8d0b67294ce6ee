/**
 * Expressions as the library keeps them, looked at and changed before they run: what they name, what they call, and what
 * each part costs. The library publishes no types for this; every shape used here is checked before it is used.
 */
import type { Budget } from './cel-budget.ts';

/** A part of an expression, as the library keeps it. */
interface Node {
  readonly op: string;
  readonly args: unknown;
  readonly meta: {
    readonly alternate?: Node;
    readonly macro?: { evaluate?: Evaluate; [key: string]: unknown };
    readonly evaluate?: Evaluate;
  };
  setMeta(key: string, value: unknown): unknown;
}
type Evaluate = (this: unknown, ...parameters: unknown[]) => unknown;

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'op' in value && 'meta' in value && 'setMeta' in value;
}

/** A part of an expression, to be read. */
export type Expression = Pick<Node, 'op' | 'args'>;

export function isExpression(value: unknown): value is Expression {
  return isNode(value);
}

/** What an expression is made of: parts, names and lists of them; none where it is a name or a value. */
export function argumentsOf({ args }: Expression): readonly unknown[] {
  return Array.isArray(args) ? args : [];
}

/** Has every part of a checked expression take its step of the budget. */
export function meter(expression: unknown, budget: Budget): void {
  visitNodes(expression, (node) => {
    const { macro, evaluate, alternate } = node.meta;
    if (alternate !== undefined) return; // it stands for the node, and is visited itself
    const wrap = (run: Evaluate): Evaluate =>
      function metered(this: unknown, ...parameters) {
        budget.step();
        const value = run.apply(this, parameters);
        budget.checkSize(value);
        return value;
      };
    if (macro?.evaluate !== undefined) macro.evaluate = wrap(macro.evaluate);
    else if (evaluate !== undefined) node.setMeta('evaluate', wrap(evaluate));
  });
}

/** Whether an expression names a variable. */
export function usesVariable(expression: unknown, name: string): boolean {
  let isUsed = false;
  visitNodes(expression, (node) => {
    if (node.op === 'id' && node.args === name) isUsed = true;
  });
  return isUsed;
}

/** Replaces the name of a method wherever it is called. */
export function renameMethod(expression: unknown, from: string, to: string): void {
  visitNodes(expression, (node) => {
    if (node.op === 'rcall' && Array.isArray(node.args) && node.args[0] === from) node.args[0] = to;
  });
}

interface Checker {
  check(node: unknown, context: unknown): unknown;
  getType(name: string): unknown;
}
interface Evaluator {
  run(node: unknown, context: unknown): unknown;
  debugType(value: unknown): { fieldLazy(value: unknown, field: string, node: unknown, evaluator: unknown): unknown };
}

/** Lets `has(a[0].b)` pass: the library takes names and dots alone in it, CEL takes any expression before the last dot. */
export function widenHas(expression: unknown): void {
  visitNodes(expression, (node) => {
    const { macro } = node.meta;
    const [name, parameters] = Array.isArray(node.args) ? node.args : [];
    const selection: unknown = Array.isArray(parameters) ? parameters[0] : undefined;
    if (node.op !== 'call' || name !== 'has' || macro === undefined) return;
    if (!isNode(selection) || selection.op !== '.' || !Array.isArray(selection.args)) return;
    const [object, field] = selection.args;
    // The library calls both with its own checker and evaluator.
    macro.typeCheck = (checker: Checker, _macro: unknown, context: unknown): unknown => {
      checker.check(selection, context);
      return checker.getType('bool');
    };
    macro.evaluate = (evaluator, _macro, context): boolean => {
      const { run, debugType } = evaluator as Evaluator;
      const value = run.call(evaluator, object, context);
      return debugType.call(evaluator, value).fieldLazy(value, String(field), selection, evaluator) !== undefined;
    };
  });
}

function visitNodes(root: unknown, visit: (node: Node) => void): void {
  const seen = new Set<unknown>();
  const waiting: unknown[] = [root];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null || seen.has(next)) continue;
    seen.add(next);
    if (isNode(next)) {
      visit(next);
      waiting.push(next.args, next.meta.alternate, next.meta.macro);
    } else if (Array.isArray(next)) waiting.push(...next);
    else if (isPlain(next)) waiting.push(...Object.values(next));
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
