/** Files of containers by docker cp, diff and export, and their processes and figures, against a real host. */
import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useInstance } from '../e2e/use-instance.ts';
import { type CommandResult, run } from '../instance.ts';
import { docker as dockerProgram } from '../tools.ts';
import { until } from '../until.ts';

const image = 'localhost/busybox:latest';

describe('files, processes and figures of containers, by docker', function () {
  this.timeout(300_000);
  const instance = useInstance({ images: 'busybox' });
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'hf-docker-files-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));
  const socketPath = (): string => join(instance().runDir, 'docker.sock');
  const tryDocker = (...args: readonly string[]): Promise<CommandResult> =>
    run(dockerProgram(), ['--host', `unix://${socketPath()}`, ...args], {
      env: { DOCKER_CONFIG: instance().dataDir },
      cwd: dir,
    });
  const docker = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await tryDocker(...args);
    assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const shell = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await run('sh', ['-c', script], {
      env: { D: dockerProgram(), DOCKER_HOST: `unix://${socketPath()}`, DOCKER_CONFIG: instance().dataDir },
      cwd: dir,
    });
    assert.equal(code, 0, `${script}: ${stderr}`);
    return stdout.trim();
  };
  const ask = (
    method: string,
    path: string,
  ): Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: string }> =>
    new Promise((resolve, reject) => {
      const asked = request({ socketPath: socketPath(), method, path: `/v1.41${path}` }, (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (chunk) => {
          body += chunk;
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
      });
      asked.once('error', reject).end();
    });
  afterEach(async () => {
    const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-vf', ...left);
  });

  it('go into a container that was never started, and are there when it starts', async () => {
    await writeFile(join(dir, 'file'), 'of the host\n');
    await docker('create', '--name', 'web', image, 'cat', '/given/file');
    assert.match(
      (await tryDocker('cp', 'file', 'web:/given/')).stderr,
      /No such container:path|no such directory|Could not find/i,
    );
    await docker('cp', 'file', 'web:/tmp/file');
    await mkdir(join(dir, 'given'), { recursive: true });
    await writeFile(join(dir, 'given', 'file'), 'in a folder\n');
    await docker('cp', 'given', 'web:/');
    assert.equal(await docker('start', '-a', 'web'), 'in a folder');
    await docker('cp', 'web:/tmp/file', 'back');
    assert.equal(await readFile(join(dir, 'back'), 'utf8'), 'of the host\n');
  });

  it('go both ways with folders, links, modes and archives, running or not', async () => {
    await docker('run', '-d', '--name', 'web', image, 'sleep', '1000');
    const source = join(dir, 'source');
    await mkdir(join(source, 'deep'), { recursive: true });
    await writeFile(join(source, 'deep', 'program'), '#!/bin/sh\necho ran\n', { mode: 0o755 });
    await symlink('deep/program', join(source, 'link'));
    await docker('cp', 'source', 'web:/srv');
    assert.equal(await docker('exec', 'web', '/srv/link'), 'ran');
    await docker('cp', 'source/.', 'web:/srv');
    await docker(
      'exec',
      'web',
      'sh',
      '-c',
      'mkdir -p /out/in; echo x > /out/in/x; ln -s in/x /out/sym; ln -s /out/in /abs',
    );
    await docker('cp', 'web:/out', 'copy');
    assert.equal(await readlink(join(dir, 'copy', 'sym')), 'in/x');
    assert.equal(await readFile(join(dir, 'copy', 'in', 'x'), 'utf8'), 'x\n');
    await docker('cp', 'web:/out/.', 'contents');
    assert.equal(await readFile(join(dir, 'contents', 'in', 'x'), 'utf8'), 'x\n');
    await docker('cp', 'web:/out/sym', 'as-link');
    assert.ok((await lstat(join(dir, 'as-link'))).isSymbolicLink());
    await docker('cp', '-L', 'web:/out/sym', 'as-file');
    assert.equal(await readFile(join(dir, 'as-file'), 'utf8'), 'x\n');
    await docker('cp', '-L', 'web:/abs', 'as-folder');
    assert.equal(await readFile(join(dir, 'as-folder', 'x'), 'utf8'), 'x\n');
    // Through a link in the container that leads to a folder.
    await docker('cp', 'source/deep/program', 'web:/abs');
    assert.equal(await docker('exec', 'web', '/out/in/program'), 'ran');
    assert.equal(await shell('$D cp web:/out/in/x - | tar -xO'), 'x');
    await shell('tar -C source -c deep | $D cp - web:/tmp');
    assert.equal(await docker('exec', 'web', '/tmp/deep/program'), 'ran');
    await docker('stop', '-t', '0', 'web');
    await docker('cp', 'web:/tmp/deep/program', 'late');
    assert.equal((await stat(join(dir, 'late'))).mode & 0o777, 0o755);
  });

  it('go into volumes, and are refused where something is in the way or the root is read-only', async () => {
    await writeFile(join(dir, 'file'), 'x\n');
    await docker('run', '-d', '--name', 'web', '--read-only', '-v', '/data', image, 'sleep', '1000');
    await docker('cp', 'file', 'web:/data/');
    assert.equal(await docker('exec', 'web', 'cat', '/data/file'), 'x');
    assert.match((await tryDocker('cp', 'file', 'web:/etc/')).stderr, /read-only/);
    await docker('exec', 'web', 'mkdir', '/data/folder');
    await mkdir(join(dir, 'other', 'file'), { recursive: true });
    assert.match(
      (await tryDocker('cp', 'file', 'web:/data/folder/none/x')).stderr,
      /No such container:path|Could not find/,
    );
    assert.notEqual((await tryDocker('cp', 'other/file', 'web:/data/file')).code, 0);
    assert.equal((await ask('GET', '/containers/web/archive?path=/nope')).status, 404);
    assert.match(
      (await ask('GET', '/containers/web/archive?path=/nope')).body,
      /Could not find the file \/nope in container web/,
    );
    assert.equal((await ask('GET', '/containers/web/archive')).status, 400);
    const { status, headers } = await ask('HEAD', '/containers/web/archive?path=/data/file');
    assert.equal(status, 200);
    const told = JSON.parse(Buffer.from(String(headers['x-docker-container-path-stat']), 'base64').toString());
    assert.equal(told.name, 'file');
    assert.equal(told.size, 2);
  });

  it('are compared with the image', async () => {
    await docker(
      'run',
      '--name',
      'web',
      '-v',
      '/data',
      '--tmpfs',
      '/scratch',
      image,
      'sh',
      '-c',
      'echo x > /new; rm /etc/group; echo y > /data/y',
    );
    assert.deepEqual((await docker('diff', 'web')).split('\n').sort(), ['A /new', 'C /etc', 'D /etc/group']);
    await docker('create', '--name', 'plain', image);
    assert.equal(await docker('diff', 'plain'), '');
  });

  it('are exported without what is mounted', async () => {
    await docker('run', '--name', 'web', '-v', '/data', image, 'sh', '-c', 'echo x > /new; echo y > /data/y');
    const names = (await shell('$D export web | tar -t')).split('\n');
    for (const name of ['new', 'etc/passwd', 'data/']) assert.ok(names.includes(name), name);
    assert.ok(!names.includes('data/y'));
  });

  it('come with the processes and figures of the container', async () => {
    await docker('run', '-d', '--name', 'web', '-m', '64m', image, 'sh', '-c', 'sleep 1111 & while :; do :; done');
    await until(
      async () => /^PID +COMMAND\n(.*\n)*\d+ +sleep 1111/.test(await docker('top', 'web', '-o', 'pid,args')),
      'the second process to be sleep',
    );
    // The arguments of the shell have it too, but go on.
    assert.match(await docker('top', 'web'), /^UID +PID .*\n(.*\n)*.* sleep 1111(\n|$)/);
    assert.match((await tryDocker('top', 'web', '-o', 'pid=X,user=PID')).stderr, /not allowed|PID/);
    const figures = await docker('stats', '--no-stream', '--format', '{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}', 'web');
    const [, cpu = ''] = /^([0-9.]+)% \S+ \/ 64MiB 2$/.exec(figures) ?? [];
    assert.ok(Number(cpu) > 1, figures);
    const once = JSON.parse((await ask('GET', '/containers/web/stats?stream=0&one-shot=1')).body);
    assert.equal(once.memory_stats.limit, 64 * 2 ** 20);
    assert.equal(once.name, '/web');
    assert.ok(once.networks.eth0.rx_bytes >= 0);
    await docker('stop', '-t', '0', 'web');
    const down = JSON.parse((await ask('GET', '/containers/web/stats?stream=0')).body);
    assert.deepEqual(down.memory_stats, {});
    assert.match((await tryDocker('top', 'web')).stderr, /is not running/);
    const stream = request({ socketPath: socketPath(), path: '/v1.41/containers/web/stats' });
    let lines = 0;
    stream.on('response', (answer) =>
      answer.on('data', () => {
        lines += 1;
      }),
    );
    stream.on('error', () => {}); // broken off below
    stream.end();
    await until(() => lines >= 2, 'two lines');
    stream.destroy();
  });
});
