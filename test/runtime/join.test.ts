/** Entering a container without the OCI runtime: the process is confined just as by its exec. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type OciProcess, parseOciProcess } from '../../runtime/exec-process.ts';
import { type ContainerConfig, type ExecRequest, StartError } from '../../runtime/index.ts';
import { formatRlimits } from '../../runtime/kernel-settings.ts';
import { formatJoin, hasSeccompFilter, joinedCgroupFiles } from '../../runtime/relay-join.ts';
import { never, TestHost, until } from './host.ts';

const process: OciProcess = {
  terminal: false,
  user: { uid: 33, gid: 34, umask: 18, additionalGids: [5, 6] },
  args: ['ls', '-l', ''],
  env: ['PATH=/bin', 'A= b'],
  cwd: '/srv',
  capabilities: { bounding: ['CAP_CHOWN', 'CAP_CHECKPOINT_RESTORE'], effective: [], permitted: ['CAP_KILL'] },
  rlimits: formatRlimits([{ name: 'nofile', soft: 5, hard: -1 }]),
  noNewPrivileges: true,
  oomScoreAdj: 7,
};
const input = {
  init: { pid: 42, startTicks: 99 },
  process,
  hasStdin: true,
  cgroupFiles: ['/sys/fs/cgroup/x/cgroup.procs'],
  seccompFile: '/run/filter',
};

describe('formatJoin', () => {
  it('says all of the process, lists with their lengths', () => {
    assert.deepEqual(formatJoin(input), [
      ...['join', '42', '99', '1', '7', '33', '34', '18', '10000000001', '0', '20', '0', '0', '1', '/run/filter'],
      ...['/srv', '2', '5', '6', '2', '4:0:0', '7:5:18446744073709551615'],
      ...['6', 'pid', 'ipc', 'uts', 'net', 'cgroup', 'mnt', '1', '/sys/fs/cgroup/x/cgroup.procs'],
      ...['2', 'PATH=/bin', 'A= b', '3', 'ls', '-l', ''],
    ]);
  });

  const unknown: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    'a terminal': { terminal: true },
    'an AppArmor profile': { apparmorProfile: 'x' },
    'a SELinux label': { selinuxLabel: 'x' },
    'a scheduler': { scheduler: {} },
    'what is not yet in the specification': { comingSoon: 1 },
    'a capability that is not known': { capabilities: { bounding: ['CAP_FUTURE'] } },
    'no word on capabilities': { capabilities: undefined },
    'a limit that is not known': { rlimits: [{ type: 'RLIMIT_FUTURE', soft: 1, hard: 1 }] },
    'a user by name': { user: { uid: 0, gid: 0, username: 'root' } },
    'no folder': { cwd: undefined },
  };
  for (const [what, change] of Object.entries(unknown)) {
    it(`leaves ${what} to the OCI runtime`, () =>
      assert.equal(formatJoin({ ...input, process: { ...process, ...change } }), undefined));
  }
});

describe('joinedCgroupFiles', () => {
  const path = '/holdfast/abc';
  it('are those of the container in every hierarchy of version 1', () => {
    const files = joinedCgroupFiles(['/c/cpu/holdfast/abc', '/c/pids/holdfast/abc'], {
      ...{ kind: 'v1', path, initCgroup: '0::/holdfast/abc/deeper' },
    });
    assert.deepEqual(files, ['/c/cpu/holdfast/abc/cgroup.procs', '/c/pids/holdfast/abc/cgroup.procs']);
  });
  for (const [initCgroup, below] of [
    ['0::/holdfast/abc\n', ''],
    ['0::/holdfast/abc/init.scope\n', '/init.scope'],
    ['0::/holdfast/abcd/init.scope\n', ''],
    ['0::/elsewhere\n', ''],
    ['', ''],
  ] as const) {
    it(`on version 2 follow the first process within the container's: ${JSON.stringify(initCgroup)}`, () =>
      assert.deepEqual(joinedCgroupFiles(['/c/holdfast/abc'], { kind: 'v2', path, initCgroup }), [
        `/c/holdfast/abc${below}/cgroup.procs`,
      ]));
  }
});

describe('hasSeccompFilter', () => {
  it('sees a profile and a compiled filter', () => {
    assert.equal(hasSeccompFilter({ linux: { seccomp: {} } }), true);
    assert.equal(hasSeccompFilter({ linux: {}, annotations: { 'run.oci.seccomp_bpf_data': 'AAAA' } }), true);
    assert.equal(hasSeccompFilter({ linux: {}, annotations: {} }), false);
    assert.equal(hasSeccompFilter(undefined), false);
  });
  it('belongs to a process that can be read', () =>
    assert.equal(parseOciProcess({ process: { env: [], user: {} } }), undefined));
});

/** All that confines a process, as it sees it itself. */
const facts = `
grep -E '^(Umask|Uid|Gid|Groups|NStgid|Cap|NoNewPrivs|Seccomp|Speculation|Sig(Blk|Ign|Cgt)|Cpus_allowed_list)' /proc/self/status
cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj
for kind in cgroup ipc mnt net pid uts user; do readlink /proc/self/ns/$kind; done
pwd; readlink /proc/self/root; env | grep -v ^TERM= | sort; ls /proc/self/fd | wc -l
`;

describe('a process that joins a container', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());

  const open = (id: string, request: Partial<ExecRequest>) =>
    host.runtime.containers.exec(id, { args: [], hasTerminal: false, hasStdin: false, ...request }, never);
  const seen = async (id: string, request: Partial<ExecRequest>): Promise<string> => {
    const session = await open(id, request);
    const [stdout, stderr] = await Promise.all([
      text(session.stdout),
      session.stderr === undefined ? '' : text(session.stderr),
    ]);
    assert.equal(await session.exit, 0, `${stdout}${stderr}`);
    return `${stdout}${stderr}`.replaceAll('\r\n', '\n').replace(/^NStgid:.*$/m, '');
  };

  const sleep: Partial<ContainerConfig> = { cmd: ['sleep', '1000'] };
  const cases: Readonly<Record<string, readonly [Partial<ContainerConfig>, Partial<ExecRequest>]>> = {
    'a default container': [sleep, {}],
    'another user': [sleep, { user: 'www-data', workingDir: '/tmp', env: [{ name: 'MORE', value: 'ä €\n"' }] }],
    'a user with groups': [{ ...sleep, user: '1000:1000', groups: ['33', '44'] }, {}],
    'no new privileges': [{ ...sleep, security: { noNewPrivileges: true } }, {}],
    'no new privileges and another user': [{ ...sleep, security: { noNewPrivileges: true } }, { user: '65534' }],
    'a capability for a user': [{ ...sleep, security: { addCapabilities: ['NET_ADMIN'] } }, { user: '1000' }],
    'no capabilities': [{ ...sleep, security: { dropCapabilities: ['ALL'] } }, {}],
    'a privileged container': [{ ...sleep, security: { isPrivileged: true } }, {}],
    'no filter': [{ ...sleep, security: { seccomp: { kind: 'unconfined' } } }, {}],
    limits: [{ ...sleep, security: { ulimits: [{ name: 'nofile', soft: 100, hard: 200 }] } }, {}],
    'processes and network of the host': [{ ...sleep, namespaces: { pid: 'host', network: 'host', ipc: 'host' } }, {}],
  };
  for (const [what, [config, request]] of Object.entries(cases)) {
    it(`is confined as by the OCI runtime: ${what}`, async () => {
      const { id } = await host.run(config);
      const args = ['sh', '-c', facts];
      const joined = await seen(id, { ...request, args });
      assert.match(joined, /^CapBnd/m);
      // A terminal is had through the OCI runtime.
      assert.equal(joined, await seen(id, { ...request, args, hasTerminal: true }));
      await host.runtime.containers.remove(id);
    });
  }

  it('is let in by a program that the container cannot change', async () => {
    const { id } = await host.run(sleep);
    await seen(id, { args: ['true'] });
    const ourHost = readdirSync('/proc').find((name) => {
      if (!/^[0-9]+$/.test(name)) return false;
      try {
        const parent = /^PPid:\s+([0-9]+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1];
        const isOurs = parent === String(globalThis.process.pid);
        return isOurs && readFileSync(`/proc/${name}/cmdline`, 'utf8').startsWith('holdfast-relay host');
      } catch {
        return false; // it has ended
      }
    });
    assert.ok(ourHost !== undefined);
    assert.match(readlinkSync(`/proc/${ourHost}/exe`), /^\/memfd:/);
    const seals = execFileSync('perl', [
      '-e',
      'open(F, "<", $ARGV[0]); print fcntl(F, 1034, 0)',
      `/proc/${ourHost}/exe`,
    ]);
    assert.equal(seals.toString(), '15');
    // What a container could run of it is that copy, for which this image has no loader.
    await assert.rejects(open(id, { args: ['/proc/self/exe', '-v'] }), StartError);
    // Killed with something unread: more sessions than relays that wait, so that it is asked for one.
    globalThis.process.kill(Number(ourHost), 'SIGSTOP');
    const asked = Promise.allSettled(['a', 'b', 'c', 'd'].map((word) => seen(id, { args: ['echo', word] })));
    await new Promise((resolve) => setImmediate(resolve));
    globalThis.process.kill(Number(ourHost), 'SIGKILL');
    // A relay that had begun may have died with it; whoever had none gets one of the next host.
    for (const one of await asked) if (one.status === 'fulfilled') assert.match(one.value, /^[a-d]\n$/);
    await until(
      'another host',
      async () => (await seen(id, { args: ['echo', 'again'] }).catch(() => '')) === 'again\n',
    );
    await host.runtime.containers.remove(id);
  });

  it('has a session of keys of its own, not that of the daemon', async () => {
    const { id } = await host.run({ ...sleep, security: { isPrivileged: true } });
    for (const hasTerminal of [false, true]) {
      const keys = await seen(id, { args: ['cat', '/proc/keys'], hasTerminal });
      // Its flags are those of a keyring that is used, its links those of nobody else.
      assert.match(keys, /^[0-9a-f]+ I--Q--- .* keyring +_ses: empty$/m);
    }
    await host.runtime.containers.remove(id);
  });

  it('is carried by another relay when those that wait, or their folder, are gone', async () => {
    const { id } = await host.run(sleep);
    const echo = (): Promise<string> => seen(id, { args: ['echo', 'well'] });
    assert.equal(await echo(), 'well\n');
    // One that takes the place of the relay just used may come meanwhile.
    rmSync(join(host.deps.runDir, 'sessions'), { recursive: true, maxRetries: 10 });
    mkdirSync(join(host.deps.runDir, 'sessions'), { mode: 0o700 });
    assert.equal(await echo(), 'well\n');
    const sockets = join(host.deps.runDir, 'sessions');
    await until('relays that wait', () => readdirSync(sockets).length > 0);
    for (const name of readdirSync(sockets)) {
      rmSync(join(sockets, name), { force: true });
      writeFileSync(join(sockets, name), 'no socket');
    }
    assert.equal(await echo(), 'well\n');
    await host.runtime.containers.remove(id);
  });

  it('is carried by a relay that has carried others, and has nothing left of them', async () => {
    const { id } = await host.run(sleep);
    const parentOf = (pid: string): string => {
      const parent = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      assert.ok(parent);
      return parent;
    };
    const carry = async (): Promise<string> => {
      const session = await open(id, { args: ['cat'], hasStdin: true });
      const relay = parentOf(String(session.pid));
      assert.equal(readFileSync(`/proc/${session.pid}/oom_score_adj`, 'utf8'), '0\n');
      session.stdin?.end();
      assert.equal(await session.exit, 0);
      return relay;
    };
    const look = (relay: string) => ({
      links: readdirSync(`/proc/${relay}/fd`).map((number) => readlinkSync(`/proc/${relay}/fd/${number}`)),
      ofChildren: readlinkSync(`/proc/${relay}/ns/pid_for_children`),
      oomScore: readFileSync(`/proc/${relay}/oom_score_adj`, 'utf8'),
    });
    const found = await until('a relay that comes back', async () => {
      const relay = await carry();
      const isWaiting = () => readFileSync(`/proc/${relay}/cmdline`, 'utf8').startsWith('holdfast-relay wait');
      try {
        await until('its wait', isWaiting, 1_000);
        writeFileSync(`/proc/${relay}/oom_score_adj`, '200');
        const before = look(relay);
        if ((await carry()) !== relay) return undefined;
        await until('its wait', isWaiting, 1_000);
        return { relay, before, after: look(relay), ofHost: look(parentOf(relay)).links };
      } catch {
        return undefined; // it has ended meanwhile
      }
    });
    assert.deepEqual(found.after, { ...found.before, links: found.after.links });
    assert.deepEqual([found.after.ofChildren, found.after.oomScore], [readlinkSync('/proc/self/ns/pid'), '200\n']);
    // Of its own: what it listens on, one socket.
    for (const { links } of [found.before, found.after])
      assert.match(links.filter((link) => !found.ofHost.includes(link)).join(), /^socket:\[\d+\]$/);
    assert.equal(found.after.links.length, found.before.links.length);
    // Its memory has what it was told: it is of that container alone.
    const other = await host.run(sleep);
    const session = await open(other.id, { args: ['cat'], hasStdin: true });
    assert.notEqual(parentOf(String(session.pid)), found.relay);
    session.stdin?.end();
    assert.equal(await session.exit, 0);
    await host.runtime.containers.remove(other.id);
    await host.runtime.containers.remove(id);
  });

  it('does not get out through a folder that leads to something open', async () => {
    const { id } = await host.run(sleep);
    for (let number = 3; number < 12; number += 1) {
      await assert.rejects(open(id, { args: ['pwd'], workingDir: `/proc/self/fd/${number}` }), /chdir/);
    }
    await host.runtime.containers.remove(id);
  });

  it('takes as much as the kernel does, and says what is too much', async () => {
    const { id } = await host.run(sleep);
    const big = 'x'.repeat(100_000);
    const env = Array.from({ length: 10 }, (_, index) => ({ name: `BIG${index}`, value: big }));
    assert.equal((await seen(id, { args: ['sh', '-c', 'env | wc -c'], env }).then(Number)) > 1_000_000, true);
    await assert.rejects(open(id, { args: ['true', 'x'.repeat(200_000)] }), /too long/i);
    await host.runtime.containers.remove(id);
  });
});
