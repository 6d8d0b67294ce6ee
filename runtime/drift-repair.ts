/**
 * Puts back what drift-find.ts found, in a container that runs on. Effects; called with the container's lock held. Each
 * repair can be made again after it was cut short. Throws RuntimeOperationError, or what the file system throws.
 */
import { createWriteStream } from 'node:fs';
import {
  copyFile,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';
import type { Subnet } from './addresses.ts';
import { replaceFile } from './atomic-file.ts';
import { applyLimits } from './cgroups.ts';
import { runCommand, runSuccessfully } from './command.ts';
import type { ContainerEntry } from './container-entry.ts';
import { cableAddressesOf, type FactsDeps, type RunMemory, stateCopyOf } from './drift-facts.ts';
import type { Finding } from './drift-find.ts';
import { RuntimeOperationError } from './interface.ts';
import { nextLogName, sendControl } from './log-files.ts';
import type { ProcessIdentity } from './proc.ts';
import { formatRecord, type RunProcesses } from './record.ts';
import { cgroupPathOf } from './run.ts';
import type { Syscalls } from './syscalls.ts';
import { giveTo } from './user-namespace.ts';

export interface RepairDeps extends FactsDeps {
  readonly syscalls: Syscalls;
  readonly subnet: Subnet;
  readonly subnet6: Subnet | undefined;
}

export interface Repair {
  readonly deps: RepairDeps;
  readonly entry: ContainerEntry;
  readonly processes: RunProcesses;
  readonly memory: RunMemory;
  /** What the files under /etc should hold, by their paths. */
  readonly etc: ReadonlyMap<string, { readonly wanted: string }>;
}

const MS_BIND = 4096;
const deadlineMs = 10_000;

export async function repair(repairs: Repair, finding: Finding): Promise<void> {
  const { deps, entry, processes } = repairs;
  const { paths, record } = entry;
  switch (finding.kind) {
    case 'bundle':
      for (const name of finding.missing) await repairBundleFile(repairs, name);
      return;
    case 'record':
      await mkdir(paths.home, { recursive: true, mode: 0o700 });
      return replaceFile(paths.record, formatRecord(record), 'durable');
    case 'root-mount':
      await mkdir(paths.rootfs, { recursive: true });
      return deps.syscalls.mountOutOf({ process: processes.init, source: '/', target: paths.rootfs });
    case 'oci-state':
      return linkAll(stateCopyOf(entry), paths.ociState);
    case 'namespace':
      return bindNamespaces(repairs);
    case 'cable':
      return repairCable(repairs);
    case 'limits': {
      const { limits } = record.config;
      return applyLimits(deps.cgroups, cgroupPathOf(deps.layout, record.config.id), limits, limits);
    }
    case 'etc-file':
      return repairEtc(repairs, finding.path);
    case 'volume-mount': {
      const { bind, direction } = finding;
      const { source, destination } = bind;
      if (direction === 'outwards') {
        await mkdir(source, { recursive: true, mode: 0o755 });
        return deps.syscalls.mountOutOf({ process: processes.init, source: destination, target: source });
      }
      return deps.syscalls.mountInto({ ...bind, process: processes.init, target: destination });
    }
    case 'log':
      return repairLog(entry, processes.monitor);
    default:
      throw new RuntimeOperationError('repair', `${finding.kind} cannot be put back in a container that runs`);
  }
}

async function repairBundleFile(repairs: Repair, name: string): Promise<void> {
  const { entry, processes } = repairs;
  const { paths } = entry;
  await mkdir(paths.bundle, { recursive: true, mode: 0o700 });
  const path = join(paths.bundle, name);
  switch (path) {
    case paths.rootfs:
      await mkdir(path, { recursive: true });
      return;
    case paths.process:
      return replaceFile(path, JSON.stringify(processes), 'volatile');
    case paths.network:
      return replaceFile(path, JSON.stringify(entry.network), 'volatile');
    case paths.pidFile:
      return writeFile(path, String(processes.init.pid));
    case paths.monitorPidFile:
      return writeFile(path, String(processes.monitor.pid));
    case paths.ociConfig:
      return copyFile(join(paths.ociState, basename(path)), path);
    case paths.ctl:
    case paths.winsz: {
      const fd = await findOpenFile(processes.monitor.pid, path);
      if (fd !== undefined) await symlink(fd, path);
      return;
    }
    default:
      throw new RuntimeOperationError('repair', `nobody knows how ${name} of a bundle is made again`);
  }
}

/** The monitor has it open: a path of /proc that leads to the very file, also when that was deleted. */
async function findOpenFile(pid: number, path: string): Promise<string | undefined> {
  const dir = `/proc/${pid}/fd`;
  for (const name of await readdir(dir)) {
    const target = await readlink(join(dir, name)).catch(() => ''); // closed meanwhile
    if (target === path || target === `${path} (deleted)`) return join(dir, name);
  }
  return undefined;
}

async function linkAll(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const name of await readdir(from)) {
    await link(join(from, name), join(to, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

async function bindNamespaces({ deps, entry, processes }: Repair): Promise<void> {
  const { pid } = processes.init;
  const wanted = [
    ...(entry.network === undefined ? [] : [{ source: `/proc/${pid}/ns/net`, target: entry.network.netnsPath }]),
    ...(entry.record.idMap === undefined
      ? []
      : [{ source: `/proc/${pid}/ns/user`, target: entry.paths.userNamespace }]),
  ];
  for (const { source, target } of wanted) {
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await writeFile(target, '', { flag: 'a' });
    const [there, parent] = await Promise.all([lstat(target), lstat(dirname(target))]);
    if (there.dev === parent.dev) await deps.syscalls.mount({ source, target, type: '', flags: MS_BIND });
  }
}

/**
 * A cable with the addresses of the container, that of the hardware too: neighbours would go on sending to the old one for
 * up to 45 s. They are told of one that is not known, which they may miss (arp_notify: it is sent as the cable goes up, when
 * nothing gets through yet). Source: Linux ip-sysctl.rst, arp(7).
 */
async function repairCable({ deps, entry, processes }: Repair): Promise<void> {
  const { network } = entry;
  if (network === undefined) return;
  const { bridge } = deps.layout;
  const host = network.hostInterface;
  const { pid } = processes.init;
  const inside = ['nsenter', `--net=/proc/${pid}/ns/net`] as const;
  const isThere = await lstat(`/sys/class/net/${host}`).then(
    () => true,
    () => false, // it is gone
  );
  if (!isThere) {
    // Its other end can be there only if the cable has another name now.
    await runCommand('repair', [...inside, 'ip', 'link', 'delete', 'eth0'], { deadlineMs });
    const hardware = network.mac === undefined ? [] : ['address', network.mac];
    const inner = ['peer', 'name', 'eth0', ...hardware, 'netns', `${pid}`];
    await runSuccessfully('repair', ['ip', 'link', 'add', 'name', host, 'type', 'veth', ...inner], { deadlineMs });
  }
  const plug = [
    `link set dev ${host} master ${bridge}`,
    `link set dev ${host} up`,
    `link set dev ${host} type bridge_slave hairpin on`,
  ];
  await runSuccessfully('repair', ['ip', '-batch', '-'], { deadlineMs, input: plug.join('\n') });
  const subnets = [deps.subnet, deps.subnet6];
  const addresses: string[] = [];
  const routes: string[] = [];
  for (const address of cableAddressesOf(entry)) {
    const isIPv6 = address.includes(':');
    const subnet = subnets[isIPv6 ? 1 : 0];
    if (subnet === undefined) continue;
    addresses.push(`addr replace ${address}/${subnet.prefixLength} dev eth0${isIPv6 ? ' nodad' : ''}`);
    routes.push(`route replace default via ${subnet.gateway} dev eth0`);
  }
  // What it is told of is what it has when it goes up.
  const lines = [...addresses, 'link set dev eth0 up', ...routes];
  const script =
    'echo 1 2>/dev/null >/proc/sys/net/ipv4/conf/eth0/arp_notify; echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/eth0/ndisc_notify; exec ip -batch -';
  await runSuccessfully('repair', [...inside, 'sh', '-c', script], { deadlineMs, input: lines.join('\n') });
}

/** In place where the process has this very file, or else it gets the new one mounted. */
async function repairEtc({ deps, entry, processes, memory, etc }: Repair, path: string): Promise<void> {
  const wanted = etc.get(path)?.wanted;
  if (wanted === undefined) return;
  const there = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (there === undefined) {
    await writeFile(path, wanted, { mode: 0o644 });
    await giveTo(entry.record.idMap, path);
  } else {
    try {
      const text = Buffer.from(wanted);
      // Of any size, as the container likes: read only if it may be the same.
      const isOther = (await there.stat()).size !== text.length || !text.equals(await there.readFile());
      if (isOther) {
        await there.write(text, 0, text.length, 0);
        await there.truncate(text.length);
      }
    } finally {
      await there.close();
    }
  }
  const bind = memory.binds.find(({ source }) => source === path);
  if (bind === undefined) return;
  const inside = await lstat(`/proc/${processes.init.pid}/root${bind.destination}`).catch(() => undefined); // nothing there
  const own = await lstat(path);
  if (inside?.ino === own.ino && inside.dev === own.dev) return;
  await deps.syscalls.mountInto({ ...bind, process: processes.init, target: bind.destination });
}

/** The monitor goes on writing to a file that has no name: it is told to open another, and the lines are saved. */
async function repairLog(entry: ContainerEntry, monitor: ProcessIdentity): Promise<void> {
  const { paths } = entry;
  await mkdir(paths.logDir, { recursive: true, mode: 0o700 });
  // A monitor that cannot open its log ends itself: find out first whether it can.
  const trial = join(paths.logDir, 'trial');
  await writeFile(trial, 'x');
  await rm(trial);
  const lost = await findOpenFile(monitor.pid, paths.log);
  const old = lost === undefined ? undefined : await open(lost, 'r');
  try {
    if (!(await sendControl(paths.ctl, '2 0 0\n'))) {
      throw new RuntimeOperationError('repair', 'the monitor does not listen; the next look tries again');
    }
    const endMs = performance.now() + deadlineMs;
    while (
      !(await lstat(paths.log).then(
        () => true,
        () => false,
      ))
    ) {
      if (performance.now() > endMs) {
        throw new RuntimeOperationError('repair', `the monitor opened no new log within ${deadlineMs} ms`);
      }
      await wait(2);
    }
    if (old === undefined) return;
    const saved = join(paths.logDir, nextLogName(await readdir(paths.logDir)));
    const copy = createWriteStream(`${saved}.new`, { mode: 0o640 });
    await pipeline(old.createReadStream({ start: 0, autoClose: false }), copy);
    await rename(`${saved}.new`, saved);
  } finally {
    await old?.close();
  }
}
