/** The main job, as the README tells it: the website monitor from its spec documents, with the real kubectl. */
import assert from 'node:assert/strict';
import { readFile, readlink } from 'node:fs/promises';
import { type Instance, run } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

describe('the website monitor', function () {
  this.timeout(300_000);
  const running = useInstance({ images: 'examples' });
  let instance: Instance;

  before(async () => {
    instance = running();
    const applied = await instance.kubectl(['apply', '-f', 'examples/website-monitor/']);
    assert.equal(applied.code, 0, applied.stderr);
    assert.match(applied.stdout, /container\.holdfast\.dev\/web created/);
  });

  const pidOf = async (name: string): Promise<number> =>
    (await instance.waitFor(name, ({ pid }) => pid !== undefined, 'running')).status?.pid ?? -1;

  it('starts all three, the agent after those it links to', async () => {
    const { code, stderr } = await instance.kubectl([
      'wait',
      '--for=condition=Ready',
      'ctr/web',
      'ctr/mailer',
      'ctr/agent',
      '--timeout=60s',
    ]);
    assert.equal(code, 0, stderr);
    const startedAt = async (name: string): Promise<number> =>
      Date.parse((await instance.get(name))?.status?.startedAt ?? '');
    const agent = await startedAt('agent');
    assert.ok(agent >= (await startedAt('web')) && agent >= (await startedAt('mailer')));
  });
  it('shows in the logs that they work: the agent tests web each second', async () => {
    await until(
      async () => (await instance.containerLog('agent').catch(() => '')).includes('System up.'),
      'System up. in the log of agent',
    );
    await until(
      async () => (await instance.containerLog('web')).includes('"GET / HTTP/1.'),
      'a request in the log of web',
    );
    assert.match(await instance.containerLog('mailer'), /CH2 Example Mailer has started\./);
    const last = '/apis/holdfast.dev/v1/namespaces/default/containers/agent/log?tailLines=1';
    // A look that took too long is told in another line.
    await until(
      async () => (await instance.kubectl(['get', '--raw', last])).stdout === 'System up.\n',
      'System up. alone as the last line of agent',
    );
  });
  it('publishes the welcome page on a free port of the host', async () => {
    const web = await instance.get('web');
    const port = web?.status?.ports?.[0]?.hostPort;
    const page = await (await fetch(`http://127.0.0.1:${port}/`)).text();
    assert.match(page, /Welcome to nginx/);
  });
  it('gives each container namespaces of its own, in which its program is process 1', async () => {
    const pids = await Promise.all(['web', 'mailer', 'agent'].map(pidOf));
    for (const kind of ['pid', 'mnt', 'net', 'uts', 'ipc', 'cgroup']) {
      const names = await Promise.all([...pids, process.pid].map((pid) => readlink(`/proc/${pid}/ns/${kind}`)));
      assert.equal(new Set(names).size, 4, `${kind}: ${names.join(' ')}`);
    }
    for (const pid of pids) assert.match(await readFile(`/proc/${pid}/status`, 'utf8'), /^NSpid:\s+\d+\s+1$/m);
    const inside = await run('nsenter', ['--target', String(pids[1]), '--pid', '--mount', 'ps']);
    assert.doesNotMatch(inside.stdout, /nginx/);
    assert.match(inside.stdout, /^\s*1 /m);
  });
  it('keeps ports apart: each NGINX has its own port 80, and a second one in the same container fails', async () => {
    await instance.create('web-two', { image: 'localhost/nginx:latest', imagePullPolicy: 'Never' });
    await instance.waitFor('web-two', ({ state }) => state === 'Running', 'running');
    const ip = (await instance.get('web-two'))?.status?.podIP;
    await until(
      () =>
        fetch(`http://${ip}/`).then(
          (response) => response.ok,
          () => false,
        ),
      'the second NGINX to answer',
    );
    // Through a pipe of the shell: Node's own pipes are sockets, which /dev/stderr cannot open.
    const command = `nsenter --target ${await pidOf('web-two')} --all nginx 2>&1 | cat`;
    const second = await run('bash', ['-o', 'pipefail', '-c', command]);
    assert.notEqual(second.code, 0);
    assert.match(second.stdout, /bind\(\) to 0\.0\.0\.0:80 failed \(98: Address (already )?in use\)/);
    await instance.remove('web-two');
  });
  it('heals NGINX after kill -9: one restart, told by status, events and metrics', async () => {
    const old = await pidOf('web');
    process.kill(old, 'SIGKILL');
    const web = await instance.waitFor(
      'web',
      ({ pid, state }) => state === 'Running' && pid !== undefined && pid !== old,
      'running again',
    );
    const { restartCount, lastTermination, startedAt } = web.status ?? {};
    assert.deepEqual([restartCount, lastTermination?.exitCode, lastTermination?.signal], [1, 137, 9]);
    // From the exit to the start, as the statuses tell: the first backoff of 1 s with its jitter, and a start.
    const gapMs = Date.parse(startedAt ?? '') - Date.parse(lastTermination?.finishedAt ?? '');
    assert.ok(gapMs >= 900, `${gapMs} ms`);
    // They are written one after the other, behind what they tell of.
    await until(async () => {
      const { stdout } = await instance.kubectl(['get', 'events', '--field-selector', 'involvedObject.name=web']);
      return (
        /Warning\s+BackOff\s+container\/web\s+.*killed by signal 9/.test(stdout) && /Normal\s+Started/.test(stdout)
      );
    }, 'its events');
    assert.match(
      await instance.metrics(),
      /^holdfast_container_restarts_total\{namespace="default",container="web"\} 1$/m,
    );
  });
  it('keeps address and links across the restart', async () => {
    const count = (await instance.containerLog('agent')).split('System up.').length;
    await until(
      async () => (await instance.containerLog('agent')).split('System up.').length > count + 1,
      'the agent to go on',
    );
  });
  it('has the agent notice and the mailer tell when web is stopped, and start again when it runs', async () => {
    const patched = await instance.kubectl([
      'patch',
      'ctr',
      'web',
      '--type',
      'merge',
      '-p',
      '{"spec":{"desiredState":"Stopped"}}',
    ]);
    assert.equal(patched.code, 0, patched.stderr);
    const web = await instance.waitFor(
      'web',
      ({ state, reason }) => state === 'Exited' && reason === 'Stopped',
      'stopped',
    );
    assert.equal(web.status?.pid, undefined);
    await until(
      async () =>
        (await instance.containerLog('mailer')).includes('Sending email: To: admin@work Message: The service is down!'),
      'the alert in the log of mailer',
    );
    await instance.kubectl(['patch', 'ctr', 'web', '--type', 'merge', '-p', '{"spec":{"desiredState":"Running"}}']);
    const again = await instance.waitFor('web', ({ state }) => state === 'Running', 'running');
    assert.equal(again.status?.restartCount, 1, 'a start that was asked for is no restart');
  });
});
