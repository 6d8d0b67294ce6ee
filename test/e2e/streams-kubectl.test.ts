/** Exec, attach, copy, logs and port-forward of a real container: with kubectl, in a real terminal where one is asked for. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { execute } from '../execute.ts';
import { Terminal } from '../terminal.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { until } from '../until.ts';
import { image, type StreamContainers, sha256, tenMebibytes, useStreamContainers } from './stream-containers.ts';

describe('streams of a container, by kubectl', function () {
  this.timeout(300_000);
  const started = useStreamContainers();
  let { instance, config, dir, bytes } = {} as StreamContainers;
  before(() => {
    ({ instance, config, dir, bytes } = started());
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
        assert.match((await execute(config, ['sha256sum', there])).stdout.toString(), new RegExp(`^${sha256(bytes)}`));
        const from = await run(['cp', `web:${there}`, back]);
        assert.equal(from.code, 0, from.stderr);
        assert.equal(sha256(await readFile(back)), sha256(bytes));
      });

      it('gives a program a terminal, with its size, its keys and its exit code', async () => {
        const terminal = await Terminal.open();
        try {
          await terminal.type(typed('exec -it web -- env PS1="inside> " sh'));
          await terminal.shows(/inside>$/m);
          await terminal.typeUntil('stty size', /^30 100$/m);
          await terminal.resize(120, 40);
          await terminal.typeUntil('stty size', /^40 120$/m);
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
          await terminal.typeUntil('stty size', /^30 100$/m);
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
    assert.equal((await execute(config, ['echo', 'again'])).stdout.toString(), 'again\n');
  });
});

/** Sends, ends, and returns what comes back. */
async function exchange(port: number, sent: Buffer): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(sent);
  return buffer(socket);
}
