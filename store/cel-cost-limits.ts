/**
 * What the rules of one schema may cost, one by one and together, and what is said of those that may cost more. Source:
 * apiextensions-apiserver, pkg/apis/apiextensions/validation, whose limits and words these are.
 */
import type { FieldError } from './field-errors.ts';

const maxRuleCost = 10_000_000;
const maxTotalCost = 100_000_000;

/** Rules that are named where all together cost too much, if they cost a hundredth of that. */
const maxNamed = 4;

export class RuleCosts {
  #total = 0;
  readonly #dear: { readonly field: string; readonly cost: number }[] = [];

  /** What is wrong with the cost of one rule or message. `cost`: as often as it may be evaluated for one object. */
  errorsOf(what: 'rule' | 'messageExpression', field: string, cost: number): readonly FieldError[] {
    this.#total += cost;
    if (cost >= maxTotalCost / 100) this.#dear.push({ field, cost });
    return cost > maxRuleCost ? [exceeds(field, `estimated ${what} cost`, cost / maxRuleCost)] : [];
  }

  /** What is wrong with the cost of all of them. `field`: where the schema is. */
  errorsOfAll(field: string): readonly FieldError[] {
    if (this.#total <= maxTotalCost) return [];
    const detail = `contributed to ${whole} exceeding cost limit for ${everything}`;
    const dearest = this.#dear.toSorted((a, b) => b.cost - a.cost).slice(0, maxNamed);
    return [
      ...dearest.map((rule): FieldError => ({ kind: 'forbidden', field: rule.field, detail })),
      exceeds(field, `x-kubernetes-validations ${whole} for ${everything}`, this.#total / maxTotalCost),
    ];
  }
}

const whole = 'estimated rule & messageExpression cost total';
const everything = 'entire OpenAPIv3 schema';

function exceeds(field: string, what: string, factor: number): FieldError {
  const by = factor > 100 ? 'more than 100' : factor < 1.5 ? factor.toFixed(6) : factor.toFixed(1);
  const advice =
    '(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)';
  return { kind: 'forbidden', field, detail: `${what} exceeds budget by factor of ${by}x ${advice}` };
}
