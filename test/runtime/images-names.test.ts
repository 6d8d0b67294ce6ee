/** What is done with an image beside pulling it: described, named, pushed, made of a root file system. Real tools and registry. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { registryDigests } from '../../runtime/images/image-description.ts';
import { type ObservedDownload, observeLayers } from '../../runtime/images/layer-progress.ts';
import { parseRegistryError } from '../../runtime/images/pull-errors.ts';
import { parseRemote } from '../../runtime/images/registry-client.ts';
import {
  ImageInUseError,
  ImageNotPresentError,
  ImagePullError,
  type LayerProgress,
  RegistryError,
} from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import { openStore, patient, processesWith, push, run, type StoreFixture, startProxy } from './images-fixture.ts';

describe('observeLayers', () => {
  const layers = [
    { digest: 'a', sizeBytes: 100 },
    { digest: 'b', sizeBytes: 50 },
    { digest: 'c', sizeBytes: 200 },
  ];
  const observe = (given: Partial<Omit<ObservedDownload, 'layers'>>) =>
    observeLayers({ layers, files: [], known: new Set(), stored: new Set(), ...given }).map(
      ({ digest, doneBytes, state }) => `${digest} ${doneBytes} ${state}`,
    );
  const rows: { it: string; given: Partial<Omit<ObservedDownload, 'layers'>>; want: string[] }[] = [
    { it: 'lets all wait before there is a file', given: {}, want: ['a 0 waiting', 'b 0 waiting', 'c 0 waiting'] },
    {
      it: 'takes the files for the layers in their order',
      given: { files: [10, 20] },
      want: ['a 10 downloading', 'b 20 downloading', 'c 0 waiting'],
    },
    {
      it: 'knows a file that is whole by its size',
      given: { files: [10, 200] },
      want: ['a 10 downloading', 'b 0 waiting', 'c 200 downloaded'],
    },
    {
      it: 'does not take a file for a layer that it is too large for',
      given: { files: [150, 60] },
      want: ['a 60 downloading', 'b 0 waiting', 'c 150 downloading'],
    },
    {
      it: 'tells layers that were here and that are unpacked',
      given: { files: [50, 7], known: new Set(['a']), stored: new Set(['a', 'b']) },
      want: ['a 100 present', 'b 50 stored', 'c 7 downloading'],
    },
    {
      it: 'takes no layer for more files than it is',
      given: { files: [1, 2, 3, 4] },
      want: ['a 1 downloading', 'b 2 downloading', 'c 3 downloading'],
    },
  ];
  for (const row of rows) it(row.it, () => assert.deepEqual(observe(row.given), row.want));
});

describe('registryDigests', () => {
  const manifest = (digest: string) => JSON.stringify({ layers: [{ digest }] });
  const rows: { it: string; given: [string, string][]; want: string[] }[] = [
    { it: 'takes one whose layers are compressed', given: [['m', manifest('compressed')]], want: ['m'] },
    { it: 'leaves out one that an archive was given here', given: [['m', manifest('diff')]], want: [] },
    {
      it: 'takes the index for the manifests that it lists',
      given: [
        ['m', manifest('compressed')],
        ['i', '{"manifests":[{"digest":"m"},{"digest":"o"}]}'],
      ],
      want: ['i'],
    },
    {
      it: 'knows nothing of what it cannot read',
      given: [
        ['m', ''],
        ['n', '[]'],
        ['o', '{"layers":1}'],
      ],
      want: [],
    },
  ];
  for (const row of rows) it(row.it, () => assert.deepEqual(registryDigests(new Map(row.given), ['diff']), row.want));
});

describe('what a registry says to other things than pulls', () => {
  const fatal = (message: string) => `time="2026-11-23T23:10:43Z" level=fatal msg=${JSON.stringify(message)}\n`;
  const reuse = `trying to reuse blob sha256:${'a'.repeat(64)} at destination: `;
  const rows: { it: string; stderr: string; isLoggedIn?: boolean; kind: RegistryError['kind']; says: RegExp }[] = [
    {
      it: 'a dead registry',
      stderr: fatal(
        `${reuse}pinging container registry 127.0.0.1:1: Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`,
      ),
      kind: 'unreachable',
      says: /^cannot push x: pinging container registry/,
    },
    {
      it: 'a push without credentials',
      stderr: fatal(
        'writing blob: initiating layer upload to /v2/x/blobs/uploads/ in 127.0.0.1:5000: unauthorized: authentication required',
      ),
      kind: 'unauthorized',
      says: /; give credentials that may do it$/,
    },
    {
      it: 'a push with credentials that are not taken',
      stderr: fatal('writing blob: initiating layer upload: unauthorized: authentication required'),
      isLoggedIn: true,
      kind: 'unauthorized',
      says: /did not take them/,
    },
    {
      it: 'a wrong password',
      stderr: fatal('logging into "127.0.0.1:5000": invalid username/password'),
      isLoggedIn: true,
      kind: 'unauthorized',
      says: /^cannot push x: invalid username\/password; check the user name and password$/,
    },
  ];
  for (const { it: title, stderr, isLoggedIn = false, kind, says } of rows)
    it(`is told apart: ${title}`, () => {
      const error = parseRegistryError('push x', stderr, { isLoggedIn });
      assert.equal(error.kind, kind, error.message);
      assert.match(error.message, says);
    });
  it('is the media type, also where a manifest does not name it', () => {
    assert.equal(parseRemote('{"mediaType":"a"}').mediaType, 'a');
    assert.equal(parseRemote('{"manifests":[]}').mediaType, 'application/vnd.oci.image.index.v1+json');
    assert.equal(parseRemote('no JSON').mediaType, 'application/vnd.oci.image.manifest.v1+json');
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
    assert.deepEqual(parseRemote(JSON.stringify({ manifests: [{ platform }, {}] })).platforms, [platform]);
  });
});

describe('images beside pulls', function () {
  this.timeout(240_000);
  const credential = { username: 'user', password: 'secret' };
  let dir: string;
  let registry: TestRegistry;
  let locked: TestRegistry;
  let first: BuiltImage;
  let second: BuiltImage;
  let digest: string;
  let fixture: StoreFixture;
  let users: readonly string[] = [];
  const rejection = async (work: Promise<unknown>): Promise<Error> => {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof Error, 'it was not refused');
    return error;
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    registry = await startRegistry();
    locked = await startRegistry({
      htpasswdLine: 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a',
    });
    const above = join(dir, 'above');
    await mkdir(above);
    await writeFile(join(above, 'motd'), 'above\n');
    first = await buildBusyboxImage({ dir, file: 'first.tar', cmd: ['one'], labels: { a: 'b' } });
    second = await buildBusyboxImage({ dir, file: 'second.tar', cmd: ['two'], moreLayers: [above] });
    digest = await push(registry, second.reference, 'library/two:1');
  });
  after(async () => {
    await registry.close();
    await locked.close();
    await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    users = [];
    const conf = join(dir, 'registries.conf');
    const entry = `[[registry]]\nlocation = "${locked.address}"\ninsecure = true\n`;
    await writeFile(conf, `${await readFile(registry.registriesConf, 'utf8')}${entry}`);
    fixture = await openStore({ registriesConf: conf, containersUsing: async () => users });
  });
  afterEach(async () => {
    assert.deepEqual(await readdir(join(fixture.root, 'holdfast-tmp')).catch(() => []), [], 'a scratch folder is left');
    assert.deepEqual(await readdir(join(fixture.dir, 'run', 'holdfast-auth')), [], 'a password is left');
    await fixture.close();
  });

  it('say all that is known of one', async () => {
    const { store } = fixture;
    await store.ensure('two:1', 'always', patient());
    const found = await store.describe('two:1');
    assert.equal(found?.id, second.id);
    assert.deepEqual(found.manifestDigests, [digest]);
    assert.equal(found.createdAtMs, 0);
    assert.deepEqual(found.platform, {
      os: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      variant: '',
    });
    assert.equal(found.layers.length, 2);
    for (const { diffID } of found.layers) assert.match(diffID, /^sha256:[0-9a-f]{64}$/);
    assert.equal(
      found.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      found.sizeBytes,
    );
    assert.ok((found.layers[0]?.sizeBytes ?? 0) > (found.layers[1]?.sizeBytes ?? 0), 'the lowest first');
    assert.ok(Array.isArray(found.configuration.history));
    await store.importAs(first.reference, 'localhost/one:1', patient());
    const archive = await store.describe(first.id);
    assert.deepEqual([archive?.labels, archive?.manifestDigests], [{ a: 'b' }, []]);
    for (const name of ['nothing:1', 'NOT A NAME', `sha256:${'0'.repeat(64)}`])
      assert.equal(await store.describe(name), undefined);
  });

  it('get further names, lose them one by one, and stay without any', async () => {
    const { store } = fixture;
    await store.importAs(first.reference, 'localhost/one:1', patient());
    await store.importAs(second.reference, 'localhost/two:1', patient());
    await Promise.all([store.tag('localhost/one:1', 'a:1'), store.tag(first.id, 'b'), store.tag(first.id, 'c:3')]);
    const names = ['docker.io/library/a:1', 'docker.io/library/b:latest', 'docker.io/library/c:3', 'localhost/one:1'];
    assert.deepEqual([...((await store.inspect(first.id))?.names ?? [])].sort(), names);
    await store.tag('localhost/two:1', 'a:1');
    assert.equal((await store.inspect('a:1'))?.id, second.id, 'a name that another has moves');
    await Promise.all([store.untag('b'), store.untag('c:3'), store.untag('localhost/one:1')]);
    assert.deepEqual((await store.inspect(first.id))?.names, []);
    await store.untag('b');
    assert.ok((await rejection(store.tag('nothing', 'x'))) instanceof ImageNotPresentError);
    for (const name of [`a@${digest}`, 'A', 'docker-archive:/x'])
      assert.ok((await rejection(store.tag('localhost/two:1', name))) instanceof ImagePullError, name);
    assert.equal(
      (await store.ensure(first.id, 'always', patient())).id,
      first.id,
      'one without a name is known by its id',
    );
    const other = `sha256:${'0'.repeat(64)}`;
    assert.ok((await rejection(store.ensure(other, 'always', patient()))) instanceof ImageNotPresentError);
    users = ['web'];
    assert.ok((await rejection(store.remove(first.id))) instanceof ImageInUseError);
    users = [];
    await store.remove(first.id);
    assert.equal(await store.inspect(first.id), undefined);
  });

  it('are pushed, with credentials where they are needed, and pulled again as the same', async () => {
    const { store } = fixture;
    await store.importAs(second.reference, `${locked.address}/team/two:1`, patient());
    const credentials = [{ ...credential, registry: locked.address }];
    const layers: string[] = [];
    const name = `${locked.address}/team/two:1`;
    const pushed = await store.push(name, { credentials, onLayer: (diffID) => layers.push(diffID) }, patient());
    const { layers: known = [] } = (await store.describe(name)) ?? {};
    assert.deepEqual(layers.sort(), known.map(({ diffID }) => diffID).sort());
    assert.match(pushed.digest, /^sha256:/);
    const remote = await store.describeRemote(name, { credentials }, patient());
    assert.equal(remote.digest, pushed.digest);
    assert.equal(remote.sizeBytes, pushed.sizeBytes);
    assert.equal(remote.mediaType, 'application/vnd.docker.distribution.manifest.v2+json');
    assert.deepEqual(
      remote.platforms.map(({ os }) => os),
      ['linux'],
    );
    await store.remove(second.id);
    assert.equal((await store.ensure(name, 'always', patient(), { credentials })).id, second.id);
    for (const [what, wrong] of [
      ['none', []],
      ['wrong', [{ ...credential, registry: locked.address, password: 'xyzzy-not-it' }]],
    ] as const) {
      const error = await rejection(store.push(name, { credentials: wrong }, patient()));
      assert.ok(error instanceof RegistryError && error.kind === 'unauthorized', `${what}: ${error.message}`);
      assert.ok(!error.message.includes('xyzzy'));
      const asked = await rejection(store.describeRemote(name, { credentials: wrong }, patient()));
      assert.ok(asked instanceof RegistryError && asked.kind === 'unauthorized', `${what}: ${asked.message}`);
    }
  });

  it('that cannot be pushed or asked for say why', async () => {
    const { store } = fixture;
    await store.importAs(first.reference, '127.0.0.1:1/one:1', patient());
    const dead = await rejection(store.push('127.0.0.1:1/one:1', {}, patient()));
    assert.ok(dead instanceof RegistryError && dead.kind === 'unreachable', dead.message);
    assert.ok((await rejection(store.push('nothing:1', {}, patient()))) instanceof ImageNotPresentError);
    assert.ok((await rejection(store.push(`one@${digest}`, {}, patient()))) instanceof ImagePullError);
    const missing = await rejection(store.describeRemote(`${registry.address}/library/two:9`, {}, patient()));
    assert.ok(missing instanceof RegistryError && missing.kind === 'not-found', missing.message);
    assert.equal((await store.describeRemote('two:1', {}, patient())).digest, digest, 'a mirror is asked');
  });

  it('have registries that know a password, or not', async () => {
    const { store } = fixture;
    const check = (change: object) =>
      store.checkCredential({ ...credential, registry: locked.address, ...change }, patient());
    await check({});
    await check({ registry: `http://${locked.address}/v2/` });
    const kindOf = async (change: object) => {
      const error = await rejection(check(change));
      assert.ok(error instanceof RegistryError, String(error));
      return error.kind;
    };
    assert.equal(await kindOf({ password: 'wrong' }), 'unauthorized');
    assert.equal(await kindOf({ password: '' }), 'unauthorized');
    assert.equal(await kindOf({ username: '--get-login' }), 'unauthorized');
    assert.equal(await kindOf({ username: 'a\0b' }), 'unauthorized');
    assert.equal(await kindOf({ registry: '127.0.0.1:1' }), 'unreachable');
    assert.equal(await kindOf({ registry: '--help' }), 'invalid-name');
  });

  for (const [format, option] of [
    ['tar', []],
    ['gzip', ['-z']],
    ['xz', ['-J']],
    ['bzip2', ['-j']],
    ['zstd', ['--zstd']],
  ] as const)
    it(`are made of a root file system in ${format}`, async () => {
      const { store } = fixture;
      const path = join(fixture.dir, `root.${format}`);
      await run('tar', ['-C', join(dir, 'above'), '-cf', path, ...option, '.']);
      const request = { name: 'made:1', config: { Cmd: ['x'], Labels: { l: '1' } }, comment: 'Imported from -' };
      const info = await store.importRootFs(createReadStream(path), request, patient());
      assert.deepEqual(info.names, ['docker.io/library/made:1']);
      assert.deepEqual(info.config.cmd, ['x']);
      const found = await store.describe('made:1');
      assert.deepEqual([found?.labels, found?.configuration.comment], [{ l: '1' }, 'Imported from -']);
      assert.ok(Math.abs((found?.createdAtMs ?? 0) - Date.now()) < 600_000);
      const [layer = ''] = await store.layersOf(info.id);
      assert.equal(await readFile(join(layer, 'motd'), 'utf8'), 'above\n');
      const [imported] = [await store.importRootFs(path, { ...request, name: undefined }, patient())];
      assert.deepEqual(
        imported.names.filter((name) => name !== 'docker.io/library/made:1'),
        [],
        'a file too; no name',
      );
    });

  it('are not made of what is no root file system', async () => {
    const { store } = fixture;
    const request = { name: 'made:1', config: {}, comment: '' };
    for (const garbage of [
      Buffer.from('no archive'.repeat(100)),
      Buffer.from('1f8b0011', 'hex'),
      Buffer.from('fd377a585a0000', 'hex'),
      Buffer.from('BZh9'),
    ]) {
      const error = await rejection(store.importRootFs(Readable.from([garbage]), request, patient()));
      assert.ok(error instanceof ImagePullError && error.kind === 'corrupt', error.message);
    }
    assert.ok((await rejection(store.importRootFs('/nope', request, patient()))) instanceof ImagePullError);
    const named = { ...request, name: 'A B' };
    assert.ok((await rejection(store.importRootFs(Readable.from([]), named, patient()))) instanceof ImagePullError);
    assert.equal(await store.inspect('made:1'), undefined);
  });

  it('tell how far each layer is, to the last', async () => {
    const { store } = fixture;
    const seen: (readonly LayerProgress[])[] = [];
    const onProgress = ({ layers }: { layers?: readonly LayerProgress[] | undefined }) => {
      if (layers !== undefined) seen.push(layers);
    };
    await store.ensure('two:1', 'always', patient(), { onProgress, reportsLayers: true });
    const last = seen.at(-1) ?? [];
    assert.deepEqual(
      last.map(({ state }) => state),
      ['stored', 'stored'],
    );
    assert.ok(
      last.every(
        ({ digest: one, sizeBytes, doneBytes }) =>
          one.startsWith('sha256:') && sizeBytes > 0 && sizeBytes === doneBytes,
      ),
    );
    seen.length = 0;
    await store.ensure('two:1', 'always', patient(), { onProgress, reportsLayers: true });
    assert.deepEqual(
      seen.at(-1)?.map(({ state }) => state),
      ['present', 'present'],
    );
  });

  it('leave no process when whoever pushes goes away', async () => {
    const proxy = await startProxy(registry);
    try {
      const { store } = fixture;
      await store.importAs(first.reference, `${proxy.address}/library/one:1`, patient());
      const abort = new AbortController();
      const gone = new Error('gone');
      const pushing = store.push(`${proxy.address}/library/one:1`, {}, abort.signal);
      abort.abort(gone);
      assert.equal(await rejection(pushing), gone);
      assert.deepEqual(await processesWith(`${fixture.root}+`), []);
    } finally {
      await proxy.close();
    }
  });
});
