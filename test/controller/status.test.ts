import assert from 'node:assert/strict';
import fc from 'fast-check';
import { accountFor } from '../../controller/account.ts';
import { emptyHistory } from '../../controller/history.ts';
import { diffStatus, formatStatus, type StatusInput } from '../../controller/status.ts';
import type { ContainerStatus } from '../../crds/index.ts';
import { container, desired, exited, object, paused, running } from './fixtures.ts';

const base: StatusInput = {
  object: object(),
  desired: desired(),
  container: undefined,
  history: emptyHistory,
  image: { kind: 'unknown' },
  step: { kind: 'settled' },
  nodeName: 'host',
  nowMs: 2_500,
};
const retry = {
  atMs: 6_000,
  delayMs: 1_000,
  attempt: 1,
  of: 'start',
  reason: 'CrashLoopBackOff',
  message: 'exited with code 1',
} as const;
const afterExit = (code: number) =>
  accountFor({ ...emptyHistory, seenStartMs: 1_000 }, desired(), container(exited(code)), 2_100);

const cases: { it: string; given: Partial<StatusInput>; want: Partial<ContainerStatus>; ready: string }[] = [
  {
    it: 'a running container',
    given: { container: container(running()) },
    want: { state: 'Running', reason: undefined, pid: 42, podIP: '10.0.0.2', startedAt: '1970-01-01T00:00:01.000Z' },
    ready: 'Running',
  },
  {
    it: 'one that is being stopped',
    given: {
      container: container(running()),
      history: { ...emptyHistory, stop: { sinceMs: 1, killAtMs: 2, isWithdrawn: false } },
    },
    want: { state: 'Running', reason: 'Terminating' },
    ready: 'Terminating',
  },
  {
    it: 'one that is paused',
    given: { container: container(paused()) },
    want: { state: 'Paused', reason: 'Paused', pid: 42 },
    ready: 'Paused',
  },
  {
    it: 'what came of a signal',
    given: {
      container: container(running()),
      history: { ...emptyHistory, lastSignal: { request: 'HUP@1', signal: 1, atMs: 2_000, message: 'sent' } },
    },
    want: { lastSignal: { request: 'HUP@1', signal: 1, time: '1970-01-01T00:00:02.000Z', message: 'sent' } },
    ready: 'Running',
  },
  {
    it: 'one that waits for its next start',
    given: { container: container(exited(1)), history: afterExit(1) },
    want: {
      state: 'Restarting',
      reason: 'CrashLoopBackOff',
      exitCode: 1,
      pid: undefined,
      backoff: { attempt: 1, failingSeconds: 1, delaySeconds: 1, nextRestartAt: '1970-01-01T00:00:03.000Z' },
    },
    ready: 'CrashLoopBackOff',
  },
  {
    it: 'one whose image cannot be fetched',
    given: {
      history: {
        ...emptyHistory,
        retry: { ...retry, of: 'image', isHostFault: true, reason: 'ErrImagePull', message: 'no such image' },
      },
    },
    want: { state: 'Created', reason: 'ErrImagePull', message: 'no such image' },
    ready: 'ErrImagePull',
  },
  {
    it: 'one that has done its work',
    given: {
      container: container(exited(0)),
      history: { ...afterExit(0), retry: undefined, final: { reason: 'Completed', message: 'exited with code 0' } },
    },
    want: { state: 'Exited', reason: 'Completed', exitCode: 0 },
    ready: 'Completed',
  },
  {
    it: 'one that was stopped',
    given: {
      desired: desired({ spec: { desiredState: 'Stopped' } }),
      container: container(exited(143)),
      history: { ...afterExit(143), retry: undefined, isHalted: true },
    },
    want: { state: 'Exited', reason: 'Stopped', signal: 15 },
    ready: 'Stopped',
  },
  {
    it: 'one that is never to start',
    given: { desired: desired({ spec: { desiredState: 'Stopped' } }) },
    want: { state: 'Created', reason: 'Stopped' },
    ready: 'Stopped',
  },
  {
    it: 'one with an impossible spec',
    given: { desired: { ...desired(), problem: { reason: 'InvalidSpec', message: 'spec.x: no' } } },
    want: { state: 'Created', reason: 'InvalidSpec', message: 'spec.x: no' },
    ready: 'InvalidSpec',
  },
  {
    it: 'one that runs on under an impossible spec',
    given: {
      desired: { ...desired(), problem: { reason: 'InvalidSpec', message: 'spec.x: no' } },
      container: container(running()),
    },
    want: { state: 'Running', reason: 'InvalidSpec' },
    ready: 'Running',
  },
  {
    it: 'one that waits for another',
    given: { step: { kind: 'wait', reason: 'WaitingForDependency', message: 'waits for container "db" to run' } },
    want: { state: 'Created', reason: 'WaitingForDependency' },
    ready: 'WaitingForDependency',
  },
];

describe('formatStatus', () => {
  for (const c of cases) {
    it(`describes ${c.it}`, () => {
      const status = formatStatus({ ...base, ...c.given });
      for (const [field, want] of Object.entries(c.want))
        assert.deepEqual(status[field as keyof ContainerStatus], want, field);
      const ready = status.conditions?.find(({ type }) => type === 'Ready');
      assert.equal(ready?.reason, c.ready);
      assert.equal(ready?.status, c.ready === 'Running' ? 'True' : 'False');
      assert.equal(status.observedGeneration, 1);
    });
  }
  it('keeps the time of a condition until it changes', () => {
    const first = formatStatus(base);
    const second = formatStatus({ ...base, object: object({ status: first }), nowMs: 9_000 });
    assert.deepEqual(
      second.conditions?.map((one) => one.lastTransitionTime),
      first.conditions?.map((one) => one.lastTransitionTime),
    );
    const third = formatStatus({
      ...base,
      object: object({ status: second }),
      container: container(running()),
      nowMs: 9_000,
    });
    assert.equal(
      third.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime,
      '1970-01-01T00:00:09.000Z',
    );
  });
  it('reports published ports in capitals, as the spec writes them', () => {
    const status = formatStatus({
      ...base,
      container: container(running(), { ports: [{ containerPort: 80, hostPort: 40_001, protocol: 'tcp' }] }),
    });
    assert.deepEqual(status.ports, [{ containerPort: 80, hostPort: 40_001, protocol: 'TCP' }]);
  });
});

/** RFC 7396, section 2, as the specification's own pseudo code has it. */
function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = applyMergePatch(result[key], value);
  }
  return result;
}

describe('diffStatus', () => {
  const leaf = fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.array(fc.integer()));
  const plain = { noNullPrototype: true };
  const tree = fc.dictionary(
    fc.constantFrom('a', 'b', 'c'),
    fc.oneof(leaf, fc.dictionary(fc.constantFrom('x', 'y'), leaf, plain)),
    plain,
  );
  it('gives a merge patch that turns the one into the other, and none for equal ones', () => {
    fc.assert(
      fc.property(tree, tree, (from, to) => {
        const patch = diffStatus(from, to);
        assert.deepEqual(applyMergePatch({ ...from }, patch ?? {}), { ...to });
        assert.equal(diffStatus(to, to), undefined);
      }),
    );
  });
});
