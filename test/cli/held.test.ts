/** `holdfast held`: what it says and does about containers whose objects the store has lost, and the program itself. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type HeldAction, HeldError, parseHeldArgs, runHeld } from '../../cli/held.ts';
import { lockInstance } from '../../cli/instance-lock.ts';
import { readHeld } from '../../controller/confirmations.ts';
import { type Container, containerIDOf, finalizer } from '../../crds/index.ts';
import { type Rig, useRig } from '../controller/rig.ts';
import { until } from '../until.ts';

const program = fileURLToPath(new URL('../../bin/holdfast', import.meta.url));

describe('parseHeldArgs', () => {
  it('lists if nothing is said, and takes flags with or without an action', () => {
    assert.deepEqual(parseHeldArgs([]), { action: 'list', rest: [] });
    assert.deepEqual(parseHeldArgs(['--data-dir', '/d']), { action: 'list', rest: ['--data-dir', '/d'] });
    assert.deepEqual(parseHeldArgs(['confirm', '--data-dir', '/d']), { action: 'confirm', rest: ['--data-dir', '/d'] });
    assert.deepEqual(parseHeldArgs(['restore']), { action: 'restore', rest: [] });
  });
  it('refuses what is no action', () => assert.throws(() => parseHeldArgs(['delete']), HeldError));
});

describe('holdfast held', () => {
  const rig: Rig = useRig();
  const dataDir = (): string => dirname(rig.checkpointDir);
  const run = async (action: HeldAction, deadlineMs?: number): Promise<string> => {
    const said: string[] = [];
    const say = (line: string): void => void said.push(line);
    await runHeld(action, { dataDir: dataDir(), access: async () => rig.access, say, deadlineMs });
    return said.join('\n');
  };
  const loseTwo = async (): Promise<string[]> => {
    await rig.call('POST', '/api/v1/namespaces', { metadata: { name: 'other' } });
    const secrets = '/api/v1/namespaces/default/secrets';
    await rig.call('POST', secrets, { metadata: { name: 'key' }, stringData: { value: 'hunter2' } });
    const env = [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'key', key: 'value' } } }];
    const web = await rig.create('web', { env });
    const far = await rig.create('far', {}, {}, 'other');
    const ids = [web, far].map(containerIDOf);
    const runs = async (id: string): Promise<boolean> =>
      (await rig.runtime.containers.inspect(id))?.state.kind === 'running';
    await until(async () => (await Promise.all(ids.map(runs))).every(Boolean), 'both to run');
    // Once the store has said so, it is known to keep them: what has no finalizer yet may be deleted at any time.
    const isKept = async ({ metadata: { namespace, name } }: Container): Promise<boolean> => {
      const path = `/apis/holdfast.dev/v1/namespaces/${namespace}/containers/${name}`;
      const { metadata, status } = (await rig.call('GET', path)) as Container;
      return status?.state === 'Running' && metadata.finalizers?.includes(finalizer) === true;
    };
    await until(async () => (await Promise.all([web, far].map(isKept))).every(Boolean), 'both to be kept');
    await until(async () => /success"\} [1-9]/.test(await rig.metrics.metrics()), 'a checkpoint');
    await rig.loseStore();
    await until(async () => (await readHeld(rig.checkpointDir)).length === 2, 'both to be held');
    return ids;
  };
  const pids = async (): Promise<unknown[]> =>
    (await rig.runtime.containers.list())
      .map(({ id, state }) => [id, state.kind === 'running' ? state.pid : state.kind])
      .sort();

  it('says that nothing is held', async () => {
    assert.match(await run('list'), /^nothing is held/);
    assert.match(await run('confirm'), /^nothing is held/);
  });

  it('puts objects, namespaces and Secrets back, and the containers run on', async () => {
    await loseTwo();
    const before = await pids();
    const listed = await run('list');
    assert.match(listed, /^other\/far\theld since 2.*Z\tOtherStore$/m);
    assert.match(listed, /^default\/web\theld since /m);
    assert.match(listed, /holdfast held restore/);
    const { stdout } = await promisify(execFile)(program, ['held', '--data-dir', dataDir()]);
    assert.deepEqual(stdout.trim().split('\n').sort(), listed.split('\n').sort());
    const restored = await run('restore');
    for (const what of ['namespace other', 'secret default/key', 'container default/web', 'container other/far'])
      assert.match(restored, new RegExp(`^restored ${what}$`, 'm'));
    assert.equal(restored.includes('hunter2'), false);
    await until(async () => (await readHeld(rig.checkpointDir)).length === 0, 'none to be held');
    assert.deepEqual(await pids(), before);
    const secret = await rig.call('GET', '/api/v1/namespaces/default/secrets/key');
    assert.equal(Reflect.get(Reflect.get(Object(secret), 'data'), 'value'), Buffer.from('hunter2').toString('base64'));
  });

  it('restores the others when one is refused, and says which', async () => {
    await loseTwo();
    await rig.call('POST', '/api/v1/namespaces', { metadata: { name: 'other', finalizers: ['example.com/stay'] } });
    await rig.call('DELETE', '/api/v1/namespaces/other');
    await assert.rejects(run('restore'), (error) => error instanceof HeldError && /other\/far/.test(error.message));
    await until(async () => (await readHeld(rig.checkpointDir)).length === 1, 'one to be held');
    assert.equal((await rig.get('web')).metadata.name, 'web');
  });

  it('ends what is confirmed: at once by a daemon that runs, else by the next', async () => {
    await loseTwo();
    const lock = await lockInstance(dataDir());
    try {
      assert.match(await run('confirm'), /confirmed; the containers end now$/);
    } finally {
      await lock.close();
    }
    await until(async () => (await rig.runtime.containers.list()).length === 0, 'both to end');
  });

  it('says so when the daemon does not follow, and when none runs', async () => {
    await loseTwo();
    await rig.stopController();
    const lock = await lockInstance(dataDir());
    try {
      await assert.rejects(
        run('confirm', 200),
        (error) => error instanceof HeldError && /not followed/.test(error.message),
      );
    } finally {
      await lock.close();
    }
    assert.match(await run('confirm'), /no daemon works on this data dir/);
    await rig.startController();
    await until(async () => (await rig.runtime.containers.list()).length === 0, 'both to end');
  });

  it('is told of an action that there is not, in a line', async () => {
    const failing = promisify(execFile)(program, ['held', 'delete']);
    await assert.rejects(failing, (error) => {
      const { code, stderr } = error as Error & { code?: unknown; stderr?: string };
      return (
        code === 1 &&
        stderr === 'holdfast: holdfast held delete: there is no such action; use list, restore or confirm\n'
      );
    });
  });

  it('takes a checkpoint that is damaged for one that holds nothing', async () => {
    await rig.stopController();
    writeFileSync(join(rig.checkpointDir, 'checkpoint'), '\0\n{"held":1}\nnonsense');
    assert.match(await run('list'), /^nothing is held/);
  });
});
