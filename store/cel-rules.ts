/**
 * Checks objects against the CEL rules of their schema. Pure, but for the clock that bounds what rules may cost. Of what
 * an update leaves as it was only rules that name oldSelf are asked, as by kube-apiserver from 1.30 on (KEP-4008).
 */
import { Budget, BudgetError } from './cel-budget.ts';
import { type CelVariables, type CompiledRule, compileRules, hasRules, type RuleNode } from './cel-compile.ts';
import { createCelLibrary } from './cel-library.ts';
import type { FieldError } from './field-errors.ts';
import { getOwn, getPath, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import { oldItems } from './schema-validate.ts';

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
    check(root, object, { old: previous, was: previous }, '', { errors, optionals });
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    errors.push({ kind: 'invalid', field: wholeObject, value: root.typeName, detail: spent });
  }
  return errors;
}

/** What a value was before an update; both are undefined where there was none, or it cannot be told which. */
interface Before {
  /** What rules see as oldSelf. */
  readonly old: Json | undefined;
  /** What it is compared with: a rule is not asked again about what did not change. */
  readonly was: Json | typeof unchanged | undefined;
}

/** It is part of something that did not change. */
const unchanged = Symbol('unchanged');

function check(node: RuleNode, value: Json, before: Before, field: string, checking: Checking): void {
  if (value === null || checking.errors.length >= maxErrors) return;
  const isUnchanged = before.was === unchanged || (before.was !== undefined && jsonEqual(before.was, value));
  const was = isUnchanged ? unchanged : before.was;
  checkRules(node, value, { old: before.old ?? undefined, was }, field, checking);
  if (isJsonArray(value)) return checkItems(node, value, { old: before.old, was }, field, checking);
  if (!isJsonObject(value)) return;
  const { properties, additional, isCorrelatable } = node;
  if (properties.size === 0 && additional === undefined) return;
  const old = isCorrelatable && isJsonObject(before.old) ? before.old : undefined;
  const wasMember = (key: string): Before['was'] =>
    was === unchanged ? unchanged : isJsonObject(was) ? getOwn(was, key) : undefined;
  for (const [key, item] of Object.entries(value)) {
    const child = properties.get(key) ?? additional;
    if (child === undefined || item === undefined) continue;
    const at = properties.has(key) ? joinField(field, key) : `${field}[${key}]`;
    check(child, item, { old: getOwn(old, key), was: wasMember(key) }, at, checking);
  }
}

function joinField(field: string, key: string): string {
  return field === '' ? key : `${field}.${key}`;
}

function checkItems(
  { items, listKeys, listType }: RuleNode,
  value: readonly Json[],
  { old, was }: Before,
  field: string,
  checking: Checking,
): void {
  if (items === undefined) return;
  const oldItem = listKeys === undefined ? (): undefined => undefined : oldItems(listType, listKeys, old);
  const wasItem = was === unchanged ? (): typeof unchanged => unchanged : oldItems(listType, listKeys, was);
  for (const [index, item] of value.entries()) {
    check(items, item, { old: oldItem(item, index), was: wasItem(item, index) }, `${field}[${index}]`, checking);
  }
}

function checkRules(node: RuleNode, value: Json, { old, was }: Before, field: string, checking: Checking): void {
  const { type, typeName } = node;
  const rules = was === unchanged ? node.rules.filter(({ usesOldSelf }) => usesOldSelf) : node.rules;
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
