/** Where a program can be killed, chosen from the steps that one was seen to take. Pure. */
import { createRandom } from '../chaos/random.ts';
import type { Step } from './step-hook.ts';

/** Before the nth step of this name, from 1 on, in a scenario or in `opening`. */
export interface Place {
  readonly scenario: string;
  readonly step: string;
  readonly nth: number;
}

/** What a program does from its begin until it has finished what it found: opening the runtime, and a scenario anew. */
export const opening = 'opening';

export interface TracedStep extends Step {
  readonly scenario: string;
  /** Not by the operation itself, but because something was seen meanwhile. */
  readonly isBackground: boolean;
}

export interface Candidate extends Place {
  /** The lines of ours that lead to it; candidates with the same ones stand for each other. */
  readonly signature: string;
}

/** So many callers make a step another one. */
const depth = 3;

export function signatureOf({ sites }: Pick<Step, 'sites'>): string {
  return sites.slice(0, depth).join(' ');
}

/** Where one can die in a scenario: before each step; of one that is repeated, before the first and the last. */
export function candidatesOf(steps: readonly TracedStep[], scenario: string): Candidate[] {
  const found = new Map<string, Candidate[]>();
  for (const traced of steps) {
    // What ends a run is done behind the scenario that ends it.
    if (traced.scenario !== scenario || (traced.isBackground && scenario !== 'stop')) continue;
    const [first, last] = found.get(traced.name) ?? [];
    const nth = (last?.nth ?? first?.nth ?? 0) + 1;
    const one = { scenario, step: traced.name, nth, signature: signatureOf(traced) };
    found.set(traced.name, first === undefined ? [one] : [first, one]);
  }
  return [...found.values()].flat();
}

export type Choice =
  | 'all'
  /** Without those that another stands for. */
  | 'distinct'
  /** So many of the distinct ones, another set for each seed, and besides those that match in SCENARIO: STEP. */
  | { readonly count: number; readonly seed: number; readonly always?: readonly RegExp[] };

export function choosePlaces(candidates: readonly Candidate[], choice: Choice): readonly Candidate[] {
  if (choice === 'all') return candidates;
  const seen = new Set<string>();
  const distinct = candidates.filter(({ signature }) => {
    const isNew = !seen.has(signature);
    seen.add(signature);
    return isNew;
  });
  if (choice === 'distinct') return distinct;
  const isChosen = (one: Candidate): boolean => choice.always?.some((form) => form.test(describePlace(one))) === true;
  const rest = candidates.filter((one) => distinct.includes(one) && !isChosen(one));
  return [...candidates.filter(isChosen), ...createRandom(choice.seed, 'places').shuffle(rest).slice(0, choice.count)];
}

export function describePlace({ scenario, step, nth }: Place): string {
  return `${scenario}: ${step}${nth === 1 ? '' : ` (${nth})`}`;
}
