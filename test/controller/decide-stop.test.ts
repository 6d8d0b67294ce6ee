/** Stops: what for, in which steps, and what they wait for. */
import assert from 'node:assert/strict';
import { type DecideInput, decide, decideHalt, type Step } from '../../controller/decide.ts';
import { labelKeys } from '../../controller/desired.ts';
import type { Health } from '../../controller/health.ts';
import { emptyHistory, type History } from '../../controller/history.ts';
import { container, desired, paused, running } from './fixtures.ts';

const base: DecideInput = {
  isDeleting: false,
  hasFinalizer: true,
  desired: desired(),
  mutableHash: 'm',
  container: container(running()),
  image: { kind: 'unknown' },
  dependencies: [],
  hasPredecessor: false,
  history: emptyHistory,
  nowMs: 10_000,
};
const history = (change: Partial<History>): History => ({ ...emptyHistory, ...change });
const failed = (graceMs?: number): Health => ({
  ...{ runMs: 1_000, postStart: 'done', isStarted: true, isReady: false, streaks: {} },
  failure: { by: 'LivenessProbe', message: 'liveness probe failed: no', graceMs },
});
const hook = { lifecycle: { preStop: { sleep: { seconds: 5 } } } };
const hooked = desired({ spec: hook });
const stopped = desired({ spec: { ...hook, desiredState: 'Stopped' } });
const under = (change: Partial<NonNullable<History['stop']>>): History =>
  history({ stop: { sinceMs: 9_000, killAtMs: 39_000, isWithdrawn: false, awaitsPreStop: true, ...change } });
const hold = { untilMs: 12_000, message: 'stops when "app" has stopped, which need it' };
const other = { [labelKeys.specHash]: 'other', [labelKeys.preStop]: '{"kind":"sleep","ms":1}' };
const restarting = desired({ spec: { dependsOn: [{ name: 'db', condition: 'Started', restartOn: 'Restart' }] } });
const db = { name: 'db', state: 'running', runMs: 9_000, ports: [], env: [] } as const;

const cases: { it: string; given: Partial<DecideInput>; want: Step }[] = [
  {
    it: 'stops what failed its probe, with the grace of the container',
    given: { history: history({ health: failed() }) },
    want: { kind: 'stop', killAtMs: 40_000, because: 'unhealthy' },
  },
  {
    it: 'stops what failed its probe, with the grace of the probe',
    given: { history: history({ health: failed(4_000) }) },
    want: { kind: 'stop', killAtMs: 14_000, because: 'unhealthy' },
  },
  {
    it: 'does its hook first',
    given: { desired: hooked, history: history({ health: failed() }) },
    want: { kind: 'pre-stop', killAtMs: 40_000, because: 'unhealthy' },
  },
  {
    it: 'has the desired stop come before the unhealthy one',
    given: { desired: stopped, history: history({ health: failed(1) }) },
    want: { kind: 'pre-stop', killAtMs: 40_000, because: 'stopped' },
  },
  {
    it: 'waits for the hook',
    given: { desired: stopped, preStop: 'running', history: under({}) },
    want: { kind: 'wait', reason: 'Terminating', message: 'its preStop hook is done', untilMs: 39_000 },
  },
  {
    it: 'begins the hook anew after a restart of the controller, in what is left of the grace',
    given: { desired: stopped, preStop: 'idle', history: under({}) },
    want: { kind: 'pre-stop', killAtMs: 39_000, because: 'stopped' },
  },
  {
    it: 'sends the signal when the hook is done',
    given: { desired: stopped, preStop: 'done', history: under({}) },
    want: { kind: 'stop', killAtMs: 39_000, because: 'stopped' },
  },
  {
    it: 'sends the signal when the hook has taken all of the grace, and leaves two seconds more',
    given: { desired: stopped, preStop: 'running', history: under({}), nowMs: 39_000 },
    want: { kind: 'stop', killAtMs: 41_000, because: 'stopped' },
  },
  {
    it: 'does the hook of the spec that it was made from when it is replaced',
    given: { container: container(running(), { labels: other }) },
    want: { kind: 'pre-stop', killAtMs: 40_000, because: 'replaced' },
  },
  {
    it: 'lets go on what is frozen, so that it can do its hook',
    given: { desired: stopped, container: container(paused()) },
    want: { kind: 'resume' },
  },
  {
    it: 'does no hook without a grace',
    given: { desired: desired({ spec: { ...hook, desiredState: 'Stopped', terminationGracePeriodSeconds: 0 } }) },
    want: { kind: 'kill' },
  },
  ...[{ isDeleting: true }, { desired: stopped }].map((given) => ({
    it: `waits for those that depend on it when it is ${'desired' in given ? 'stopped' : 'deleted'}`,
    given: { ...given, hold },
    want: { kind: 'wait', reason: 'WaitingForDependents', message: hold.message, untilMs: 12_000 } as const,
  })),
  {
    it: 'is restarted with what it depends on',
    given: {
      desired: restarting,
      dependencies: [db],
      container: container(running(), { labels: { [labelKeys.specHash]: restarting.specHash } }),
      history: history({ startedWith: { db: 500 } }),
    },
    want: { kind: 'stop', killAtMs: 40_000, because: 'restarted' },
  },
];

describe('decide, about stops', () => {
  for (const c of cases) it(c.it, () => assert.deepEqual(decide({ ...base, ...c.given }), c.want));

  it('ends in a kill from every state, on a clock that goes on, whatever becomes of the hook', () => {
    for (const preStop of ['none', 'idle', 'running', 'done'] as const) {
      let stop: History['stop'];
      let nowMs = 0;
      const steps: string[] = [];
      for (let count = 0; count < 20 && steps.at(-1) !== 'kill'; count += 1) {
        const step = decideHalt({ stop, graceMs: 5_000, preStop, nowMs }, 'stopped');
        steps.push(step.kind);
        if (step.kind === 'wait') nowMs = step.untilMs;
        if (step.kind === 'pre-stop' || step.kind === 'stop') {
          const awaitsPreStop = step.kind === 'pre-stop' ? true : undefined;
          stop = { sinceMs: stop?.sinceMs ?? nowMs, killAtMs: step.killAtMs, isWithdrawn: false, awaitsPreStop };
          if (step.kind === 'stop') stop = { ...stop, sinceMs: nowMs };
          nowMs += 1_000;
        }
      }
      assert.equal(steps.at(-1), 'kill', `${preStop}: ${steps.join(', ')}`);
      assert.equal(steps.filter((one) => one === 'stop').length, 1, `${preStop}: ${steps.join(', ')}`);
      assert.equal(steps.includes('pre-stop'), preStop !== 'none');
      assert.ok(nowMs <= 9_000, `${preStop}: killed after ${nowMs} ms`);
    }
  });
});
