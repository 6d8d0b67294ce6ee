/** What a container may do, seen from inside real ones: each setting of SecurityConfig, and what it cannot be. */
import assert from 'node:assert/strict';
import { existsSync, readlinkSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCapabilities, ownCapabilities, parseCapabilityMask } from '../../runtime/capabilities.ts';
import { ContainerConfigError, type SecurityConfig } from '../../runtime/index.ts';
import { never, TestHost, until } from './host.ts';

/** Bounding, effective, inheritable, permitted and ambient set, as /proc/PID/status has them. */
function capabilitySets(status: string): Readonly<Record<string, readonly string[]>> {
  const sets = [...status.matchAll(/^Cap(Bnd|Eff|Inh|Prm|Amb):\s*([0-9a-f]+)$/gm)];
  return Object.fromEntries(sets.map(([, name, mask]) => [name, parseCapabilityMask(mask ?? '')]));
}

const status = 'cat /proc/self/status';

for (const ociRuntime of ['crun', 'runc'] as const) {
  describe(`security settings, by ${ociRuntime}`, () => {
    let host: TestHost;
    before(async () => {
      host = await TestHost.open({ ociRuntime });
    });
    after(() => host.close());

    const inside = async (script: string, security: SecurityConfig, change = {}): Promise<string> =>
      (await host.script(script, { security, ...change })).output;

    it('adds and drops capabilities', async () => {
      const changed = capabilitySets(
        await inside(status, { addCapabilities: ['net_admin'], dropCapabilities: ['CAP_NET_RAW'] }),
      );
      const want = [...defaultCapabilities.filter((name) => name !== 'CAP_NET_RAW'), 'CAP_NET_ADMIN'].sort();
      assert.deepEqual(changed.Bnd?.toSorted(), want);
      assert.deepEqual(changed.Eff?.toSorted(), want);
      const none = capabilitySets(await inside(status, { dropCapabilities: ['ALL'] }));
      assert.deepEqual(Object.values(none).flat(), []);
      const one = capabilitySets(await inside(status, { dropCapabilities: ['ALL'], addCapabilities: ['CHOWN'] }));
      assert.deepEqual([one.Bnd, one.Eff], [['CAP_CHOWN'], ['CAP_CHOWN']]);
    });

    it('gives a capability that was added to a user who is not root, and no other', async () => {
      const script = 'grep Cap /proc/self/status; nc -l -p 1023 -w 1 </dev/null; echo done';
      const plain = capabilitySets(await inside(script, {}, { user: '33' }));
      assert.deepEqual([plain.Eff, plain.Prm, plain.Amb, plain.Inh], [[], [], [], []]);
      const added = capabilitySets(await inside(script, { addCapabilities: ['NET_ADMIN'] }, { user: '33' }));
      assert.deepEqual([added.Eff, added.Amb], [['CAP_NET_ADMIN'], ['CAP_NET_ADMIN']]);
    });

    it('sets no_new_privs when asked', async () => {
      assert.match(await inside(status, {}), /^NoNewPrivs:\s*0$/m);
      assert.match(await inside(status, { noNewPrivileges: true }), /^NoNewPrivs:\s*1$/m);
    });

    it('filters system calls by default, not at all, or by a file', async () => {
      assert.match(await inside(status, {}), /^Seccomp:\s*2$/m);
      assert.match(await inside(status, { seccomp: { kind: 'unconfined' } }), /^Seccomp:\s*0$/m);
      const profiles = join(host.deps.dataDir, 'seccomp', 'team');
      await mkdir(profiles, { recursive: true });
      const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 }];
      await writeFile(join(profiles, 'no-mkdir.json'), JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
      const seccomp = { kind: 'file', path: 'team/no-mkdir.json' } as const;
      for (const _ of ['compiled anew', 'taken from what was kept']) {
        const output = await inside(`${status}; mkdir /x 2>&1 || echo no`, { seccomp });
        assert.match(output, /^Seccomp:\s*2$/m);
        assert.match(output, /Operation not supported/);
      }
      const filtered = await inside(status, { isPrivileged: true, seccomp: { kind: 'default' } });
      assert.match(filtered, /^Seccomp:\s*2$/m);
    });

    it('adapts the filter to the capabilities', async () => {
      assert.match(await inside('unshare -m true && echo done', {}), /Operation not permitted/);
      assert.match(await inside('unshare -m true && echo done', { addCapabilities: ['SYS_ADMIN'] }), /^done$/m);
    });

    it('refuses a profile that is missing, broken, or reached by a link out of its folder', async () => {
      const profiles = join(host.deps.dataDir, 'seccomp');
      await mkdir(profiles, { recursive: true });
      await writeFile(join(profiles, 'broken.json'), '{');
      await writeFile(join(profiles, 'strange.json'), '{"defaultAction":"SCMP_ACT_DANCE"}');
      await symlink('/proc/self/status', join(profiles, 'link.json'));
      for (const [path, says] of [
        ['missing.json', /there is no seccomp profile "missing\.json"/],
        ['broken.json', /broken\.json cannot be used/],
        ['strange.json', /SCMP_ACT_DANCE.*use one of/],
        ['link.json', /there is no seccomp profile "link\.json"/],
      ] as const) {
        const config = host.config({ security: { seccomp: { kind: 'file', path } } });
        await host.runtime.containers.create(config, never);
        await assert.rejects(host.runtime.containers.start(config.id, never), (error) => {
          assert.ok(error instanceof ContainerConfigError, String(error));
          assert.equal(error.field, 'security.seccomp');
          assert.match(error.message, says);
          return true;
        });
        await host.runtime.containers.remove(config.id);
      }
    });

    it('refuses what cannot be before anything is made', async () => {
      const cases: readonly (readonly [SecurityConfig, string])[] = [
        [{ addCapabilities: ['FLY'] }, 'security.addCapabilities'],
        [{ sysctls: { 'kernel.panic': '1' } }, 'security.sysctls'],
        [{ ulimits: [{ name: 'shoes', soft: 1, hard: 1 }] }, 'security.ulimits'],
        [{ devices: [{ hostPath: 'dev', path: '/dev/x', permissions: 'r' }] }, 'security.devices'],
        [{ seccomp: { kind: 'file', path: '../x' } }, 'security.seccomp'],
      ];
      for (const [security, field] of cases) {
        const config = host.config({ security });
        await assert.rejects(host.runtime.containers.create(config, never), (error) => {
          assert.ok(error instanceof ContainerConfigError, String(error));
          assert.equal(error.field, field);
          return true;
        });
        assert.equal(await host.runtime.containers.inspect(config.id), undefined);
      }
    });

    it('shows and allows a device, and a folder of them, as asked', async () => {
      const device = { hostPath: '/dev/loop-control', path: '/dev/notes', permissions: 'r' };
      const script = 'ls -l /dev/notes; (exec 3</dev/notes) && echo reads; (exec 3>/dev/notes) 2>/dev/null || echo no';
      const output = await inside(script, { devices: [device] });
      assert.match(output, /^crw.* 10, 237 .*\/dev\/notes$/m);
      assert.match(output, /^reads$/m);
      assert.match(output, /^no$/m);
      const folder = { hostPath: '/dev/net', path: '/dev/cables', permissions: 'rwm' };
      assert.match(await inside('ls -l /dev/cables', { devices: [folder] }), /^crw.* 10, 200 .*tun$/m);
      const config = host.config({
        security: { devices: [{ hostPath: '/dev/none-such', path: '/dev/x', permissions: 'r' }] },
      });
      await host.runtime.containers.create(config, never);
      await assert.rejects(host.runtime.containers.start(config.id, never), /the host has no device \/dev\/none-such/);
      await host.runtime.containers.remove(config.id);
    });

    it('sets kernel parameters and limits of its own', async () => {
      const output = await inside(
        'cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni; ulimit -n; ulimit -Hn; ulimit -c',
        {
          sysctls: { 'net.core.somaxconn': '321', 'kernel.shmmni': '99' },
          ulimits: [{ name: 'nofile', soft: 64, hard: 128 }],
        },
      );
      assert.deepEqual(output.trim().split('\n'), ['321', '99', '64', '128', '0']);
    });

    it('takes -1 for no limit', async () => {
      // Raising is for those who may: what is unlimited here already stays so.
      const output = await inside('ulimit -t', { ulimits: [{ name: 'cpu', soft: -1, hard: -1 }] });
      assert.equal(output.trim(), 'unlimited');
    });

    it('confines a further process as the first one, also as another user', async () => {
      const security: SecurityConfig = {
        addCapabilities: ['NET_ADMIN'],
        dropCapabilities: ['MKNOD'],
        noNewPrivileges: true,
        ulimits: [
          { name: 'nofile', soft: 64, hard: 128 },
          { name: 'cpu', soft: -1, hard: -1 },
        ],
      };
      const look = 'grep -E "^(Cap|Seccomp:|NoNewPrivs)" /proc/self/status; ulimit -Hn; ulimit -t; ulimit -c';
      for (const user of ['root', '33']) {
        const { id } = await host.run({ cmd: ['sh', '-c', `${look}; echo seen; sleep 1000`], security, user });
        const first = await host.printed(id, 'seen\n');
        const request = { args: ['sh', '-c', look], hasTerminal: false, hasStdin: false };
        for (const as of [undefined, user]) {
          const session = await host.runtime.containers.exec(id, { ...request, user: as }, never);
          session.stderr?.resume();
          const parts: Buffer[] = [];
          for await (const part of session.stdout) parts.push(part);
          assert.equal(await session.exit, 0);
          assert.equal(`${Buffer.concat(parts).toString()}seen\n`, first);
        }
        await host.runtime.containers.remove(id);
      }
    });

    it('masks other paths, or none', async () => {
      const look = 'wc -c </proc/version; echo x 2>/dev/null >/proc/sys/kernel/domainname && echo written';
      const byDefault = await inside(`(${look}) 2>/dev/null; ls /sys/firmware | wc -l`, {});
      assert.match(byDefault, /^[1-9][0-9]*\n0\n$/);
      assert.equal(await inside(look, { maskedPaths: ['/proc/version'], readonlyPaths: [] }), '0\nwritten\n');
    });

    it('is nearly the host itself when privileged', async () => {
      const output = await inside(`${status}; ls -l /dev/kmsg; grep ' /sys ' /proc/mounts; ls /dev/pts`, {
        isPrivileged: true,
      });
      const sets = capabilitySets(output);
      assert.deepEqual(sets.Eff, ownCapabilities(await readFile('/proc/self/status', 'utf8')));
      assert.match(output, /^Seccomp:\s*0$/m);
      assert.match(output, /^crw.* 1, +11 .*\/dev\/kmsg$/m);
      assert.match(output, /sysfs rw,/);
    });

    it("sees the host's processes, or shares its IPC, when asked", async () => {
      const look = 'readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; [ -e $MARKER ] && echo marked';
      const marker = `/dev/shm/${host.deps.bridge}`;
      const env = [{ name: 'MARKER', value: marker }];
      await writeFile(marker, '');
      try {
        const own = await host.script(look, { env });
        const shared = await host.script(look, { env, namespaces: { pid: 'host', ipc: 'host' } });
        const ofHost = [readlinkSync('/proc/self/ns/pid'), readlinkSync('/proc/self/ns/ipc'), 'marked'];
        assert.deepEqual(shared.output.trim().split('\n'), ofHost);
        for (const line of ofHost) assert.ok(!own.output.includes(line), line);
      } finally {
        await rm(marker);
      }
    });

    it("leaves none of its processes among the host's when it ends", async () => {
      const { id } = await host.run({ cmd: ['sh', '-c', 'sleep 98765 & echo $!; wait'], namespaces: { pid: 'host' } });
      const child = Number((await host.printed(id, '\n')).trim());
      // It is the shell's copy, and then nothing, before it is `sleep`.
      await until('the child to be sleep', async () => /98765/.test(await readFile(`/proc/${child}/cmdline`, 'utf8')));
      await host.runtime.containers.signal(id, 9);
      await host.exited(id);
      await until('the child to end', () => !existsSync(`/proc/${child}`));
      await host.runtime.containers.remove(id);
    });

    it('has a /dev/shm of the size asked for', async () => {
      const output = await inside('df -k /dev/shm | tail -1', {}, { shmSizeBytes: 1_048_576 });
      assert.match(output, /\b1024\b/);
      assert.match(await inside('df -k /dev/shm | tail -1', {}), /\b65536\b/);
    });

    it('tells of a helper process that was killed for memory, and does not call a later clean end so', async () => {
      const { id } = await host.run({
        cmd: ['sh', '-c', 'tail /dev/zero; echo went on; until [ -e /stop ]; do sleep 0.05; done'],
        limits: { memoryBytes: 16 * 1024 * 1024, pids: 50 },
      });
      await host.printed(id, 'went on');
      await until('the event', () => host.events.some((event) => event.kind === 'oom' && event.id === id));
      const info = await host.runtime.containers.inspect(id);
      assert.equal(info?.state.kind, 'running');
      await host.runtime.containers.remove(id);
      const clean = await host.script('tail /dev/zero; exit 0', {
        limits: { memoryBytes: 16 * 1024 * 1024, pids: 50 },
      });
      assert.ok(clean.info.state.kind === 'exited');
      assert.deepEqual([clean.info.state.exit.code, clean.info.state.exit.oomKilled], [0, false]);
    });
  });
}
