/** Pausing, signals, expiry and renaming, driven by kubectl against a real host. */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { Container } from '../../crds/index.ts';
import { run } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const image = { image: 'localhost/agent:latest', imagePullPolicy: 'Never' };
const script = (text: string): Record<string, unknown> => ({
  ...image,
  command: ['sh', '-c', text],
  terminationGracePeriodSeconds: 0,
});
const isRunning = ({ state }: NonNullable<Container['status']>): boolean => state === 'Running';

describe('the life of a container, driven by kubectl', function () {
  this.timeout(300_000);
  const instance = useInstance({ images: 'examples' });

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
    await kubectl('wait', '--for=jsonpath={.status.state}=Paused', 'ctr/ticker', '--timeout=60s');
    const count = async (): Promise<number> => (await instance().containerLog('ticker')).length;
    // Its monitor may still have something to read.
    let before = await count();
    await until(async () => {
      await wait(500);
      const last = before;
      before = await count();
      return before === last;
    }, 'its log to end');
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
  it('renames a container that runs, whose name others may then have', async () => {
    const page = {
      image: 'localhost/nginx:latest',
      imagePullPolicy: 'Never',
      ports: [{ containerPort: 80, hostPort: 0 }],
    };
    await instance().create('webid', page);
    const before = await instance().waitFor('webid', isRunning, 'running');
    const { flags } = instance();
    const renamed = await run('bin/holdfast', ['rename', 'webid', 'webid-old', ...flags]);
    assert.equal(renamed.code, 0, renamed.stderr);
    assert.equal(renamed.stdout, 'default/webid is default/webid-old now\n');
    const after = await instance().waitFor('webid-old', isRunning, 'running');
    assert.deepEqual(
      [after.status?.pid, after.status?.containerID, after.status?.ports, after.status?.restartCount],
      [before.status?.pid, before.status?.containerID, before.status?.ports, 0],
    );
    assert.equal(await instance().get('webid'), undefined);
    const { hostPort } = after.status?.ports?.[0] ?? {};
    // It runs before it listens, and says that it has answered after it has.
    const readPage = () => fetch(`http://127.0.0.1:${hostPort}/`).then((answer) => answer.text());
    await until(async () => /Welcome to nginx/.test(await readPage().catch(() => '')), 'the page');
    await until(async () => /"GET \/ HTTP/.test(await instance().containerLog('webid-old')), 'its line in the log');
    await instance().create('webid', page);
    await instance().waitFor('webid', isRunning, 'running');
    const again = await run('bin/holdfast', ['rename', 'webid', 'webid-old', ...flags]);
    assert.notEqual(again.code, 0);
    assert.match(again.stderr, /already a container "webid-old"/);
    // The daemon remembers who is who.
    await instance().stop('SIGKILL');
    await instance().start();
    const last = await instance().waitFor('webid-old', isRunning, 'running');
    assert.equal(last.status?.pid, before.status?.pid);
    for (const name of ['webid', 'webid-old']) await instance().remove(name);
  });
  it('lets a broken container be examined while it waits for its restart, which comes all the same', async () => {
    await instance().create('backoff-detector', {
      ...script('echo seen >>/evidence; echo run $(wc -l </evidence); exit 3'),
      backoff: { initial: '20s', factor: 20, max: '10m', jitter: 0 },
    });
    const waiting = await instance().waitFor('backoff-detector', ({ state }) => state === 'Restarting', 'waiting');
    const refused = await instance().kubectl(['exec', 'backoff-detector', '--', 'echo', 'Just a Test']);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /not running.*-c debug/s);
    const session = instance().kubectl([
      ...['exec', 'backoff-detector', '-c', 'debug', '--'],
      ...['sh', '-c', 'cat /evidence; echo left by hand >/note; while [ ! -e /enough ]; do sleep 0.1; done; echo done'],
    ]);
    const examined = await instance().waitFor(
      'backoff-detector',
      ({ debugSessions }) => debugSessions === 1,
      'examined',
    );
    const verdict = (type: string): string | undefined =>
      examined.status?.conditions?.find((one) => one.type === type)?.status;
    assert.deepEqual([verdict('DebugSession'), verdict('Ready')], ['True', 'False']);
    assert.equal(examined.status?.backoff?.nextRestartAt, waiting.status?.backoff?.nextRestartAt);
    const again = await instance().waitFor('backoff-detector', ({ restartCount }) => restartCount === 1, 'restarted');
    assert.equal(again.status?.debugSessions, 1, 'the session goes on');
    const { code } = await instance().kubectl([
      'exec',
      'backoff-detector',
      '-c',
      'debug',
      '--',
      'sh',
      '-c',
      'cat /note; touch /enough',
    ]);
    assert.equal(code, 0);
    const ended = await session;
    assert.deepEqual([ended.code, ended.stdout], [0, 'seen\ndone\n'], ended.stderr);
    await instance().waitFor('backoff-detector', ({ debugSessions }) => debugSessions === undefined, 'left alone');
    const previous = await instance().kubectl(['logs', 'backoff-detector', '--previous']);
    assert.deepEqual([previous.code, previous.stdout], [0, 'run 2\n'], previous.stderr);
    assert.equal(await instance().containerLog('backoff-detector'), 'run 1\nrun 2\n');
    const events = await kubectl('get', 'events', '--field-selector', 'involvedObject.name=backoff-detector');
    assert.match(events, /DebugSessionStarted/);
    await instance().remove('backoff-detector');
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
