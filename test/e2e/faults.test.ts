/** What bad input and faults get: an answer that names the field and the fix, and everything else goes on. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { Container } from '../../crds/index.ts';
import { containersPath, freePort, type Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const image = 'localhost/busybox:latest';
const quick = { backoff: { initial: '100ms', max: '1s', jitter: 0 }, terminationGracePeriodSeconds: 0 };
const idle = {
  image,
  imagePullPolicy: 'Never',
  command: ['sleep', '1000000'],
  ...quick,
};

describe('bad input and faults', function () {
  this.timeout(240_000);
  const running = useInstance();
  let instance: Instance;

  before(async () => {
    instance = running();
    await instance.create('bystander', idle);
    await instance.waitFor('bystander', ({ state }) => state === 'Running', 'running');
  });

  const refused: { it: string; body: unknown; status: number; says: RegExp }[] = [
    {
      it: 'an unknown field',
      body: { spec: { image, imagee: 'x' } },
      status: 400,
      says: /unknown field \\?"spec\.imagee\\?"/,
    },
    { it: 'a wrong type', body: { spec: { image: 7 } }, status: 422, says: /spec\.image: Invalid value: .*string/ },
    { it: 'a missing field', body: { spec: {} }, status: 422, says: /spec\.image: Required value/ },
    {
      it: 'a value that is not in the list',
      body: { spec: { image, restartPolicy: 'Sometimes' } },
      status: 422,
      says: /spec\.restartPolicy: Unsupported value: \\?"Sometimes\\?"/,
    },
    {
      it: 'a number out of range',
      body: { spec: { image, backoff: { factor: 0.5 } } },
      status: 422,
      says: /spec\.backoff\.factor/,
    },
    {
      it: 'a port that does not exist',
      body: { spec: { image, ports: [{ containerPort: 70_000 }] } },
      status: 422,
      says: /spec\.ports\[0\]\.containerPort/,
    },
    {
      it: 'a duration that is none',
      body: { spec: { image, backoff: { initial: 'soon' } } },
      status: 422,
      says: /spec\.backoff\.initial/,
    },
    { it: 'JSON that breaks off', body: '{"kind":', status: 400, says: /Status/ },
    {
      it: 'a document nested ten thousand deep',
      body: `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
      status: 400,
      says: /Status/,
    },
  ];
  for (const { it: what, body, status, says } of refused) {
    it(`refuses ${what} with ${status}, and names it`, async () => {
      const full =
        typeof body === 'string'
          ? body
          : { apiVersion: 'holdfast.dev/v1', kind: 'Container', metadata: { name: 'bad' }, ...(body as object) };
      const answer = await instance.api('POST', `${containersPath}?fieldValidation=Strict`, full);
      assert.equal(answer.status, status, answer.text);
      assert.match(answer.text, says);
    });
  }

  const troubled: {
    it: string;
    spec: Record<string, unknown>;
    want: (status: NonNullable<Container['status']>) => boolean;
    says: RegExp;
  }[] = [
    {
      it: 'a command that is not in the image',
      spec: { ...idle, command: ['/no/such/program'] },
      want: ({ state, reason, exitCode }) =>
        state === 'Restarting' && reason === 'RunContainerError' && exitCode === 127,
      says: /\/no\/such\/program/,
    },
    {
      it: 'a command that may not be executed',
      spec: { ...idle, command: ['/etc/passwd'] },
      want: ({ state, exitCode }) => state === 'Restarting' && exitCode === 126,
      says: /\/etc\/passwd/,
    },
    {
      it: 'an image that is not on the host',
      spec: { ...idle, image: 'localhost/nothing:1' },
      want: ({ reason }) => reason === 'ErrImageNeverPull',
      says: /localhost\/nothing:1/,
    },
    {
      it: 'a registry that does not answer',
      spec: { ...idle, image: '127.0.0.1:1/nothing:1', imagePullPolicy: 'IfNotPresent' },
      want: ({ reason }) => reason === 'ImagePullBackOff',
      says: /127\.0\.0\.1:1/,
    },
    {
      it: 'an image name that is none',
      spec: { ...idle, image: 'UPPER:x:y' },
      want: ({ reason }) => reason === 'InvalidImageName',
      says: /UPPER/,
    },
    {
      it: 'a user that the image does not know',
      spec: { ...idle, user: 'nobody-here' },
      want: ({ reason }) => reason === 'CreateContainerConfigError',
      says: /nobody-here/,
    },
    {
      it: 'a dependency that does not exist',
      spec: { ...idle, dependsOn: [{ name: 'ghost' }] },
      want: ({ reason }) => reason === 'WaitingForDependency',
      says: /"ghost", which does not exist/,
    },
    {
      it: 'a circle of one',
      spec: { ...idle, links: [{ name: 'trouble' }] },
      want: ({ reason }) => reason === 'DependencyCycle',
      says: /trouble → trouble/,
    },
    {
      it: 'an initial wait above the maximum',
      spec: { ...idle, backoff: { initial: '2m', max: '1m' } },
      want: ({ reason }) => reason === 'InvalidSpec',
      says: /spec\.backoff\.initial/,
    },
  ];
  for (const { it: what, spec, want, says } of troubled) {
    it(`says what is wrong about ${what}, and backs off`, async () => {
      await instance.create('trouble', spec);
      const { status } = await instance.waitFor('trouble', want, 'in the trouble it was put into');
      assert.match(status?.message ?? '', says);
      assert.equal(status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'False');
      await instance.remove('trouble');
    });
  }

  it('recovers by itself when the spec is mended', async () => {
    await instance.create('mended', { ...idle, command: ['/no/such/program'] });
    await instance.waitFor('mended', ({ reason }) => reason === 'RunContainerError', 'failing');
    await instance.api('PATCH', `${containersPath}/mended`, { spec: { command: idle.command } });
    const mended = await instance.waitFor('mended', ({ state }) => state === 'Running', 'running');
    assert.equal(mended.status?.backoff, undefined);
    await instance.remove('mended');
  });
  it('names the circle of dependencies, and starts both when it is broken', async () => {
    await instance.create('chicken', { ...idle, links: [{ name: 'egg' }] });
    await instance.create('egg', { ...idle, links: [{ name: 'chicken' }] });
    for (const name of ['chicken', 'egg']) {
      const { status } = await instance.waitFor(name, ({ reason }) => reason === 'DependencyCycle', 'refused');
      assert.match(status?.message ?? '', /chicken → egg → chicken|egg → chicken → egg/);
    }
    await instance.api('PATCH', `${containersPath}/egg`, { spec: { links: null } });
    for (const name of ['egg', 'chicken']) await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
    await instance.remove('chicken');
    await instance.remove('egg');
  });
  it('tells of a host port that another container has, and takes it once it is free', async () => {
    const port = await freePort();
    const ports = [{ containerPort: 80, hostPort: port }];
    await instance.create('first', { ...idle, ports });
    await instance.waitFor('first', ({ state }) => state === 'Running', 'running');
    await instance.create('second', { ...idle, ports });
    const { status } = await instance.waitFor('second', ({ reason }) => reason === 'HostPortConflict', 'in conflict');
    assert.match(status?.message ?? '', new RegExp(`host port ${port}/tcp is taken by .*choose another hostPort`));
    await instance.remove('first');
    await instance.waitFor('second', ({ state }) => state === 'Running', 'running');
    await instance.remove('second');
  });
  it('tells of a host port that a program of the host has', async () => {
    const [server, port] = [createServer(), await freePort()];
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      await instance.create('blocked', { ...idle, ports: [{ containerPort: 80, hostPort: port }] });
      await instance.waitFor('blocked', ({ reason }) => reason === 'HostPortConflict', 'in conflict');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    await instance.waitFor('blocked', ({ state }) => state === 'Running', 'running');
    await instance.remove('blocked');
  });
  it('gives the restart policies their meaning', async () => {
    await instance.create('never', { ...idle, command: ['sh', '-c', 'exit 3'], restartPolicy: 'Never' });
    await instance.create('done', { ...idle, command: ['true'], restartPolicy: 'OnFailure' });
    await instance.create('tries', {
      ...idle,
      command: ['false'],
      restartPolicy: 'OnFailure',
      restart: { maxRetries: 2 },
    });
    const exitCodes = [
      { action: 'Success', codes: ['7-9'] },
      { action: 'Fatal', signals: ['SIGKILL'] },
    ];
    await instance.create('works', {
      ...idle,
      command: ['sh', '-c', 'exit 8'],
      restartPolicy: 'OnFailure',
      restart: { exitCodes },
    });
    await instance.create('fatal', { ...idle, restart: { exitCodes } });
    const runs = await instance.waitFor('fatal', ({ state }) => state === 'Running', 'running');
    process.kill(runs.status?.pid ?? 0, 'SIGKILL');
    const never = await instance.waitFor('never', ({ state }) => state === 'Exited', 'exited');
    assert.deepEqual([never.status?.reason, never.status?.exitCode, never.status?.restartCount], ['Error', 3, 0]);
    const done = await instance.waitFor('done', ({ state }) => state === 'Exited', 'exited');
    assert.deepEqual([done.status?.reason, done.status?.exitCode], ['Completed', 0]);
    const tries = await instance.waitFor('tries', ({ state }) => state === 'Exited', 'exited');
    assert.deepEqual([tries.status?.reason, tries.status?.restartCount], ['BackoffLimitExceeded', 2]);
    const works = await instance.waitFor('works', ({ state }) => state === 'Exited', 'exited');
    assert.deepEqual([works.status?.reason, works.status?.exitCode], ['Completed', 8]);
    const fatal = await instance.waitFor('fatal', ({ state }) => state === 'Exited', 'exited');
    assert.deepEqual([fatal.status?.reason, fatal.status?.exitCode], ['FatalExitCode', 137]);
    await Promise.all(['never', 'done', 'tries', 'works', 'fatal'].map((name) => instance.remove(name)));
  });
  it('doubles the wait between restarts: a container that prints the date shows it in its log', async () => {
    await instance.create('backoff-detector', {
      ...{ image, imagePullPolicy: 'Never', command: ['date', '+%s'] },
      backoff: { initial: '300ms' },
    });
    const waiting = await instance.waitFor(
      'backoff-detector',
      ({ state, reason, restartCount }) =>
        state === 'Restarting' && reason === 'CrashLoopBackOff' && (restartCount ?? 0) >= 3,
      'waiting for its fourth restart',
      90_000,
    );
    const next = Date.parse(waiting.status?.backoff?.nextRestartAt ?? '');
    assert.ok(next > Date.parse(waiting.status?.finishedAt ?? ''), 'nextRestartAt lies after the exit');
    const { attempt = 0, delaySeconds = 0 } = waiting.status?.backoff ?? {};
    const wantedSeconds = 0.3 * 2 ** (attempt - 1);
    assert.ok(attempt >= 4 && Math.abs(delaySeconds / wantedSeconds - 1) <= 0.11, `${delaySeconds} s after ${attempt}`);
    await until(
      async () => (await instance.containerLog('backoff-detector')).trim().split('\n').length >= 5,
      'the fifth run',
      60_000,
    );
    const log = await instance.containerLog('backoff-detector', '?timestamps=true');
    const times = log
      .trim()
      .split('\n')
      .map((line) => Date.parse(line.split(' ')[0] ?? ''));
    const gaps = times.slice(1).map((time, index) => (time - (times[index] ?? 0)) / 1000);
    // How much longer a start takes is the machine's affair.
    for (const [index, wanted] of [0.3, 0.6, 1.2, 2.4].entries()) {
      const gap = gaps[index] ?? 0;
      assert.ok(gap >= wanted * 0.9, `gap ${index + 1} was ${gap} s, about ${wanted} s expected`);
    }
    await instance.remove('backoff-detector');
  });
  it('kills what does not obey its stop signal once the grace is over', async () => {
    const deaf = ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];
    await instance.create('stubborn', { ...idle, command: deaf, terminationGracePeriodSeconds: 1 });
    await instance.waitFor('stubborn', ({ state }) => state === 'Running', 'running');
    await instance.api('PATCH', `${containersPath}/stubborn`, { spec: { desiredState: 'Stopped' } });
    const { status } = await instance.waitFor('stubborn', ({ state }) => state === 'Exited', 'stopped');
    assert.deepEqual([status?.reason, status?.signal], ['Stopped', 9]);
    await instance.remove('stubborn');
  });
  it('changes limits in place and replaces for the rest', async () => {
    await instance.create('changing', idle);
    const before = await instance.waitFor('changing', ({ state }) => state === 'Running', 'running');
    await instance.api('PATCH', `${containersPath}/changing`, { spec: { resources: { limits: { pids: 33 } } } });
    const inPlace = await instance.waitFor('changing', ({ observedGeneration }) => observedGeneration === 2, 'changed');
    assert.equal(inPlace.status?.pid, before.status?.pid);
    await instance.api('PATCH', `${containersPath}/changing`, { spec: { env: [{ name: 'A', value: 'b' }] } });
    const replaced = await instance.waitFor(
      'changing',
      ({ observedGeneration, state, reason }) =>
        observedGeneration === 3 && state === 'Running' && reason === undefined,
      'replaced',
    );
    assert.notEqual(replaced.status?.pid, before.status?.pid);
    assert.equal(replaced.status?.containerID, before.status?.containerID);
    await instance.remove('changing');
  });
  it('has disturbed nobody else in all this', async () => {
    const bystander = await instance.get('bystander');
    assert.deepEqual([bystander?.status?.state, bystander?.status?.restartCount], ['Running', 0]);
  });
});
