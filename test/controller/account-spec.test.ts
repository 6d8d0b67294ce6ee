/** What a changed spec makes of what is remembered: waits, verdicts, and whose run it was. */
import assert from 'node:assert/strict';
import { accountFor } from '../../controller/account.ts';
import { accountForImageFailure, accountForStartFailure } from '../../controller/account-failures.ts';
import { accountForReplacement, anEarlierSpec, emptyHistory, type History } from '../../controller/history.ts';
import { historyFromStatus } from '../../controller/history-from-status.ts';
import { container, desired, exited, object, running } from './fixtures.ts';

const wanted = desired();
const wantedBackoff = object().spec.backoff;
const ran: History = { ...emptyHistory, seenStartMs: 1_000 };

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
