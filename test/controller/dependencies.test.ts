import assert from 'node:assert/strict';
import {
  type Dependent,
  decideHold,
  findRestarted,
  findUnmet,
  gatherMs,
  rememberRuns,
} from '../../controller/dependencies.ts';
import { labelKeys } from '../../controller/desired.ts';
import type { Dependency } from '../../controller/links.ts';
import { planStop } from '../../controller/stop-order.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import { desired } from './fixtures.ts';

type Condition = NonNullable<ContainerSpec['dependsOn']>[number]['condition'];
const needing = (condition: Condition, restartOn: 'Never' | 'Restart' = 'Never') =>
  desired({ spec: { dependsOn: [{ name: 'db', condition, restartOn }] } });
const linked = (dependsOn: ContainerSpec['dependsOn']) => desired({ spec: { links: [{ name: 'db' }], dependsOn } });
const db = (change: Partial<Dependency>): Dependency => ({
  name: 'db',
  state: 'running',
  ports: [],
  env: [],
  ...change,
});
const starting = { isStarted: false, isReady: false, message: 'its startup probe has not succeeded yet' };
const unready = { isStarted: true, isReady: false, message: 'readiness probe failed: 503' };
const ended = { state: 'waiting', ending: 'exited with code 1' } as const;

const unmet: { it: string; wants: ReturnType<typeof desired>; given: Partial<Dependency>; says: string | undefined }[] =
  [
    { it: 'Started: one that runs', wants: needing('Started'), given: {}, says: undefined },
    {
      it: 'Started: one that has completed',
      wants: needing('Started'),
      given: { state: 'completed' },
      says: undefined,
    },
    { it: 'Started: one that is not ready', wants: needing('Started'), given: { health: unready }, says: undefined },
    {
      it: 'Started: one that starts',
      wants: needing('Started'),
      given: { health: starting },
      says: 'waits for container "db" to have started: its startup probe has not succeeded yet',
    },
    {
      it: 'Started: one that has ended',
      wants: needing('Started'),
      given: ended,
      says: 'waits for container "db" to run',
    },
    {
      it: 'Started: one that is missing',
      wants: needing('Started'),
      given: { state: 'missing' },
      says: 'waits for container "db", which does not exist in this namespace; apply it, or remove it from spec.dependsOn',
    },
    { it: 'Ready: one that runs and of which nothing is asked', wants: needing('Ready'), given: {}, says: undefined },
    {
      it: 'Ready: one that is not',
      wants: needing('Ready'),
      given: { health: unready },
      says: 'waits for container "db" to be ready: readiness probe failed: 503',
    },
    {
      it: 'Ready: one that has completed',
      wants: needing('Ready'),
      given: { state: 'completed' },
      says: 'waits for container "db" to be ready: it does not run',
    },
    {
      it: 'Completed: one that runs',
      wants: needing('Completed'),
      given: {},
      says: 'waits for container "db" to complete',
    },
    { it: 'Completed: one that has', wants: needing('Completed'), given: { state: 'completed' }, says: undefined },
    {
      it: 'Completed: one that has failed',
      wants: needing('Completed'),
      given: ended,
      says: 'waits for container "db" to complete; its last run exited with code 1',
    },
    {
      it: 'a link to one that has completed',
      wants: linked([]),
      given: { state: 'completed' },
      says: 'waits for container "db" to run',
    },
    {
      it: 'a link, and Ready',
      wants: linked([{ name: 'db', condition: 'Ready', restartOn: 'Never' }]),
      given: { health: unready },
      says: 'waits for container "db" to be ready: readiness probe failed: 503',
    },
  ];

describe('what a container waits for', () => {
  for (const row of unmet) it(row.it, () => assert.equal(findUnmet(row.wants, [db(row.given)]), row.says));
});

describe('findRestarted', () => {
  const rows: {
    it: string;
    wants: ReturnType<typeof desired>;
    given: Partial<Dependency>;
    startedWith?: Record<string, number>;
    want: string | undefined;
  }[] = [
    {
      it: 'another run',
      wants: needing('Started', 'Restart'),
      given: { runMs: 2 },
      startedWith: { db: 1 },
      want: 'db',
    },
    {
      it: 'another run, on a clock that was set back',
      wants: needing('Started', 'Restart'),
      given: { runMs: 1 },
      startedWith: { db: 2 },
      want: 'db',
    },
    {
      it: 'the same run',
      wants: needing('Started', 'Restart'),
      given: { runMs: 500 },
      startedWith: { db: 500 },
      want: undefined,
    },
    {
      it: 'nobody who is not asked for',
      wants: needing('Started'),
      given: { runMs: 2 },
      startedWith: { db: 1 },
      want: undefined,
    },
    {
      it: 'another run only when it is ready, if that is needed',
      wants: needing('Ready', 'Restart'),
      given: { runMs: 2, health: unready },
      startedWith: { db: 1 },
      want: undefined,
    },
    {
      it: 'a run that began later, where nothing is remembered',
      wants: needing('Started', 'Restart'),
      given: { runMs: 101 },
      want: 'db',
    },
    {
      it: 'no run that began earlier, where nothing is remembered',
      wants: needing('Started', 'Restart'),
      given: { runMs: 99 },
      want: undefined,
    },
  ];
  for (const row of rows)
    it(`finds ${row.it}`, () => {
      const { startedWith } = row;
      assert.equal(findRestarted(row.wants, [db(row.given)], { startedWith, runMs: 100 }), row.want);
    });
  it('is over when the container has been started again, or once the runs are remembered', () => {
    const wants = needing('Started', 'Restart');
    const now = [db({ runMs: 300 })];
    for (const at of ['start', 'rest'] as const) {
      const startedWith = rememberRuns(undefined, wants, now, at);
      assert.equal(findRestarted(wants, now, { startedWith, runMs: 100 }), undefined);
      assert.equal(rememberRuns(startedWith, wants, now, 'rest'), startedWith);
    }
    assert.deepEqual(rememberRuns({ db: 1 }, wants, now, 'start'), { db: 300 });
  });
});

describe('decideHold', () => {
  const going: Dependent = { name: 'app', isGoing: true, boundMs: 8_000 };
  const staying: Dependent = { name: 'app', isGoing: false, boundMs: 0 };
  const rows: {
    it: string;
    dependents: Dependent[];
    heldSinceMs?: number;
    nowMs: number;
    until: number | undefined;
  }[] = [
    { it: 'waits for nobody', dependents: [], nowMs: 100, until: undefined },
    { it: 'waits for one that goes, too', dependents: [going], nowMs: 100, until: 8_100 },
    { it: 'waits no longer than that', dependents: [going], heldSinceMs: 100, nowMs: 8_100, until: undefined },
    { it: 'gives one that stays a moment to be told', dependents: [staying], nowMs: 100, until: 100 + gatherMs },
    { it: 'then goes before it', dependents: [staying], heldSinceMs: 100, nowMs: 100 + gatherMs, until: undefined },
    { it: 'follows a clock that was set back', dependents: [going], heldSinceMs: 90_000, nowMs: 100, until: 8_100 },
  ];
  for (const { it: title, until, ...given } of rows)
    it(title, () => assert.equal(decideHold({ heldSinceMs: undefined, ...given })?.untilMs, until));
});

describe('planStop', () => {
  const one = (name: string, dependsOn = '', namespace = 'default') => ({
    id: `${namespace}/${name}`,
    labels: {
      [labelKeys.namespace]: namespace,
      [labelKeys.name]: name,
      ...(dependsOn === '' ? {} : { [labelKeys.dependsOn]: dependsOn }),
    },
  });
  it('has those that depend on a container stop before it, in its own namespace', () => {
    const plan = planStop([one('db'), one('app', 'db,gone'), one('front', 'app,db'), one('app', 'db', 'other')]);
    assert.deepEqual(Object.fromEntries(plan), {
      'default/db': ['default/app', 'default/front'],
      'default/app': ['default/front'],
      'default/front': [],
      'other/app': [],
    });
  });
  it('waits in no circle', () => {
    const plan = planStop([one('a', 'b'), one('b', 'c'), one('c', 'a'), one('d', 'd')]);
    const waits = (id: string, path: readonly string[]): void => {
      assert.ok(!path.includes(id), [...path, id].join(' waits for '));
      for (const next of plan.get(id) ?? []) waits(next, [...path, id]);
    };
    for (const id of plan.keys()) waits(id, []);
    assert.equal([...plan.values()].flat().length, 2);
  });
});
