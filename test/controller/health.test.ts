import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  afterPostStart,
  afterProbe,
  beginHealth,
  describeUnready,
  dueProbes,
  followPlan,
  furtherHealth,
  type Health,
  type ProbeOutcome,
  parseFailure,
  probeDelayMs,
} from '../../controller/health.ts';
import type { HealthPlan, ProbeKind, ProbeSettings } from '../../controller/probe-spec.ts';

const probe = (change: Partial<ProbeSettings> = {}): ProbeSettings => ({
  action: { kind: 'tcp', port: 80 },
  ...{ initialDelayMs: 0, periodMs: 10_000, timeoutMs: 1_000, successThreshold: 1, failureThreshold: 3, ...change },
});
const hook = { kind: 'sleep', ms: 1 } as const;

type Happening = readonly [ProbeKind | 'postStart', ProbeOutcome['result']];
const run = (plan: HealthPlan, happenings: readonly Happening[], from = beginHealth(plan, 1_000)): Health =>
  happenings.reduce((health, [what, result]) => {
    const outcome = { result, message: `said ${result}` };
    return what === 'postStart' ? afterPostStart(plan, health, outcome) : afterProbe(plan, health, what, outcome);
  }, from);
const times = (count: number, ...happening: Happening): Happening[] => Array.from({ length: count }, () => happening);

const all: HealthPlan = { startup: probe(), liveness: probe(), readiness: probe(), postStart: hook };
const cases: {
  it: string;
  plan: HealthPlan;
  given: readonly Happening[];
  want: { isStarted: boolean; isReady: boolean; failure?: string; due: readonly ProbeKind[]; unready?: string };
}[] = [
  {
    it: 'is started and ready at once if nothing is asked for',
    plan: {},
    given: [],
    want: { isStarted: true, isReady: true, due: [] },
  },
  {
    it: 'waits for the postStart hook before it probes',
    plan: all,
    given: [],
    want: { isStarted: false, isReady: false, due: [], unready: 'Starting' },
  },
  {
    it: 'makes the startup probe alone at first',
    plan: all,
    given: [['postStart', 'success']],
    want: { isStarted: false, isReady: false, due: ['startup'], unready: 'Starting' },
  },
  {
    it: 'makes the other probes once the startup probe has succeeded, and never that again',
    plan: all,
    given: [
      ['postStart', 'success'],
      ['startup', 'failure'],
      ['startup', 'success'],
      ...times(5, 'startup', 'failure'),
    ],
    want: { isStarted: true, isReady: false, due: ['liveness', 'readiness'], unready: 'ReadinessProbeFailed' },
  },
  {
    it: 'fails with the startup probe after its threshold',
    plan: { startup: probe({ failureThreshold: 2 }) },
    given: times(2, 'startup', 'failure'),
    want: { isStarted: false, isReady: false, failure: 'StartupProbe', due: [], unready: 'StartupProbeFailed' },
  },
  {
    it: 'fails with the postStart hook',
    plan: all,
    given: [['postStart', 'failure']],
    want: { isStarted: false, isReady: false, failure: 'PostStartHook', due: [], unready: 'PostStartHookFailed' },
  },
  {
    it: 'takes a postStart hook that could not be run as due still',
    plan: all,
    given: [['postStart', 'unknown']],
    want: { isStarted: false, isReady: false, due: [], unready: 'Starting' },
  },
  {
    it: 'is ready without a readiness probe, while the liveness probe has not failed often enough',
    plan: { liveness: probe() },
    given: times(2, 'liveness', 'failure'),
    want: { isStarted: true, isReady: true, due: ['liveness'] },
  },
  {
    it: 'fails with the liveness probe after its threshold',
    plan: { liveness: probe() },
    given: times(3, 'liveness', 'failure'),
    want: { isStarted: true, isReady: false, failure: 'LivenessProbe', due: [], unready: 'LivenessProbeFailed' },
  },
  {
    it: 'counts failures in a row only',
    plan: { liveness: probe() },
    given: [...times(2, 'liveness', 'failure'), ['liveness', 'success'], ...times(2, 'liveness', 'failure')],
    want: { isStarted: true, isReady: true, due: ['liveness'] },
  },
  {
    it: 'learns nothing from a probe that could not be made',
    plan: { liveness: probe() },
    given: [...times(2, 'liveness', 'failure'), ...times(9, 'liveness', 'unknown')],
    want: { isStarted: true, isReady: true, due: ['liveness'] },
  },
  {
    it: 'takes a warning for a success',
    plan: { readiness: probe() },
    given: [['readiness', 'warning']],
    want: { isStarted: true, isReady: true, due: ['readiness'] },
  },
  {
    it: 'becomes ready after so many successes',
    plan: { readiness: probe({ successThreshold: 3 }) },
    given: times(2, 'readiness', 'success'),
    want: { isStarted: true, isReady: false, due: ['readiness'], unready: 'ReadinessProbeFailed' },
  },
  {
    it: 'is not ready after so many failures, and is not ended for that',
    plan: { readiness: probe() },
    given: [['readiness', 'success'], ...times(9, 'readiness', 'failure')],
    want: { isStarted: true, isReady: false, due: ['readiness'], unready: 'ReadinessProbeFailed' },
  },
];

describe('the health of a run', () => {
  for (const c of cases)
    it(c.it, () => {
      const health = run(c.plan, c.given);
      const { isStarted, isReady, failure } = health;
      const unready = describeUnready(health)?.reason;
      assert.deepEqual(
        { isStarted, isReady, failure: failure?.by, due: dueProbes(c.plan, health), unready },
        { failure: undefined, unready: undefined, ...c.want },
      );
    });
  it('has the grace and the words of the probe that failed', () => {
    const plan = { liveness: probe({ failureThreshold: 1, graceMs: 5_000 }) };
    const { failure } = run(plan, [['liveness', 'failure']]);
    assert.deepEqual(failure, {
      by: 'LivenessProbe',
      message: 'liveness probe failed: said failure',
      graceMs: 5_000,
    });
  });
  it('does not wait for what is no longer asked for, and takes back nothing for what is asked for now', () => {
    const waiting = run(all, [['postStart', 'success']]);
    const without = followPlan({ readiness: probe() }, waiting);
    assert.deepEqual([without.isStarted, without.isReady], [true, false]);
    const plain = run({}, []);
    assert.equal(followPlan(all, plain), plain);
  });
  it('says what the readiness probe said when it turned, not what it says each time', () => {
    const plan = { readiness: probe({ failureThreshold: 1 }) };
    const first = afterProbe(plan, run(plan, [['readiness', 'success']]), 'readiness', {
      result: 'failure',
      message: 'first',
    });
    const second = afterProbe(plan, first, 'readiness', { result: 'failure', message: 'second' });
    assert.equal(describeUnready(second)?.message, 'readiness probe failed: first');
  });
  it('is known again from what is told of it, and the memory that has gone further counts', () => {
    const plan = { liveness: probe({ failureThreshold: 1 }) };
    const begun = run(all, []);
    const fine = run(plan, [['liveness', 'success']]);
    const failed = run(plan, [['liveness', 'failure']]);
    const told = describeUnready(failed);
    assert.deepEqual(parseFailure(told?.reason ?? '', told?.message ?? ''), {
      by: 'LivenessProbe',
      message: 'liveness probe failed: said failure',
    });
    assert.equal(parseFailure('Terminating', 'was asked to stop'), undefined);
    for (const [one, other, want] of [
      [begun, fine, fine],
      [fine, begun, fine],
      [fine, failed, failed],
      [failed, fine, failed],
      [undefined, fine, fine],
      [fine, { ...failed, runMs: 2 }, fine],
    ] as const)
      assert.equal(furtherHealth(one, other), want);
  });
  it('never goes back from a failure, nor from having started, whatever comes', () => {
    const kinds = fc.constantFrom<Happening[0]>('startup', 'liveness', 'readiness', 'postStart');
    const results = fc.constantFrom<Happening[1]>('success', 'warning', 'failure', 'unknown');
    fc.assert(
      fc.property(fc.array(fc.tuple(kinds, results), { maxLength: 60 }), (happenings) => {
        let health = beginHealth(all, 1_000);
        for (const happening of happenings) {
          const after = run(all, [happening], health);
          if (health.failure !== undefined) assert.equal(after.failure, health.failure);
          if (health.isStarted) assert.ok(after.isStarted);
          assert.ok(!after.isReady || (after.isStarted && after.failure === undefined));
          health = after;
        }
      }),
    );
  });
});

describe('probeDelayMs', () => {
  const settings = probe({ initialDelayMs: 5_000 });
  const rows: { it: string; at: Parameters<typeof probeDelayMs>[1]; want: number }[] = [
    { it: 'waits for the initial delay', at: { runMs: 1_000, nowMs: 2_000, sinceLastMs: undefined }, want: 4_000 },
    { it: 'is due when that is over', at: { runMs: 1_000, nowMs: 90_000, sinceLastMs: undefined }, want: 0 },
    {
      it: 'waits no longer than that where the clock was set back',
      at: { runMs: 90_000, nowMs: 1_000, sinceLastMs: undefined },
      want: 5_000,
    },
    { it: 'waits for the rest of the period', at: { runMs: 0, nowMs: 0, sinceLastMs: 3_000 }, want: 7_000 },
    { it: 'is due at once after a probe that took longer', at: { runMs: 0, nowMs: 0, sinceLastMs: 12_000 }, want: 0 },
  ];
  for (const row of rows) it(row.it, () => assert.equal(probeDelayMs(settings, row.at), row.want));
});
