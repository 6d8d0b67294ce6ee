/** The LAMP example: what dies inside the container is supervisord's to heal, and the container stays as it is. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import type { Instance } from '../instance.ts';
import { until, untilGiven } from '../until.ts';
import { importExampleImages } from './images.ts';
import { useInstance } from './use-instance.ts';

describe('the LAMP container', function () {
  this.timeout(300_000);
  const running = useInstance({ images: 'none' });
  let instance: Instance;
  let url: string;

  before(async () => {
    instance = running();
    await importExampleImages(instance, 'lamp');
    const applied = await instance.kubectl(['apply', '-f', 'examples/lamp/']);
    assert.equal(applied.code, 0, applied.stderr);
    const { status } = await instance.waitFor('lamp', ({ state }) => state === 'Running', 'running');
    url = `http://127.0.0.1:${status?.ports?.[0]?.hostPort}/`;
  });

  /** The page, or undefined while there is none. */
  const visit = async (): Promise<string | undefined> => {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    return answer?.ok === true ? await answer.text() : undefined;
  };
  /** Of a page that came: that supervisord says RUNNING tells only that a program has lived for a second. */
  const visitNumber = (): Promise<number> =>
    untilGiven(
      async () => {
        const number = /visit (\d+)\n/.exec((await visit()) ?? '')?.[1];
        return number === undefined ? undefined : Number(number);
      },
      'the page',
      60_000,
    );
  const pidOf = async (): Promise<number> => (await instance.get('lamp'))?.status?.pid ?? -1;
  /** The process of this name that supervisord, process 1 of the container, has started. */
  const childOf = async (name: string): Promise<number | undefined> => {
    const parent = await pidOf();
    for (const pid of await readdir('/proc')) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''); // no process, or one that ended
      if (status.startsWith(`Name:\t${name}\n`) && status.includes(`\nPPid:\t${parent}\n`)) return Number(pid);
    }
    return undefined;
  };

  it('answers with a page that Apache, PHP and MariaDB make together', async () => {
    const first = await visitNumber();
    assert.ok(first >= 1);
    assert.equal(await visitNumber(), first + 1);
  });

  for (const [program, name] of [
    ['apache2', 'apache2'],
    ['mariadb', 'mariadbd'],
  ] as const) {
    it(`has supervisord start ${program} again after kill -9, while the container stays Running`, async () => {
      const visits = await visitNumber();
      const [container, old] = [await pidOf(), await childOf(name)];
      assert.ok(old !== undefined, `${name} runs`);
      process.kill(old, 'SIGKILL');
      const healed = new RegExp(`exited: ${program} \\(terminated by SIGKILL[^]*success: ${program} entered RUNNING`);
      await until(async () => healed.test(await instance.containerLog('lamp')), `${name} to be started again`);
      assert.ok(![undefined, old].includes(await childOf(name)), 'as another process');
      assert.ok((await visitNumber()) > visits, 'no visit is forgotten');
      const log = await instance.containerLog('lamp');
      assert.match(log, new RegExp(`exited: ${program} \\(terminated by SIGKILL; not expected\\)`));
      const { status } = (await instance.get('lamp')) ?? {};
      assert.deepEqual([status?.state, status?.restartCount ?? 0, status?.pid], ['Running', 0, container]);
    });
  }

  it('shows its processes from inside, where Apache can be killed and comes back as another', async () => {
    const execIn = async (...command: string[]): Promise<string> => {
      const { code, stdout, stderr } = await instance.kubectl(['exec', 'lamp', '--', ...command]);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const processes = await execIn('ps');
    assert.match(processes, /^\s*1 .*supervisord/m);
    // Its workers look the same in the list.
    const pid = (await execIn('cat', '/run/apache2.pid')).trim();
    assert.match(processes, new RegExp(`^\\s*${pid} .*apache2 -D FOREGROUND`, 'm'));
    await execIn('kill', pid);
    const log = new RegExp(
      `exited: apache2 [^]*spawned: 'apache2' with pid (?!${pid}\\b)\\d+[^]*success: apache2 entered RUNNING`,
    );
    await until(
      async () => log.test(await instance.containerLog('lamp', '?sinceSeconds=60')),
      'supervisord to tell of it',
    );
    assert.equal((await instance.get('lamp'))?.status?.restartCount ?? 0, 0);
  });

  it('ends both when it is stopped, and keeps what it knew', async () => {
    const visits = await visitNumber();
    const patch = (desiredState: string) =>
      instance.kubectl(['patch', 'ctr', 'lamp', '--type', 'merge', '-p', JSON.stringify({ spec: { desiredState } })]);
    await patch('Stopped');
    const stopped = await instance.waitFor('lamp', ({ state }) => state === 'Exited', 'stopped');
    assert.equal(stopped.status?.exitCode, 0, 'within its grace period');
    await patch('Running');
    await instance.waitFor('lamp', ({ state }) => state === 'Running', 'running');
    assert.ok((await visitNumber()) > visits, 'no visit is forgotten');
  });
});
