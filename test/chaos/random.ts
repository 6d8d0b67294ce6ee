/** Chance that can be had again: the same seed gives the same numbers. Pure but for the state that each stream carries. */

export interface Random {
  /** From 0 to below 1. */
  next(): number;
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  /** One of at least one thing. */
  pick<T>(things: readonly T[]): T;
  /** The same things in another order. */
  shuffle<T>(things: readonly T[]): T[];
}

/** A stream of numbers; streams of one seed with different names are independent. Source: mulberry32, public domain. */
export function createRandom(seed: number, stream = ''): Random {
  let state = seed >>> 0;
  for (const letter of stream) state = (Math.imul(state, 31) + letter.charCodeAt(0)) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return {
    next,
    between,
    pick: (things) => {
      const thing = things[between(0, things.length - 1)];
      if (thing === undefined) throw new RangeError('there is nothing to pick from');
      return thing;
    },
    shuffle: (things) => {
      const left = [...things];
      return things.flatMap(() => left.splice(between(0, left.length - 1), 1));
    },
  };
}
