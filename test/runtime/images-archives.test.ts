/** Archives: what is in one (pure), and real ones in and out, as files and as streams. */
import assert from 'node:assert/strict';
import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type ImportInput, planImport } from '../../runtime/images/plan-import.ts';
import { ImageNotPresentError, type ImagePullError } from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { openStore, patient, run, type StoreFixture } from './images-fixture.ts';

const plan = (input: Partial<ImportInput>) =>
  planImport({ title: 'x.tar', path: '/x', manifest: undefined, index: undefined, name: undefined, ...input });
const named = (refName?: string, full?: string) => ({
  annotations: {
    ...(refName === undefined ? {} : { 'org.opencontainers.image.ref.name': refName }),
    ...(full === undefined ? {} : { 'io.containerd.image.name': full }),
  },
});
const index = (...manifests: unknown[]) => JSON.stringify({ manifests });

describe('planImport', () => {
  const rows: readonly {
    it: string;
    given: Partial<ImportInput>;
    want: readonly (readonly [string, readonly string[]])[];
  }[] = [
    {
      it: 'takes all images of a Docker archive, with all their names',
      given: { manifest: '[{"RepoTags":["a","b:2"]},{"RepoTags":null}]' },
      want: [
        ['docker-archive:/x:@0', ['docker.io/library/a:latest', 'docker.io/library/b:2']],
        ['docker-archive:/x:@1', []],
      ],
    },
    {
      it: 'names the only image as asked',
      given: { manifest: '[{"RepoTags":["a"]}]', name: 'localhost/mine' },
      want: [['docker-archive:/x:@0', ['localhost/mine:latest']]],
    },
    {
      it: 'takes an OCI archive of one image without a name',
      given: { index: index({}) },
      want: [['oci-archive:/x', []]],
    },
    {
      it: 'takes full names, and no tag for a name',
      given: { index: index(named('1.2', 'r.io/a/b:1.2'), named('r.io/c:1'), named('7')) },
      want: [
        ['oci-archive:/x:1.2', ['r.io/a/b:1.2']],
        ['oci-archive:/x:r.io/c:1', ['r.io/c:1']],
        ['oci-archive:/x:7', []],
      ],
    },
    {
      it: "prefers Docker's list",
      given: { manifest: '[{}]', index: index({}) },
      want: [['docker-archive:/x:@0', []]],
    },
  ];
  for (const { it: title, given, want } of rows) {
    it(title, () =>
      assert.deepEqual(
        plan(given).map(({ source, names }) => [source, names]),
        want,
      ),
    );
  }
  const refused: readonly { given: Partial<ImportInput>; kind: ImagePullError['kind']; says: RegExp }[] = [
    { given: {}, kind: 'corrupt', says: /holds neither manifest\.json nor index\.json/ },
    { given: { manifest: '{' }, kind: 'corrupt', says: /manifest\.json is no JSON/ },
    { given: { manifest: '[]' }, kind: 'corrupt', says: /holds no image/ },
    { given: { manifest: '[1]' }, kind: 'corrupt', says: /no list of images/ },
    { given: { index: 'null' }, kind: 'corrupt', says: /no list of images/ },
    { given: { index: index({}, {}) }, kind: 'corrupt', says: /no name to choose it by/ },
    { given: { manifest: JSON.stringify(Array(101).fill({})) }, kind: 'corrupt', says: /at most 100/ },
    { given: { manifest: '[{},{}]', name: 'a' }, kind: 'invalid-name', says: /holds 2 images, and one name was given/ },
    { given: { manifest: '[{"RepoTags":["--policy=x"]}]' }, kind: 'invalid-name', says: /not a part of an image name/ },
    { given: { manifest: '[{}]', name: 'docker-archive:/x' }, kind: 'invalid-name', says: /cannot be the name/ },
  ];
  for (const { given, kind, says } of refused) {
    it(`refuses ${JSON.stringify(given).slice(0, 60)}`, () =>
      assert.throws(() => plan(given), { kind, message: says }));
  }
});

describe('archives of images', function () {
  this.timeout(240_000);
  let dir: string;
  let built: BuiltImage[];
  let fixture: StoreFixture;
  let other: StoreFixture;
  const exported = async (format: 'docker-archive' | 'oci-archive', references: readonly string[]): Promise<Buffer> => {
    const stream = new PassThrough();
    const content = buffer(stream);
    await fixture.store.exportArchive(references, { format, target: stream }, patient());
    return content;
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    const above = await mkdtemp(join(dir, 'above-'));
    await writeFile(join(above, 'motd'), 'above\n');
    built = [
      await buildBusyboxImage({ dir, file: 'one.tar', name: 'docker.io/library/one:1', cmd: ['one'] }),
      await buildBusyboxImage({ dir, file: 'two.tar', cmd: ['two'], moreLayers: [above] }),
    ];
  });
  after(async () => {
    await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    fixture = await openStore();
    other = await openStore();
    await fixture.store.importAs(built[0]?.reference ?? '', 'localhost/one:1', patient());
    await fixture.store.importAs(built[1]?.reference ?? '', 'localhost/two:1', patient());
  });
  afterEach(async () => {
    for (const one of [fixture, other]) {
      assert.deepEqual(await readdir(join(one.root, 'holdfast-tmp')).catch(() => []), [], 'scratch files are left');
      await one.close();
    }
  });

  for (const format of ['docker-archive', 'oci-archive'] as const) {
    it(`go out and come back with their names, as ${format}, two in one`, async () => {
      await fixture.store.importAs(built[0]?.reference ?? '', 'localhost/other:2', patient());
      const content = await exported(format, ['localhost/one:1', 'localhost/two:1', 'localhost/other:2']);
      const path = join(dir, `${format}.tar`);
      await writeFile(path, content);
      const infos = await other.store.importArchive(createReadStream(path), {}, patient());
      const names = new Set((await other.store.list()).flatMap((info) => info.names));
      assert.deepEqual(names, new Set(['localhost/one:1', 'localhost/other:2', 'localhost/two:1']));
      const commands = new Set(infos.map((info) => info.config.cmd.join()));
      assert.deepEqual(commands, new Set(['one', 'two']));
      const [two] = infos.filter((info) => info.config.cmd[0] === 'two');
      const [layer = ''] = await other.store.layersOf(two?.id ?? '');
      assert.equal(await readFile(join(layer, 'motd'), 'utf8'), 'above\n');
    });
  }

  it('are files that skopeo reads, and are there whole or not at all', async () => {
    const path = join(dir, 'out.tar');
    await writeFile(path, 'what was there before');
    await assert.rejects(
      fixture.store.exportArchive(['localhost/none:1'], { format: 'docker-archive', target: path }, patient()),
      (error) => error instanceof ImageNotPresentError && /"localhost\/none:1" is not on this host/.test(error.message),
    );
    const stop = AbortSignal.abort(new Error('stopped'));
    await assert.rejects(
      fixture.store.exportArchive(['localhost/one:1'], { format: 'docker-archive', target: path }, stop),
      /stopped/,
    );
    assert.equal(await readFile(path, 'utf8'), 'what was there before');
    await fixture.store.exportArchive(['localhost/one:1'], { format: 'docker-archive', target: path }, patient());
    const { stdout } = await run('skopeo', ['list-tags', `docker-archive:${path}`]);
    assert.deepEqual(JSON.parse(stdout).Tags, ['localhost/one:1']);
    assert.deepEqual(
      (await readdir(dir)).filter((name) => name.endsWith('.new')),
      [],
    );
  });

  it('end with an error when whoever reads goes away', async () => {
    const target = new Writable({
      write(_chunk, _encoding, done) {
        done(new Error('the reader has gone'));
      },
    });
    await assert.rejects(
      fixture.store.exportArchive(['localhost/one:1'], { format: 'docker-archive', target }, patient()),
      /the reader has gone/,
    );
  });

  it('come in compressed, under a path with a colon, and under another name', async () => {
    const path = join(dir, 'with:colon.tar');
    await copyFile(built[0]?.path ?? '', path);
    await run('gzip', ['-k', '-1', path]);
    const [info] = await other.store.importArchive(`${path}.gz`, { name: 'localhost/mine' }, patient());
    assert.deepEqual([info?.id, info?.names], [built[0]?.id, ['localhost/mine:latest']]);
    const [again] = await other.store.importArchive(path, {}, patient());
    assert.deepEqual([...(again?.names ?? [])].sort(), ['docker.io/library/one:1', 'localhost/mine:latest']);
  });

  it('come in without a name, and are there by their id', async () => {
    const [info] = await other.store.importArchive(built[1]?.path ?? '', {}, patient());
    assert.deepEqual([info?.id, info?.names], [built[1]?.id, []]);
    assert.equal((await other.store.inspect(built[1]?.id ?? ''))?.id, built[1]?.id);
    await other.store.remove(built[1]?.id ?? '');
    assert.deepEqual(await other.store.list(), []);
  });

  it('that are none are refused', async () => {
    const text = join(dir, 'text');
    await writeFile(text, 'no archive');
    const cut = join(dir, 'cut.tar');
    await writeFile(cut, (await readFile(built[0]?.path ?? '')).subarray(0, 500_000));
    await assert.rejects(other.store.importArchive(text, {}, patient()), {
      kind: 'corrupt',
      message: /holds neither manifest\.json nor index\.json; give an archive as docker save/,
    });
    await assert.rejects(other.store.importArchive(cut, {}, patient()), { kind: 'corrupt' });
    const broken = Readable.from(
      (async function* () {
        yield Buffer.alloc(1024);
        throw new Error('the sender has gone');
      })(),
    );
    await assert.rejects(other.store.importArchive(join(dir, 'absent.tar'), {}, patient()), { kind: 'not-found' });
    await run('gzip', ['-k', '-1', cut]);
    await writeFile(`${cut}.gz`, (await readFile(`${cut}.gz`)).subarray(0, 100_000));
    await assert.rejects(other.store.importArchive(`${cut}.gz`, {}, patient()), { kind: 'corrupt' });
    await assert.rejects(other.store.importArchive(broken, {}, patient()), /the sender has gone/);
    assert.deepEqual(await other.store.list(), []);
  });

  it('stream to a file of the caller', async () => {
    const path = join(dir, 'stream.tar');
    await fixture.store.exportArchive(
      [built[1]?.id ?? ''],
      { format: 'oci-archive', target: createWriteStream(path) },
      patient(),
    );
    const [info] = await other.store.importArchive(path, { name: 'localhost/two' }, patient());
    assert.deepEqual(info?.config.cmd, ['two']);
  });
});
