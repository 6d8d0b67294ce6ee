/** What holds whatever happens: random lives of one container, in the world of restart-world.ts. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ContainerSpec } from '../../crds/index.ts';
import { type Action, fatalCode, RestartWorld, successCode } from './restart-world.ts';

const hourMs = 3_600_000;

const backoff: fc.Arbitrary<ContainerSpec['backoff']> = fc
  .record({
    initialMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 5_000 })),
    moreMs: fc.integer({ min: 0, max: 120_000 }),
    factor: fc.double({ min: 1, max: 4, noNaN: true }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    resetAfterMs: fc.integer({ min: 1_000, max: 60_000 }),
  })
  .map(({ initialMs, moreMs, factor, jitter, resetAfterMs }) => ({
    ...{ initial: `${initialMs}ms`, max: `${initialMs + moreMs}ms`, resetAfter: `${resetAfterMs}ms` },
    ...{ factor, jitter },
  }));
const policy = fc.constantFrom('Always', 'UnlessStopped', 'OnFailure', 'Never');
const restart: fc.Arbitrary<ContainerSpec['restart']> = fc.record({
  maxRetries: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
  maxDuration: fc.option(
    fc.integer({ min: 0, max: 600 }).map((seconds) => `${seconds}s`),
    { nil: undefined },
  ),
  exitCodes: fc.constant([
    { action: 'Fatal' as const, codes: [fatalCode] },
    { action: 'Success' as const, codes: [successCode] },
  ]),
});
const spec = fc.record({ backoff, restartPolicy: policy, restart });

const change: fc.Arbitrary<Partial<ContainerSpec>> = fc.oneof(
  fc.record({ restartPolicy: policy }),
  fc.record({ backoff }),
  fc.record({ restart }),
  fc.record({ desiredState: fc.constantFrom('Running', 'Stopped') }),
  fc.record({ image: fc.constantFrom('web:1', 'web:2') }),
  fc.integer({ min: 1, max: 9 }).map((pids) => ({ resources: { limits: { pids } } })),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.integer({ min: 0, max: 90_000 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('end'), code: fc.constantFrom(1, 1, 0, 137, -1, fatalCode, successCode) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('jump'), ms: fc.integer({ min: -24 * hourMs, max: 24 * hourMs }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart-controller') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('spec'), change }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('fail'),
      what: fc.constantFrom('image', 'create', 'host', 'command'),
      times: fc.integer({ min: 1, max: 5 }),
    }),
  },
);

/** Why it may be down for good, by the spec as it is now. */
function mayRest({ history, wanted, isFatal }: RestartWorld): boolean {
  const { policy: now, maxRetries, maxDurationMs } = wanted.restart;
  const { final, lastTermination, failures } = history;
  switch (final?.reason) {
    case 'FatalExitCode':
      return isFatal;
    case 'BackoffLimitExceeded':
      return maxRetries !== undefined && failures > maxRetries && now !== 'Never';
    case 'DeadlineExceeded':
      return maxDurationMs !== undefined && now !== 'Never';
    case 'Completed':
      return (now === 'OnFailure' || now === 'Never') && [0, successCode].includes(lastTermination?.exitCode ?? -1);
    case undefined:
      return false;
    default:
      return now === 'Never';
  }
}

describe('restarts, whatever happens', function () {
  this.timeout(240_000);

  it('are never two at once, never after what is fatal, wait as long as the rule says, and come at last', () => {
    fc.assert(
      fc.property(spec, fc.boolean(), fc.array(action, { maxLength: 40 }), (given, isStubborn, actions) => {
        const world = new RestartWorld(given);
        world.isStubborn = isStubborn;
        for (const one of actions) world.do(one);
        world.heal();
        // The longest wait, twice: a clock that was set back last may have begun it anew. And the grace of a stop.
        world.pass(2 * world.wanted.restart.backoff.maxMs + 60_000);
        const { shouldRun } = world.wanted;
        if (!shouldRun) assert.equal(world.isRunning, false, 'it is stopped');
        else
          assert.ok(
            world.isRunning || mayRest(world),
            `it neither runs nor may rest: ${JSON.stringify(world.history)}`,
          );
        const { starts } = world;
        world.pass(24 * hourMs);
        assert.equal(world.starts, starts, 'what runs or rests is left alone');
      }),
      { numRuns: 2_000 },
    );
  });

  it('do not come in a storm when the clock jumps with every exit', () => {
    for (const ms of [-hourMs, hourMs, 24 * hourMs]) {
      const world = new RestartWorld({
        backoff: { initial: '1s', factor: 2, max: '60s', jitter: 0, resetAfter: '60s' },
      });
      const began = world.mono;
      for (let count = 0; count < 20; count += 1) {
        world.do({ kind: 'end', code: 1 });
        world.do({ kind: 'jump', ms });
        world.do({ kind: 'end', code: 1 });
        world.pass(120_000);
      }
      // Each jump may end one wait at once; every other start waits.
      assert.ok(world.starts <= 41, `${world.starts} starts in ${world.mono - began} ms`);
      assert.ok(world.isRunning, 'it runs in the end');
    }
  });

  it('count a run as long also when the clock was set back during it', () => {
    const world = new RestartWorld({ backoff: { initial: '1s', factor: 2, max: '60s', jitter: 0, resetAfter: '60s' } });
    for (let count = 0; count < 3; count += 1) {
      world.do({ kind: 'end', code: 1 });
      world.pass(10_000);
    }
    world.do({ kind: 'jump', ms: -hourMs });
    assert.equal(world.history.failures, 3);
    world.pass(60_000);
    assert.equal(world.history.failures, 0);
    assert.ok(world.isRunning);
  });
});
