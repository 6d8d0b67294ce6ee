/** Exec, attach, copy, logs and port-forward of a real container: with client-node, and with kubectl in a real terminal. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Attach, Cp, Exec, KubeConfig, Log, PortForward, type V1Status } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import { containersPath, type Instance } from '../instance.ts';
import { Terminal } from '../terminal.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const tenMebibytes = 10 * 1024 * 1024;
const image = { image: 'localhost/busybox:latest', imagePullPolicy: 'Never', terminationGracePeriodSeconds: 0 };

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('streams of a container', function () {
  this.timeout(300_000);
  const started = useInstance();
  let instance: Instance;
  let config: KubeConfig;
  let dir: string;
  let bytes: Buffer;

  before(async () => {
    instance = started();
    config = new KubeConfig();
    config.loadFromFile(instance.kubeconfig);
    dir = await mkdtemp(join(tmpdir(), 'holdfast-streams-'));
    bytes = randomBytes(tenMebibytes);
    await writeFile(join(dir, 'bytes'), bytes);
    // One port sends back what comes; the other listens on loopback only, as many programs do.
    const servers = 'nc -ll -p 7000 -e cat & echo page >/tmp/page; httpd -p 127.0.0.1:7002 -h /tmp;';
    const script = `trap "exit 0" TERM; ${servers} echo ready; while :; do sleep 1; done`;
    await instance.create('web', {
      ...image,
      command: ['sh', '-c', script],
      ports: [{ name: 'echo', containerPort: 7000 }],
    });
    await instance.create('shell', {
      ...image,
      command: ['env', 'PS1=inside> ', 'sh'],
      stdin: true,
      tty: true,
    });
    await instance.create('reader', {
      ...image,
      command: ['sh', '-c', 'while read l; do echo "got $l"; echo "err $l" >&2; done; exit 9'],
      stdin: true,
    });
    await instance.create('done', { ...image, command: ['sh', '-c', 'echo over; exit 3'], restartPolicy: 'Never' });
    for (const name of ['web', 'shell', 'reader']) {
      await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
    }
    await instance.waitFor('done', ({ state }) => state === 'Exited', 'over');
  });
  after(async () => {
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  });

  async function execute(
    command: readonly string[],
    input?: Readable,
  ): Promise<{ stdout: Buffer; stderr: Buffer; status: V1Status }> {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const outputs = Promise.all([buffer(stdout), buffer(stderr)]);
    const status = await new Promise<V1Status>((resolve, reject) => {
      new Exec(config)
        .exec('default', 'web', 'web', [...command], stdout, stderr, input ?? null, false, resolve)
        .catch(reject);
    });
    const [out, error] = await outputs;
    return { stdout: out, stderr: error, status };
  }

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
      const { stdout, stderr, status } = await execute(['sh', '-c', 'echo out; echo err >&2; exit 7']);
      assert.equal(stdout.toString(), 'out\n');
      assert.equal(stderr.toString(), 'err\n');
      assert.equal(exitCodeOf(status), '7');
      assert.equal(exitCodeOf((await execute(['true'])).status), '0');
    });

    it('Exec says that a program is missing, with the exit code of a shell', async () => {
      const { stderr, status } = await execute(['no-such-program']);
      assert.equal(exitCodeOf(status), '127');
      assert.match(stderr.toString(), /no-such-program/);
    });

    it('Exec carries 10 MiB in and out, whole and in order, and the end of the input', async () => {
      const { stdout, status } = await execute(['cat'], Readable.from(chunksOf(bytes, 65_536)));
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
        (await execute(['ps', '-o', 'args'])).stdout.toString().includes('sleep 4321');
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
        command: ['sh', '-c', 'for i in 1 2 3 4; do echo $i; sleep 0.5; done'],
        restartPolicy: 'Never',
      });
      // A busy machine may see only its end.
      await instance.waitFor('brief', ({ state }) => state === 'Running' || state === 'Exited', 'begun');
      const followed = new PassThrough();
      await new Log(config).log('default', 'brief', 'brief', followed, { follow: true });
      assert.equal((await buffer(followed)).toString(), '1\n2\n3\n4\n'); // and ends with the container
    });

    it('Cp copies to and from the container', async () => {
      const source = join(dir, 'source');
      await mkdir(source);
      await writeFile(join(source, 'file'), bytes);
      await new Cp(config).cpToPod('default', 'web', 'web', source, '/tmp');
      await until(
        async () => (await execute(['sha256sum', '/tmp/file'])).stdout.toString().startsWith(sha256(bytes)),
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

  const clients: { title: string; program: () => string; env?: Record<string, string> }[] = [
    { title: 'with the newest kubectl', program: kubectl },
    {
      title: 'with the newest kubectl over SPDY',
      program: kubectl,
      env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
    },
    { title: 'with kubectl 1.20', program: kubectl120 },
  ];
  for (const [index, { title, program, env = {} }] of clients.entries()) {
    describe(title, () => {
      const run = (args: readonly string[], input?: string) =>
        instance.kubectl(args, { program: program(), env, ...(input === undefined ? {} : { input }) });
      const typed = (rest: string): string =>
        `${Object.entries(env)
          .map(([name, value]) => `${name}=${value} `)
          .join('')}${program()} --kubeconfig ${instance.kubeconfig} ${rest}`;

      it('runs a program, with its outputs and exit code', async () => {
        const failed = await run(['exec', 'web', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
        assert.equal(failed.stdout, 'out\n');
        assert.match(failed.stderr, /^err\n/);
        assert.equal(failed.code, 7);
        assert.equal((await run(['exec', 'web', '--', 'true'])).code, 0);
        const missing = await run(['exec', 'web', '--', 'no-such-program']);
        assert.equal(missing.code, 127);
        assert.match(missing.stderr, /no-such-program/);
      });

      it('carries 10 MiB in and out, whole and in order', async () => {
        const child = spawn(program(), ['--kubeconfig', instance.kubeconfig, 'exec', '-i', 'web', '--', 'cat'], {
          env: { ...process.env, ...env },
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        child.stdin.end(bytes);
        const [output, [code]] = await Promise.all([buffer(child.stdout), once(child, 'close')]);
        assert.equal(code, 0);
        assert.equal(sha256(output), sha256(bytes));
      });

      it('copies a file to the container and back', async () => {
        const [there, back] = [`/tmp/copy-${index}`, join(dir, `back-${index}`)];
        const to = await run(['cp', join(dir, 'bytes'), `web:${there}`]);
        assert.equal(to.code, 0, to.stderr);
        assert.match((await execute(['sha256sum', there])).stdout.toString(), new RegExp(`^${sha256(bytes)}`));
        const from = await run(['cp', `web:${there}`, back]);
        assert.equal(from.code, 0, from.stderr);
        assert.equal(sha256(await readFile(back)), sha256(bytes));
      });

      it('gives a program a terminal, with its size, its keys and its exit code', async () => {
        const terminal = await Terminal.open();
        try {
          await terminal.type(typed('exec -it web -- env PS1="inside> " sh'));
          await terminal.shows(/inside>$/m);
          const hasSize = async (size: RegExp): Promise<void> =>
            until(async () => {
              await terminal.type('stty size');
              return size.test(await terminal.screen());
            }, `${size}`);
          await hasSize(/^30 100$/m);
          await terminal.resize(120, 40);
          await hasSize(/^40 120$/m);
          // Once it says so it has the terminal: earlier, the key would reach the shell alone.
          await terminal.type("sh -c 'echo begun; exec sleep 1000'");
          await terminal.shows(/^begun$/m);
          await terminal.press('C-c');
          await terminal.shows(/\^C[\s\S]*inside>$/m);
          await terminal.type('exit 7');
          await terminal.shows(/host>$/m);
          await terminal.type('echo code $?');
          await terminal.shows(/^code 7$/m);
        } finally {
          await terminal.close();
        }
      });

      it('follows a log', async () => {
        const child = spawn(program(), ['--kubeconfig', instance.kubeconfig, 'logs', '-f', '--tail=1', 'web'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let printed = '';
        child.stdout.on('data', (chunk: Buffer) => {
          printed += chunk.toString();
        });
        try {
          await until(() => printed.includes('ready\n'), 'the line');
        } finally {
          child.kill('SIGKILL');
          await once(child, 'close');
        }
        assert.equal((await run(['logs', 'done'])).stdout, 'over\n');
        assert.equal((await run(['logs', '-f', 'done'])).stdout, 'over\n'); // and ends: there will be no more
        assert.match(
          (await run(['logs', '--previous', 'web'])).stderr,
          /previous terminated container "web".* not found/,
        );
      });

      it('attaches to a shell in a terminal, and leaves it running', async () => {
        const pid = (await instance.get('shell'))?.status?.pid;
        const terminal = await Terminal.open();
        try {
          await terminal.type(typed('attach -it shell'));
          await terminal.shows(/press enter|command prompt/);
          await terminal.press('Enter');
          await terminal.shows(/inside>$/m);
          await terminal.type(`mark=here-${index}`);
          // kubectl tells another size first, by a way of its own: a shell may ask between the two.
          await until(async () => {
            await terminal.type('stty size');
            return /^30 100$/m.test(await terminal.screen());
          }, 'the size');
        } finally {
          await terminal.close();
        }
        const again = await Terminal.open();
        try {
          await again.type(typed('attach -it shell'));
          await again.shows(/press enter|command prompt/);
          await again.type('echo $mark');
          await again.shows(new RegExp(`^here-${index}$`, 'm'));
        } finally {
          await again.close();
        }
        assert.equal((await instance.get('shell'))?.status?.pid, pid);
      });

      it('attaches without a terminal', async () => {
        const child = spawn(program(), ['--kubeconfig', instance.kubeconfig, 'attach', '-i', 'reader'], {
          env: { ...process.env, ...env },
          stdio: ['pipe', 'pipe', 'pipe'],
        });
        const printed = { stdout: '', stderr: '' };
        for (const name of ['stdout', 'stderr'] as const) {
          child[name].on('data', (chunk: Buffer) => {
            printed[name] += chunk.toString();
          });
        }
        try {
          child.stdin.write(`from ${index}\n`);
          await until(() => printed.stdout.includes(`got from ${index}\n`), 'the answer on stdout');
          await until(() => printed.stderr.includes(`err from ${index}\n`), 'the answer on stderr');
        } finally {
          child.kill('SIGKILL');
          await once(child, 'close');
        }
        assert.equal((await instance.get('reader'))?.status?.state, 'Running');
      });

      it('forwards a port', async () => {
        const child = spawn(program(), ['--kubeconfig', instance.kubeconfig, 'port-forward', 'pod/web', ':7000'], {
          env: { ...process.env, ...env },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        try {
          let printed = '';
          child.stdout.on('data', (chunk: Buffer) => {
            printed += chunk.toString();
          });
          await until(() => /127\.0\.0\.1:\d+ ->/.test(printed), 'a local port');
          const port = Number(/127\.0\.0\.1:(\d+) ->/.exec(printed)?.[1]);
          const answers = await Promise.all(
            [tenMebibytes, 1_000, 100_000, 1].map(async (size) => {
              const sent = bytes.subarray(0, size);
              return sha256(await exchange(port, sent)) === sha256(sent);
            }),
          );
          assert.deepEqual(answers, [true, true, true, true]);
        } finally {
          child.kill('SIGKILL');
          await once(child, 'close');
        }
      });
    });
  }

  it('copies archives in and out, without a tar in the container, also while it is down', async () => {
    const archive = join(dir, 'archive');
    await mkdir(join(archive, 'in'), { recursive: true });
    await writeFile(join(archive, 'in', 'file'), bytes);
    const { stdout: tar } = spawn('tar', ['-c', '-C', archive, 'in']);
    const put = await stream('PUT', `${containersPath}/web/archive?path=/tmp`, tar);
    assert.equal(put.status, 200, put.body.toString());
    assert.match((await execute(['sha256sum', '/tmp/in/file'])).stdout.toString(), new RegExp(`^${sha256(bytes)}`));
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

  it('lets a container be looked into while it is down, without disturbing its restarts', async () => {
    await instance.create('broken', {
      ...image,
      command: ['sh', '-c', 'date >>/tmp/runs; echo said; echo complained >&2; exit 1'],
      backoff: { initial: '600s', max: '600s' },
    });
    await instance.waitFor('broken', ({ state }) => state === 'Restarting', 'waiting');
    const plain = await instance.kubectl(['exec', 'broken', '--', 'true']);
    assert.match(plain.stderr, /container "broken" in pod "broken" is not running, its state is Restarting/);
    const previous = await instance.kubectl(['logs', '--previous', 'broken']);
    assert.deepEqual(previous.stdout.trim().split('\n').toSorted(), ['complained', 'said'], previous.stderr);
    assert.equal(await instance.containerLog('broken', '?stream=Stderr'), 'complained\n');
    assert.equal(await instance.containerLog('broken', '?stream=Stdout&previous=true'), 'said\n');
    const before = (await instance.get('broken'))?.status;
    for (const program of [kubectl, kubectl120]) {
      const looked = await instance.kubectl(['exec', 'broken', '-c', 'debug', '--', 'wc', '-l', '/tmp/runs'], {
        program: program(),
      });
      assert.equal(looked.stdout, '1 /tmp/runs\n', looked.stderr);
    }
    const terminal = await Terminal.open();
    try {
      await terminal.type(
        `${kubectl()} --kubeconfig ${instance.kubeconfig} exec -it broken -c debug -- env PS1="inside> " sh`,
      );
      await terminal.shows(/inside>$/m);
      await terminal.type('exit 4');
      // kubectl takes what is typed until it has ended.
      await terminal.shows(/host>$/m);
      await terminal.type('echo code $?');
      await terminal.shows(/^code 4$/m);
    } finally {
      await terminal.close();
    }
    const after = (await instance.get('broken'))?.status;
    assert.equal(after?.restartCount, before?.restartCount);
    assert.equal(after?.backoff?.nextRestartAt, before?.backoff?.nextRestartAt);
    const wrong = await instance.kubectl(['exec', 'web', '-c', 'other', '--', 'true']);
    assert.match(wrong.stderr, /container not found \("other"\)/);
  });

  it('loses only the attach when the daemon is killed and comes back', async () => {
    const pid = (await instance.get('shell'))?.status?.pid;
    const terminal = await Terminal.open();
    try {
      const attach = `${kubectl()} --kubeconfig ${instance.kubeconfig} attach -it shell`;
      await terminal.type(attach);
      await terminal.shows(/press enter|command prompt/);
      await terminal.type('mark=before; echo $mark');
      await terminal.shows(/^before$/m);
      await instance.stop('SIGKILL');
      await terminal.shows(/host>$/m);
      await instance.start();
      await terminal.type('clear');
      await terminal.type(attach);
      await terminal.shows(/press enter|command prompt/);
      await terminal.type('echo still $mark');
      await terminal.shows(/^still before$/m);
    } finally {
      await terminal.close();
    }
    assert.equal((await instance.get('shell'))?.status?.pid, pid);
    assert.equal((await execute(['echo', 'again'])).stdout.toString(), 'again\n');
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

/** Sends, ends, and returns what comes back. */
async function exchange(port: number, sent: Buffer): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(sent);
  return buffer(socket);
}

function* chunksOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}
