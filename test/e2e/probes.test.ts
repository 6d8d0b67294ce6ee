/** Probes, hooks and what depends on them, with real containers. */
import assert from 'node:assert/strict';
import type { Container } from '../../crds/index.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const script = (text: string): Record<string, unknown> => ({
  ...{ image: 'localhost/busybox:latest', imagePullPolicy: 'Never', command: ['sh', '-c', text] },
  ...{ backoff: { initial: '100ms', max: '1s', jitter: 0 }, terminationGracePeriodSeconds: 10 },
});
const idle = 'trap "exit 0" TERM; while :; do sleep 0.1; done';
/** What a probe or hook writes into the log of its container. */
const say = (word: string): Record<string, unknown> => ({
  exec: { command: ['sh', '-c', `echo ${word} > /proc/1/fd/1`] },
});
const often = { periodSeconds: 1, timeoutSeconds: 20 };
const isRunning = ({ state }: NonNullable<Container['status']>): boolean => state === 'Running';
const readyOf = ({ conditions }: NonNullable<Container['status']>) => conditions?.find(({ type }) => type === 'Ready');

describe('probes and hooks of real containers', function () {
  this.timeout(240_000);
  const instance = useInstance();
  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await instance().kubectl(args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const eventsOf = async (name: string): Promise<string[]> => {
    const path = '/api/v1/namespaces/default/events';
    const { items } = (await instance().api('GET', path)).json;
    return items
      .filter((one: { involvedObject: { name: string } }) => one.involvedObject.name === name)
      .map((one: { reason: string; message: string }) => `${one.reason}: ${one.message}`);
  };

  it('is ready by its readiness probe over HTTP, for kubectl wait and for who depends on it, and is not restarted for it', async () => {
    await instance().create('client', { ...script(idle), dependsOn: [{ name: 'web', condition: 'Ready' }] });
    await instance().create('web', {
      ...script('mkdir -p /www; exec httpd -f -p 8080 -h /www'),
      terminationGracePeriodSeconds: 0, // as process 1 it would not hear the signal
      ports: [{ name: 'http', containerPort: 8080 }],
      startupProbe: { tcpSocket: { port: 8080 }, ...often, failureThreshold: 60 },
      readinessProbe: { httpGet: { path: '/health', port: 'http' }, ...often, failureThreshold: 1 },
    });
    await instance().waitFor('web', (status) => /statuscode: 404/.test(readyOf(status)?.message ?? ''), 'not ready');
    const why = /^waits for container "web" to be ready: readiness probe failed/;
    await instance().waitFor('client', ({ message }) => why.test(message ?? ''), 'waiting');
    assert.match(await kubectl('get', 'pod', 'web'), /web +0\/1 +Running/);
    await kubectl('exec', 'web', '--', 'touch', '/www/health');
    await kubectl('wait', '--for=condition=Ready', 'ctr/web', 'pod/web', '--timeout=60s');
    await instance().waitFor('client', isRunning, 'running');
    await kubectl('exec', 'web', '--', 'rm', '/www/health');
    const { status } = await instance().waitFor('web', ({ ready }) => ready === false, 'not ready again');
    assert.deepEqual([status?.started, status?.restartCount, status?.state], [true, 0, 'Running']);
    assert.equal((await instance().get('client'))?.status?.state, 'Running');
    await until(
      async () => (await eventsOf('web')).some((one) => /^Unhealthy: Readiness probe failed: HTTP.*404$/.test(one)),
      'the event',
    );
    const metrics = await instance().metrics();
    assert.match(
      metrics,
      /prober_probe_total\{probe_type="readiness",result="failed",namespace="default",container="web"/,
    );
    await Promise.all(['client', 'web'].map((name) => instance().remove(name)));
  });
  it('restarts by policy what fails its liveness probe, after a graceful stop, though it then ends with 0', async () => {
    await instance().create('sick', {
      ...script(`rm -f /sick; echo well; ${idle}`),
      restartPolicy: 'OnFailure',
      livenessProbe: { exec: { command: ['test', '!', '-e', '/sick'] }, ...often, failureThreshold: 1 },
    });
    await instance().waitFor('sick', isRunning, 'running');
    await until(async () => (await instance().containerLog('sick')).includes('well'), 'its script to have begun');
    await kubectl('exec', 'sick', '--', 'touch', '/sick');
    const { status } = await instance().waitFor('sick', ({ restartCount }) => restartCount === 1, 'restarted');
    assert.equal(status?.lastTermination?.exitCode, 0);
    assert.match(status?.lastTermination?.message ?? '', /^liveness probe failed: exit code 1/);
    await until(async () => {
      const told = (await eventsOf('sick')).join('\n');
      return /Unhealthy: Liveness probe failed/.test(told) && /failed liveness probe, will be restarted/.test(told);
    }, 'the events');
    await instance().remove('sick');
  });
  it('has a probe that hangs killed at its deadline, and nobody else wait for it', async () => {
    const hanging = { exec: { command: ['sleep', '3600'] }, periodSeconds: 1, timeoutSeconds: 1 };
    await instance().create('stuck', { ...script(idle), readinessProbe: { ...hanging, failureThreshold: 1 } });
    await instance().waitFor('stuck', (status) => /no answer within 1s/.test(readyOf(status)?.message ?? ''), 'told');
    await instance().create('other', { ...script(idle), readinessProbe: { exec: { command: ['true'] }, ...often } });
    await instance().waitFor('other', ({ ready }) => ready === true, 'ready');
    await instance().kubectl([
      'patch',
      'ctr',
      'stuck',
      '--type=json',
      '-p',
      '[{"op":"remove","path":"/spec/readinessProbe"}]',
    ]);
    const { status } = await instance().waitFor('stuck', ({ ready }) => ready === true, 'ready without a probe');
    assert.equal(status?.restartCount, 0);
    await until(
      async () => !(await kubectl('exec', 'stuck', '--', 'ps')).includes('sleep 3600'),
      'no probe to be left',
    );
    await Promise.all(['stuck', 'other'].map((name) => instance().remove(name)));
  });
  it('runs postStart before it counts as started, preStop before the signal, and stays started over a kill of the daemon', async () => {
    await instance().create('hooked', {
      ...script('trap "echo term; exit 0" TERM; echo main; while :; do sleep 0.1; done'),
      lifecycle: { postStart: say('post'), preStop: say('pre') },
      startupProbe: { ...say('startup'), ...often },
      livenessProbe: { ...say('live'), ...often },
    });
    const log = (): Promise<string> => instance().containerLog('hooked');
    await instance().waitFor('hooked', ({ started }) => started === true, 'started');
    await until(async () => (await log()).includes('live'), 'the liveness probe');
    await instance().stop('SIGKILL');
    await instance().start();
    const count = async (): Promise<number> => (await log()).split('\n').filter((line) => line === 'live').length;
    const before = await count();
    await until(async () => (await count()) > before, 'the next probe');
    await kubectl('patch', 'ctr', 'hooked', '--type=merge', '-p', '{"spec":{"desiredState":"Stopped"}}');
    await instance().waitFor('hooked', ({ reason }) => reason === 'Stopped', 'stopped');
    const lines = (await log()).split('\n').filter((line) => line !== '' && line !== 'live');
    // The hook begins when the program has, which need not be the first to write.
    const inTurn = [...lines.slice(0, 2).sort(), ...lines.slice(2)];
    assert.deepEqual(inTurn, ['main', 'post', 'startup', 'pre', 'term']);
    await instance().remove('hooked');
  });
  it('ends what fails its postStart hook, and starts it again', async () => {
    await instance().create('unhooked', {
      ...script(idle),
      lifecycle: { postStart: { exec: { command: ['sh', '-c', 'echo no such thing; exit 3'] } } },
    });
    const { status } = await instance().waitFor('unhooked', ({ restartCount = 0 }) => restartCount >= 1, 'restarted');
    assert.match(status?.lastTermination?.message ?? '', /^postStart hook failed: exit code 3: no such thing/);
    await instance().remove('unhooked');
  });
  it('stops those that depend on others first when all go down', async () => {
    await instance().create('db', script(idle));
    await instance().create('app', {
      ...script(idle),
      dependsOn: [{ name: 'db' }],
      lifecycle: { preStop: say('pre') },
    });
    await instance().create('front', { ...script(idle), dependsOn: [{ name: 'app' }] });
    await instance().waitFor('front', isRunning, 'running');
    const told = await instance().down();
    const order = told.split('\n').flatMap((line) => /^stopping default\/(.*)$/.exec(line)?.[1] ?? []);
    assert.deepEqual(order, ['front', 'app', 'db']);
    assert.doesNotMatch(told, /preStop hook/);
  });
});
