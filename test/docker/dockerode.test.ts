/** dockerode, Node's client of Docker: attach and exec streams, pulls with their progress, events. */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { PassThrough, type Readable } from 'node:stream';
import Docker from 'dockerode';
import { run } from '../instance.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import { until } from '../until.ts';
import { Book } from './book.ts';
import { type DockerEngine, startHoldfastEngine } from './engines.ts';
import { dockerArchive } from './images.ts';

/** Everything that comes on a stream, growing. */
function collect(stream: Readable): () => string {
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  return () => text;
}

describe('dockerode', function () {
  this.timeout(240_000);
  let registry: TestRegistry | undefined;
  let engine: DockerEngine | undefined;
  let docker: Docker;

  before(async () => {
    registry = await startRegistry();
    engine = await startHoldfastEngine({ flags: ['--registries-conf', registry.registriesConf] });
    docker = new Docker({ socketPath: engine.socketPath });
    const book = await Book.open(engine.socketPath);
    await book.load({ 'busybox:latest': 'localhost/busybox:latest' });
    await book.close();
  });
  after(async () => {
    await engine?.close();
    await registry?.close();
  });

  it('asks who it talks to', async () => {
    assert.equal(String(await docker.ping()), 'OK');
    const info = await docker.info();
    assert.equal(info.OSType, 'linux');
    assert.equal(info.Containers, 0);
  });

  it('runs a program to its end, with its two outputs apart', async () => {
    const [out, err] = [new PassThrough(), new PassThrough()];
    const [said, complained] = [collect(out), collect(err)];
    const [{ StatusCode }, container] = await docker.run(
      'busybox',
      ['sh', '-c', 'echo out; echo err >&2; exit 6'],
      [out, err],
      { Tty: false },
    );
    assert.equal(StatusCode, 6);
    await until(() => said() === 'out\n' && complained() === 'err\n', 'both outputs');
    await container.remove();
  });

  it('attaches before the start, writes to the program, and reads what it answers until its end', async () => {
    const container = await docker.createContainer({
      Image: 'busybox',
      Cmd: ['sh', '-c', 'cat; echo over >&2'],
      ...{ OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true },
    });
    const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    const [out, err] = [new PassThrough(), new PassThrough()];
    const [said, complained] = [collect(out), collect(err)];
    docker.modem.demuxStream(stream, out, err);
    const ended = new Promise((resolve) => stream.once('end', resolve));
    await container.start();
    stream.write('one\n');
    await until(() => said() === 'one\n', 'the first line to come back');
    stream.write('two\n');
    stream.end();
    await ended;
    assert.deepEqual([said(), complained()], ['one\ntwo\n', 'over\n']);
    assert.equal((await container.wait()).StatusCode, 0);
    await container.remove();
  });

  it('runs a terminal in a container, which can be resized, with its exit code', async () => {
    const container = await docker.createContainer({ Image: 'busybox', Cmd: ['sleep', '30000'] });
    await container.start();
    const exec = await container.exec({
      Cmd: ['sh'],
      ...{ AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: true },
    });
    const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
    const shown = collect(stream);
    const ended = new Promise((resolve) => stream.once('end', resolve));
    await until(() => shown().includes('# '), 'a prompt');
    await exec.resize({ h: 41, w: 123 });
    stream.write('stty size\n');
    await until(() => shown().includes('41 123'), 'the size');
    stream.write('exit 9\n');
    await ended;
    const { Running, ExitCode } = await exec.inspect();
    assert.deepEqual([Running, ExitCode], [false, 9]);
    await container.remove({ force: true });
  });

  it('follows the log and the figures of a container', async () => {
    const container = await docker.createContainer({
      Image: 'busybox',
      Cmd: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done'],
      Tty: true,
    });
    await container.start();
    const log = await container.logs({ follow: true, stdout: true, stderr: true });
    const said = collect(log as unknown as Readable); // dockerode gives the answer's stream
    await until(() => /line 1\r?\n[\s\S]*line 3\r?\n/.test(said()), 'three lines');
    const stats = (await container.stats({ stream: true })) as unknown as Readable;
    const frames: { memory_stats: { usage: number } }[] = [];
    createInterface({ input: stats }).on('line', (line) => frames.push(JSON.parse(line)));
    await until(() => frames.length >= 2, 'two figures');
    assert.ok((frames[1]?.memory_stats.usage ?? 0) > 0);
    for (const stream of [log as unknown as Readable, stats]) stream.destroy();
    await container.remove({ force: true });
  });

  it('pulls an image, tells of each of its layers, and of the pull in its events', async () => {
    assert.ok(registry !== undefined);
    const name = `${registry.address}/test/box:1`;
    const archive = await dockerArchive('localhost/busybox:latest');
    const pushed = await run('skopeo', [
      ...['--insecure-policy', 'copy', '--dest-tls-verify=false'],
      ...[`docker-archive:${archive}`, `docker://${name}`],
    ]);
    assert.equal(pushed.code, 0, pushed.stderr);
    const events = (await docker.getEvents({ filters: { type: ['image'] } })) as unknown as Readable;
    const told = collect(events);
    const stream = await docker.pull(name);
    const steps = await new Promise<{ status?: string; id?: string }[]>((resolve, reject) => {
      docker.modem.followProgress(stream, (error, output) => (error === null ? resolve(output) : reject(error)));
    });
    assert.ok(
      steps.some(({ status }) => status?.startsWith('Pulling from test/box')),
      JSON.stringify(steps),
    );
    assert.ok(
      steps.some(({ status, id }) => status === 'Pull complete' && id !== undefined) ||
        steps.some(({ status }) => status === 'Already exists'),
    );
    assert.ok(
      steps.some(({ status }) => /^Status: (Downloaded newer image|Image is up to date) for /.test(status ?? '')),
    );
    await until(() => told().includes('"pull"'), 'the event');
    events.destroy();
    await docker.getImage(name).remove();
    await assert.rejects(docker.getImage(name).inspect(), { statusCode: 404 });
  });

  it('is told what is wrong with a status and a message', async () => {
    await assert.rejects(docker.getContainer('nobody').inspect(), {
      statusCode: 404,
      message: /No such container: nobody/,
    });
    await assert.rejects(docker.createContainer({ Image: 'no/such:image' }), {
      statusCode: 404,
      message: /No such image/,
    });
    await assert.rejects(docker.createContainer({ Image: 'busybox', name: 'a b' }), { statusCode: 400 });
  });
});
