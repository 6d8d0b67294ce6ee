/** Containers from their creation to their removal, driven by the real docker and kubectl against a real host. */
import assert from 'node:assert/strict';
import { stat, unlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { useInstance } from '../e2e/use-instance.ts';
import { createInstance, freePort } from '../instance.ts';
import { until } from '../until.ts';
import { dockerCommands } from './docker-commands.ts';

const image = 'localhost/busybox:latest';

describe('the life of a container, driven by docker', function () {
  this.timeout(300_000);
  const instance = useInstance({ images: 'busybox' });
  const { docker, refusal, socket, tryDocker } = dockerCommands(instance);
  const inspect = (name: string, template: string): Promise<string> => docker('inspect', '--format', template, name);
  const untilState = (name: string, state: string): Promise<void> =>
    until(async () => (await inspect(name, '{{.State.Status}}')) === state, `${name} to be ${state}`, 60_000);
  afterEach(async () => {
    const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-vf', ...left);
  });

  it('has the same containers as kubectl, whoever made them', async () => {
    const id = await docker('run', '-d', '--name', 'web_1', '--label', 'tier=front', image, 'sleep', '1000');
    assert.match(id, /^[0-9a-f]{64}$/);
    const seen = await instance().kubectl([
      'get',
      'ctr',
      '-l',
      'tier=front',
      '-o',
      'jsonpath={.items[*].status.containerID}',
    ]);
    assert.equal(seen.stdout, id);
    await instance().create('plain', {
      image,
      imagePullPolicy: 'Never',
      command: ['sleep', '1000'],
      terminationGracePeriodSeconds: 0,
    });
    await instance().waitFor('plain', ({ state }) => state === 'Running', 'running');
    await until(
      async () => (await docker('ps', '--format', '{{.Names}}')).split('\n').sort().join() === 'plain,web_1',
      'docker to show both',
    );
    await instance().remove('plain');
    await until(async () => (await docker('ps', '--format', '{{.Names}}')) === 'web_1', 'docker to show what is left');
    await docker('rm', '-f', 'web_1');
    const left = await instance().kubectl(['get', 'ctr', '-o', 'name']);
    assert.equal(left.stdout, '');
  });
  it('is created, started, stopped and started again under one id, and counts no restart', async () => {
    const id = await docker('create', '--name', 'web', image, 'sleep', '1000');
    assert.equal(
      await inspect('web', '{{.State.Status}} {{.State.Running}} {{.State.StartedAt}}'),
      'created false 0001-01-01T00:00:00Z',
    );
    await docker('start', 'web');
    await docker('stop', '-t', '0', id.slice(0, 12));
    assert.equal(await inspect('web', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
    await docker('start', 'web');
    assert.equal(await inspect('web', '{{.Id}} {{.State.Status}} {{.RestartCount}}'), `${id} running 0`);
    await docker('restart', '-t', '0', 'web');
    assert.equal(await inspect('web', '{{.Id}} {{.State.Status}}'), `${id} running`);
  });
  it('runs again when it is started after an end of its own', async () => {
    await docker('create', '--name', 'job', image, 'sh', '-c', 'exit 3');
    await docker('start', 'job');
    assert.equal(await docker('wait', 'job'), '3');
    const first = await inspect('job', '{{.State.StartedAt}}');
    await docker('start', 'job');
    await until(async () => (await inspect('job', '{{.State.StartedAt}}')) !== first, 'a second run');
    assert.equal(await docker('wait', 'job'), '3');
  });
  it('keeps a grace that was given for one stop for that stop alone', async () => {
    await docker('run', '-d', '--name', 'web', '--stop-timeout', '77', image, 'sleep', '1000');
    await docker('stop', '-t', '0', 'web');
    await docker('start', 'web');
    const grace = await instance().kubectl([
      'get',
      'ctr',
      'web',
      '-o',
      'jsonpath={.spec.terminationGracePeriodSeconds}',
    ]);
    assert.equal(grace.stdout, '77');
  });
  it('stays down when it was stopped or killed, whatever its restart policy', async () => {
    await docker('run', '-d', '--name', 'keeper', '--restart', 'always', image, 'sleep', '1000');
    await docker('kill', 'keeper');
    assert.equal(await inspect('keeper', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
    await docker('start', 'keeper');
    await docker('stop', '-t', '0', 'keeper');
    assert.equal(await inspect('keeper', '{{.State.Status}}'), 'exited');
  });
  it('gets the signal that is asked for, and no other', async () => {
    await docker(
      'run',
      '-d',
      '--name',
      'trap',
      image,
      'sh',
      '-c',
      'trap "exit 9" USR1; echo ready; while true; do sleep 0.1; done',
    );
    // Process 1 gets no signal that it has no trap for.
    await until(async () => (await docker('logs', 'trap')) === 'ready', 'the trap');
    await docker('kill', '--signal', 'USR1', 'trap');
    assert.equal(await docker('wait', 'trap'), '9');
    assert.match(await refusal('kill', 'trap'), /Cannot kill container: trap: Container [0-9a-f]{64} is not running/);
    assert.match(await refusal('kill', '--signal', 'NOPE', 'trap'), /Invalid signal: NOPE/);
  });
  it('is paused and goes on', async () => {
    const id = await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    await docker('pause', 'web');
    assert.match(await docker('ps', '--format', '{{.Status}}'), /\(Paused\)$/);
    assert.match(await refusal('pause', 'web'), new RegExp(`Container ${id} is already paused`));
    assert.match(await refusal('rm', 'web'), /You cannot remove a paused container .* Unpause and then stop/);
    await docker('unpause', 'web');
    assert.match(await refusal('unpause', 'web'), new RegExp(`Container ${id} is not paused`));
  });
  it('keeps its id and its process when it is renamed', async () => {
    const id = await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    const pid = await inspect('web', '{{.State.Pid}}');
    const hostname = id.slice(0, 12);
    assert.equal(await docker('exec', 'web', 'hostname'), hostname);
    assert.match(await docker('exec', 'web', 'cat', '/etc/hosts'), new RegExp(`^[0-9.]+\\s+${hostname}$`, 'm'));
    await docker('rename', 'web', 'Web_Old');
    assert.equal(await inspect('Web_Old', '{{.Id}} {{.State.Pid}} {{.Config.Hostname}}'), `${id} ${pid} ${hostname}`);
    await docker('restart', '-t', '0', 'Web_Old');
    assert.equal(await docker('exec', 'Web_Old', 'hostname'), hostname);
    assert.equal(await inspect(id, '{{.Name}}'), '/Web_Old');
    await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    assert.match(
      await refusal('rename', 'web', 'Web_Old'),
      new RegExp(`Conflict. The container name "/Web_Old" is already in use by container "${id}"`),
    );
    assert.match(await refusal('rename', 'web', '.x'), /Invalid container name \(\.x\)/);
  });
  it('cannot have a name that another has, and says who', async () => {
    const id = await docker('create', '--name', 'web', image);
    assert.match(
      await refusal('create', '--name', 'web', image),
      new RegExp(
        `Conflict. The container name "/web" is already in use by container "${id}". You have to remove \\(or rename\\)`,
      ),
    );
    assert.match(await refusal('create', '--name', '-web', image), /Invalid container name \(-web\)/);
  });
  it('is not removed while it runs, unless by force', async () => {
    const id = await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    assert.match(
      await refusal('rm', 'web'),
      new RegExp(
        `You cannot remove a running container ${id}. Stop the container before attempting removal or force remove`,
      ),
    );
    await docker('rm', '-f', 'web');
    assert.match(await refusal('inspect', 'web'), /No such object: web/);
    assert.match(await refusal('rm', 'web'), /No such container: web/);
  });
  it('tells why it cannot start, with the exit code that docker has for that, and is not tried again', async () => {
    const missing = await tryDocker('run', '-d', '--restart', 'always', '--name', 'broken', image, 'no-such-program');
    assert.equal(missing.code, 127);
    assert.match(missing.stderr, /executable file not found in \$PATH/);
    const restarts = await instance().kubectl(['get', 'ctr', 'broken', '-o', 'jsonpath={.spec.desiredState}']);
    assert.equal(restarts.stdout, 'Stopped');
    const folder = await tryDocker('run', '-d', image, '/etc');
    assert.equal(folder.code, 126, folder.stderr);
  });
  it('cannot be linked to one that does not run', async () => {
    await docker('create', '--name', 'web', image, 'sleep', '1000');
    await docker('create', '--name', 'agent', '--link', 'web:insideweb', image, 'sleep', '1000');
    assert.match(
      await refusal('start', 'agent'),
      /Cannot link to a non running container: \/web AS \/agent\/insideweb/,
    );
    await docker('start', 'web');
    await docker('start', 'agent');
    assert.match(await inspect('agent', '{{.HostConfig.Links}}'), /\/web:\/agent\/insideweb/);
    assert.match(
      await refusal('create', '--link', 'nobody', image),
      /could not get container for nobody: No such container: nobody/,
    );
  });
  it('shows that it waits for its next start, and takes a new policy meanwhile', async () => {
    await docker('run', '-d', '--name', 'loop', '--restart', 'on-failure:50', image, 'false');
    await untilState('loop', 'restarting');
    // The wait that inspect saw may be over when ps looks.
    await until(
      async () => /^Restarting \(1\) .* ago$/.test(await docker('ps', '--format', '{{.Status}}')),
      'ps to show that it waits',
    );
    await docker('update', '--restart', 'no', 'loop');
    await untilState('loop', 'exited');
    assert.equal(await inspect('loop', '{{.HostConfig.RestartPolicy.Name}}'), 'no');
  });
  it('changes its limits while it runs', async () => {
    await docker('run', '-d', '--name', 'web', '--memory', '64m', image, 'sleep', '1000');
    const pid = await inspect('web', '{{.State.Pid}}');
    await docker('update', '--memory', '128m', '--memory-swap', '256m', '--pids-limit', '33', 'web');
    assert.equal(
      await inspect(
        'web',
        '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.State.Pid}}',
      ),
      `134217728 268435456 33 ${pid}`,
    );
  });
  it('is waited for by all three conditions', async () => {
    const agent = new Agent({ connect: { socketPath: socket() } });
    const wait = async (id: string, condition: string): Promise<unknown> => {
      const { body } = await request(`http://docker/v1.41/containers/${id}/wait?condition=${condition}`, {
        method: 'POST',
        dispatcher: agent,
      });
      return await body.json();
    };
    try {
      const id = await docker('create', '--rm', image, 'sh', '-c', 'exit 5');
      const ends = Promise.all([wait(id, 'next-exit'), wait(id, 'removed')]);
      assert.deepEqual(await wait(id, 'not-running'), { StatusCode: 0, Error: null });
      await docker('start', id);
      assert.deepEqual(await ends, [
        { StatusCode: 5, Error: null },
        { StatusCode: 5, Error: null },
      ]);
      const { statusCode } = await request(`http://docker/v1.41/containers/x/wait?condition=tired`, {
        method: 'POST',
        dispatcher: agent,
      });
      assert.equal(statusCode, 404);
    } finally {
      await agent.destroy();
    }
  });
  it('is started once when many ask at once', async () => {
    await docker('create', '--name', 'web', image, 'sh', '-c', 'echo up; exec sleep 1000');
    await Promise.all(Array.from({ length: 4 }, () => docker('start', 'web')));
    await until(async () => (await docker('logs', 'web')) !== '', 'it to be up');
    assert.equal(await docker('logs', 'web'), 'up');
  });
  it('does not come up any more when it was stopped while it was being started', async () => {
    await docker('create', '--name', 'web', image, 'sleep', '1000');
    await Promise.all([tryDocker('start', 'web'), docker('stop', '-t', '0', 'web')]);
    await docker('stop', '-t', '0', 'web');
    const wish = await instance().kubectl(['get', 'ctr', 'web', '-o', 'jsonpath={.spec.desiredState}']);
    assert.equal(wish.stdout, 'Stopped');
    assert.notEqual(await inspect('web', '{{.State.Status}}'), 'running');
  });
  it('is stopped before it ever ran when it waits for its start', async () => {
    await instance().create('waits', {
      image: 'localhost/nowhere:1',
      imagePullPolicy: 'Never',
      command: ['sleep', '9'],
    });
    await docker('stop', 'waits');
    const wish = await instance().kubectl(['get', 'ctr', 'waits', '-o', 'jsonpath={.spec.desiredState}']);
    assert.equal(wish.stdout, 'Stopped');
  });
  it('ends the wait of whoever waits for it when it is stopped between two runs', async () => {
    await docker('run', '-d', '--name', 'loop', '--restart', 'always', image, 'false');
    for (let round = 0; ; round += 1) {
      await untilState('loop', 'restarting');
      const waiting = tryDocker('wait', 'loop');
      await docker('stop', '-t', '0', 'loop');
      const { stdout } = await waiting;
      assert.equal(stdout.trim(), '1');
      if (round === 2) break;
      await docker('start', 'loop');
    }
  });
  it('is removed when it was made with --rm and cannot be started, which docker run waits for', async () => {
    const port = String(await freePort());
    await docker('run', '-d', '--name', 'holder', '-p', `127.0.0.1:${port}:80`, image, 'sleep', '1000');
    const taken = await tryDocker('run', '-d', '--rm', '--name', 'late', '-p', `127.0.0.1:${port}:80`, image, 'true');
    assert.equal(taken.code, 125, taken.stderr);
    const missing = await tryDocker('run', '--rm', image, 'no-such-program');
    assert.equal(missing.code, 127, missing.stderr);
    assert.equal(await docker('ps', '-a', '--format', '{{.Names}}'), 'holder');
  });
  it('stays when it is restarted, and is removed after its end, if it was made with --rm', async () => {
    const id = await docker('run', '-d', '--rm', '--name', 'web', image, 'sleep', '1000');
    for (let round = 0; round < 3; round += 1) await docker('restart', '-t', '0', 'web');
    assert.equal(await inspect('web', '{{.Id}} {{.State.Status}} {{.HostConfig.AutoRemove}}'), `${id} running true`);
    await docker('stop', '-t', '0', 'web');
    await until(async () => (await docker('ps', '-aq')) === '', 'it to be removed');
  });
  it('is shown with its command as docker writes it', async () => {
    await docker('run', '-d', image, 'sh', '-c', 'sleep 1000');
    assert.equal(await docker('ps', '--no-trunc', '--format', '{{.Command}}'), `"sh -c 'sleep 1000'"`);
  });
  it('is pruned when it was stopped', async () => {
    const id = await docker('run', '-d', image, 'sleep', '1000');
    await docker('stop', '-t', '0', id);
    assert.ok((await docker('container', 'prune', '--force')).includes(id));
  });
  it('is pruned when it has ended or was never started', async () => {
    const kept = await docker('run', '-d', image, 'sleep', '1000');
    const ids = [await docker('create', image), await docker('run', '-d', image, 'true')];
    await docker('wait', ids[1] ?? '');
    const pruned = await docker('container', 'prune', '--force');
    for (const id of ids) assert.ok(pruned.includes(id), pruned);
    assert.equal(await docker('ps', '-aq', '--no-trunc'), kept);
  });
  it('has its life told as events', async () => {
    const since = String(Date.now() / 1000);
    await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    await docker('pause', 'web');
    await docker('unpause', 'web');
    await docker('stop', '-t', '0', 'web');
    await docker('rm', 'web');
    const events = async (): Promise<string> =>
      await docker(
        'events',
        '--since',
        since,
        '--until',
        String(Date.now() / 1000),
        '--filter',
        'container=web',
        '--format',
        '{{.Action}}',
      );
    await until(async () => (await events()).endsWith('destroy'), 'the last event');
    assert.deepEqual((await events()).split('\n'), [
      'create',
      'start',
      'pause',
      'unpause',
      'kill',
      'die',
      'stop',
      'destroy',
    ]);
  });
  it('goes on, and is known, when the daemon was killed', async () => {
    const id = await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    const pid = await inspect('web', '{{.State.Pid}}');
    await instance().stop('SIGKILL');
    await instance().start();
    assert.equal(await inspect('web', '{{.Id}} {{.State.Pid}}'), `${id} ${pid}`);
  });
  it('is refused by name what cannot be honoured', async () => {
    assert.match(await refusal('create', '--cpuset-cpus', '0', image), /HostConfig\.CpusetCpus/);
    assert.match(await refusal('create', 'no-such-image'), /No such image: no-such-image:latest|Unable to find image/);
  });

  describe('the socket', () => {
    it('is of mode 0660, and of root and nobody else', async () => {
      const { mode, uid, gid } = await stat(socket());
      assert.deepEqual([mode & 0o777, uid, gid], [0o660, 0, 0]);
    });
    it('is taken over from a daemon that died, and belongs to the group that was asked for', async () => {
      const other = await createInstance({ flags: ['--docker-group', 'daemon'] });
      try {
        const path = join(other.runDir, 'docker.sock');
        await other.start();
        await other.stop('SIGKILL');
        await other.start();
        const { mode, gid } = await stat(path);
        assert.deepEqual([mode & 0o777, gid], [0o660, 1]);
      } finally {
        await other.close();
      }
    });
    it('is not taken from somebody who listens', async () => {
      const path = join(instance().dataDir, 'other.sock');
      const listener = createServer();
      await new Promise<void>((resolve) => listener.listen(path, resolve));
      const other = await createInstance({ flags: ['--docker-socket', path] });
      try {
        await assert.rejects(other.start(), /somebody else listens on/);
      } finally {
        await other.close();
        await new Promise((resolve) => listener.close(resolve));
        await unlink(path).catch(() => {}); // a listener that closes removes it itself
      }
    });
  });
});
