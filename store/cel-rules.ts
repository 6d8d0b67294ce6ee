/** Checks objects against the CEL rules of their schema. Pure, but for the clock that bounds what rules may cost. */
import { Budget, BudgetError } from './cel-budget.ts';
import { type CelVariables, type CompiledRule, compileRules, hasRules, type RuleNode } from './cel-compile.ts';
import { createCelLibrary } from './cel-library.ts';
import type { FieldError } from './field-errors.ts';
import { getOwn, getPath, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import type { KubeObject, ResourceKind } from './resources.ts';

export interface CelRules {
  /** What is wrong with the rules of a schema. */
  readonly checkRules: (schema: JsonObject, field: string) => readonly FieldError[];
  /** What checks objects of a version of a definition. */
  readonly rulesOf: (version: Json) => ResourceKind['validate'];
}

export function createCelRules(): CelRules {
  const budget = new Budget();
  const library = createCelLibrary(budget);
  const find = (version: Json): JsonObject | undefined => {
    const schema = getPath(version, ['schema', 'openAPIV3Schema']);
    return isJsonObject(schema) && hasRules(schema) ? schema : undefined;
  };
  return {
    checkRules: (schema, field) => (hasRules(schema) ? compileRules(schema, field, library(), budget).errors : []),
    rulesOf: (version) => {
      const schema = find(version);
      if (schema === undefined) return () => [];
      let root: { readonly node: RuleNode | undefined } | undefined;
      return (object, previous) => {
        root ??= { node: compileRules(schema, '', library(), budget).root };
        return root.node === undefined ? [] : checkObject(root.node, object, previous, library().optionals, budget);
      };
    },
  };
}

interface Checking {
  readonly errors: FieldError[];
  readonly optionals: { readonly of: (value: unknown) => unknown; readonly none: unknown };
}

const spent = 'validation failed due to running out of cost budget, no further validation rules will be run';

/** How Kubernetes names the object itself, where others have a field. */
const wholeObject = '<nil>';

/** No more errors than this are gathered for one object. */
const maxErrors = 50;

function checkObject(
  root: RuleNode,
  object: KubeObject,
  previous: KubeObject | undefined,
  optionals: Checking['optionals'],
  budget: Budget,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  budget.reset();
  try {
    check(root, object, previous, '', { errors, optionals });
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    errors.push({ kind: 'invalid', field: wholeObject, value: root.typeName, detail: spent });
  }
  return errors;
}

/** `old`: the value before, where there is one that it can be compared with. */
function check(node: RuleNode, value: Json, old: Json | undefined, field: string, checking: Checking): void {
  if (value === null || checking.errors.length >= maxErrors) return;
  checkRules(node, value, old ?? undefined, field, checking);
  if (isJsonArray(value)) return checkItems(node, value, old, field, checking);
  if (!isJsonObject(value)) return;
  const { properties, additional, isCorrelatable } = node;
  if (properties.size === 0 && additional === undefined) return;
  const before = isCorrelatable && isJsonObject(old) ? old : undefined;
  for (const [key, item] of Object.entries(value)) {
    const child = properties.get(key) ?? additional;
    if (child === undefined || item === undefined) continue;
    const at = properties.has(key) ? joinField(field, key) : `${field}[${key}]`;
    check(child, item, getOwn(before, key), at, checking);
  }
}

function joinField(field: string, key: string): string {
  return field === '' ? key : `${field}.${key}`;
}

function checkItems(
  { items, listKeys }: RuleNode,
  value: readonly Json[],
  old: Json | undefined,
  field: string,
  checking: Checking,
): void {
  if (items === undefined) return;
  const identify = (item: Json): string => JSON.stringify((listKeys ?? []).map((key) => getPath(item, [key]) ?? null));
  const before =
    listKeys === undefined || !isJsonArray(old) ? undefined : new Map(old.map((item) => [identify(item), item]));
  for (const [index, item] of value.entries()) {
    check(items, item, before?.get(identify(item)), `${field}[${index}]`, checking);
  }
}

function checkRules(node: RuleNode, value: Json, old: Json | undefined, field: string, checking: Checking): void {
  const { rules, type, typeName } = node;
  if (rules.length === 0) return;
  const { errors, optionals } = checking;
  const self = type.toCel(value);
  const oldSelf = old === undefined || old === null ? undefined : jsonEqual(old, value) ? self : type.toCel(old);
  for (const rule of rules) {
    if (rule.usesOldSelf && !rule.isOldSelfOptional && oldSelf === undefined) continue;
    const optional = oldSelf === undefined ? optionals.none : optionals.of(oldSelf);
    const variables = { self, oldSelf: rule.isOldSelfOptional ? optional : oldSelf };
    const problem = runRule(rule, variables);
    if (problem === undefined) continue;
    const at = rule.fieldPath === '' ? field : `${field}${rule.fieldPath}`.replace(/^\./u, '');
    errors.push(toFieldError(rule.reason, at === '' ? wholeObject : at, typeName, problem));
    if (errors.length >= maxErrors) return;
  }
}

/** What is wrong, or undefined. Throws BudgetError. */
function runRule(rule: CompiledRule, variables: CelVariables): string | undefined {
  try {
    if (rule.run(variables) === true) return undefined;
  } catch (error) {
    if (error instanceof BudgetError) throw error;
    const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    const what = message.replace(/^No such/u, 'no such').replaceAll(/\bObject\d+\b/gu, 'object');
    return `${what} evaluating rule: ${rule.message === '' ? rule.rule : rule.message}`;
  }
  return messageOf(rule, variables) ?? (rule.message === '' ? `failed rule: ${rule.rule}` : rule.message);
}

/** Characters of a message that an expression makes. Source: cel.MaxEvaluatedMessageExpressionSizeBytes. */
const maxMessageLength = 5 * 1024;

function messageOf({ runMessage }: CompiledRule, variables: CelVariables): string | undefined {
  if (runMessage === undefined) return undefined;
  try {
    const message = runMessage(variables);
    if (typeof message !== 'string') return undefined;
    const trimmed = message.trim();
    return trimmed === '' || trimmed.length > maxMessageLength || /[\n\r]/u.test(trimmed) ? undefined : trimmed;
  } catch (error) {
    if (error instanceof BudgetError) throw error;
    return undefined; // the rule's own message says it then
  }
}

function toFieldError(reason: string, field: string, typeName: string, detail: string): FieldError {
  switch (reason) {
    case 'FieldValueForbidden':
      return { kind: 'forbidden', field, detail };
    case 'FieldValueRequired':
      return { kind: 'required', field, detail };
    case 'FieldValueDuplicate':
      return { kind: 'duplicate', field, value: typeName };
    default:
      return { kind: 'invalid', field, value: typeName, detail };
  }
}
