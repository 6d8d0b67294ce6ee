/** What a container has made of its image's files, which processes it has, and its root as an archive. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { foldChanges, parseFound } from '../../runtime/file-changes.ts';
import type { FileChange } from '../../runtime/index.ts';
import { parseStatsDetails } from '../../runtime/stats-details.ts';
import { never, TestHost, until } from './host.ts';

describe('changes of a root file system', () => {
  const cases: { it: string; found: readonly string[]; mountPoints?: readonly string[]; want: readonly string[] }[] = [
    {
      it: 'show a folder as changed when something in it came or went',
      found: ['-/etc', 'A/etc/new', '-/usr', 'D/usr/old'],
      want: ['C /etc', 'A /etc/new', 'C /usr', 'D /usr/old'],
    },
    {
      it: 'do not show a folder whose file was changed in place',
      found: ['-/etc', 'C/etc/passwd'],
      want: ['C /etc/passwd'],
    },
    { it: 'show a folder that only has another time', found: ['M/tmp'], want: ['C /tmp'] },
    {
      it: 'leave out what something is mounted on, and the folders that were made for it',
      found: ['A/data', 'A/data/deep', 'A/data/deep/volume', 'M/etc', 'A/etc/hosts', 'A/new', 'A/new/in', 'A/new/own'],
      mountPoints: ['/data/deep/volume', '/etc/hosts', '/new/in'],
      want: ['A /new', 'A /new/own'],
    },
    {
      it: 'leave out what is hidden below a mount',
      found: ['-/data', 'A/data/x', 'A/data/x/y'],
      mountPoints: ['/data'],
      want: [],
    },
  ];
  for (const c of cases)
    it(c.it, () => {
      const folded = foldChanges(parseFound(c.found.map((one) => `${one}\0`).join('')), c.mountPoints ?? []);
      assert.deepEqual(folded.map(format), c.want);
    });
});

function format({ kind, path }: FileChange): string {
  return `${{ added: 'A', changed: 'C', deleted: 'D' }[kind]} ${path}`;
}

describe('a container and its image', () => {
  let host: TestHost;
  const changesOf = async (id: string): Promise<readonly string[]> =>
    (await host.runtime.containers.changes(id, never)).map(format);
  before(async () => {
    host = await TestHost.open();
  });
  after(async () => {
    await host.close();
  });

  it('differ in nothing before the first start and after one that changes nothing', async () => {
    const config = host.config({ cmd: ['true'] });
    await host.runtime.containers.create(config, never);
    assert.deepEqual(await changesOf(config.id), []);
    await host.runtime.containers.start(config.id, never);
    await host.exited(config.id);
    assert.deepEqual(await changesOf(config.id), []);
    await host.runtime.containers.remove(config.id);
  });

  it('differ in what was added, changed and removed, while it runs and after', async () => {
    const script = [
      'echo x > /etc/added',
      'echo root >> /etc/passwd',
      'rm /etc/group',
      'rm -r /usr; mkdir /usr; echo y > /usr/new',
      'mkdir -p /made/deep; ln -s /etc /made/link',
      'chmod 700 /home 2>/dev/null || true',
      'echo done; read line',
    ].join('; ');
    const { id } = await host.run({ cmd: ['sh', '-c', script], hasStdin: true });
    await host.printed(id, 'done');
    const running = await changesOf(id);
    for (const one of [
      'C /etc',
      'A /etc/added',
      'C /etc/passwd',
      'D /etc/group',
      'A /made',
      'A /made/deep',
      'A /made/link',
    ])
      assert.ok(running.includes(one), `${one} in ${running.join(', ')}`);
    assert.ok(running.indexOf('A /made') < running.indexOf('A /made/deep'));
    assert.ok(!running.some((one) => one.includes('hosts') || one.includes('/dev')), running.join(', '));
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    assert.deepEqual(await changesOf(id), running);
    await host.runtime.containers.remove(id);
    await assert.rejects(changesOf(id));
  });

  it('show what a folder that was made anew hides', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'rm -r /etc; mkdir /etc; echo mine > /etc/passwd'] });
    await host.exited(id);
    const changes = await changesOf(id);
    assert.ok(changes.includes('D /etc/group'), changes.join(', '));
    assert.ok(changes.includes('C /etc/passwd'), changes.join(', '));
    await host.runtime.containers.remove(id);
  });

  it('give pids of the host for all that runs in it', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'sleep 1000 & sleep 1000 & echo up; wait'] });
    await host.printed(id, 'up');
    const session = await host.runtime.containers.exec(
      id,
      { args: ['sleep', '2000'], hasTerminal: false, hasStdin: false },
      never,
    );
    session.stdout.resume();
    session.stderr?.resume();
    // What is not yet the program that it becomes has another command line.
    await until('two of its own and one more', async () => {
      const pids = await host.runtime.containers.processes(id);
      const commands = execFileSync('ps', ['-o', 'args=', '-p', pids.join(',')])
        .toString()
        .split('\n');
      const count = (command: string): number => commands.filter((one) => one === command).length;
      return count('sleep 1000') === 2 && count('sleep 2000') === 1;
    });
    await session.close();
    await host.runtime.containers.remove(id);
  });

  it('give figures in detail when they are asked for', async () => {
    const { id } = await host.run({
      cmd: ['sh', '-c', 'wget -q -O - http://127.0.0.1:1; echo up; while :; do :; done'],
    });
    await host.printed(id, 'up');
    const plain = await host.runtime.containers.stats(id);
    assert.equal(plain?.details, undefined);
    const details = (await host.runtime.containers.stats(id, { isDetailed: true }))?.details;
    assert.ok(details !== undefined);
    assert.ok(details.processors >= 1);
    assert.ok(details.hostCpuNanoseconds > 1e9);
    assert.ok(details.memoryUsageBytes > 0);
    assert.deepEqual(Object.keys(details.networks), ['eth0']);
    await host.runtime.containers.remove(id);
  });

  it('give the root as an archive, without what is mounted', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'echo x > /own; echo up; sleep 1000'] });
    await host.printed(id, 'up');
    const stream = await host.runtime.containers.exportRoot(id, never);
    const archive = Buffer.concat(await stream.toArray());
    const names = execFileSync('tar', ['-t'], { input: archive }).toString().split('\n');
    for (const name of ['own', 'bin/', 'etc/passwd']) assert.ok(names.includes(name), `${name} in ${names.join(' ')}`);
    assert.ok(!names.some((name) => name.startsWith('/') || /^(proc|sys|dev)\/./.test(name)));
    await host.runtime.containers.remove(id);
  });
});

describe('figures one by one', () => {
  it('are read from the files of version 1 and of version 2', () => {
    const v1: Readonly<Record<string, string>> = {
      'cpu.stat': 'nr_periods 5\nnr_throttled 2\nthrottled_time 4321\n',
      'cpuacct.usage_percpu': '10 20 \n',
      'cpuacct.usage_user': '7\n',
      'cpuacct.usage_sys': '8\n',
      'memory.usage_in_bytes': '5000\n',
      'memory.max_usage_in_bytes': '6000\n',
      'memory.failcnt': '3\n',
      'memory.stat': 'cache 1\ntotal_inactive_file 1000\n',
      'blkio.throttle.io_service_bytes': '8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n',
      'blkio.throttle.io_serviced': '8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n',
    };
    const hostStat = 'cpu  1 2 3 4 5 6 7 100 50 0\ncpu0 1 2 3 4 5 6 7 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 1\n';
    const netDev =
      'Inter-| x\n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n';
    assert.deepEqual(parseStatsDetails({ kind: 'v1', textOf: (file) => v1[file] ?? '', hostStat, netDev }), {
      cgroupVersion: 1,
      hostCpuNanoseconds: 280_000_000,
      processors: 2,
      cpuUserNanoseconds: 7,
      cpuKernelNanoseconds: 8,
      cpuNanosecondsOfEach: [10, 20],
      periods: 5,
      throttledPeriods: 2,
      memoryUsageBytes: 5_000,
      memoryPeakBytes: 6_000,
      memoryFailures: 3,
      memory: { cache: 1, total_inactive_file: 1_000 },
      disks: [{ major: 8, minor: 0, readBytes: 10, writtenBytes: 20, reads: 1, writes: 2 }],
      networks: {
        eth0: {
          receivedBytes: 1,
          receivedPackets: 2,
          receiveErrors: 3,
          receiveDropped: 4,
          sentBytes: 5,
          sentPackets: 6,
          sendErrors: 7,
          sendDropped: 8,
        },
      },
    });
    const v2: Readonly<Record<string, string>> = {
      'cpu.stat': 'usage_usec 9\nuser_usec 7\nsystem_usec 2\nnr_periods 5\nnr_throttled 2\nthrottled_usec 4\n',
      'memory.current': '5000\n',
      'memory.peak': '6000\n',
      'memory.events': 'low 0\nhigh 0\nmax 3\noom 0\n',
      'memory.stat': 'anon 1\ninactive_file 1000\n',
      'io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1\n',
    };
    const found = parseStatsDetails({ kind: 'v2', textOf: (file) => v2[file] ?? '', hostStat, netDev: '' });
    assert.deepEqual(found, {
      cgroupVersion: 2,
      hostCpuNanoseconds: 280_000_000,
      processors: 2,
      cpuUserNanoseconds: 7_000,
      cpuKernelNanoseconds: 2_000,
      periods: 5,
      throttledPeriods: 2,
      memoryUsageBytes: 5_000,
      memoryPeakBytes: 6_000,
      memoryFailures: 3,
      memory: { anon: 1, inactive_file: 1_000 },
      disks: [
        { major: 8, minor: 0, readBytes: 10, writtenBytes: 20, reads: 1, writes: 2 },
        { major: 8, minor: 16, readBytes: 1, writtenBytes: 0, reads: 0, writes: 0 },
      ],
      networks: {},
    });
  });
});
