/** What a new controller takes from the status that an earlier one wrote. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { accountFor } from '../../controller/account.ts';
import { accountForStartFailure } from '../../controller/account-failures.ts';
import { emptyHistory, type History } from '../../controller/history.ts';
import { historyFromStatus } from '../../controller/history-from-status.ts';
import { formatStatus } from '../../controller/status.ts';
import { container, desired, exited, object, running } from './fixtures.ts';

const wanted = desired();
const ran: History = { ...emptyHistory, seenStartMs: 1_000 };

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
