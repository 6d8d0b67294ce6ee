/** Exec, attach, copy, logs and port-forward of a real container with client-node, and what the store serves beside them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Attach, Cp, Exec, Log, PortForward, type V1Status } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import { execute } from '../execute.ts';
import { containersPath } from '../instance.ts';
import { kubectl } from '../tools.ts';
import { until } from '../until.ts';
import { image, type StreamContainers, sha256, useStreamContainers } from './stream-containers.ts';

describe('streams of a container', function () {
  this.timeout(300_000);
  const started = useStreamContainers();
  let { instance, config, dir, bytes } = {} as StreamContainers;
  before(() => {
    ({ instance, config, dir, bytes } = started());
  });

  /** A request whose bodies are streams, without the limit of the helper for objects. */
  async function stream(
    method: 'GET' | 'PUT',
    path: string,
    body?: Readable,
  ): Promise<{ status: number; body: Buffer }> {
    const cluster = config.getCurrentCluster();
    const agent = new Agent({ connect: { ca: Buffer.from(cluster?.caData ?? '', 'base64').toString() } });
    try {
      const answer = await request(`${instance.storeUrl}${path}`, {
        method,
        dispatcher: agent,
        headers: { authorization: `Bearer ${config.getCurrentUser()?.token}` },
        ...(body === undefined ? {} : { body }),
      });
      return { status: answer.statusCode, body: await buffer(answer.body) };
    } finally {
      await agent.destroy();
    }
  }

  const exitCodeOf = ({ status, details }: V1Status): string =>
    status === 'Success' ? '0' : (details?.causes?.[0]?.message ?? 'none');

  describe('with client-node', () => {
    it('Exec runs a program, with its outputs apart and its exit code', async () => {
      const { stdout, stderr, status } = await execute(config, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
      assert.equal(stdout.toString(), 'out\n');
      assert.equal(stderr.toString(), 'err\n');
      assert.equal(exitCodeOf(status), '7');
      assert.equal(exitCodeOf((await execute(config, ['true'])).status), '0');
    });

    it('Exec says that a program is missing, with the exit code of a shell', async () => {
      const { stderr, status } = await execute(config, ['no-such-program']);
      assert.equal(exitCodeOf(status), '127');
      assert.match(stderr.toString(), /no-such-program/);
    });

    it('Exec carries 10 MiB in and out, whole and in order, and the end of the input', async () => {
      const { stdout, status } = await execute(config, ['cat'], { input: Readable.from(chunksOf(bytes, 65_536)) });
      assert.equal(exitCodeOf(status), '0');
      assert.equal(stdout.length, bytes.length);
      assert.equal(sha256(stdout), sha256(bytes));
    });

    it('Exec with a terminal has its size, and follows it', async () => {
      const terminal = Object.assign(new PassThrough(), { columns: 90, rows: 33 });
      let shown = '';
      terminal.on('data', (chunk: Buffer) => {
        shown += chunk.toString();
      });
      const input = new PassThrough();
      const done = new Promise<V1Status>((resolve, reject) => {
        new Exec(config).exec('default', 'web', 'web', ['sh'], terminal, null, input, true, resolve).catch(reject);
      });
      input.write('tty; stty size\n');
      await until(() => /\/dev\/pts\/\d+\r\n33 90\r\n/.test(shown), 'the first size');
      terminal.columns = 91;
      terminal.emit('resize');
      await until(() => {
        input.write('stty size\n');
        return shown.includes('33 91\r\n');
      }, 'the changed size');
      input.write('exit 5\n');
      assert.equal(exitCodeOf(await done), '5');
    });

    it('Exec ends its program when it goes away', async () => {
      const socket = await new Exec(config).exec(
        'default',
        'web',
        'web',
        ['sleep', '4321'],
        new PassThrough(),
        null,
        new PassThrough(),
        false,
      );
      const isThere = async (): Promise<boolean> =>
        (await execute(config, ['ps', '-o', 'args'])).stdout.toString().includes('sleep 4321');
      await until(isThere, 'the program to run');
      socket.close();
      await until(async () => !(await isThere()), 'the program to end');
    });

    it('Exec is refused in a container that does not run, or is not there', async () => {
      for (const [name, code] of [
        ['done', 400],
        ['none', 404],
      ] as const) {
        await assert.rejects(
          async () => new Exec(config).exec('default', name, name, ['true'], new PassThrough(), null, null, false),
          ({ message }: { message: string }) => message.includes(String(code)),
        );
      }
    });

    it('Log reads, and follows', async () => {
      const whole = new PassThrough();
      await new Log(config).log('default', 'done', 'done', whole, { timestamps: true });
      assert.match((await buffer(whole)).toString(), /^\d{4}-\d\d-\d\dT[^ ]* over\n$/);
      await instance.create('brief', {
        ...image,
        // It goes on once it is followed.
        command: [
          'sh',
          '-c',
          'echo 1; until [ -e /go ]; do sleep 0.1; done; for i in 2 3 4; do echo $i; sleep 0.5; done',
        ],
        restartPolicy: 'Never',
      });
      await instance.waitFor('brief', ({ state }) => state === 'Running', 'running');
      const followed = new PassThrough();
      await new Log(config).log('default', 'brief', 'brief', followed, { follow: true });
      const all = buffer(followed);
      assert.equal((await instance.kubectl(['exec', 'brief', '--', 'touch', '/go'])).code, 0);
      assert.equal((await all).toString(), '1\n2\n3\n4\n'); // and ends with the container
    });

    it('Cp copies to and from the container', async () => {
      const source = join(dir, 'source');
      await mkdir(source);
      await writeFile(join(source, 'file'), bytes);
      await new Cp(config).cpToPod('default', 'web', 'web', source, '/tmp');
      await until(
        async () => (await execute(config, ['sha256sum', '/tmp/file'])).stdout.toString().startsWith(sha256(bytes)),
        'the file to be there',
      );
      const target = join(dir, 'target');
      await mkdir(target);
      await new Cp(config).cpFromPod('default', 'web', 'web', 'file', target, '/tmp');
      await until(
        async () => (await readFile(join(target, 'file')).catch(() => Buffer.alloc(0))).equals(bytes),
        'the file to come back',
      );
    });

    it('Attach gives the streams of the process, and leaves it running', async () => {
      const pid = (await instance.get('reader'))?.status?.pid;
      const [stdout, stderr, input] = [new PassThrough(), new PassThrough(), new PassThrough()];
      const printed = { stdout: '', stderr: '' };
      stdout.on('data', (chunk: Buffer) => {
        printed.stdout += chunk.toString();
      });
      stderr.on('data', (chunk: Buffer) => {
        printed.stderr += chunk.toString();
      });
      const socket = await new Attach(config).attach('default', 'reader', 'reader', stdout, stderr, input, false);
      input.write('one\n');
      await until(() => printed.stdout === 'got one\n' && printed.stderr === 'err one\n', 'the answers');
      socket.close();
      await once(socket as unknown as NodeJS.EventEmitter, 'close'); // a WebSocket of ws, in Node
      assert.equal((await instance.get('reader'))?.status?.pid, pid);
      assert.match(await instance.containerLog('reader'), /got one/);
    });

    it('Attach with a terminal has its size', async () => {
      const terminal = Object.assign(new PassThrough(), { columns: 77, rows: 22 });
      let shown = '';
      terminal.on('data', (chunk: Buffer) => {
        shown += chunk.toString();
      });
      const input = new PassThrough();
      const socket = await new Attach(config).attach('default', 'shell', 'shell', terminal, null, input, true);
      await until(() => {
        input.write('stty size\n');
        return shown.includes('22 77\r\n');
      }, 'the size');
      socket.close();
    });

    it('PortForward reaches what listens on loopback only', async () => {
      const [output, input] = [new PassThrough(), new PassThrough()];
      let page = '';
      output.on('data', (chunk: Buffer) => {
        page += chunk.toString();
      });
      await new PortForward(config).portForward('default', 'web', [7002], output, null, input);
      input.write('GET /page HTTP/1.0\r\n\r\n');
      await until(() => page.endsWith('\r\n\r\npage\n'), 'the page');
    });

    it('PortForward carries 10 MiB both ways', async () => {
      const [output, input] = [new PassThrough(), new PassThrough()];
      const received: Buffer[] = [];
      let length = 0;
      output.on('data', (chunk: Buffer) => {
        received.push(chunk);
        length += chunk.length;
      });
      const socket = await new PortForward(config).portForward('default', 'web', [7000], output, null, input);
      for (const chunk of chunksOf(bytes, 65_536)) input.write(chunk);
      await until(() => length === bytes.length, 'all bytes to come back');
      assert.equal(sha256(Buffer.concat(received)), sha256(bytes));
      (socket as { close(): void }).close();
    });

    it('PortForward says that nobody listens', async () => {
      const [output, errors] = [new PassThrough(), new PassThrough()];
      let said = '';
      errors.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      await new PortForward(config).portForward('default', 'web', [7001], output, errors, new PassThrough());
      await until(() => /7001/.test(said), 'the error');
    });
  });

  it('gives the figures of a container, once and each second', async () => {
    const { status, json } = await instance.api('GET', `${containersPath}/web/stats`);
    assert.equal(status, 200);
    assert.ok(json.cpu.usageCoreNanoSeconds > 0 && json.memory.workingSetBytes > 0 && json.processes.count >= 2);
    const child = spawn(kubectl(), [
      '--kubeconfig',
      instance.kubeconfig,
      'get',
      '--raw',
      `${containersPath}/web/stats?watch=true`,
    ]);
    try {
      let lines = '';
      child.stdout.on('data', (chunk: Buffer) => {
        lines += chunk.toString();
      });
      await until(() => lines.split('\n').length > 2, 'two lines');
      assert.equal(JSON.parse(lines.split('\n')[1] ?? '').kind, 'ContainerStats');
    } finally {
      child.kill('SIGKILL');
    }
    assert.equal((await instance.api('GET', `${containersPath}/done/stats`)).status, 400);
  });

  it('copies archives in and out, without a tar in the container, also while it is down', async () => {
    const archive = join(dir, 'archive');
    await mkdir(join(archive, 'in'), { recursive: true });
    await writeFile(join(archive, 'in', 'file'), bytes);
    const { stdout: tar } = spawn('tar', ['-c', '-C', archive, 'in']);
    const put = await stream('PUT', `${containersPath}/web/archive?path=/tmp`, tar);
    assert.equal(put.status, 200, put.body.toString());
    assert.match(
      (await execute(config, ['sha256sum', '/tmp/in/file'])).stdout.toString(),
      new RegExp(`^${sha256(bytes)}`),
    );
    const got = await stream('GET', `${containersPath}/web/archive?path=/tmp/in`);
    assert.equal(got.status, 200);
    const untar = spawn('tar', ['-xO', 'in/file']);
    untar.stdin.end(got.body);
    assert.equal(sha256(await buffer(untar.stdout)), sha256(bytes));
    const down = await stream('GET', `${containersPath}/done/archive?path=/bin/sh`);
    assert.equal(down.status, 200);
    const missing = await stream('GET', `${containersPath}/web/archive?path=/no/such`);
    assert.equal(missing.status, 404);
    assert.match(missing.body.toString(), /no\/such/);
    const broken = await stream('PUT', `${containersPath}/web/archive?path=/tmp`, Readable.from([bytes]));
    assert.equal(broken.status, 400, broken.body.toString());
    assert.equal((await stream('PUT', `${containersPath}/web/archive?path=/none`, Readable.from([]))).status, 404);
  });

  it('ends an attach with the exit code of the process', async () => {
    await instance.create('once', {
      ...image,
      command: ['sh', '-c', 'read l; exit 9'],
      stdin: true,
      restartPolicy: 'Never',
    });
    await instance.waitFor('once', ({ state }) => state === 'Running', 'running');
    const { code } = await instance.kubectl(['attach', '-i', 'once'], { input: 'x\n' });
    assert.equal(code, 9);
  });
});

function* chunksOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}
