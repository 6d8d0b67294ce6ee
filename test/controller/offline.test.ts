/** The controller while its store is away or has lost its data, with simulated containers: they are kept by policy. */
import assert from 'node:assert/strict';
import { readHeld, writeConfirmations } from '../../controller/confirmations.ts';
import type { Container } from '../../crds/index.ts';
import { containerIDOf } from '../../crds/index.ts';
import type { ContainerConfig } from '../../runtime/index.ts';
import { until } from '../until.ts';
import { type Rig, useRig } from './rig.ts';

type Status = NonNullable<Container['status']>;
const isRunning = ({ state }: Status): boolean => state === 'Running';
const crashing = (): { exitAfterMs: number; exitCode: number } => ({ exitAfterMs: 5, exitCode: 1 });

describe('the controller without its store', function () {
  this.timeout(240_000);
  const rig: Rig = useRig();
  const callsOf = (name: string): string[] =>
    rig.runtime.calls.filter((one) => one.endsWith(` default/${name}`)).map((one) => one.split(' ')[0] ?? '');
  const startsOf = (name: string): number => callsOf(name).filter((one) => one === 'start').length;
  const restartsGoOn = async (name: string): Promise<void> => {
    const before = startsOf(name);
    await until(() => startsOf(name) >= before + 3, `three more starts of ${name}`);
  };
  const endings = (): string[] => rig.runtime.calls.filter((one) => /^(signal|remove)/.test(one));
  const metric = (name: string): Promise<string> => rig.metrics.getSingleMetricAsString(name);
  const heldCount = async (): Promise<number> =>
    [...(await metric('holdfast_held_objects')).matchAll(/\} (\d+)$/gm)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
  const pidOf = async (object: Container): Promise<number | undefined> => {
    const state = (await rig.runtime.containers.inspect(containerIDOf(object)))?.state;
    return state?.kind === 'running' ? state.pid : undefined;
  };
  const written = (): Promise<void> =>
    until(async () => /success"\} [1-9]/.test(await metric('holdfast_checkpoint_writes_total')), 'a checkpoint');

  it('heals what crashes while the store is away, and tells of it when the store is back', async () => {
    rig.behaviours.set('loop', crashing);
    await rig.create('web');
    await rig.create('loop');
    await rig.create('quiet');
    await rig.reach('quiet', isRunning, 'running');
    const web = await rig.reach('web', isRunning, 'running');
    await rig.stopStore();
    await restartsGoOn('loop');
    rig.runtime.exit(containerIDOf(web), 3);
    await until(() => startsOf('web') === 2, 'web to be started again');
    await until(async () => /holdfast_store_reachable 0/.test(await metric('holdfast_store_reachable')), 'the outage');
    await rig.startStore();
    const { status } = await rig.reach('web', (one) => isRunning(one) && one.restartCount === 1, 'told of');
    const condition = status?.conditions?.find(({ type }) => type === 'StoreReachable');
    assert.deepEqual([condition?.status, condition?.reason], ['True', 'BackAgain']);
    await rig.reach('loop', ({ restartCount }) => (restartCount ?? 0) >= 3, 'told of');
    await until(async () => /holdfast_store_reachable 1/.test(await metric('holdfast_store_reachable')), 'its end');
    await until(async () => (await rig.events()).some(({ reason }) => reason === 'StoreWasAway'), 'the event');
    assert.deepEqual(endings(), []);
    // Who had nothing to tell is not written to, and who was told keeps it.
    const quiet = await rig.get('quiet');
    assert.equal(
      quiet.status?.conditions?.find(({ type }) => type === 'StoreReachable'),
      undefined,
    );
  });
  it('boots from its checkpoint, in the order of dependencies, with the last known values, and counts on', async () => {
    await rig.call('POST', '/api/v1/namespaces/default/secrets', {
      metadata: { name: 'key' },
      stringData: { value: 'as it was' },
    });
    rig.behaviours.set('loop', (runs) => (runs < 3 ? crashing() : {}));
    await rig.create('agent', {
      links: [{ name: 'web' }],
      env: [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'key', key: 'value' } } }],
    });
    await rig.create('loop', { backoff: { initial: '10ms', max: '10ms', resetAfter: '1h' } });
    await rig.create('web');
    const agent = await rig.reach('agent', isRunning, 'running');
    const before = await rig.reach('loop', ({ restartCount }) => restartCount === 3, 'restarted three times');
    await rig.stopController();
    await rig.stopStore();
    await rig.reboot();
    rig.behaviours.set('loop', (runs) => (runs < 1 ? crashing() : {}));
    const { containers } = rig.runtime;
    const { create } = containers;
    const made: ContainerConfig[] = [];
    Object.assign(containers, {
      create: (config: ContainerConfig, signal: AbortSignal) => {
        made.push(config);
        return create(config, signal);
      },
    });
    await rig.startController();
    await until(() => ['web', 'agent'].every((name) => startsOf(name) === 1) && startsOf('loop') === 2, 'all to run');
    const starts = rig.runtime.calls.filter((one) => one.startsWith('start '));
    assert.ok(starts.indexOf('start default/web') < starts.indexOf('start default/agent'), starts.join());
    const { env } = made.find(({ id }) => id === containerIDOf(agent)) ?? {};
    assert.equal(env?.find(({ name }) => name === 'KEY')?.value, 'as it was');
    await rig.startStore();
    const after = await rig.reach('loop', (status) => isRunning(status) && status.restartCount === 5, 'counted on');
    assert.equal(after.metadata.uid, before.metadata.uid);
    await rig.reach('agent', isRunning, 'told of');
    assert.deepEqual(endings(), []);
    assert.equal(await heldCount(), 0);
  });
  it('takes what was asked for meanwhile, once the store is back', async () => {
    await rig.create('web');
    await rig.create('old');
    for (const name of ['web', 'old']) await rig.reach(name, isRunning, 'running');
    await rig.stopController();
    await rig.patch('web', { spec: { desiredState: 'Stopped' } });
    await rig.remove('old');
    await rig.create('new');
    await rig.stopStore();
    await rig.startController();
    await rig.relists(2);
    assert.deepEqual(endings(), []);
    await rig.startStore();
    await rig.reach('web', ({ reason }) => reason === 'Stopped', 'stopped');
    await rig.reach('new', isRunning, 'running');
    await rig.gone('old');
    assert.deepEqual(callsOf('old').at(-1), 'remove');
  });
  it('ends nothing when the store comes back empty, keeps all by policy, and knows them again when they return', async () => {
    await rig.call('POST', '/api/v1/namespaces/default/secrets', {
      metadata: { name: 'key' },
      stringData: { value: 'x' },
    });
    const env = [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'key', key: 'value' } } }];
    rig.behaviours.set('loop', crashing);
    const web = await rig.create('web');
    await rig.create('loop', { env });
    await rig.reach('web', isRunning, 'running');
    await rig.reach('loop', ({ restartCount }) => (restartCount ?? 0) > 1, 'restarted');
    const pid = await pidOf(web);
    await written();
    await rig.loseStore();
    await until(async () => (await heldCount()) === 2, 'both to be held');
    await restartsGoOn('loop');
    await until(
      async () =>
        (await rig.events()).some(
          ({ reason, message }) => reason === 'DeletionsRefused' && /another one.*default\/(loop|web)/.test(message),
        ),
      'the event',
    );
    await rig.restartController();
    await until(async () => (await heldCount()) === 2, 'both to be held still');
    await rig.relists(2);
    assert.equal(await heldCount(), 2);
    await restartsGoOn('loop');
    assert.deepEqual([await pidOf(web), endings()], [pid, []]);
    const again = await rig.create('web');
    assert.notEqual(again.metadata.uid, web.metadata.uid);
    const told = await rig.reach('web', isRunning, 'told of');
    assert.deepEqual([told.status?.pid, told.status?.containerID], [pid, containerIDOf(web)]);
    await until(async () => (await heldCount()) === 1, 'one to be held');
    let held = await readHeld(rig.checkpointDir);
    await until(async () => {
      held = await readHeld(rig.checkpointDir);
      return held.length === 1;
    }, 'the checkpoint to follow');
    assert.deepEqual(
      held.map(({ held: { key, because }, object }) => [key, because, object?.metadata.name]),
      [['default/loop', 'OtherStore', 'loop']],
    );
    await writeConfirmations(
      rig.checkpointDir,
      held.map(({ held: { uid } }) => uid),
    );
    await until(async () => (await rig.runtime.containers.list()).length === 1, 'what was confirmed to end');
    assert.deepEqual([await heldCount(), await pidOf(web), endings().at(-1)], [0, pid, 'remove default/loop']);
  });
  it('holds the only container of a host whose store was lost, also over a boot without the store', async () => {
    const web = await rig.create('web');
    await rig.reach('web', isRunning, 'running');
    await rig.stopController();
    await rig.loseStore();
    await rig.stopStore();
    await rig.startController();
    await rig.relists(2);
    await rig.startStore();
    await until(async () => (await heldCount()) === 1, 'it to be held');
    await rig.relists(2);
    assert.equal(await heldCount(), 1);
    assert.ok((await pidOf(web)) !== undefined);
    assert.deepEqual(endings(), []);
  });
  it('holds what a backup of the store lacks, also when it is put in place while the daemon is away', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await rig.create(name);
    for (const name of ['a', 'b', 'c', 'd']) await rig.reach(name, isRunning, 'running');
    await rig.stopController();
    await rig.stopStore();
    const backup = await rig.copyStore();
    await rig.startStore();
    // Of the last list it knows no more than the backup has: what came later was told by the watch.
    await rig.startController();
    const late = await rig.create('late');
    await rig.reach('late', isRunning, 'running');
    await rig.stopController();
    await rig.stopStore();
    await backup.restore();
    await rig.startStore();
    await rig.startController();
    await until(async () => (await heldCount()) === 1, 'it to be held');
    await rig.relists(2);
    assert.equal(await heldCount(), 1);
    assert.ok((await pidOf(late)) !== undefined);
    assert.deepEqual(endings(), []);
  });
  it('ends nothing whose object the store has damaged, and goes on when it is created anew', async () => {
    for (const name of ['a', 'b', 'c']) await rig.create(name);
    for (const name of ['a', 'b', 'c']) await rig.reach(name, isRunning, 'running');
    const pid = await pidOf(await rig.get('b'));
    await rig.stopController();
    await rig.stopStore();
    rig.damage('default/b');
    await rig.startStore();
    await rig.startController();
    await until(async () => (await heldCount()) === 1, 'it to be held');
    assert.deepEqual((await rig.list()).map(({ metadata }) => metadata.name).sort(), ['a', 'c']);
    assert.deepEqual(endings(), []);
    const again = await rig.create('b');
    const told = await rig.reach('b', isRunning, 'told of');
    assert.deepEqual([told.status?.pid, told.metadata.uid, endings()], [pid, again.metadata.uid, []]);
    await until(async () => (await heldCount()) === 0, 'none to be held');
  });
  it('refuses that more than half go at once unseen, and lets a single one go', async () => {
    const names = ['a', 'b', 'c', 'd'];
    for (const name of names) await rig.create(name);
    for (const name of names) await rig.reach(name, isRunning, 'running');
    const forceOut = async (name: string): Promise<void> => {
      await rig.patch(name, { metadata: { finalizers: null } });
      await rig.remove(name);
    };
    await rig.stopController();
    await forceOut('a');
    await rig.startController();
    await until(async () => (await rig.runtime.containers.list()).length === 3, 'one to go');
    await rig.stopController();
    for (const name of ['b', 'c']) await forceOut(name);
    await rig.startController();
    await until(async () => (await heldCount()) === 2, 'both to be held');
    await rig.relists(2);
    assert.equal(await heldCount(), 2);
    assert.deepEqual(endings(), ['signal-15 default/a', 'remove default/a']);
    // Another one, seen to be deleted, goes as ever.
    await rig.remove('d');
    await rig.gone('d');
    assert.equal((await rig.runtime.containers.list()).length, 2);
  });
  it('keeps containers of which it has neither object nor checkpoint, when they are many', async () => {
    const web = await rig.create('web');
    await rig.create('agent');
    for (const name of ['web', 'agent']) await rig.reach(name, isRunning, 'running');
    const pid = await pidOf(web);
    await rig.stopController();
    await rig.loseCheckpoint();
    await rig.loseStore();
    await rig.startController();
    await until(async () => (await heldCount()) === 2, 'both to be held');
    await rig.relists(2);
    assert.equal(await heldCount(), 2);
    await rig.create('web');
    const told = await rig.reach('web', isRunning, 'told of');
    assert.equal(told.status?.pid, pid);
    await until(async () => (await heldCount()) === 1, 'one to be held');
    assert.deepEqual(endings(), []);
  });
});
