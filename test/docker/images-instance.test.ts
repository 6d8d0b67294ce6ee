/** Images of a whole Holdfast, driven by docker: what runs of them, what is in use, and what all of it takes of the disk. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { createInstance, type Instance } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { processesWith, push, type RegistryProxy, startProxy } from '../runtime/images-fixture.ts';
import { docker as dockerProgram, startRegistry, type TestRegistry } from '../tools.ts';
import { until } from '../until.ts';
import { dockerCommands } from './docker-commands.ts';

describe('images of an instance, driven by docker', function () {
  this.timeout(300_000);
  let dir: string;
  let hostBefore: HostSnapshot;
  let registry: TestRegistry;
  let proxy: RegistryProxy;
  let instance: Instance;
  let image: BuiltImage;
  let big: BuiltImage;

  const { docker, refusal, tryDocker } = dockerCommands(
    () => instance,
    () => dir,
  );

  before(async () => {
    hostBefore = await snapshotHost();
    dir = await mkdtemp(join(tmpdir(), 'holdfast-docker-images-'));
    registry = await startRegistry();
    proxy = await startProxy(registry);
    image = await buildBusyboxImage({ dir });
    big = await buildBusyboxImage({ dir, file: 'big.tar', files: { '/data': randomBytes(4_000_000) } });
    await push(registry, image.reference, 'library/busybox:latest');
    await push(registry, big.reference, 'library/big:1');
    const conf = join(dir, 'registries.conf');
    await writeFile(
      conf,
      `${await readFile(registry.registriesConf, 'utf8')}[[registry]]\nlocation = "${proxy.address}"\ninsecure = true\n`,
    );
    instance = await createInstance({ flags: ['--registries-conf', conf] });
    await instance.start();
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
    const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-vf', ...left);
    const images = (await docker('images', '-q', '--no-trunc')).split('\n').filter((id) => id !== '');
    if (images.length > 0) await docker('rmi', '-f', ...new Set(images));
  });

  it('run pulls an image that is missing, and the container runs by its name and by its id', async () => {
    const { code, stdout, stderr } = await tryDocker('run', '--rm', 'busybox', 'echo', 'hello');
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'hello\n');
    assert.match(stderr, /Unable to find image 'busybox:latest' locally\n.*Pulling from library\/busybox\n/s);
    const id = await docker('images', '-q');
    assert.equal(await docker('run', '--rm', id, 'echo', 'again'), 'again');
    assert.match(await refusal('run', '--rm', 'nothing'), /manifest for nothing:latest not found: manifest unknown/);
    await docker('tag', 'busybox', 'busybox:2');
    await docker('rmi', 'busybox', 'busybox:2');
  });

  it('rmi leaves what containers have, and takes it when they are gone', async () => {
    await docker('run', '-d', '--name', 'user', '--stop-timeout', '0', 'busybox', 'sleep', '1000');
    const container = (await docker('ps', '-q')).trim();
    assert.match(
      await refusal('rmi', 'busybox'),
      new RegExp(`must force\\) - container ${container} is using its referenced image`),
    );
    assert.match(
      await refusal('rmi', '-f', image.id),
      new RegExp(`cannot be forced\\) - image is being used by running container ${container}`),
    );
    await docker('stop', 'user');
    assert.match(await refusal('rmi', image.id), /must be forced\) - image is being used by stopped container/);
    assert.equal(await docker('image', 'prune', '--all', '--force'), 'Total reclaimed space: 0B');
    await docker('rmi', '-f', 'busybox');
    await docker('start', 'user');
    assert.equal(await docker('exec', 'user', 'echo', 'still there'), 'still there');
    await docker('rm', '-f', 'user');
    assert.match(await docker('image', 'prune', '--force'), new RegExp(`deleted: ${image.id}`));
    assert.equal(await docker('images', '-q'), '');
  });

  it('system df and ps --size tell what is taken of the disk', async () => {
    await docker(
      'run',
      '-d',
      '--name',
      'writer',
      '-v',
      'kept:/kept',
      'busybox',
      'sh',
      '-c',
      'dd if=/dev/zero of=/kept/x bs=1000 count=3000; dd if=/dev/zero of=/y bs=1000 count=5000; echo done; sleep 1000',
    );
    await until(async () => (await docker('logs', 'writer')).includes('done'), 'it to have written');
    const rows = (await docker('system', 'df', '--format', '{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}')).split(
      '\n',
    );
    assert.equal(rows.length, 4);
    assert.match(rows[0] ?? '', /^Images\|1\|1\|2\.\d+MB$/);
    assert.match(rows[1] ?? '', /^Containers\|1\|1\|5\.\d+MB$/);
    assert.match(rows[2] ?? '', /^Local Volumes\|1\|1\|3\.\d+MB$/);
    assert.match(rows[3] ?? '', /^Build Cache\|0\|0\|0B$/);
    assert.match(await docker('system', 'df', '-v'), /kept +1 +3\.\d+MB/);
    assert.match(await docker('ps', '--size', '--format', '{{.Size}}'), /^5\.\d+MB \(virtual 7\.\d+MB\)$/);
    assert.match(
      await docker('inspect', '--size', '--format', '{{.SizeRw}} {{.SizeRootFs}}', 'writer'),
      /^5\d{6} 7\d{6}$/,
    );
  });

  it('a client or a daemon that is killed in the middle of a pull leaves nothing broken', async () => {
    const root = join(instance.dataDir, 'images');
    const from = `${proxy.address}/library/big:1`;
    const host = `unix://${join(instance.runDir, 'docker.sock')}`;
    for (const victim of ['client', 'daemon'] as const) {
      proxy.setMode('stall', 1_000_000);
      const client = spawn(dockerProgram(), ['--host', host, 'pull', from], {
        stdio: 'ignore',
        env: { DOCKER_CONFIG: dir },
      });
      const ended = new Promise((resolve) => client.on('close', resolve));
      await proxy.stalled(1);
      if (victim === 'client') client.kill('SIGKILL');
      else await instance.stop('SIGKILL');
      await ended;
      await until(async () => (await processesWith(`${root}+`)).length === 0, `skopeo to be gone with the ${victim}`);
      proxy.setMode('pass');
      if (victim === 'daemon') await instance.start();
      assert.equal(await docker('images', '-q'), '');
      assert.match(await docker('pull', from), /Status: Downloaded newer image/);
      assert.equal(await docker('images', '-q', '--no-trunc'), big.id);
      await until(
        async () => (await readdir(join(root, 'holdfast-tmp'))).length === 0,
        `no file to be left of the pull without its ${victim}`,
      );
      await docker('rmi', from);
    }
  });

  it('events tell of what was done with images', async () => {
    const since = String(Date.now() / 1000);
    await docker('pull', 'busybox');
    await docker('tag', 'busybox', 'other:1');
    await docker('rmi', 'other:1');
    assert.match(await docker('image', 'prune', '--all', '--force'), new RegExp(`deleted: ${image.id}`));
    const events = await docker(
      'events',
      '--since',
      since,
      '--until',
      String(Date.now() / 1000 + 1),
      '--filter',
      'type=image',
      '--format',
      '{{.Action}}',
    );
    assert.deepEqual([...new Set(events.split('\n'))], ['pull', 'tag', 'untag', 'delete']);
  });
});
