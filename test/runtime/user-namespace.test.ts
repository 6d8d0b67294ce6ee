import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { decideIdMap, type IdMap, parseSubordinateRanges } from '../../runtime/id-map.ts';
import { type ContainerConfig, ContainerConfigError, type Volume, type VolumeMount } from '../../runtime/index.ts';
import { buildBusyboxImage } from '../images.ts';
import { never, TestHost, until } from './host.ts';

const someID = 'ab'.repeat(32);

describe('parseSubordinateRanges', () => {
  const standard = [{ first: 1_879_048_192, last: 2_147_352_575 }];
  const cases = [
    { it: 'takes the default where nobody is named', subuid: 'root:1:2\n', subgid: '', want: standard },
    {
      it: 'takes what both files give',
      subuid: 'holdfast:100000:131072',
      subgid: 'holdfast:165536:131072',
      want: [{ first: 165_536, last: 231_071 }],
    },
    {
      it: 'takes nothing where they have too little in common',
      subuid: 'holdfast:100000:65535',
      subgid: 'holdfast:100000:65535',
      want: [],
    },
    { it: 'takes nothing where only one of them gives', subuid: 'holdfast:100000:65536', subgid: '', want: [] },
    { it: 'passes over lines that are none', subuid: 'holdfast:x:1\nholdfast:1:2:3\n\n', subgid: '#', want: standard },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(parseSubordinateRanges(c.subuid, c.subgid), c.want));
});

describe('decideIdMap', () => {
  it('gives every container ids of its own, within the ranges, until they are used up', () => {
    const ranges = [
      { first: 100_000, last: 100_000 + 3 * 65_536 - 1 },
      { first: 1_000_000, last: 1_000_000 + 65_536 + 10 },
    ];
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-f]{64}$/), (id) => {
        const taken: IdMap[] = [];
        for (let count = 0; count < 4; count += 1) {
          const map = decideIdMap({ ranges, taken, id });
          assert.ok(ranges.some(({ first, last }) => first <= map.hostID && map.hostID + map.size - 1 <= last));
          assert.ok(taken.every((other) => Math.abs(other.hostID - map.hostID) >= 65_536));
          taken.push(map);
        }
        assert.throws(() => decideIdMap({ ranges, taken, id }), /no 65536 ids left.*room for 4 containers/);
      }),
    );
  });
  it('says so when there are none at all', () =>
    assert.throws(() => decideIdMap({ ranges: [], taken: [], id: someID }), ContainerConfigError));
});

describe('a user namespace of its own', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
    // As /run is, and a folder of mkdtemp is not.
    await chmod(host.dir, 0o711);
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const mapped: Partial<ContainerConfig> = { namespaces: { user: 'mapped' } };
  const uidsOf = (pid: number): readonly number[] =>
    (/^Uid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '').split('\t').map(Number);
  const run = async (change: Partial<ContainerConfig>): Promise<{ id: string; pid: number }> => {
    const { id, state } = await host.run({ ...mapped, ...change });
    assert.ok(state.kind === 'running');
    return { id, pid: state.pid };
  };
  const exec = async (id: string, script: string, user?: string): Promise<string> => {
    const request = { args: ['sh', '-c', script], hasTerminal: false, hasStdin: false, user };
    const session = await host.runtime.containers.exec(id, request, never);
    const parts: Buffer[] = [];
    session.stderr?.on('data', (part: Buffer) => parts.push(part));
    for await (const part of session.stdout) parts.push(part);
    await session.exit;
    return Buffer.concat(parts).toString();
  };

  it('makes root inside nobody outside, with ids that no other container has', async () => {
    const [one, two] = [await run({ cmd: ['sleep', '1000'] }), await run({ cmd: ['sleep', '1000'] })];
    const [first = 0, second = 0] = [uidsOf(one.pid)[0], uidsOf(two.pid)[0]];
    assert.ok(first >= 1_879_048_192 && second >= 1_879_048_192);
    assert.ok(Math.abs(first - second) >= 65_536);
    assert.equal((await exec(one.id, 'id -u; id -g; cut -c1-30 /proc/self/uid_map')).split('\n')[0], '0');
  });

  it('shows the files of the image with their own owners, and takes new ones', async () => {
    const { id } = await run({ cmd: ['sleep', '1000'], workingDir: '/made/for/it' });
    const script =
      'stat -c "%u:%g %n" /bin /etc/passwd /tmp /etc/hosts /etc/resolv.conf /etc/hostname /made/for/it . /dev/shm; touch /new; chown 33:33 /new; stat -c "%u:%g %n" /new; echo x >>/etc/hosts && echo writes';
    assert.equal(
      await exec(id, script),
      `${[
        ...['/bin', '/etc/passwd', '/tmp', '/etc/hosts', '/etc/resolv.conf', '/etc/hostname', '/made/for/it', '.'],
        '/dev/shm',
      ]
        .map((path) => `0:0 ${path}\n`)
        .join('')}33:33 /new\nwrites\n`,
    );
    const rootID = statSync(join(host.deps.runDir, 'containers', id, 'rootfs')).uid;
    assert.equal(statSync(join(host.deps.dataDir, 'containers', id, 'upper', 'new')).uid, rootID + 33);
  });

  it('has the network, its own /sys, and power over its own namespaces only', async () => {
    const { output, info } = await host.script(
      'ls /sys/class/net | tr "\\n" " "; ip -4 addr show eth0; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp || echo no mount; dmesg >/dev/null 2>&1 || echo no log',
      mapped,
    );
    assert.match(output, /^eth0 lo /);
    assert.ok(info.ip !== undefined && output.includes(info.ip));
    for (const line of [/^test$/m, /^0$/m, /^Seccomp:\s*2$/m, /^no mount$/m, /^no log$/m]) assert.match(output, line);
  });

  it('runs further processes as its own users', async () => {
    const { id } = await run({ cmd: ['sleep', '1000'] });
    const seen = await exec(id, 'id -u; readlink /proc/self/fd/0; grep -c . /proc/self/uid_map', 'www-data');
    // Its input is no /dev/null: crun would have given the host's to user 33.
    assert.match(seen, /^33\npipe:\[[0-9]+\]\n1\n$/);
  });

  it("leaves the host's /dev/null to the host", async () => {
    const { id, pid } = await run({ cmd: ['sleep', '1000'] });
    const output = await exec(
      id,
      'chmod 600 /dev/null 2>/dev/null || echo no; stat -c %u /dev/null; echo x >/dev/null && echo works',
    );
    assert.match(output, /^no$/m);
    assert.match(output, /^65534\nworks$/m);
    assert.notEqual(statSync('/dev/null').uid, uidsOf(pid)[0]);
  });

  it('gives /dev/null back to root, whoever was made its owner', async () => {
    chownSync('/dev/null', 54_321, 54_321);
    await until('its owner to be root', () => statSync('/dev/null').uid === 0 && statSync('/dev/null').gid === 0);
  });

  it('keeps its ids across restarts, of the daemon too', async () => {
    const { id, pid } = await run({ cmd: ['sh', '-c', 'stat -c %u /kept 2>/dev/null; touch /kept; sleep 1000'] });
    const before = uidsOf(pid);
    const kept = join(host.deps.dataDir, 'containers', id, 'upper', 'kept');
    await until('the first run to have made the file', () => existsSync(kept));
    await host.reopen();
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    const { state } = await host.runtime.containers.start(id, never);
    assert.ok(state.kind === 'running');
    assert.deepEqual(uidsOf(state.pid), before);
    assert.equal(await host.printed(id, '0\n'), '0\n');
  });

  it('has volumes whose files have the same owners inside, outside and in other containers', async () => {
    const image = await buildBusyboxImage({ dir: host.dir, file: 'data.tar', files: { '/data/from-image': 'text' } });
    const { id: imageID } = await host.runtime.images.ensure(image.reference, 'if-not-present', never);
    const folder = join(host.dir, 'shared');
    await mkdir(folder);
    await writeFile(join(folder, 'secret'), 'of root', { mode: 0o600 });
    chmodSync(folder, 0o700);
    const volumes: Volume[] = [
      { name: 'data', source: { kind: 'named', name: 'user-namespace-data' } },
      { name: 'host', source: { kind: 'bind', path: folder, ensure: 'directory' } },
      { name: 'memory', source: { kind: 'memory' } },
      { name: 'files', source: { kind: 'files' } },
      { name: 'scratch', source: { kind: 'tmpfs' } },
    ];
    const mounts = volumes.map(
      ({ name }): VolumeMount => ({ volume: name, path: `/${name}`, isReadOnly: false, copiesUp: name === 'data' }),
    );
    const dataBase64 = Buffer.from('of the store').toString('base64');
    const change: Partial<ContainerConfig> = {
      imageID,
      volumes,
      mounts,
      files: { files: [{ path: 'password', dataBase64, mode: 0o400 }] },
    };
    const script =
      'cat /data/from-image; echo; cat /host/secret; echo; cat /files/password; echo; for d in data host memory scratch; do touch /$d/new && stat -c "%u %n" /$d/new; done; stat -c "%u %n" /data/from-image';
    const { output } = await host.script(script, { ...mapped, ...change });
    assert.equal(
      output,
      'text\nof root\nof the store\n0 /data/new\n0 /host/new\n0 /memory/new\n0 /scratch/new\n0 /data/from-image\n',
    );
    assert.equal(statSync(join(folder, 'new')).uid, 0);
    const plain = await host.script('stat -c "%u %n" /data/new', change);
    assert.equal(plain.output, '0 /data/new\n');
  });

  it('has its files copied with the owners that it sees, while it runs and while it does not', async () => {
    const volumes: Volume[] = [{ name: 'data', source: { kind: 'named', name: 'user-namespace-copies' } }];
    const mounts: VolumeMount[] = [{ volume: 'data', path: '/data', isReadOnly: false, copiesUp: true }];
    const make =
      'mkdir -p /own /data/own; touch /own/file /data/own/file; chown 33:44 /own/file /data/own/file; echo made';
    const { id } = await run({ cmd: ['sh', '-c', `${make}; sleep 1000`], volumes, mounts });
    await host.printed(id, 'made');
    for (const state of ['running', 'exited'] as const) {
      if (state === 'exited') {
        await host.runtime.containers.signal(id, 9);
        await host.exited(id);
      }
      for (const folder of ['/own', '/data/own']) {
        const archive = await host.runtime.containers.readArchive(id, folder, never);
        const parts: Buffer[] = [];
        for await (const part of archive.stream) parts.push(part);
        const tar = Buffer.concat(parts);
        const list = spawnSync('tar', ['-tvf', '-', '--numeric-owner'], { input: tar, encoding: 'utf8' }).stdout;
        assert.match(list, /33\/44 .*own\/file$/m, `${state} ${folder}`);
        assert.match(list, /0\/0 .*own\/$/m);
        await host.runtime.containers.writeArchive(id, `${folder}/`, Readable.from([tar]), {}, never);
      }
    }
    const { state } = await host.runtime.containers.start(id, never);
    assert.equal(state.kind, 'running');
    const owners = await exec(id, 'stat -c "%u:%g" /own/own/file /data/own/own/file /own/own');
    assert.equal(owners, '33:44\n33:44\n0:0\n');
  });

  it('can be looked at in its place while it is down', async () => {
    const ulimits = [{ name: 'cpu', soft: -1, hard: -1 }];
    const { id } = await run({ cmd: ['sh', '-c', 'touch /trace; exit 3'], security: { ulimits } });
    await host.exited(id);
    const request = { args: ['sh', '-c', 'stat -c %u /trace; ulimit -t'], hasTerminal: false, hasStdin: false };
    const session = await host.runtime.containers.debug(id, request, never);
    session.stderr?.resume();
    const parts: Buffer[] = [];
    for await (const part of session.stdout) parts.push(part);
    await session.exit;
    assert.equal(Buffer.concat(parts).toString(), '0\nunlimited\n');
  });

  it('refuses ids beyond its own, and what it cannot be together with', async () => {
    const config = host.config({ ...mapped, user: '70000' });
    await host.runtime.containers.create(config, never);
    await assert.rejects(host.runtime.containers.start(config.id, never), /the id 70000 does not exist/);
    for (const [change, field] of [
      [{ namespaces: { user: 'mapped', pid: 'host' } }, 'namespaces.pid'],
      [{ namespaces: { user: 'mapped', network: 'host' } }, 'namespaces.network'],
      [{ namespaces: { user: 'mapped' }, security: { isPrivileged: true } }, 'security.isPrivileged'],
    ] as const) {
      await assert.rejects(host.runtime.containers.create(host.config(change), never), (error) => {
        assert.ok(error instanceof ContainerConfigError);
        assert.equal(error.field, field);
        return true;
      });
    }
  });

  it('says which folder its root cannot pass', async () => {
    chmodSync(host.dir, 0o700);
    try {
      await assert.rejects(host.run(mapped), (error) => {
        assert.match(String(error), new RegExp(`cannot pass ${host.dir} \\(mode 700\\).*chmod o\\+x`));
        return true;
      });
    } finally {
      chmodSync(host.dir, 0o711);
    }
  });
});

describe('a user namespace of its own, by runc', () => {
  it('is refused', async () => {
    const host = await TestHost.open({ ociRuntime: 'runc' });
    try {
      const config = host.config({ namespaces: { user: 'mapped' } });
      await assert.rejects(host.runtime.containers.create(config, never), /runc .* cannot join a user namespace/);
    } finally {
      await host.close();
    }
  });
});
