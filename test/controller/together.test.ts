/** Containers that depend on each other, over the real store, with simulated containers. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import type { Container } from '../../crds/index.ts';
import { until } from '../until.ts';
import { type Rig, useRig } from './rig.ts';

describe('containers that depend on each other', function () {
  this.timeout(240_000);
  const rig: Rig = useRig();
  const isRunning = ({ state }: NonNullable<Container['status']>): boolean => state === 'Running';
  const pidOf = async (name: string): Promise<number | undefined> =>
    (await rig.reach(name, isRunning, 'up')).status?.pid;
  const stopsOf = (): string[] => rig.runtime.calls.filter((one) => one.startsWith('signal-'));
  /** What the programs of probes end with, by their first word. */
  const answer = (codes: Map<string, number>): void => {
    Object.assign(rig.runtime.containers, {
      exec: async (_id: string, { args }: { args: readonly string[] }) => ({
        ...{ stdin: undefined, stdout: Readable.from([]), stderr: undefined, resize: async () => {} },
        exit: Promise.resolve(codes.get(args[0] ?? '') ?? 0),
        close: async () => {},
      }),
    });
  };

  it('start when what they need is ready, or has completed, and say what they wait for', async () => {
    const codes = new Map([['check', 1]]);
    answer(codes);
    rig.behaviours.set('migrate', (runs) => ({ exitAfterMs: 5, exitCode: runs === 0 ? 1 : 0 }));
    const readinessProbe = { exec: { command: ['check'] }, periodSeconds: 1, failureThreshold: 1 };
    await rig.create('app', {
      dependsOn: [
        { name: 'db', condition: 'Ready' },
        { name: 'migrate', condition: 'Completed' },
      ],
    });
    await rig.create('db', { readinessProbe });
    const why =
      /^waits for container "db" to be ready: readiness probe failed: exit code 1; waits for container "migrate", which does not exist/;
    await rig.reach(
      'app',
      ({ reason, message }) => reason === 'WaitingForDependency' && why.test(message ?? ''),
      'waiting',
    );
    await rig.create('migrate', { restartPolicy: 'OnFailure' });
    await rig.reach('migrate', ({ reason }) => reason === 'Completed', 'completed');
    assert.equal((await rig.get('app')).status?.state, 'Created');
    codes.set('check', 0);
    await rig.reach('app', isRunning, 'running');
    const { status } = await rig.reach('db', ({ ready }) => ready === true, 'ready');
    assert.deepEqual([status?.started, status?.restartCount], [true, 0]);
  });
  it('keep what was started and ready over a restart of the controller', async () => {
    const codes = new Map<string, number>();
    answer(codes);
    const probe = (word: string) => ({ exec: { command: [word] }, periodSeconds: 1, failureThreshold: 600 });
    await rig.create('db', { startupProbe: probe('begin'), readinessProbe: probe('check') });
    await rig.reach('db', ({ ready }) => ready === true, 'ready');
    codes.set('begin', 1).set('check', 1);
    await rig.restartController();
    await rig.create('app', { dependsOn: [{ name: 'db', condition: 'Ready' }] });
    await rig.reach('app', isRunning, 'running');
    assert.equal((await rig.get('db')).status?.ready, true);
  });
  it('are restarted with what they need if they ask for it, also after the controller was away, and never twice', async () => {
    await rig.create('db');
    await rig.create('app', { dependsOn: [{ name: 'db', restartOn: 'Restart' }] });
    await rig.create('other', { dependsOn: [{ name: 'db' }] });
    const before = [await pidOf('app'), await pidOf('other')];
    const id = await rig.idOf('db');
    const restartedSince = (pid: number | undefined) => async (): Promise<boolean> => {
      const { status } = await rig.get('app');
      return status?.state === 'Running' && status.pid !== pid;
    };
    rig.runtime.exit(id, 1);
    await until(restartedSince(before[0]), 'app to be restarted');
    const second = await pidOf('app');
    await rig.restartController();
    await rig.relists(2);
    assert.deepEqual([await pidOf('app'), await pidOf('other')], [second, before[1]]);
    await rig.stopController();
    rig.runtime.exit(id, 1);
    await rig.runtime.containers.start(id, new AbortController().signal);
    await rig.startController();
    await until(restartedSince(second), 'app to be restarted again');
    assert.equal(await pidOf('other'), before[1]);
    const starts = rig.runtime.calls.filter((one) => one === 'start default/app').length;
    await rig.relists(2);
    assert.deepEqual([starts, rig.runtime.calls.filter((one) => one === 'start default/app').length], [3, 3]);
  });
  it('stop in the reverse order when they go together, each when the one before has ended', async () => {
    rig.behaviours.set('app', () => ({ isStubborn: true }));
    await rig.create('db');
    await rig.create('app', { links: [{ name: 'db' }] });
    await rig.create('front', { dependsOn: [{ name: 'app' }] });
    await rig.reach('front', isRunning, 'running');
    for (const name of ['db', 'app']) await rig.patch(name, { spec: { desiredState: 'Stopped' } });
    await rig.remove('front');
    await rig.reach('db', ({ reason }) => reason === 'Stopped', 'stopped');
    assert.deepEqual(stopsOf(), [
      'signal-15 default/front',
      'signal-15 default/app',
      'signal-9 default/app',
      'signal-15 default/db',
    ]);
  });
  it('stay when only what they need goes, which says whom it waited for', async () => {
    await rig.create('db');
    await rig.create('app', { dependsOn: [{ name: 'db' }] });
    const pid = await pidOf('app');
    // It waits for a second only; a watch misses nothing of it.
    const seen = await rig.watch();
    const reasons = (): (string | undefined)[] =>
      seen.filter(({ object }) => object.metadata.name === 'db').map(({ object }) => object.status?.reason);
    await rig.patch('db', { spec: { desiredState: 'Stopped' } });
    await until(() => reasons().includes('Stopped'), 'db to be stopped');
    assert.ok(reasons().includes('WaitingForDependents'), reasons().join());
    assert.equal(await pidOf('app'), pid);
  });
  it('have their preStop hook before the signal, with a hook that fails told, and an end by a probe counted as a failure', async () => {
    const codes = new Map([['bye', 1]]);
    answer(codes);
    const exec = (word: string) => ({ exec: { command: [word] } });
    await rig.create('app', {
      restartPolicy: 'OnFailure',
      lifecycle: { preStop: exec('bye') },
      livenessProbe: { ...exec('live'), periodSeconds: 1, failureThreshold: 1 },
    });
    await rig.reach('app', isRunning, 'running');
    codes.set('live', 1);
    const { status } = await rig.reach('app', ({ restartCount = 0 }) => restartCount > 0, 'restarted');
    assert.match(status?.lastTermination?.message ?? '', /^liveness probe failed/);
    await until(async () => (await rig.events()).some(({ reason }) => reason === 'FailedPreStopHook'), 'the event');
    assert.equal(stopsOf()[0], 'signal-15 default/app');
  });
  it('have their hooks done again where the controller ended meanwhile, and none left out', async () => {
    const begun: string[] = [];
    let isStuck = true;
    Object.assign(rig.runtime.containers, {
      exec: async (_id: string, { args }: { args: readonly string[] }, signal: AbortSignal) => {
        begun.push(args[0] ?? '');
        if (isStuck)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
        return {
          ...{ stdin: undefined, stdout: Readable.from([]), stderr: undefined, resize: async () => {} },
          ...{ exit: Promise.resolve(0), close: async () => {} },
        };
      },
    });
    const exec = (word: string) => ({ exec: { command: [word] } });
    const lifecycle = { postStart: exec('hello'), preStop: exec('bye') };
    await rig.create('app', { lifecycle, terminationGracePeriodSeconds: 600 });
    await until(() => begun.length === 1, 'the postStart hook to begin');
    await rig.reach('app', ({ started }) => started === false, 'starting');
    await rig.stopController();
    isStuck = false;
    await rig.startController();
    await rig.reach('app', ({ started }) => started === true, 'started');
    isStuck = true;
    await rig.patch('app', { spec: { desiredState: 'Stopped' } });
    await until(() => begun.length === 3, 'the preStop hook to begin');
    await rig.stopController();
    assert.deepEqual(stopsOf(), []);
    isStuck = false;
    await rig.startController();
    await rig.reach('app', ({ reason }) => reason === 'Stopped', 'stopped');
    assert.deepEqual([begun, stopsOf()], [['hello', 'hello', 'bye', 'bye'], ['signal-15 default/app']]);
  });
  it('are refused a probe that cannot be, by its field, and what runs goes on', async () => {
    await rig.create('app');
    const pid = await pidOf('app');
    await rig.patch('app', { spec: { livenessProbe: { httpGet: { port: 'web' } } } });
    const { status } = await rig.reach('app', ({ reason }) => reason === 'InvalidSpec', 'refused');
    assert.match(status?.message ?? '', /^spec\.livenessProbe\.httpGet\.port: "web" is neither a port/);
    assert.deepEqual([status?.state, status?.pid], ['Running', pid]);
  });
});
