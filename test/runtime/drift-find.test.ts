/** What the facts of a running container are called, and how often the same thing is put back. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSameLimit, parseBinds, type RunFacts, type RunMemory } from '../../runtime/drift-facts.ts';
import { type FindInput, findDamage, findDrift } from '../../runtime/drift-find.ts';
import { countCorrection, mayCorrect } from '../../runtime/drift-watch.ts';
import { hasRoute } from '../../runtime/host-network.ts';
import { type DriftKind, describeDrift, driftKinds, driftTable } from '../../runtime/index.ts';
import { createLayout } from '../../runtime/layout.ts';

const layout = createLayout({ dataDir: '/data', runDir: '/run/hf', bridge: 'hf0' });
const paths = layout.container('a'.repeat(64));
const hosts = { source: paths.hosts, destination: '/etc/hosts', isReadOnly: false, isMapped: false };
const named = { source: '/data/volumes/v/data', destination: '/v', isReadOnly: true, isMapped: false };
const tmp = { source: join(paths.volumesMemory, 'tmp'), destination: '/tmp', isReadOnly: false, isMapped: false };
const memory: RunMemory = { upperInode: 7, etc: new Map(), binds: [hosts, named, tmp] };
const mounted = [hosts, named, tmp].map(
  ({ destination, source }) => [destination, { mountPoint: destination, root: source }] as const,
);
const cable = { isThere: true, bridge: 'hf0', isUp: true, routes: 'Iface\t\neth0\t00000000\t010A0A0A\t' };
const well: RunFacts = {
  bundle: new Set(['config.json', 'pidfile', 'conmon.pid', 'ctl', 'winsz', 'process.json', 'rootfs', 'network.json']),
  home: new Set(['record.json']),
  ociState: new Set(['status', 'config.json']),
  ociStateCopy: new Set(['status', 'config.json']),
  isRootMounted: true,
  upperInode: 7,
  isWorkThere: true,
  isLogThere: true,
  hasNetns: true,
  hasUserNamespace: undefined,
  cable,
  limits: [],
  etc: new Map([[paths.hosts, { seen: 'x', wanted: 'x' }]]),
  mounts: new Map(mounted),
  unmounted: new Set(),
};
const input = (facts: Partial<RunFacts>, config: FindInput['config'] = {}): FindInput => ({
  facts: { ...well, ...facts },
  memory,
  paths,
  config,
  bridge: 'hf0',
  volumesDir: '/data/volumes',
});
const without = <T>(set: ReadonlySet<T>, ...gone: T[]): ReadonlySet<T> =>
  new Set([...set].filter((one) => !gone.includes(one)));
const mountsBut = (destination: string, root?: string): RunFacts['mounts'] =>
  new Map([
    ...mounted.filter(([at]) => at !== destination),
    ...(root === undefined ? [] : [[destination, { mountPoint: destination, root }] as const]),
  ]);
const admin = { security: { addCapabilities: ['SYS_ADMIN'] } };

const cases: { it: string; facts: Partial<RunFacts>; config?: FindInput['config']; want: readonly DriftKind[] }[] = [
  { it: 'finds nothing in what is well', facts: {}, want: [] },
  { it: 'finds a file of the bundle gone', facts: { bundle: without(well.bundle, 'ctl') }, want: ['bundle'] },
  {
    it: 'wants no network file without a network',
    facts: { bundle: without(well.bundle, 'network.json'), hasNetns: undefined, cable: undefined },
    want: [],
  },
  { it: 'finds the record gone', facts: { home: new Set() }, want: ['record'] },
  { it: 'finds the root unmounted', facts: { isRootMounted: false }, want: ['root-mount'] },
  { it: 'finds the state of the OCI runtime gone', facts: { ociState: new Set() }, want: ['oci-state'] },
  { it: 'cannot put back a state without a copy', facts: { ociState: new Set(), ociStateCopy: new Set() }, want: [] },
  { it: 'finds a namespace unbound', facts: { hasNetns: false }, want: ['namespace'] },
  { it: 'finds a user namespace unbound', facts: { hasUserNamespace: false }, want: ['namespace'] },
  { it: 'finds a cable gone', facts: { cable: { ...cable, isThere: false } }, want: ['cable'] },
  { it: 'finds a cable unplugged', facts: { cable: { ...cable, bridge: undefined } }, want: ['cable'] },
  { it: 'finds a cable in another bridge', facts: { cable: { ...cable, bridge: 'docker0' } }, want: ['cable'] },
  { it: 'finds a cable switched off', facts: { cable: { ...cable, isUp: false } }, want: ['cable'] },
  { it: 'finds the routes gone', facts: { cable: { ...cable, routes: 'Iface\t' } }, want: ['cable'] },
  {
    it: 'leaves routes to a container that may change them',
    facts: { cable: { ...cable, routes: '' } },
    config: { security: { addCapabilities: ['NET_ADMIN'] } },
    want: [],
  },
  { it: 'finds limits changed', facts: { limits: [{ file: 'pids.max', seen: '7', wanted: '9' }] }, want: ['limits'] },
  {
    it: 'finds a file under /etc changed',
    facts: { etc: new Map([[paths.hosts, { seen: 'y', wanted: 'x' }]]) },
    want: ['etc-file'],
  },
  { it: 'finds a file under /etc unmounted', facts: { mounts: mountsBut('/etc/hosts') }, want: ['etc-file'] },
  {
    it: 'knows a file under /etc that a link of the image leads elsewhere',
    facts: {
      mounts: new Map([
        ...(mountsBut('/etc/hosts') ?? []),
        ['/run/hosts', { mountPoint: '/run/hosts', root: paths.hosts.slice('/run'.length) }],
      ]),
    },
    want: [],
  },
  {
    it: 'takes the mount at another place for no volume that was unmounted at its own',
    facts: { mounts: new Map([...(mountsBut('/v') ?? []), ['/tmp', { mountPoint: '/tmp', root: named.source }]]) },
    want: ['volume-mount'],
  },
  {
    it: 'finds a file under /etc deleted',
    facts: { mounts: mountsBut('/etc/hosts', '/x//deleted') },
    want: ['etc-file'],
  },
  { it: 'finds a volume unmounted in the container', facts: { mounts: mountsBut('/v') }, want: ['volume-mount'] },
  { it: 'leaves mounts to a container that may mount', facts: { mounts: mountsBut('/v') }, config: admin, want: [] },
  { it: 'finds memory unmounted on the host', facts: { unmounted: new Set([tmp.source]) }, want: ['volume-mount'] },
  { it: 'finds the log gone', facts: { isLogThere: false }, want: ['log'] },
  { it: 'says nothing of mounts that cannot be read', facts: { mounts: undefined }, want: [] },
];

describe('findDrift', () => {
  for (const c of cases) {
    it(c.it, () =>
      assert.deepEqual(
        findDrift(input(c.facts, c.config)).map(({ kind }) => kind),
        c.want,
      ),
    );
  }
  it('mounts what the host has into the container, and what the container has on the host', () => {
    const [inwards] = findDrift(input({ mounts: mountsBut('/v') }));
    assert.ok(inwards?.kind === 'volume-mount' && inwards.direction === 'inwards' && inwards.bind === named);
    const [outwards] = findDrift(input({ unmounted: new Set([tmp.source]) }));
    assert.ok(outwards?.kind === 'volume-mount' && outwards.direction === 'outwards' && outwards.bind === tmp);
  });
});

const damages: { it: string; facts: Partial<RunFacts>; config?: FindInput['config']; want: DriftKind | undefined }[] = [
  { it: 'finds none in what is well', facts: {}, want: undefined },
  { it: 'finds the upper folder gone', facts: { upperInode: undefined }, want: 'upper-layer' },
  { it: 'finds the upper folder another', facts: { upperInode: 8 }, want: 'upper-layer' },
  { it: 'finds the work folder gone', facts: { isWorkThere: false }, want: 'upper-layer' },
  {
    it: 'finds a state and its copy gone',
    facts: { ociState: new Set(), ociStateCopy: new Set(['x']) },
    want: 'oci-state',
  },
  {
    it: 'finds a state gone that was never copied',
    facts: { ociState: new Set(), ociStateCopy: new Set() },
    want: 'oci-state',
  },
  {
    it: "knows the other OCI runtime's state",
    facts: { ociState: new Set(['state.json']), ociStateCopy: new Set(['state.json']) },
    want: undefined,
  },
  { it: 'finds a volume deleted', facts: { mounts: mountsBut('/v', '/v//deleted') }, want: 'volume' },
  {
    it: 'leaves a path of the host that was replaced',
    facts: { mounts: mountsBut('/tmp', '/x//deleted') },
    want: undefined,
  },
  { it: 'needs no socket without input', facts: {}, config: { hasStdin: false }, want: undefined },
  { it: 'needs the socket of what has input', facts: {}, config: { hasStdin: true }, want: 'bundle' },
];

describe('findDamage', () => {
  for (const c of damages) it(c.it, () => assert.equal(findDamage(input(c.facts, c.config))?.kind, c.want));
});

describe('corrections', () => {
  it('are made at once three times, then later and later, up to every five minutes', () => {
    let nowMs = 1_000_000;
    let corrections = undefined as ReturnType<typeof countCorrection> | undefined;
    const waits: number[] = [];
    for (let count = 0; count < 12; count += 1) {
      const fromMs = nowMs;
      while (!mayCorrect(corrections, nowMs)) nowMs += 1_000;
      waits.push((nowMs - fromMs) / 1_000);
      corrections = countCorrection(corrections, nowMs);
    }
    assert.deepEqual(waits, [0, 0, 0, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
  });
  it('are forgotten after ten minutes, and by a clock that was set back', () => {
    const often = { count: 9, lastMs: 1_000_000 };
    assert.equal(mayCorrect(often, 1_000_001), false);
    assert.equal(mayCorrect(often, 1_600_001), true);
    assert.equal(mayCorrect(often, 1), true);
    assert.equal(countCorrection(often, 1_600_001).count, 1);
  });
});

describe('limits read back', () => {
  for (const [file, seen, wanted, want] of [
    ['memory.limit_in_bytes', '9223372036854771712', '-1', true],
    ['memory.max', 'max', 'max', true],
    ['memory.max', '8192', '9000', true],
    ['memory.max', '4096', '9000', false],
    ['cpu.cfs_quota_us', '-1', '-1', true],
    ['cpu.max', 'max 100000', 'max 100000', true],
    ['cpu.max', '5000 100000', 'max 100000', false],
    ['pids.max', '7', '200', false],
    ['pids.max', 'max', '200', false],
  ] as const) {
    it(`${file} ${seen} is ${want ? '' : 'not '}as good as ${wanted}`, () =>
      assert.equal(isSameLimit(file, seen, wanted), want));
  }
});

describe('what is remembered of a run', () => {
  it('has the binds of its configuration, those nearer to the root first, and nothing of a broken one', () => {
    const mounts = [
      { destination: '/a/b', type: 'bind', source: '/x', options: ['rbind', 'ro', 'idmap'] },
      { destination: '/a', type: 'bind', source: '/y', options: ['rbind'] },
      { destination: '/proc', type: 'proc', source: 'proc' },
    ];
    assert.deepEqual(parseBinds(JSON.stringify({ mounts })), [
      { destination: '/a', source: '/y', isReadOnly: false, isMapped: false },
      { destination: '/a/b', source: '/x', isReadOnly: true, isMapped: true },
    ]);
    for (const text of ['', '{', '{}', 'null', '{"mounts":7}']) assert.deepEqual(parseBinds(text), []);
  });
  it('knows a bridge by its route', () => {
    assert.equal(hasRoute('Iface\tDestination\nhf0\t0000', 'hf0'), true);
    assert.equal(hasRoute('Iface\tDestination\nhf01\t0000', 'hf0'), false);
  });
});

describe('the table of drift', () => {
  it('says of each kind what it is and what is done, and docs/operations.md has a line for each', () => {
    const text = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
    assert.ok(driftKinds.length > 20);
    for (const kind of driftKinds) {
      const { what, healedBy } = driftTable[kind];
      assert.ok(text.includes(`| ${kind} | ${what} | ${healedBy} |`), `docs/operations.md lacks "${kind}" as it is`);
      assert.ok(describeDrift({ kind }).includes(what));
    }
  });
});
