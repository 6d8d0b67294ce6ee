/**
 * Whose turn it is to start: a host that boots starts its containers a few at a time, and spread over a while, so that
 * neither the host nor what they all talk to is run down. decideTurn is pure; the gate keeps count.
 */

import { drawFor } from '../client/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import { type Standing, standingOf, standings, type TrackRecord } from './standing.ts';

export interface StartPolicy {
  /** Containers that start at the same time; those beyond wait for their turn. */
  readonly maxConcurrent: number;
  /** What ran when the host went down starts within this time after the controller did, each at a moment of its own. */
  readonly bootJitterMs: number;
}

export const defaultStartPolicy: StartPolicy = { maxConcurrent: 8, bootJitterMs: 1_000 };

export type Turn =
  | { readonly kind: 'now' }
  | {
      readonly kind: 'wait';
      readonly reason: 'StartQueued' | 'HostRebooted';
      readonly message: string;
      readonly untilMs: number;
    };

/** A wait that is over sooner is not worth telling the store of. */
const briefMs = 500;
/** A start that hangs must not keep the others from theirs. */
const slowStartMs = 5_000;
/** How often one that waits looks again, should nobody wake it. */
const lookAgainMs = 5_000;

export function decideTurn(input: {
  readonly container: Pick<ContainerInfo, 'id' | 'state'>;
  readonly policy: StartPolicy;
  /** Others that start now. */
  readonly underWay: number;
  /** When the controller began. */
  readonly beganMs: number;
  readonly nowMs: number;
}): Turn {
  const { container, policy, underWay, beganMs, nowMs } = input;
  const wentDown = container.state.kind === 'exited' && container.state.exit.hostWentDown === true;
  const shareMs = wentDown ? policy.bootJitterMs * drawFor(container.id, 'boot') : 0;
  const untilMs = beganMs + shareMs;
  // With a clock that was set back nobody knows how long it has waited.
  if (untilMs > nowMs && nowMs >= beganMs) {
    const message = `ran when the host went down; starts within ${policy.bootJitterMs / 1_000}s after the boot, at a moment of its own`;
    return { kind: 'wait', reason: 'HostRebooted', message, untilMs };
  }
  if (underWay < policy.maxConcurrent) return { kind: 'now' };
  return {
    kind: 'wait',
    reason: 'StartQueued',
    message: `waits for its turn: ${underWay} others are being started (max-concurrent-starts is ${policy.maxConcurrent})`,
    untilMs: nowMs + lookAgainMs,
  };
}

export interface StartGateDeps {
  readonly policy: StartPolicy;
  readonly now: () => number;
  /** Has the container of this key looked at again. */
  readonly wake: (key: string) => void;
  /** After so long a start that goes on gives its turn to the next; 5 s by default. */
  readonly slowMs?: number | undefined;
}

export class StartGate {
  readonly #deps: StartGateDeps;
  readonly #beganMs: number;
  readonly #underWay = new Set<string>();
  /** Keys in the order in which they came. */
  readonly #waiting = new Map<string, { readonly sinceMs: number; readonly standing: Standing }>();

  constructor(deps: StartGateDeps) {
    this.#deps = deps;
    this.#beganMs = deps.now();
  }

  /** For one that would start now. If it may, `run` follows before anything else is awaited. */
  turnOf(
    key: string,
    container: Pick<ContainerInfo, 'id' | 'state'>,
    history: TrackRecord,
  ): Turn | { readonly kind: 'wait-briefly'; readonly ms: number } {
    const { policy, now } = this.#deps;
    const nowMs = now();
    const turn = decideTurn({ container, policy, underWay: this.#underWay.size, beganMs: this.#beganMs, nowMs });
    if (turn.kind === 'now' || turn.reason !== 'StartQueued') {
      this.#waiting.delete(key);
      return turn;
    }
    const sinceMs = this.#waiting.get(key)?.sinceMs ?? nowMs;
    this.#waiting.set(key, { sinceMs, standing: standingOf(history, nowMs) });
    const isBrief = nowMs >= sinceMs && nowMs < sinceMs + briefMs;
    return isBrief ? { kind: 'wait-briefly', ms: sinceMs + briefMs - nowMs } : turn;
  }

  async run<T>(key: string, start: () => Promise<T>): Promise<T> {
    this.#underWay.add(key);
    const passOn = (): void => {
      if (!this.#underWay.delete(key)) return;
      const next = this.#next();
      if (next === undefined) return;
      this.#waiting.delete(next);
      this.#deps.wake(next);
    };
    const timer = setTimeout(passOn, this.#deps.slowMs ?? slowStartMs);
    try {
      return await start();
    } finally {
      clearTimeout(timer);
      passOn();
    }
  }

  /** The one that has waited longest among those of the best standing. */
  #next(): string | undefined {
    for (const wanted of standings)
      for (const [key, { standing }] of this.#waiting) if (standing === wanted) return key;
    return undefined;
  }
}
