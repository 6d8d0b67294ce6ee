/**
 * What a container uses. Version 2 of cgroups is read from a tree written by hand in the kernel's format, no capture of
 * a real host (test/runtime/recorded), since this machine has version 1 only; the figures of version 1 are those of real containers.
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { observeStats, parseCgroupStats, parseNetworkStats } from '../../runtime/stats.ts';
import { never, TestHost, until } from './host.ts';

const recorded = fileURLToPath(new URL('./recorded/cgroup-v2', import.meta.url));

describe('figures of a cgroup', () => {
  it('are read from a tree of version 2 written by hand', async () => {
    const root = await mkdtemp(join(tmpdir(), 'hf-stats-'));
    try {
      await mkdir(join(root, 'holdfast'));
      await symlink(recorded, join(root, 'holdfast', 'one'));
      const stats = await observeStats({
        cgroups: { kind: 'v2', root },
        path: '/holdfast/one',
        pid: process.pid,
        hasOwnNetwork: false,
      });
      assert.deepEqual(stats, {
        cpuNanoseconds: 1_834_012_000,
        throttledNanoseconds: 921_734_000,
        memoryBytes: 78_520_320 - 40_345_600,
        memoryLimitBytes: 134_217_728,
        processes: 12,
        diskReadBytes: 58_237_928,
        diskWrittenBytes: 6_096,
        networkReceivedBytes: 0,
        networkSentBytes: 0,
      });
    } finally {
      await rm(root, { recursive: true });
    }
  });

  const v1: Readonly<Record<string, string>> = {
    'cpuacct.usage': '123456789\n',
    'cpu.stat': 'nr_periods 5\nnr_throttled 2\nthrottled_time 4321\n',
    'memory.usage_in_bytes': '5000\n',
    'memory.stat': 'inactive_file 7\ntotal_cache 1\ntotal_inactive_file 1000\n',
    'memory.limit_in_bytes': '9223372036854771712\n',
    'pids.current': '3\n',
    'pids.max': '200\n',
    'blkio.throttle.io_service_bytes': '8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 1\nTotal 31\n',
  };

  it('are read from the files of version 1, where a huge limit is none', () => {
    assert.deepEqual(
      parseCgroupStats('v1', (file) => v1[file] ?? ''),
      {
        cpuNanoseconds: 123_456_789,
        throttledNanoseconds: 4_321,
        memoryBytes: 4_000,
        processes: 3,
        processLimit: 200,
        diskReadBytes: 11,
        diskWrittenBytes: 20,
      },
    );
  });

  it('count a file that is missing as nothing', () => {
    const nothing = {
      cpuNanoseconds: 0,
      throttledNanoseconds: 0,
      memoryBytes: 0,
      processes: 0,
      diskReadBytes: 0,
      diskWrittenBytes: 0,
    };
    for (const kind of ['v1', 'v2'] as const) {
      assert.deepEqual(
        parseCgroupStats(kind, () => ''),
        nothing,
      );
    }
  });

  it('of the network leave loopback out', () => {
    const text = [
      'Inter-|   Receive                                                |  Transmit',
      ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier',
      '    lo:     700       7    0    0    0     0          0         0      700       7    0    0    0     0       0',
      '  eth0:    1026      11    0    0    0     0          0         0     2052      22    0    0    0     0       0',
      'eth1:1 1 0 0 0 0 0 0 2 2 0 0 0 0 0',
    ].join('\n');
    assert.deepEqual(parseNetworkStats(text), { networkReceivedBytes: 1_027, networkSentBytes: 2_054 });
  });
});

describe('figures of a running container', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(async () => {
    await host.close();
  });

  it('grow with what it does, and there are none when it does not run', async () => {
    const { id } = await host.run({
      cmd: [
        'sh',
        '-c',
        'head -c 200000000 /dev/zero > /dev/null; x=$(head -c 3000000 /dev/zero | tr "\\0" x); echo done; sleep 1000; true',
      ],
      limits: { memoryBytes: 64 * 2 ** 20, pids: 50 },
    });
    await host.printed(id, 'done');
    const stats = await until('the shell and its sleep', async () => {
      const now = await host.runtime.containers.stats(id);
      return now?.processes === 2 ? now : undefined;
    });
    assert.equal(stats.memoryLimitBytes, 64 * 2 ** 20);
    assert.equal(stats.processLimit, 50);
    assert.ok(stats.memoryBytes > 2_000_000 && stats.memoryBytes < 64 * 2 ** 20, String(stats.memoryBytes));
    assert.ok(stats.cpuNanoseconds > 1_000_000, String(stats.cpuNanoseconds));
    const session = await host.runtime.containers.exec(
      id,
      {
        args: ['sh', '-c', 'ping -c 3 -i 0.1 -W 1 $(ip route | sed -n "s/default via \\([^ ]*\\).*/\\1/p")'],
        hasTerminal: false,
        hasStdin: false,
      },
      never,
    );
    session.stdout.resume();
    session.stderr?.resume();
    assert.equal(await session.exit, 0);
    const later = await host.runtime.containers.stats(id);
    assert.ok(later && later.networkReceivedBytes > stats.networkReceivedBytes + 200);
    assert.ok(later.networkSentBytes > stats.networkSentBytes + 200);
    assert.ok(later.cpuNanoseconds > stats.cpuNanoseconds);
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    await until('no figures', async () => (await host.runtime.containers.stats(id)) === undefined);
    await host.runtime.containers.remove(id);
  });
});
