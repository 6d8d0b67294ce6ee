import assert from 'node:assert/strict';
import { type DecideInput, decide, type Step } from '../../controller/decide.ts';
import { labelKeys } from '../../controller/desired.ts';
import { emptyHistory, type History, type Retry } from '../../controller/history.ts';
import type { ContainerState, DriftKind } from '../../runtime/index.ts';
import { container, desired, exited, paused, running } from './fixtures.ts';

const base: DecideInput = {
  isDeleting: false,
  hasFinalizer: true,
  desired: desired(),
  mutableHash: 'm',
  container: undefined,
  image: { kind: 'unknown' },
  dependencies: [],
  hasPredecessor: false,
  history: emptyHistory,
  nowMs: 10_000,
};
const present = { kind: 'present', imageID: 'sha256:1' } as const;
const history = (change: Partial<History>): History => ({ ...emptyHistory, ...change });
const retry: Retry = {
  atMs: 12_000,
  delayMs: 2_000,
  attempt: 2,
  of: 'start',
  isHostFault: false,
  reason: 'CrashLoopBackOff',
  message: 'exited with code 1',
};
const stopped = desired({ spec: { desiredState: 'Stopped' } });
const frozen = desired({ spec: { desiredState: 'Paused' } });
const signalled = desired({ annotations: { 'holdfast.dev/signal': 'HUP@2' } });
const once = desired({ spec: { restartPolicy: 'Never' } });
const damaged = (kind: DriftKind): ContainerState => {
  const state = running();
  assert.ok(state.kind === 'running');
  return { ...state, damage: { kind, detail: '' } };
};
const shortLived = desired({ spec: { ttlSecondsAfterFinished: 5 } });
const final = { reason: 'Completed', message: '' };
const linked = desired({ spec: { links: [{ name: 'db' }] } });
const needing = desired({ spec: { dependsOn: [{ name: 'db', condition: 'Started', restartOn: 'Never' }] } });
const db = { name: 'db', ports: [], env: [] } as const;
const otherSpec = { labels: { [labelKeys.specHash]: 'other', [labelKeys.graceMs]: '30000' } };
const linkedContainer = { labels: { [labelKeys.specHash]: linked.specHash, [labelKeys.mutableHash]: 'm' } };

const unstarted = desired({ spec: { desiredState: 'Stopped' }, annotations: { 'holdfast.dev/prepare': 'true' } });
const blocked = { before: 'create', reason: 'CreateContainerConfigError', message: 'no such Secret' } as const;

const cases: { it: string; given: Partial<DecideInput>; want: Step }[] = [
  {
    it: 'asks for the image of one that is to be prepared',
    given: { desired: unstarted },
    want: { kind: 'ensure-image' },
  },
  {
    it: 'makes one that is to be prepared, whatever it depends on',
    given: { desired: unstarted, image: present, dependencies: [] },
    want: { kind: 'create', imageID: 'sha256:1' },
  },
  {
    it: 'leaves a prepared one as it is',
    given: { desired: unstarted, container: container({ kind: 'created' }) },
    want: { kind: 'settled' },
  },
  {
    it: 'prepares nothing before the container of an earlier object of the name is gone',
    given: { desired: unstarted, image: present, hasPredecessor: true },
    want: { kind: 'settled' },
  },
  {
    it: 'prepares nothing while what it needs is missing',
    given: { desired: unstarted, image: present, obstacle: blocked },
    want: { kind: 'settled' },
  },
  {
    it: 'tries a preparation that failed again later',
    given: { desired: unstarted, prepareAtMs: 12_000 },
    want: { kind: 'settled', untilMs: 12_000 },
  },
  {
    it: 'prepares nothing without being asked to',
    given: { desired: stopped, image: present },
    want: { kind: 'settled' },
  },
  { it: 'asks for the image first', given: {}, want: { kind: 'ensure-image' } },
  {
    it: 'waits while the image is fetched',
    given: { image: { kind: 'pulling' } },
    want: { kind: 'wait', reason: 'Pulling', message: 'fetches the image "web:1"' },
  },
  { it: 'creates once the image is here', given: { image: present }, want: { kind: 'create', imageID: 'sha256:1' } },
  { it: 'starts what was created', given: { container: container({ kind: 'created' }) }, want: { kind: 'start' } },
  {
    it: 'leaves alone what runs as it should',
    given: { container: container(running()) },
    want: { kind: 'settled', untilMs: undefined },
  },
  {
    it: 'looks again when a long run clears the failures',
    given: { container: container(running(5_000)), history: history({ failures: 2 }) },
    want: { kind: 'settled', untilMs: 65_000 },
  },
  {
    it: 'starts again when the wait is over',
    given: { container: container(exited(1)), history: history({ retry: { ...retry, atMs: 10_000 } }) },
    want: { kind: 'start' },
  },
  {
    it: 'waits until the next start is due',
    given: { container: container(exited(1)), history: history({ retry }) },
    want: { kind: 'wait', reason: 'CrashLoopBackOff', message: 'exited with code 1', untilMs: 12_000 },
  },
  {
    it: 'does not start again what may not run again',
    given: { container: container(exited(0)), history: history({ final: { reason: 'Completed', message: '' } }) },
    want: { kind: 'settled' },
  },
  {
    it: 'starts again what was stopped by its spec',
    given: { container: container(exited(143)), history: history({ isHalted: true }) },
    want: { kind: 'start' },
  },
  {
    it: 'stops what only a restart can help, to start it again',
    given: { container: container(damaged('upper-layer')) },
    want: { kind: 'stop', killAtMs: 40_000, because: 'damaged' },
  },
  {
    it: 'leaves a damaged container that may run but once',
    given: { container: container(damaged('volume')), desired: once },
    want: { kind: 'settled', untilMs: undefined },
  },
  {
    it: 'fetches a lost image before it restarts its container',
    given: { container: container(damaged('image-layer')) },
    want: { kind: 'ensure-image' },
  },
  {
    it: 'lets a container run on while its lost image is fetched',
    given: { container: container(damaged('image-layer')), image: { kind: 'pulling' } },
    want: { kind: 'settled', untilMs: undefined },
  },
  {
    it: 'lets a container run on while its lost image cannot be fetched',
    given: {
      container: container(damaged('image-layer')),
      history: history({ retry: { ...retry, of: 'image', isHostFault: true } }),
    },
    want: { kind: 'settled', untilMs: 12_000 },
  },
  {
    it: 'restarts a container once its lost image is here again',
    given: { container: container(damaged('image-layer')), image: present },
    want: { kind: 'stop', killAtMs: 40_000, because: 'damaged' },
  },
  {
    it: 'changes a running container in place',
    given: { container: container(running()), mutableHash: 'new' },
    want: { kind: 'update' },
  },
  {
    it: 'changes a stopped container before it starts',
    given: { container: container(exited(1)), mutableHash: 'new' },
    want: { kind: 'update' },
  },
  {
    it: 'keeps the old links while a target has no address',
    given: { container: container(running()), mutableHash: undefined },
    want: { kind: 'settled', untilMs: undefined },
  },
  {
    it: 'stops a running container of an old spec',
    given: { container: container(running(), otherSpec) },
    want: { kind: 'stop', killAtMs: 40_000, because: 'replaced' },
  },
  {
    it: 'removes a stopped container of an old spec',
    given: { container: container(exited(0), otherSpec) },
    want: { kind: 'remove', because: 'replaced' },
  },
  {
    it: 'stops what should not run',
    given: { desired: stopped, container: container(running()) },
    want: { kind: 'stop', killAtMs: 40_000, because: 'stopped' },
  },
  {
    it: 'is content with what is stopped and should be',
    given: { desired: stopped, container: container(exited(143)) },
    want: { kind: 'settled' },
  },
  { it: 'does not create what should not run', given: { desired: stopped }, want: { kind: 'settled' } },
  {
    it: 'waits for the grace to pass',
    given: {
      desired: stopped,
      container: container(running()),
      history: history({ stop: { sinceMs: 9_000, killAtMs: 39_000, isWithdrawn: false } }),
    },
    want: { kind: 'wait', reason: 'Terminating', message: 'was asked to stop', untilMs: 39_000 },
  },
  {
    it: 'kills when the grace has passed',
    given: {
      desired: stopped,
      container: container(running()),
      history: history({ stop: { sinceMs: 0, killAtMs: 10_000, isWithdrawn: false } }),
    },
    want: { kind: 'kill' },
  },
  {
    it: 'kills earlier when the grace was shortened meanwhile',
    given: {
      desired: desired({ spec: { desiredState: 'Stopped', terminationGracePeriodSeconds: 1 } }),
      container: container(running()),
      history: history({ stop: { sinceMs: 8_000, killAtMs: 38_000, isWithdrawn: false } }),
    },
    want: { kind: 'kill' },
  },
  {
    it: 'takes a stop that was taken back for none: the signal comes first again',
    given: {
      desired: stopped,
      container: container(running()),
      history: history({ stop: { sinceMs: 0, killAtMs: 5_000, isWithdrawn: true } }),
    },
    want: { kind: 'stop', killAtMs: 40_000, because: 'stopped' },
  },
  {
    it: 'stops also what has an impossible spec when it is asked to',
    given: {
      desired: { ...stopped, problem: { reason: 'DependencyCycle', message: 'x' } },
      container: container(running()),
    },
    want: { kind: 'stop', killAtMs: 40_000, because: 'stopped' },
  },
  {
    it: 'kills at once without a grace',
    given: {
      desired: desired({ spec: { desiredState: 'Stopped', terminationGracePeriodSeconds: 0 } }),
      container: container(running()),
    },
    want: { kind: 'kill' },
  },
  {
    it: 'stops a running container of a deleted object',
    given: { isDeleting: true, container: container(running()) },
    want: { kind: 'stop', killAtMs: 40_000, because: 'deleted' },
  },
  {
    it: 'removes a stopped container of a deleted object',
    given: { isDeleting: true, container: container(exited(0)) },
    want: { kind: 'remove', because: 'deleted' },
  },
  { it: 'lets a deleted object go when nothing is left', given: { isDeleting: true }, want: { kind: 'finalize' } },
  {
    it: 'has nothing to do for a deleted object that others hold',
    given: { isDeleting: true, hasFinalizer: false },
    want: { kind: 'settled' },
  },
  {
    it: 'deletes also what has an impossible spec',
    given: {
      isDeleting: true,
      desired: { ...desired(), problem: { reason: 'InvalidSpec', message: 'x' } },
      container: container(running()),
    },
    want: { kind: 'stop', killAtMs: 40_000, because: 'deleted' },
  },
  {
    it: 'leaves what runs alone when the new spec is impossible',
    given: {
      desired: { ...desired(), problem: { reason: 'InvalidSpec', message: 'x' } },
      container: container(running()),
    },
    want: { kind: 'wait', reason: 'InvalidSpec', message: 'x' },
  },
  {
    it: 'names a dependency that does not exist',
    given: { desired: linked, dependencies: [{ ...db, state: 'missing' }] },
    want: {
      kind: 'wait',
      reason: 'WaitingForDependency',
      message:
        'waits for container "db", which does not exist in this namespace; apply it, or remove it from spec.links',
    },
  },
  {
    it: 'waits for a dependency that does not run',
    given: { desired: needing, dependencies: [{ ...db, state: 'waiting' }] },
    want: { kind: 'wait', reason: 'WaitingForDependency', message: 'waits for container "db" to run' },
  },
  {
    it: 'takes a dependency that has done its work as started',
    given: { desired: needing, dependencies: [{ ...db, state: 'completed' }] },
    want: { kind: 'ensure-image' },
  },
  {
    it: 'does not take it so for a link, which needs an address',
    given: { desired: linked, dependencies: [{ ...db, state: 'completed' }] },
    want: { kind: 'wait', reason: 'WaitingForDependency', message: 'waits for container "db" to run' },
  },
  {
    it: 'leaves a running container alone when its dependency is gone',
    given: {
      desired: linked,
      mutableHash: undefined,
      container: container(running(), linkedContainer),
      dependencies: [{ ...db, state: 'missing' }],
    },
    want: { kind: 'settled', untilMs: undefined },
  },
  {
    it: 'freezes what runs and should be paused',
    given: { desired: frozen, container: container(running()) },
    want: { kind: 'pause' },
  },
  {
    it: 'is content with what is paused and should be',
    given: { desired: frozen, container: container(paused()) },
    want: { kind: 'settled', untilMs: undefined },
  },
  { it: 'lets go on what somebody froze', given: { container: container(paused()) }, want: { kind: 'resume' } },
  {
    it: 'starts what should be paused and does not run',
    given: { desired: frozen, container: container(exited(1)) },
    want: { kind: 'start' },
  },
  {
    it: 'changes what is paused in place',
    given: { desired: frozen, container: container(paused()), mutableHash: 'new' },
    want: { kind: 'update' },
  },
  {
    it: 'stops what is paused',
    given: { desired: stopped, container: container(paused()) },
    want: { kind: 'stop', killAtMs: 40_000, because: 'stopped' },
  },
  {
    it: 'lets go on what was frozen after it was asked to stop, since it could not obey',
    given: {
      desired: stopped,
      container: container(paused()),
      history: history({ stop: { sinceMs: 9_000, killAtMs: 39_000, isWithdrawn: false } }),
    },
    want: { kind: 'resume' },
  },
  {
    it: 'kills what is paused when the grace has passed',
    given: {
      isDeleting: true,
      container: container(paused()),
      history: history({ stop: { sinceMs: 0, killAtMs: 10_000, isWithdrawn: false } }),
    },
    want: { kind: 'kill' },
  },
  {
    it: 'sends a signal that is asked for',
    given: { desired: signalled, container: container(running()) },
    want: { kind: 'signal', request: { request: 'HUP@2', signal: 1 } },
  },
  {
    it: 'sends it once',
    given: {
      desired: signalled,
      container: container(running()),
      history: history({ lastSignal: { request: 'HUP@2', signal: 1, atMs: 1, message: '' } }),
    },
    want: { kind: 'settled', untilMs: undefined },
  },
  {
    it: 'sends another one',
    given: {
      desired: signalled,
      container: container(running()),
      history: history({ lastSignal: { request: 'HUP@1', signal: 1, atMs: 1, message: '' } }),
    },
    want: { kind: 'signal', request: { request: 'HUP@2', signal: 1 } },
  },
  {
    it: 'sends no signal to what is being deleted',
    given: { desired: signalled, isDeleting: true, container: container(exited(0)) },
    want: { kind: 'remove', because: 'deleted' },
  },
  {
    it: 'deletes what has ended for good when its time is over',
    given: { desired: shortLived, container: container(exited(0)), history: history({ final, restSinceMs: 5_000 }) },
    want: { kind: 'expire' },
  },
  {
    it: 'keeps it until then',
    given: { desired: shortLived, container: container(exited(0)), history: history({ final, restSinceMs: 5_001 }) },
    want: { kind: 'settled', untilMs: 10_001 },
  },
  {
    it: 'deletes what was stopped when its time is over',
    given: {
      desired: { ...shortLived, shouldRun: false },
      container: container(exited(143)),
      history: history({ restSinceMs: 5_000 }),
    },
    want: { kind: 'expire' },
  },
  {
    it: 'never deletes what is to start again',
    given: { desired: shortLived, container: container(exited(1)), history: history({ retry, restSinceMs: 0 }) },
    want: { kind: 'wait', reason: 'CrashLoopBackOff', message: 'exited with code 1', untilMs: 12_000 },
  },
  {
    it: 'does not delete what has never run',
    given: { desired: { ...shortLived, shouldRun: false }, container: container({ kind: 'created' }) },
    want: { kind: 'settled' },
  },
  {
    it: 'waits for the container of an earlier object of the name',
    given: { hasPredecessor: true },
    want: {
      kind: 'wait',
      reason: 'ContainerCreating',
      message: 'waits until the container of an earlier object of this name is gone',
    },
  },
];

describe('decide', () => {
  for (const c of cases) it(c.it, () => assert.deepEqual(decide({ ...base, ...c.given }), c.want));
});
