/**
 * How often statuses of containers that fail again and again are written: each write has its turn, and what changes until
 * then is written with it, so that a thousand crash loops do not keep store and watchers busy. Pure but for its memory.
 */

/** Turns per second, and how many may come at once after a quiet time. */
export interface Pace {
  readonly perSecond: number;
  readonly burst: number;
}

/** A single crash loop, or some dozens, never wait. */
export const defaultPace: Pace = { perSecond: 100, burst: 100 };

/** No turn is further away, however many wait; also the sign that a clock was set back. */
export const maxTurnMs = 60_000;

/**
 * What was prepared is mostly started at once (docker run): the status that tells of the first is left out then, which would
 * be written while the start is asked for. Ten milliseconds of a start (measured 2026-11).
 */
export const preparedPauseMs = 25;

export interface StatusPace {
  /** Takes the next free turn and says when it is: in the past while few are taken. */
  takeTurn(nowMs: number): number;
}

export function createStatusPace({ perSecond, burst }: Pace = defaultPace): StatusPace {
  const everyMs = 1_000 / perSecond;
  let lastMs = -Infinity;
  return {
    takeTurn: (nowMs) => {
      lastMs = Math.min(Math.max(lastMs + everyMs, nowMs - burst * everyMs), nowMs + maxTurnMs);
      return lastMs;
    },
  };
}
