import assert from 'node:assert/strict';
import fc from 'fast-check';
import { accountFor } from '../../controller/account.ts';
import { accountForImageFailure, accountForStartFailure } from '../../controller/account-failures.ts';
import { accountForReplacement, anEarlierSpec, emptyHistory, type History } from '../../controller/history.ts';
import { historyFromStatus } from '../../controller/history-from-status.ts';
import { formatStatus } from '../../controller/status.ts';
import { container, desired, exited, object, running } from './fixtures.ts';

const wanted = desired();
const wantedBackoff = object().spec.backoff;
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

describe('a changed spec', () => {
  const exitedUnder = (spec: Parameters<typeof desired>[0], code: number): History =>
    accountFor(ran, desired(spec), container(exited(code)), 2_100);
  it('starts what had completed when the policy becomes Always', () => {
    const done = exitedUnder({ spec: { restartPolicy: 'Never' } }, 0);
    assert.equal(done.final?.reason, 'Completed');
    assert.equal(accountFor(done, wanted, container(exited(0)), 2_200).retry?.atMs, 3_000);
  });
  it('goes on when a limit of retries is taken away', () => {
    const gaveUp = exitedUnder({ spec: { restart: { maxRetries: 0 } } }, 1);
    assert.equal(gaveUp.final?.reason, 'BackoffLimitExceeded');
    const again = accountFor(gaveUp, wanted, container(exited(1)), 2_200);
    assert.deepEqual([again.final, again.retry?.attempt], [undefined, 1]);
  });
  it('stays down when the policy becomes Never during the wait', () => {
    assert.equal(
      accountFor(exitedUnder({}, 1), desired({ spec: { restartPolicy: 'Never' } }), container(exited(1)), 2_200).final
        ?.reason,
      'Error',
    );
  });
  it('is tried at once when what it died of was changed in place, with a count that begins anew', () => {
    const limited = { resources: { limits: { pids: 9, memory: '64Mi' } } };
    const gaveUp = exitedUnder({ spec: { restart: { maxRetries: 0 }, ...limited } }, 137);
    assert.equal(gaveUp.final?.reason, 'BackoffLimitExceeded');
    const roomier = { resources: { limits: { pids: 9, memory: '128Mi' } } };
    const again = accountFor(
      gaveUp,
      desired({ spec: { restart: { maxRetries: 1 }, ...roomier } }),
      container(exited(137)),
      1e9,
    );
    assert.deepEqual([again.final, again.retry?.attempt, (again.retry?.atMs ?? 1e9) < 1e9], [undefined, 1, true]);
  });
  it('does not start what has done its work, nor what no policy starts again', () => {
    const roomier = { resources: { limits: { pids: 10 } } };
    const done = exitedUnder({ spec: { restartPolicy: 'OnFailure' } }, 0);
    const after = accountFor(
      done,
      desired({ spec: { restartPolicy: 'OnFailure', ...roomier } }),
      container(exited(0)),
      3_000,
    );
    assert.equal(after.final?.reason, 'Completed');
    const failed = exitedUnder({ spec: { restartPolicy: 'Never' } }, 1);
    const still = accountFor(
      failed,
      desired({ spec: { restartPolicy: 'Never', ...roomier } }),
      container(exited(1)),
      3_000,
    );
    assert.equal(still.final?.reason, 'Error');
  });
  it('goes on within a longer maxDuration, with the time that was counted', () => {
    const bounded = (maxDuration: string) => desired({ spec: { restart: { maxDuration } } });
    const failing: History = { ...ran, failures: 3, failingMs: 52_000 };
    const gaveUp = accountFor(failing, bounded('1m'), container(exited(1)), 2_100);
    assert.equal(gaveUp.final?.reason, 'DeadlineExceeded');
    assert.match(
      gaveUp.final?.message ?? '',
      /more than 60s after the first of 4 exits in a row \(spec\.restart\.maxDuration\)/,
    );
    const again = accountFor(gaveUp, bounded('2m'), container(exited(1)), 2_200);
    assert.deepEqual([again.final, again.retry?.attempt, again.failingMs], [undefined, 4, 52_000 + 1_000 + 8_000]);
  });
  it('lets the host try at once what it could not do for the old one', () => {
    const fault = { of: 'create', reason: 'HostPortConflict', message: 'taken', exitCode: undefined } as const;
    const waiting = accountForStartFailure(ran, wanted, fault, 5_000);
    const after = accountFor(
      waiting,
      desired({ spec: { backoff: { ...wantedBackoff, max: '2s' } } }),
      undefined,
      5_100,
    );
    assert.equal(after.retry, undefined);
  });
  it('does not wait out the wait for an image that it no longer names', () => {
    const failed = accountForImageFailure(emptyHistory, wanted, { reason: 'ErrImagePull', message: 'x' }, 0);
    assert.equal(accountFor(failed, wanted, undefined, 10).retry?.reason, 'ErrImagePull');
    assert.equal(accountFor(failed, desired({ spec: { image: 'web:2' } }), undefined, 10).retry, undefined);
  });
  it('does not wait for it after a restart of the controller either', () => {
    const status = {
      state: 'Created',
      reason: 'ErrImagePull',
      observedGeneration: 1,
      backoff: { attempt: 3, delaySeconds: 60, nextRestartAt: '2999-01-01T00:00:00Z' },
    } as const;
    assert.notEqual(accountFor(historyFromStatus(status, 1), wanted, undefined, 10).retry, undefined);
    assert.equal(accountFor(historyFromStatus(status, 2), wanted, undefined, 10).retry, undefined);
  });
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

describe('accountForStartFailure', () => {
  it('counts a command that cannot run as an exit', () => {
    const after = accountForStartFailure(
      ran,
      wanted,
      { of: 'start', reason: 'RunContainerError', message: 'nope: not found', exitCode: 127 },
      5_000,
    );
    assert.deepEqual(
      [after.lastTermination?.reason, after.lastTermination?.exitCode, after.retry?.reason, after.retry?.atMs],
      ['StartError', 127, 'RunContainerError', 6_000],
    );
  });
  it('is known again by the time that the runtime gives, so that a restarted controller does not count it twice', () => {
    const failed = accountForStartFailure(
      ran,
      wanted,
      { of: 'start', reason: 'RunContainerError', message: 'nope', exitCode: 127, finishedAtMs: 4_990 },
      5_000,
    );
    const state = { kind: 'exited', exit: { code: 127, oomKilled: false, finishedAtMs: 4_990 } } as const;
    assert.equal(accountFor(failed, wanted, container(state), 5_100), failed);
  });
  it('gives up on it under restartPolicy Never', () => {
    const after = accountForStartFailure(
      ran,
      desired({ spec: { restartPolicy: 'Never' } }),
      { of: 'start', reason: 'RunContainerError', message: 'nope', exitCode: 127 },
      5_000,
    );
    assert.deepEqual(after.final, { reason: 'StartError', message: 'nope' });
  });
  it('tries again whatever the policy when the host is at fault', () => {
    const after = accountForStartFailure(
      ran,
      desired({ spec: { restartPolicy: 'Never' } }),
      { of: 'create', reason: 'HostPortConflict', message: 'taken', exitCode: undefined },
      5_000,
    );
    assert.deepEqual([after.final, after.retry?.atMs, after.retry?.reason], [undefined, 6_000, 'HostPortConflict']);
  });
});

describe('accountForImageFailure', () => {
  it('waits longer each time, and at least until the breaker lets a probe through', () => {
    const once = accountForImageFailure(emptyHistory, wanted, { reason: 'ErrImagePull', message: 'x' }, 0);
    const twice = accountForImageFailure(once, wanted, { reason: 'ImagePullBackOff', message: 'x' }, 0);
    assert.deepEqual([once.retry?.delayMs, twice.retry?.delayMs], [1_000, 2_000]);
    assert.equal(
      accountForImageFailure(once, wanted, { reason: 'ImagePullBackOff', message: 'x', notBeforeMs: 30_000 }, 0).retry
        ?.atMs,
      30_000,
    );
  });
});

describe('accountForReplacement', () => {
  it('forgets the troubles of the former spec', () => {
    const after = accountForReplacement({
      ...ran,
      failures: 5,
      restartCount: 3,
      final: { reason: 'Error', message: '' },
    });
    assert.deepEqual(
      [after.failures, after.final, after.seenStartMs, after.restartCount],
      [0, undefined, undefined, 3],
    );
  });
});

describe('a container that made way for one of another spec, unseen', () => {
  const { specHash } = wanted;
  const rows: {
    it: string;
    history: Partial<History>;
    given: ReturnType<typeof container> | undefined;
    restarts: number;
  }[] = [
    {
      it: 'is followed by a first run',
      history: { seenSpec: 'another' },
      given: container(running(5_000)),
      restarts: 3,
    },
    {
      it: 'is followed by a first run that has ended',
      history: { seenSpec: 'another' },
      given: container(exited(1, 6_000, 5_000)),
      restarts: 3,
    },
    {
      it: 'of the same spec, it was lost: that is a restart',
      history: { seenSpec: specHash },
      given: container(running(5_000)),
      restarts: 4,
    },
    {
      it: 'not known which, but made since',
      history: { seenSpec: anEarlierSpec },
      given: container(running(5_000), { createdAtMs: 4_000 }),
      restarts: 3,
    },
    {
      it: 'not known which, and made before: that is a restart',
      history: { seenSpec: anEarlierSpec },
      given: container(running(5_000), { createdAtMs: 900 }),
      restarts: 4,
    },
    { it: 'nothing known of specs: that is a restart', history: {}, given: container(running(5_000)), restarts: 4 },
  ];
  for (const row of rows)
    it(row.it, () => {
      const after = accountFor({ ...ran, restartCount: 3, ...row.history }, wanted, row.given, 6_100);
      assert.deepEqual([after.restartCount, after.seenSpec], [row.restarts, specHash]);
    });
  it('is forgotten before the next is made', () => {
    const { seenStartMs, restartCount } = accountFor(
      { ...ran, restartCount: 3, seenSpec: 'another' },
      wanted,
      undefined,
      6_100,
    );
    assert.deepEqual([seenStartMs, restartCount], [undefined, 3]);
  });
});

describe('historyFromStatus', () => {
  const statusOf = (history: History, info: ReturnType<typeof container>) =>
    formatStatus({
      object: object(),
      desired: wanted,
      container: info,
      history,
      image: { kind: 'unknown' },
      step: { kind: 'settled' },
      nodeName: 'n',
      nowMs: 2_600,
    });

  it('knows after a restart of the controller what the status told: nothing is counted twice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 0, max: 50 }),
        (code, failures, restartCount) => {
          const info = container(exited(code, 2_000));
          const before = accountFor({ ...ran, failures, restartCount }, wanted, info, 2_500);
          const after = historyFromStatus(statusOf(before, info));
          assert.deepEqual({ ...accountFor(after, wanted, info, 2_600), basis: undefined }, after);
          assert.deepEqual(
            [after.restartCount, after.failures, after.retry?.atMs, after.retry?.attempt],
            [before.restartCount, before.failures, before.retry?.atMs, before.retry?.attempt],
          );
        },
      ),
    );
  });
  it('does not count a run that the status already shows', () => {
    const info = container(running(1_000));
    const before = accountFor({ ...emptyHistory, restartCount: 2 }, wanted, info, 1_500);
    assert.equal(accountFor(historyFromStatus(statusOf(before, info)), wanted, info, 1_600).restartCount, 2);
  });
  it('goes on counting failures that the status tells of while the container runs', () => {
    const info = container(running(1_000));
    const after = historyFromStatus(statusOf({ ...ran, failures: 4 }, info));
    assert.equal(accountFor(after, wanted, container(exited(1, 2_000)), 2_100).retry?.attempt, 5);
  });
  it('keeps exits and faults of the host apart, and what made it end a run', () => {
    const fault = { of: 'start', reason: 'FailedMount', message: 'x', exitCode: undefined } as const;
    const lastTermination = { reason: 'Error', exitCode: 0, finishedAtMs: 2_000, endedBy: 'LivenessProbe' } as const;
    const failing: History = {
      ...ran,
      seenExitMs: 2_000,
      failures: 3,
      failingMs: 9_500,
      hostFailures: 1,
      lastTermination,
    };
    const before = accountForStartFailure(failing, wanted, fault, 2_500);
    const after = historyFromStatus(statusOf(before, container({ kind: 'created' })));
    assert.deepEqual(
      [after.failures, after.failingMs, after.hostFailures, after.retry?.isHostFault, after.retry?.atMs],
      [3, 9_500, 2, true, before.retry?.atMs],
    );
    assert.equal(after.lastTermination?.endedBy, 'LivenessProbe');
  });
  it('takes a container that waits for a dependency for one that may run', () => {
    assert.equal(historyFromStatus({ state: 'Exited', reason: 'WaitingForDependency', message: 'x' }).final, undefined);
    assert.deepEqual(historyFromStatus({ state: 'Exited', reason: 'Completed', message: 'x' }).final, {
      reason: 'Completed',
      message: 'x',
    });
  });
  it('leaves out what cannot be read', () => {
    assert.deepEqual(
      historyFromStatus({
        startedAt: 'yesterday',
        lastTermination: { finishedAt: 'x' },
        backoff: { nextRestartAt: '?' },
      }),
      {
        ...emptyHistory,
        seenStartMs: undefined,
        seenExitMs: undefined,
        lastTermination: undefined,
        health: undefined,
        retry: undefined,
        final: undefined,
        basis: undefined,
        seenSpec: undefined,
        lastSignal: undefined,
      },
    );
  });
});
