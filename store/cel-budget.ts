/**
 * How much the rules of one object may cost: steps, and time as the last resort. A step is one evaluation of one part of
 * an expression; kube-apiserver counts alike (runtime cost budget of 10,000,000 for one object).
 */

/** No rule that passes kube-apiserver's estimates gets near this for objects that people write. */
const maxSteps = 2_000_000;

/** Milliseconds that one object's rules may hold up the event loop, on however slow a machine. */
const maxMs = 500;

/** Characters of a text, and items of a list, that an expression may make. */
const maxTextLength = 1_000_000;
const maxListLength = 100_000;

const stepsBetweenLooks = 1_024;

/** The rules of an object cost too much. */
export class BudgetError extends Error {
  override readonly name = 'BudgetError';
}

export class Budget {
  #steps = 0;
  #nextLook = stepsBetweenLooks;
  #endMs = Number.POSITIVE_INFINITY;

  /** Begins anew, for the next object. */
  reset(): void {
    this.#steps = 0;
    this.#nextLook = stepsBetweenLooks;
    this.#endMs = performance.now() + maxMs;
  }

  /** Throws BudgetError, and from then on always: an expression may swallow one (`… || true`). */
  step(count = 1): void {
    this.#steps += count;
    if (this.#steps > maxSteps) throw new BudgetError('too many steps');
    if (this.#steps < this.#nextLook) return;
    this.#nextLook = this.#steps + stepsBetweenLooks;
    if (performance.now() <= this.#endMs) return;
    this.#steps = maxSteps;
    throw new BudgetError('too slow');
  }

  /** Throws BudgetError for a value that is too large to go on with. */
  checkSize(value: unknown): void {
    const isTooLarge =
      (typeof value === 'string' && value.length > maxTextLength) ||
      (Array.isArray(value) && value.length > maxListLength);
    if (isTooLarge) throw new BudgetError('a value is too large');
  }
}
