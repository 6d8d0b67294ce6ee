/** Who a container's process is and what it finds under /etc, with real containers. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerConfigError } from '../../runtime/index.ts';
import { buildBusyboxImage } from '../images.ts';
import { never, TestHost, until } from './host.ts';

describe('the identity of a container', function () {
  this.timeout(240_000);
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());

  it('has the first group and further groups that were asked for, by name and number', async () => {
    const { output } = await host.script('id -u; id -g; id -G; echo $HOME', {
      user: 'www-data',
      group: '7',
      groups: ['www-data', '4242'],
    });
    assert.deepEqual(output.trim().split('\n'), ['33', '7', '7 33 4242', '/var/www']);
  });

  it('is refused as root where it must not be root, and runs as anyone else', async () => {
    const config = host.config({ cmd: ['true'], refusesRoot: true });
    await host.runtime.containers.create(config, never);
    await assert.rejects(
      host.runtime.containers.start(config.id, never),
      (error) => error instanceof ContainerConfigError && error.field === 'refusesRoot',
    );
    await host.runtime.containers.remove(config.id);
    const { output } = await host.script('id -u', { refusesRoot: true, user: 'nobody' });
    assert.equal(output, '65534\n');
  });

  it('is looked up in what a volume puts over /etc/passwd', async () => {
    const folder = join(host.dir, 'users');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'passwd'), 'app:x:4711:4712::/srv/app:/bin/sh\n');
    const { output } = await host.script('id -u; id -g; echo $HOME', {
      user: 'app',
      volumes: [{ name: 'users', source: { kind: 'bind', path: join(folder, 'passwd'), ensure: 'file' } }],
      mounts: [{ volume: 'users', path: '/etc/passwd', isReadOnly: true, copiesUp: false }],
    });
    assert.deepEqual(output.trim().split('\n'), ['4711', '4712', '/srv/app']);
  });

  it('has its address wherever the placeholder stood, also after it got another one', async () => {
    const { id } = await host.run({
      addressPlaceholder: '<own>',
      env: [{ name: 'IP', value: '<own>' }],
      cmd: ['sh', '-c', 'echo "$IP $1"; sleep 1000', 'sh', 'at=<own>'],
    });
    const { ip } = (await host.runtime.containers.inspect(id)) ?? {};
    await host.printed(id, `${ip} at=${ip}\n`);
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    // Without its network namespace it gets another one, with another address.
    const file = join(host.deps.runDir, 'containers', id, 'network.json');
    execFileSync('umount', [JSON.parse(readFileSync(file, 'utf8')).netnsPath]);
    const again = await host.runtime.containers.start(id, never);
    assert.notEqual(again.ip, ip);
    await host.printed(id, `${again.ip} at=${again.ip}\n`);
    await host.runtime.containers.remove(id);
  });

  it('overrides entrypoint and command as the OCI image specification says', async () => {
    const { reference } = await buildBusyboxImage({
      dir: host.dir,
      file: 'entry.tar',
      entrypoint: ['echo', 'entry'],
      cmd: ['cmd'],
      workingDir: '/srv',
      user: 'nobody',
    });
    const { id: imageID } = await host.runtime.images.ensure(reference, 'if-not-present', never);
    const printed = async (change: Parameters<TestHost['run']>[0]): Promise<string> => {
      const { id } = await host.run({ imageID, ...change });
      await host.exited(id);
      const output = await host.output(id);
      await host.runtime.containers.remove(id);
      return output;
    };
    assert.equal(await printed({}), 'entry cmd\n');
    assert.equal(await printed({ cmd: ['own'] }), 'entry own\n');
    assert.equal(await printed({ entrypoint: ['echo', 'mine'] }), 'mine\n');
    assert.equal(await printed({ entrypoint: ['echo', 'mine'], cmd: ['own'] }), 'mine own\n');
    assert.equal(await printed({ entrypoint: ['sh', '-c', 'id -u; pwd'] }), '65534\n/srv\n');
    assert.equal(await printed({ entrypoint: ['pwd'], workingDir: '/new/folder' }), '/new/folder\n');
  });
});

describe('an init as process 1', function () {
  this.timeout(240_000);
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());

  it('is process 1 with the program below it, also with a read-only root', async () => {
    const { output } = await host.script('ps -o pid,args; true', { hasInit: true, readonlyRootfs: true });
    assert.match(output, /^ +1 \/\.holdfast-init -- sh -c ps -o pid,args; true$/m);
    assert.match(output, /^ +[2-9] (?:\{ps\} )?(?:sh -c )?ps -o pid,args; true$/m);
  });

  it('is there in a user namespace, too', async () => {
    const { output } = await host.script('ps -o pid,args; id -u', { hasInit: true, namespaces: { user: 'mapped' } });
    assert.match(output, /^ +1 \/\.holdfast-init -- sh -c ps/m);
    assert.match(output, /^0$/m);
  });

  it('reaps what the program leaves behind', async () => {
    const orphans = 'for i in 1 2 3; do (sh -c "true & exec sleep 0.01" &); done';
    const { id } = await host.run({ hasInit: true, cmd: ['sh', '-c', `${orphans}; echo made; exec sleep 1000`] });
    await host.printed(id, 'made');
    // The orphans end at once; a program that is process 1 itself and does not wait would keep them as zombies.
    await until('no process but the two to be left', async () => {
      const { output } = await look(id);
      return /zombies: 0\n/.test(output) && /processes: [34]\n/.test(output);
    });
    await host.runtime.containers.remove(id);
  });

  it('hands signals on, and its exit code is that of the program', async () => {
    const { id } = await host.run({
      hasInit: true,
      cmd: ['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done'],
    });
    await host.printed(id, 'ready');
    await host.runtime.containers.signal(id, 15);
    const { state } = await host.exited(id);
    assert.equal(state.kind === 'exited' && state.exit.code, 7);
    await host.runtime.containers.remove(id);
  });

  it('ends a program that knows no signals, which would ignore them as process 1', async () => {
    const { id } = await host.run({ hasInit: true, cmd: ['sh', '-c', 'echo ready; exec sleep 1000'] });
    await host.printed(id, 'ready');
    await host.runtime.containers.signal(id, 15);
    const { state } = await host.exited(id);
    assert.equal(state.kind === 'exited' && state.exit.code, 143);
    await host.runtime.containers.remove(id);
  });

  /** What runs in a container, looked at from inside. */
  async function look(id: string): Promise<{ output: string }> {
    const script =
      'n=0; z=0; for s in /proc/[0-9]*/stat; do n=$((n+1)); case "$(cat $s 2>/dev/null)" in *") Z "*) z=$((z+1));; esac; done; echo "processes: $n"; echo "zombies: $z"';
    const session = await host.runtime.containers.exec(
      id,
      { args: ['sh', '-c', script], hasTerminal: false, hasStdin: false },
      never,
    );
    const parts: Buffer[] = [];
    session.stdout.on('data', (chunk: Buffer) => parts.push(chunk));
    session.stderr?.resume();
    await session.exit;
    return { output: Buffer.concat(parts).toString() };
  }
});
