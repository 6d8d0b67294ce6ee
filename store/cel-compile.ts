/**
 * The CEL rules of a schema (x-kubernetes-validations), compiled. Pure, but for the library that is loaded. Source:
 * apiextensions-apiserver, pkg/apiserver/schema/cel, whose words these are.
 */
import type { Environment } from '@marcbachmann/cel-js/evaluator';
import { meter, renameMethod, usesVariable, widenHas } from './cel-ast.ts';
import type { Budget } from './cel-budget.ts';
import { estimateCost } from './cel-cost.ts';
import { RuleCosts } from './cel-cost-limits.ts';
import { declaredElements, maxCardinality, type SizedType, SizedTypes } from './cel-cost-types.ts';
import type { CelLibrary } from './cel-library.ts';
import type { CelType, TypeDeclarer } from './cel-types.ts';
import type { FieldError } from './field-errors.ts';
import { getString, isJsonArray, isJsonObject, type JsonObject, objectsOf } from './json.ts';

export interface CompiledRule {
  readonly rule: string;
  readonly message: string;
  readonly reason: string;
  /** Below the value that has the rule, like `.a.b`; '' for itself. */
  readonly fieldPath: string;
  readonly usesOldSelf: boolean;
  readonly isOldSelfOptional: boolean;
  /** Of one evaluation, at most, as kube-apiserver estimates it. */
  readonly cost: number;
  readonly run: (variables: CelVariables) => unknown;
  readonly runMessage: ((variables: CelVariables) => unknown) | undefined;
}

export interface CelVariables {
  readonly self: unknown;
  readonly oldSelf: unknown;
}

/** The rules of one schema and of those below it; only schemas with rules have nodes. */
export interface RuleNode {
  readonly rules: readonly CompiledRule[];
  readonly type: CelType;
  /** As errors name the type of the value. */
  readonly typeName: string;
  readonly properties: ReadonlyMap<string, RuleNode>;
  readonly additional: RuleNode | undefined;
  readonly items: RuleNode | undefined;
  /** Keys by which items of an old list are found again; undefined: they are not. */
  readonly listKeys: readonly string[] | undefined;
  /** Of a list: its type, where the schema gives it one. */
  readonly listType: string | undefined;
  /** Whether old members are those of the same name. */
  readonly isCorrelatable: boolean;
}

export interface CompileResult {
  readonly root: RuleNode | undefined;
  readonly errors: readonly FieldError[];
}

/** `field`: where the schema is, for errors. */
export function compileRules(schema: JsonObject, field: string, library: CelLibrary, budget: Budget): CompileResult {
  const environment = library.environment.clone();
  const declarer = library.createDeclarer(environment);
  const errors: FieldError[] = [];
  // All types are declared before the first clone, which freezes the environment.
  declarer.declare(schema, 'root');
  declareAll(schema, declarer);
  const costs = new RuleCosts();
  const compiler = new Compiler({ environment, declarer, budget, errors, costs, sizedTypes: new SizedTypes() });
  const root = compiler.compile(schema, { field, uncorrelatable: undefined, cardinality: 1, isRoot: true });
  return { root, errors: [...errors, ...costs.errorsOfAll(field)] };
}

function declareAll(schema: JsonObject, declarer: TypeDeclarer): void {
  for (const child of childrenOf(schema)) {
    declarer.declare(child);
    declareAll(child, declarer);
  }
}

function childrenOf({ properties, additionalProperties, items }: JsonObject): readonly JsonObject[] {
  const members = isJsonObject(properties) ? Object.values(properties) : [];
  return [...members, additionalProperties, items].filter(isJsonObject);
}

/** Whether a schema, or one below it, has rules. */
export function hasRules(schema: JsonObject): boolean {
  return objectsOf(schema['x-kubernetes-validations']).length > 0 || childrenOf(schema).some(hasRules);
}

interface CompilerDeps {
  readonly environment: Environment;
  readonly declarer: TypeDeclarer;
  readonly budget: Budget;
  readonly errors: FieldError[];
  readonly costs: RuleCosts;
  readonly sizedTypes: SizedTypes;
}

/** Where a schema is. */
interface Place {
  readonly field: string;
  /** The outermost schema around it whose values have no old ones. */
  readonly uncorrelatable: string | undefined;
  /** How often a value of it may stand in one object; undefined: nothing bounds that. */
  readonly cardinality: number | undefined;
  readonly isRoot: boolean;
}

interface CompiledExpression {
  readonly run: (variables: CelVariables) => unknown;
  readonly usesOldSelf: boolean;
  /** Of one evaluation, at most. */
  readonly cost: number;
}

class Compiler {
  readonly #deps: CompilerDeps;

  constructor(deps: CompilerDeps) {
    this.#deps = deps;
  }

  compile(schema: JsonObject, place: Place): RuleNode | undefined {
    if (!hasRules(schema)) return undefined;
    const { field, uncorrelatable } = place;
    const { properties, additionalProperties, items } = schema;
    const isCorrelatable = schema['x-kubernetes-map-type'] !== 'atomic';
    const listType = getString(schema, 'x-kubernetes-list-type');
    const isMapList = listType === 'map';
    const below = uncorrelatable ?? (isCorrelatable ? undefined : field);
    const elements = declaredElements(schema);
    const { cardinality } = place;
    const inside = {
      cardinality: cardinality === undefined || elements === undefined ? undefined : cardinality * elements,
      isRoot: false,
    };
    const members = new Map<string, RuleNode>();
    for (const [name, child] of Object.entries(isJsonObject(properties) ? properties : {})) {
      const node = isJsonObject(child)
        ? this.compile(child, { ...inside, field: `${field}.properties[${name}]`, uncorrelatable: below })
        : undefined;
      if (node !== undefined) members.set(name, node);
    }
    const keys = schema['x-kubernetes-list-map-keys'];
    return {
      type: this.#deps.declarer.declare(schema),
      typeName: typeof schema.type === 'string' && schema.type !== '' ? schema.type : 'any',
      rules: this.#compileRules(schema, place),
      properties: members,
      additional: isJsonObject(additionalProperties)
        ? this.compile(additionalProperties, {
            ...inside,
            field: `${field}.additionalProperties`,
            uncorrelatable: below,
          })
        : undefined,
      items: isJsonObject(items)
        ? this.compile(items, {
            ...inside,
            field: `${field}.items`,
            uncorrelatable: uncorrelatable ?? (isMapList ? undefined : field),
          })
        : undefined,
      listType,
      listKeys: isMapList && isJsonArray(keys) ? keys.map(String) : undefined,
      isCorrelatable,
    };
  }

  #compileRules(schema: JsonObject, { field, uncorrelatable, cardinality, isRoot }: Place): readonly CompiledRule[] {
    const { environment, declarer, errors, costs, sizedTypes } = this.#deps;
    const { name } = declarer.declare(schema);
    const sources = objectsOf(schema['x-kubernetes-validations']);
    if (sources.length === 0) return [];
    const type = sizedTypes.of(schema, isRoot ? 'root' : 'inside');
    const times = cardinality ?? maxCardinality(type);
    // A clone of all that is declared takes milliseconds: rules of one schema share it.
    const scopes = new Map<string, Environment>();
    return sources.flatMap((source, index) => {
      const at = `${field}.x-kubernetes-validations[${index}]`;
      const isOldSelfOptional = source.optionalOldSelf === true;
      const oldType = isOldSelfOptional ? `optional<${name}>` : name;
      const scope =
        scopes.get(oldType) ?? environment.clone().registerVariable('self', name).registerVariable('oldSelf', oldType);
      scopes.set(oldType, scope);
      const rule = getString(source, 'rule') ?? '';
      const messageExpression = getString(source, 'messageExpression') ?? '';
      const compiled = this.#compileExpression(scope, rule, type, ['bool', 'cel expression must evaluate to a bool']);
      if (typeof compiled === 'string') {
        errors.push({ kind: 'invalid', field: `${at}.rule`, value: source, detail: compiled });
        return [];
      }
      const message =
        messageExpression.trim() === ''
          ? undefined
          : this.#compileExpression(scope, messageExpression, type, [
              'string',
              'messageExpression must evaluate to a string',
            ]);
      if (typeof message === 'string') {
        const detail = `messageExpression ${message}`.replace(/^messageExpression (?=messageExpression)/u, '');
        errors.push({ kind: 'invalid', field: `${at}.messageExpression`, value: source, detail });
        return [];
      }
      errors.push(...costs.errorsOf('rule', `${at}.rule`, compiled.cost * times));
      if (message !== undefined) {
        errors.push(...costs.errorsOf('messageExpression', `${at}.messageExpression`, message.cost));
      }
      if (compiled.usesOldSelf && uncorrelatable !== undefined) {
        const detail = `oldSelf cannot be used on the uncorrelatable portion of the schema within ${uncorrelatable}`;
        errors.push({ kind: 'invalid', field: `${at}.rule`, value: rule, detail });
      } else if (!compiled.usesOldSelf && source.optionalOldSelf !== undefined) {
        const detail = 'may not be set if oldSelf is not used in rule';
        errors.push({ kind: 'invalid', field: `${at}.optionalOldSelf`, value: isOldSelfOptional, detail });
      }
      return [
        {
          rule: rule.trim(),
          message: (getString(source, 'message') ?? '').trim(),
          reason: getString(source, 'reason') ?? 'FieldValueInvalid',
          fieldPath: (getString(source, 'fieldPath') ?? '').trim(),
          usesOldSelf: compiled.usesOldSelf,
          isOldSelfOptional,
          cost: compiled.cost,
          run: compiled.run,
          runMessage: message?.run,
        },
      ];
    });
  }

  /** What is wrong, or how it is run. */
  #compileExpression(
    scope: Environment,
    text: string,
    type: SizedType,
    [wanted, otherwise]: readonly [string, string],
  ): string | CompiledExpression {
    try {
      const parsed = scope.parse(text);
      // Go's expressions, matched in linear time.
      renameMethod(parsed.ast, 'matches', 'goMatches');
      widenHas(parsed.ast);
      const checked = parsed.check();
      if (!checked.valid) return `compilation failed: ${describe(checked.error, text)}`;
      if (checked.type !== wanted && checked.type !== 'dyn') return otherwise;
      const usesOldSelf = usesVariable(parsed.ast, 'oldSelf');
      const cost = estimateCost(
        parsed.ast,
        new Map([
          ['self', type],
          ['oldSelf', type],
        ]),
      );
      meter(parsed.ast, this.#deps.budget);
      return { run: (variables) => parsed({ ...variables }), usesOldSelf, cost };
    } catch (error) {
      return `compilation failed: ${describe(error, text)}`;
    }
  }
}

/** In the form of cel-go: where, what, and the line with a mark below. */
function describe(error: unknown, text: string): string {
  const problem = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  const what = problem.replace(/^No such key: (.*)$/u, "undefined field '$1'").replaceAll('goMatches', 'matches');
  const start = rangeStart(error);
  const before = text.slice(0, start).split('\n');
  const column = (before.at(-1) ?? '').length + 1;
  const line = text.split('\n')[before.length - 1] ?? '';
  const shown = what.replaceAll(/\bObject\d+\b/gu, 'object');
  return `ERROR: <input>:${before.length}:${column}: ${shown}\n | ${line}\n | ${'.'.repeat(column - 1)}^`;
}

function rangeStart(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('range' in error)) return 0;
  const { range } = error;
  if (typeof range !== 'object' || range === null || !('start' in range)) return 0;
  return typeof range.start === 'number' ? range.start : 0;
}
