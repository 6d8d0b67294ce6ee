/** `docker image …` as people type it, against the gateway's endpoints over a real image store and real registries. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import {
  openStore,
  patient,
  processesWith,
  push,
  type RegistryProxy,
  run,
  type StoreFixture,
  startProxy,
} from '../runtime/images-fixture.ts';
import { Terminal } from '../terminal.ts';
import { dockers, startRegistry, type TestRegistry } from '../tools.ts';
import { until } from '../until.ts';
import { type ImageGateway, startImageGateway } from './image-gateway.ts';

const short = (id: string): string => id.replace('sha256:', '').slice(0, 12);

for (const program of dockers())
  describe(`docker image, with ${program}`, function () {
    this.timeout(240_000);
    let dir: string;
    let registry: TestRegistry;
    let locked: TestRegistry;
    let proxy: RegistryProxy;
    let registriesConf: string;
    let one: BuiltImage;
    let two: BuiltImage;
    let big: BuiltImage;
    let digest: string;
    let fixture: StoreFixture;
    let gateway: ImageGateway;
    let answers: typeof fetch;

    const docker = async (...args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await gateway.docker(args);
      assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
      return stdout.trimEnd();
    };
    const refused = async (...args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await gateway.docker(args);
      assert.notEqual(code, 0, `docker ${args.join(' ')} was not refused: ${stdout}`);
      return stderr.trim();
    };

    before(async () => {
      dir = await mkdtemp(join(tmpdir(), 'holdfast-docker-images-'));
      registry = await startRegistry();
      locked = await startRegistry({
        htpasswdLine: 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a',
      });
      proxy = await startProxy(registry);
      registriesConf = join(dir, 'registries.conf');
      const insecure = [locked.address, proxy.address].map(
        (at) => `[[registry]]\nlocation = "${at}"\ninsecure = true\n`,
      );
      await writeFile(registriesConf, `${await readFile(registry.registriesConf, 'utf8')}${insecure.join('')}`);
      const above = join(dir, 'above');
      await mkdir(above);
      await writeFile(join(above, 'motd'), 'above\n');
      one = await buildBusyboxImage({
        ...{ dir, file: 'one.tar', cmd: ['sh'], env: ['A=1'], labels: { team: 'web' } },
        ...{ exposedPorts: ['80/tcp'], volumes: ['/data'], workingDir: '/tmp', stopSignal: 'SIGQUIT' },
      });
      two = await buildBusyboxImage({ dir, file: 'two.tar', cmd: ['two'], moreLayers: [above] });
      big = await buildBusyboxImage({ dir, file: 'big.tar', files: { '/data': randomBytes(4_000_000) } });
      digest = await push(registry, one.reference, 'library/one:1');
      await push(registry, two.reference, 'library/two:latest');
      await push(registry, big.reference, 'library/big:1');
    });
    after(async () => {
      await proxy.close();
      await registry.close();
      await locked.close();
      await rm(dir, { recursive: true, force: true });
    });
    beforeEach(async () => {
      answers = async () => Response.json({ results: [] });
      fixture = await openStore({ registriesConf });
      gateway = await startImageGateway(fixture.store, { program, answer: (...args) => answers(...args) });
    });
    afterEach(async () => {
      proxy.setMode('pass');
      await gateway.close();
      await until(async () => (await processesWith(`${fixture.root}+`)).length === 0, 'all transfers to have ended');
      await until(
        async () => (await readdir(join(fixture.root, 'holdfast-tmp')).catch(() => [])).length === 0,
        'what transfers had in folders to be gone',
      );
      assert.deepEqual(await readdir(join(fixture.dir, 'run', 'holdfast-auth')), [], 'a password is left');
      await fixture.close();
    });

    it('pull says what it does, and knows an image that is up to date', async () => {
      const first = (await docker('pull', 'one:1')).split('\n');
      assert.equal(first[0], '1: Pulling from library/one');
      const layers = first.filter((line) => /^[0-9a-f]{12}: /.test(line));
      assert.deepEqual(
        [...new Set(layers.map((line) => line.slice(14)))],
        ['Pulling fs layer', 'Download complete', 'Pull complete'],
      );
      const end = [`Digest: ${digest}`, 'Status: Downloaded newer image for one:1', 'docker.io/library/one:1'];
      assert.deepEqual(first.slice(-3), end);
      const again = (await docker('pull', 'one:1')).split('\n');
      assert.match(again[1] ?? '', /^[0-9a-f]{12}: Already exists$/);
      assert.equal(again.at(-2), 'Status: Image is up to date for one:1');
      assert.deepEqual((await docker('pull', 'two')).split('\n').slice(0, 2), [
        'Using default tag: latest',
        'latest: Pulling from library/two',
      ]);
      assert.equal(await docker('pull', '--quiet', `one@${digest}`), `docker.io/library/one@${digest}`);
      assert.deepEqual(
        gateway.events.map(({ Action, Actor }) => `${Action} ${Actor.ID} ${Actor.Attributes.name}`),
        ['pull one:1 one', 'pull one:1 one', 'pull two:latest two', `pull one@${digest} one`],
      );
    });

    it('pull draws a bar for each layer in a terminal', async () => {
      proxy.setMode('stall', 1_000_000);
      const terminal = await Terminal.open();
      try {
        await terminal.resize(140, 30); // a narrower one has no room for bars
        const environment = Object.entries(gateway.environment).map(([name, value]) => `${name}=${value}`);
        await terminal.type(`env ${environment.join(' ')} ${program} pull ${proxy.address}/library/big:1`);
        await terminal.shows(/[0-9a-f]{12}: Downloading \[=+> +\] +\d\.\d+MB\/\d\.\d+MB/);
        await terminal.press('C-c');
        await until(
          async () => (await processesWith(`${fixture.root}+`)).length === 0,
          'skopeo to be gone with its client',
        );
      } finally {
        await terminal.close();
      }
      assert.equal(await docker('images', '-q'), '');
    });

    it('pull that fails says why, in the words of docker', async () => {
      const from = 'Error response from daemon: ';
      assert.equal(
        await refused('pull', 'one:9'),
        `${from}manifest for one:9 not found: manifest unknown: manifest unknown`,
      );
      assert.match(
        await refused('pull', `${registry.address}/nothing`),
        /manifest for 127\.0\.0\.1:\d+\/nothing:latest not found/,
      );
      assert.match(
        await refused('pull', '127.0.0.1:1/one'),
        /^Error response from daemon: Get "https:\/\/127\.0\.0\.1:1\/v2\/": dial tcp .*connection refused/,
      );
      assert.match(await refused('pull', `${locked.address}/one`), /unauthorized: authentication required/);
      assert.match(await refused('pull', 'One'), /invalid reference format: repository name .*must be lowercase/);
      assert.match(
        await refused('pull', '--platform', 'linux/s390x', 'one:1'),
        /no matching manifest for linux\/s390x/,
      );
      assert.match(await refused('pull', '--platform', 'nonsense', 'one:1'), /"nonsense" is not a platform/);
      assert.deepEqual(gateway.events, []);
    });

    it('images lists them, with filters, formats and digests', async () => {
      await docker('pull', 'one:1');
      await docker('pull', 'two');
      await docker('tag', 'one:1', 'localhost:5000/team/web:2');
      const names = async (...args: string[]) =>
        (await docker('images', '--format', '{{.Repository}}:{{.Tag}}', ...args))
          .split('\n')
          .sort()
          .filter((line) => line !== '');
      assert.deepEqual(await names(), ['localhost:5000/team/web:2', 'one:1', 'two:latest']);
      assert.deepEqual(await names('one'), ['one:1']);
      assert.deepEqual(await names('t*'), ['two:latest']);
      assert.deepEqual(await names('--filter', 'reference=*/*/web'), ['localhost:5000/team/web:2']);
      assert.deepEqual(await names('--filter', 'label=team=web'), ['localhost:5000/team/web:2', 'one:1']);
      assert.deepEqual(await names('--filter', 'label=team=db'), []);
      assert.deepEqual(await names('--filter', 'dangling=true'), []);
      assert.deepEqual(await names('--filter', 'before=one:1'), [], 'they were made at the same time');
      assert.match(await refused('images', '--filter', 'since=nothing'), /No such image: nothing:latest/);
      assert.match(await refused('images', '--filter', 'size=3'), /Invalid filter 'size'/i);
      assert.match(
        await docker('images', '--digests', 'one'),
        new RegExp(`one +1 +${digest} +${short(one.id)} +\\d+ years ago +2\\.\\d+MB`),
      );
      assert.equal(await docker('images', '-q', '--no-trunc', 'two'), two.id);
      await docker('rmi', 'one:1', 'localhost:5000/team/web:2');
      await docker('tag', 'two', 'one:1');
      assert.deepEqual(await names(), ['one:1', 'two:latest']);
    });

    it('image inspect and history tell what --format asks for', async () => {
      await docker('pull', 'one:1');
      await docker('pull', 'two');
      const inspect = (format: string, name = 'one:1') => docker('image', 'inspect', '--format', format, name);
      assert.equal(await inspect('{{.Id}}'), one.id);
      assert.equal(await inspect('{{.RepoTags}} {{.RepoDigests}}'), `[one:1] [one@${digest}]`);
      assert.equal(
        await inspect('{{json .Config.Cmd}} {{.Config.Env}} {{.Config.WorkingDir}} {{.Config.StopSignal}}'),
        '["sh"] [A=1] /tmp SIGQUIT',
      );
      assert.equal(
        await inspect('{{.Config.Labels.team}} {{.Config.ExposedPorts}} {{.Config.Volumes}}'),
        'web map[80/tcp:{}] map[/data:{}]',
      );
      assert.equal(
        await inspect('{{.Os}}/{{.Architecture}} {{.Created}}'),
        `linux/${process.arch === 'x64' ? 'amd64' : process.arch} 1970-01-01T00:00:00Z`,
      );
      assert.equal(
        await inspect('{{len .RootFS.Layers}} {{.RootFS.Type}} {{.GraphDriver.Name}}', 'two'),
        '2 layers overlay2',
      );
      for (const name of [short(one.id), one.id, one.id.slice(7), `one@${digest}`])
        assert.equal(await inspect('{{.Id}}', name), one.id, name);
      const whole: unknown = JSON.parse(await docker('image', 'inspect', 'one:1'));
      assert.ok(Array.isArray(whole) && whole.length === 1);
      assert.match(await refused('image', 'inspect', 'nothing'), /No such image: nothing/);
      const history = (
        await docker('history', '--no-trunc', '--format', '{{.ID}} {{.CreatedBy}} {{.Size}}', 'two')
      ).split('\n');
      assert.equal(history.length, 2);
      assert.match(history[0] ?? '', new RegExp(`^${two.id} holdfast examples \\d+(?:\\.\\d+)?k?B$`));
      assert.match(history[1] ?? '', /^<missing> holdfast examples 2\.\d+MB$/);
    });

    it('rmi takes names away, and the image with the last; what is used is refused as docker does', async () => {
      await docker('pull', 'one:1');
      await docker('tag', 'one:1', 'other:1');
      assert.deepEqual((await docker('rmi', 'other:1')).split('\n'), [
        'Untagged: other:1',
        `Untagged: other@${digest}`,
      ]);
      await docker('tag', one.id, 'other:1');
      const id = 'c'.repeat(64);
      assert.match(
        await refused('rmi', one.id),
        new RegExp(
          `conflict: unable to delete ${short(one.id)} \\(must be forced\\) - image is referenced in multiple repositories`,
        ),
      );
      gateway.users = [{ id, imageID: one.id, isRunning: true }];
      assert.match(
        await refused('rmi', '-f', one.id),
        new RegExp(
          `conflict: unable to delete ${short(one.id)} \\(cannot be forced\\) - image is being used by running container ${short(id)}`,
        ),
      );
      await docker('rmi', 'other:1');
      assert.match(
        await refused('rmi', 'one:1'),
        new RegExp(
          `conflict: unable to remove repository reference "one:1" \\(must force\\) - container ${short(id)} is using its referenced image ${short(one.id)}`,
        ),
      );
      gateway.users = [{ id, imageID: one.id, isRunning: false }];
      assert.match(
        await refused('rmi', one.id),
        new RegExp(`\\(must be forced\\) - image is being used by stopped container ${short(id)}`),
      );
      assert.equal(await docker('rmi', '-f', 'one:1'), `Untagged: one:1\nUntagged: one@${digest}`);
      assert.equal(
        await docker('images', '-q', '--no-trunc', '--filter', 'dangling=true'),
        one.id,
        'the container has it still',
      );
      gateway.users = [];
      const gone = (await docker('rmi', one.id)).split('\n');
      assert.equal(gone[0], `Deleted: ${one.id}`);
      assert.match(gone[1] ?? '', /^Deleted: sha256:[0-9a-f]{64}$/);
      assert.equal(gone.length, 2);
      assert.match(await refused('rmi', 'one:1'), /No such image: one:1$/);
      assert.match(await refused('rmi', 'a B'), /invalid reference format/);
      assert.deepEqual([...new Set(gateway.events.map(({ Action }) => Action))], ['pull', 'tag', 'untag', 'delete']);
    });

    it('push and pull go with the password of docker login, and not without', async () => {
      await docker('pull', 'two');
      const name = `${locked.address}/team/two:1`;
      await docker('tag', 'two', name);
      assert.match(await refused('push', name), /unauthorized: authentication required|no basic auth credentials/);
      assert.match(
        await refused('login', '-u', 'user', '-p', 'wrong', locked.address),
        /unauthorized: incorrect username or password/,
      );
      assert.match(await docker('login', '-u', 'user', '-p', 'secret', locked.address), /Login Succeeded/);
      const pushed = (await docker('push', name)).split('\n');
      assert.equal(pushed[0], `The push refers to repository [${locked.address}/team/two]`);
      assert.equal(pushed.filter((line) => /^[0-9a-f]{12}: Pushed$/.test(line)).length, 2);
      assert.match(pushed.at(-1) ?? '', /^1: digest: sha256:[0-9a-f]{64} size: \d{3,}$/);
      await docker('rmi', '-f', two.id);
      assert.match(await docker('pull', name), /Status: Downloaded newer image for 127/);
      assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', name), two.id);
      const manifest: unknown = JSON.parse(await docker('manifest', 'inspect', '--insecure', name));
      assert.ok(manifest);
      await docker('logout', locked.address);
      assert.match(await refused('pull', name), /unauthorized: authentication required/);
      assert.match(await refused('push', 'nothing'), /An image does not exist locally with the tag: nothing/);
      assert.match(await refused('push', `${locked.address}/team/two:9`), /tag does not exist: 127.*two:9/);
      assert.match(await refused('login', '-u', 'user', '-p', 'x', '127.0.0.1:1'), /connection refused/);
    });

    it('save and load keep images with their names, through a pipe', async () => {
      await docker('pull', 'one:1');
      await docker('pull', 'two');
      await docker('tag', 'one:1', 'one:again');
      const { code, bytes, stderr } = await gateway.docker(['save', 'one', two.id]);
      assert.equal(code, 0, stderr);
      await docker('rmi', '-f', one.id, two.id);
      const loaded = await gateway.docker(['load'], { input: bytes });
      assert.deepEqual(
        loaded.stdout.trim().split('\n').sort(),
        ['Loaded image: one:1', 'Loaded image: one:again', `Loaded image ID: ${two.id}`].sort(),
        loaded.stderr,
      );
      assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', 'one:again'), one.id);
      await docker('tag', two.id, 'one:1');
      const again = await gateway.docker(['load'], { input: bytes });
      assert.match(
        again.stdout,
        new RegExp(`The image one:1 already exists, renaming the old one with ID ${two.id} to empty string`),
      );
      assert.match(await refused('save', 'nothing'), /No such image: nothing/);
      const broken = await gateway.docker(['load'], { input: 'no archive at all' });
      assert.equal(broken.code, 1);
      assert.match(broken.stderr, /holds neither manifest\.json nor index\.json/);
    });

    it('import makes an image of a root file system, with changes', async () => {
      const { stdout } = await run('tar', ['-C', join(dir, 'above'), '-cz', '.'], { encoding: 'buffer' });
      const changes = [
        'CMD ["/bin/x","y"]',
        'ENV A=1 B="two words"',
        'EXPOSE 80',
        'LABEL l=1',
        'WORKDIR /w',
        'USER nobody',
      ];
      const args = ['import', ...changes.flatMap((change) => ['--change', change]), '--message', 'mine', '-', 'made:1'];
      const made = await gateway.docker(args, { input: stdout });
      assert.equal(made.code, 0, made.stderr);
      const format =
        '{{.Id}} {{.Config.Cmd}} {{json .Config.Env}} {{json .Config.ExposedPorts}} {{.Config.Labels}} {{.Config.WorkingDir}} {{.Config.User}} {{.Comment}}';
      assert.equal(
        await docker('image', 'inspect', '--format', format, 'made:1'),
        `${made.stdout.trim()} [/bin/x y] ["A=1","B=two words"] {"80/tcp":{}} map[l:1] /w nobody mine`,
      );
      const garbage = await gateway.docker(['import', '-', 'bad'], { input: 'x'.repeat(2000) });
      assert.equal(garbage.code, 1);
      assert.match(garbage.stderr, /the archive cannot be taken in: .*invalid tar header/);
      const change = await gateway.docker(['import', '--change', 'RUN x', '-', 'bad'], { input: stdout });
      assert.match(change.stderr, /run is not a valid change command/);
      answers = async () => new Response(new Uint8Array(stdout));
      assert.match(await docker('import', 'http://example.test/root.tgz', 'fetched'), /sha256:[0-9a-f]{64}$/);
    });

    it('image prune removes what has no name, and with --all what nobody uses', async () => {
      await docker('pull', 'one:1');
      await docker('pull', 'two');
      await docker('tag', 'two', 'one:1');
      const pruned = await docker('image', 'prune', '--force');
      assert.match(pruned, new RegExp(`deleted: ${one.id}`));
      assert.match(pruned, /Total reclaimed space: 0B/, 'its layer is the lowest of the other');
      assert.match(
        await docker('image', 'prune', '--force', '--all', '--filter', 'label=none'),
        /Total reclaimed space: 0B$/,
      );
      gateway.users = [{ id: 'c'.repeat(64), imageID: two.id, isRunning: false }];
      assert.equal(await docker('image', 'prune', '--force', '--all'), 'Total reclaimed space: 0B');
      gateway.users = [];
      const all = await docker('image', 'prune', '--force', '--all');
      assert.match(all, /untagged: one:1\n/);
      assert.match(all, /Total reclaimed space: 2\.\d+MB$/);
      assert.equal(await docker('images', '-q'), '');
    });

    it('search asks Docker Hub, and says what cannot be searched', async () => {
      const asked: string[] = [];
      answers = async (url) => {
        asked.push(String(url));
        return Response.json({
          results: [
            { name: 'nginx', description: 'Official', star_count: 20_000, is_official: true, is_automated: false },
            { name: 'me/nginx', description: '', star_count: 1, is_official: false },
          ],
        });
      };
      assert.match(await docker('search', 'nginx'), /nginx +Official +20000 +\[OK\] *\nme\/nginx +1/);
      assert.equal(await docker('search', '--filter', 'stars=3', '--format', '{{.Name}}', 'nginx'), 'nginx');
      assert.match(asked[0] ?? '', /^https:\/\/index\.docker\.io\/v1\/search\?q=nginx&n=25$/);
      assert.match(
        await refused('search', 'localhost:5000/nginx'),
        /localhost:5000 cannot be searched: registries have no interface for it/,
      );
      answers = async () =>
        Promise.reject(new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') }));
      assert.match(await refused('search', 'nginx'), /Docker Hub cannot be searched: Error: getaddrinfo ENOTFOUND/);
    });

    it('build and commit name what does it instead', async () => {
      await writeFile(join(dir, 'Dockerfile'), 'FROM one:1\n');
      const context = await run('tar', ['-C', dir, '-c', 'Dockerfile'], { encoding: 'buffer' });
      const built = await gateway.docker(['build', '-'], { input: context.stdout });
      assert.equal(built.code, 1);
      assert.match(built.stderr, /Holdfast builds no images; build it with "buildah bud/);
      assert.match(await refused('commit', 'x', 'y'), /makes no image of a container; build it with "buildah/);
      assert.match(await docker('builder', 'prune', '--force'), /Total reclaimed space: 0B/);
    });

    it('a client that is killed in the middle of a transfer leaves nothing', async () => {
      proxy.setMode('stall', 1_000_000);
      const killed = new AbortController();
      const pull = gateway.docker(['pull', `${proxy.address}/library/big:1`], { signal: killed.signal });
      await proxy.stalled(1);
      killed.abort();
      await assert.rejects(pull);
      await until(async () => (await processesWith(`${fixture.root}+`)).length === 0, 'skopeo to be gone');
      proxy.setMode('pass');
      await docker('pull', 'big:1');
      const { bytes } = await gateway.docker(['save', 'big:1']);
      // Half of an archive, and then the connection breaks.
      const load = request({ socketPath: gateway.socketPath, method: 'POST', path: '/v1.41/images/load' });
      const broken = new Promise((resolve) => load.on('error', resolve));
      load.write(bytes.subarray(0, bytes.length / 2));
      await until(async () => (await readdir(join(fixture.root, 'holdfast-tmp'))).length > 0, 'the load to have begun');
      load.destroy(new Error('gone'));
      await broken;
      const saving = request({ socketPath: gateway.socketPath, path: '/v1.41/images/big:1/get' });
      await new Promise((resolve, reject) => {
        saving.on('error', reject);
        saving.on('response', (response) => {
          response.on('error', resolve); // its connection is broken off by us
          response.once('data', () => saving.destroy());
          response.on('close', resolve);
        });
        saving.end();
      });
      // afterEach sees that neither processes nor folders are left.
      assert.equal(await docker('images', '-q', '--no-trunc'), big.id);
    });

    it('hostile requests are answered, and change nothing', async () => {
      await fixture.store.importAs(one.reference, 'localhost/one:1', patient());
      const ask = (method: string, path: string, headers: Record<string, string> = {}, body = '') =>
        new Promise<number>((resolve, reject) => {
          const asked = request({ socketPath: gateway.socketPath, method, path, headers }, (response) => {
            response.resume();
            response.on('end', () => resolve(response.statusCode ?? 0));
          });
          asked.on('error', reject);
          asked.end(body);
        });
      const rows: [string, string, number, Record<string, string>?, string?][] = [
        ['GET', '/images/%00/json', 404],
        ['GET', '/images/--help/json', 400],
        ['GET', '/images/..%2f..%2fetc/json', 400],
        ['GET', '/images/json?filters={', 400],
        ['GET', '/images/json?filters={"label":5}', 400],
        ['POST', '/images/create', 400],
        ['POST', '/images/create?fromImage=a&tag=--x', 400],
        ['POST', '/images/create?fromImage=one:1', 400, { 'X-Registry-Auth': '!!!' }],
        [
          'POST',
          '/images/create?fromImage=one:1',
          400,
          { 'X-Registry-Auth': Buffer.from('{"username":5}').toString('base64') },
        ],
        [
          'POST',
          '/images/create?fromImage=one:1',
          400,
          { 'X-Registry-Auth': Buffer.from('{"identitytoken":"x"}').toString('base64') },
        ],
        ['POST', '/images/create?fromSrc=file:///etc/passwd&repo=x', 400],
        ['POST', '/images/localhost%2Fone:1/tag?repo=UPPER', 400],
        ['POST', '/images/localhost%2Fone:1/tag?repo=', 400],
        ['POST', `/images/localhost%2Fone:1/tag?repo=a&tag=sha256:${'0'.repeat(64)}`, 400],
        ['POST', '/images/prune?filters={"dangling":["maybe"]}', 400],
        ['POST', '/images/prune?filters={"until":["soon"]}', 400],
        ['GET', '/images/get', 400],
        ['GET', '/images/search', 400],
        ['GET', '/images/search?term=x&limit=9999', 400],
        ['POST', '/auth', 400, {}, '[]'],
        ['POST', '/auth', 400, {}, '{"username":"a\\u0000"}'],
        ['POST', '/auth', 400, {}, '{"username":"a","password":"b","serveraddress":"--help"}'],
        ['GET', '/distribution/UPPER/json', 400],
        ['POST', '/build', 501],
        ['POST', '/commit', 501],
        ['DELETE', '/images/nothing', 404],
      ];
      for (const [method, path, status, headers, body] of rows)
        assert.equal(await ask(method, path, headers, body), status, `${method} ${path}`);
      assert.equal(await docker('images', '--format', '{{.Repository}}:{{.Tag}}'), 'localhost/one:1');
    });
  });
