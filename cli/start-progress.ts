/** Tells what a start that takes long is at: who looks at an unattended host later sees where it got stuck. Effects. */
import type { Logger } from 'pino';

const tellEveryMs = 10_000;

export class StartProgress {
  readonly #log: Logger;
  readonly #beganMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #step = 'beginning';

  constructor(log: Logger, everyMs = tellEveryMs) {
    this.#log = log;
    this.#timer = setInterval(() => this.#tell(), everyMs);
    this.#timer.unref();
  }

  /** What is done next, as a person would say it: 'opening the store'. */
  readonly begin = (step: string): void => {
    this.#step = step;
  };

  /** It has started, or has failed. */
  end(): void {
    clearInterval(this.#timer);
  }

  #tell(): void {
    const seconds = Math.round((performance.now() - this.#beganMs) / 1_000);
    this.#log.warn({ step: this.#step, seconds }, `the start takes long; still ${this.#step}`);
  }
}
