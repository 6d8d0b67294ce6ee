/** What goes wrong with images, provoked for real: every kind of error, stalls, kills, full disks, damage. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImagePullError, RuntimeClosedError } from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import { until } from '../until.ts';
import {
  openStore,
  patient,
  processesWith,
  push,
  type RegistryProxy,
  run,
  type StoreFixture,
  startProxy,
} from './images-fixture.ts';

describe('the image store under faults', function () {
  this.timeout(240_000);
  let dir: string;
  let registry: TestRegistry;
  let proxy: RegistryProxy;
  let conf: string;
  let image: BuiltImage;
  let opened: StoreFixture[] = [];
  const open = async (deps: Parameters<typeof openStore>[0] = {}) => {
    const fixture = await openStore({ registriesConf: conf, ...deps });
    opened.push(fixture);
    return fixture;
  };
  const web = () => `${proxy.address}/library/web:1`;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    registry = await startRegistry();
    proxy = await startProxy(registry);
    conf = join(dir, 'registries.conf');
    const insecure = [registry.address, proxy.address].map(
      (place) => `[[registry]]\nlocation = "${place}"\ninsecure = true\n`,
    );
    await writeFile(conf, insecure.join(''));
    image = await buildBusyboxImage({ dir, file: 'image.tar' });
    await push(registry, image.reference, 'library/web:1');
  });
  after(async () => {
    await proxy.close();
    await registry.close();
    await rm(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    proxy.setMode('pass');
    for (const fixture of opened) {
      await fixture.close();
      assert.deepEqual(await processesWith(fixture.dir), [], 'a process is left');
    }
    opened = [];
  });

  describe('says what stands in the way of', () => {
    const cases: readonly {
      it: string;
      reference: () => string | Promise<string>;
      kind: ImagePullError['kind'];
      says: RegExp;
    }[] = [
      {
        it: 'a tag that is not there',
        reference: () => `${registry.address}/library/web:none`,
        kind: 'not-found',
        says: /the repository is there and has no such tag; it has (?:3, 2, )?1$/,
      },
      {
        it: 'a repository that is not there',
        reference: () => `${registry.address}/no/such:1`,
        kind: 'not-found',
        says: /the registry has no such repository: check the name/,
      },
      {
        it: 'a digest that is not there',
        reference: () => `${registry.address}/library/web@sha256:${'0'.repeat(64)}`,
        kind: 'not-found',
        says: /no image of this digest in this repository: check the digest/,
      },
      {
        it: 'a registry that is down',
        reference: () => '127.0.0.1:1/web',
        kind: 'unreachable',
        says: /connection refused/,
      },
      {
        it: 'a registry that has no address',
        reference: () => 'registry.invalid/web',
        kind: 'unreachable',
        says: /no such host|i\/o timeout|name resolution|misbehaving/,
      },
      {
        it: 'a name that is none',
        reference: () => '--policy=/etc/passwd',
        kind: 'invalid-name',
        says: /not a part of an image name/,
      },
      {
        it: 'an archive that is not there',
        reference: () => 'docker-archive:/does/not/exist.tar',
        kind: 'not-found',
        says: /check the path/,
      },
      {
        it: 'an OCI layout that is not there',
        reference: () => 'oci:/does/not/exist',
        kind: 'not-found',
        says: /check the path/,
      },
      {
        it: 'a docker archive that is none',
        reference: () => 'docker-archive:/etc/passwd',
        kind: 'corrupt',
        says: /not of this format/,
      },
      {
        it: 'an OCI archive that is none',
        reference: () => 'oci-archive:/etc/passwd',
        kind: 'corrupt',
        says: /not of this format/,
      },
      {
        it: 'an image that the archive does not hold',
        reference: () => `${image.reference}:other`,
        kind: 'not-found',
        says: /holds/,
      },
    ];
    for (const c of cases) {
      it(c.it, async () => {
        const { store, pullCount } = await open();
        await assert.rejects(
          store.ensure(await c.reference(), 'if-not-present', patient()),
          (error: ImagePullError) => {
            assert.equal(error.kind, c.kind, error.message);
            assert.match(error.message, c.says);
            return true;
          },
        );
        assert.equal(await pullCount('error'), c.kind === 'invalid-name' ? 0 : 1);
      });
    }

    it('a registry that speaks HTTP only', async () => {
      const { store } = await open({ registriesConf: '/dev/null' });
      await assert.rejects(store.ensure(`${registry.address}/library/web:1`, 'always', patient()), {
        kind: 'registry',
        message: /does not speak HTTPS/,
      });
    });

    it('a registry that is broken', async () => {
      const { store } = await open();
      proxy.setMode('error');
      await assert.rejects(store.ensure(web(), 'always', patient()), { kind: 'registry', message: /500/ });
    });

    it('a registry that wants a password, until it is given', async () => {
      const htpasswdLine = 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a'; // "secret"
      const locked = await startRegistry({ htpasswdLine });
      try {
        const authFile = join(dir, 'auth.json');
        const login = (password: string) => {
          const auth = Buffer.from(`user:${password}`).toString('base64');
          return writeFile(authFile, JSON.stringify({ auths: { [locked.address]: { auth } } }));
        };
        await login('secret');
        const target = `docker://${locked.address}/web:1`;
        const options = ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false', '--dest-authfile', authFile];
        await run('skopeo', [...options, image.reference, target]);
        const { store } = await open({ registriesConf: locked.registriesConf, authFiles: [authFile] });
        await writeFile(authFile, '{}');
        await assert.rejects(store.ensure(`${locked.address}/web:1`, 'always', patient()), { kind: 'unauthorized' });
        await login('wrong');
        await assert.rejects(store.ensure(`${locked.address}/web:1`, 'always', patient()), (error: ImagePullError) => {
          assert.equal(error.kind, 'unauthorized', error.message);
          assert.ok(!error.message.includes('wrong'), 'the password stands in the message');
          return true;
        });
        await login('secret');
        assert.equal((await store.ensure(`${locked.address}/web:1`, 'always', patient())).id, image.id);
      } finally {
        await locked.close();
      }
    });

    it('a blob that was damaged at the registry, and goes on when it is whole', async () => {
      const own = await startRegistry();
      try {
        await push(own, image.reference, 'web:1');
        const blobs = await findBlobs(own.storageDir);
        const layer = blobs.sort((a, b) => b.content.length - a.content.length)[0];
        assert.ok(layer !== undefined);
        const damaged = Buffer.from(layer.content);
        const middle = Math.floor(damaged.length / 2);
        damaged.fill(0, middle, middle + 1000);
        await writeFile(layer.path, damaged);
        const { store } = await open({ registriesConf: own.registriesConf });
        const reference = `${own.address}/web:1`;
        await assert.rejects(store.ensure(reference, 'always', patient()), { kind: 'corrupt' });
        await writeFile(layer.path, layer.content);
        assert.equal((await store.ensure(reference, 'always', patient())).id, image.id);
      } finally {
        await own.close();
      }
    });

    it('a full disk, and goes on when there is space', async () => {
      const mount = await mkdtemp(join(dir, 'disk-'));
      await run('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'none', mount]);
      try {
        const fixture = await open({ root: join(mount, 'root') });
        await assert.rejects(fixture.store.ensure(image.reference, 'always', patient()), (error: ImagePullError) => {
          assert.equal(error.kind, 'disk', error.message);
          return true;
        });
        await run('mount', ['-o', 'remount,size=64m', mount]);
        assert.equal((await fixture.store.ensure(image.reference, 'if-not-present', patient())).id, image.id);
        await fixture.store.layersOf(image.id);
        await fixture.close();
      } finally {
        await run('umount', [mount]);
      }
    });
  });

  it('gives up on a registry that falls silent, but not on one that is slow', async () => {
    const { store } = await open({ limits: { stallMs: 2_000 } });
    proxy.setMode('stall');
    await assert.rejects(store.ensure(web(), 'always', patient()), {
      kind: 'unreachable',
      message: /nothing arrived for 2 s/,
    });
    proxy.setMode('slow');
    assert.equal((await store.ensure(web(), 'always', patient())).id, image.id);
  });

  it('gives up at the deadline', async () => {
    const { store } = await open({ limits: { pullDeadlineMs: 500 } });
    proxy.setMode('stall');
    await assert.rejects(store.ensure(web(), 'always', patient()), { kind: 'unreachable', message: /not done after/ });
  });

  it('lets one caller go without harm to the others, and ends the pull when the last one goes', async () => {
    const fixture = await open();
    const { store, pullCount } = fixture;
    proxy.setMode('stall');
    const [first, second] = [new AbortController(), new AbortController()];
    const one = store.ensure(web(), 'if-not-present', first.signal);
    const two = store.ensure(web(), 'if-not-present', second.signal);
    await proxy.stalled(1);
    first.abort(new Error('first left'));
    await assert.rejects(one, /first left/);
    assert.equal((await processesWith(`${fixture.root}/`)).length, 1, 'the pull goes on');
    second.abort(new Error('second left'));
    await assert.rejects(two, /second left/);
    await until(async () => (await pullCount('canceled')) === 1, 'the pull has ended');
    assert.deepEqual(await processesWith(`${fixture.root}/`), []);
    proxy.setMode('pass');
    assert.equal((await store.ensure(web(), 'if-not-present', patient())).id, image.id);
  });

  it('does not start a pull for a caller who has gone', async () => {
    const { store } = await open();
    await assert.rejects(store.ensure(web(), 'always', AbortSignal.abort(new Error('gone'))), /gone/);
  });

  it('pulls only so many at a time; the others wait their turn or leave', async () => {
    const fixture = await open({ limits: { maxParallelPulls: 2 } });
    const { store } = fixture;
    const leave = new AbortController();
    for (const tag of ['2', '3']) await push(registry, image.reference, `library/web:${tag}`);
    proxy.setMode('stall');
    const slow = new AbortController();
    const busy = ['1', '2'].map((tag) => store.ensure(`${proxy.address}/library/web:${tag}`, 'always', slow.signal));
    await proxy.stalled(2);
    const third = store.ensure(`${registry.address}/library/web:3`, 'always', leave.signal);
    const fourth = store.ensure(`${registry.address}/library/web:2`, 'always', patient());
    leave.abort(new Error('left the queue'));
    await assert.rejects(third, /left the queue/);
    assert.equal((await processesWith(`${fixture.root}/`)).length, 2);
    slow.abort(new Error('made room'));
    for (const pull of busy) await assert.rejects(pull, /made room/);
    assert.equal((await fourth).id, image.id);
  });

  it('ends pulls when it is closed, and says so', async () => {
    const fixture = await open();
    proxy.setMode('stall');
    const pull = fixture.store.ensure(web(), 'always', patient());
    await proxy.stalled(1);
    const ended = assert.rejects(pull, RuntimeClosedError);
    await fixture.store.close();
    await ended;
    await assert.rejects(fixture.store.ensure(web(), 'always', patient()), RuntimeClosedError);
    await assert.rejects(fixture.store.list(), RuntimeClosedError);
  });

  it('fails when skopeo is killed, and works the next time', async () => {
    const fixture = await open();
    proxy.setMode('stall');
    const pull = fixture.store.ensure(web(), 'always', patient());
    await proxy.stalled(1);
    const ended = assert.rejects(pull, { name: 'ImagePullError' });
    for (const pid of await processesWith(`${fixture.root}/`)) process.kill(pid, 'SIGKILL');
    await ended;
    proxy.setMode('pass');
    assert.equal((await fixture.store.ensure(web(), 'if-not-present', patient())).id, image.id);
    assert.deepEqual(await readdir(join(fixture.root, 'holdfast-tmp')), []);
  });

  it('says that skopeo is missing where it is', async () => {
    const own = await mkdtemp(join(dir, 'bare-'));
    await symlink('/usr/bin/setpriv', join(own, 'setpriv'));
    const puller = join(import.meta.dirname, 'images-puller.ts');
    const pull = run(process.execPath, [puller, own, conf, image.reference], { env: { PATH: own } });
    await assert.rejects(
      pull,
      /RuntimeOperationError: image_pull: skopeo is not installed on this host; run "make setup"/,
    );
  });

  it('takes its pull along when it is killed, and the next one finishes', async () => {
    const own = await mkdtemp(join(dir, 'killed-'));
    proxy.setMode('stall');
    const child = spawn(process.execPath, [join(import.meta.dirname, 'images-puller.ts'), own, conf, web()], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await proxy.stalled(1);
    child.kill('SIGKILL');
    await once(child, 'close');
    await until(async () => (await processesWith(`${own}/root`)).length === 0, 'skopeo has gone');
    proxy.setMode('pass');
    const fixture = await open({ root: join(own, 'root'), runRoot: join(own, 'run') });
    assert.equal((await fixture.store.ensure(web(), 'if-not-present', patient())).id, image.id);
    assert.deepEqual(await readdir(join(own, 'root', 'holdfast-tmp')), [], 'what the dead process left is gone');
  });

  it('fetches no layer again that was finished before the kill', async () => {
    const above = await mkdtemp(join(dir, 'above-'));
    await writeFile(join(above, 'data'), randomBytes(4_000_000));
    const layered = await buildBusyboxImage({ dir, file: 'layered.tar', moreLayers: [above] });
    await push(registry, layered.reference, 'library/layered:1');
    const fixture = await open();
    const reference = `${proxy.address}/library/layered:1`;
    proxy.setMode('stall', 3_000_000);
    const pull = fixture.store.ensure(reference, 'always', patient());
    const ended = assert.rejects(pull, { name: 'ImagePullError' });
    await proxy.stalled(1);
    const layers = join(fixture.root, 'overlay-layers', 'layers.json');
    await until(async () => {
      const text = await readFile(layers, 'utf8').catch(() => '[]');
      const [base] = JSON.parse(text === '' ? '[]' : text);
      return base !== undefined && base.flags?.incomplete !== true;
    }, 'the first layer to be finished');
    for (const pid of await processesWith(`${fixture.root}/`)) process.kill(pid, 'SIGKILL');
    await ended;
    proxy.setMode('pass');
    const before = proxy.blobRequests();
    assert.equal((await fixture.store.ensure(reference, 'always', patient())).id, layered.id);
    assert.equal(proxy.blobRequests() - before, 2, 'the second layer and the configuration');
  });

  it('is whole after a kill at any moment of a pull', async () => {
    const big = await buildBusyboxImage({
      dir,
      file: 'big.tar',
      files: { '/big': Buffer.alloc(12_000_000, 'holdfast') },
    });
    const own = await mkdtemp(join(dir, 'random-'));
    const paths = { root: join(own, 'root'), runRoot: join(own, 'run') };
    const puller = join(import.meta.dirname, 'images-puller.ts');
    let finished = 0;
    for (let round = 0; round < 12; round++) {
      const child = spawn(process.execPath, [puller, own, conf, big.reference], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const closed = once(child, 'close');
      await once(child.stdout, 'data'); // it is about to pull
      const killed = new Promise<void>((resolve) => {
        setTimeout(() => {
          child.kill('SIGKILL');
          resolve();
        }, round * 18); // spread over the pull's 0.2 s on purpose
      });
      await Promise.all([killed, closed]);
      if (child.exitCode === 0) finished += 1;
      await until(async () => (await processesWith(paths.root)).length === 0, 'skopeo has gone');
      const fixture = await open(paths);
      const info = await fixture.store.ensure(big.reference, 'if-not-present', patient());
      assert.equal(info.id, big.id);
      const [layer = ''] = await fixture.store.layersOf(big.id);
      assert.equal((await readFile(join(layer, 'big'))).length, 12_000_000);
      await fixture.store.remove(big.reference);
      assert.deepEqual(await fixture.store.list(), []);
    }
    assert.ok(finished < 12, 'no round was cut short');
  });

  it('fetches an image again whose layer was lost', async () => {
    for (const lost of ['diff', 'link', '.']) {
      const fixture = await open();
      await fixture.store.ensure(web(), 'if-not-present', patient());
      const layers = (await readdir(join(fixture.root, 'overlay'))).filter((name) => name.length === 64);
      await rm(join(fixture.root, 'overlay', layers[0] ?? '', lost === '.' ? '' : lost), { recursive: true });
      const all = Array.from({ length: 3 }, () => fixture.store.ensure(web(), 'if-not-present', patient()));
      for (const info of await Promise.all(all)) assert.equal(info.id, image.id);
      const [layer = ''] = await fixture.store.layersOf(image.id);
      assert.ok((await readdir(layer)).includes('bin'), `after the loss of ${lost}`);
    }
  });

  it('survives records that were damaged, with a clear error or none', async () => {
    const fixture = await open();
    await fixture.store.ensure(image.reference, 'if-not-present', patient());
    await writeFile(join(fixture.root, 'holdfast-archives.json'), '{"half');
    const again = await fixture.reopen();
    assert.equal((await again.ensure(image.reference, 'if-not-present', patient())).id, image.id);
    await writeFile(join(fixture.root, 'overlay-images', 'images.json'), '{"half');
    await assert.rejects(again.ensure(image.reference, 'if-not-present', patient()), {
      name: 'RuntimeOperationError',
      message: /images\.json/,
    });
  });
});

async function findBlobs(storageDir: string): Promise<{ path: string; content: Buffer }[]> {
  const top = join(storageDir, 'docker/registry/v2/blobs/sha256');
  const found: { path: string; content: Buffer }[] = [];
  for (const name of await readdir(top, { recursive: true })) {
    if (!name.endsWith('/data')) continue;
    found.push({ path: join(top, name), content: await readFile(join(top, name)) });
  }
  return found;
}
