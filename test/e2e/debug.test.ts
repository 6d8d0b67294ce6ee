/** A broken container can be examined: while it waits for its next start, and when it has ended for good. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type CommandResult, type Instance, run } from '../instance.ts';
import { useInstance } from './use-instance.ts';

const holdfast = join(import.meta.dirname, '..', '..', 'bin', 'holdfast');
const image = { image: 'localhost/busybox:latest', imagePullPolicy: 'Never' };

describe('a container that is down', function () {
  this.timeout(240_000);
  const running = useInstance();
  let instance: Instance;
  const debug = (args: readonly string[], input = ''): Promise<CommandResult> =>
    run(holdfast, ['debug', '--data-dir', instance.dataDir, ...args], { input });

  before(async () => {
    instance = running();
    await instance.create('broken', {
      ...image,
      command: ['sh', '-c', 'echo "it was me" > /data/trace; echo 1 > /root/count; exit 3'],
      backoff: { initial: '10m', max: '10m' },
      volumes: [{ name: 'data', emptyDir: {} }],
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    });
    await instance.create('over', {
      ...image,
      command: ['sh', '-c', 'echo done > /root/result'],
      restartPolicy: 'Never',
    });
    await instance.waitFor('broken', ({ state }) => state === 'Restarting', 'waiting for its next start');
    await instance.waitFor('over', ({ state }) => state === 'Exited', 'over');
  });

  it('cannot be entered by exec, which says why', async () => {
    for (const name of ['broken', 'over']) {
      const { code, stderr } = await instance.kubectl(['exec', name, '--', 'true']);
      assert.notEqual(code, 0, name);
      assert.notEqual(stderr, '');
    }
  });

  it('is entered by kubectl exec -c debug while it waits: its files, its volumes, its network', async () => {
    const script = 'cat /data/trace /root/count; hostname; ip -4 -o addr show eth0; echo and >&2; exit 7';
    const { code, stdout, stderr } = await instance.kubectl([
      'exec',
      'broken',
      '-c',
      'debug',
      '--',
      'sh',
      '-c',
      script,
    ]);
    const { status } = (await instance.get('broken')) ?? {};
    assert.equal(code, 7, stderr);
    assert.match(stdout, /^it was me\n1\nbroken\n/);
    assert.ok(status?.podIP !== undefined && stdout.includes(` ${status.podIP}/`), stdout);
    assert.match(stderr, /^and$/m);
  });

  it('is entered by holdfast debug also when it has ended for good, with the exit code of the program', async () => {
    const { code, stdout } = await debug(['over', '--', 'sh', '-c', 'cat /root/result; cat; exit 9'], 'typed in\n');
    assert.deepEqual([code, stdout], [9, 'done\ntyped in\n']);
  });

  it('keeps its schedule while it is examined, shows the session for what it is, and can be mended from within', async () => {
    const before = (await instance.get('broken'))?.status;
    const session = debug([
      'broken',
      '--',
      'sh',
      '-c',
      'echo mended > /data/trace; until [ -e /data/go ]; do sleep 0.1; done',
    ]);
    const during = await instance.waitFor('broken', ({ debugSessions }) => debugSessions === 1, 'examined');
    assert.deepEqual(during.status?.backoff, before?.backoff);
    assert.deepEqual([during.status?.state, during.status?.restartCount], ['Restarting', before?.restartCount]);
    const condition = during.status?.conditions?.find(({ type }) => type === 'DebugSession');
    assert.equal(condition?.status, 'True');
    const second = await debug([
      'broken',
      '--',
      'sh',
      '-c',
      'until grep -q mended /data/trace; do sleep 0.1; done; cat /data/trace; touch /data/go',
    ]);
    assert.deepEqual([second.code, second.stdout], [0, 'mended\n']);
    assert.equal((await session).code, 0);
    const after = await instance.waitFor('broken', ({ debugSessions }) => (debugSessions ?? 0) === 0, 'left alone');
    assert.deepEqual(after.status?.backoff, before?.backoff);
  });

  it('is not found under a name that is not there, in words', async () => {
    const { code, stderr } = await debug(['nobody']);
    assert.equal(code, 1);
    assert.match(stderr, /^holdfast: no debug session in "default\/nobody": .*404/);
    assert.doesNotMatch(stderr, /\bat .*\.ts:/);
  });
});
