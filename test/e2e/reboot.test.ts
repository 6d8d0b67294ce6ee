/** The host goes down and comes back: what ran runs again, in order and with what it had, and what had ended stays so. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { simulateReboot } from '../reboot.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const quick = {
  image: 'localhost/busybox:latest',
  terminationGracePeriodSeconds: 1,
  backoff: { initial: '200ms', jitter: 0 },
};
const sh = (script: string): { command: string[] } => ({ command: ['sh', '-c', script] });
const idle = 'trap "exit 0" TERM; while :; do sleep 0.2; done';

describe('a host that goes down and comes back', function () {
  this.timeout(240_000);
  const instanceOf = useInstance({ flags: ['--boot-jitter', '0s', '--max-concurrent-starts', '2'] });

  it('runs what ran, with its data and no restart counted, and nothing else', async () => {
    const instance = instanceOf();
    const files = {
      volumes: [{ name: 'd', volume: { name: 'rows' } }],
      volumeMounts: [{ name: 'd', mountPath: '/d' }],
    };
    await instance.create('db', {
      ...{ ...quick, ...files },
      ...sh(`echo up >>/d/boots; echo up >>/layer; ${idle}`),
      startupProbe: { exec: { command: ['test', '-e', '/d/boots'] }, periodSeconds: 1 },
    });
    await instance.create('web', { ...quick, ...sh(idle), dependsOn: [{ name: 'db' }] });
    await instance.create('job', { ...quick, ...sh('exit 0'), restartPolicy: 'Never' });
    await instance.create('broken', { ...quick, ...sh('exit 3'), restartPolicy: 'Never' });
    await instance.create('halted', { ...quick, ...sh(idle) });
    for (const name of ['db', 'web', 'halted'])
      await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
    await instance.api('PATCH', '/apis/holdfast.dev/v1/namespaces/default/containers/halted', {
      spec: { desiredState: 'Stopped' },
    });
    const over: string[] = ['job', 'broken', 'halted'];
    for (const name of over) await instance.waitFor(name, ({ state }) => state === 'Exited', 'at its end');
    const statusOf = async (name: string) => (await instance.get(name))?.status;
    const endsOf = async () => Promise.all(over.map(async (name) => (await statusOf(name))?.finishedAt));
    const [endsBefore, dbBefore, webBefore] = [await endsOf(), await statusOf('db'), await statusOf('web')];

    await instance.stop('SIGKILL');
    await simulateReboot(instance);
    assert.equal(existsSync(`/proc/${dbBefore?.pid}`), false);
    await instance.start();

    for (const [name, before] of [
      ['db', dbBefore],
      ['web', webBefore],
    ] as const)
      await instance.waitFor(
        name,
        ({ state, startedAt }) => state === 'Running' && startedAt !== before?.startedAt,
        'running again',
      );
    const [db, web] = [await statusOf('db'), await statusOf('web')];
    assert.ok(Date.parse(db?.startedAt ?? '') > Date.parse(dbBefore?.startedAt ?? ''), 'db has started anew');
    assert.ok(Date.parse(web?.startedAt ?? '') >= Date.parse(db?.startedAt ?? ''), 'web has waited for db');
    assert.deepEqual([db?.restartCount ?? 0, web?.restartCount ?? 0], [0, 0]);
    await until(async () => {
      const { code, stdout } = await instance.kubectl(['exec', 'db', '--', 'cat', '/d/boots', '/layer']);
      return code === 0 && stdout === 'up\nup\nup\nup\n';
    }, 'both starts to have left their line in the volume and the layer');
    assert.deepEqual(await endsOf(), endsBefore, 'what had ended was not started');
    await until(
      async () =>
        (await statusOf('web'))?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
      'web to be ready',
    );
  });
});
