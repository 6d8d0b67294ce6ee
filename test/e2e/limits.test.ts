/** Limits and security settings as a user has them: through the resource, its status and events. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { buildBusyboxImage } from '../images.ts';
import { createInstance, type Instance } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { until } from '../until.ts';

describe('limits and security settings of a Container', function () {
  this.timeout(240_000);
  let hostBefore: HostSnapshot;
  let instance: Instance;
  let image: string;

  before(async () => {
    hostBefore = await snapshotHost();
    instance = await createInstance();
    ({ reference: image } = await buildBusyboxImage({ dir: instance.dataDir }));
    await instance.start();
  });
  after(async () => {
    await instance.close();
    await assertNoLeaks(hostBefore, instance);
  });

  /** A control file of the cgroup that a process is in. */
  const control = (pid: number, controller: string, v1: string, v2: string): string => {
    const isV1 = existsSync('/sys/fs/cgroup/memory');
    const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
    const line = lines.find((one) =>
      isV1 ? one.split(':')[1]?.split(',').includes(controller) : one.startsWith('0::'),
    );
    const path = line?.split(':')[2] ?? '';
    return readFileSync(join('/sys/fs/cgroup', isV1 ? controller : '', path, isV1 ? v1 : v2), 'utf8').trim();
  };
  const patch = async (name: string, spec: unknown): Promise<void> => {
    const { code, stderr } = await instance.kubectl([
      'patch',
      'ctr',
      name,
      '--type=merge',
      '-p',
      JSON.stringify({ spec }),
    ]);
    assert.equal(code, 0, stderr);
  };
  const messages = async (name: string, reason: string): Promise<string> => {
    const selector = `involvedObject.name=${name},reason=${reason}`;
    return (
      await instance.kubectl(['get', 'events', '--field-selector', selector, '-o', 'jsonpath={.items[*].message}'])
    ).stdout;
  };

  it('are changed by kubectl patch in the running container', async () => {
    await instance.create('web', {
      image,
      terminationGracePeriodSeconds: 0,
      command: ['sleep', '1000'],
      resources: { limits: { memory: '64Mi', cpu: '500m' }, requests: { cpu: '250m' } },
    });
    const { status } = await instance.waitFor('web', ({ state }) => state === 'Running', 'running');
    const pid = status?.pid ?? 0;
    const limits = (): readonly string[] => [
      control(pid, 'memory', 'memory.limit_in_bytes', 'memory.max'),
      control(pid, 'cpu', 'cpu.shares', 'cpu.weight'),
      control(pid, 'pids', 'pids.max', 'pids.max'),
    ];
    const isV1 = existsSync('/sys/fs/cgroup/memory');
    assert.deepEqual(limits(), ['67108864', isV1 ? '256' : '10', '4096']);
    await patch('web', {
      resources: { limits: { memory: '32Mi', swap: '8Mi', pids: 77, cpu: 1 }, requests: { cpu: 1 } },
    });
    await until(async () => limits().join() === `33554432,${isV1 ? '1024' : '39'},77`, 'the new limits');
    if (isV1) assert.equal(control(pid, 'memory', 'memory.memsw.limit_in_bytes', ''), String(40 * 2 ** 20));
    assert.equal((await instance.get('web'))?.status?.pid, pid, 'it was not restarted');
    await patch('web', { resources: { limits: { memory: null, swap: null }, requests: null } });
    await until(async () => /^(max|9223372036854771712)$/.test(limits()[0] ?? ''), 'no limit');
    await instance.remove('web');
  });

  it('that killed a container are named in its status, with the limit', async () => {
    await instance.create('greedy', {
      image,
      command: ['tail', '/dev/zero'],
      restartPolicy: 'Never',
      resources: { limits: { memory: '16Mi' } },
    });
    const { status } = await instance.waitFor('greedy', ({ state }) => state === 'Exited', 'exited');
    assert.equal(status?.reason, 'OOMKilled');
    assert.match(status?.message ?? '', /more than 16Mi of memory \(spec\.resources\.limits\.memory\)/);
    assert.equal(status?.lastTermination?.reason, 'OOMKilled');
    await instance.remove('greedy');
  });

  it('that killed a helper process are an event, and not the reason of the end', async () => {
    await instance.create('careful', {
      image,
      command: ['sh', '-c', 'tail /dev/zero; until [ -e /stop ]; do sleep 0.05; done; exit 0'],
      restartPolicy: 'Never',
      resources: { limits: { memory: '16Mi' } },
    });
    await until(async () => /more than 16Mi/.test(await messages('careful', 'OOMKilling')), 'an event', 60_000);
    assert.equal((await instance.get('careful'))?.status?.state, 'Running');
    const { code, stderr } = await instance.kubectl(['exec', 'careful', '--', 'touch', '/stop']);
    assert.equal(code, 0, stderr);
    const { status } = await instance.waitFor('careful', ({ state }) => state === 'Exited', 'exited');
    assert.equal(status?.reason, 'Completed');
    await instance.remove('careful');
  });

  it('that cannot be make SpecValid False with the name of the field, and leave what runs alone', async () => {
    await instance.create('plain', { image, terminationGracePeriodSeconds: 0, command: ['sleep', '1000'] });
    const { status } = await instance.waitFor('plain', ({ state }) => state === 'Running', 'running');
    await patch('plain', {
      securityContext: { capabilities: { add: ['FLY'] }, sysctls: [{ name: 'kernel.panic', value: '1' }] },
    });
    await until(async () => {
      const condition = (await instance.get('plain'))?.status?.conditions?.find(({ type }) => type === 'SpecValid');
      return (
        condition?.status === 'False' &&
        /spec\.securityContext\.capabilities\.add: "FLY"/.test(condition.message) &&
        /spec\.securityContext\.sysctls: kernel\.panic/.test(condition.message)
      );
    }, 'SpecValid to be False');
    assert.equal((await instance.get('plain'))?.status?.pid, status?.pid);
    await instance.remove('plain');
  });

  it('that the schema knows to be wrong are refused by the store, naming the field', async () => {
    const spec = (securityContext: unknown): string =>
      JSON.stringify({
        ...{ apiVersion: 'holdfast.dev/v1', kind: 'Container', metadata: { name: 'wrong' } },
        spec: { image, securityContext },
      });
    for (const [context, field] of [
      [{ capabilities: { add: ['NET ADMIN'] } }, /spec\.securityContext\.capabilities\.add\[0\]/],
      [{ seccompProfile: { type: 'Strict' } }, /spec\.securityContext\.seccompProfile\.type/],
      [{ readonlyPaths: ['/etc'] }, /spec\.securityContext\.readonlyPaths\[0\]/],
      [{ ulimits: [{ name: 'shoes', soft: 1 }] }, /spec\.securityContext\.ulimits\[0\]\.name/],
      [{ devices: [{ hostPath: '/dev/fuse', permissions: 'x' }] }, /spec\.securityContext\.devices\[0\]\.permissions/],
    ] as const) {
      const { code, stderr } = await instance.kubectl(['create', '--validate=false', '-f', '-'], {
        input: spec(context),
      });
      assert.notEqual(code, 0);
      assert.match(stderr, field);
    }
  });

  it('include a user namespace of its own', async () => {
    for (const dir of [instance.runDir, join(instance.runDir, '..')]) await chmod(dir, 0o711);
    await instance.create('mapped', {
      image,
      terminationGracePeriodSeconds: 0,
      command: ['sleep', '1000'],
      hostUsers: false,
    });
    const { status } = await instance.waitFor('mapped', ({ state }) => state === 'Running', 'running');
    assert.match(readFileSync(`/proc/${status?.pid}/status`, 'utf8'), /^Uid:\s*[1-9][0-9]{8,}/m);
    assert.equal((await instance.kubectl(['exec', 'mapped', '--', 'id', '-u'])).stdout, '0\n');
    await instance.remove('mapped');
  });
});
