/** How long to wait before the next try, and the chance in it. Pure. Durations in milliseconds. */
import { createHash } from 'node:crypto';

export interface Backoff {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Share of the wait, 0 to 1. */
  readonly jitter: number;
  readonly resetAfterMs: number;
}

/** The wait after a second exit in a row where spec.backoff.initial is 0. */
const stormFloorMs = 100;

/** The wait before the start that follows `attempt` exits in a row (1 or more); at most maxMs, jitter included. */
export function backoffDelayMs(backoff: Backoff, attempt: number, random: number): number {
  // Without an initial wait the first restart is at once; a loop of them would be a storm.
  const isLoop = backoff.initialMs === 0 && attempt > 1;
  const firstMs = isLoop ? stormFloorMs : backoff.initialMs;
  const exponent = isLoop ? attempt - 2 : attempt - 1;
  // 0 times a factor that overflowed is no number.
  const baseMs = firstMs === 0 ? 0 : Math.min(backoff.maxMs, firstMs * backoff.factor ** exponent);
  const spreadMs = Math.round(baseMs * (1 + backoff.jitter * (2 * random - 1)));
  return Math.min(backoff.maxMs, spreadMs);
}

/** A number from 0 to 1 that looks random but is the same for the same words: a restarted controller waits as long. */
export function drawFor(...words: readonly (string | number)[]): number {
  return createHash('sha256').update(words.join('\0')).digest().readUInt32BE(0) / 0xffff_ffff;
}
