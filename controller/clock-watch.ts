/**
 * Notices that the wall clock was set, or that the host slept: what is due by that clock waits on timers that know nothing
 * of it. Effects: a timer.
 */

export interface ClockWatchDeps {
  /** The wall clock. */
  readonly now: () => number;
  /** A clock that only ever goes on, and stands still while the host sleeps. */
  readonly monotonic: () => number;
  /** `byMs`: how far the wall clock went ahead of the other; negative if it was set back. */
  readonly onJump: (byMs: number) => void;
  /** By default 1 s, for waits are seconds too. */
  readonly everyMs?: number | undefined;
}

/** Slewing by NTP is at most 0.5 ms a second; less than this delays nothing that anybody would notice. */
const leastJumpMs = 500;

export function watchClock({ now, monotonic, onJump, everyMs }: ClockWatchDeps): { close(): void } {
  let offsetMs = now() - monotonic();
  const timer = setInterval(() => {
    const seenMs = now() - monotonic();
    const byMs = seenMs - offsetMs;
    offsetMs = seenMs;
    if (Math.abs(byMs) >= leastJumpMs) onJump(Math.round(byMs));
  }, everyMs ?? 1_000);
  return { close: () => clearInterval(timer) };
}
