import assert from 'node:assert/strict';
import fc from 'fast-check';
import { backoffDelayMs, drawFor } from '../../client/index.ts';

describe('backoffDelayMs', () => {
  const anyBackoff = fc.record({
    initialMs: fc.integer({ min: 0, max: 100_000 }),
    factor: fc.double({ min: 1, max: 100, noNaN: true }),
    maxMs: fc.integer({ min: 0, max: 10_000_000 }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    resetAfterMs: fc.constant(60_000),
  });
  const chance = fc.double({ min: 0, max: 1, noNaN: true });

  it('is a whole number from 0 to the maximum, whatever the numbers', () => {
    fc.assert(
      fc.property(anyBackoff, fc.integer({ min: 1, max: 100_000 }), chance, (any, attempt, random) => {
        const delayMs = backoffDelayMs(any, attempt, random);
        return Number.isInteger(delayMs) && delayMs >= 0 && delayMs <= any.maxMs;
      }),
    );
  });
  it('waits after a second exit in a row even with an initial wait of 0, so that a loop is no storm', () => {
    const none = { initialMs: 0, factor: 2, maxMs: 60_000, jitter: 0, resetAfterMs: 60_000 };
    const delays = [1, 2, 3, 100_001].map((attempt) => backoffDelayMs(none, attempt, 0.5));
    assert.deepEqual(delays, [0, 100, 200, 60_000]);
  });
  it('lies within the jitter around initial times factor to the power of the attempts before, below the maximum', () => {
    fc.assert(
      fc.property(anyBackoff, fc.integer({ min: 1, max: 1_000 }), chance, (any, attempt, random) => {
        const baseMs = Math.min(any.maxMs, any.initialMs * any.factor ** (attempt - 1));
        const delayMs = backoffDelayMs(any, attempt, random);
        const [least, most] = [baseMs * (1 - any.jitter), Math.min(any.maxMs, baseMs * (1 + any.jitter))];
        return any.initialMs === 0 || (Math.floor(least) <= delayMs && delayMs <= Math.ceil(most));
      }),
    );
  });
  it('never shrinks from one attempt to the next without jitter', () => {
    fc.assert(
      fc.property(
        anyBackoff,
        fc.integer({ min: 1, max: 1_000 }),
        (any, attempt) =>
          backoffDelayMs({ ...any, jitter: 0 }, attempt, 0.5) <=
          backoffDelayMs({ ...any, jitter: 0 }, attempt + 1, 0.5),
      ),
    );
  });
});

describe('drawFor', () => {
  it('gives the same number for the same words, and others for others', () => {
    assert.equal(drawFor('a', 1), drawFor('a', 1));
    assert.notEqual(drawFor('a', 1), drawFor('a', 2));
  });
  it('is between 0 and 1', () => {
    fc.assert(fc.property(fc.string(), (word) => drawFor(word) >= 0 && drawFor(word) <= 1));
  });
});
