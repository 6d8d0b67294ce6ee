/**
 * Whose turn comes first where many wait for a worker or for their start: what has done its work until now before what is
 * new, and that before what fails again and again. Pure.
 */
import type { History } from './history.ts';

export type Standing = 'proven' | 'unproven' | 'sick';

/** From the first to the last. */
export const standings = ['proven', 'unproven', 'sick'] as const satisfies readonly Standing[];

/** Failures in a row after which a container counts as sick: others come before it. */
export const sickAfter = 2;
/** A run that lasted less is no proof: a crash loop has such runs too. */
const provenMs = 1_000;

/** What of a history the standing comes from. */
export type TrackRecord = Pick<History, 'failures' | 'seenStartMs' | 'seenExitMs'>;

/** undefined: nothing is known of it yet. Its last run counts, whether it goes on or has ended. */
export function standingOf(history: TrackRecord | undefined, nowMs: number): Standing {
  if (history === undefined) return 'unproven';
  const { failures, seenStartMs, seenExitMs } = history;
  if (failures >= sickAfter) return 'sick';
  if (seenStartMs === undefined) return 'unproven';
  const endMs = seenExitMs !== undefined && seenExitMs >= seenStartMs ? seenExitMs : nowMs;
  return endMs - seenStartMs >= provenMs ? 'proven' : 'unproven';
}
