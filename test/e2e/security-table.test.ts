/**
 * The table of docs/security.md, looked at from inside: a container that says nothing about security runs a probe, and
 * every row has a check of what Holdfast's column says. A row without a check fails, and so does a check without a row.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { buildBusyboxImage } from '../images.ts';
import { createInstance, type Instance } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';

const root = join(import.meta.dirname, '..', '..');
const EPERM = '1';
const EACCES = '13';
const ENOSYS = '38';
const EROFS = '30';
const ENOENT = '2';

/** Docker's fourteen, as bits of /proc/PID/status. */
const fourteen = '00000000a80425fb';
const none = '0000000000000000';

const lookAround = `
section() { echo; echo "== $1"; }
section probe; perl /probe.pl
section status; cat /proc/self/status
section init; cat /proc/1/status
section namespaces; for n in pid ipc uts net mnt cgroup user; do echo $n $(readlink /proc/self/ns/$n); done
section mounts; cat /proc/self/mountinfo
section processes; ls /proc | grep '^[0-9]'
section masked-files; for p in kcore keys latency_stats timer_list timer_stats sched_debug interrupts; do [ -e /proc/$p ] && echo $p $(head -c 100 /proc/$p | wc -c); done
section masked-folders; for p in /proc/asound /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap /sys/devices/system/cpu/cpu0/thermal_throttle; do [ -e $p ] && echo $p $(ls -A $p | wc -l); done
section devices; ls -l /dev
section descriptors; ls /proc/1/fd
section environment; env
section limits; cat /proc/self/limits
section oom; cat /proc/self/oom_score_adj
exec 2>/dev/null # of what follows only one file is there, by the version of cgroups
section pids; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max
section memory; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max
section apparmor; cat /proc/self/attr/current
exec 2>&1
section shm; df -k /dev/shm
section session; cut -d' ' -f6,7 /proc/1/stat
section end
`;

class Facts {
  readonly #sections: ReadonlyMap<string, string>;

  constructor(output: string) {
    const parts = output.split(/^== /m).slice(1);
    this.#sections = new Map(
      parts.map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1).trim()]),
    );
    assert.ok(this.#sections.has('end'), `the probe did not come to its end:\n${output}`);
  }

  of(section: string): string {
    const text = this.#sections.get(section);
    assert.ok(text !== undefined, section);
    return text;
  }

  /** "ok", or the error's number. */
  attempt(name: string): string {
    const found = new RegExp(`^${name} (.*)$`, 'm').exec(this.of('probe'))?.[1];
    assert.ok(found !== undefined, `the probe has no attempt "${name}": ${this.of('probe')}`);
    return found;
  }

  /** All of them must have been refused, by the filter (EPERM, or ENOSYS) or for want of a right. */
  refuses(...names: readonly string[]): void {
    for (const name of names) {
      assert.ok([EPERM, EACCES, ENOSYS].includes(this.attempt(name)), `${name}: ${this.attempt(name)}`);
    }
  }

  namespace(name: string): string {
    return new RegExp(`^${name} (.*)$`, 'm').exec(this.of('namespaces'))?.[1] ?? '';
  }

  capabilities(set: 'Bnd' | 'Eff' | 'Prm' | 'Inh' | 'Amb'): string {
    return new RegExp(`^Cap${set}:\\s*(.*)$`, 'm').exec(this.of('status'))?.[1] ?? '';
  }

  /** Mount options and propagation at a path. */
  mount(path: string): string {
    return (
      this.of('mounts')
        .split('\n')
        .findLast((line) => line.split(' ')[4] === path) ?? ''
    );
  }
}

interface Seen {
  /** By root, and by another user. */
  readonly facts: Facts;
  readonly other: Facts;
  /** By a process that was run in a container later. */
  readonly later: Facts;
}

const isOwn = (facts: Facts, name: string): void => {
  assert.match(facts.namespace(name), /^[a-z]+:\[[0-9]+\]$/);
  assert.notEqual(facts.namespace(name), readlinkSync(`/proc/self/ns/${name}`));
};
const readOnly = (facts: Facts, path: string): void => {
  assert.match(facts.mount(path).split(' ')[5] ?? '', /^ro\b/, `${path}: ${facts.mount(path)}`);
};

/** By the first column of the table. */
const checks: Readonly<Record<string, (seen: Seen) => void>> = {
  'Bounding capabilities': ({ facts, other }) =>
    assert.deepEqual([facts.capabilities('Bnd'), other.capabilities('Bnd')], [fourteen, fourteen]),
  'Effective capabilities of root': ({ facts }) =>
    assert.deepEqual([facts.capabilities('Eff'), facts.capabilities('Prm')], [fourteen, fourteen]),
  'Effective capabilities of another user': ({ other }) =>
    assert.deepEqual([other.capabilities('Eff'), other.capabilities('Prm')], [none, none]),
  'Inheritable and ambient capabilities': ({ facts, other }) => {
    for (const one of [facts, other])
      assert.deepEqual([one.capabilities('Inh'), one.capabilities('Amb')], [none, none]);
  },
  'System call filter': ({ facts, other }) => {
    for (const one of [facts, other]) {
      assert.match(one.of('status'), /^Seccomp:\s*2$/m);
      assert.match(one.of('init'), /^Seccomp:\s*2$/m);
    }
    assert.equal(facts.attempt('chroot'), 'ok', 'what is allowed works');
  },
  'System calls to mount': ({ facts }) =>
    facts.refuses('mount', 'umount2', 'pivot_root', 'fsopen', 'open_tree', 'mount_setattr'),
  'New namespaces (unshare, clone, setns)': ({ facts, other }) => {
    for (const one of [facts, other]) {
      one.refuses('unshare_user', 'unshare_mount', 'unshare_net', 'clone_user', 'setns');
      assert.equal(one.attempt('clone3'), ENOSYS, 'so that C libraries fall back to clone');
    }
  },
  'Kernel key rings (keyctl, add_key)': ({ facts }) => facts.refuses('keyctl', 'add_key', 'request_key'),
  'io_uring, bpf, perf, userfaultfd': ({ facts }) =>
    facts.refuses('io_uring_setup', 'bpf', 'perf_event_open', 'userfaultfd'),
  'Kernel modules, kexec, reboot, clock': ({ facts }) =>
    facts.refuses(
      'init_module',
      'kexec_load',
      'reboot',
      'settimeofday',
      'clock_settime',
      'swapoff',
      'acct',
      'quotactl',
    ),
  'Tracing (ptrace)': ({ facts }) => {
    assert.equal(facts.attempt('ptrace_traceme'), 'ok');
    facts.refuses('kcmp', 'pidfd_getfd', 'process_madvise', 'open_by_handle_at', 'mbind', 'vhangup', 'sethostname');
  },
  "Sockets of the kernel's ciphers and of the machine's host": ({ facts }) => {
    facts.refuses('socket_alg', 'socket_vsock');
    for (const name of ['inet', 'unix', 'netlink']) assert.equal(facts.attempt(`socket_${name}`), 'ok', name);
  },
  'Raw and packet sockets': ({ facts, other }) => {
    assert.deepEqual([facts.attempt('socket_raw'), facts.attempt('socket_packet')], ['ok', 'ok']);
    other.refuses('socket_raw', 'socket_packet');
    isOwn(facts, 'net');
  },
  'Processes run in it later (exec)': ({ facts, later }) => {
    for (const set of ['Bnd', 'Eff', 'Prm', 'Inh', 'Amb'] as const) {
      assert.equal(later.capabilities(set), facts.capabilities(set), set);
    }
    assert.equal(later.of('probe'), facts.of('probe'));
    for (const line of [/^Seccomp:\s*2$/m, /^NoNewPrivs:\s*0$/m]) assert.match(later.of('status'), line);
    for (const name of ['pid', 'ipc', 'uts', 'net', 'mnt', 'cgroup']) isOwn(later, name);
    assert.deepEqual([later.of('limits'), later.of('oom')], [facts.of('limits'), facts.of('oom')]);
  },
  no_new_privs: ({ facts }) => assert.match(facts.of('status'), /^NoNewPrivs:\s*0$/m),
  'Process namespace': ({ facts }) => {
    isOwn(facts, 'pid');
    assert.ok(facts.of('processes').split('\n').length < 8, facts.of('processes'));
  },
  'IPC namespace': ({ facts }) => isOwn(facts, 'ipc'),
  'Host name (UTS) namespace': ({ facts }) => isOwn(facts, 'uts'),
  'Network namespace': ({ facts }) => isOwn(facts, 'net'),
  'Mount namespace': ({ facts }) => isOwn(facts, 'mnt'),
  'Cgroup namespace': ({ facts }) => isOwn(facts, 'cgroup'),
  'User namespace': ({ facts }) => assert.equal(facts.namespace('user'), readlinkSync('/proc/self/ns/user')),
  'Masked parts of /proc': ({ facts }) => {
    const files = facts.of('masked-files').split('\n');
    const folders = facts.of('masked-folders').split('\n');
    assert.ok(files.length > 2, files.join());
    for (const line of [...files, ...folders.filter((one) => one.startsWith('/proc'))]) assert.match(line, / 0$/);
  },
  'Masked parts of /sys': ({ facts }) => {
    const folders = facts
      .of('masked-folders')
      .split('\n')
      .filter((one) => one.startsWith('/sys'));
    const there = ['/sys/firmware', '/sys/devices/virtual/powercap', '/sys/devices/system/cpu/cpu0/thermal_throttle'];
    assert.deepEqual(
      folders.toSorted(),
      there
        .filter((path) => existsSync(path))
        .map((path) => `${path} 0`)
        .toSorted(),
    );
  },
  '/proc/sys and other switches': ({ facts }) => {
    for (const path of ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']) {
      if (existsSync(path)) readOnly(facts, path);
    }
    assert.equal(facts.attempt('write_proc_sys'), EROFS);
    assert.ok([EROFS, ENOENT].includes(facts.attempt('write_sysrq')), 'a kernel may be built without it');
  },
  '/sys': ({ facts }) => {
    readOnly(facts, '/sys');
    assert.notEqual(facts.attempt('write_sys'), 'ok');
  },
  '/sys/fs/cgroup': ({ facts }) => {
    readOnly(facts, '/sys/fs/cgroup');
    for (const line of facts.of('mounts').split('\n')) {
      if (/ - cgroup2? /.test(line)) assert.match(line.split(' ')[5] ?? '', /^ro\b/, line);
    }
    assert.notEqual(facts.attempt('write_cgroup'), 'ok');
  },
  Devices: ({ facts }) => {
    const nodes = facts
      .of('devices')
      .split('\n')
      .filter((line) => /^[bc]/.test(line));
    const names = nodes.map((line) => line.split(/\s+/).at(-1));
    assert.deepEqual(names.toSorted(), ['full', 'null', 'random', 'tty', 'urandom', 'zero']);
  },
  'Using a device that it made itself': ({ facts }) => {
    assert.equal(facts.attempt('mknod'), 'ok');
    facts.refuses('use_own_node');
  },
  '/dev/shm': ({ facts }) => {
    assert.match(facts.of('shm'), /\b65536\b.*\/dev\/shm$/);
    assert.match(facts.mount('/dev/shm'), / - tmpfs /);
  },
  '/dev/mqueue': ({ facts }) => assert.match(facts.mount('/dev/mqueue'), / - mqueue /),
  'Mounts travel between host and container': ({ facts }) => {
    const travelling = facts
      .of('mounts')
      .split('\n')
      .filter((line) => /\b(shared|master|propagate_from):/.test(line));
    assert.deepEqual(travelling, []);
  },
  'Flags of its own mounts': ({ facts }) => {
    for (const path of ['/proc', '/sys', '/dev/shm', '/dev/mqueue', '/sys/fs/cgroup']) {
      const options = (facts.mount(path).split(' ')[5] ?? '').split(',');
      for (const flag of ['nosuid', 'nodev', 'noexec']) assert.ok(options.includes(flag), `${path}: ${options.join()}`);
    }
    for (const path of ['/dev', '/dev/pts']) assert.match(facts.mount(path), /nosuid/);
  },
  'Processes and threads': ({ facts }) => assert.equal(facts.of('pids'), '4096'),
  Memory: ({ facts }) => assert.match(facts.of('memory'), /^(max|9223372036854771712)$/),
  // Without a limit of memory there is none of swap to give; with one, test/runtime/limits.test.ts has the sum.
  Swap: ({ facts }) => assert.match(facts.of('memory'), /^(max|9223372036854771712)$/),
  'Core dumps': ({ facts }) => assert.match(facts.of('limits'), /^Max core file size\s+0\s+0\s/m),
  'OOM score': ({ facts }) => assert.equal(facts.of('oom'), '0'),
  'Open files left by the engine': ({ facts }) => assert.equal(facts.of('descriptors').split(/\s+/).join(' '), '0 1 2'),
  'Environment left by the engine': ({ facts }) => {
    const names = facts
      .of('environment')
      .split('\n')
      .map((line) => line.split('=')[0]);
    const ofShell = ['PWD', 'SHLVL', '_', 'OLDPWD'];
    assert.deepEqual(names.filter((name) => !ofShell.includes(name ?? '')).toSorted(), ['HOME', 'HOSTNAME', 'PATH']);
  },
  'Session and controlling terminal': ({ facts }) => {
    // Of process 1: its own session, and no terminal (device number 0).
    assert.equal(facts.of('session'), '1 0');
    assert.notEqual(facts.attempt('controlling_terminal'), 'ok');
  },
  'Kernel log (dmesg)': ({ facts }) => facts.refuses('syslog'),
  AppArmor: ({ facts }) => assert.match(facts.of('apparmor'), /^(unconfined)?$/),
};

/** Perl and its libraries, for a container that has nothing else of Debian. */
function perlFiles(): Record<string, { readonly from: string }> {
  const libraries = execFileSync('ldd', ['/usr/bin/perl'], { encoding: 'utf8' }).match(/\/\S+\.so\S*/g) ?? [];
  return Object.fromEntries(['/usr/bin/perl', ...libraries].map((path) => [path, { from: realpathSync(path) }]));
}

function rowsOf(markdown: string): string[] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| What '))
    .map((line) => line.split('|')[1]?.trim() ?? '');
}

describe('the table of docs/security.md', function () {
  this.timeout(240_000);
  const rows = rowsOf(readFileSync(join(root, 'docs/security.md'), 'utf8'));
  let before_: HostSnapshot;
  let instance: Instance;
  let seen: Seen;

  before(async () => {
    before_ = await snapshotHost();
    instance = await createInstance();
    const probe = { from: join(import.meta.dirname, 'security-probe.pl') };
    const { reference } = await buildBusyboxImage({
      dir: instance.dataDir,
      files: { ...perlFiles(), '/probe.pl': probe },
    });
    await instance.start();
    const look = async (name: string, more: Record<string, unknown>): Promise<Facts> => {
      await instance.create(name, {
        image: reference,
        command: ['sh', '-c', lookAround],
        restartPolicy: 'Never',
        ...more,
      });
      await instance.waitFor(name, ({ state }) => state === 'Exited', 'at its end');
      return new Facts(await instance.containerLog(name));
    };
    const facts = await look('root', {});
    const other = await look('other', { user: '33' });
    const endsAtOnce = { terminationGracePeriodSeconds: 0 };
    await instance.create('later', { image: reference, command: ['sleep', '1000'], ...endsAtOnce });
    await instance.waitFor('later', ({ state }) => state === 'Running', 'running');
    const { code, stdout, stderr } = await instance.kubectl(['exec', 'later', '--', 'sh', '-c', lookAround]);
    assert.equal(code, 0, stderr);
    seen = { facts, other, later: new Facts(stdout) };
  });
  after(async () => {
    await instance.close();
    await assertNoLeaks(before_, instance);
  });

  it('has rows, and a check for each of them', () => {
    assert.ok(rows.length > 30);
    assert.deepEqual(rows.toSorted(), Object.keys(checks).toSorted());
  });
  for (const row of rows) it(row, () => checks[row]?.(seen));

  it('leaves no host process in sight of /proc, by its number or its name', () => {
    const inside = seen.facts.of('processes').split('\n');
    assert.ok(readdirSync('/proc').includes(String(process.pid)));
    assert.ok(!inside.includes(String(process.pid)));
  });
});
