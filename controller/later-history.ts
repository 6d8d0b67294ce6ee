/** Which of two memories of one container is the later one: the host's checkpoint, or the status in the store. Pure. */
import { furtherHealth } from './health.ts';
import type { History } from './history.ts';

/**
 * While the store was away only the checkpoint went on; a controller that was killed may have written a status that its
 * checkpoint does not have yet. Of two that tell of the same runs the checkpoint has more in it.
 */
export function laterHistory(checkpointed: History | undefined, fromStatus: History): History {
  if (checkpointed === undefined) return fromStatus;
  const steps = (history: History): readonly number[] => [
    history.restartCount,
    history.seenExitMs ?? 0,
    history.seenStartMs ?? 0,
  ];
  const theirs = steps(fromStatus);
  for (const [index, ours] of steps(checkpointed).entries()) {
    const other = theirs[index] ?? 0;
    if (ours !== other) return ours > other ? checkpointed : fromStatus;
  }
  const health = furtherHealth(checkpointed.health, fromStatus.health);
  return health === checkpointed.health ? checkpointed : { ...checkpointed, health };
}
