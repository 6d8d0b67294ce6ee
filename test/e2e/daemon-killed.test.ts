/** kill -9 of the daemon at random moments, while containers run and writes come in. The seed is printed. */

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { containersPath, type Instance } from '../instance.ts';
import { takeSeed } from '../seed.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const kills = 20;
const idle = {
  image: 'localhost/busybox:latest',
  imagePullPolicy: 'Never',
  command: ['sleep', '1000000'],
  terminationGracePeriodSeconds: 0,
  backoff: { initial: '100ms' },
};

describe('a daemon that is killed again and again', function () {
  this.timeout(400_000);
  const running = useInstance();
  let instance: Instance;

  before(() => {
    instance = running();
  });

  it(`loses no acknowledged write, restarts no container and leaves no orphan in ${kills} kills`, async () => {
    const seed = takeSeed(Date.now() % 2 ** 31);
    const delays = fc.sample(fc.integer({ min: 0, max: 400 }), { seed, numRuns: kills });
    const steady = ['steady-1', 'steady-2', 'steady-3'];
    for (const name of steady) await instance.create(name, idle);
    const first = new Map<string, number | undefined>();
    for (const name of steady)
      first.set(name, (await instance.waitFor(name, ({ state }) => state === 'Running', 'running')).status?.pid);

    /** What was acknowledged last, by name; undefined: deleted. A name in doubt had its last write unanswered. */
    const acknowledged = new Map<string, string | undefined>();
    const inDoubt = new Set<string>();
    let count = 0;
    const write = async (
      path: string,
      name: string,
      value: string | undefined,
      request: () => Promise<{ status: number; text: string }>,
    ): Promise<void> => {
      const key = `${path}/${name}`;
      inDoubt.add(key);
      const answer = await request();
      assert.ok(answer.status < 300, answer.text);
      acknowledged.set(key, value);
      inDoubt.delete(key);
    };
    const writer = async (isOver: () => boolean): Promise<void> => {
      const maps = '/api/v1/namespaces/default/configmaps';
      while (!isOver()) {
        count += 1;
        const name = `map-${count}`;
        const value = String(count);
        try {
          await write(maps, name, value, () =>
            instance.api('POST', maps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } }),
          );
          if (count % 5 === 0) await write(maps, name, undefined, () => instance.api('DELETE', `${maps}/${name}`));
          if (count % 40 === 0) {
            const spec = { ...idle, env: [{ name: 'VALUE', value }] };
            await write(containersPath, `ctr-${value}`, value, () =>
              instance.api('POST', containersPath, {
                apiVersion: 'holdfast.dev/v1',
                kind: 'Container',
                metadata: { name: `ctr-${value}` },
                spec,
              }),
            );
          }
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          return; // The daemon was killed in the middle of it: the write is in doubt.
        }
      }
    };

    for (const delayMs of delays) {
      let isOver = false;
      const writers = [writer(() => isOver), writer(() => isOver)];
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await instance.stop('SIGKILL');
      isOver = true;
      await Promise.all(writers);
      await instance.start();
    }

    assert.ok(acknowledged.size > kills, `${acknowledged.size} writes were acknowledged`);
    for (const [key, value] of acknowledged) {
      if (inDoubt.has(key)) continue;
      const { status, json } = await instance.api('GET', key);
      if (value === undefined) assert.equal(status, 404, `${key} was deleted`);
      else assert.equal(json?.data?.value ?? json?.spec?.env?.[0]?.value, value, `${key}: ${status}`);
    }
    for (const name of steady) {
      const { status } = await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
      assert.deepEqual([status?.pid, status?.restartCount], [first.get(name), 0], `${name} went on all the time`);
    }

    // Every object has its container, each runs once, and there is no container without an object.
    const list = async () =>
      (await instance.api('GET', containersPath)).json.items as {
        metadata: { name: string };
        status?: { state?: string; containerID?: string; restartCount?: number; pid?: number };
      }[];
    await until(
      async () => (await list()).every(({ status }) => status?.state === 'Running'),
      'all containers to run',
      90_000,
    );
    const objects = await list();
    for (const { metadata, status } of objects)
      assert.equal(status?.restartCount, 0, `${metadata.name} was not restarted`);
    const metrics = await instance.metrics();
    assert.match(metrics, new RegExp(`^holdfast_runtime_containers\\{state="running"\\} ${objects.length}$`, 'm'));
  });
});
