/** In which order containers stop that are all to stop, known by their labels alone. Pure; used by `holdfast down`. */
import { labelKeys } from './desired.ts';

interface Labelled {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** By id, the ids of those that are to have stopped before it: whoever depends on it. Never runs in a circle. */
export function planStop(containers: readonly Labelled[]): ReadonlyMap<string, readonly string[]> {
  const keyOf = ({ labels }: Labelled, name: string): string => `${labels[labelKeys.namespace] ?? ''}/${name}`;
  const idByKey = new Map(containers.map((one) => [keyOf(one, one.labels[labelKeys.name] ?? ''), one.id]));
  const before = new Map<string, string[]>(containers.map(({ id }) => [id, []]));
  /** Whether that one is waited for by this one, through others too. */
  const waitsFor = (id: string, other: string): boolean => {
    const seen = new Set([id]);
    for (const one of seen) for (const next of before.get(one) ?? []) seen.add(next);
    return seen.has(other);
  };
  for (const dependent of containers) {
    const names = (dependent.labels[labelKeys.dependsOn] ?? '').split(',').filter((name) => name !== '');
    for (const name of names) {
      const id = idByKey.get(keyOf(dependent, name));
      // The specs of a circle were changed one after the other; one of its edges gives way.
      if (id !== undefined && !waitsFor(dependent.id, id)) before.get(id)?.push(dependent.id);
    }
  }
  return before;
}
