/** Pause, signals and expiry over the real store, with simulated containers. */
import assert from 'node:assert/strict';
import type { Container } from '../../crds/index.ts';
import { until } from '../until.ts';
import { type Rig, useRig } from './rig.ts';

describe('the course of a container, by its spec', function () {
  this.timeout(240_000);
  const rig: Rig = useRig();
  const isRunning = ({ state }: NonNullable<Container['status']>): boolean => state === 'Running';
  const callsOf = (name: string): string[] =>
    rig.runtime.calls.filter((one) => one.endsWith(`default/${name}`)).map((one) => one.split(' ')[0] ?? '');

  it('pauses and goes on with the same process, which others do not notice', async () => {
    await rig.create('web');
    await rig.create('agent', { links: [{ name: 'web' }] });
    const before = await rig.reach('agent', isRunning, 'running');
    const { status } = await rig.reach('web', isRunning, 'running');
    await rig.patch('web', { spec: { desiredState: 'Paused' } });
    const paused = await rig.reach('web', ({ state }) => state === 'Paused', 'paused');
    assert.equal(paused.status?.pid, status?.pid);
    assert.equal(paused.status?.conditions?.find(({ type }) => type === 'Ready')?.reason, 'Paused');
    await rig.patch('web', { spec: { desiredState: 'Running' } });
    const after = await rig.reach('web', isRunning, 'running');
    assert.deepEqual([after.status?.pid, after.status?.restartCount], [status?.pid, 0]);
    assert.equal((await rig.get('agent')).status?.pid, before.status?.pid);
  });
  it('makes what is stopped and to be prepared, starts it when asked', async () => {
    await rig.create('web', { desiredState: 'Stopped' });
    await rig.reach('web', ({ reason }) => reason === 'Stopped', 'seen');
    const kind = async () => (await rig.runtime.containers.inspect(await rig.idOf('web')))?.state.kind;
    assert.equal(await kind(), undefined);
    await rig.patch('web', { metadata: { annotations: { 'holdfast.dev/prepare': 'true' } } });
    await until(async () => (await kind()) === 'created', 'it to be made');
    assert.equal((await rig.get('web')).status?.state, 'Created');
    await rig.patch('web', { spec: { desiredState: 'Running' } });
    await rig.reach('web', isRunning, 'running');
    assert.deepEqual(callsOf('web'), ['start']);
  });
  it('keeps paused what somebody let go on, and lets go on what somebody froze', async () => {
    await rig.create('web', { desiredState: 'Paused' });
    await rig.reach('web', ({ state }) => state === 'Paused', 'paused');
    const id = await rig.idOf('web');
    const paused = async (): Promise<boolean> => {
      const state = (await rig.runtime.containers.inspect(id))?.state;
      return state?.kind === 'running' && state.isPaused === true;
    };
    await rig.runtime.containers.resume(id);
    await until(paused, 'it to be paused again');
    await rig.patch('web', { spec: { desiredState: 'Running' } });
    await rig.reach('web', isRunning, 'running');
    await rig.runtime.containers.pause(id);
    await until(async () => !(await paused()), 'it to go on');
  });
  it('stops and deletes what is paused as gracefully as what runs', async () => {
    await rig.create('web', { desiredState: 'Paused' });
    await rig.reach('web', ({ state }) => state === 'Paused', 'paused');
    await rig.patch('web', { spec: { desiredState: 'Stopped' } });
    const { status } = await rig.reach('web', ({ reason }) => reason === 'Stopped', 'stopped');
    assert.equal(status?.exitCode, 143);
    await rig.patch('web', { spec: { desiredState: 'Paused' } });
    await rig.reach('web', ({ state }) => state === 'Paused', 'paused');
    await rig.remove('web');
    await rig.gone('web');
    assert.deepEqual(callsOf('web').slice(-3), ['signal-15', 'resume', 'remove']);
  });
  it('sends a signal once for each value of the annotation, also over a restart of the controller', async () => {
    rig.behaviours.set('web', () => ({ isStubborn: true }));
    await rig.create('web');
    const { status } = await rig.reach('web', isRunning, 'running');
    const ask = (value: string) => rig.patch('web', { metadata: { annotations: { 'holdfast.dev/signal': value } } });
    await ask('HUP@1');
    const first = await rig.reach('web', ({ lastSignal }) => lastSignal?.request === 'HUP@1', 'signalled');
    assert.deepEqual([first.status?.lastSignal?.signal, first.status?.pid], [1, status?.pid]);
    await rig.restartController();
    await ask('USR1@2');
    await rig.reach('web', ({ lastSignal }) => lastSignal?.request === 'USR1@2', 'signalled again');
    await ask('NONSENSE@3');
    const third = await rig.reach('web', ({ lastSignal }) => lastSignal?.request === 'NONSENSE@3', 'refused');
    assert.match(third.status?.lastSignal?.message ?? '', /"NONSENSE" is not a signal/);
    await rig.relists(2);
    assert.deepEqual(
      callsOf('web').filter((one) => one.startsWith('signal')),
      ['signal-1', 'signal-10'],
    );
  });
  it('sends no old signal to what starts later', async () => {
    await rig.create('web', { desiredState: 'Stopped' }, { 'holdfast.dev/signal': 'HUP@1' });
    const { status } = await rig.reach('web', ({ lastSignal }) => lastSignal !== undefined, 'answered');
    assert.match(status?.lastSignal?.message ?? '', /was not sent: the container does not run/);
    await rig.patch('web', { spec: { desiredState: 'Running' } });
    await rig.reach('web', isRunning, 'running');
    await rig.relists(2);
    assert.deepEqual(callsOf('web'), ['start']);
  });
  it('shows debug sessions for what they are, and restarts and stops in spite of them', async () => {
    rig.behaviours.set('web', (runs) => (runs === 0 ? { exitAfterMs: 5, exitCode: 1 } : {}));
    await rig.create('web', { backoff: { initial: '1h', max: '1h', jitter: 0 } });
    const { status } = await rig.reach('web', ({ state }) => state === 'Restarting', 'waiting');
    const id = await rig.idOf('web');
    rig.runtime.setDebugSessions(id, 1);
    const open = await rig.reach('web', ({ debugSessions }) => debugSessions === 1, 'examined');
    const conditions = (object: Container): Record<string, string> =>
      Object.fromEntries((object.status?.conditions ?? []).map((one) => [one.type, `${one.status} ${one.reason}`]));
    assert.deepEqual(
      [conditions(open).DebugSession, conditions(open).Ready, open.status?.state],
      ['True Open', 'False CrashLoopBackOff', 'Restarting'],
    );
    assert.equal(open.status?.backoff?.nextRestartAt, status?.backoff?.nextRestartAt);
    rig.clockOffsetMs = 2 * 3_600_000;
    const again = await rig.reach('web', isRunning, 'running');
    assert.deepEqual([again.status?.debugSessions, conditions(again).Ready], [1, 'True Running']);
    rig.runtime.setDebugSessions(id, 0);
    const closed = await rig.reach('web', ({ debugSessions }) => debugSessions === undefined, 'left alone');
    assert.equal(conditions(closed).DebugSession, 'False Closed');
    rig.runtime.setDebugSessions(id, 2);
    await rig.remove('web');
    await rig.gone('web');
    await until(async () => {
      const reasons = (await rig.events()).map(({ reason }) => reason);
      return reasons.includes('DebugSessionStarted') && reasons.includes('DebugSessionEnded');
    }, 'the events');
  });
  it('deletes what has ended for good, after all could see how it ended', async () => {
    rig.behaviours.set('job', () => ({ exitAfterMs: 5, exitCode: 3 }));
    const seen = await rig.watch();
    await rig.create('job', { restartPolicy: 'Never', ttlSecondsAfterFinished: 0 });
    await rig.gone('job');
    await until(() => seen.some(({ type }) => type === 'DELETED'), 'the watch to tell');
    const last = seen.findLast(({ object }) => object.metadata.name === 'job');
    assert.deepEqual([last?.object.status?.state, last?.object.status?.exitCode], ['Exited', 3]);
    assert.deepEqual(await rig.runtime.containers.list(), []);
  });
  it('does not delete what is to start again, nor before its time', async () => {
    rig.behaviours.set('crash', () => ({ exitAfterMs: 5, exitCode: 1 }));
    await rig.create('crash', { restartPolicy: 'OnFailure', ttlSecondsAfterFinished: 0, restart: { maxRetries: 3 } });
    rig.behaviours.set('later', () => ({ exitAfterMs: 5, exitCode: 0 }));
    const seen = await rig.watch();
    await rig.create('later', { restartPolicy: 'Never', ttlSecondsAfterFinished: 2 });
    await rig.gone('later');
    const goneMs = Date.now();
    await rig.gone('crash');
    assert.equal(callsOf('crash').filter((one) => one === 'start').length, 4);
    const isLast = ({ type, object }: (typeof seen)[number]): boolean =>
      type === 'DELETED' && object.metadata.name === 'later';
    await until(() => seen.some(isLast), 'the watch to tell');
    const status = seen.find(isLast)?.object.status;
    assert.equal(status?.state, 'Exited');
    assert.ok(goneMs >= Date.parse(status.finishedAt ?? '') + 2_000);
  });
  it('deletes what expired while the store was away, once it is back', async () => {
    await rig.create('job', { restartPolicy: 'Never', ttlSecondsAfterFinished: 0 });
    await rig.reach('job', isRunning, 'running');
    const id = await rig.idOf('job');
    await rig.stopStore();
    rig.runtime.exit(id, 0);
    await until(
      async () => (await rig.runtime.containers.list()).some(({ state }) => state.kind === 'exited'),
      'the end of the job',
    );
    await rig.startStore();
    await rig.gone('job');
  });
});
