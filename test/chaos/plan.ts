/** Which fault hits what, and when: a function of the seed. Pure. */
import { createRandom } from './random.ts';

/** What a plan needs to know of a kind of fault. */
export interface FaultKind {
  readonly kind: string;
  /** Names of the containers that it can hit; none: it hits the host or the daemon. */
  readonly targets: readonly string[];
}

export interface PlannedFault {
  readonly kind: string;
  /** Since the beginning of the chaos. */
  readonly atMs: number;
  readonly target: string | undefined;
  /** Of a fault that lasts, such as a full disk. */
  readonly lastsMs: number;
}

export interface PlanInput {
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  readonly forMs: number;
  /** Between two faults; on average half the sum. */
  readonly pauseMs: readonly [low: number, high: number];
}

const lastsMs = [1_000, 4_000] as const;

/** Kinds come in rounds, each kind once in a round, so that a short plan has as many kinds as it can. */
export function planFaults({ seed, kinds, forMs, pauseMs }: PlanInput): readonly PlannedFault[] {
  const random = createRandom(seed, 'faults');
  const plan: PlannedFault[] = [];
  let atMs = 0;
  for (;;) {
    for (const { kind, targets } of random.shuffle(kinds)) {
      atMs += random.between(...pauseMs);
      if (atMs > forMs) return plan;
      const target = targets.length === 0 ? undefined : random.pick(targets);
      plan.push({ kind, atMs, target, lastsMs: random.between(...lastsMs) });
    }
  }
}
