/** What is changed behind the runtime's back is put back in containers that run on, or is said to need a restart. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerInfo, DriftKind } from '../../runtime/index.ts';
import { driftTable } from '../../runtime/index.ts';
import { observeProcess } from '../../runtime/proc.ts';
import { errnos, SyscallError, Syscalls } from '../../runtime/syscalls.ts';
import { harms, networkOf, type Victim } from '../drift-harms.ts';
import { never, TestHost, until } from './host.ts';

const inPlace = (Object.keys(harms) as DriftKind[]).filter(
  (kind) => driftTable[kind].remedy === 'put-back' && kind !== 'pause' && kind !== 'firewall',
);

describe('drift', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open({ lookIntervalMs: 100 });
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const start = (): Promise<ContainerInfo> =>
    host.run({
      cmd: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done'],
      ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }],
      volumes: [
        { name: 'named', source: { kind: 'named', name: 'named' } },
        { name: 'memory', source: { kind: 'memory' } },
      ],
      mounts: [
        { volume: 'named', path: '/named', isReadOnly: false, copiesUp: false },
        { volume: 'memory', path: '/memory', isReadOnly: false, copiesUp: false },
      ],
    });
  const victimOf = (info: ContainerInfo): Victim => {
    assert.ok(info.state.kind === 'running');
    const { dataDir, runDir, bridge } = host.deps;
    return { id: info.id, pid: info.state.pid, ip: info.ip ?? '', dataDir, runDir, bridge };
  };

  for (const kind of inPlace) {
    it(`${kind}: ${driftTable[kind].what}; it ${driftTable[kind].healedBy}, and the process runs on`, async () => {
      const info = await start();
      const victim = victimOf(info);
      const { inflict, isHarmed } = harms[kind];
      await until('all to be well before', () => !isHarmed(victim));
      // The first look remembers what it is like.
      await until('the first look', () => existsSync(join(victim.runDir, 'containers', victim.id, 'oci-state')));
      host.events.length = 0;
      inflict(victim);
      await until('to be told', () => host.events.some((event) => event.kind === 'drift' && event.drift.kind === kind));
      await until('to be healed', () => !isHarmed(victim));
      assert.deepEqual((await host.runtime.containers.inspect(info.id))?.state, info.state);
    });
  }

  it('gives a new cable the hardware address that neighbours go on sending to', async () => {
    const info = await start();
    const victim = victimOf(info);
    const { inflict, isHarmed } = harms.cable;
    const hardware = (): string => {
      const inside = ['-t', String(victim.pid), '-n', 'ip', '-o', 'link', 'show', 'dev', 'eth0'];
      return / link\/ether (\S+)/.exec(execFileSync('nsenter', inside, { encoding: 'utf8' }))?.[1] ?? '';
    };
    assert.equal(hardware(), info.mac);
    inflict(victim);
    await until(
      'to be healed',
      () => existsSync(`/sys/class/net/${networkOf(victim).hostInterface}`) && !isHarmed(victim),
    );
    assert.equal(hardware(), info.mac);
  });

  it('keeps every line of a log that was removed while the process writes', async () => {
    const info = await host.run({ cmd: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done'] });
    const victim = victimOf(info);
    await host.printed(info.id, 'line 20\n');
    await until('the first look', () => existsSync(join(victim.runDir, 'containers', victim.id, 'oci-state')));
    harms.log.inflict(victim);
    await until('to be told', () =>
      host.events.some(({ kind, ...event }) => kind === 'drift' && 'drift' in event && event.drift.kind === 'log'),
    );
    const before = (await host.output(info.id)).trim().split('\n').length;
    const output = await host.printed(info.id, `line ${before + 10}\n`);
    const lines = output
      .trim()
      .split('\n')
      .slice(0, before + 10);
    assert.deepEqual(
      lines,
      lines.map((_, index) => `line ${index + 1}`),
    );
  });

  it('puts back a file under /etc that the process has made far too big', async () => {
    const info = await host.run({ cmd: ['sleep', '1000'] });
    const hosts = join(host.deps.runDir, 'containers', info.id, 'hosts');
    const sizeBytes = statSync(hosts).size;
    host.events.length = 0;
    const args = ['sh', '-c', 'head -c 3000000 /dev/zero >> /etc/hosts'];
    const session = await host.runtime.containers.exec(info.id, { args, hasTerminal: false, hasStdin: false }, never);
    session.stdout.resume();
    session.stderr?.resume();
    assert.equal(await session.exit, 0);
    await until('to be told', () =>
      host.events.some((event) => event.kind === 'drift' && event.drift.kind === 'etc-file'),
    );
    await until('it to be as it was', () => statSync(hosts).size === sizeBytes);
    assert.equal((await host.runtime.containers.inspect(info.id))?.state.kind, 'running');
  });

  it('mounts a volume again with its owners as a container with ids of its own sees them', async () => {
    const info = await host.run({
      cmd: ['sleep', '1000'],
      namespaces: { user: 'mapped' },
      volumes: [{ name: 'named', source: { kind: 'named', name: 'mapped' } }],
      mounts: [{ volume: 'named', path: '/named', isReadOnly: false, copiesUp: false }],
    });
    const { pid, runDir, id } = victimOf(info);
    await until('the first look', () => existsSync(join(runDir, 'containers', id, 'oci-state')));
    const args = ['-t', String(pid), '-m', 'umount', '/named'];
    execFileSync('nsenter', args);
    const owners = (): string =>
      execFileSync('nsenter', ['-t', String(pid), '-U', '-m', 'stat', '-c', '%u:%g', '/named']).toString();
    await until('it to be mounted', () => readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(' /named '));
    assert.equal(owners(), '0:0\n');
  });

  it('takes nothing out of a container by a link that the process has put in the way', async () => {
    const info = await host.run({ cmd: ['sh', '-c', 'ln -s /proc /way; echo ready; exec sleep 1000'] });
    await host.printed(info.id, 'ready');
    const victim = victimOf(info);
    const init = observeProcess(victim.pid);
    assert.ok(init !== undefined);
    const target = join(host.dir, 'target');
    mkdirSync(target);
    const syscalls = new Syscalls();
    try {
      for (const source of ['/way', '/way/sys'])
        await assert.rejects(
          syscalls.mountOutOf({ process: init, source, target }),
          (error) => error instanceof SyscallError && error.errno === errnos.ELOOP,
        );
      await assert.rejects(
        syscalls.mountInto({
          process: init,
          source: target,
          target: '/missing/sys',
          isReadOnly: true,
          isMapped: false,
        }),
        (error) => error instanceof SyscallError && error.errno === errnos.ENOENT,
      );
    } finally {
      syscalls.close();
    }
    assert.deepEqual(readdirSync(target), []);
  });
});
