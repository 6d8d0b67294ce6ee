/**
 * Looks at what a running container has on the host. Effects: reads only, and only what cannot hang: our own folders,
 * /proc, /sys. Synchronous, some 0.3 ms for a container: nothing else happens between two of the looks.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type CgroupLayout, controllerDir } from './cgroups.ts';
import { addressesOf, type ContainerEntry, namedAddresses } from './container-entry.ts';
import { formatHosts } from './etc-files.ts';
import type { Layout } from './layout.ts';
import { limitWrites } from './limits.ts';
import { isMountPoint } from './overlay.ts';
import type { RunProcesses } from './record.ts';
import { type MountLine, parseMountinfo } from './remove-tree.ts';
import { cgroupPathOf } from './run.ts';

export interface FactsDeps {
  readonly layout: Layout;
  readonly cgroups: CgroupLayout;
}

/** A mount of the container from a path of the host. */
export interface BindMount {
  readonly source: string;
  readonly destination: string;
  readonly isReadOnly: boolean;
  /** Its owners are seen through the container's user namespace. */
  readonly isMapped: boolean;
}

/** What is remembered of a run from the first look at it on: what cannot be read anywhere else. */
export interface RunMemory {
  readonly upperInode: number | undefined;
  /** Contents of the files under /etc, by their paths on the host; hosts is computed. */
  readonly etc: ReadonlyMap<string, string>;
  readonly binds: readonly BindMount[];
}

/** Links to the OCI runtime's state, so that either is left of the other. */
export function stateCopyOf(entry: ContainerEntry): string {
  return entry.paths.ociStateCopy;
}

/** To be called at the first look at a run. */
export function rememberRun(entry: ContainerEntry): RunMemory {
  const { paths } = entry;
  linkState(entry);
  const etc = [paths.hostname, paths.resolvConf].flatMap((path) => {
    const text = readStart(path, maxEtcBytes);
    return text === undefined || text.length >= maxEtcBytes ? [] : [[path, text] as const];
  });
  return {
    upperInode: statSync(paths.upper, { throwIfNoEntry: false })?.ino,
    etc: new Map(etc),
    binds: parseBinds(readText(paths.ociConfig) ?? readText(join(paths.ociState, 'config.json')) ?? ''),
  };
}

/** Hard links cost nothing. */
function linkState({ paths }: ContainerEntry): void {
  const copy = paths.ociStateCopy;
  try {
    if (!existsSync(join(paths.ociState, 'status'))) return; // what an earlier daemon has linked is all there is
    rmSync(copy, { recursive: true, force: true });
    mkdirSync(copy, { mode: 0o700 });
    for (const name of readdirSync(paths.ociState)) {
      if (name !== basename(paths.execFifo)) linkSync(join(paths.ociState, name), join(copy, name));
    }
  } catch {
    // A state that is lost without a copy ends in a restart.
  }
}

/** Pure: the bind mounts of an OCI configuration, those nearer to the root first. */
export function parseBinds(config: string): readonly BindMount[] {
  let mounts: unknown;
  try {
    mounts = Reflect.get(JSON.parse(config), 'mounts');
  } catch {
    return []; // lost before we came
  }
  if (!Array.isArray(mounts)) return [];
  return mounts
    .flatMap((mount: Readonly<Record<string, unknown>>): BindMount[] => {
      const { type, source, destination, options } = mount;
      if (type !== 'bind' || typeof source !== 'string' || typeof destination !== 'string') return [];
      const has = (option: string): boolean => Array.isArray(options) && options.includes(option);
      return [{ source, destination, isReadOnly: has('ro'), isMapped: has('idmap') }];
    })
    .sort((a, b) => a.destination.split('/').length - b.destination.split('/').length);
}

/** What of a run is not there, or is otherwise than it should be, in the terms of the file system. */
export interface RunFacts {
  /** Names of the bundle's files. */
  readonly bundle: ReadonlySet<string>;
  /** Names in the container's folder of the data dir. */
  readonly home: ReadonlySet<string>;
  readonly ociState: ReadonlySet<string>;
  readonly ociStateCopy: ReadonlySet<string>;
  readonly isRootMounted: boolean;
  readonly upperInode: number | undefined;
  readonly isWorkThere: boolean;
  readonly isLogThere: boolean;
  /** undefined: it is to have none. */
  readonly hasNetns: boolean | undefined;
  readonly hasUserNamespace: boolean | undefined;
  readonly cable: CableFacts | undefined;
  /** Control files whose value is another than it should be. */
  readonly limits: readonly { readonly file: string; readonly seen: string; readonly wanted: string }[];
  /** By the path on the host; undefined: not there. */
  readonly etc: ReadonlyMap<string, { readonly seen: string | undefined; readonly wanted: string }>;
  /** What the process has mounted, by mount point; undefined if it cannot be read. */
  readonly mounts: ReadonlyMap<string, MountLine> | undefined;
  /** Memory volumes that are no mount points on the host. */
  readonly unmounted: ReadonlySet<string>;
}

export interface CableFacts {
  readonly isThere: boolean;
  /** The bridge that it is plugged into. */
  readonly bridge: string | undefined;
  readonly isUp: boolean;
  /** /proc/PID/net/route of the container. */
  readonly routes: string;
}

export function observeFacts(
  { layout, cgroups }: FactsDeps,
  entry: ContainerEntry,
  processes: RunProcesses,
  memory: RunMemory,
): RunFacts {
  const { paths, record, network } = entry;
  const { config } = record;
  const { pid } = processes.init;
  const bundle = namesIn(paths.bundle);
  return {
    bundle,
    home: namesIn(paths.home),
    ociState: namesIn(paths.ociState),
    ociStateCopy: namesIn(paths.ociStateCopy),
    isRootMounted: isMountPoint(paths.rootfs),
    upperInode: statSync(paths.upper, { throwIfNoEntry: false })?.ino,
    isWorkThere: existsSync(paths.work),
    isLogThere: existsSync(paths.log),
    hasNetns: network === undefined ? undefined : isMountPoint(network.netnsPath),
    hasUserNamespace: record.idMap === undefined ? undefined : isMountPoint(paths.userNamespace),
    cable: network === undefined ? undefined : observeCable(network.hostInterface, pid),
    limits: observeLimits(cgroups, cgroupPathOf(layout, config.id), entry),
    etc: observeEtc(entry, memory),
    mounts: observeMounts(pid),
    unmounted: observeUnmounted(entry, memory),
  };
}

function namesIn(dir: string): ReadonlySet<string> {
  try {
    return new Set(readdirSync(dir));
  } catch (error) {
    if (!isAbsence(error)) throw error;
    return new Set(); // gone: nothing is in it
  }
}

/** Whatever else keeps us from looking, as no file descriptor being left, says nothing of what is there. */
function isAbsence(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH' || code === 'ENODEV' || code === 'EINVAL';
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (!isAbsence(error)) throw error;
    return undefined; // not there
  }
}

/** So much is not written by us. */
const maxEtcBytes = 1024 * 1024;

/** A file that the container may write to, which can be of any size, is read no further than it matters. */
function readStart(path: string, maxBytes: number): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (!isAbsence(error)) throw error;
    return undefined; // not there
  }
  try {
    const buffer = Buffer.allocUnsafe(Math.min(maxBytes, fstatSync(fd).size + 1));
    return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0)).toString('utf8');
  } finally {
    closeSync(fd);
  }
}

function observeCable(hostInterface: string, pid: number): CableFacts {
  const dir = `/sys/class/net/${hostInterface}`;
  const flags = readText(join(dir, 'flags'));
  let bridge: string | undefined;
  try {
    bridge = basename(readlinkSync(join(dir, 'master')));
  } catch (error) {
    if (!isAbsence(error)) throw error;
    bridge = undefined; // in none
  }
  return {
    isThere: flags !== undefined,
    bridge,
    isUp: (Number(flags) & 1) === 1,
    routes: readText(`/proc/${pid}/net/route`) ?? '',
  };
}

/** What the kernel writes for no limit: in pages, so a little less than the highest number. */
const unlimitedFrom = 2 ** 62;
const pageBytes = 4_096;

/** Pure: whether two values of a control file mean the same: no limit has several names, and memory counts in pages. */
export function isSameLimit(file: string, seen: string, wanted: string): boolean {
  const normal = (text: string): string => {
    const number = Number(text);
    if (text === 'max' || text === '-1' || number >= unlimitedFrom) return 'max';
    return file.startsWith('memory.') ? String(Math.floor(number / pageBytes)) : text;
  };
  return normal(seen) === normal(wanted);
}

function observeLimits(cgroups: CgroupLayout, path: string, { record }: ContainerEntry): RunFacts['limits'] {
  const { limits } = record.config;
  return limitWrites(cgroups.kind, limits, limits).flatMap(({ controller, file, value }) => {
    // OCI runtimes differ in how they make a weight of shares.
    if (file === 'cpu.weight') return [];
    const dir = controllerDir(cgroups, controller, path);
    const seen = dir === undefined ? undefined : readText(join(dir, file))?.trim();
    return seen === undefined || isSameLimit(file, seen, value) ? [] : [{ file, seen, wanted: value }];
  });
}

function observeEtc(entry: ContainerEntry, memory: RunMemory): RunFacts['etc'] {
  const { paths, record } = entry;
  const { hostname, hosts, namespaces } = record.config;
  const wanted = new Map(memory.etc);
  if (entry.resolvConf !== undefined) wanted.set(paths.resolvConf, entry.resolvConf);
  // The host's own file, which may change at any time, is part of it where the host's network is the container's.
  if (namespaces?.network !== 'host') {
    wanted.set(paths.hosts, formatHosts({ hostname, addresses: namedAddresses(entry), entries: hosts }));
  }
  return new Map(
    [...wanted].map(([path, text]) => [path, { seen: readStart(path, Buffer.byteLength(text) + 1), wanted: text }]),
  );
}

function observeMounts(pid: number): ReadonlyMap<string, MountLine> | undefined {
  const text = readText(`/proc/${pid}/mountinfo`);
  // Of two at one place the later one counts.
  return text === undefined ? undefined : new Map(parseMountinfo(text).map((line) => [line.mountPoint, line]));
}

function observeUnmounted({ paths }: ContainerEntry, { binds }: RunMemory): ReadonlySet<string> {
  const inMemory = binds.filter(({ source }) => dirname(source) === paths.volumesMemory);
  return new Set(inMemory.map(({ source }) => source).filter((source) => !isMountPoint(source)));
}

/** Its addresses with the lengths of their subnets' prefixes, for whoever makes it a cable. */
export function cableAddressesOf(entry: ContainerEntry): readonly string[] {
  const { ip, ip6 } = addressesOf(entry) ?? {};
  return [ip, ip6].filter((one) => one !== undefined);
}
