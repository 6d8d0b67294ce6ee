import assert from 'node:assert/strict';
import type { Backoff } from '../../client/index.ts';
import {
  decideRestart,
  type Ending,
  emptyStreak,
  type Restart,
  type RestartInput,
  type RestartRules,
  type Streak,
} from '../../controller/restart.ts';

const backoff: Backoff = { initialMs: 1_000, factor: 2, maxMs: 60_000, jitter: 0.1, resetAfterMs: 60_000 };

interface Given {
  readonly shouldRun?: boolean;
  readonly rules?: Partial<RestartRules>;
  readonly ending?: Ending;
  readonly ranForMs?: number;
  readonly streak?: Partial<Streak>;
  readonly random?: number;
  readonly endedAtMs?: number;
  readonly nowMs?: number;
}

/** A crash at 5 s, seen at 5.1 s. */
function inputOf({ rules, streak, ...rest }: Given): RestartInput {
  return {
    shouldRun: true,
    ending: { kind: 'exit', code: 1 },
    ranForMs: 200,
    random: 0.5,
    endedAtMs: 5_000,
    nowMs: 5_100,
    ...rest,
    rules: {
      policy: 'Always',
      backoff,
      maxRetries: undefined,
      maxDurationMs: undefined,
      exitCodes: [],
      ...rules,
    },
    streak: { ...emptyStreak, ...streak },
  };
}

type Outcome = { kind: 'again'; attempt: number; delayMs: number } | { kind: 'down'; because: string };

function outcomeOf(restart: Restart): Outcome {
  if (restart.kind === 'down') return { kind: 'down', because: restart.because };
  return { kind: 'again', attempt: restart.attempt, delayMs: restart.delayMs };
}

const fatal3 = [{ meaning: 'fatal', codes: [{ from: 3, to: 3 }], signals: [11] }] as const;
const code0: Ending = { kind: 'exit', code: 0 };
const cases: { it: string; given: Given; want: Outcome }[] = [
  {
    it: 'waits the initial delay after a first failure',
    given: {},
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'doubles the wait with every further failure',
    given: { streak: { failures: 3 } },
    want: { kind: 'again', attempt: 4, delayMs: 8_000 },
  },
  {
    it: 'never waits longer than the maximum',
    given: { streak: { failures: 2_000 }, random: 1 },
    want: { kind: 'again', attempt: 2_001, delayMs: 60_000 },
  },
  {
    it: 'shortens the wait by the whole jitter at most',
    given: { random: 0 },
    want: { kind: 'again', attempt: 1, delayMs: 900 },
  },
  {
    it: 'begins anew after a run of resetAfter',
    given: { streak: { failures: 7 }, ranForMs: 60_000 },
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'goes on counting after a run just shorter than resetAfter',
    given: { streak: { failures: 1 }, ranForMs: 59_999 },
    want: { kind: 'again', attempt: 2, delayMs: 2_000 },
  },
  {
    it: 'restarts an Always container that ended well',
    given: { ending: code0 },
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'restarts an UnlessStopped container as an Always one',
    given: { rules: { policy: 'UnlessStopped' }, ending: code0 },
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'leaves an OnFailure container that ended well',
    given: { rules: { policy: 'OnFailure' }, ending: code0 },
    want: { kind: 'down', because: 'Completed' },
  },
  {
    it: 'restarts an OnFailure container that failed',
    given: { rules: { policy: 'OnFailure' } },
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'leaves a Never container that failed',
    given: { rules: { policy: 'Never' } },
    want: { kind: 'down', because: 'PolicyForbids' },
  },
  {
    it: 'restarts as often as maxRetries says',
    given: { rules: { maxRetries: 3 }, streak: { failures: 2 } },
    want: { kind: 'again', attempt: 3, delayMs: 4_000 },
  },
  {
    it: 'gives up after maxRetries',
    given: { rules: { maxRetries: 3 }, streak: { failures: 3 } },
    want: { kind: 'down', because: 'RetriesUsedUp' },
  },
  {
    it: 'gives up at once with maxRetries 0',
    given: { rules: { maxRetries: 0 } },
    want: { kind: 'down', because: 'RetriesUsedUp' },
  },
  {
    it: 'makes a start that comes just within maxDuration',
    given: { rules: { maxDurationMs: 10_000 }, streak: { failures: 2, failingMs: 5_800 } },
    want: { kind: 'again', attempt: 3, delayMs: 4_000 },
  },
  {
    it: 'gives up when the next start would come later than maxDuration',
    given: { rules: { maxDurationMs: 10_000 }, streak: { failures: 2, failingMs: 5_801 } },
    want: { kind: 'down', because: 'DurationUsedUp' },
  },
  {
    it: 'measures maxDuration anew after a run of resetAfter',
    given: { rules: { maxDurationMs: 10_000 }, streak: { failures: 2, failingMs: 9_000 }, ranForMs: 60_000 },
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'never restarts after a fatal exit code',
    given: { rules: { exitCodes: fatal3 }, ending: { kind: 'exit', code: 3 } },
    want: { kind: 'down', because: 'Fatal' },
  },
  {
    it: 'never restarts after a fatal signal',
    given: { rules: { exitCodes: fatal3 }, ending: { kind: 'exit', code: 139, signal: 11 } },
    want: { kind: 'down', because: 'Fatal' },
  },
  {
    it: 'does not take the exit code of what it ended itself for the program’s',
    given: { rules: { exitCodes: fatal3, policy: 'OnFailure' }, ending: { kind: 'unhealthy', by: 'LivenessProbe' } },
    want: { kind: 'again', attempt: 1, delayMs: 1_000 },
  },
  {
    it: 'leaves a Never container whose probe failed',
    given: { rules: { policy: 'Never' }, ending: { kind: 'unhealthy', by: 'StartupProbe' } },
    want: { kind: 'down', because: 'PolicyForbids' },
  },
  {
    it: 'tries a fault of the host again under every policy and beyond every bound',
    given: {
      rules: { policy: 'Never', maxRetries: 0, maxDurationMs: 0 },
      ending: { kind: 'host-fault', of: 'create' },
      streak: { failures: 5, failingMs: 1e9, hostFailures: 2 },
    },
    want: { kind: 'again', attempt: 3, delayMs: 4_000 },
  },
  {
    it: 'does not ask a registry before its breaker lets it',
    given: { ending: { kind: 'host-fault', of: 'image', notBeforeMs: 35_100 } },
    want: { kind: 'again', attempt: 1, delayMs: 30_000 },
  },
  {
    it: 'holds a stop that was asked for against nobody',
    given: { ending: { kind: 'stopped' }, streak: { failures: 5 } },
    want: { kind: 'again', attempt: 0, delayMs: 0 },
  },
  {
    it: 'leaves what crashed while it was to be stopped',
    given: { shouldRun: false },
    want: { kind: 'down', because: 'Stopped' },
  },
];

describe('decideRestart', () => {
  for (const c of cases) it(c.it, () => assert.deepEqual(outcomeOf(decideRestart(inputOf(c.given))), c.want));

  it('counts faults of the host apart from exits, so that a full disk uses up no retries', () => {
    const { streak } = decideRestart(inputOf({ ending: { kind: 'host-fault', of: 'start' }, streak: { failures: 2 } }));
    assert.deepEqual(streak, { ...emptyStreak, failures: 2, hostFailures: 1 });
  });
  it('adds runs and waits up, not what the clock shows', () => {
    const first = decideRestart(inputOf({ rules: { maxDurationMs: 60_000 } }));
    assert.equal(first.streak.failingMs, 1_000);
    const second = decideRestart(
      inputOf({ rules: { maxDurationMs: 60_000 }, streak: first.streak, endedAtMs: 9e12, nowMs: 9e12 }),
    );
    assert.equal(second.streak.failingMs, 1_000 + 200 + 2_000);
  });
  it('counts the wait from the exit, and from now if the exit lies in the future', () => {
    const at = (endedAtMs: number): number | undefined => {
      const restart = decideRestart(inputOf({ endedAtMs }));
      return restart.kind === 'again' ? restart.atMs : undefined;
    };
    assert.deepEqual([at(5_000), at(4_000), at(9e12)], [6_000, 5_000, 6_100]);
  });
});
