/** The same commands about images to Debian's dockerd and to the gateway: what they answer is the same, letter by letter. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Dockerd, startDockerd } from '../dockerd.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { openStore, run, type StoreFixture } from '../runtime/images-fixture.ts';
import { debianDocker } from '../tools.ts';
import { type ImageGateway, runDocker, startImageGateway } from './image-gateway.ts';

describe('images beside dockerd', function () {
  this.timeout(240_000);
  let dir: string;
  let dockerd: Dockerd;
  let fixture: StoreFixture;
  let gateway: ImageGateway;
  let image: BuiltImage;
  let archive: Buffer;
  let tree: Buffer;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-docker-images-'));
    const above = join(dir, 'above');
    await mkdir(above);
    await writeFile(join(above, 'motd'), 'above\n');
    image = await buildBusyboxImage({
      ...{ dir, name: 'bench:1', cmd: ['sh'], env: ['A=1'], labels: { a: 'b' }, moreLayers: [above] },
      ...{ exposedPorts: ['80/tcp'], volumes: ['/data'], workingDir: '/tmp', stopSignal: 'SIGQUIT' },
    });
    archive = await readFile(image.path);
    tree = (await run('tar', ['-C', above, '-c', '.'], { encoding: 'buffer' })).stdout;
    dockerd = await startDockerd();
    fixture = await openStore();
    gateway = await startImageGateway(fixture.store, { program: debianDocker(), answer: fetch });
  });
  after(async () => {
    await gateway?.close();
    await fixture?.close();
    await dockerd?.close();
    await rm(dir, { recursive: true, force: true });
  });

  it('are loaded, listed, shown, named, imported and removed in the same words', async () => {
    const missing = `sha256:${'0'.repeat(64)}`;
    const shown =
      '{{.Id}} {{.RepoTags}} {{.RepoDigests}} {{json .Config}} {{json .ContainerConfig}} {{.Architecture}} {{.Os}} {{json .RootFS}} {{.Created}} {{json .Comment}} {{json .Author}} {{.Parent}}';
    const imported = '{{.RepoTags}} {{json .Config}} {{.Comment}} {{.Architecture}} {{.Os}} {{len .RootFS.Layers}}';
    const steps: (readonly [readonly string[], Buffer?])[] = [
      [['load'], archive],
      [['images', '--no-trunc', '--format', '{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}} {{.CreatedSince}}']],
      [['image', 'inspect', '--format', shown, 'bench:1']],
      [['history', '--no-trunc', '--format', '{{.ID}} {{.CreatedSince}} {{.CreatedBy}} {{.Comment}}', 'bench:1']],
      [['tag', 'bench:1', 'a:1']],
      [['tag', 'bench:1', 'b']],
      [['tag', 'nothing', 'b']],
      [['tag', 'bench:1', 'B']],
      [['images', '-q', 'a']],
      [['images', '--format', '{{.Repository}}:{{.Tag}}', '--filter', 'reference=*:1']],
      [['images', '--filter', 'bogus=1']],
      [['rmi', 'bench:1']],
      [['rmi', image.id]],
      [['rmi', image.id.slice(7, 19)]],
      [['rmi', 'nothing']],
      [['rmi', 'a:1', 'b']],
      [['images', '-a']],
      [['load', '-q'], archive],
      [['rmi', '-f', image.id]],
      [['load', '-q'], archive],
      [['import', '-c', 'RUN x', '-', 'made'], tree],
      [['import', '-', 'MADE'], tree],
      [['image', 'prune', '-f']],
      [['image', 'prune', '-f', '--filter', 'until=soon']],
      [['image', 'inspect', 'nothing', missing]],
      [['image', 'rm', missing]],
      [['history', 'nothing']],
      [['save', 'nothing']],
      [['push', 'nothing']],
      [['push', 'nothing:1']],
      [['push', `a@${missing}`]],
      [['pull', 'A']],
    ];
    const ask = (host: string, args: readonly string[], input: Buffer | undefined) =>
      runDocker(debianDocker(), args, { environment: { DOCKER_HOST: host, DOCKER_CONFIG: dir }, input });
    for (const [args, input] of steps) {
      const [real, ours] = await Promise.all(
        [`unix://${dockerd.socketPath}`, `unix://${gateway.socketPath}`].map(async (host) => {
          const { code, stdout, stderr } = await ask(host, args, input);
          // Images of one time are in no order.
          const lines = args[0] === 'images' ? stdout.split('\n').sort().join('\n') : stdout;
          return `${code}\n${lines}${stderr}`;
        }),
      );
      assert.equal(ours, real, `docker ${args.join(' ')}`);
    }
    const made = await Promise.all(
      [`unix://${dockerd.socketPath}`, `unix://${gateway.socketPath}`].map(async (host) => {
        const changes = [
          'CMD ["x"]',
          'ENV A=1 B="c d"',
          'EXPOSE 80 81/udp',
          'LABEL l=1',
          'WORKDIR /w',
          'USER u',
          'VOLUME /v',
        ];
        const flags = changes.flatMap((change) => ['-c', change]);
        const { code, stderr } = await ask(host, ['import', ...flags, '-m', 'why', '-', 'made:1'], tree);
        assert.equal(code, 0, stderr);
        const { stdout } = await ask(host, ['image', 'inspect', '--format', imported, 'made:1'], undefined);
        return stdout;
      }),
    );
    assert.equal(made[1], made[0]);
  });
});
