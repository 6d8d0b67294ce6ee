import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Backoff,
  backoffDelayMs,
  decideRestart,
  drawFor,
  type Restart,
  type RestartInput,
} from '../../controller/restart.ts';

const backoff: Backoff = { initialMs: 1_000, factor: 2, maxMs: 60_000, jitter: 0.1, resetAfterMs: 60_000 };
const crash: RestartInput = {
  policy: 'Always',
  backoff,
  maxRetries: undefined,
  failures: 0,
  random: 0.5,
  exit: { code: 1, ranForMs: 200 },
};

const cases: { it: string; given: Partial<RestartInput>; want: Restart }[] = [
  {
    it: 'waits the initial delay after a first failure',
    given: {},
    want: { kind: 'after', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'doubles the wait with every further failure',
    given: { failures: 3 },
    want: { kind: 'after', attempt: 4, delayMs: 8_000 },
  },
  {
    it: 'never waits longer than the maximum',
    given: { failures: 2_000, random: 1 },
    want: { kind: 'after', attempt: 2_001, delayMs: 60_000 },
  },
  {
    it: 'shortens the wait by the whole jitter at most',
    given: { random: 0 },
    want: { kind: 'after', attempt: 1, delayMs: 900 },
  },
  {
    it: 'begins anew after a run of resetAfter',
    given: { failures: 7, exit: { code: 1, ranForMs: 60_000 } },
    want: { kind: 'after', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'goes on counting after a run just shorter than resetAfter',
    given: { failures: 1, exit: { code: 1, ranForMs: 59_999 } },
    want: { kind: 'after', attempt: 2, delayMs: 2_000 },
  },
  {
    it: 'restarts an Always container that ended well',
    given: { exit: { code: 0, ranForMs: 5 } },
    want: { kind: 'after', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'restarts an UnlessStopped container as an Always one',
    given: { policy: 'UnlessStopped', exit: { code: 0, ranForMs: 5 } },
    want: { kind: 'after', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'leaves an OnFailure container that ended well',
    given: { policy: 'OnFailure', exit: { code: 0, ranForMs: 5 } },
    want: { kind: 'never', because: 'Completed', attempt: 1 },
  },
  {
    it: 'restarts an OnFailure container that failed',
    given: { policy: 'OnFailure' },
    want: { kind: 'after', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'leaves a Never container that failed',
    given: { policy: 'Never' },
    want: { kind: 'never', because: 'PolicyForbids', attempt: 1 },
  },
  {
    it: 'restarts as often as maxRetries says',
    given: { maxRetries: 3, failures: 2 },
    want: { kind: 'after', attempt: 3, delayMs: 4_000 },
  },
  {
    it: 'gives up after maxRetries',
    given: { maxRetries: 3, failures: 3 },
    want: { kind: 'never', because: 'RetriesUsedUp', attempt: 4 },
  },
  {
    it: 'gives up at once with maxRetries 0',
    given: { maxRetries: 0 },
    want: { kind: 'never', because: 'RetriesUsedUp', attempt: 1 },
  },
  {
    it: 'waits after a second exit in a row even with an initial wait of 0, so that a loop is no storm',
    given: { failures: 1, backoff: { ...backoff, initialMs: 0 } },
    want: { kind: 'after', attempt: 2, delayMs: 100 },
  },
  {
    it: 'reaches the maximum with an initial wait of 0 too',
    given: { failures: 100_000, backoff: { ...backoff, initialMs: 0 } },
    want: { kind: 'after', attempt: 100_001, delayMs: 60_000 },
  },
  {
    it: 'does not wait with an initial wait of 0',
    given: { backoff: { ...backoff, initialMs: 0 } },
    want: { kind: 'after', attempt: 1, delayMs: 0 },
  },
];

describe('decideRestart', () => {
  for (const c of cases) it(c.it, () => assert.deepEqual(decideRestart({ ...crash, ...c.given }), c.want));
});

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
