/**
 * Where the suites find the programs that they test with, and a registry to pull from.
 * `make setup-tests` unpacks them from Debian's packages into .tools/ beside the project; nothing is installed.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const tools = join(import.meta.dirname, '..', '.tools');

/** kubectl 1.20 on Debian 12, the oldest that must work. */
export const kubectl120 = (): string => findTool('kubectl 1.20', [join(tools, 'kubernetes-client/usr/bin/kubectl')]);
/** The newest kubectl of this machine: HOLDFAST_KUBECTL, the one in PATH, or else kubectl 1.20. */
export const kubectl = (): string => {
  const chosen = process.env.HOLDFAST_KUBECTL;
  return chosen !== undefined && chosen !== ''
    ? findTool('the kubectl that HOLDFAST_KUBECTL names', [chosen])
    : findTool('kubectl', [...inPath('kubectl'), join(tools, 'kubernetes-client/usr/bin/kubectl')]);
};
export const registry = (): string => unpackedOrInstalled('docker-registry', 'docker-registry/usr/bin/docker-registry');
export const prometheus = (): string => unpackedOrInstalled('prometheus', 'prometheus/usr/bin/prometheus');
export const promtool = (): string => unpackedOrInstalled('promtool', 'prometheus/usr/bin/promtool');
/** Debian's docker.io, for benchmarks side by side. */
export const dockerd = (): string => findTool('dockerd', [join(tools, 'docker.io/usr/sbin/dockerd')]);
export const containerd = (): string => findTool('containerd', [join(tools, 'containerd/usr/bin/containerd')]);
/** Of this machine; for benchmarks side by side. */
export const systemd = (): string => findTool('systemd', ['/usr/lib/systemd/systemd', '/lib/systemd/systemd']);
/** Debian's supervisor, which is Python; for benchmarks side by side. */
export const supervisord = () => {
  const script = findTool('supervisord', [join(tools, 'supervisor/usr/bin/supervisord'), ...inPath('supervisord')]);
  const modules = ['supervisor', 'python3-pkg-resources'].map((name) =>
    join(tools, name, 'usr/lib/python3/dist-packages'),
  );
  return {
    program: findTool('Python', ['/usr/bin/python3', ...inPath('python3')]),
    args: [script],
    env: { PYTHONPATH: modules.join(delimiter) },
  };
};
/** This machine's Python with Debian's python3-kubernetes, python3-docker and docker-compose and what those need, each unpacked beside the project. */
export const python = () => {
  const modules = readdirSync(tools)
    .filter((name) => name.startsWith('python3-') || name === 'docker-compose')
    .map((name) => join(tools, name, 'usr/lib/python3/dist-packages'));
  return {
    program: findTool('Python', ['/usr/bin/python3', ...inPath('python3')]),
    args: [],
    env: { PYTHONPATH: modules.join(delimiter) },
  };
};
/** The docker command line: the one in PATH, or Debian's. */
export const docker = (): string =>
  findTool('docker', [
    ...inPath('docker'),
    join(tools, 'docker-cli/usr/bin/docker'),
    join(tools, 'docker.io/usr/bin/docker'),
  ]);
/** Debian's, which speaks the oldest version of the API that must work. */
export const debianDocker = (): string =>
  findTool("Debian's docker", [join(tools, 'docker-cli/usr/bin/docker'), join(tools, 'docker.io/usr/bin/docker')]);
/** All that there are, the newest first. */
export const dockers = (): readonly string[] => [...new Set([docker(), debianDocker()])];
/** What dockerd looks for in its PATH: containerd, its shims, runc, docker-proxy, tini. */
export const dockerdPath = (): string =>
  ['containerd/usr/bin', 'docker.io/usr/bin', 'docker.io/usr/sbin', 'runc/usr/sbin', 'tini/usr/bin']
    .map((dir) => join(tools, dir))
    .concat(process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin')
    .join(delimiter);

/** docker-compose 1.29, the one in Python. */
export const compose = () => {
  const { program, env } = python();
  return { program, args: [findTool('docker-compose', [join(tools, 'docker-compose/usr/bin/docker-compose')])], env };
};

/** A terminal for what runs only in one: the tmux in PATH, or Debian's. */
export const tmux = (): string => findTool('tmux', [...inPath('tmux'), join(tools, 'tmux/usr/bin/tmux')]);
/** What Debian's tmux needs to find the libraries that were unpacked beside it. */
export const tmuxEnvironment = (): Readonly<Record<string, string>> => {
  const dirs = readdirSync(tools)
    .filter((name) => name.startsWith('lib'))
    .flatMap((name) => ['x86_64', 'aarch64'].map((machine) => join(tools, name, 'usr/lib', `${machine}-linux-gnu`)));
  return dirs.length === 0 ? {} : { LD_LIBRARY_PATH: dirs.join(delimiter) };
};

function unpackedOrInstalled(name: string, path: string): string {
  return findTool(name, [join(tools, path), ...inPath(name)]);
}

function inPath(name: string): readonly string[] {
  return (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, name));
}

function findTool(name: string, places: readonly string[]): string {
  const found = places.find(isProgram);
  if (found !== undefined) return found;
  throw new Error(`${name} is not on this machine (looked at ${places.at(0) ?? 'PATH'}); run "make setup-tests"`);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // the next place may have it
  }
}

export interface TestRegistry {
  /** 127.0.0.1:PORT; plain HTTP. */
  readonly address: string;
  /** Where it keeps its blobs, for tests that damage them. */
  readonly storageDir: string;
  /** A registries.conf in which docker.io has this registry as its mirror, and by which it may be spoken to in HTTP. */
  readonly registriesConf: string;
  close(): Promise<void>;
}

export interface TestRegistryOptions {
  /** Makes it ask for this user name and password (bcrypt line of htpasswd). */
  readonly htpasswdLine?: string;
  /** More of its configuration file, in YAML. */
  readonly extraConfig?: string;
  /** Where to listen; default a free port. */
  readonly port?: number;
}

/** A docker-registry on a loopback port with storage in a temporary folder. */
export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-registry-'));
  const storageDir = join(dir, 'storage');
  const config = join(dir, 'config.yml');
  const auth =
    options.htpasswdLine === undefined ? '' : `auth:\n  htpasswd: { realm: test, path: ${join(dir, 'htpasswd')} }\n`;
  if (options.htpasswdLine !== undefined) await writeFile(join(dir, 'htpasswd'), `${options.htpasswdLine}\n`);
  await writeFile(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${storageDir} }, delete: { enabled: true } }\n` +
      `http: { addr: "127.0.0.1:${options.port ?? 0}" }\n${auth}${options.extraConfig ?? ''}`,
  );
  const child = spawn(registry(), ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString('utf8')).slice(-4096);
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const port = await listeningPort(child.pid, () => child.exitCode === null && child.signalCode === null);
    const address = `127.0.0.1:${port}`;
    const registriesConf = join(dir, 'registries.conf');
    await writeFile(
      registriesConf,
      `[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "${address}"\ninsecure = true\n` +
        `[[registry]]\nlocation = "${address}"\ninsecure = true\n`,
    );
    return { address, storageDir, registriesConf, close };
  } catch (cause) {
    await close();
    throw new Error(`docker-registry did not start: ${output.trim()}`, { cause });
  }
}

/** The port on which a process listens, read from its sockets: a registry that chose a free port does not say which. */
async function listeningPort(pid: number | undefined, isAlive: () => boolean): Promise<number> {
  const deadlineMs = performance.now() + 60_000;
  while (pid !== undefined && isAlive() && performance.now() < deadlineMs) {
    const port = await observeListeningPort(pid);
    if (port !== undefined) return port;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('it does not listen');
}

async function observeListeningPort(pid: number): Promise<number | undefined> {
  const inodes = new Set<string>();
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const table = await readFile('/proc/net/tcp', 'utf8');
  for (const line of table.split('\n')) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === '0A' && inode !== undefined && inodes.has(inode))
      return Number.parseInt(local?.split(':')[1] ?? '', 16);
  }
  return undefined;
}
