import assert from 'node:assert/strict';
import { judge } from './judge.ts';
import { type FaultKind, planFaults } from './plan.ts';
import { type ChaosReport, formatReport, problemsOf, summarizeKinds } from './report.ts';

const kinds: readonly FaultKind[] = [
  { kind: 'process killed', targets: ['a', 'b', 'c'] },
  { kind: 'bridge deleted', targets: [] },
  { kind: 'disk full', targets: [] },
];
const pauseMs = [500, 1_500] as const;

describe('the plan of the chaos', () => {
  it('is the same for the same seed, and another for another', () => {
    const plan = planFaults({ seed: 7, kinds, forMs: 60_000, pauseMs });
    assert.deepEqual(planFaults({ seed: 7, kinds, forMs: 60_000, pauseMs }), plan);
    assert.notDeepEqual(planFaults({ seed: 8, kinds, forMs: 60_000, pauseMs }), plan);
  });
  it('has each kind once in a round, at rising times that end in time, with the targets that a kind has', () => {
    const plan = planFaults({ seed: 1, kinds, forMs: 60_000, pauseMs });
    assert.ok(plan.length > 30, `${plan.length} faults`);
    for (let at = 0; at + kinds.length <= plan.length; at += kinds.length)
      assert.deepEqual(
        new Set(plan.slice(at, at + kinds.length).map(({ kind }) => kind)),
        new Set(kinds.map(({ kind }) => kind)),
      );
    for (const [index, { kind, atMs, target }] of plan.entries()) {
      assert.ok(atMs > (plan[index - 1]?.atMs ?? 0) && atMs <= 60_000);
      assert.ok(kind === 'process killed' ? ['a', 'b', 'c'].includes(target ?? '') : target === undefined);
    }
  });
});

describe('the judge of the chaos', () => {
  const account = (
    name: string,
    shouldRun: boolean,
    value = '1',
    doubtful?: { shouldRun: boolean; value: string },
  ) => ({
    name,
    sure: { kind: 'present' as const, write: 1, value, shouldRun },
    doubtful: doubtful === undefined ? undefined : { kind: 'present' as const, write: 2, ...doubtful },
    isInFlight: false,
    changedAtMs: 0,
  });
  const runOf = (name: string, value = '1', pid = 1) => ({ name, value, pid, startTicks: 1, parentPid: 2 });
  const cases: {
    it: string;
    accounts: ReturnType<typeof account>[];
    runs: ReturnType<typeof runOf>[];
    want: string[];
  }[] = [
    {
      it: 'has nothing to say when what should run runs',
      accounts: [account('a', true)],
      runs: [runOf('a')],
      want: [],
    },
    { it: 'misses what should run', accounts: [account('a', true)], runs: [], want: ['missing a'] },
    { it: 'sees what should not run', accounts: [account('a', false)], runs: [runOf('a')], want: ['unwanted a'] },
    { it: 'sees what nobody wrote', accounts: [], runs: [runOf('a')], want: ['unwanted a'] },
    {
      it: 'sees two of one',
      accounts: [account('a', true)],
      runs: [runOf('a'), runOf('a', '1', 2)],
      want: ['doubled a'],
    },
    {
      it: 'wants the process of the last spec',
      accounts: [account('a', true, '2')],
      runs: [runOf('a', '1')],
      want: ['unwanted a', 'missing a'],
    },
    {
      it: 'lets either spec run while one is in doubt, and neither',
      accounts: [
        account('a', true, '1', { shouldRun: true, value: '2' }),
        account('b', true, '1', { shouldRun: false, value: '1' }),
      ],
      runs: [runOf('a', '2')],
      want: [],
    },
    { it: 'lets one that may rest do so', accounts: [account('rests', true)], runs: [], want: [] },
  ];
  for (const { it: what, accounts, runs, want } of cases)
    it(what, () => {
      const complaints = judge({ accounts, runs, mayRest: new Set(['rests']) });
      assert.deepEqual(
        complaints.map(({ kind, name }) => `${kind} ${name}`),
        want,
      );
    });
});

describe('the report of the chaos', () => {
  const healed = (kind: string, healedAfterMs: number) => ({
    kind,
    target: undefined,
    plannedAtMs: 1_000,
    healedAfterMs,
    flaw: undefined,
  });
  const report: ChaosReport = {
    seed: 5,
    seconds: 60,
    containers: 30,
    outcomes: [healed('a', 1_000), healed('a', 3_000), healed('b', 2_000)],
    writes: { acknowledged: 10, doubted: 1 },
    looks: 100,
    daemonStarts: 1,
    lostWrites: [],
    doubled: [],
    failures: [],
  };
  it('counts by kind, with median, p99 and maximum, and in all', () => {
    assert.deepEqual(summarizeKinds(report.outcomes), [
      { kind: 'a', injected: 2, healed: 2, medianMs: 1_000, p99Ms: 3_000, maxMs: 3_000 },
      { kind: 'b', injected: 1, healed: 1, medianMs: 2_000, p99Ms: 2_000, maxMs: 2_000 },
      { kind: 'all', injected: 3, healed: 3, medianMs: 2_000, p99Ms: 3_000, maxMs: 3_000 },
    ]);
    assert.match(formatReport(report), /seed 5.*every fault was healed/s);
  });
  it('has a problem for each fault that was not healed and for whatever was lost, doubled or failed', () => {
    const bad: ChaosReport = {
      ...report,
      outcomes: [{ ...healed('a', 0), healedAfterMs: undefined, flaw: 'it is down' }],
      lostWrites: ['x'],
      doubled: ['y'],
      failures: ['z'],
    };
    assert.deepEqual(problemsOf(bad), ['not healed: a of second 1: it is down', 'lost: x', 'doubled: y', 'z']);
    assert.doesNotMatch(formatReport(bad), /every fault was healed/);
  });
});
