/** Pausing, signals, expiry and renaming, driven by kubectl against a real host. */
import assert from 'node:assert/strict';
import type { Container } from '../../crds/index.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const image = { image: 'localhost/agent:latest', imagePullPolicy: 'Never' };
const script = (text: string): Record<string, unknown> => ({
  ...image,
  command: ['sh', '-c', text],
  terminationGracePeriodSeconds: 1,
});
const isRunning = ({ state }: NonNullable<Container['status']>): boolean => state === 'Running';

describe('the life of a container, driven by kubectl', function () {
  this.timeout(300_000);
  const instance = useInstance();

  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await instance().kubectl(args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const set = (name: string, desiredState: string): Promise<string> =>
    kubectl('patch', 'ctr', name, '--type', 'merge', '-p', JSON.stringify({ spec: { desiredState } }));

  it('pauses, also over a kill of the daemon, and goes on with the same process', async () => {
    await instance().create('ticker', script('while true; do echo tick; sleep 0.05; done'));
    const { status } = await instance().waitFor('ticker', isRunning, 'running');
    await set('ticker', 'Paused');
    await kubectl('wait', '--for=jsonpath={.status.state}=Paused', 'ctr/ticker', '--timeout=30s');
    const count = async (): Promise<number> => (await instance().containerLog('ticker')).length;
    const before = await count();
    await instance().stop('SIGKILL');
    await instance().start();
    await instance().waitFor('ticker', ({ state }) => state === 'Paused', 'paused still');
    assert.equal(await count(), before);
    await set('ticker', 'Running');
    const after = await instance().waitFor('ticker', isRunning, 'running again');
    assert.deepEqual([after.status?.pid, after.status?.restartCount], [status?.pid, 0]);
    await until(async () => (await count()) > before, 'it to go on');
    await set('ticker', 'Paused');
    await instance().waitFor('ticker', ({ state }) => state === 'Paused', 'paused');
    await instance().remove('ticker');
  });
  it('sends a signal to process 1 alone', async () => {
    const traps = `trap 'echo outer got it' HUP; (trap 'echo inner got it' HUP; while true; do sleep 0.05; done) & echo ready; while true; do sleep 0.05; done`;
    await instance().create('listener', script(traps));
    await until(async () => {
      const { status, text } = await instance().api(
        'GET',
        '/apis/holdfast.dev/v1/namespaces/default/containers/listener/log',
      );
      return status === 200 && text.includes('ready');
    }, 'it to be ready');
    for (const turn of [1, 2]) {
      await kubectl('annotate', 'ctr', 'listener', '--overwrite', `holdfast.dev/signal=HUP@${turn}`);
      await instance().waitFor('listener', ({ lastSignal }) => lastSignal?.request === `HUP@${turn}`, 'signalled');
      await until(
        async () => (await instance().containerLog('listener')).split('outer got it').length === turn + 1,
        'the signal to arrive',
      );
    }
    assert.doesNotMatch(await instance().containerLog('listener'), /inner got it/);
    const { status } = (await instance().get('listener')) ?? {};
    assert.deepEqual([status?.state, status?.restartCount, status?.lastSignal?.signal], ['Running', 0, 1]);
    await instance().remove('listener');
  });
  it('removes at once what was to be removed at its end', async () => {
    await instance().create('auto-exit-test', {
      ...script('echo Hello World'),
      restartPolicy: 'Never',
      ttlSecondsAfterFinished: 0,
    });
    await until(async () => (await instance().get('auto-exit-test')) === undefined, 'it to be gone', 60_000);
    const metrics = await instance().metrics();
    assert.match(metrics, /^holdfast_runtime_containers\{state="exited"\} 0$/m);
  });
});
