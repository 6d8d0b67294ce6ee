import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { ContainerConfigError, ContainerNotFoundError, PortTakenError, StartError } from '../../runtime/index.ts';
import { never, TestHost, until } from './host.ts';

/** What a listener of the container answers; '' while nobody does. */
function ask(port: number, host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: 2_000 });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => resolve(''));
    socket.on('close', () => resolve(text));
  });
}

/** Answers with a word on port 80, for every connection anew. */
const answer = (word: string): readonly string[] => ['sh', '-c', `while true; do echo ${word} | nc -l -p 80; done`];

describe('containers on this host', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  it('gives a process its own PID 1, host name and address, and the root user of the image', async () => {
    const { output, info } = await host.script('echo pid $$; hostname; id -u; ps | wc -l; ip -4 addr show eth0');
    assert.match(output, /^pid 1\ntest\n0\n/);
    assert.ok(info.ip !== undefined && output.includes(info.ip), output);
    assert.deepEqual(info.state.kind === 'exited' && info.state.exit.code, 0);
  });

  it('hides the processes of the host and of other containers', async () => {
    const other = await host.run({ cmd: ['sleep', '12321'] });
    const { output } = await host.script('ps');
    assert.doesNotMatch(output, /12321/);
    assert.match(output, /sh -c ps/);
    assert.equal(other.state.kind, 'running');
  });

  it('lets two containers listen on the same port, and publishes both', async () => {
    const [one, two] = await Promise.all(
      ['one', 'two'].map((word) =>
        host.run({ name: word, cmd: answer(word), ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }] }),
      ),
    );
    for (const [info, word] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      const port = info?.ports[0]?.hostPort ?? 0;
      assert.ok(port > 0);
      await until(`"${word}" from the host's loopback`, async () => (await ask(port)) === `${word}\n`);
      const address = Object.values(networkInterfaces())
        .flat()
        .find((one) => one?.family === 'IPv4' && !one.internal)?.address;
      if (address !== undefined) {
        await until(`"${word}" from ${address}`, async () => (await ask(port, address)) === `${word}\n`);
      }
      await until(`"${word}" at its own address`, async () => (await ask(80, info?.ip)) === `${word}\n`);
    }
    const gateway = one?.ip?.replace(/\.[0-9]+$/, '.1');
    const port = two?.ports[0]?.hostPort;
    const { output } = await host.script(
      `until answer=$(nc -w 5 ${gateway} ${port} </dev/null) && [ "$answer" ]; do sleep 0.05; done; echo "$answer"`,
    );
    assert.equal(output, 'two\n', 'from a container over the host to another');
    // A container reaches its own published port too: the packet leaves and comes back by the same cable.
    const config = host.config({
      cmd: [
        'sh',
        '-c',
        '(while true; do echo mine | nc -l -p 80; done) & until nc -w 1 $GATEWAY $PORT </dev/null; do sleep 0.05; done',
      ],
      ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }],
    });
    const hairpin = await host.runtime.containers.create(config, never);
    const env = [
      { name: 'GATEWAY', value: gateway ?? '' },
      { name: 'PORT', value: String(hairpin.ports[0]?.hostPort) },
    ];
    await host.runtime.containers.update(hairpin.id, { env });
    await host.runtime.containers.start(hairpin.id, never);
    await host.printed(hairpin.id, 'mine');
  });

  it('publishes a port on one address of the host only', async () => {
    const { ports } = await host.run({
      cmd: answer('local'),
      ports: [{ containerPort: 80, hostPort: 0, hostIP: '127.0.0.1', protocol: 'tcp' }],
    });
    const port = ports[0]?.hostPort ?? 0;
    await until('an answer on 127.0.0.1', async () => (await ask(port)) === 'local\n');
    assert.equal(await ask(port, '127.0.0.2'), '');
  });

  it('refuses a port that a running container or a program of the host has, and takes over one of a stopped container', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    const taken = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      await assert.rejects(
        host.run({ ports: [{ containerPort: 80, hostPort: taken, protocol: 'tcp' }] }),
        PortTakenError,
      );
    } finally {
      server.close();
    }
    const first = await host.run({
      name: 'first',
      cmd: answer('first'),
      ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }],
    });
    const ports = first.ports;
    const config = host.config({ name: 'second', cmd: answer('second'), ports });
    await assert.rejects(host.runtime.containers.create(config, never), (error) => {
      assert.ok(error instanceof PortTakenError);
      assert.match(error.message, /container "first"/);
      return true;
    });
    assert.equal(await host.runtime.containers.inspect(config.id), undefined, 'nothing of it stays');
    await host.runtime.containers.signal(first.id, 9);
    await host.exited(first.id);
    await host.runtime.containers.create(config, never);
    await host.runtime.containers.start(config.id, never);
    await until('the second container to answer', async () => (await ask(ports[0]?.hostPort ?? 0)) === 'second\n');
    // It asked for any port, so it gets another.
    const again = await host.runtime.containers.start(first.id, never);
    assert.notEqual(again.ports[0]?.hostPort, ports[0]?.hostPort);
    await until('the first on its new port', async () => (await ask(again.ports[0]?.hostPort ?? 0)) === 'first\n');
  });

  it('makes the root read-only when asked, but not /dev/shm', async () => {
    const readOnly = await host.script('touch /x 2>&1 || echo refused; touch /dev/shm/x && echo shm', {
      readonlyRootfs: true,
    });
    assert.match(readOnly.output, /Read-only file system/);
    assert.match(readOnly.output, /^refused$/m);
    assert.match(readOnly.output, /^shm$/m);
    assert.match((await host.script('touch /x && echo written')).output, /written/);
  });

  it('looks the user up in the image', async () => {
    const { output } = await host.script('id -u; id -g; echo $HOME', { user: 'www-data' });
    assert.match(output, /^33\n33\n/);
    assert.match((await host.script('id -u; id -g', { user: '1234:56' })).output, /^1234\n56\n/);
    const error = await host.run({ user: 'nobody-here' }).catch((problem: unknown) => problem);
    assert.ok(error instanceof ContainerConfigError);
    assert.equal(error.field, 'user');
  });

  it("keeps Docker's capabilities, filters system calls and masks /proc", async () => {
    for (const round of [1, 2]) {
      const { output } = await host.script(
        'exec 2>&1; grep -E "^(CapEff|CapBnd|Seccomp|NoNewPrivs)" /proc/self/status; wc -c </proc/timer_list; unshare -n true || echo blocked; unshare -U true || echo user-blocked; (exec sleep 0) && echo forked',
      );
      assert.match(output, /CapBnd:\s*00000000a80425fb/, `round ${round}`);
      assert.match(output, /CapEff:\s*00000000a80425fb/);
      assert.match(output, /Seccomp:\s*2/);
      assert.match(output, /NoNewPrivs:\s*0/);
      assert.match(output, /^0$/m);
      assert.match(output, /^blocked\nunshare.*\nuser-blocked\nforked$/m);
    }
  });

  it('makes a missing working directory', async () => {
    assert.equal((await host.script('pwd', { workingDir: '/a/b/../c' })).output, '/a/c\n');
  });

  it('reports exit codes, signals, and the time of the end', async () => {
    const fromMs = Date.now() - 1_000;
    const { info } = await host.script('exit 7');
    assert.ok(info.state.kind === 'exited');
    assert.equal(info.state.exit.code, 7);
    assert.equal(info.state.exit.signal, undefined);
    assert.ok(info.state.exit.finishedAtMs > fromMs && info.state.exit.finishedAtMs < Date.now() + 1_000);
    const running = await host.run({ cmd: ['sleep', '1000'] });
    await host.runtime.containers.signal(running.id, 9);
    const killed = await host.exited(running.id);
    assert.ok(killed.state.kind === 'exited');
    assert.deepEqual([killed.state.exit.code, killed.state.exit.signal], [137, 9]);
    await host.runtime.containers.signal(running.id, 9);
    await assert.rejects(host.runtime.containers.signal('f'.repeat(64), 9), ContainerNotFoundError);
  });

  it('tells within moments, by an event, that a container exited', async () => {
    const { id } = await host.run({
      cmd: ['sh', '-c', 'trap "exit 0" TERM; echo up; while true; do sleep 0.01; done'],
    });
    await host.printed(id, 'up');
    await host.runtime.containers.signal(id, 15);
    await until('the event', () => host.events.some((event) => event.kind === 'exited' && event.id === id));
  });

  it('names a command that is missing (127) or cannot be executed (126), and can still remove the container', async () => {
    for (const [cmd, code] of [
      [['no-such-program'], 127],
      [['/no/such/path'], 127],
      [['/etc/passwd'], 126],
      [['/etc'], 126],
    ] as const) {
      const config = host.config({ cmd });
      await host.runtime.containers.create(config, never);
      const error = await host.runtime.containers.start(config.id, never).catch((problem: unknown) => problem);
      assert.ok(error instanceof StartError, String(error));
      assert.equal(error.exitCode, code, error.message);
      assert.ok(error.message.includes(cmd[0]), error.message);
      const info = await host.runtime.containers.inspect(config.id);
      assert.ok(info?.state.kind === 'exited' && info.state.exit.code === code && info.state.startedAtMs === undefined);
      await host.runtime.containers.remove(config.id);
    }
  });

  it('restarts with the same layer and address, and a changed environment', async () => {
    const { id, ip } = await host.run({
      cmd: ['sh', '-c', 'echo "$WORD" >>/kept; cat /kept'],
      env: [{ name: 'WORD', value: 'one' }],
    });
    await host.exited(id);
    await host.runtime.containers.update(id, { env: [{ name: 'WORD', value: 'two' }] });
    const again = await host.runtime.containers.start(id, never);
    await host.exited(id);
    assert.equal(await host.output(id), 'one\none\ntwo\n');
    assert.equal(again.ip, ip);
  });

  it('enforces limits, changes them in place, and shows a new /etc/hosts at once', async () => {
    const limits = { cpuMillis: 500, memoryBytes: 64 * 1024 * 1024, pids: 50 };
    const { id, state } = await host.run({
      cmd: ['sh', '-c', 'until grep -q friend /etc/hosts; do sleep 0.02; done; grep friend /etc/hosts; sleep 1000'],
      limits,
    });
    assert.ok(state.kind === 'running');
    const path = (controller: string, file: string): string => {
      const line = readFileSync(`/proc/${state.pid}/cgroup`, 'utf8')
        .split('\n')
        .find((one) => one.split(':')[1]?.split(',').includes(controller) === true || one.startsWith('0::'));
      const cgroup = line?.split(':')[2] ?? '';
      const root = existsSync(`/sys/fs/cgroup/${controller}`) ? `/sys/fs/cgroup/${controller}` : '/sys/fs/cgroup';
      return readFileSync(join(root, cgroup, file), 'utf8').trim();
    };
    const isV1 = existsSync('/sys/fs/cgroup/memory');
    const memory = (): string => path('memory', isV1 ? 'memory.limit_in_bytes' : 'memory.max');
    const cpu = (): string => path('cpu', isV1 ? 'cpu.cfs_quota_us' : 'cpu.max').split(' ')[0] ?? '';
    assert.deepEqual([memory(), cpu(), path('pids', 'pids.max')], ['67108864', '50000', '50']);
    await host.runtime.containers.update(id, { limits: { memoryBytes: 32 * 1024 * 1024, pids: 60 } });
    assert.deepEqual([memory(), path('pids', 'pids.max')], ['33554432', '60']);
    assert.ok(cpu() === '-1' || cpu() === 'max');
    await host.runtime.containers.update(id, { hosts: [{ ip: '10.9.8.7', names: ['friend'] }] });
    assert.match(await host.printed(id, 'friend'), /10\.9\.8\.7\s+friend/);
  });

  it('says that the kernel killed for memory', async () => {
    const { info } = await host.script('tail /dev/zero', { limits: { memoryBytes: 16 * 1024 * 1024, pids: 50 } });
    assert.ok(info.state.kind === 'exited');
    assert.ok(info.state.exit.oomKilled);
    assert.notEqual(info.state.exit.code, 0);
    assert.ok(host.events.some((event) => event.kind === 'oom' && event.id === info.id));
  });

  it('is idempotent: create, start and remove twice do nothing new', async () => {
    const config = host.config({ cmd: ['sleep', '1000'] });
    const created = await host.runtime.containers.create(config, never);
    assert.equal((await host.runtime.containers.create(config, never)).createdAtMs, created.createdAtMs);
    const first = await host.runtime.containers.start(config.id, never);
    const second = await host.runtime.containers.start(config.id, never);
    assert.deepEqual(first, second);
    await host.runtime.containers.remove(config.id);
    await host.runtime.containers.remove(config.id);
    await assert.rejects(host.runtime.containers.start(config.id, never), ContainerNotFoundError);
  });

  it('starts and removes many at once, each with an address of its own', async () => {
    const infos = await Promise.all(Array.from({ length: 12 }, () => host.run({ cmd: ['sleep', '1000'] })));
    assert.equal(new Set(infos.map((info) => info.ip)).size, 12);
    assert.equal(new Set(infos.map((info) => (info.state.kind === 'running' ? info.state.pid : 0))).size, 12);
    const metrics = await host.deps.metrics.metrics();
    assert.match(metrics, /holdfast_runtime_containers\{state="running"\} 12/);
    await Promise.all(infos.map((info) => host.runtime.containers.remove(info.id)));
    assert.deepEqual(await host.runtime.containers.list(), []);
  });
});
