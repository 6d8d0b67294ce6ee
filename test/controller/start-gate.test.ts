import assert from 'node:assert/strict';
import { standingOf } from '../../controller/standing.ts';
import { decideTurn, StartGate, type StartPolicy } from '../../controller/start-gate.ts';
import type { Container } from '../../crds/index.ts';
import type { ContainerInfo } from '../../runtime/index.ts';
import { until } from '../until.ts';
import { useRig } from './rig.ts';

const policy: StartPolicy = { maxConcurrent: 2, bootJitterMs: 10_000 };
const exit = { code: -1, oomKilled: false, finishedAtMs: 1 };
const rebooted = (id: string): Pick<ContainerInfo, 'id' | 'state'> => ({
  id,
  state: { kind: 'exited', exit: { ...exit, hostWentDown: true } },
});
const fresh: Pick<ContainerInfo, 'id' | 'state'> = { id: 'f', state: { kind: 'created' } };

const unproven = { failures: 0 };

describe('decideTurn', () => {
  const beganMs = 1_000_000;
  const given = { container: fresh, policy, underWay: 0, beganMs, nowMs: beganMs };

  it('lets as many start at once as it is told, and says what the others wait for', () => {
    assert.deepEqual(decideTurn({ ...given, underWay: 1 }), { kind: 'now' });
    const turn = decideTurn({ ...given, underWay: 2 });
    assert.ok(turn.kind === 'wait' && turn.reason === 'StartQueued' && /2 others/.test(turn.message));
  });

  it('spreads what a reboot took down over the time given, the same way each time', () => {
    const waits = Array.from({ length: 200 }, (_, index) => {
      const turn = decideTurn({ ...given, container: rebooted(String(index)) });
      assert.deepEqual(decideTurn({ ...given, container: rebooted(String(index)) }), turn);
      return turn.kind === 'wait' ? turn.untilMs - beganMs : 0;
    });
    assert.ok(Math.min(...waits) >= 0 && Math.max(...waits) <= policy.bootJitterMs);
    for (const share of [0.25, 0.5, 0.75]) {
      const early = waits.filter((ms) => ms < share * policy.bootJitterMs).length / waits.length;
      assert.ok(Math.abs(early - share) < 0.15, `${early} of them within ${share} of the time`);
    }
  });

  it('waits no longer than that, whatever the clock does, and not at all for what ended otherwise', () => {
    const container = rebooted('a');
    for (const nowMs of [beganMs + policy.bootJitterMs, beganMs - 3_600_000, beganMs + 3_600_000])
      assert.deepEqual(decideTurn({ ...given, container, nowMs }), { kind: 'now' });
    const crashed: typeof container = { id: 'a', state: { kind: 'exited', exit } };
    assert.deepEqual(decideTurn({ ...given, container: crashed }), { kind: 'now' });
  });
});

describe('StartGate', () => {
  it('wakes those that wait in the order in which they came, and tells the store of no brief wait', async () => {
    let nowMs = 1_000;
    const woken: string[] = [];
    const gate = new StartGate({ policy, now: () => nowMs, wake: (key) => woken.push(key) });
    const ends: (() => void)[] = [];
    const runs = ['a', 'b'].map((key) => {
      assert.deepEqual(gate.turnOf(key, fresh, unproven), { kind: 'now' });
      return gate.run(key, () => new Promise<void>((resolve) => ends.push(resolve)));
    });
    assert.equal(gate.turnOf('c', fresh, unproven).kind, 'wait-briefly');
    assert.equal(gate.turnOf('d', fresh, unproven).kind, 'wait-briefly');
    nowMs += 1_000;
    assert.equal(gate.turnOf('c', fresh, unproven).kind, 'wait');
    for (const end of ends) end();
    await Promise.all(runs);
    assert.deepEqual(woken, ['c', 'd']);
    await assert.rejects(gate.run('c', () => Promise.reject(new Error('it fails'))));
    assert.deepEqual(gate.turnOf('d', fresh, unproven), { kind: 'now' });
  });
});

describe('StartGate, while many wait', () => {
  it('gives the next turn to what ran before, and the last to what fails again and again', async () => {
    const woken: string[] = [];
    const gate = new StartGate({
      policy: { ...policy, maxConcurrent: 1 },
      now: () => 10_000,
      wake: (key) => woken.push(key),
    });
    const end = Promise.withResolvers<void>();
    const running = gate.run('a', () => end.promise);
    gate.turnOf('sick', fresh, { failures: 5, seenStartMs: 1, seenExitMs: 5_000 });
    gate.turnOf('new', fresh, unproven);
    gate.turnOf('proven', fresh, { failures: 1, seenStartMs: 1, seenExitMs: 5_000 });
    end.resolve();
    await running;
    for (const key of ['b', 'c']) await gate.run(key, async () => {});
    assert.deepEqual(woken, ['proven', 'new', 'sick']);
  });
});

describe('standingOf', () => {
  const nowMs = 100_000;
  const table = [
    { it: 'of what nothing is known', history: undefined, want: 'unproven' },
    { it: 'of what never ran', history: { failures: 0 }, want: 'unproven' },
    { it: 'of what has just started', history: { failures: 0, seenStartMs: nowMs - 999 }, want: 'unproven' },
    { it: 'of what runs for a while', history: { failures: 0, seenStartMs: nowMs - 1_000 }, want: 'proven' },
    {
      it: 'of what ended at once, long ago',
      history: { failures: 1, seenStartMs: 1_000, seenExitMs: 1_999 },
      want: 'unproven',
    },
    {
      it: 'of what ended after a while',
      history: { failures: 1, seenStartMs: 1_000, seenExitMs: 2_000 },
      want: 'proven',
    },
    {
      it: 'of what ended, and runs again',
      history: { failures: 1, seenStartMs: 9_000, seenExitMs: 2_000 },
      want: 'proven',
    },
    { it: 'of what failed twice', history: { failures: 2, seenStartMs: 1_000, seenExitMs: 90_000 }, want: 'sick' },
    { it: 'by a clock that was set back', history: { failures: 0, seenStartMs: nowMs + 1_000 }, want: 'unproven' },
  ] as const;
  for (const { it: title, history, want } of table)
    it(`is ${want} ${title}`, () => assert.equal(standingOf(history, nowMs), want));
});

describe('a host that boots', () => {
  const rig = useRig();

  it('starts what ran in the order of dependencies, a few at a time, and counts no crash', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `c${index}`);
    const chain = new Map([
      ['c0', ['c1']],
      ['c1', ['c2']],
    ]);
    for (const name of names) {
      const dependsOn = (chain.get(name) ?? []).map((other) => ({ name: other }));
      await rig.create(name, { dependsOn, restart: { maxRetries: 1 }, backoff: { initial: '1h', max: '1h' } });
    }
    rig.behaviours.set('done', () => ({ exitCode: 0, exitAfterMs: 1 }));
    await rig.create('done', { restartPolicy: 'Never' });
    for (const name of names) await rig.reach(name, ({ state }) => state === 'Running', 'running');
    await rig.reach('done', ({ reason }) => reason === 'Completed', 'completed');
    await rig.stopController();
    rig.runtime.reboot();
    const { containers } = rig.runtime;
    const started: string[] = [];
    let [underWay, most] = [0, 0];
    const { start } = containers;
    Object.assign(containers, {
      start: async (...args: Parameters<typeof start>) => {
        underWay += 1;
        most = Math.max(most, underWay);
        started.push((await containers.inspect(args[0]))?.name ?? '');
        try {
          return await start(...args);
        } finally {
          underWay -= 1;
        }
      },
    });
    await rig.startController({ maxConcurrent: 3, bootJitterMs: 200 });
    for (const name of names) {
      const isBack = ({ state, lastTermination }: NonNullable<Container['status']>): boolean =>
        state === 'Running' && lastTermination?.reason === 'ContainerStatusUnknown';
      const { status } = await rig.reach(name, isBack, 'running again');
      assert.equal(status?.restartCount, 0, name);
      assert.equal(status?.backoff, undefined, name);
    }
    const order = started.map((name) => name.replace('default/', ''));
    assert.deepEqual([...order].sort(), [...names].sort(), 'each once');
    assert.deepEqual(
      order.filter((name) => /^c[012]$/.test(name)),
      ['c2', 'c1', 'c0'],
    );
    assert.ok(most <= 3, `${most} at once`);
    assert.equal((await rig.get('done')).status?.reason, 'Completed');
    await until(() => underWay === 0, 'the starts to end');
  });
  it('gives the turn of a start that hangs to the next', async () => {
    const woken = Promise.withResolvers<string>();
    const gate = new StartGate({
      policy: { ...policy, maxConcurrent: 1 },
      now: Date.now,
      wake: woken.resolve,
      slowMs: 5,
    });
    const hang = Promise.withResolvers<void>();
    const hanging = gate.run('hangs', () => hang.promise);
    assert.notEqual(gate.turnOf('next', fresh, unproven).kind, 'now');
    assert.equal(await woken.promise, 'next');
    assert.deepEqual(gate.turnOf('next', fresh, unproven), { kind: 'now' });
    hang.resolve();
    await hanging;
  });
});
