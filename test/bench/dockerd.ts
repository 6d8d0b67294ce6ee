/**
 * Debian's dockerd with its containerd, in mount, process and network namespaces of its own: it cannot change the
 * firewall, forwarding or /etc of this machine, and when its PID 1 is killed nothing of it is left but a folder and
 * empty cgroups, which close() removes. Effects.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { dockerd, dockerdPath } from '../tools.ts';
import { execInDocker, openTerminalInDocker } from './dockerd-streams.ts';
import { type BenchImage, benchCommand, createWaits, type Engine } from './engine.ts';
import { createHttpClient, type HttpClient } from './http.ts';
import { descendants, observeProcesses } from './processes.ts';

const startDeadlineMs = 30_000;
const apiVersion = '/v1.41';

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

/** Starts dockerd and loads the image. Throws with the end of its log if it does not start. */
export async function startDockerd(image: BenchImage): Promise<Engine> {
  const program = dockerd();
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-bench-dockerd-'));
  const cgroupParent = `/${basename(dir)}`;
  for (const name of ['etc', 'etc-work', 'data', 'exec']) await mkdir(join(dir, name));
  // pdeathsig and --kill-child: if the bench itself is killed, all of it dies too.
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
  const client = createHttpClient({ kind: 'unix', socketPath: join(dir, 'docker.sock') });
  const close = async () => {
    client.close();
    child.kill('SIGKILL');
    await ended;
    await removeCgroups(cgroupParent);
    await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  try {
    const isAlive = () => child.exitCode === null && child.signalCode === null;
    const version = await waitForVersion(client, isAlive);
    await client.upload(`${apiVersion}/images/load?quiet=1`, await readFile(image.path), 'application/x-tar');
    return await createEngine({
      client,
      socketPath: join(dir, 'docker.sock'),
      version,
      image: image.name,
      cgroupParent,
      rootPid: child.pid ?? 0,
      close,
    });
  } catch (cause) {
    await close();
    throw new Error(`dockerd did not start: ${log.trim().split('\n').slice(-3).join(' | ')}`, { cause });
  }
}

async function createEngine(deps: {
  readonly client: HttpClient;
  readonly socketPath: string;
  readonly version: string;
  readonly image: string;
  readonly cgroupParent: string;
  readonly rootPid: number;
  readonly close: () => Promise<void>;
}): Promise<Engine> {
  const { client, socketPath, version, image, cgroupParent, rootPid, close } = deps;
  const streams = { client, socketPath, apiVersion };
  const starts = new Map<string, number>();
  const ended = new Set<string>();
  const waits = createWaits();
  await client.stream(`${apiVersion}/events`, (line) => {
    // Source: Docker Engine API 1.41, GET /events.
    const { Type, Action, Actor } = line as { Type: string; Action: string; Actor: { Attributes: { name?: string } } };
    const name = Actor.Attributes.name;
    if (Type !== 'container' || name === undefined) return;
    if (Action === 'die') ended.add(name);
    else if (Action === 'start') starts.set(name, (starts.get(name) ?? 0) + 1);
    else return;
    waits.changed();
  });
  const started = (name: string): number => starts.get(name) ?? 0;
  return {
    name: `dockerd ${version}`,
    run: async (container) => {
      const before = started(container);
      await client.call('POST', `${apiVersion}/containers/create?name=${container}`, {
        Image: image,
        Cmd: benchCommand,
        HostConfig: { RestartPolicy: { Name: 'always' } },
      });
      await client.call('POST', `${apiVersion}/containers/${container}/start`);
      await waits.until(`the start of ${container} by dockerd`, () => started(container) > before);
    },
    keep: async (processes) => {
      for (const { name, args, pipesDir } of processes) {
        await client.call('POST', `${apiVersion}/containers/create?name=${name}`, {
          Image: image,
          Cmd: ['sh', ...args],
          HostConfig: { RestartPolicy: { Name: 'always' }, Binds: [`${pipesDir}:${pipesDir}`] },
        });
        await client.call('POST', `${apiVersion}/containers/${name}/start`);
      }
    },
    exec: (container, command) => execInDocker(streams, container, command),
    openTerminal: (container) => openTerminalInDocker(streams, container),
    runToEnd: async (container, command) => {
      await client.call('POST', `${apiVersion}/containers/create?name=${container}`, { Image: image, Cmd: command });
      await client.call('POST', `${apiVersion}/containers/${container}/start`);
      await waits.until(`the end of ${container} by dockerd`, () => ended.has(container));
    },
    pidOf: async (container) => {
      const answer = await client.call('GET', `${apiVersion}/containers/${container}/json`);
      return hostPidOf((answer as { State: { Pid: number } }).State.Pid, cgroupParent);
    },
    runsAgain: (container) => {
      const before = started(container);
      return waits.until(`the restart of ${container} by dockerd`, () => started(container) > before);
    },
    remove: async (containers) => {
      await Promise.all(
        containers.map((container) => client.call('DELETE', `${apiVersion}/containers/${container}?force=1&v=1`)),
      );
    },
    processes: async () => {
      const all = await observeProcesses();
      const isMonitor = ({ name }: { name: string }) => name.startsWith('containerd-shim');
      const ours = descendants(all, rootPid, () => false);
      const daemon = descendants(all, rootPid, isMonitor).filter(
        ({ name }) => name === 'dockerd' || name === 'containerd',
      );
      return { daemon: daemon.map(({ pid }) => pid), monitors: ours.filter(isMonitor).map(({ pid }) => pid) };
    },
    close,
  };
}

async function waitForVersion(client: HttpClient, isAlive: () => boolean): Promise<string> {
  const endMs = performance.now() + startDeadlineMs;
  for (;;) {
    try {
      const answer = await client.call('GET', '/version');
      return (answer as { Version: string }).Version;
    } catch (error) {
      if (!isAlive() || performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** dockerd tells pids of its own namespace: finds the process of our cgroup that has this pid there. */
async function hostPidOf(innerPid: number, cgroupParent: string): Promise<number> {
  for (const { pid } of await observeProcesses()) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    // Ours, dockerd's, the container's.
    const [, ...pids] = /^NSpid:(.*)$/m.exec(status)?.[1]?.split('\t').map(Number) ?? [];
    if (pids.length !== 3 || pids[1] !== innerPid) continue;
    const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    if (cgroups.includes(`${cgroupParent}/`)) return pid;
  }
  throw new Error(`no process of this machine has pid ${innerPid} among dockerd's`);
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
