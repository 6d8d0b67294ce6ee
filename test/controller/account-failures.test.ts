/** What is remembered of starts and images that failed. */
import assert from 'node:assert/strict';
import { accountFor } from '../../controller/account.ts';
import { accountForImageFailure, accountForStartFailure } from '../../controller/account-failures.ts';
import { emptyHistory, type History } from '../../controller/history.ts';
import { container, desired } from './fixtures.ts';

const wanted = desired();
const ran: History = { ...emptyHistory, seenStartMs: 1_000 };

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
