/**
 * Images from a real registry that asks for a password, by the Container resource and kubectl: what each mistake says, how
 * far a pull is, and a daemon that is killed in the middle of one.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { createInstance, type Instance, run } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { processesWith, type RegistryProxy, startProxy } from '../runtime/images-fixture.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import { until } from '../until.ts';

const htpasswdLine = 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a';
const password = 'secret';
const loop = ['sleep', '1000000'];
const quick = {
  command: loop,
  backoff: { initial: '300ms', max: '1s', jitter: 0 },
  terminationGracePeriodSeconds: 0,
};

describe('images from a registry', function () {
  this.timeout(240_000);
  let dir: string;
  let hostBefore: HostSnapshot;
  let registry: TestRegistry;
  let proxy: RegistryProxy;
  let instance: Instance;
  let image: BuiltImage;
  let digest: string;
  const names: string[] = [];

  const create = async (name: string, spec: Record<string, unknown>): Promise<void> => {
    names.push(name);
    await instance.create(name, { ...quick, ...spec });
  };
  const secret = (name: string, server: string, word: string) =>
    instance.kubectl([
      ...['create', 'secret', 'docker-registry', name, `--docker-server=${server}`],
      ...['--docker-username=user', `--docker-password=${word}`],
    ]);
  const push = async (archive: string, name: string): Promise<string> => {
    const authFile = join(dir, 'auth.json');
    const digestFile = join(dir, 'digest');
    const args = ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false', '--dest-authfile', authFile];
    const target = `docker://${registry.address}/${name}`;
    const { code, stderr } = await run('skopeo', [...args, '--digestfile', digestFile, archive, target]);
    assert.equal(code, 0, stderr);
    return (await readFile(digestFile, 'utf8')).trim();
  };

  before(async () => {
    hostBefore = await snapshotHost();
    dir = await mkdtemp(join(tmpdir(), 'holdfast-registry-test-'));
    registry = await startRegistry({ htpasswdLine });
    proxy = await startProxy(registry);
    const auth = Buffer.from(`user:${password}`).toString('base64');
    await writeFile(join(dir, 'auth.json'), JSON.stringify({ auths: { [registry.address]: { auth } } }));
    image = await buildBusyboxImage({ dir });
    digest = await push(image.reference, 'team/web:1');
    const conf = join(dir, 'registries.conf');
    await writeFile(
      conf,
      `${await readFile(registry.registriesConf, 'utf8')}[[registry]]\nlocation = "${proxy.address}"\ninsecure = true\n`,
    );
    instance = await createInstance({ flags: ['--registries-conf', conf, '--auth-file', join(dir, 'none.json')] });
    await instance.start();
    for (const [name, server, word] of [
      ['right', registry.address, password],
      ['right-proxy', proxy.address, password],
      ['wrong', registry.address, 'xyzzy-not-it'],
    ] as const)
      assert.equal((await secret(name, server, word)).code, 0);
  });
  after(async () => {
    await instance?.close();
    await proxy?.close();
    await registry?.close();
    await rm(dir, { recursive: true, force: true });
    await assertNoLeaks(hostBefore, instance);
  });
  afterEach(async () => {
    proxy.setMode('pass');
    await Promise.all(names.splice(0).map((name) => instance.remove(name)));
  });

  for (const by of ['tag', 'digest'] as const) {
    it(`are pulled by ${by} with a Secret, whose password is nowhere to be seen`, async () => {
      const suffix = by === 'tag' ? ':1' : `@${digest}`;
      await create(`by-${by}`, {
        image: `${registry.address}/team/web${suffix}`,
        imagePullPolicy: 'Always',
        imagePullSecrets: [{ name: 'right' }],
      });
      const { status } = await instance.waitFor(`by-${by}`, ({ state }) => state === 'Running', 'running');
      assert.equal(status?.imageID, image.id);
      let events = '';
      await until(async () => {
        events = (await instance.kubectl(['get', 'events'])).stdout;
        return events.includes('Pulled');
      }, 'the event of the pull');
      assert.match(events, /Pulled .*fetched the image ".*" in \d+ ms \(.* MiB unpacked\)/);
      const words = [password, Buffer.from(`user:${password}`).toString('base64')];
      const object = JSON.stringify(await instance.get(`by-${by}`));
      for (const [where, text] of Object.entries({ events, object, log: instance.log })) {
        // The word itself is in the names of fields; its line of the auth file is not.
        assert.ok(!text.includes(words[1] ?? ''), where);
        assert.doesNotMatch(text, /user:secret/, where);
      }
      const left = await readdir(join(instance.runDir, 'images', 'holdfast-auth'));
      assert.deepEqual(left, []);
    });
  }

  it('that cannot be had say what stands in the way, each in its own words, and are tried again', async () => {
    const at = (suffix: string, secretName?: string) => ({
      image: `${registry.address}/team/${suffix}`,
      ...(secretName === undefined ? {} : { imagePullSecrets: [{ name: secretName }] }),
    });
    const cases: Record<string, { spec: Record<string, unknown>; says: RegExp }> = {
      'no-password': { spec: at('web:2'), says: /unauthorized.*give credentials/ },
      'wrong-password': { spec: at('web:2', 'wrong'), says: /did not take them: check both/ },
      'missing-tag': { spec: at('web:2', 'right'), says: /no such tag; it has 1$/ },
      'missing-repository': { spec: at('nothing:1', 'right'), says: /no such repository/ },
      'wrong-digest': { spec: at(`web@sha256:${'0'.repeat(64)}`, 'right'), says: /no image of this digest/ },
      'dead-registry': { spec: { image: '127.0.0.1:1/team/web:1' }, says: /connection refused/ },
      'wrong-platform': { spec: { ...at('web:1', 'right'), platform: 'linux/s390x' }, says: /not for linux\/s390x/ },
      'not-a-name': { spec: { image: 'Not/A:Name' }, says: /must be in lower case/ },
      never: { spec: { ...at('web:3'), imagePullPolicy: 'Never' }, says: /is not on this host/ },
    };
    const messages = new Set<string>();
    for (const [name, { spec }] of Object.entries(cases)) await create(name, spec);
    for (const [name, { says }] of Object.entries(cases)) {
      const { status } = await instance.waitFor(name, ({ message }) => says.test(message ?? ''), `failing: ${says}`);
      messages.add(status?.message ?? '');
      assert.equal(status?.conditions?.find(({ type }) => type === 'ImageAvailable')?.status, 'False', name);
      assert.match(
        status?.reason ?? '',
        /^(?:ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull)$/,
        name,
      );
      assert.ok(!JSON.stringify(status).includes('xyzzy'), 'the password stands in the status');
    }
    assert.equal(messages.size, Object.keys(cases).length);
    const described = (await instance.kubectl(['describe', 'ctr', 'missing-tag'])).stdout;
    assert.match(described, /no such tag; it has 1/);
    await push(image.reference, 'team/web:2');
    await instance.waitFor('missing-tag', ({ state }) => state === 'Running', 'running once the tag is there');
  });

  it('show how far they are, and a daemon killed in the middle leaves nothing broken', async () => {
    const big = await buildBusyboxImage({ dir, file: 'big.tar', files: { '/data': randomBytes(4_000_000) } });
    await push(big.reference, 'team/big:1');
    proxy.setMode('stall');
    await create('big', { image: `${proxy.address}/team/big:1`, imagePullSecrets: [{ name: 'right-proxy' }] });
    await proxy.stalled(1);
    const isHalf = /^fetches the image ".*team\/big:1": 2\.\d MiB of 4\.\d MiB$/;
    const { status } = await instance.waitFor('big', ({ message }) => isHalf.test(message ?? ''), 'on its way');
    assert.equal(status?.reason, 'Pulling');
    const root = join(instance.dataDir, 'images');
    assert.ok((await processesWith(`${root}+`)).length >= 1);
    await instance.stop('SIGKILL');
    await until(async () => (await processesWith(`${root}+`)).length === 0, 'skopeo to be gone with its daemon');
    proxy.setMode('pass');
    await instance.start();
    const running = await instance.waitFor('big', ({ state }) => state === 'Running', 'running');
    assert.equal(running.status?.imageID, big.id);
    assert.deepEqual(await readdir(join(root, 'holdfast-tmp')), []);
    assert.deepEqual(await readdir(join(instance.runDir, 'images', 'holdfast-auth')), []);
  });

  it('are fetched again when they were lost from under a container; one that can never start is replaced', async () => {
    await push(image.reference, 'team/lost:1');
    await create('lost', { image: `${registry.address}/team/lost:1`, imagePullSecrets: [{ name: 'right' }] });
    const isRunning = ({ state }: { state?: string | undefined }) => state === 'Running';
    const { status: first } = await instance.waitFor('lost', isRunning, 'running');
    const loseImage = async () => {
      const overlay = join(instance.dataDir, 'images', 'overlay');
      for (const layer of (await readdir(overlay)).filter((name) => name.length === 64))
        await rm(join(overlay, layer, 'diff'), { recursive: true, force: true });
      const pid = (await instance.get('lost'))?.status?.pid;
      assert.ok(pid !== undefined && pid > 1);
      process.kill(pid, 'SIGKILL');
    };
    const isAgain =
      (count: number) =>
      ({ state, restartCount }: { state?: string | undefined; restartCount?: number | undefined }) =>
        state === 'Running' && (restartCount ?? 0) >= count;
    await loseImage();
    const { status: second } = await instance.waitFor('lost', isAgain(1), 'running again');
    assert.equal(second?.imageID, first?.imageID);
    const other = await buildBusyboxImage({ dir, file: 'other.tar', env: ['OTHER=1'] });
    await push(other.reference, 'team/lost:1');
    await loseImage();
    await instance.waitFor('lost', ({ state, imageID }) => state === 'Running' && imageID === other.id, 'replaced');
  });

  it('are listed and removed by holdfast image beside the daemon, but not while they are used', async () => {
    await create('used', { image: `${registry.address}/team/web:1`, imagePullSecrets: [{ name: 'right' }] });
    await instance.waitFor('used', ({ state }) => state === 'Running', 'running');
    const program = join(import.meta.dirname, '..', '..', 'bin', 'holdfast');
    const command = (...args: string[]) =>
      run(program, ['image', ...args, '--data-dir', instance.dataDir, '--run-dir', instance.runDir]);
    assert.match((await command('ls')).stdout, /team\/web:1 /);
    const refused = await command('rm', image.id);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is used by default\/used; remove the container first/);
    await instance.remove('used');
    assert.equal((await command('rm', image.id)).code, 0);
    assert.doesNotMatch((await command('ls')).stdout, /team\/web:1 /);
  });
});
