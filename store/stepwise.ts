/**
 * Work that takes many small writes: one write at a time for each name, so that clients are not held up; one that fails is
 * tried again. Effects.
 */
import type { Transaction, Writer } from './writer.ts';

export interface StepwiseDeps {
  readonly writer: Writer;
  /** One write's share of the work on a name; true: there is more to do at once. Called again when the name is begun again. */
  readonly step: (transaction: Transaction, name: string) => boolean;
  /** A write failed; it comes again. */
  readonly failed: (error: unknown, name: string) => void;
}

const retryMs = 5_000;

export class Stepwise {
  readonly #deps: StepwiseDeps;
  /** Under way; `again`: something happened since that write was asked for. */
  readonly #busy = new Map<string, 'once' | 'again'>();
  readonly #retries = new Set<NodeJS.Timeout>();

  constructor(deps: StepwiseDeps) {
    this.#deps = deps;
  }

  begin(name: string): void {
    const isBusy = this.#busy.has(name);
    this.#busy.set(name, isBusy ? 'again' : 'once');
    if (isBusy) return;
    const { writer, step, failed } = this.#deps;
    writer
      .write((transaction) => step(transaction, name))
      .then((isMore) => {
        const isAgain = this.#busy.get(name) === 'again';
        this.#busy.delete(name);
        if (isMore || isAgain) this.begin(name);
      })
      .catch((error: unknown) => {
        this.#busy.delete(name);
        failed(error, name);
        const timer = setTimeout(() => {
          this.#retries.delete(timer);
          this.begin(name);
        }, retryMs);
        timer.unref();
        this.#retries.add(timer);
      });
  }

  close(): void {
    for (const timer of this.#retries) clearTimeout(timer);
  }
}
