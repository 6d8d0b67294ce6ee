/** Each new run and each new exit is taken note of exactly once, whatever the clock does. */
import assert from 'node:assert/strict';
import { accountFor } from '../../controller/account.ts';
import { accountForReplacement, emptyHistory, type History } from '../../controller/history.ts';
import { historyFromStatus } from '../../controller/history-from-status.ts';
import { formatStatus } from '../../controller/status.ts';
import { container, desired, exited, object, running } from './fixtures.ts';

const wanted = desired();
const ran: History = { ...emptyHistory, seenStartMs: 1_000 };

describe('accountFor', () => {
  it('takes the end of a run that had failed its probe for a failure, also by a controller that knows only the status', () => {
    const onFailure = desired({ spec: { restartPolicy: 'OnFailure' } });
    const failure = { by: 'LivenessProbe', message: 'liveness probe failed: no' } as const;
    const health = { runMs: 1_000, postStart: 'done', isStarted: true, isReady: false, failure, streaks: {} } as const;
    const stop = { sinceMs: 1_500, killAtMs: 31_500, isWithdrawn: false, unhealthy: failure };
    const status = formatStatus({
      ...{
        object: object(),
        desired: onFailure,
        container: container(running(1_000)),
        history: { ...ran, health, stop },
      },
      ...{ image: { kind: 'unknown' }, step: { kind: 'settled' }, nodeName: 'host', nowMs: 1_600 },
    });
    assert.deepEqual([status.state, status.reason, status.ready], ['Running', 'Terminating', false]);
    for (const history of [{ ...ran, health, stop }, historyFromStatus(status)]) {
      const after = accountFor(history, onFailure, container(exited(0)), 2_100);
      assert.deepEqual(
        [after.final, after.retry?.attempt, after.lastTermination?.endedBy],
        [undefined, 1, 'LivenessProbe'],
      );
    }
  });
  it('counts an exit at the very time of the one before, on a clock that was set back between the two', () => {
    const first = accountFor(ran, wanted, container(exited(1, 2_000)), 2_000);
    const run = accountFor(first, wanted, container(running(1_999)), 1_999);
    const state = { ...exited(1, 2_000), startedAtMs: 1_999 };
    const second = accountFor(run, wanted, container(state), 2_000);
    assert.deepEqual([first.failures, second.failures, second.restartCount], [1, 2, 1]);
    assert.equal(accountFor(second, wanted, container(state), 2_100), second);
  });
  it('does not count the first run as a restart', () =>
    assert.equal(accountFor(emptyHistory, wanted, container(running(1_000)), 1_500).restartCount, 0));
  it('counts each further run once', () => {
    const once = accountFor(ran, wanted, container(running(5_000)), 5_100);
    assert.equal(once.restartCount, 1);
    assert.equal(accountFor(once, wanted, container(running(5_000)), 5_200), once);
  });
  it('counts a run that began and ended between two looks', () => {
    const after = accountFor(ran, wanted, container(exited(1, 6_000, 5_000)), 6_100);
    assert.equal(after.restartCount, 1);
    assert.equal(after.lastTermination?.exitCode, 1);
  });
  it('counts each exit once and sets the next start from the exit', () => {
    const after = accountFor(ran, wanted, container(exited(1, 2_000)), 2_400);
    assert.deepEqual(after.retry, {
      atMs: 3_000,
      delayMs: 1_000,
      attempt: 1,
      of: 'start',
      isHostFault: false,
      reason: 'CrashLoopBackOff',
      message: 'exited with code 1',
    });
    assert.equal(accountFor(after, wanted, container(exited(1, 2_000)), 2_500), after);
  });
  it('does not hold an exit that was asked for against the container', () => {
    const stopping: History = { ...ran, failures: 3, stop: { sinceMs: 1_500, killAtMs: 9_000, isWithdrawn: false } };
    const after = accountFor(stopping, wanted, container(exited(143, 2_000)), 2_100);
    assert.deepEqual([after.isHalted, after.failures, after.retry, after.stop], [true, 0, undefined, undefined]);
  });
  it('does not count the start after a stop as a restart', () => {
    assert.equal(accountFor({ ...ran, isHalted: true }, wanted, container(running(9_000)), 9_100).restartCount, 0);
  });
  it('gives up by policy and says how it ended', () => {
    const once = accountFor(ran, desired({ spec: { restartPolicy: 'Never' } }), container(exited(3)), 2_100);
    assert.deepEqual(once.final, { reason: 'Error', message: 'exited with code 3' });
  });
  it('rests from the exit on when it has ended for good, and not before', () => {
    const never = desired({ spec: { restartPolicy: 'Never' } });
    const ended = accountFor(ran, never, container(exited(0, 2_000)), 2_100);
    assert.equal(ended.restSinceMs, 2_000);
    assert.equal(accountFor(ended, never, container(exited(0, 2_000)), 9_000), ended);
    assert.equal(accountFor(ran, wanted, container(exited(0, 2_000)), 2_100).restSinceMs, undefined);
    assert.equal(accountFor(ended, never, container(running(3_000)), 3_100).restSinceMs, undefined);
  });
  it('rests when it was stopped, but not when it has never run', () => {
    const stopped = desired({ spec: { desiredState: 'Stopped' } });
    assert.equal(accountFor(ran, stopped, container(exited(143, 2_000)), 2_100).restSinceMs, 2_000);
    assert.equal(accountFor(emptyHistory, stopped, container({ kind: 'created' }), 2_100).restSinceMs, undefined);
  });
  it('rests no longer for a clock that was set back', () => {
    const never = desired({ spec: { restartPolicy: 'Never' } });
    const ended = accountFor(ran, never, container(exited(0, 900_000)), 500);
    assert.equal(ended.restSinceMs, 500);
    assert.equal(accountFor(ended, never, container(exited(0, 900_000)), 700).restSinceMs, 500);
  });
  it('keeps what came of a signal over a replacement', () => {
    const lastSignal = { request: 'HUP@1', signal: 1, atMs: 5, message: 'sent' };
    assert.deepEqual(accountForReplacement({ ...ran, lastSignal }).lastSignal, lastSignal);
    const status = formatStatus({
      object: object(),
      desired: wanted,
      container: container(running()),
      history: { ...ran, lastSignal },
      image: { kind: 'unknown' },
      step: { kind: 'settled' },
      nodeName: 'host',
      nowMs: 2_500,
    });
    assert.deepEqual(historyFromStatus(status).lastSignal, lastSignal);
  });
  it('names the limit when the retries are used up', () => {
    const once = accountFor(
      { ...ran, failures: 2 },
      desired({ spec: { restart: { maxRetries: 2 } } }),
      container(exited(3)),
      2_100,
    );
    assert.equal(once.final?.reason, 'BackoffLimitExceeded');
    assert.match(once.final?.message ?? '', /gave up after 2 restarts in a row \(spec\.restart\.maxRetries\)/);
  });
  it('forgets that it gave up once it is asked to be stopped, so that Running starts it anew', () => {
    const gaveUp: History = { ...ran, seenExitMs: 2_000, final: { reason: 'Completed', message: '' } };
    const after = accountFor(
      gaveUp,
      desired({ spec: { desiredState: 'Stopped' } }),
      container(exited(0, 2_000)),
      3_000,
    );
    assert.deepEqual([after.final, after.isHalted], [undefined, true]);
  });
  it('clears the failures during a long run', () => {
    assert.equal(accountFor({ ...ran, failures: 4 }, wanted, container(running(1_000)), 61_000).failures, 0);
  });
  for (const { it: what, ranMs, policy, want } of [
    {
      it: 'is no failure after a sound run',
      ranMs: 20_000,
      policy: 'Always',
      want: { failures: 0, final: undefined, delayMs: undefined },
    },
    {
      it: 'is one right after the start',
      ranMs: 500,
      policy: 'Always',
      want: { failures: 1, final: undefined, delayMs: 1_000 },
    },
    {
      it: 'is the end of what may run but once',
      ranMs: 20_000,
      policy: 'Never',
      want: { failures: 1, final: 'ContainerStatusUnknown', delayMs: undefined },
    },
  ] as const) {
    it(`an end for a killed monitor ${what}`, () => {
      const exit = { code: -1, oomKilled: false, finishedAtMs: 1_000 + ranMs, drift: 'monitor' } as const;
      const state = { kind: 'exited', startedAtMs: 1_000, exit } as const;
      const after = accountFor(
        { ...ran, seenStartMs: 1_000 },
        desired({ spec: { restartPolicy: policy } }),
        container(state),
        1_000 + ranMs,
      );
      assert.deepEqual({ failures: after.failures, final: after.final?.reason, delayMs: after.retry?.delayMs }, want);
    });
  }
  it('reports an exit that nobody saw as ContainerStatusUnknown and restarts', () => {
    const after = accountFor(ran, wanted, container(exited(-1)), 2_100);
    assert.deepEqual(
      [after.lastTermination?.reason, after.lastTermination?.exitCode, after.retry?.attempt],
      ['ContainerStatusUnknown', 137, 1],
    );
  });
  it('names an OOM kill', () => {
    const state = {
      kind: 'exited',
      startedAtMs: 1_000,
      exit: { code: 137, signal: 9, oomKilled: true, finishedAtMs: 2_000 },
    } as const;
    const limited = desired({ spec: { resources: { limits: { pids: 1, memory: '64Mi', swap: 1_500 } } } });
    const last = accountFor(ran, limited, container(state), 2_100).lastTermination;
    assert.equal(last?.reason, 'OOMKilled');
    assert.match(last?.message ?? '', /more than 64Mi of memory and 1500 of swap \(spec\.resources\.limits\.memory\)/);
    const unlimited = accountFor(ran, wanted, container(state), 2_100).lastTermination;
    assert.match(unlimited?.message ?? '', /the host ran out of memory/);
  });
});

describe('followClock', () => {
  const waiting: History = accountFor(ran, wanted, container(exited(1, 2_000)), 2_000);
  it('shortens a wait that a clock set back has made longer', () => {
    assert.equal(accountFor(waiting, wanted, container(exited(1, 2_000)), -3_600_000).retry?.atMs, -3_599_000);
  });
  it('moves the deadline of a stop with the clock', () => {
    const stopping: History = { ...ran, stop: { sinceMs: 1e9, killAtMs: 1e9 + 30_000, isWithdrawn: false } };
    assert.deepEqual(accountFor(stopping, wanted, container(running()), 0).stop, {
      sinceMs: 0,
      killAtMs: 30_000,
      isWithdrawn: false,
    });
  });
  it('changes nothing while the clock goes on', () =>
    assert.equal(accountFor(waiting, wanted, container(exited(1, 2_000)), 2_500), waiting));
});

describe('a stop that is taken back', () => {
  const withdrawn: History = { ...ran, stop: { sinceMs: 1_500, killAtMs: 5_000, isWithdrawn: true } };
  it('still explains an exit before its deadline', () =>
    assert.equal(accountFor(withdrawn, wanted, container(exited(143, 2_000)), 2_100).isHalted, true));
  it('does not explain a later exit', () =>
    assert.equal(accountFor(withdrawn, wanted, container(exited(143, 6_000)), 6_100).retry?.attempt, 1));
  it('is forgotten with the next run', () =>
    assert.equal(accountFor(withdrawn, wanted, container(running(7_000)), 7_100).stop, undefined));
});
