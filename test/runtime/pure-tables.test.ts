import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseSubnet } from '../../runtime/addresses.ts';
import { ownProcsFile } from '../../runtime/cgroup-primer.ts';
import { parseCgroupLayout } from '../../runtime/cgroups.ts';
import { formatHosts, formatResolvConf } from '../../runtime/etc-files.ts';
import { RuntimeOperationError, StartError } from '../../runtime/index.ts';
import { createLayout } from '../../runtime/layout.ts';
import { decideNextLookMs, orderLogFiles } from '../../runtime/log-files.ts';
import { endsLine, formatRunMark, isRunMark, parseLogLine, streamOf } from '../../runtime/log-format.ts';
import { decideTrim, type Trim, type TrimInput } from '../../runtime/log-trim.ts';
import { parseSyncMessage } from '../../runtime/monitor.ts';
import { parseCniResult } from '../../runtime/netns-pool.ts';
import { formatPortChange, formatTable } from '../../runtime/nft-rules.ts';
import { createError, crunObstacle } from '../../runtime/oci-runtime.ts';
import { decideOverlayOptions } from '../../runtime/overlay.ts';
import { portsConflict } from '../../runtime/port-check.ts';
import { parseProcStat } from '../../runtime/proc.ts';
import { exitOf, parseLastRun, parseRecord, parseRunProcesses } from '../../runtime/record.ts';
import { mountsBelow } from '../../runtime/remove-tree.ts';

describe('parseSubnet', () => {
  it('takes the network and its first address', () => {
    assert.deepEqual(parseSubnet('10.76.3.9/16'), { cidr: '10.76.0.0/16', prefixLength: 16, gateway: '10.76.0.1' });
    assert.deepEqual(parseSubnet('192.168.7.128/25').gateway, '192.168.7.129');
  });
  for (const text of [
    '',
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/30',
    '256.0.0.0/16',
    'fd00::/64',
    '10.0.0/16',
    '10.0.0.0/x',
  ]) {
    it(`refuses "${text}", quoting it`, () => assert.throws(() => parseSubnet(text), TypeError));
  }
});

describe('createLayout', () => {
  for (const bridge of ['', 'a b', '../x', '1bridge', 'muchtoolongforalink', 'a"b']) {
    it(`refuses a bridge called "${bridge}"`, () =>
      assert.throws(() => createLayout({ dataDir: '/d', runDir: '/r', bridge }), TypeError));
  }
});

const v1 = `30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`;
const v2 = '30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';

describe('parseCgroupLayout', () => {
  it('knows version 2', () => assert.deepEqual(parseCgroupLayout(v2), { kind: 'v2', root: '/sys/fs/cgroup' }));
  it('knows version 1 with joined controllers', () => {
    const layout = parseCgroupLayout(v1);
    assert.ok(layout.kind === 'v1');
    assert.equal(layout.controllers.get('cpuacct'), '/sys/fs/cgroup/cpu,cpuacct');
    assert.deepEqual(layout.mounts, ['/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup/memory', '/sys/fs/cgroup/unified']);
  });
  it('says so when there is none', () => assert.throws(() => parseCgroupLayout(''), /holdfast doctor/));
});

describe('ownProcsFile', () => {
  it('finds where we are', () => {
    assert.equal(
      ownProcsFile(parseCgroupLayout(v2), '0::/system.slice/x.service\n'),
      '/sys/fs/cgroup/system.slice/x.service/cgroup.procs',
    );
    assert.equal(ownProcsFile(parseCgroupLayout(v1), '4:memory:/a\n0::/\n'), '/sys/fs/cgroup/memory/a/cgroup.procs');
    assert.equal(ownProcsFile(parseCgroupLayout(v1), ''), undefined);
  });
});

describe('formatHosts and formatResolvConf', () => {
  it('lists localhost, the given entries and the container', () => {
    const text = formatHosts({
      hostname: 'web',
      addresses: ['10.0.0.5'],
      entries: [{ ip: '10.0.0.6', names: ['db', 'mysql'] }],
    });
    assert.match(text, /^127\.0\.0\.1\tlocalhost\n/);
    assert.match(text, /\n10\.0\.0\.6\tdb mysql\n10\.0\.0\.5\tweb\n$/);
  });
  const cases = [
    {
      it: 'drops loopback name servers',
      given: ['nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\n'],
      want: 'search a b\nnameserver 9.9.9.9\n',
    },
    {
      it: 'takes the second file when the first names only loopback',
      given: ['nameserver 127.0.0.53\n', 'nameserver 1.2.3.4\noptions x\n'],
      want: 'nameserver 1.2.3.4\noptions x\n',
    },
    {
      it: 'is empty but for options when there is none',
      given: ['nameserver ::1\noptions ndots:2\n', ''],
      want: 'options ndots:2\n',
    },
    { it: 'takes nothing for nothing', given: [], want: '' },
  ];
  for (const c of cases) {
    const given = { hostFiles: c.given, dns: undefined, resolver: undefined, hasHostLoopback: false };
    it(c.it, () => assert.equal(formatResolvConf(given), c.want));
  }
  const hostFile = 'nameserver 1.2.3.4\nsearch host.example\noptions ndots:1 rotate\n';
  const own = { servers: ['192.0.2.53'], searches: ['corp.example'], options: ['ndots:4'] };
  const bases = [
    {
      base: 'resolver',
      want: 'search corp.example host.example\nnameserver 10.0.0.1\nnameserver 192.0.2.53\noptions ndots:4 rotate\n',
    },
    {
      base: 'host',
      want: 'search corp.example host.example\nnameserver 1.2.3.4\nnameserver 192.0.2.53\noptions ndots:4 rotate\n',
    },
    { base: 'none', want: 'search corp.example\nnameserver 192.0.2.53\noptions ndots:4\n' },
  ] as const;
  for (const { base, want } of bases)
    it(`adds what is given to the base "${base}"`, () => {
      const given = { hostFiles: [hostFile], dns: { ...own, base }, resolver: '10.0.0.1', hasHostLoopback: false };
      assert.equal(formatResolvConf(given), want);
    });
});

describe('parseLogLine', () => {
  const time = '2026-11-23T23:08:31.123456789+00:00';
  const cases = [
    { it: 'reads a whole line', given: `${time} stdout F hello world`, want: ['stdout', 'hello world\n'] },
    { it: 'reads a part', given: `${time} stderr P hel`, want: ['stderr', 'hel'] },
    { it: 'reads an empty line', given: `${time} stdout F `, want: ['stdout', '\n'] },
    { it: 'refuses an unknown stream', given: `${time} stdin F x`, want: undefined },
    { it: 'refuses a cut line', given: time.slice(0, 30), want: undefined },
    { it: 'refuses an unknown tag', given: `${time} stdout X x`, want: undefined },
  ];
  for (const c of cases) {
    it(c.it, () => {
      const entry = parseLogLine(Buffer.from(c.given));
      assert.deepEqual(entry && [entry.stream, entry.data.toString()], c.want);
      if (entry !== undefined) assert.equal(entry.time, '2026-11-23T23:08:31.123456789Z');
    });
  }
  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        parseLogLine(Buffer.from(bytes));
        endsLine(Buffer.from(bytes));
      }),
    );
  });
});

describe('the mark of a run', () => {
  const mark = Buffer.from(formatRunMark(1_764_000_000_123).trimEnd());
  it('is known again, and is nothing of the container for those who do not know it', () => {
    assert.equal(isRunMark(mark), true);
    assert.deepEqual([parseLogLine(mark), streamOf(mark), endsLine(mark)], [undefined, undefined, true]);
  });
  for (const line of ['stdout F run F', 'stdout P 2026-11-24T07:00:00.000Z run F', 'stderr F ', ' run F']) {
    it(`is not what a container writes: "${line}"`, () => {
      assert.equal(isRunMark(Buffer.from(`2026-11-24T07:00:00.000000000+00:00 ${line}`)), false);
    });
  }
  it('leaves streams to conmon lines', () => {
    assert.equal(streamOf(Buffer.from('2026-11-24T07:00:00.000000000+00:00 stderr P part')), 'stderr');
    assert.equal(streamOf(Buffer.from('2026-11-24T07:00:00.000000000+00:00 stdoutX F x')), undefined);
    assert.equal(streamOf(Buffer.from('torn')), undefined);
  });
});

describe('log files', () => {
  it('are ordered by number, the one being written last', () => {
    const names = ['ctr.log.10', 'ctr.log', 'ctr.log.9', 'other', 'ctr.log.x'];
    assert.deepEqual(orderLogFiles(names), ['ctr.log.9', 'ctr.log.10', 'ctr.log']);
    assert.deepEqual(orderLogFiles([]), []);
  });
  it('are looked at within milliseconds while they grow, the sooner the nearer they are to full', () => {
    const look = (sizeBytes: number, bytesPerMs: number | undefined): number =>
      decideNextLookMs({ sizeBytes, maxSizeBytes: 1_000_000, bytesPerMs });
    assert.deepEqual([look(0, undefined), look(0, 1), look(990_000, 1_000), look(999_999, 1_000_000)], [25, 25, 6, 2]);
  });
});

describe('decideTrim', () => {
  const limits = { maxSizeBytes: 100, maxFiles: 3 };
  const cases: { it: string; given: Omit<TrimInput, 'limits'> & Partial<TrimInput>; want: Trim }[] = [
    { it: 'leaves what is within the bound', given: { sizesBytes: [100, 100], current: 'growing' }, want: keep(0) },
    { it: 'removes the oldest', given: { sizesBytes: [9, 9, 9, 9], current: 'growing' }, want: keep(2) },
    {
      it: 'lets one more stay without a file beside them',
      given: { sizesBytes: [9, 9, 9], current: 'none' },
      want: keep(0),
    },
    {
      it: 'minds no line too much while one is written',
      given: { sizesBytes: [104, 104], current: 'growing' },
      want: keep(0),
    },
    {
      it: 'cuts one that is too big by itself',
      given: { sizesBytes: [9, 300], current: 'growing' },
      want: { removed: 1, keptBytes: 200 },
    },
    { it: 'drops what is not worth cutting', given: { sizesBytes: [90, 180], current: 'growing' }, want: keep(1) },
    {
      it: 'keeps all within the bound at rest',
      given: { sizesBytes: [104, 104], current: 100 },
      want: { removed: 0, keptBytes: 96 },
    },
    {
      it: 'keeps all within the bound at rest, the last retired',
      given: { sizesBytes: [150, 90, 140], current: 'none' },
      want: { removed: 0, keptBytes: 70 },
    },
    {
      it: 'keeps nothing else of a log of one file',
      given: { sizesBytes: [100], current: 'growing', limits: { ...limits, maxFiles: 1 } },
      want: keep(1),
    },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(decideTrim({ limits, ...c.given }), c.want));
});

function keep(removed: number): Trim {
  return { removed, keptBytes: undefined };
}

describe('parseSyncMessage', () => {
  for (const [line, want] of [
    ['{"data": 12}', { kind: 'created', pid: 12 }],
    ['{"data": -1, "message": "no"}', { kind: 'failed', message: 'no' }],
    ['{"data": 0}', { kind: 'failed', message: '' }],
  ] as const) {
    it(`reads ${line}`, () => assert.deepEqual(parseSyncMessage(line), want));
  }
  it('names what the relay could not become', () => {
    const missing = parseSyncMessage('failed 2 exec /no/conmon: No such file or directory');
    assert.match(missing.kind === 'failed' ? missing.message : '', /conmon is not installed.*doctor/);
    assert.deepEqual(parseSyncMessage('failed 2 chdir /x: No such file or directory'), {
      kind: 'failed',
      message: 'chdir /x: No such file or directory',
    });
  });
  it('quotes what it cannot read', () => assert.match(JSON.stringify(parseSyncMessage('garbage')), /garbage/));
});

describe('createError', () => {
  for (const [said, exitCode] of [
    ['executable file `x` not found in $PATH: No such file or directory', 127],
    ['exec: "x": stat x: no such file or directory', 127],
    ['open executable: Permission denied', 126],
    ['open executable: Operation not permitted', 126],
    ['exec: "/etc": is a directory', 126],
    ['chdir to `/secret`: Permission denied', 126],
  ] as const) {
    it(`makes ${exitCode} of "${said}"`, () => {
      const error = createError(said, ['x']);
      assert.ok(error instanceof StartError);
      assert.equal(error.exitCode, exitCode);
    });
  }
  it('calls anything else a fault of the host', () => {
    for (const said of ['mount `proc` to `proc`: Operation not permitted', '']) {
      assert.ok(createError(said, ['x']) instanceof RuntimeOperationError);
    }
  });
});

describe('crunObstacle', () => {
  for (const [cgroupKind, unifiedControllers, isObstacle] of [
    ['v1', '', false],
    ['v1', 'hugetlb\n', true],
    ['v2', 'memory pids', false],
  ] as const) {
    it(`${isObstacle ? 'sees' : 'sees none'} on ${cgroupKind} with "${unifiedControllers.trim()}"`, () =>
      assert.equal(crunObstacle({ cgroupKind, unifiedControllers }) !== undefined, isObstacle));
  }
});

describe('decideOverlayOptions', () => {
  it('names layers as they are while they fit', () => {
    const { data, shortLinks } = decideOverlayOptions({ layers: ['/a:1', '/b,2'], upper: '/u\\', work: '/w' });
    assert.equal(data, 'lowerdir=/a\\:1:/b\\,2,upperdir=/u\\\\,workdir=/w');
    assert.deepEqual(shortLinks, []);
  });
  it('names them by short links when they would fill a page', () => {
    const layers = Array.from({ length: 127 }, (_, index) => `/very/long/path/of/a/layer/${index}`);
    const { data, shortLinks } = decideOverlayOptions({ layers, upper: '/u', work: '/w' });
    assert.deepEqual(shortLinks, layers);
    assert.ok(data.length < 1_000);
    assert.match(data, /^lowerdir=0:1:2:/);
  });
});

describe('nft rules', () => {
  const port = { containerPort: 80, hostPort: 8080, protocol: 'tcp', ip: '10.0.0.2' } as const;
  it('change one element each', () => {
    const text = formatPortChange('t', { remove: [{ ...port, hostIP: '127.0.0.1' }], add: [port] });
    assert.equal(
      text,
      'delete element ip t published_on { 127.0.0.1 . tcp . 8080 : 10.0.0.2 . 80 }\nadd element ip t published { tcp . 8080 : 10.0.0.2 . 80 }\n',
    );
  });
  it('replace the table in one transaction', () => {
    const text = formatTable({ family: 'ip', table: 't', bridge: 'br', subnet: '10.0.0.0/24' }, [port]);
    assert.match(text, /^add table ip t\ndelete table ip t\ntable ip t \{/);
    assert.match(text, /add element ip t published \{ tcp \. 8080/);
  });
});

describe('portsConflict', () => {
  const port = { containerPort: 1, hostPort: 80, protocol: 'tcp' } as const;
  for (const [what, other, want] of [
    ['the same port', {}, true],
    ['another port', { hostPort: 81 }, false],
    ['the other protocol', { protocol: 'udp' }, false],
    ['one address against all', { hostIP: '127.0.0.1' }, true],
  ] as const) {
    it(`is ${want} for ${what}`, () => assert.equal(portsConflict(port, { ...port, ...other }), want));
  }
  it('is false for two addresses', () =>
    assert.equal(portsConflict({ ...port, hostIP: '127.0.0.1' }, { ...port, hostIP: '127.0.0.2' }), false));
});

describe('parseCniResult', () => {
  it('takes the address and the host end', () => {
    const text = JSON.stringify({
      interfaces: [{ name: 'br' }, { name: 'veth1' }, { name: 'eth0', sandbox: '/x' }],
      ips: [{ address: '10.0.0.9/24' }],
    });
    assert.deepEqual(parseCniResult(text, 'br'), { ip: '10.0.0.9', hostInterface: 'veth1' });
  });
  it('says so when there is none', () => assert.throws(() => parseCniResult('{}', 'br'), RuntimeOperationError));
});

describe('parseProcStat', () => {
  it('reads a name with spaces and parentheses', () => {
    const fields = ['S', ...Array.from({ length: 18 }, () => '0'), '4711', '0'];
    assert.deepEqual(parseProcStat(`12 (a ) (b) ${fields.join(' ')}`), { pid: 12, startTicks: 4711, state: 'S' });
  });
  it('refuses what is cut', () => assert.equal(parseProcStat('12 (a) S'), undefined));
});

describe('records', () => {
  const ended = { code: 137, finishedAtMs: 50_000, memoryKills: 0, known: undefined };
  it('tell signals from exit codes', () => {
    assert.deepEqual(exitOf({ ...ended, code: 3 }), { code: 3, oomKilled: false, finishedAtMs: 50_000 });
    assert.equal(exitOf(ended).signal, 9);
    assert.equal(exitOf({ ...ended, code: 255 }).signal, undefined);
  });
  for (const [what, given, want] of [
    ['no kill at all', {}, false],
    ['a kill that nobody saw before', { memoryKills: 1 }, true],
    ['a failure after a child was killed', { memoryKills: 1, code: 1 }, true],
    ['a child that was killed and a clean end', { memoryKills: 1, code: 0 }, false],
    ['a kill seen just before the end', { memoryKills: 1, known: { count: 1, atMs: 45_000 } }, true],
    ['a kill long before the end', { memoryKills: 1, known: { count: 1, atMs: 30_000 } }, false],
    ['a further kill at the end', { memoryKills: 2, known: { count: 1, atMs: 30_000 } }, true],
  ] as const) {
    it(`say ${want ? '' : 'not '}that memory was the reason after ${what}`, () =>
      assert.equal(exitOf({ ...ended, ...given }).oomKilled, want));
  }
  it('that are damaged count as missing', () => {
    assert.equal(parseRecord(undefined), undefined);
    assert.equal(parseRecord({ version: 2 }), undefined);
    assert.equal(
      parseRecord({ version: 1, config: {}, image: {}, ports: [], createdAtMs: 1, stopSignal: 15 }),
      undefined,
    );
    assert.deepEqual(parseLastRun({ startedAtMs: 'x', exit: { code: 'y' } }), {});
    assert.equal(parseLastRun(undefined), undefined);
    assert.deepEqual(parseLastRun({ memoryKills: { count: 2, atMs: 3 } }), { memoryKills: { count: 2, atMs: 3 } });
    assert.deepEqual(parseLastRun({ memoryKills: { count: '2' } }), {});
    assert.equal(parseRunProcesses({ init: { pid: 1, startTicks: 2 } }), undefined);
  });
});

describe('mountsBelow', () => {
  it('lists the deepest first, decodes spaces, and leaves neighbours alone', () => {
    const info = ['/a', '/a/b', '/a/b/c\\040d', '/ab/c'].map((path) => `1 2 0:1 / ${path} rw - t s rw`).join('\n');
    assert.deepEqual(mountsBelow(info, '/a'), ['/a/b/c d', '/a/b']);
  });
});
