/** The store's file damaged, and then deleted, under a daemon with real containers: they are kept by policy, and none ends. */
import assert from 'node:assert/strict';
import { copyFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Instance, run } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const quick = {
  image: 'localhost/busybox:latest',
  imagePullPolicy: 'Never',
  backoff: { initial: '100ms', max: '300ms', jitter: 0 },
  terminationGracePeriodSeconds: 0,
};
const idle = { ...quick, command: ['sleep', '1000000'] };
const program = join(import.meta.dirname, '../../bin/holdfast');

describe('a daemon whose store is lost', function () {
  this.timeout(240_000);
  const running = useInstance();
  let instance: Instance;
  const database = (): string => join(instance.dataDir, 'store.db');
  const removeDatabase = async (): Promise<void> => {
    for (const suffix of ['', '-wal', '-shm']) await rm(database() + suffix, { force: true });
  };
  const metric = async (name: string): Promise<number> => {
    const line = (await instance.metrics()).split('\n').find((one) => one.startsWith(`${name} `));
    return Number(line?.split(' ').at(-1) ?? 0);
  };
  const restartsOf = (name: string): Promise<number> =>
    metric(`holdfast_container_restarts_total{namespace="default",container="${name}"}`);
  const restartsGoOn = async (name: string): Promise<void> => {
    const before = await restartsOf(name);
    await until(async () => (await restartsOf(name)) >= before + 2, `${name} to be restarted twice more`);
  };
  const isAlive = async (pid: number): Promise<boolean> =>
    await stat(`/proc/${pid}`).then(
      () => true,
      () => false, // The process is gone.
    );
  const pidOf = async (name: string): Promise<number> =>
    (await instance.waitFor(name, ({ state }) => state === 'Running', 'running')).status?.pid ?? 0;

  before(async () => {
    instance = running();
    await instance.api('POST', '/api/v1/namespaces/default/secrets', {
      metadata: { name: 'word' },
      stringData: { word: 'open-sesame' },
    });
    const env = [{ name: 'WORD', valueFrom: { secretKeyRef: { name: 'word', key: 'word' } } }];
    await instance.create('steady', idle);
    await instance.create('victim', idle);
    await instance.create('loop', {
      ...quick,
      env,
      command: ['sh', '-c', 'sleep 0.1; test "$WORD" = open-sesame; exit $((3 - 2 * $?))'],
    });
    for (const name of ['steady', 'victim']) await pidOf(name);
    await instance.waitFor('loop', ({ restartCount }) => (restartCount ?? 0) > 0, 'restarted');
  });

  it('starts with a damaged database, heals as before, and follows it again when it was restored', async () => {
    const [steady, victim] = [await pidOf('steady'), await pidOf('victim')];
    await instance.stop();
    await copyFile(database(), `${database()}.backup`);
    await writeFile(database(), 'this was a database');
    await instance.start('alive');
    await until(async () => (await restartsOf('loop')) > 0, 'the loop to go on');
    const { status, text } = await (async () => {
      const answer = await fetch(`${instance.metricsUrl}/readyz`);
      return { status: answer.status, text: await answer.text() };
    })();
    assert.deepEqual([status, /the store cannot be opened/.test(text)], [503, true], text);
    assert.match(instance.log, /"msg":"the store cannot be opened; containers are kept by the checkpoint/);
    process.kill(victim, 'SIGKILL');
    await until(async () => (await restartsOf('victim')) === 1, 'the victim to be started again');
    await restartsGoOn('loop');
    assert.ok(await isAlive(steady));

    await copyFile(`${database()}.backup`, database());
    await until(
      async () => (await fetch(`${instance.metricsUrl}/readyz`)).status === 200,
      'the store to be followed again',
    );
    await instance.waitFor('victim', ({ restartCount, state }) => restartCount === 1 && state === 'Running', 'told of');
    const loop = await instance.get('loop');
    assert.equal(loop?.status?.lastTermination?.exitCode, 3, 'it had the word of its Secret all the time');
    assert.equal(await pidOf('steady'), steady);
    await until(
      async () =>
        (await instance.api('GET', '/api/v1/namespaces/default/events')).json.items.some(
          ({ reason }: { reason: string }) => reason === 'StoreWasAway',
        ),
      'the event',
    );
  });
  it('keeps all when the database is gone, and puts the objects back into the new one', async () => {
    const [steady, victim] = [await pidOf('steady'), await pidOf('victim')];
    await instance.stop('SIGKILL');
    await removeDatabase();
    await instance.start();
    await until(async () => (await metric('holdfast_held_objects{reason="OtherStore"}')) === 3, 'all to be held');
    await restartsGoOn('loop');
    assert.deepEqual([await isAlive(steady), await isAlive(victim)], [true, true]);
    const flags = ['--data-dir', instance.dataDir];
    const listed = await run(program, ['held', ...flags]);
    assert.deepEqual(
      [listed.code, /default\/steady\theld since .*\tOtherStore/.test(listed.stdout)],
      [0, true],
      listed.stderr,
    );
    const restored = await run(program, ['held', 'restore', ...flags]);
    assert.equal(restored.code, 0, restored.stderr);
    assert.ok(!restored.stdout.includes('open-sesame'));
    await until(async () => (await metric('holdfast_held_objects{reason="OtherStore"}')) === 0, 'nothing to be held');
    assert.deepEqual([await pidOf('steady'), await pidOf('victim')], [steady, victim]);
    const before = (await instance.get('loop'))?.status?.restartCount ?? 0;
    const loop = await instance.waitFor('loop', ({ restartCount }) => (restartCount ?? 0) > before, 'restarted');
    assert.equal(loop.status?.lastTermination?.exitCode, 3, 'its Secret was put back, too');
    assert.ok(!instance.log.includes('open-sesame'));
    await instance.remove('victim');
    assert.ok(!(await isAlive(victim)));
  });
});
