/**
 * The images of the website monitor, built and run: in one network namespace of their own, by unshare and chroot, so
 * that what fails here is the image and not the runtime.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { loadAll } from 'js-yaml';
import pino from 'pino';
import { Registry } from 'prom-client';
import { buildExampleImages, websiteMonitorImages } from '../../examples/index.ts';
import { createImageStore, imageStoragePaths } from '../../runtime/images/index.ts';
import { alone } from '../alone.ts';
import { until } from '../until.ts';

const run = promisify(execFile);
const examples = join(import.meta.dirname, '..', '..', 'examples');

describe('the website monitor', function () {
  this.timeout(240_000);
  let dir: string;
  const lines: string[] = [];
  const build = () =>
    alone('building the examples', () =>
      buildExampleImages({
        recipes: websiteMonitorImages,
        dataDir: join(dir, 'data'),
        runDir: join(dir, 'run'),
        cacheDir: join(examples, '..', '.tools', 'debs'),
        workDir: join(dir, 'work'),
        signal: new AbortController().signal,
        log: pino({ level: 'silent' }),
        report: (line) => lines.push(line),
      }),
    );

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-example-'));
    for (const name of ['data', 'work', 'run']) await mkdir(join(dir, name));
    await build();
  });
  after(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  describe('build-images', () => {
    it('builds every image', () => {
      assert.deepEqual(
        lines.map((line) => line.split(' ')[1]),
        websiteMonitorImages.map((recipe) => recipe.name),
      );
    });
    it('leaves them alone when nothing changed', async () => {
      const before = lines.length;
      await build();
      assert.equal(lines.length, before);
      assert.deepEqual(await readdir(join(dir, 'work')), []);
    });
    it('builds again what is missing or made of other sources, and only that, to the same image', async () => {
      const file = join(dir, 'data', 'example-images.json');
      // It was written by the function under test, of this shape.
      const record = JSON.parse(await readFile(file, 'utf8')) as Record<string, { sources: string; imageID: string }>;
      const before = lines.length;
      const mailer = record['localhost/mailer:latest'];
      assert.ok(mailer !== undefined);
      const id = mailer.imageID;
      mailer.sources = 'others';
      await writeFile(file, JSON.stringify(record));
      await build();
      assert.deepEqual(
        lines.slice(before).map((line) => line.split(' ')[1]),
        ['localhost/mailer:latest'],
      );
      // As above.
      const after = JSON.parse(await readFile(file, 'utf8')) as typeof record;
      assert.equal(after['localhost/mailer:latest']?.imageID, id, 'the same sources give the same image');
    });
  });

  describe('the spec documents', () => {
    it('are three Containers of images that are built, which are never fetched', async () => {
      const folder = join(examples, 'website-monitor');
      const files = (await readdir(folder)).filter((name) => /\.(?:ya?ml|json)$/.test(name));
      const documents = await Promise.all(
        files.map(async (name) => loadAll(await readFile(join(folder, name), 'utf8'))),
      );
      const specs = documents.flat().map((document) => {
        // What else it may be is judged by the store, in the end-to-end tests.
        const { kind, metadata, spec } = document as {
          kind: string;
          metadata: { name: string };
          spec: { image: string; imagePullPolicy: string };
        };
        return { kind, name: metadata.name, image: spec.image, policy: spec.imagePullPolicy };
      });
      assert.deepEqual(specs.map(({ name }) => name).sort(), ['agent', 'mailer', 'web']);
      const built = new Set(websiteMonitorImages.map(({ name }) => name));
      for (const { kind, image, policy } of specs) {
        assert.equal(kind, 'Container');
        assert.ok(built.has(image), image);
        assert.equal(policy, 'Never');
      }
    });
  });

  describe('its containers', () => {
    let place: Place;
    beforeEach(async () => {
      place = await openPlace(dir);
    });
    afterEach(async () => {
      await place.close();
    });

    it('serve, watch and tell: the story of the book', async () => {
      const mailer = await place.start('mailer');
      const web = await place.start('nginx');
      const agent = await place.start('agent');
      await agent.logs('System up.');
      await mailer.logs('CH2 Example Mailer has started.');
      await web.logs('"GET / HTTP/1.0" 200');
      assert.match(await place.inside('agent', ['wget', '-q', '-O', '-', 'http://insideweb:80/']), /Welcome to nginx!/);
      // The agent's first look may have come before the server listened: that failure had a mail of its own.
      const [mails, downs] = [mailer.count('Sending email'), agent.count('System down.')];
      const failures = agent.count('The mailer cannot be reached');
      assert.equal(await web.stop('SIGQUIT'), 0);
      await mailer.logs('Sending email: To: admin@work Message: The service is down!', mails + 1);
      await agent.logs('System down.', downs + 3);
      // The mailer may say so later than the agent waits, who tries again then.
      const tries = agent.count('The mailer cannot be reached') - failures;
      assert.ok(mailer.count('Sending email') <= mails + 1 + tries, 'one mail for one failure');
      const ups = agent.count('System up.');
      await place.start('nginx');
      await agent.logs('System up.', ups + 1);
      assert.equal(await agent.stop('SIGTERM'), 0);
    });

    it('tell as soon as the mailer is there, when it was away', async () => {
      const agent = await place.start('agent');
      await agent.logs('The mailer cannot be reached', 2);
      const mailer = await place.start('mailer');
      await mailer.logs('Sending email: To: admin@work Message: The service is down!');
      assert.equal(agent.count('System up.'), 0);
    });

    it('take mail beside a client that says nothing, and leave hostile bytes out of the log', async () => {
      const mailer = await place.start('mailer');
      await mailer.logs('CH2 Example Mailer has started.');
      // It says so before it listens; of an empty message it says nothing.
      const isListening = () =>
        place.inside('agent', ['sh', '-c', 'nc -w 1 insidemailer 33333 </dev/null']).then(
          () => true,
          () => false,
        );
      await until(isListening, 'the mailer to listen');
      const silent = place.spawnInside('agent', ['sh', '-c', 'sleep 60 | nc insidemailer 33333']);
      await place.inside('agent', ['sh', '-c', "printf 'a\\033[31mb\\nc\\000d\\n' | nc -w 2 insidemailer 33333"]);
      await mailer.logs('Sending email: a[31mb cd');
      silent.kill('SIGKILL');
    });

    it('stop when they are asked to, and leave no zombies while they run', async () => {
      const all = [await place.start('mailer'), await place.start('nginx'), await place.start('agent')];
      await all[2]?.logs('System up.', 4);
      // Several may end at this moment.
      for (const container of all) await until(async () => (await container.zombies()) < 2, 'its zombies to be reaped');
      for (const container of all) {
        assert.equal(await container.stop('SIGTERM'), 0);
      }
    });
  });
});

interface Running {
  /** Waits until its log holds so many lines with this text. */
  logs(text: string, count?: number): Promise<void>;
  count(text: string): number;
  /** Processes that ended and that PID 1 has not reaped. */
  zombies(): Promise<number>;
  /** Signals its PID 1 and returns its exit code. */
  stop(signal: NodeJS.Signals): Promise<number | null>;
}

/** A network namespace with the containers' root file systems. */
interface Place {
  start(image: string): Promise<Running>;
  inside(image: string, command: readonly string[]): Promise<string>;
  spawnInside(image: string, command: readonly string[]): ChildProcess;
  close(): Promise<void>;
}

async function openPlace(dir: string): Promise<Place> {
  const paths = imageStoragePaths({ dataDir: join(dir, 'data'), runDir: join(dir, 'run') });
  const none = async () => [];
  const deps = { ...paths, containersUsing: none, log: pino({ level: 'silent' }), metrics: new Registry() };
  const store = await createImageStore(deps);
  const mounts = join(dir, 'mounts');
  await mkdir(mounts, { recursive: true });
  const script: string[] = ['ip link set lo up', `mount -t tmpfs none ${mounts}`];
  for (const name of ['nginx', 'mailer', 'agent']) {
    const { id } = await store.ensure(`localhost/${name}`, 'never', new AbortController().signal);
    const lower = (await store.layersOf(id)).join(':');
    const at = join(mounts, name);
    script.push(
      `mkdir -p ${at}/u ${at}/w ${at}/root`,
      `mount -t overlay none -o lowerdir=${lower},upperdir=${at}/u,workdir=${at}/w ${at}/root`,
      `mount --bind /dev ${at}/root/dev`,
      `echo '127.0.0.1 localhost insideweb insidemailer' > ${at}/root/etc/hosts`,
    );
  }
  await store.close();
  // Everything in it dies with it: --kill-child, and the mounts with the last process of the namespace.
  const holder = spawn(
    'unshare',
    ['--net', '--mount', 'sh', '-ec', `${script.join('\n')}\necho ready; exec sleep 600`],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(holder.stdout, 'data');
  const enter = ['-t', String(holder.pid), '-n', '-m'];
  const children: ChildProcess[] = [];
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin' };

  const rootOf = (image: string) => join(mounts, image, 'root');
  return {
    async start(image) {
      const command = image === 'nginx' ? ['nginx', '-g', 'daemon off;'] : [`/usr/local/bin/${image}`];
      const isolate = ['unshare', '--pid', '--fork', '--kill-child', `--mount-proc=${rootOf(image)}/proc`];
      // A file, because Node's pipes are sockets, which cannot be opened as /dev/stdout.
      const logFile = join(dir, `${image}-${children.length}.log`);
      await using output = await open(logFile, 'a');
      const child = spawn('nsenter', [...enter, ...isolate, 'chroot', rootOf(image), ...command], {
        stdio: ['ignore', output.fd, output.fd],
        env,
      });
      children.push(child);
      const closed = once(child, 'close');
      const count = (text: string) =>
        readFileSync(logFile, 'utf8')
          .split('\n')
          .filter((line) => line.includes(text)).length;
      return {
        count,
        logs: (text, times = 1) => until(() => count(text) >= times, `"${text}" ${times} times in the log of ${image}`),
        async zombies() {
          const [first] = await childrenOf(child.pid);
          const states = (await childrenOf(first)).map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''));
          return (await Promise.all(states)).filter((text) => /\) Z /.test(text)).length;
        },
        async stop(signal) {
          // nsenter becomes unshare, whose only child is PID 1 of the container.
          const [first] = await childrenOf(child.pid);
          assert.ok(first !== undefined, 'it has ended by itself');
          process.kill(first, signal);
          await closed;
          return child.exitCode;
        },
      };
    },
    async inside(image, command) {
      const { stdout } = await run('nsenter', [...enter, 'chroot', rootOf(image), ...command], {
        env,
        timeout: 60_000,
      });
      return stdout;
    },
    spawnInside(image, command) {
      const child = spawn('nsenter', [...enter, 'chroot', rootOf(image), ...command], { stdio: 'ignore', env });
      children.push(child);
      return child;
    },
    async close() {
      for (const child of [...children, holder]) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    },
  };
}

async function childrenOf(pid: number | undefined): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text
    .split(' ')
    .filter((word) => word.trim() !== '')
    .map(Number);
}
