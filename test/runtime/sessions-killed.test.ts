/** A daemon that is killed in the middle of sessions: they end, and neither a process nor a file of theirs is left. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { never, TestHost, until } from './host.ts';
import { processesWith } from './processes.ts';

describe('a daemon killed in the middle of sessions', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(async () => {
    await host.close();
  });

  it('leaves nothing of them, and what it kept goes on', async () => {
    const { dataDir, runDir, bridge, subnet } = host.deps;
    const run = await host.run({
      cmd: ['sh', '-c', 'head -c 9000000 /dev/zero > /big; httpd; echo up; while read line; do echo "got $line"; done'],
      hasStdin: true,
    });
    const stopped = await host.run({ cmd: ['false'] });
    await host.printed(run.id, 'up');
    await host.exited(stopped.id);
    await host.runtime.close();
    const script = fileURLToPath(new URL('./session-opener.ts', import.meta.url));
    const delaysMs = Array.from({ length: 4 }, () => randomInt(0, 300));
    const seen = `delays ${delaysMs.join(' ')}`;
    for (const delayMs of delaysMs) {
      const marker = String(randomInt(1_000_000, 9_999_999));
      const args = [script, dataDir, runDir, bridge, subnet, run.id, stopped.id, marker];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await Promise.race([
        new Promise((resolve) => child.stdout.once('data', resolve)),
        ended.then(() => assert.fail(`the program ended by itself; ${seen}`)),
      ]);
      assert.ok(processesWith(`sleep ${marker}`).length >= 4);
      // Not waiting for anything: the moment of the kill is what varies.
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      await ended;
      await until(`all that it ran to end; ${seen}`, () => processesWith(`sleep ${marker}`).length === 0);
      await until(`what carried it to end; ${seen}`, () => processesWith(join(runDir, 'sessions')).length === 0);
    }
    await host.open();
    assert.deepEqual(readdirSync(join(runDir, 'sessions')), [], seen);
    const controllers = readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name, `holdfast-${bridge}`));
    const folders = [join(runDir, 'oci'), join(runDir, 'containers'), ...controllers];
    const left = folders.filter(existsSync).flatMap((dir) => readdirSync(dir).filter((name) => name.includes('-')));
    assert.deepEqual(
      left.filter((name) => /^[0-9a-f]{64}-/.test(name)),
      [],
      seen,
    );
    const session = await host.runtime.containers.attach(run.id, { hasStdin: true }, never);
    session.stderr?.resume();
    session.stdin?.write('of the last daemon\n');
    await host.printed(run.id, 'got of the last daemon');
    assert.equal((await host.output(run.id)).split('got of the first daemon').length - 1, delaysMs.length, seen);
    await session.close();
    const debug = await host.runtime.containers.debug(
      stopped.id,
      { args: ['echo', 'well'], hasTerminal: false, hasStdin: false },
      never,
    );
    debug.stderr?.resume();
    assert.equal(await text(debug.stdout), 'well\n');
    for (const { id } of [run, stopped]) await host.runtime.containers.remove(id);
  });
});
