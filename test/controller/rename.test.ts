/** A container that goes on under another name: the command, the controller and the store, with simulated containers. */
import assert from 'node:assert/strict';
import { parseRenameArgs } from '../../cli/rename-args.ts';
import { RenameError, rename } from '../../client/index.ts';
import type { Container } from '../../crds/index.ts';
import { formatRenamedFrom, renamedFromAnnotation } from '../../crds/index.ts';
import { until } from '../until.ts';
import { type Rig, useRig } from './rig.ts';

const isRunning = ({ state }: NonNullable<Container['status']>): boolean => state === 'Running';
const never = new AbortController().signal;

describe('rename', function () {
  this.timeout(240_000);
  const rig: Rig = useRig();
  const run = (from: string, to: string, deadlineMs = 30_000): Promise<void> =>
    rename({ access: rig.access, namespace: 'default', from, to, deadlineMs }, never);
  /** What the command creates, without the command. */
  const createHeir = async (name: string, from: Container): Promise<Container> =>
    rig.create(
      name,
      { ...from.spec, hostname: from.metadata.name },
      { [renamedFromAnnotation]: formatRenamedFrom(from) },
    );
  const starts = (): number => rig.runtime.calls.filter((one) => one.startsWith('start')).length;
  const owners = async (): Promise<(string | undefined)[]> =>
    (await rig.runtime.containers.list()).map(({ labels, name }) => `${name} ${labels['holdfast.dev/name']}`);

  it('leaves the process alone, and takes along what was remembered', async () => {
    rig.behaviours.set('web', (runs) => (runs < 2 ? { exitAfterMs: 5, exitCode: 7 } : {}));
    await rig.create('web');
    const before = await rig.reach('web', (now) => isRunning(now) && now.restartCount === 2, 'running after crashes');
    await rig.patch('web', { metadata: { annotations: { 'holdfast.dev/signal': 'NONE@1', own: 'kept' } } });
    await rig.reach('web', ({ lastSignal }) => lastSignal !== undefined, 'answered');
    const count = starts();
    await run('web', 'web-old');
    const after = await rig.reach('web-old', isRunning, 'running');
    const { pid, containerID, restartCount, startedAt, lastTermination, lastSignal } = after.status ?? {};
    assert.deepEqual(
      [pid, containerID, restartCount, startedAt, lastTermination?.exitCode],
      [before.status?.pid, before.status?.containerID, 2, before.status?.startedAt, 7],
    );
    assert.equal(lastSignal?.request, 'NONE@1');
    assert.equal(after.metadata.annotations?.own, 'kept');
    assert.deepEqual(await owners(), ['default/web-old web-old']);
    await rig.gone('web');
    await rig.relists(3);
    assert.equal(starts(), count);
  });
  it('frees the name: another container may have it, and links to the new name are followed', async () => {
    await rig.create('web');
    const before = await rig.reach('web', isRunning, 'running');
    await rig.create('agent', { links: [{ name: 'web-old' }] });
    await run('web', 'web-old');
    await rig.create('web');
    await rig.reach('web', isRunning, 'running');
    await rig.reach('agent', isRunning, 'running');
    assert.equal((await rig.get('web-old')).status?.pid, before.status?.pid);
    assert.notEqual(await rig.idOf('web'), await rig.idOf('web-old'));
    await rig.remove('web-old');
    await rig.gone('web-old');
    assert.deepEqual((await owners()).sort(), ['default/agent agent', 'default/web web']);
  });
  it('may be repeated, also back to the first name', async () => {
    await rig.create('one');
    const { status } = await rig.reach('one', isRunning, 'running');
    for (const [from, to] of [
      ['one', 'two'],
      ['two', 'three'],
      ['three', 'one'],
    ] as const) {
      await run(from, to);
    }
    const after = await rig.reach('one', isRunning, 'running');
    assert.deepEqual([after.status?.pid, after.status?.containerID], [status?.pid, status?.containerID]);
    // A new spec replaces the container, which keeps its id.
    await rig.patch('one', { spec: { env: [{ name: 'A', value: 'b' }] } });
    await rig.reach('one', (now) => isRunning(now) && now.pid !== status?.pid, 'replaced');
    assert.equal((await rig.get('one')).status?.containerID, status?.containerID);
  });
  it('finishes when it was interrupted, whoever was away: the command, or the controller', async () => {
    await rig.create('web');
    const before = await rig.reach('web', isRunning, 'running');
    await createHeir('web-old', before);
    await rig.reach('web-old', ({ reason }) => reason === 'RenamePending', 'waiting');
    assert.equal((await rig.get('web-old')).status?.containerID, undefined);
    await rig.stopController();
    await assert.rejects(run('web', 'web-old', 300), RenameError);
    await rig.startController();
    await run('web', 'web-old');
    await run('web', 'web-old');
    const after = await rig.reach('web-old', isRunning, 'running');
    assert.deepEqual([after.status?.pid, starts()], [before.status?.pid, 1]);
  });
  it('carries the memory over when the controller is killed right after the container changed hands', async () => {
    rig.behaviours.set('web', (runs) => (runs < 2 ? { exitAfterMs: 5, exitCode: 7 } : {}));
    await rig.create('web');
    const before = await rig.reach('web', (now) => isRunning(now) && now.restartCount === 2, 'running after crashes');
    await rig.stopController();
    await createHeir('web-old', before);
    await rig.remove('web');
    // As the controller does it, and no more.
    const [container] = await rig.runtime.containers.list();
    const { uid } = (await rig.get('web-old')).metadata;
    const labels = { ...container?.labels, 'holdfast.dev/uid': uid, 'holdfast.dev/name': 'web-old' };
    await rig.runtime.containers.update(container?.id ?? '', { name: 'default/web-old', labels });
    await rig.startController();
    const after = await rig.reach('web-old', isRunning, 'running');
    assert.deepEqual([after.status?.pid, after.status?.restartCount], [before.status?.pid, 2]);
    await rig.gone('web');
    assert.equal(starts(), 3);
  });
  it('takes over what its former object left without a word', async () => {
    await rig.create('web');
    const before = await rig.reach('web', isRunning, 'running');
    await rig.stopController();
    await rig.patch('web', { metadata: { finalizers: null } });
    await rig.remove('web');
    await createHeir('web-old', before);
    await rig.startController();
    const after = await rig.reach('web-old', isRunning, 'running');
    assert.deepEqual([after.status?.pid, await owners()], [before.status?.pid, ['default/web-old web-old']]);
  });
  it('gives the container to one of two, and tells the other', async () => {
    await rig.create('web');
    const before = await rig.reach('web', isRunning, 'running');
    const first = await createHeir('first', before);
    // The age of objects is told in whole seconds.
    await until(() => Date.now() > Date.parse(first.metadata.creationTimestamp) + 1_100, 'another second to begin');
    await createHeir('second', before);
    await rig.remove('web');
    await rig.reach('first', isRunning, 'running');
    const { status } = await rig.reach('second', ({ reason }) => reason === 'RenameConflict', 'refused');
    assert.match(status?.message ?? '', /belongs to "default\/first"/);
    assert.deepEqual([await owners(), starts()], [['default/first first'], 1]);
    const isTold = async (): Promise<boolean> =>
      (await rig.events()).some(
        ({ reason, involvedObject }) => reason === 'RenameConflict' && involvedObject.name === 'second',
      );
    await until(isTold, 'an event to tell of it');
    await rig.remove('second');
    await rig.gone('second');
    assert.deepEqual(await owners(), ['default/first first']);
  });
  it('gives nothing to another namespace', async () => {
    await rig.create('web');
    const before = await rig.reach('web', isRunning, 'running');
    await rig.call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'thief' } });
    await rig.create('web-old', {}, { [renamedFromAnnotation]: formatRenamedFrom(before) }, 'thief');
    const thief = async (): Promise<Container> =>
      (await rig.call('GET', '/apis/holdfast.dev/v1/namespaces/thief/containers/web-old')) as Container;
    await until(async () => (await thief()).status?.reason === 'RenameConflict', 'the thief to be refused');
    await rig.remove('web');
    await rig.gone('web');
    await until(async () => (await thief()).status?.state === 'Running', 'the thief to have one of its own');
    assert.notEqual((await thief()).status?.pid, before.status?.pid);
  });
  it('makes a new container when there is none to take over', async () => {
    await rig.create('web', {}, { [renamedFromAnnotation]: 'ghost/1234' });
    await rig.reach('web', isRunning, 'running');
    await rig.create('bad', {}, { [renamedFromAnnotation]: 'what is this' });
    const { status } = await rig.reach('bad', ({ reason }) => reason === 'InvalidSpec', 'refused');
    assert.match(status?.message ?? '', /renamed-from.*NAME\/UID/);
  });
  it('renames what is stopped or paused', async () => {
    await rig.create('down', { desiredState: 'Paused' });
    const before = await rig.reach('down', ({ state }) => state === 'Paused', 'paused');
    await run('down', 'further-down');
    const after = await rig.reach('further-down', ({ state }) => state === 'Paused', 'paused');
    assert.equal(after.status?.pid, before.status?.pid);
    await rig.patch('further-down', { spec: { desiredState: 'Stopped' } });
    await rig.reach('further-down', ({ reason }) => reason === 'Stopped', 'stopped');
    await run('further-down', 'down');
    const last = await rig.reach('down', ({ reason }) => reason === 'Stopped', 'stopped');
    assert.equal(last.status?.exitCode, 143);
    assert.equal(starts(), 1);
  });
  it('refuses clearly', async () => {
    await rig.create('web');
    await rig.create('db');
    await assert.rejects(run('nobody', 'x'), /no container "nobody" in namespace "default"/);
    await assert.rejects(run('web', 'db'), /already a container "db"/);
    for (const args of [[], ['a'], ['a', 'b', 'c'], ['a', 'a'], ['A', 'b'], ['a', 'b', '-n'], ['a', 'b', '-n', 'X']]) {
      assert.throws(() => parseRenameArgs(args), /ConfigError|holdfast|name|value/, args.join(' '));
    }
    assert.deepEqual(parseRenameArgs(['--data-dir=/d', 'a', '-n', 'shop', 'b', '--kubeconfig', '/k']), {
      from: 'a',
      to: 'b',
      namespace: 'shop',
      rest: ['--data-dir', '/d', '--kubeconfig', '/k'],
    });
  });
});
