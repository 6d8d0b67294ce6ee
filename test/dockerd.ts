/**
 * Debian's dockerd with its containerd, in mount, process and network namespaces of its own: it cannot change the
 * firewall, forwarding or /etc of this machine, and when its PID 1 is killed nothing of it is left but a folder and
 * empty cgroups, which close() removes. Effects.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { dockerd, dockerdPath } from './tools.ts';
import { untilGiven } from './until.ts';

const startDeadlineMs = 60_000;

export interface Dockerd {
  /** Of the Engine API; reached from this machine's namespaces. */
  readonly socketPath: string;
  readonly version: string;
  /** PID, of this machine, of what runs in dockerd's namespaces as PID 1. */
  readonly rootPid: number;
  /** Below which its containers have their control groups: /NAME. */
  readonly cgroupParent: string;
  /** Kills it with its containers, and removes what it leaves. */
  close(): Promise<void>;
}

/** Runs as PID 1 of the new namespaces. /etc is an overlay because dockerd writes a key there, /run is its own. */
const initScript = `
set -eu
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc-work" /etc
mount -t tmpfs tmpfs /run
ip link set lo up
"$2" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/docker.sock" \
  --bip 10.99.0.1/16 --storage-driver overlay2 --cgroup-parent "$3" --log-level warn &
wait
`;

/** Throws with the end of its log if it does not start. */
export async function startDockerd(): Promise<Dockerd> {
  const program = dockerd();
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-dockerd-'));
  const cgroupParent = `/${basename(dir)}`;
  for (const name of ['etc', 'etc-work', 'data', 'exec']) await mkdir(join(dir, name));
  // pdeathsig and --kill-child: if its starter itself is killed, all of it dies too.
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', '--fork', '--kill-child', '--pid', '--mount-proc', '--net', '--mount'].concat([
      'sh',
      '-c',
      initScript,
      'dockerd-init',
      dir,
      program,
      cgroupParent,
    ]),
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH: dockerdPath() } },
  );
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString('utf8')).slice(-4096);
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const socketPath = join(dir, 'docker.sock');
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
    await removeCgroups(cgroupParent);
    await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  try {
    const isAlive = () => child.exitCode === null && child.signalCode === null;
    const version = await untilGiven(
      () => {
        if (!isAlive()) throw new Error('dockerd ended');
        return observeVersion(socketPath);
      },
      'dockerd to answer',
      startDeadlineMs,
    );
    return { socketPath, version, rootPid: child.pid ?? 0, cgroupParent, close };
  } catch (cause) {
    await close();
    throw new Error(`dockerd did not start: ${log.trim().split('\n').slice(-3).join(' | ')}`, { cause });
  }
}

/** undefined while it does not answer. Source: Docker Engine API, GET /version. */
async function observeVersion(socketPath: string): Promise<string | undefined> {
  try {
    const text = await new Promise<string>((resolve, reject) => {
      const asked = request({ socketPath, path: '/version', timeout: 5_000 }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk;
        });
        response.once('end', () => resolve(body));
        response.once('error', reject);
      });
      asked.once('timeout', () => asked.destroy(new Error('no answer')));
      asked.once('error', reject).end();
    });
    return (JSON.parse(text) as { Version?: string }).Version;
  } catch {
    return undefined; // it does not listen yet
  }
}

/** Removes the empty control groups of this name in every hierarchy: what is killed with its namespaces leaves its own. */
export async function removeCgroups(parent: string): Promise<void> {
  for (const hierarchy of await readdir('/sys/fs/cgroup'))
    await removeCgroup(join('/sys/fs/cgroup', hierarchy, parent));
  await removeCgroup(join('/sys/fs/cgroup', parent));
}

async function removeCgroup(dir: string): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return;
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(dir, entry.name));
  const endMs = performance.now() + 5_000;
  for (;;) {
    try {
      return await rmdir(dir);
    } catch (error) {
      // A killed process leaves its control group a moment after it is gone from /proc.
      if (performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
