/** The image store through its door: real skopeo, real containers-storage, a real registry. */
import assert from 'node:assert/strict';
import diagnosticsChannel from 'node:diagnostics_channel';
import { copyFile, mkdir, mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageInUseError, ImageNotPresentError, ImagePullError } from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import { openStore, patient, push, run, type StoreFixture } from './images-fixture.ts';

describe('the image store', function () {
  this.timeout(240_000);
  let dir: string;
  let registry: TestRegistry;
  let first: BuiltImage;
  let second: BuiltImage;
  let digest: string;
  let opened: StoreFixture[] = [];
  const open = async (deps: Parameters<typeof openStore>[0] = {}) => {
    const fixture = await openStore({ registriesConf: registry.registriesConf, ...deps });
    opened.push(fixture);
    return fixture;
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    registry = await startRegistry();
    first = await buildBusyboxImage({
      dir,
      file: 'first.tar',
      entrypoint: ['/bin/sh', '-c'],
      cmd: ['echo hi'],
      env: ['A=1', 'B=x=y'],
      user: 'www-data',
      workingDir: '/tmp',
      stopSignal: 'SIGQUIT',
      exposedPorts: ['80/tcp'],
      volumes: ['/data'],
    });
    const above = join(dir, 'above');
    await mkdir(join(above, 'etc'), { recursive: true });
    await writeFile(join(above, 'etc', 'motd'), 'above\n');
    second = await buildBusyboxImage({
      dir,
      file: 'second.tar',
      files: { '/etc/motd': 'below\n' },
      moreLayers: [above],
    });
    digest = await push(registry, first.reference, 'library/web:1');
    await push(registry, second.reference, 'library/web:2');
  });
  after(async () => {
    await registry.close();
    await rm(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    const closed = opened;
    opened = [];
    for (const fixture of closed) await fixture.close();
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    // Other files' stores are mounted beside these.
    for (const fixture of closed) assert.ok(!mounts.includes(fixture.dir), 'a mount is left');
  });

  it('fetches a short name and tells what the image says about itself', async () => {
    const { store } = await open();
    const info = await store.ensure('web:1', 'if-not-present', patient());
    assert.equal(info.id, first.id);
    assert.deepEqual(info.names, ['docker.io/library/web:1']);
    assert.ok(info.sizeBytes > 1_000_000 && info.sizeBytes < 10_000_000, String(info.sizeBytes));
    assert.deepEqual(info.config, {
      entrypoint: ['/bin/sh', '-c'],
      cmd: ['echo hi'],
      env: ['A=1', 'B=x=y'],
      user: 'www-data',
      workingDir: '/tmp',
      stopSignal: 'SIGQUIT',
      exposedPorts: ['80/tcp'],
      volumes: ['/data'],
    });
  });

  it('returns a present image without any process', async () => {
    const { store, pullCount } = await open();
    await store.ensure('web:1', 'if-not-present', patient());
    const processes: unknown[] = [];
    const count = (message: unknown): unknown => processes.push(message);
    diagnosticsChannel.subscribe('child_process', count);
    await store.ensure('web:1', 'if-not-present', patient());
    assert.equal(processes.length, 0);
    await store.ensure('web:1', 'always', patient());
    diagnosticsChannel.unsubscribe('child_process', count);
    assert.ok(processes.length > 0, 'they are seen at all');
    assert.equal(await pullCount('success'), 2);
  });

  it('asks the registry again with policy always, and only then', async () => {
    const { store } = await open();
    await push(registry, first.reference, 'library/moving:1');
    await store.ensure('moving:1', 'if-not-present', patient());
    await push(registry, second.reference, 'library/moving:1');
    assert.equal((await store.ensure('moving:1', 'if-not-present', patient())).id, first.id);
    assert.equal((await store.ensure('moving:1', 'always', patient())).id, second.id);
    assert.equal((await store.ensure('moving:1', 'never', patient())).id, second.id);
    const old = await store.inspect(first.id);
    assert.deepEqual(old?.names, [], 'the image that lost its name is still there for those who use it');
  });

  it('fetches nothing with policy never', async () => {
    const { store, pullCount } = await open();
    await assert.rejects(store.ensure('web:1', 'never', patient()), (error) => {
      return error instanceof ImageNotPresentError && /"web:1" is not on this host/.test(error.message);
    });
    assert.equal((await pullCount('success')) + (await pullCount('error')), 0);
  });

  it('fetches by digest, and knows the image by it afterwards', async () => {
    const { store, pullCount } = await open();
    const info = await store.ensure(`web@${digest}`, 'if-not-present', patient());
    assert.equal(info.id, first.id);
    assert.equal((await store.ensure(`web:7@${digest}`, 'never', patient())).id, first.id);
    assert.equal(await pullCount('success'), 1);
  });

  it('finds an image that came by tag when it is asked for by digest', async () => {
    const { store } = await open();
    await store.ensure('web:1', 'if-not-present', patient());
    assert.equal((await store.ensure(`web@${digest}`, 'never', patient())).id, first.id);
  });

  it('gives names back after a restart', async () => {
    const fixture = await open();
    await fixture.store.ensure('web:1', 'if-not-present', patient());
    await fixture.store.ensure(second.reference, 'if-not-present', patient());
    await fixture.store.close();
    const again = await fixture.reopen();
    assert.equal((await again.ensure('web:1', 'never', patient())).id, first.id);
    assert.equal((await again.ensure(second.reference, 'never', patient())).id, second.id);
  });

  for (const format of ['docker-archive', 'oci-archive', 'oci'] as const) {
    it(`imports ${format}: once, and again when it changed`, async () => {
      const { store, pullCount } = await open();
      const own = await mkdtemp(join(dir, 'archive-'));
      const built = await buildBusyboxImage({ dir: own, format, file: 'image', cmd: ['one'] });
      const info = await store.ensure(built.reference, 'if-not-present', patient());
      assert.equal(info.id, built.id);
      assert.deepEqual(info.names, [built.reference]);
      await store.ensure(built.reference, 'if-not-present', patient());
      assert.equal(await pullCount('success'), 1);
      const changed = await buildBusyboxImage({ dir: own, format, file: 'image', cmd: ['two'] });
      assert.notEqual(changed.id, built.id);
      assert.equal((await store.ensure(built.reference, 'never', patient())).id, built.id);
      assert.equal((await store.ensure(built.reference, 'if-not-present', patient())).id, changed.id);
      assert.equal(await pullCount('success'), 2);
      await rm(built.path, { recursive: true });
      assert.equal(
        (await store.ensure(built.reference, 'if-not-present', patient())).id,
        changed.id,
        'the file is gone',
      );
      await assert.rejects(store.ensure(built.reference, 'always', patient()), { kind: 'not-found' });
    });
  }

  it('takes one of the images of an archive by its name', async () => {
    const { store } = await open();
    const named = await buildBusyboxImage({
      dir,
      file: 'named.tar',
      name: 'docker.io/library/inner:3',
      cmd: ['named'],
    });
    assert.equal((await store.ensure(`${named.reference}:inner:3`, 'if-not-present', patient())).id, named.id);
    await assert.rejects(store.ensure(`${named.reference}:other:3`, 'if-not-present', patient()), {
      kind: 'not-found',
    });
    assert.equal(await store.inspect('inner:3'), undefined, 'a name inside an archive claims no name of this host');
  });

  it('imports an archive under a name of its own', async () => {
    const { store } = await open();
    const info = await store.importAs(first.reference, 'localhost/mine', patient());
    assert.deepEqual(info.names, ['localhost/mine:latest']);
    assert.equal((await store.ensure('localhost/mine', 'never', patient())).id, first.id);
    await assert.rejects(store.importAs('web:1', 'localhost/mine', patient()), ImagePullError);
  });

  it('shares one pull between all who want the image now', async () => {
    const { store, pullCount } = await open();
    const all = await Promise.all(
      ['web:1', 'docker.io/web:1', 'docker.io/library/web:1', 'docker://web:1', 'web:1'].map((name) =>
        store.ensure(name, 'if-not-present', patient()),
      ),
    );
    assert.deepEqual(new Set(all.map((info) => info.id)), new Set([first.id]));
    assert.equal(await pullCount('success'), 1);
  });

  it('lists the layers, the topmost first', async () => {
    const { store, root } = await open();
    const { id } = await store.ensure(second.reference, 'if-not-present', patient());
    const layers = await store.layersOf(id);
    assert.equal(layers.length, 2);
    for (const layer of layers) assert.ok(layer.startsWith(`${root}/overlay/`), layer);
    assert.equal(await readFile(join(layers[0] ?? '', 'etc/motd'), 'utf8'), 'above\n');
    assert.equal(await readFile(join(layers[1] ?? '', 'etc/motd'), 'utf8'), 'below\n');
    await assert.rejects(store.layersOf(`sha256:${'0'.repeat(64)}`), ImageNotPresentError);
    await assert.rejects(store.layersOf('web:1'), ImageNotPresentError);
  });

  it('stacks the layers with the kernel overlay as they are', async () => {
    const { store, dir: work } = await open();
    const { id } = await store.ensure(second.reference, 'if-not-present', patient());
    const layers = await store.layersOf(id);
    const target = join(work, 'mnt');
    await mkdir(target);
    await run('unshare', [
      '--mount',
      'sh',
      '-ec',
      'mount -t overlay none -o "ro,lowerdir=$1" "$2"; test "$(cat "$2/etc/motd")" = above; "$2/bin/busybox" true',
      'sh',
      layers.join(':'),
      target,
    ]);
  });

  it('lists, inspects by name and by id, and knows what is not there', async () => {
    const { store } = await open();
    assert.deepEqual(await store.list(), []);
    await store.ensure('web:1', 'if-not-present', patient());
    await store.ensure('web:2', 'if-not-present', patient());
    assert.deepEqual((await store.list()).map((info) => info.id).sort(), [first.id, second.id].sort());
    assert.equal((await store.inspect('web:1'))?.id, first.id);
    assert.equal((await store.inspect(second.id))?.id, second.id);
    for (const name of ['web:3', `sha256:${'0'.repeat(64)}`, 'NOT A NAME', 'docker-archive:/nope']) {
      assert.equal(await store.inspect(name), undefined);
    }
  });

  it('removes an image, but neither one in use nor more than the name that was meant', async () => {
    let users: readonly string[] = ['web'];
    const { store } = await open({ containersUsing: async () => users });
    await store.ensure('web:1', 'if-not-present', patient());
    await store.importAs(first.reference, 'localhost/mine', patient());
    await store.remove('localhost/mine');
    assert.deepEqual((await store.inspect(first.id))?.names, ['docker.io/library/web:1']);
    await assert.rejects(store.remove('web:1'), (error) => {
      return (
        error instanceof ImageInUseError && /"web:1" is used by web; remove the container first/.test(error.message)
      );
    });
    await assert.rejects(store.remove(first.id), ImageInUseError);
    users = [];
    await store.remove('web:1');
    assert.deepEqual(await store.list(), []);
    await store.remove('web:1');
    await store.remove('NOT A NAME');
    await assert.rejects(store.layersOf(first.id), ImageNotPresentError);
    assert.equal((await store.ensure('web:1', 'if-not-present', patient())).id, first.id, 'it can be fetched again');
    const [layer = ''] = await store.layersOf(first.id);
    assert.equal(await readlink(join(layer, 'bin', 'sh')), 'busybox', 'its layer is where it lies now');
  });

  it('forgets an archive whose image was removed', async () => {
    const { store, pullCount } = await open();
    await store.ensure(first.reference, 'if-not-present', patient());
    await store.remove(first.reference);
    await assert.rejects(store.ensure(first.reference, 'never', patient()), ImageNotPresentError);
    await store.ensure(first.reference, 'if-not-present', patient());
    assert.equal(await pullCount('success'), 2);
  });

  it('sees at once what another process put into the store', async () => {
    const fixture = await open();
    await fixture.store.list();
    const other = await fixture.reopen();
    const copy = join(fixture.dir, 'copy.tar');
    await copyFile(first.path, copy);
    await other.importAs(`docker-archive:${copy}`, 'localhost/shared', patient());
    assert.equal((await fixture.store.ensure('localhost/shared', 'never', patient())).id, first.id);
  });

  it('names the registry of a reference', async () => {
    const { store } = await open();
    assert.equal(store.registryOf('nginx'), 'docker.io');
    assert.equal(store.registryOf('localhost:5000/a'), 'localhost:5000');
    assert.equal(store.registryOf('docker-archive:/a'), undefined);
    assert.equal(store.registryOf('NOT A NAME'), undefined);
  });
});
