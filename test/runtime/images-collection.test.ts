/** Collection of images: the decision by tables, the effects with real images on a small file system. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CollectableImage, decideCollection } from '../../runtime/images/decide-collection.ts';
import { findOrphans, parseLayers } from '../../runtime/images/storage-files.ts';
import { parseUsage } from '../../runtime/images/usage-records.ts';
import type { CollectionPolicy } from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { openStore, patient, run, type StoreFixture } from './images-fixture.ts';

const minuteMs = 60_000;
const nowMs = 1_000 * minuteMs;
const policy: CollectionPolicy = {
  minimumAgeMs: 2 * minuteMs,
  maximumAgeMs: undefined,
  highThresholdPercent: 85,
  lowThresholdPercent: 80,
  isDiskFull: false,
};
const disk = (usedPercent: number) => ({ capacityBytes: 1_000, availableBytes: 1_000 - 10 * usedPercent });
const image = (id: string, idleMinutes: number, more: Partial<CollectableImage> = {}): CollectableImage => ({
  id,
  layers: [{ id: `layer-${id}`, sizeBytes: 40 }],
  isWanted: false,
  firstSeenMs: nowMs - 500 * minuteMs,
  lastUsedMs: nowMs - idleMinutes * minuteMs,
  ...more,
});
const base = { id: 'base', sizeBytes: 30 };

describe('decideCollection', () => {
  const rows: readonly {
    it: string;
    images: readonly CollectableImage[];
    used: number;
    policy?: Partial<CollectionPolicy>;
    want: readonly string[];
    missing?: number;
  }[] = [
    { it: 'leaves all where there is space', images: [image('a', 400)], used: 84, want: [] },
    { it: 'frees from the high threshold on', images: [image('a', 400)], used: 85, want: ['a space'], missing: 10 },
    {
      it: 'takes the longest unused first, and no more than need be',
      images: [image('a', 10), image('b', 30), image('c', 20)],
      used: 87,
      want: ['b space', 'c space'],
    },
    {
      it: 'never takes one that is wanted',
      images: [image('a', 400, { isWanted: true }), image('b', 10)],
      used: 99,
      want: ['b space'],
      missing: 150,
    },
    {
      it: 'leaves the young, and those just used',
      images: [image('a', 400, { firstSeenMs: nowMs - minuteMs }), image('b', 1)],
      used: 90,
      want: [],
      missing: 100,
    },
    {
      it: 'takes the old for their age alone',
      images: [image('a', 100), image('b', 99), image('c', 300, { isWanted: true })],
      used: 10,
      policy: { maximumAgeMs: 100 * minuteMs },
      want: ['a age'],
    },
    {
      it: 'counts what age freed against what space needs',
      images: [image('a', 100), image('b', 50), image('c', 60)],
      used: 87,
      policy: { maximumAgeMs: 100 * minuteMs },
      want: ['a age', 'c space'],
    },
    {
      it: 'counts a shared layer once its last image goes',
      images: [
        image('a', 30, { layers: [base, { id: 'a', sizeBytes: 5 }] }),
        image('b', 20, { layers: [base, { id: 'b', sizeBytes: 5 }] }),
        image('c', 10, { layers: [{ id: 'c', sizeBytes: 500 }] }),
      ],
      used: 84,
      policy: { highThresholdPercent: 84 },
      want: ['a space', 'b space'],
    },
    {
      it: 'goes down to the low threshold when somebody ran out of space',
      images: [image('a', 30), image('b', 20)],
      used: 82,
      policy: { isDiskFull: true },
      want: ['a space'],
    },
    {
      it: 'has nothing to do below the low threshold',
      images: [image('a', 30)],
      used: 70,
      policy: { isDiskFull: true },
      want: [],
    },
    {
      it: 'never frees at 100',
      images: [image('a', 30)],
      used: 99,
      policy: { highThresholdPercent: 100, lowThresholdPercent: 100 },
      want: [],
    },
    {
      it: 'does without a clock that goes forward only',
      images: [image('a', -100), image('b', 5)],
      used: 90,
      policy: { minimumAgeMs: 0 },
      want: ['b space', 'a space'],
      missing: 20,
    },
  ];
  for (const row of rows) {
    it(row.it, () => {
      const input = { images: row.images, disk: disk(row.used), policy: { ...policy, ...row.policy }, nowMs };
      const { remove, missingBytes } = decideCollection(input);
      assert.deepEqual(
        remove.map(({ id, because }) => `${id} ${because}`),
        row.want,
      );
      assert.equal(missingBytes, row.missing ?? 0);
    });
  }
  it('takes a file system without a size for one with space', () => {
    const none = { capacityBytes: 0, availableBytes: 0 };
    assert.deepEqual(decideCollection({ images: [image('a', 400)], disk: none, policy, nowMs }).remove, []);
  });
});

describe('layers that belong to no image', () => {
  const id = (digit: string) => digit.repeat(64);
  const layers = parseLayers(
    JSON.stringify([
      { id: id('a') },
      { id: id('b'), parent: id('a') },
      { id: id('c'), parent: id('b') },
      { id: id('d'), parent: id('b') },
      { id: id('e'), parent: id('d'), flags: { incomplete: true } },
      { id: id('f'), parent: id('f') },
    ]),
  );
  it('are those under no root, the uppermost first', () => {
    const found = (roots: string[]) => findOrphans(layers, roots).map((layer) => layer.id[0]);
    assert.deepEqual(found([id('c'), id('f')]), ['e', 'd']);
    assert.deepEqual(found([id('e'), id('f')]), ['c']);
    assert.deepEqual(found([id('f'), id('0')]), ['e', 'c', 'd', 'b', 'a']);
  });
});

describe('parseUsage', () => {
  it('leaves out what is not as it should be', () => {
    assert.deepEqual(
      parseUsage('{"a":{"firstSeenMs":1,"lastUsedMs":2},"b":{"firstSeenMs":"x","lastUsedMs":2},"c":null}'),
      [['a', { firstSeenMs: 1, lastUsedMs: 2 }]],
    );
    for (const text of ['', '{"half', 'null', '3']) assert.deepEqual(parseUsage(text), []);
  });
});

describe('the collection of images', function () {
  this.timeout(240_000);
  const at = { ms: 1_000_000_000_000 };
  const mounted: string[] = [];
  let dir: string;
  let images: BuiltImage[];
  let opened: StoreFixture[] = [];
  const open = async (deps: Parameters<typeof openStore>[0] = {}) => {
    const fixture = await openStore({ nowMs: () => at.ms, ...deps });
    opened.push(fixture);
    return fixture;
  };
  const ensure = ({ store }: StoreFixture, built: BuiltImage | undefined) =>
    store.ensure(built?.reference ?? '', 'if-not-present', patient());
  const ask = (change: Partial<CollectionPolicy> = {}, wanted: readonly string[] = []) => ({
    wanted: wanted.map((reference) => ({ reference })),
    policy: { ...policy, highThresholdPercent: 100, lowThresholdPercent: 100, ...change },
  });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    images = [];
    for (const name of ['a', 'b', 'c'])
      images.push(await buildBusyboxImage({ dir, file: `${name}.tar`, files: { '/data': randomBytes(12_000_000) } }));
  });
  after(async () => {
    await rm(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const path of mounted.splice(0)) await run('umount', [path]).catch(() => undefined); // by what is tested, if it works
    for (const fixture of opened) await fixture.close();
    opened = [];
  });

  it('removes by age what no container has and nobody wants, and remembers ages across a restart', async () => {
    const fixture = await open({
      containersUsing: async (id) => (id === images[0]?.id ? ['web'] : []),
    });
    for (const built of images) await ensure(fixture, built);
    const old = { maximumAgeMs: 60 * minuteMs };
    await fixture.store.collect(ask(old), patient());
    assert.equal((await fixture.store.list()).length, 3, 'all are young');
    at.ms += 30 * minuteMs;
    const again = await fixture.reopen();
    await again.collect(ask(old), patient());
    assert.equal((await again.list()).length, 3);
    at.ms += 31 * minuteMs;
    const report = await again.collect(ask(old, [images[1]?.reference ?? '', 'NOT A NAME', 'absent:1']), patient());
    assert.deepEqual(
      report.removed.map(({ id, because }) => [id, because]),
      [[images[2]?.id, 'age']],
    );
    assert.ok((report.removed[0]?.sizeBytes ?? 0) > 12_000_000);
    assert.deepEqual((await again.list()).map(({ id }) => id).sort(), [images[0]?.id, images[1]?.id].sort());
    assert.equal((await again.ensure(images[2]?.reference ?? '', 'if-not-present', patient())).id, images[2]?.id);
  });

  it('frees a disk that fills up, the longest unused first, and says what it cannot free', async () => {
    const mount = await mkdtemp(join(dir, 'disk-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=56m', 'none', mount]);
    try {
      const fixture = await open({ root: join(mount, 'root') });
      for (const built of images) {
        await ensure(fixture, built);
        at.ms += 10 * minuteMs;
      }
      await ensure(fixture, images[0]); // the first is now the last used
      at.ms += 10 * minuteMs;
      const usedPercent = async () => {
        const { blocks, bavail } = await statfs(mount);
        return (100 * (blocks - bavail)) / blocks;
      };
      assert.ok((await usedPercent()) > 70, `${await usedPercent()} % used`);
      const pressed = { highThresholdPercent: 70, lowThresholdPercent: 60 };
      const report = await fixture.store.collect(ask(pressed), patient());
      assert.deepEqual(
        report.removed.map(({ id, because }) => [id, because]),
        [[images[1]?.id, 'space']],
      );
      assert.ok((await usedPercent()) < 60);
      assert.equal(report.missingBytes, 0);
      const all = images.map(({ reference }) => reference);
      const stuck = await fixture.store.collect(ask({ isDiskFull: true, lowThresholdPercent: 10 }, all), patient());
      assert.deepEqual(stuck.removed, []);
      assert.ok(stuck.missingBytes > 10_000_000);
      await fixture.close();
    } finally {
      await run('umount', [mount]);
    }
  });

  it('removes the layers of a pull that was cut short, and probes of the kernel, once they are old', async () => {
    const own = await mkdtemp(join(dir, 'killed-'));
    const root = join(own, 'root');
    const isCut = async () => {
      const layers = await readFile(join(root, 'overlay-layers', 'layers.json'), 'utf8').catch(() => '[]');
      const found = await readFile(join(root, 'overlay-images', 'images.json'), 'utf8').catch(() => '[]');
      return JSON.parse(layers).length > 0 && JSON.parse(found).length === 0;
    };
    const puller = join(import.meta.dirname, 'images-puller.ts');
    const files = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`/d/${i}`, Buffer.alloc(2_000, i)]));
    const many = await buildBusyboxImage({ dir, file: 'many.tar', files });
    for (let round = 0; round < 20 && !(await isCut()); round++) {
      const child = spawn(process.execPath, [puller, own, '/dev/null', many.reference], { stdio: 'ignore' });
      const closed = once(child, 'close');
      // The layer's record is there while its files are being unpacked.
      while (child.exitCode === null && !(await isCut())) await new Promise((resolve) => setImmediate(resolve));
      child.kill('SIGKILL');
      await closed;
      if (!(await isCut())) await rm(root, { recursive: true, force: true });
    }
    assert.ok(await isCut(), 'no pull was cut short');
    const probe = join(root, 'overlay', 'compat123');
    await mkdir(join(probe, 'merged'), { recursive: true });
    await run('mount', ['-t', 'tmpfs', 'none', join(probe, 'merged')]);
    mounted.push(join(probe, 'merged'));
    at.ms = Date.now();
    const fixture = await open({ root, runRoot: join(own, 'run') });
    assert.equal((await fixture.store.collect(ask(), patient())).layersRemoved, 0, 'it may be needed yet');
    assert.ok((await readdir(join(root, 'overlay'))).includes('compat123'));
    at.ms += 61 * minuteMs;
    assert.equal((await fixture.store.collect(ask(), patient())).layersRemoved, 1);
    assert.deepEqual(
      (await readdir(join(root, 'overlay'))).filter((name) => name !== 'l' && !name.startsWith('.')),
      [],
    );
    assert.equal((await ensure(fixture, many)).id, many.id);
    assert.equal((await fixture.store.collect(ask(), patient())).layersRemoved, 0);
  });

  it('lets a pull wait until it is done, and one after the other', async () => {
    const fixture = await open();
    await ensure(fixture, images[0]);
    at.ms += 10 * minuteMs;
    const first = fixture.store.collect(ask({ maximumAgeMs: minuteMs, minimumAgeMs: 0 }), patient());
    const second = fixture.store.collect(ask({ maximumAgeMs: minuteMs, minimumAgeMs: 0 }), patient());
    const pulled = ensure(fixture, images[1]);
    const [one, two] = await Promise.all([first, second]);
    assert.deepEqual([one.removed.length, two.removed.length], [1, 0]);
    assert.equal((await pulled).id, images[1]?.id);
    assert.deepEqual(
      (await fixture.store.list()).map(({ id }) => id),
      [images[1]?.id],
    );
  });

  it('keeps what was built here and can be fetched from nowhere', async () => {
    const fixture = await open();
    await fixture.store.importAs(images[0]?.reference ?? '', 'localhost/mine:1', patient());
    await ensure(fixture, images[1]);
    at.ms += 60 * minuteMs;
    const { removed } = await fixture.store.collect(ask({ maximumAgeMs: minuteMs }), patient());
    assert.deepEqual(
      removed.map(({ id }) => id),
      [images[1]?.id],
    );
  });

  it('takes a damaged record of usage for none', async () => {
    const fixture = await open();
    await ensure(fixture, images[0]);
    await writeFile(join(fixture.root, 'holdfast-usage.json'), '{"half');
    const again = await fixture.reopen();
    assert.deepEqual((await again.collect(ask({ maximumAgeMs: minuteMs }), patient())).removed, []);
  });
});
