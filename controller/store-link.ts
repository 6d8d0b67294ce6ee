/**
 * Whether the API server answers: told by every request and every watch. An outage is one that lasts, not a single failure.
 * Tells log and metrics once when it begins and once when it ends. Pure but for its callbacks.
 */

export interface Outage {
  readonly sinceMs: number;
  readonly lastedMs: number;
}

export interface StoreLinkDeps {
  readonly now: () => number;
  readonly onAway: (sinceMs: number, error: unknown) => void;
  readonly onBack: (outage: Outage) => void;
}

/** Failures in a row that are no accident any more. */
const failuresOfOutage = 3;
const recentMs = 60_000;

export class StoreLink {
  readonly #deps: StoreLinkDeps;
  #failures = 0;
  #failingSinceMs: number | undefined;
  #isAway = false;
  #lastOutage: Outage | undefined;

  constructor(deps: StoreLinkDeps) {
    this.#deps = deps;
  }

  /**
   * One that ended within the last minute, in which statuses that were behind follow; or the present one, since the write
   * that succeeds is what ends it.
   */
  get recentOutage(): Outage | undefined {
    const sinceMs = this.#failingSinceMs;
    if (this.#isAway && sinceMs !== undefined) return { sinceMs, lastedMs: Math.max(0, this.#deps.now() - sinceMs) };
    const outage = this.#lastOutage;
    if (outage === undefined) return undefined;
    return Math.abs(this.#deps.now() - outage.sinceMs - outage.lastedMs) < recentMs ? outage : undefined;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  answered(): void {
    const sinceMs = this.#failingSinceMs;
    const wasAway = this.#isAway;
    this.#failures = 0;
    this.#failingSinceMs = undefined;
    this.#isAway = false;
    if (!wasAway || sinceMs === undefined) return;
    this.#lastOutage = { sinceMs, lastedMs: Math.max(0, this.#deps.now() - sinceMs) };
    this.#deps.onBack(this.#lastOutage);
  }

  failed(error: unknown): void {
    this.#failures += 1;
    this.#failingSinceMs ??= this.#deps.now();
    if (this.#isAway || this.#failures < failuresOfOutage) return;
    this.#isAway = true;
    this.#deps.onAway(this.#failingSinceMs, error);
  }

  /** The controller begins without it. */
  missedAtStart(): void {
    this.#failures = Math.max(this.#failures, failuresOfOutage - 1);
    this.failed(new Error('it did not answer in time'));
  }
}
