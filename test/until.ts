/** Waits for a condition with a generous deadline, instead of sleeping. */
import { setTimeout as wait } from 'node:timers/promises';

/** Between two looks: short at first, but no longer than what passes quickly can be seen. */
const firstPauseMs = 5;
const longestPauseMs = 20;
/** A look that takes long, as one that starts a program, takes the processors from what is waited for. */
const pausePerLook = 2;
const longestPauseOfSlowLooksMs = 250;

/** Resolves when the condition holds; rejects after the deadline, saying what was waited for. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = 90_000,
): Promise<void> {
  await untilGiven(async () => ((await condition()) ? true : undefined), what, deadlineMs);
}

/** Resolves with what the look gives once that is neither undefined, null nor false; rejects as until does. */
export async function untilGiven<T>(
  look: () => T | Promise<T>,
  what: string,
  deadlineMs = 90_000,
): Promise<NonNullable<T>> {
  const endMs = performance.now() + deadlineMs;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 1.25)) {
    const lookedAtMs = performance.now();
    const value = await look();
    if (value !== undefined && value !== null && value !== false) return value as NonNullable<T>; // just checked
    if (performance.now() > endMs) throw new Error(`waited ${deadlineMs} ms in vain for ${what}`);
    const lookMs = performance.now() - lookedAtMs;
    await wait(Math.max(pauseMs, Math.min(longestPauseOfSlowLooksMs, lookMs * pausePerLook)));
  }
}
