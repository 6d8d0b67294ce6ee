/** Platforms and progress: the pure parts by tables, the rest against a real registry. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseManifest } from '../../runtime/images/download.ts';
import { hostPlatform, isFor, type Platform, parsePlatform, runsOn } from '../../runtime/images/platform.ts';
import { ImageNotPresentError, type ImagePullError, type PullProgress } from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import { until } from '../until.ts';
import { openStore, patient, push, type RegistryProxy, type StoreFixture, startProxy } from './images-fixture.ts';

const amd64: Platform = { os: 'linux', architecture: 'amd64' };
const arm64: Platform = { os: 'linux', architecture: 'arm64' };

describe('platforms', () => {
  it('are read as os/architecture[/variant]', () => {
    assert.deepEqual(parsePlatform('x', 'linux/arm/v7'), { os: 'linux', architecture: 'arm', variant: 'v7' });
    for (const text of ['', 'linux', 'linux/', '/amd64', 'Linux/amd64', 'linux/amd64/v8/x', '--override', 'linux/a b'])
      assert.throws(() => parsePlatform('x', text), { kind: 'invalid-name', message: /is not a platform/ });
  });
  const rows: readonly { image: Partial<Platform>; wanted: Platform; fits: boolean; runs: boolean }[] = [
    { image: amd64, wanted: amd64, fits: true, runs: true },
    { image: arm64, wanted: amd64, fits: false, runs: false },
    { image: { os: 'linux', architecture: '386' }, wanted: amd64, fits: false, runs: true },
    { image: { ...arm64, variant: 'v8' }, wanted: arm64, fits: true, runs: true },
    { image: { ...arm64, architecture: 'arm', variant: 'v7' }, wanted: arm64, fits: false, runs: true },
    { image: { os: 'windows', architecture: 'amd64' }, wanted: amd64, fits: false, runs: false },
    { image: {}, wanted: amd64, fits: true, runs: true },
    { image: { ...arm64, variant: 'v8' }, wanted: { ...arm64, variant: 'v9' }, fits: false, runs: true },
  ];
  for (const { image, wanted, fits, runs } of rows) {
    it(`${JSON.stringify(image)} for ${JSON.stringify(wanted)}`, () => {
      assert.equal(isFor(image, wanted), fits);
      assert.equal(runsOn(image, wanted), runs);
    });
  }
});

describe('parseManifest', () => {
  it('finds the sizes of an image and the right image of an index', () => {
    const image = {
      config: { digest: 'c', size: 1 },
      layers: [
        { digest: 'a', size: 10 },
        { digest: 'b', size: 'x' },
      ],
    };
    assert.deepEqual(parseManifest(JSON.stringify(image), amd64), {
      kind: 'image',
      config: { digest: 'c', sizeBytes: 1 },
      layers: [
        { digest: 'a', sizeBytes: 10 },
        { digest: 'b', sizeBytes: 0 },
      ],
    });
    const index = { manifests: [{ digest: 'n' }, { digest: 'm', platform: arm64 }, { digest: 'y', platform: amd64 }] };
    assert.deepEqual(parseManifest(JSON.stringify(index), amd64), { kind: 'index', digest: 'y' });
    assert.deepEqual(parseManifest('{"manifests":[]}', amd64), { kind: 'index', digest: undefined });
  });
  it('knows nothing of what it cannot read', () => {
    for (const text of ['', 'null', '[]', '{"fsLayers":[]}', '{"layers":{}}', '"x"'])
      assert.deepEqual(parseManifest(text, amd64), { kind: 'unknown' });
  });
});

describe('images for several platforms, and how far a pull is', function () {
  this.timeout(240_000);
  const host = hostPlatform(process.arch);
  const foreign = host.architecture === 'arm64' ? 'amd64' : 'arm64';
  let dir: string;
  let registry: TestRegistry;
  let proxy: RegistryProxy;
  let own: BuiltImage;
  let other: BuiltImage;
  let opened: StoreFixture[] = [];
  const open = async (deps: Parameters<typeof openStore>[0] = {}) => {
    const fixture = await openStore({ registriesConf: registry.registriesConf, ...deps });
    opened.push(fixture);
    return fixture;
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    registry = await startRegistry();
    proxy = await startProxy(registry);
    own = await buildBusyboxImage({ dir, file: 'own.tar', cmd: ['own'] });
    other = await buildBusyboxImage({ dir, file: 'other.tar', cmd: ['other'], architecture: foreign });
    const entries = [];
    for (const [tag, image, architecture] of [
      ['own', own, host.architecture],
      ['other', other, foreign],
    ] as const) {
      const digest = await push(registry, image.reference, `library/multi:${tag}`);
      const url = `http://${registry.address}/v2/library/multi/manifests/${digest}`;
      const accept = 'application/vnd.docker.distribution.manifest.v2+json';
      const answer = await fetch(url, { headers: { accept } });
      const size = (await answer.arrayBuffer()).byteLength;
      entries.push({ mediaType: accept, digest, size, platform: { os: 'linux', architecture } });
    }
    const type = 'application/vnd.docker.distribution.manifest.list.v2+json';
    const put = await fetch(`http://${registry.address}/v2/library/multi/manifests/1`, {
      method: 'PUT',
      headers: { 'content-type': type },
      body: JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: entries }),
    });
    assert.equal(put.status, 201);
  });
  after(async () => {
    await proxy.close();
    await registry.close();
    await rm(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    proxy.setMode('pass');
    for (const fixture of opened) await fixture.close();
    opened = [];
  });

  it("takes this machine's image of an index, and another one's when asked, side by side", async () => {
    const fixture = await open();
    const { store } = fixture;
    const platform = `linux/${foreign}`;
    assert.equal((await store.ensure('multi:1', 'if-not-present', patient())).id, own.id);
    const info = await store.ensure('multi:1', 'if-not-present', patient(), { platform });
    assert.equal(info.id, other.id);
    assert.deepEqual(info.names, [`docker.io/library/multi:1 (${platform})`]);
    assert.equal((await store.ensure('multi:1', 'never', patient())).id, own.id);
    assert.equal((await store.ensure('multi:1', 'never', patient(), { platform })).id, other.id);
    assert.equal((await store.inspect('multi:1', platform))?.id, other.id);
    assert.equal(await fixture.pullCount('success'), 2);
    const again = await fixture.reopen();
    assert.equal((await again.ensure('multi:1', 'never', patient(), { platform })).id, other.id);
    const same = await store.ensure('multi:1', 'never', patient(), { platform: `linux/${host.architecture}` });
    assert.equal(same.id, own.id);
  });

  it('refuses an image that is built for another machine, and names both', async () => {
    const { store } = await open();
    const says = (pattern: RegExp) => (error: ImagePullError) => {
      assert.equal(error.kind, 'not-found');
      assert.match(error.message, pattern);
      return true;
    };
    const alien = `built for linux/${foreign}, and this machine is linux/${host.architecture}; choose a tag`;
    await assert.rejects(store.ensure('multi:other', 'if-not-present', patient()), says(new RegExp(alien)));
    assert.equal(await store.inspect('multi:other'), undefined);
    await assert.rejects(store.ensure('multi:other', 'never', patient()), (error) => {
      return error instanceof ImageNotPresentError && error.message.includes(`built for linux/${foreign}`);
    });
    await assert.rejects(
      store.ensure('multi:1', 'always', patient(), { platform: 'linux/s390x' }),
      says(/no image found in manifest list for architecture s390x/),
    );
    await assert.rejects(
      store.ensure('multi:own', 'always', patient(), { platform: 'linux/s390x' }),
      says(/and not for linux\/s390x/),
    );
    const wanted = await store.ensure('multi:other', 'if-not-present', patient(), { platform: `linux/${foreign}` });
    assert.equal(wanted.id, other.id);
  });

  it('tells every caller how many bytes came and how many there are, without layers that are here', async () => {
    const layer = randomBytes(3_000_000);
    const above = await buildBusyboxImage({ dir, file: 'above.tar', files: { '/data': layer } });
    await push(registry, above.reference, 'library/big:1');
    const fixture = await open({
      registriesConf: await insecureConf(dir, proxy.address),
    });
    proxy.setMode('stall');
    const seen: PullProgress[][] = [[], []];
    const stop = new AbortController();
    const pulls = seen.map((list) =>
      fixture.store.ensure(`${proxy.address}/library/big:1`, 'always', stop.signal, {
        onProgress: (progress) => list.push(progress),
      }),
    );
    const ended = Promise.all(pulls.map((pull) => assert.rejects(pull, /seen/)));
    // The registry stalls at the half of the layer.
    const isHalf = (list: readonly PullProgress[]): boolean => {
      const { doneBytes = 0, totalBytes = Infinity } = list.at(-1) ?? {};
      return doneBytes > totalBytes * 0.4;
    };
    await until(() => seen.every(isHalf), 'half of it to be here');
    for (const list of seen) {
      const { doneBytes, totalBytes = 0 } = list.at(-1) ?? { doneBytes: 0 };
      assert.ok(doneBytes > 1_500_000 && doneBytes < totalBytes, `${doneBytes} of ${totalBytes}`);
      assert.ok(Math.abs(doneBytes - totalBytes / 2) < totalBytes / 10, `${doneBytes} of ${totalBytes}`);
    }
    stop.abort(new Error('seen'));
    await ended;
  });
});

async function insecureConf(dir: string, address: string): Promise<string> {
  const path = join(dir, 'insecure.conf');
  await writeFile(path, `[[registry]]\nlocation = "${address}"\ninsecure = true\n`);
  return path;
}
