import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ContainerConfig,
  ContainerConfigError,
  type ImageInfo,
  MountError,
  RuntimeOperationError,
  VolumeInUseError,
  type VolumeMount,
  type VolumeSource,
} from '../../runtime/index.ts';
import { buildBusyboxImage } from '../images.ts';
import { never, TestHost, until } from './host.ts';

/** A volume and its mount at a path, as members of a configuration. */
function at(
  path: string,
  source: VolumeSource,
  change: Partial<VolumeMount> = {},
): { volumes: { name: string; source: VolumeSource }[]; mounts: VolumeMount[] } {
  return {
    volumes: [{ name: 'v', source }],
    mounts: [{ volume: 'v', path, isReadOnly: false, copiesUp: false, ...change }],
  };
}

const own: VolumeSource = { kind: 'own', mode: 0o777 };
const named = (name: string): VolumeSource => ({ kind: 'named', name });
const bind = (path: string): VolumeSource => ({ kind: 'bind', path, ensure: 'any' });
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('volumes of containers', () => {
  let host: TestHost;
  /** Declares volumes, has content with owners and links in them, and hostile links. */
  let image: ImageInfo;
  /** A folder of the host, for paths of the host. */
  let place: string;
  before(async () => {
    host = await TestHost.open();
    place = join(host.dir, 'place');
    const layer = join(host.dir, 'layer');
    const full = join(layer, 'var/full');
    await mkdir(join(full, 'sub'), { recursive: true });
    await writeFile(join(full, 'sub/file'), 'content\n');
    await chmod(join(full, 'sub/file'), 0o640);
    await symlink('sub/file', join(full, 'link'));
    await symlink('/etc/passwd', join(full, 'absolute'));
    await chmod(full, 0o2750);
    await mkdir(join(layer, 'var/owned'), { recursive: true });
    await chmod(join(layer, 'var/owned'), 0o700);
    await symlink('/../../../../../../..', join(layer, 'out'));
    await mkdir(join(layer, 'run'), { recursive: true });
    await symlink('/run', join(layer, 'var/run'));
    const { reference } = await buildBusyboxImage({
      dir: host.dir,
      file: 'volumes.tar',
      cmd: ['sh'],
      volumes: ['/var/full', '/var/owned', '/var/new/'],
      moreLayers: [layer],
    });
    image = await host.runtime.images.ensure(reference, 'if-not-present', never);
  });
  after(() => host.close());

  /** As host.script; the image's folders belong to a user, which the archives of tests cannot say. */
  async function ownedScript(text: string, change: Partial<ContainerConfig>): Promise<string> {
    const config = host.config({ imageID: image.id, cmd: ['sh', '-c', text], ...change });
    await host.runtime.containers.create(config, never);
    const root = join(host.deps.runDir, 'containers', config.id, 'rootfs/var');
    for (const path of ['full', 'full/sub/file', 'owned']) await chown(join(root, path), 33, 33);
    await host.runtime.containers.start(config.id, never);
    await host.exited(config.id);
    const output = await host.output(config.id);
    await host.runtime.containers.remove(config.id);
    return output;
  }

  beforeEach(() => mkdir(place, { recursive: true }));
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
    for (const { name } of await host.runtime.volumes.list()) await host.runtime.volumes.remove(name);
    await rm(place, { recursive: true, force: true });
    // Mounts, parts and folders of removed containers.
    assert.deepEqual(await readdir(join(host.deps.runDir, 'volumes')), []);
    assert.deepEqual(await readdir(join(host.deps.dataDir, 'volumes')), ['.own']);
    assert.deepEqual(await readdir(join(host.deps.dataDir, 'volumes', '.own')), []);
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    assert.doesNotMatch(mounts, new RegExp(`${host.deps.runDir}/volumes`));
  });

  it('keeps an own volume across restarts and replacement, and removes it with the container', async () => {
    const cmd = ['sh', '-c', 'cat /data/file 2>/dev/null; echo once more >> /data/file'];
    const config = host.config({ cmd, readonlyRootfs: true, ...at('/data', own) });
    const { containers } = host.runtime;
    await containers.create(config, never);
    await containers.start(config.id, never);
    await host.exited(config.id);
    await containers.start(config.id, never);
    await host.exited(config.id);
    assert.equal(await host.output(config.id), 'once more\n');
    await containers.remove(config.id, { volumes: 'keep' });
    assert.deepEqual(await containers.listKept(), [config.id]);
    await host.reopen();
    assert.deepEqual(await host.runtime.containers.listKept(), [config.id]);
    await host.run({ ...config, env: [{ name: 'NEW', value: '1' }] });
    await host.exited(config.id);
    assert.equal(await host.output(config.id), 'once more\nonce more\n');
    assert.deepEqual(await host.runtime.containers.listKept(), []);
    const [volume] = await host.runtime.volumes.list();
    assert.equal(volume?.owner, config.id);
    assert.equal(existsSync(volume?.path ?? ''), true);
    await assert.rejects(host.runtime.volumes.remove(volume?.name ?? ''), VolumeInUseError);
    await host.runtime.containers.remove(config.id, { volumes: 'keep' });
    await host.runtime.containers.remove(config.id);
    assert.equal(existsSync(volume?.path ?? ''), false);
  });

  it('drops an own volume that a changed container no longer has', async () => {
    const config = host.config({ cmd: ['sh', '-c', 'echo x > /data/x'], ...at('/data', own) });
    await host.run(config);
    await host.exited(config.id);
    await host.runtime.containers.remove(config.id, { volumes: 'keep' });
    await host.run({ ...config, cmd: ['true'], volumes: [], mounts: [] });
    assert.deepEqual(await host.runtime.volumes.list(), []);
  });

  it('lets any user write to an own volume, and only root to a new named one', async () => {
    const write = (source: VolumeSource): Promise<{ output: string }> =>
      host.script('touch /data/x && echo written', { user: '33', ...at('/data', source) });
    assert.equal((await write(own)).output, 'written\n');
    assert.match((await write(named('shop.root'))).output, /Permission denied/);
  });

  it('keeps a named volume when its container goes, shares it, and refuses to remove it while in use', async () => {
    await host.script('echo kept > /data/file', at('/data', named('shop.data')));
    const user = await host.run({ name: 'shop/web', cmd: ['sleep', '100'], ...at('/srv', named('shop.data')) });
    const { output } = await host.script('cat /data/file', at('/data', named('shop.data')));
    assert.equal(output, 'kept\n');
    const info = await host.runtime.volumes.inspect('shop.data');
    assert.deepEqual(info?.usedBy, ['shop/web']);
    assert.ok((await host.runtime.volumes.usage('shop.data', never)) > 0);
    await assert.rejects(host.runtime.volumes.remove('shop.data'), /shop\.data is used by shop\/web/);
    assert.deepEqual(await host.runtime.volumes.prune(() => true), []);
    await host.runtime.containers.remove(user.id);
    const labelled = await host.runtime.volumes.create('shop.other', { keep: 'yes' });
    assert.deepEqual((await host.runtime.volumes.inspect('shop.other'))?.labels, { keep: 'yes' });
    assert.equal((await host.runtime.volumes.create('shop.other', { keep: 'no' })).createdAtMs, labelled.createdAtMs);
    assert.deepEqual(await host.runtime.volumes.prune(({ labels }) => labels.keep !== 'yes'), ['shop.data']);
    assert.equal(existsSync(info?.path ?? ''), false);
  });

  for (const name of ['../x', '.own', '', 'a/b', 'x'.repeat(256)]) {
    it(`refuses a volume that is to be called ${JSON.stringify(name.slice(0, 20))}`, async () => {
      await assert.rejects(host.runtime.volumes.create(name, {}), ContainerConfigError);
      await assert.rejects(host.script('true', at('/data', named(name))), ContainerConfigError);
    });
  }

  it('gives tmpfs its size and mode, empty at each start', async () => {
    const script =
      'ls /t; stat -c %a /t; grep " /t " /proc/mounts; touch /t/x; dd if=/dev/zero of=/t/y bs=1M count=2 2>&1';
    const config = host.config({
      cmd: ['sh', '-c', script],
      ...at('/t', { kind: 'tmpfs', sizeBytes: 2 ** 20, mode: 0o700 }),
    });
    await host.run(config);
    await host.exited(config.id);
    await host.runtime.containers.start(config.id, never);
    await host.exited(config.id);
    const output = await host.output(config.id);
    assert.equal(output.match(/^700$/gm)?.length, 2, output);
    assert.match(output, /tmpfs \/t tmpfs rw,nosuid,nodev,noexec.*size=1024k/);
    assert.match(output, /No space left/);
    assert.doesNotMatch(output, /^x$/m);
  });

  it('keeps memory across restarts within its size, gives it up with the container', async () => {
    const script =
      'cat /m/file 2>/dev/null; echo again >> /m/file; dd if=/dev/zero of=/m/big bs=1M count=9 2>&1 | grep -o "No space.*"; rm /m/big; df -h /m | tail -1';
    const config = host.config({ cmd: ['sh', '-c', script], ...at('/m', { kind: 'memory', sizeBytes: 2 ** 22 }) });
    await host.run(config);
    await host.exited(config.id);
    await host.reopen();
    await host.runtime.containers.start(config.id, never);
    await host.exited(config.id);
    assert.match(await host.output(config.id), /^No space left on device\n.*\nagain\nNo space left/);
    await host.runtime.containers.remove(config.id, { volumes: 'keep' });
    const larger = at('/m', { kind: 'memory', sizeBytes: 2 ** 24 });
    await host.run({ ...config, ...larger });
    await host.exited(config.id);
    assert.match(await host.output(config.id), /^again\nagain\ntmpfs +16\.0M/);
  });

  it('binds files and folders of the host, also read-only and with all that is mounted below', async () => {
    await mkdir(join(place, 'inner'));
    await writeFile(join(place, 'file'), 'of the host\n');
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'hf-test', join(place, 'inner')]).status, 0);
    try {
      const readonly = await host.script(
        'cat /h/file; touch /h/x; touch /h/inner/x',
        at('/h', bind(place), { isReadOnly: true }),
      );
      assert.match(readonly.output, /^of the host\n/);
      assert.equal(readonly.output.match(/Read-only file system/g)?.length, 2, readonly.output);
      await host.script('touch /h/x /h/inner/y', at('/h', bind(place)));
      assert.deepEqual([existsSync(join(place, 'x')), existsSync(join(place, 'inner/y'))], [true, true]);
      // A part of it, so that something is bound below the run dir; taking that down leaves the rest mounted.
      await host.script('touch /h/z', at('/h', bind(host.dir), { subPath: 'place/inner' }));
      assert.equal(existsSync(join(place, 'inner/z')), true);
    } finally {
      assert.equal(spawnSync('umount', [join(place, 'inner')]).status, 0);
    }
    const file = await host.script('cat /etc/one', {
      readonlyRootfs: true,
      ...at('/etc/one', bind(join(place, 'file'))),
    });
    assert.equal(file.output, 'of the host\n');
  });

  const ensures: [Extract<VolumeSource, { kind: 'bind' }>['ensure'], string, RegExp | 'works'][] = [
    ['any', 'missing', /there is no .*missing/],
    ['directory', 'missing', /there is no .*missing/],
    ['directory', 'file', /file on the host is not a directory/],
    ['directory-or-create', 'a/b', 'works'],
    ['file-or-create', 'new', 'works'],
    ['file-or-create', 'no/folder', /make the folder that it is to lie in/],
    ['file', 'folder', /folder on the host is not a file/],
    ['socket', 'file', /is not a socket/],
    ['char-device', 'file', /is not a character device/],
    ['block-device', 'file', /is not a block device/],
  ];
  for (const [ensure, path, want] of ensures) {
    it(`${want === 'works' ? 'makes' : 'says what is wrong with'} a path of the host: ${ensure}, ${path}`, async () => {
      await writeFile(join(place, 'file'), '');
      await mkdir(join(place, 'folder'));
      const source: VolumeSource = { kind: 'bind', path: join(place, path), ensure };
      const run = host.script('ls -d /h', at('/h', source));
      if (want === 'works') assert.equal((await run).output, '/h\n');
      else await assert.rejects(run, (error) => error instanceof MountError && want.test(error.message));
    });
  }

  it('starts a container once the path of the host is there', async () => {
    const config = host.config({ cmd: ['sleep', '100'], ...at('/h', bind(join(place, 'late'))) });
    await host.runtime.containers.create(config, never);
    await assert.rejects(host.runtime.containers.start(config.id, never), MountError);
    await mkdir(join(place, 'late'));
    assert.equal((await host.runtime.containers.start(config.id, never)).state.kind, 'running');
  });

  it('makes the sub path, and never follows one out of the volume', async () => {
    await host.script('echo x > /data/x', at('/data', named('s'), { subPath: 'a/b' }));
    await host.script(
      'mkdir /v/ok; ln -s ok /v/in; ln -s /etc /v/absolute; ln -s ../../../../../../../etc /v/up; ln -s nowhere /v/dangling; ln -s loop /v/loop',
      at('/v', named('s')),
    );
    const { output } = await host
      .script('ls /data', at('/data', named('s'), { subPath: 'a/b/x' }))
      .then(() => host.script('cat /data', at('/data', named('s'), { subPath: 'a/b/x' })));
    assert.equal(output, 'x\n');
    await host.script('touch /data/y', at('/data', named('s'), { subPath: 'in' }));
    assert.equal((await host.script('ls /v/ok', at('/v', named('s')))).output, 'y\n');
    for (const subPath of ['absolute', 'up', 'up/passwd', 'dangling', 'loop', 'a/b/x/file']) {
      await assert.rejects(host.script('ls /data', at('/data', named('s'), { subPath })), MountError, subPath);
    }
    for (const subPath of ['../x', '/etc', '', 'a/../../b']) {
      await assert.rejects(
        host.script('ls /data', at('/data', named('s'), { subPath })),
        ContainerConfigError,
        subPath,
      );
    }
  });

  it('does not leave a volume while a container swaps the sub path for a link again and again', async () => {
    const swap =
      'mkdir /v/a /v/b; ln -s /etc /v/b/l; ln -s ../../../../../../../../etc /v/b/l; i=0; while [ $i -lt 100000 ]; do mv -T /v/a /v/c; ln -sn ../../../../../../etc /v/a; rm /v/a; mv -T /v/c /v/a; i=$((i+1)); done';
    await host.run({ cmd: ['sh', '-c', swap], ...at('/v', named('race')) });
    const { path } = await until('the volume', () => host.runtime.volumes.inspect('race'));
    await until('the folder', () => existsSync(join(path, 'b')));
    let outcomes = 0;
    for (let i = 0; i < 6; i += 1) {
      try {
        const { output } = await host.script('ls /data', at('/data', named('race'), { subPath: 'a' }));
        assert.doesNotMatch(output, /passwd/);
      } catch (error) {
        // The folder that was bound can be gone before it is mounted.
        if (!(error instanceof MountError || error instanceof RuntimeOperationError)) throw error;
      }
      outcomes += 1;
    }
    assert.equal(outcomes, 6);
  });

  it('mounts inside the root where a link of the image leads, and never outside', async () => {
    await mkdir(join(place, 'src'));
    const inside = await host.script('ls -d /run/x; touch /run/x/y', {
      imageID: image.id,
      ...at('/var/run/x', bind(join(place, 'src'))),
    });
    assert.equal(inside.output, '/run/x\n');
    assert.equal(existsSync(join(place, 'src/y')), true);
    const before = new Set(await readdir('/'));
    const out = await host.script('ls -d /hf-out; touch /hf-out/z', {
      imageID: image.id,
      ...at('/out/hf-out', bind(join(place, 'src'))),
    });
    assert.equal(out.output, '/hf-out\n');
    assert.deepEqual(new Set(await readdir('/')), before);
    for (const path of ['/out', '/out/proc', '/out/proc/sys']) {
      await assert.rejects(
        host.script('true', { imageID: image.id, ...at(path, own) }),
        /where nothing can be mounted/,
      );
    }
  });

  it('mounts parents before what lies in them, and refuses two volumes at one place', async () => {
    const volumes = ['a', 'b', 'c'].map((name) => ({ name, source: own }));
    const mount = (volume: string, path: string): VolumeMount => ({ volume, path, isReadOnly: false, copiesUp: false });
    const nested = await host.script(
      'echo deep > /x/y/z/file; ls /x /x/y; cat /x/y/z/file; touch /x/q /etc/r; cat /etc/hostname',
      {
        readonlyRootfs: true,
        volumes: [...volumes, { name: 'd', source: own }],
        mounts: [mount('c', '/x/y/z'), mount('a', '/x'), mount('b', '/x/y'), mount('d', '/etc')],
      },
    );
    assert.match(nested.output, /^\/x:\ny\n\n\/x\/y:\nz\ndeep\n.*test\n$/s);
    for (const [one, two] of [
      ['/x', '/x/'],
      ['/x', '/y/../x'],
      ['/var/run/p', '/run/p'],
    ] as const) {
      const mounts = [mount('a', one), mount('b', two)];
      await assert.rejects(
        host.script('true', { imageID: image.id, volumes, mounts }),
        (error) => error instanceof ContainerConfigError && /two volumes|same place/.test(error.message),
      );
    }
    await assert.rejects(host.script('true', at('/etc/passwd', own)), /a folder cannot be mounted at \/etc\/passwd/);
    await assert.rejects(host.script('true', at('/proc/sys', own)), ContainerConfigError);
    await assert.rejects(host.script('true', { mounts: [mount('nobody', '/x')] }), /no volume "nobody"/);
  });

  it('gives the volumes that the image declares its content, owners, modes and links, writable on a read-only root', async () => {
    const show =
      'cd /var; stat -c "%n %a %u:%g %F" full full/sub/file full/link full/absolute owned new; cat full/link; touch full/x owned/x new/x && echo ok; touch /x';
    const output = await ownedScript(show, { readonlyRootfs: true });
    assert.equal(
      output,
      'full 2750 33:33 directory\nfull/sub/file 640 33:33 regular file\nfull/link 777 0:0 symbolic link\nfull/absolute 777 0:0 symbolic link\nowned 700 33:33 directory\nnew 755 0:0 directory\ncontent\nok\ntouch: /x: Read-only file system\n',
    );
    assert.deepEqual(await host.runtime.volumes.list(), [], 'they went with the container');
  });

  it('keeps the volumes of the image when asked to, as volumes of nobody', async () => {
    const { id } = await host.run({ imageID: image.id, cmd: ['sh', '-c', 'echo mine > /var/new/file'] });
    await host.exited(id);
    await host.runtime.containers.update(id, { keepsImageVolumes: true });
    const names = (await host.runtime.volumes.list()).map(({ name }) => name).sort();
    await host.runtime.containers.remove(id);
    // Another that is replaced meanwhile, by one that never comes.
    const other = await host.run({ imageID: image.id, cmd: ['true'], keepsImageVolumes: true });
    await host.exited(other.id);
    names.push(...(await host.runtime.volumes.list()).flatMap(({ name, owner }) => (owner === other.id ? [name] : [])));
    assert.equal(names.length, 6);
    await host.runtime.containers.remove(other.id, { volumes: 'keep' });
    await host.runtime.containers.remove(other.id);
    names.sort();
    const left = await host.runtime.volumes.list();
    assert.deepEqual(left.map(({ name }) => name).sort(), names);
    assert.ok(
      left.every(
        ({ name, owner, usedBy }) => /^[0-9a-f]{64}$/.test(name) && owner === undefined && usedBy.length === 0,
      ),
    );
    const texts = await Promise.all(left.map(({ path }) => readFile(join(path, 'file'), 'utf8').catch(() => '')));
    assert.ok(texts.includes('mine\n'));
  });

  it('fills an empty named volume once with what the image has, and leaves one with content alone', async () => {
    const config = { imageID: image.id, ...at('/var/full', named('fill'), { copiesUp: true }) };
    assert.equal(
      await ownedScript('cat /var/full/link; rm -r /var/full/*; echo mine > /var/full/mine', config),
      'content\n',
    );
    assert.equal(
      (await host.script('ls /var/full; stat -c "%a %u" /var/full; rm /var/full/*', config)).output,
      'mine\n2750 33\n',
    );
    const again = host.config({ cmd: ['sh', '-c', 'ls /var/full; rm -rf /var/full/*'], ...config });
    await host.run(again);
    await host.exited(again.id);
    await host.runtime.containers.start(again.id, never);
    await host.exited(again.id);
    assert.equal(await host.output(again.id), 'absolute\nlink\nsub\n', 'a restart does not fill it again');
  });

  it('finishes a copy that was cut short, and throws a half one away', async () => {
    const { path } = await host.runtime.volumes.create('cut', {});
    await mkdir(join(path, '../copying'));
    await writeFile(join(path, '../copying/half'), '');
    const config = { imageID: image.id, ...at('/var/full', named('cut'), { copiesUp: true }) };
    assert.equal((await host.script('ls /var/full', config)).output, 'absolute\nlink\nsub\n');
    await mkdir(join(path, '../copied'));
    await writeFile(join(path, '../copied/rest'), '');
    await writeFile(join(path, '../copied/link'), 'an older one');
    assert.equal(
      (await host.script('ls /var/full; cat /var/full/link', config)).output,
      'absolute\nlink\nrest\nsub\ncontent\n',
    );
    assert.deepEqual((await readdir(join(path, '..'))).sort(), ['data', 'volume.json']);
  });

  it('shows files as they were given, read-only, and a change of them as one', async () => {
    const secret = 'sw0rdfish';
    const files = (text: string): Record<string, { path: string; dataBase64: string; mode: number }[]> => ({
      v: [
        { path: 'one', dataBase64: base64(text), mode: 0o644 },
        { path: 'deep/two', dataBase64: base64(text), mode: 0o400 },
      ],
    });
    const watch =
      'while true; do a=$(cat /f/..data/one); b=$(cat /f/..data/deep/two); [ "$a" = "$b" ] || echo "torn $a $b"; [ "$a" = end ] && echo seen && exit; done';
    const script = `grep " /f " /proc/mounts; stat -L -c "%a %n" /f/one /f/deep/two; cat /f/one; touch /f/x; ${watch.replaceAll('/f/..data/', '$d/').replace('do ', 'do d=$(readlink -f /f/..data); ').replace('[ "$a" = "$b" ]', '[ "$a" = "$b" ] || [ ! -e $d/one ]')}`;
    const config = host.config({ cmd: ['sh', '-c', script], ...at('/f', { kind: 'files' }), files: files(secret) });
    await host.run(config);
    await host.printed(config.id, 'Read-only file system');
    for (let i = 0; i < 50; i += 1) await host.runtime.containers.update(config.id, { files: files(`round ${i}`) });
    await host.runtime.containers.update(config.id, { files: files('end') });
    await host.exited(config.id);
    const output = await host.output(config.id);
    assert.match(output, /^tmpfs \/f tmpfs ro,nosuid,nodev,.*\n644 \/f\/one\n400 \/f\/deep\/two\nsw0rdfish/);
    assert.match(output, /seen\n$/);
    assert.doesNotMatch(output, /torn/);
    const grep = spawnSync('grep', ['-rlF', secret, join(host.deps.dataDir, 'containers')], { encoding: 'utf8' });
    assert.equal(grep.stdout.replace(/.*\/log\/ctr\.log\n/, ''), '', 'what a container was given lies on no disk');
  });

  it('takes files away and adds some while the container runs, and checks their paths', async () => {
    const file = (path: string): { path: string; dataBase64: string; mode: number } => ({
      path,
      dataBase64: '',
      mode: 0o644,
    });
    const config = host.config({
      cmd: ['sleep', '100'],
      ...at('/f', { kind: 'files' }),
      files: { v: [file('a'), file('b/c')] },
    });
    const { id } = await host.run(config);
    const folder = join(host.deps.runDir, 'volumes', id, 'memory', 'v');
    assert.deepEqual(
      (await readdir(folder)).filter((name) => !name.startsWith('..')),
      ['a', 'b'],
    );
    await host.runtime.containers.update(id, { files: { v: [file('d')] } });
    assert.deepEqual(
      (await readdir(folder)).filter((name) => !name.startsWith('..')),
      ['d'],
    );
    assert.equal((await readdir(folder)).length, 3, 'the link, its folder, and the file');
    await mkdir(join(folder, '..half'));
    await host.reopen();
    await host.runtime.containers.update(id, { files: { v: [file('d')] } });
    assert.equal((await readdir(folder)).length, 3, 'what a kill left is gone');
    for (const path of ['..', '../x', '/x', 'a//b', '..data/x', '']) {
      await assert.rejects(
        host.runtime.containers.update(id, { files: { v: [file(path)] } }),
        ContainerConfigError,
        path,
      );
    }
    await assert.rejects(
      host.runtime.containers.update(id, { files: { v: [file('a'), file('a/b')] } }),
      ContainerConfigError,
    );
  });

  it('says that files are lost after the host went down, and starts when they are given again', async () => {
    const files = { v: [{ path: 'a', dataBase64: base64('text'), mode: 0o644 }] };
    const config = host.config({ cmd: ['cat', '/f/a'], ...at('/f', { kind: 'files' }), files });
    await host.run(config);
    await host.exited(config.id);
    await host.reopen();
    assert.equal(
      (await host.runtime.containers.start(config.id, never)).lacksFiles,
      undefined,
      'a daemon that comes back has them',
    );
    await host.exited(config.id);
    await host.runtime.close();
    assert.equal(spawnSync('umount', [join(host.deps.runDir, 'volumes', config.id, 'memory', 'v')]).status, 0);
    await host.open();
    assert.equal((await host.runtime.containers.inspect(config.id))?.lacksFiles, true);
    await assert.rejects(host.runtime.containers.start(config.id, never), MountError);
    await host.runtime.containers.update(config.id, { files });
    await host.runtime.containers.start(config.id, never);
    await host.exited(config.id);
    assert.equal(await host.output(config.id), 'texttexttext');
  });

  it('never deletes through what somebody mounted in a volume', async () => {
    const { path } = await host.runtime.volumes.create('foreign', {});
    await writeFile(join(place, 'precious'), '');
    await mkdir(join(path, 'mnt'));
    assert.equal(spawnSync('mount', ['--bind', place, join(path, 'mnt')]).status, 0);
    try {
      await assert.rejects(
        host.runtime.volumes.remove('foreign'),
        (error) => error instanceof VolumeInUseError && /is mounted; unmount it/.test(error.message),
      );
      assert.equal(existsSync(join(place, 'precious')), true);
    } finally {
      assert.equal(spawnSync('umount', [join(path, 'mnt')]).status, 0);
    }
    await host.runtime.volumes.remove('foreign');
    assert.equal((await stat(join(place, 'precious'))).isFile(), true);
  });

  it('runs a web server that needs to write in two places, on a read-only root', async () => {
    const script =
      'mkdir -p /run/apache2 2>/dev/null; echo 1 > /run/apache2/pid && echo 1 > /run/lock/apache2/lock && echo works; touch /var/www; touch /run/x';
    const { output } = await host.script(script, {
      readonlyRootfs: true,
      volumes: [
        { name: 'run', source: own },
        { name: 'lock', source: own },
      ],
      mounts: [
        { volume: 'run', path: '/run/apache2', isReadOnly: false, copiesUp: true },
        { volume: 'lock', path: '/run/lock/apache2', isReadOnly: false, copiesUp: true },
      ],
    });
    assert.match(output, /^works\n.*Read-only file system\n.*Read-only file system\n$/);
  });
});

describe('volumes with runc', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open({ ociRuntime: 'runc' });
  });
  after(() => host.close());

  it('are mounted as with crun, at the first start and at later ones', async () => {
    const place = join(host.dir, 'place');
    await mkdir(join(place, 'inner'), { recursive: true });
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'hf-test', join(place, 'inner')]).status, 0);
    try {
      const sources: Record<string, VolumeSource> = {
        own,
        memory: { kind: 'memory', sizeBytes: 2 ** 20 },
        tmpfs: { kind: 'tmpfs', sizeBytes: 2 ** 20, mode: 0o700 },
        host: bind(place),
        files: { kind: 'files' },
      };
      const mounts = Object.keys(sources).map((volume) => ({
        volume,
        path: `/${volume}`,
        isReadOnly: volume === 'host',
        copiesUp: false,
      }));
      const config = host.config({
        cmd: [
          'sh',
          '-c',
          'echo x >> /own/x; echo x >> /memory/x; echo x >> /tmpfs/x; cat /own/x /memory/x /tmpfs/x | tr "\\n" " "; cat /files/f; stat -c %a /tmpfs; for f in /x /host/x /host/inner/x /files/x; do touch $f 2>&1 | grep -o "Read-only.*"; done; ls /own/part; cat /part',
        ],
        readonlyRootfs: true,
        volumes: Object.entries(sources).map(([name, source]) => ({ name, source })),
        mounts: [
          ...mounts,
          { volume: 'own', path: '/own/part', isReadOnly: false, copiesUp: false, subPath: 'a/b' },
          { volume: 'files', path: '/part', isReadOnly: true, copiesUp: false, subPath: 'f' },
        ],
        files: { files: [{ path: 'f', dataBase64: base64('f\n'), mode: 0o644 }] },
      });
      const tail = `f\n700\n${'Read-only file system\n'.repeat(4)}f\n`;
      await host.run(config);
      await host.exited(config.id);
      assert.equal(await host.output(config.id), `x x x ${tail}`);
      await host.runtime.containers.start(config.id, never);
      await host.exited(config.id);
      assert.equal(await host.output(config.id), `x x x ${tail}x x x x x ${tail}`);
      await host.runtime.containers.remove(config.id);
    } finally {
      assert.equal(spawnSync('umount', [join(place, 'inner')]).status, 0);
    }
  });
});
