/** Programs that run in place of a container's own while that is down. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ContainerNotFoundError, type ExecRequest, StartError, type StreamSession } from '../../runtime/index.ts';
import { never, TestHost, until } from './host.ts';

describe('a debug session', () => {
  let host: TestHost;
  const open = (id: string, request: Partial<ExecRequest>): Promise<StreamSession> =>
    host.runtime.containers.debug(id, { args: [], hasTerminal: false, hasStdin: false, ...request }, never);
  const run = async (id: string, script: string, request: Partial<ExecRequest> = {}) => {
    const session = await open(id, { args: ['sh', '-c', script], ...request });
    const [stdout, stderr] = await Promise.all([text(session.stdout), session.stderr ? text(session.stderr) : '']);
    return { stdout, stderr, code: await session.exit };
  };
  const count = async (id: string): Promise<number | undefined> =>
    (await host.runtime.containers.inspect(id))?.debugSessions;
  /** What the OCI runtime, the run dir and the cgroups know of sessions. */
  const leftovers = (): string[] => {
    const folders = [join(host.deps.runDir, 'oci'), join(host.deps.runDir, 'containers')];
    const controllers = readdirSync('/sys/fs/cgroup').map((name) =>
      join('/sys/fs/cgroup', name, `holdfast-${host.deps.bridge}`),
    );
    return [...folders, ...controllers, `/sys/fs/cgroup/holdfast-${host.deps.bridge}`]
      .filter(existsSync)
      .flatMap((dir) => readdirSync(dir).filter((name) => /^[0-9a-f]{64}-/.test(name)));
  };
  /** One whose program has ended with an error, as in backoff. */
  const broken = async (): Promise<string> => {
    const { id, state } = await host.run({
      cmd: ['sh', '-c', 'echo clue > /clue; echo kept > /data/file; exit 3'],
      env: [{ name: 'OWN', value: 'of the container' }],
      limits: { memoryBytes: 64 * 2 ** 20, pids: 40 },
      volumes: [{ name: 'data', source: { kind: 'own', mode: 0o755 } }],
      mounts: [{ volume: 'data', path: '/data', isReadOnly: false, copiesUp: false }],
    });
    assert.notEqual(state.kind, 'created');
    await host.exited(id);
    return id;
  };

  before(async () => {
    host = await TestHost.open();
  });
  after(async () => {
    await host.close();
  });

  it('sees the root, volumes, network, environment and limits of a container that has ended', async () => {
    const id = await broken();
    const { stdout, code } = await run(
      id,
      'cat /clue /data/file; echo $OWN; hostname; ip -4 addr show eth0 | grep -c inet; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2> /dev/null; echo pids $(ls -d /proc/[0-9]* | wc -l); exit 7',
    );
    assert.equal(code, 7);
    const [clue, file, own, hostname, addresses, memory] = stdout.split('\n');
    assert.deepEqual(
      { clue, file, own, hostname, addresses, memory },
      {
        clue: 'clue',
        file: 'kept',
        own: 'of the container',
        hostname: 'test',
        addresses: '1',
        memory: String(64 * 2 ** 20),
      },
    );
    assert.equal((await host.runtime.containers.inspect(id))?.ip !== undefined, true);
    const { state } = (await host.runtime.containers.inspect(id)) ?? {};
    assert.ok(state?.kind === 'exited' && state.exit.code === 3);
    assert.doesNotMatch(await host.output(id), /clue|kept/);
    await until('nothing to be left', async () => (await count(id)) === 0);
    assert.deepEqual(leftovers(), []);
    await host.runtime.containers.remove(id);
  });

  it('is of use to a container that never ran, since its user, folder and program are wrong', async () => {
    const config = host.config({ cmd: ['/no/such/program'], user: 'nobody-knows', workingDir: '/etc/passwd' });
    await host.runtime.containers.create(config, never);
    await assert.rejects(host.runtime.containers.start(config.id, never));
    assert.equal((await run(config.id, 'id -u; pwd')).stdout, '0\n/\n');
    assert.equal((await run(config.id, 'id -u', { user: 'www-data' })).stdout, '33\n');
    await assert.rejects(open(config.id, { args: ['no-such-program'] }), (error) => {
      assert.ok(error instanceof StartError, String(error));
      return error.exitCode === 127;
    });
    await until('nothing to be left', () => leftovers().length === 0);
    await host.runtime.containers.remove(config.id);
    await assert.rejects(open(config.id, { args: ['true'] }), ContainerNotFoundError);
  });

  it('is counted, goes on while the container is started beside it, and both see one root', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'echo run; [ -e /fixed ] || exit 1; cat /fixed; sleep 1000'] });
    await host.exited(id);
    const session = await open(id, {
      args: ['sh'],
      hasTerminal: true,
      hasStdin: true,
      size: { columns: 88, rows: 11 },
    });
    let output = '';
    session.stdout.on('data', (part: Buffer) => {
      output += part.toString();
    });
    assert.equal(await count(id), 1);
    await until('the event', () => host.events.some((event) => event.kind === 'debug' && event.id === id));
    session.stdin?.write('stty size; echo repaired > /fixed\n');
    await until('the size', () => output.includes('11 88'));
    assert.equal((await host.runtime.containers.start(id, never)).state.kind, 'running');
    await host.printed(id, 'repaired');
    session.stdin?.write('echo still$((1+1)); ps | grep -c "sleep 100[0]"\n');
    await until('the session to go on', () => output.includes('still2'));
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    await host.runtime.containers.start(id, never);
    session.stdin?.write('exit 4\n');
    assert.equal(await session.exit, 4);
    await until('it to be no longer counted', async () => (await count(id)) === 0);
    assert.equal((await host.runtime.containers.inspect(id))?.state.kind, 'running');
    // Beside one that runs it is a further process of it.
    assert.match((await run(id, 'ps')).stdout, /sleep 1000/);
    await host.runtime.containers.remove(id);
  });

  it('ends with its client and with the container', async () => {
    const id = await broken();
    const left = await open(id, { args: ['sleep', '1000'] });
    await left.close();
    await until('nothing to be left', async () => (await count(id)) === 0);
    assert.deepEqual(leftovers(), []);
    const session = await open(id, { args: ['sh', '-c', 'sleep 1000 & sleep 1000'] });
    await host.runtime.containers.remove(id);
    await assert.rejects(session.exit, /closed/);
    assert.deepEqual(leftovers(), []);
  });

  it('ends with the daemon, and nothing is left', async () => {
    const id = await broken();
    const session = await open(id, { args: ['sleep', '1000'] });
    assert.notDeepEqual(leftovers(), []);
    await host.reopen();
    await assert.rejects(session.exit, /closed/);
    assert.deepEqual(leftovers(), []);
    assert.equal(await count(id), 0);
    assert.equal((await run(id, 'cat /clue')).stdout, 'clue\n');
    await host.runtime.containers.remove(id);
  });
});
