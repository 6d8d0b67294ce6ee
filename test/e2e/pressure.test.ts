/**
 * A host under pressure, for real: no space on the data disk, no file descriptors, no processes. The daemon stays, containers
 * go on and are restarted where that needs nothing that is lacking, and all heals when it is over.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildBusyboxImage } from '../images.ts';
import { containersPath, createInstance, type Instance } from '../instance.ts';
import { until } from '../until.ts';

const quick = { terminationGracePeriodSeconds: 0, backoff: { initial: '100ms', max: '500ms', jitter: 0 } };
const idle = { command: ['sleep', '100000'], ...quick };
const pidOf = async (instance: Instance, name: string): Promise<number> => {
  const { status } = await instance.waitFor(
    name,
    ({ state, pid }) => state === 'Running' && pid !== undefined,
    'running',
  );
  return status?.pid ?? 0;
};
const isThere = (pid: number): boolean => existsSync(`/proc/${pid}`);

describe('a host whose data disk is full', function () {
  this.timeout(240_000);
  let disk: string;
  let images: string;
  let instance: Instance;
  before(async () => {
    [disk, images] = [await mkdtemp(join(tmpdir(), 'hf-disk-')), await mkdtemp(join(tmpdir(), 'hf-images-'))];
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m,mode=700', 'tmpfs', disk]);
    instance = await createInstance({ dataDir: join(disk, 'data') });
    await instance.start();
  });
  after(async () => {
    await instance.close();
    execFileSync('umount', [disk]);
    await rm(disk, { recursive: true });
    await rm(images, { recursive: true });
  });

  it('restarts what ends, also by a daemon that starts then, refuses writes clearly, and heals', async () => {
    const { reference: image } = await buildBusyboxImage({ dir: images });
    await instance.create('web', { image, ...idle });
    const first = await pidOf(instance, 'web');
    const fillers = join(disk, 'fillers');
    await mkdir(fillers);
    await writeFile(join(fillers, 'first'), Buffer.alloc(32 * 1024 * 1024)).catch(() => {}); // ENOSPC is what we want
    // What the daemon writes or removes meanwhile takes a page, or gives one back.
    let count = 0;
    const fill = (): boolean => {
      const { bavail, bsize } = statfsSync(disk);
      if (bavail === 0) return true;
      try {
        writeFileSync(join(fillers, String(count++)), Buffer.alloc(bavail * bsize));
      } catch {
        // Somebody was quicker.
      }
      return false;
    };
    await until(fill, 'the disk to be full');

    const refused = await instance.api('POST', containersPath, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name: 'more' },
      spec: { image, env: ['A', 'B', 'C'].map((name) => ({ name, value: 'x'.repeat(100_000) })) },
    });
    assert.equal(refused.status, 507, refused.text);
    assert.match(refused.json.message, /disk is full.*nothing was changed.*free some space/);
    assert.equal(await instance.get('more'), undefined);

    const nextOf = (old: number): Promise<number> => findSuccessor(instance, old);
    process.kill(first, 'SIGKILL');
    const second = await nextOf(first);
    await instance.stop('SIGKILL');
    // It is ready when its store can write; it heals before.
    const starting = instance.start();
    starting.catch(() => {}); // awaited below
    await until(() => isHealthy(instance), 'the daemon to start on a full disk', 60_000);
    assert.ok(isThere(second), 'the daemon that came took the running container for one that ended');
    process.kill(second, 'SIGKILL');
    const third = await nextOf(second);

    await rm(fillers, { recursive: true });
    await starting;
    await instance.create('more', { image, ...idle });
    await pidOf(instance, 'more');
    // A write that failed again and again is tried every 30 s at most.
    const { status } = await instance.waitFor('web', ({ pid }) => pid === third, 'told of', 120_000);
    assert.equal(status?.state, 'Running');
  });
});

async function isHealthy({ metricsUrl }: Instance): Promise<boolean> {
  try {
    return (await fetch(`${metricsUrl}/healthz`, { signal: AbortSignal.timeout(5_000) })).ok;
  } catch {
    return false; // it does not listen yet
  }
}

/** The process that runs in place of one that was killed, from the host: no status can be written. */
async function findSuccessor(instance: Instance, old: number): Promise<number> {
  let found: number | undefined;
  await until(
    () => {
      found = readdirSync('/proc')
        .map(Number)
        .find((pid) => pid !== old && isOurs(pid, instance));
      return found !== undefined;
    },
    'the container to be started again',
    60_000,
  );
  return found ?? 0;
}

function isOurs(pid: number, { bridge }: Instance): boolean {
  try {
    const isSleep = readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('sleep\x00100000');
    return isSleep && readFileSync(`/proc/${pid}/cgroup`, 'latin1').includes(`/holdfast-${bridge}/`);
  } catch {
    return false; // no process, or one that has ended
  }
}

describe('a host without file descriptors and processes to spare', function () {
  this.timeout(240_000);
  let dir: string;
  let instance: Instance;
  let cgroup: Cgroup | undefined;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'hf-images-'));
    instance = await createInstance();
    await instance.start();
    const { reference: image } = await buildBusyboxImage({ dir });
    for (const name of ['one', 'two']) await instance.create(name, { image, ...idle });
    for (const name of ['one', 'two']) await pidOf(instance, name);
  });
  after(async () => {
    cgroup?.release();
    await instance.close();
    await cgroup?.remove();
    await rm(dir, { recursive: true });
  });

  it('lets the kernel kill containers before the daemon and their monitors', async () => {
    const scoreOf = (pid: number): number => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1'));
    const container = await pidOf(instance, 'one');
    assert.equal(scoreOf(container), 0);
    if (!mayProtect()) {
      assert.match(instance.log, /may be killed before its containers when memory runs out/);
      return;
    }
    const monitor = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${container}/status`, 'latin1'))?.[1]);
    assert.ok(scoreOf(instance.pid) <= -900, `the daemon has ${scoreOf(instance.pid)}`);
    assert.ok(scoreOf(monitor) <= -900, `a monitor has ${scoreOf(monitor)}`);
  });

  it('takes no container for dead without a file descriptor to look at it, and restarts what died when there is one', async () => {
    const [one, two] = [await pidOf(instance, 'one'), await pidOf(instance, 'two')];
    const daemon = instance.pid;
    const limit = (soft: number): void => {
      execFileSync('prlimit', ['--pid', String(daemon), `--nofile=${soft}:`]);
    };
    const before = Number(/^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${daemon}/limits`, 'latin1'))?.[1]);
    const limitToWhatIsOpen = (): void => {
      const open = new Set(readdirSync(`/proc/${daemon}/fd`).map(Number));
      let free = 0;
      while (open.has(free)) free += 1;
      limit(free);
    };
    limitToWhatIsOpen();
    try {
      process.kill(one, 'SIGKILL');
      await until(() => {
        limitToWhatIsOpen(); // what was open for a moment has left a gap
        return instance.log.includes('a container cannot be looked at');
      }, 'the daemon to look in vain');
      assert.ok(isThere(two), 'a container was killed that could not be looked at');
    } finally {
      limit(before);
    }
    await instance.waitFor('one', ({ state, pid }) => state === 'Running' && pid !== one, 'restarted');
    assert.deepEqual([await pidOf(instance, 'two'), instance.pid], [two, daemon]);
  });

  it('says that no process can be started, and starts it when one can', async () => {
    const [one, two] = [await pidOf(instance, 'one'), await pidOf(instance, 'two')];
    cgroup = new Cgroup(instance);
    cgroup.allowNoMore();
    process.kill(one, 'SIGKILL');
    await instance.waitFor(
      'one',
      ({ message }) => /out of processes or memory \(EAGAIN\)/.test(message ?? ''),
      'refused',
    );
    cgroup.release();
    await instance.waitFor('one', ({ state, pid }) => state === 'Running' && pid !== one, 'restarted');
    assert.equal(await pidOf(instance, 'two'), two);
  });
});

/** Not everywhere where we are root: it takes CAP_SYS_RESOURCE. */
function mayProtect(): boolean {
  try {
    execFileSync('sh', ['-c', 'echo -900 >/proc/self/oom_score_adj'], { stdio: 'ignore' });
    return true;
  } catch {
    return false; // the kernel refused it
  }
}

/** The process that relays are forked from, and those that wait. */
function relaysOf(pid: number): readonly number[] {
  const children = (procFile(pid, `task/${pid}/children`).match(/[0-9]+/g) ?? []).map(Number);
  const relays = children.filter((child) => procFile(child, 'cmdline').startsWith('holdfast-relay'));
  return relays.flatMap((child) => [child, ...relaysOf(child)]);
}

/** '' if the process has ended. */
function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch (error) {
    if (isThere(pid)) throw error;
    return '';
  }
}

/** A cgroup for the daemon and the relays that it forks from, in which they may start no process. */
class Cgroup {
  readonly #root: string;
  readonly #path: string;
  readonly #before: string;

  constructor({ pid, bridge }: Instance) {
    const isV1 = existsSync('/sys/fs/cgroup/pids');
    this.#root = isV1 ? '/sys/fs/cgroup/pids' : '/sys/fs/cgroup';
    this.#path = join(this.#root, `pressure-${bridge}`);
    const own = readFileSync(`/proc/${pid}/cgroup`, 'latin1');
    this.#before = (isV1 ? /^\d+:[^:]*\bpids\b[^:]*:(.*)$/m : /^0::(.*)$/m).exec(own)?.[1] ?? '/';
    mkdirSync(this.#path);
    for (const one of [pid, ...relaysOf(pid)]) this.#move(one, this.#path);
  }

  allowNoMore(): void {
    // Not as many as there are: one that is just ending would leave room for another.
    writeFileSync(join(this.#path, 'pids.max'), '0');
  }

  release(): void {
    writeFileSync(join(this.#path, 'pids.max'), 'max');
    // With what they have started, as a monitor that stays.
    for (const pid of readFileSync(join(this.#path, 'cgroup.procs'), 'latin1').split('\n'))
      if (pid !== '') this.#move(Number(pid), join(this.#root, this.#before));
  }

  #move(pid: number, path: string): void {
    try {
      writeFileSync(join(path, 'cgroup.procs'), String(pid));
    } catch (error) {
      if (isThere(pid)) throw error;
    }
  }

  /** Once what was started in it has ended. */
  async remove(): Promise<void> {
    await until(() => {
      try {
        rmdirSync(this.#path);
        return true;
      } catch {
        return false; // monitors are still ending
      }
    }, 'the cgroup to be empty');
  }
}
