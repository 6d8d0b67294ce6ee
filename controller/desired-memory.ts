/**
 * What was parsed from the objects that were looked at last: a container that fails again and again is looked at some times
 * for each run, while its object changes seldom. Pure but for its memory.
 */
import type { Container } from '../crds/index.ts';
import { type Desired, keyOf, parseDesired } from './desired.ts';

/** A few kilobytes each. */
const maxRemembered = 1_024;

export type ParseObject = (object: Container) => Desired;

/** parseDesired, which answers at once for the very object that it parsed last under its key. */
export function createDesiredMemory(max: number = maxRemembered): ParseObject {
  const remembered = new Map<string, { readonly object: Container; readonly desired: Desired }>();
  return (object) => {
    const key = keyOf(object);
    const known = remembered.get(key);
    if (known?.object === object) return known.desired;
    const desired = parseDesired(object);
    remembered.delete(key);
    remembered.set(key, { object, desired });
    for (const oldest of remembered.keys()) {
      if (remembered.size <= max) break;
      remembered.delete(oldest);
    }
    return desired;
  };
}
