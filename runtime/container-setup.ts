/**
 * Makes what a run needs, each part only if it is missing: root file system, network, the files under /etc, config.json.
 * All but the network is made anew for every start, so that a reboot needs no path of its own. Effects only.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { decideBound } from './capabilities.ts';
import type { CgroupLayout } from './cgroups.ts';
import { canLimitSwap } from './cgroups.ts';
import type { ContainerEntry } from './container-entry.ts';
import { observeDevices } from './devices.ts';
import { formatHosts, formatResolvConf } from './etc-files.ts';
import type { IdMap } from './id-map.ts';
import { provideInit } from './init-process.ts';
import { ContainerConfigError } from './interface.ts';
import type { OciMount } from './kernel-mounts.ts';
import { defaultShmBytes } from './kernel-mounts.ts';
import type { Layout } from './layout.ts';
import { hasNetns, type NetnsPool, type Network } from './netns-pool.ts';
import { formatOciSpec } from './oci-spec.ts';
import { mountOverlay } from './overlay.ts';
import { fillAddress, mergeArgs, mergeEnv, mergeWorkingDir } from './process-config.ts';
import { makeFolderInRoot } from './rooted-path.ts';
import { cgroupPathOf } from './run.ts';
import type { ChosenFilter, SeccompFilter } from './seccomp-filter.ts';
import type { Syscalls } from './syscalls.ts';
import { lookUpUser, type ProcessUser, refuseRoot } from './user.ts';
import { readUserFiles } from './user-files.ts';
import { ensureUserNamespace, giveTo } from './user-namespace.ts';

export interface SetupDeps {
  readonly layout: Layout;
  readonly cgroups: CgroupLayout;
  readonly syscalls: Syscalls;
  readonly pool: NetnsPool;
  readonly seccomp: SeccompFilter;
  /** Capabilities that the host has to give. */
  readonly capabilities: readonly string[];
  /** Paths of /sys that tell how hot the processors are. */
  readonly thermalPaths: readonly string[];
  /** The address at which containers reach the runtime's resolver; undefined: it does not run. */
  resolverAddress(): string | undefined;
  layersOf(imageID: string): Promise<readonly string[]>;
}

const resolvConfFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** Throws ImageNotPresentError, RuntimeOperationError. */
export async function ensureRootfs(deps: SetupDeps, entry: ContainerEntry): Promise<void> {
  const { paths } = entry;
  await mountOverlay({
    layers: await deps.layersOf(entry.record.config.imageID),
    upper: paths.upper,
    work: paths.work,
    target: paths.rootfs,
    linksDir: deps.layout.shortLinks,
    syscalls: deps.syscalls,
    userNamespace: await ensureUserNamespace(deps, entry),
  });
}

/** Whether a network can still be used: both ends of its cable are there. */
export function isSound(network: Network, layout: Layout): boolean {
  return hasNetns(network, layout) && existsSync(`/sys/class/net/${network.hostInterface}`);
}

/** Keeps the container's network if it is sound, else gives it another. Throws RuntimeOperationError. */
export async function ensureNetwork(deps: SetupDeps, entry: ContainerEntry): Promise<Network> {
  const { layout, pool } = deps;
  if (entry.network !== undefined && isSound(entry.network, layout)) return entry.network;
  await dropNetwork(deps, entry);
  await mkdir(entry.paths.bundle, { recursive: true, mode: 0o700 });
  const userNamespace = await ensureUserNamespace(deps, entry);
  entry.network =
    userNamespace === undefined
      ? await pool.take(entry.paths.network)
      : await pool.takeOf(entry.paths.network, userNamespace.path);
  return entry.network;
}

/** Takes the network down; the next start gets a fresh one. */
export async function dropNetwork(deps: SetupDeps, entry: ContainerEntry): Promise<void> {
  const { network } = entry;
  if (network === undefined) return;
  entry.network = undefined;
  await deps.pool.release(network.name);
  await rm(entry.paths.network, { force: true });
}

function hostsText(entry: ContainerEntry): string {
  const { hostname, hosts } = entry.record.config;
  return formatHosts({ hostname, ip: entry.network?.ip, entries: hosts });
}

/** Changes /etc/hosts of a container that has one, in place: a running container has this very inode mounted. */
export async function rewriteHosts(entry: ContainerEntry): Promise<void> {
  const handle = await open(entry.paths.hosts, 'r+').catch(() => undefined); // never started: start writes it
  if (handle === undefined) return;
  try {
    const text = Buffer.from(hostsText(entry));
    await handle.write(text, 0, text.length, 0);
    await handle.truncate(text.length);
  } finally {
    await handle.close();
  }
}

async function writeEtcFiles(deps: SetupDeps, entry: ContainerEntry): Promise<void> {
  const { paths, record } = entry;
  const hostFiles = await Promise.all(resolvConfFiles.map((file) => readFile(file, 'utf8').catch(() => ''))); // lacks it
  await Promise.all([
    writeFile(paths.hosts, hostsText(entry), { mode: 0o644 }),
    writeFile(paths.hostname, `${record.config.hostname}\n`, { mode: 0o644 }),
    writeFile(
      paths.resolvConf,
      formatResolvConf({
        hostFiles,
        dns: record.config.dns,
        resolver: deps.resolverAddress(),
        hasHostLoopback: false,
      }),
      { mode: 0o644 },
    ),
  ]);
  for (const path of [paths.hosts, paths.hostname, paths.resolvConf]) await giveTo(record.idMap, path);
}

/** Of what a volume holds, root is the container's root: the mount shows its owners through the user namespace. */
function withIDs(mount: OciMount, idMap: IdMap | undefined): OciMount {
  return idMap === undefined || mount.type !== 'bind' ? mount : { ...mount, options: [...mount.options, 'idmap'] };
}

function checkIDs({ uid, gid, additionalGids }: ProcessUser, { size }: IdMap): void {
  const tooHigh = [uid, gid, ...additionalGids].find((id) => id >= size);
  if (tooHigh === undefined) return;
  throw new ContainerConfigError(
    'user',
    `the id ${tooHigh} does not exist in a user namespace of ${size} ids; use a lower one, or do without the namespace`,
  );
}

export interface Bundle {
  /** What it will run. */
  readonly args: readonly string[];
  readonly filter: ChosenFilter;
}

/**
 * Writes config.json for a container whose root, network and mounts of volumes are ready.
 * Throws ContainerConfigError for a user, command or folder that the image cannot satisfy.
 */
export async function writeBundle(
  deps: SetupDeps,
  entry: ContainerEntry,
  given: { readonly network: Network; readonly mounts: readonly OciMount[] },
): Promise<Bundle> {
  const { record, paths } = entry;
  const { image } = record;
  const config = fillAddress(record.config, record.config.addressPlaceholder, given.network.ip);
  const security = config.security ?? {};
  const [files, filter] = await Promise.all([
    readUserFiles(paths.rootfs, given.mounts),
    deps.seccomp.choose({ security, capabilities: decideBound({ security, available: deps.capabilities }) }),
    writeEtcFiles(deps, entry),
  ]);
  const user = lookUpUser({
    ...files,
    user: config.user ?? image.user,
    primaryGroup: config.group,
    moreGroups: config.groups,
  });
  if (config.refusesRoot === true) refuseRoot(user);
  const workingDir = mergeWorkingDir(config.workingDir, image.workingDir);
  const { idMap } = record;
  if (idMap !== undefined) checkIDs(user, idMap);
  await makeFolderInRoot({ root: paths.rootfs, path: workingDir, field: 'workingDir', owner: idMap?.hostID ?? 0 });
  const own = mergeArgs({ entrypoint: config.entrypoint, cmd: config.cmd, image });
  const isFirstProcess = config.namespaces?.pid !== 'host';
  const init = config.hasInit === true ? provideInit(own, { isFirstProcess }) : undefined;
  const args = init?.args ?? own;
  const spec = formatOciSpec({
    args,
    env: mergeEnv({ ...config, image: image.env, own: config.env, home: user.home }),
    workingDir,
    user,
    hasTerminal: config.hasTerminal === true,
    security,
    availableCapabilities: deps.capabilities,
    namespaces: config.namespaces ?? {},
    userNamespace: idMap === undefined ? undefined : { path: paths.userNamespace, idMap },
    devices: await observeDevices(security),
    thermalPaths: deps.thermalPaths,
    shmSizeBytes: config.shmSizeBytes ?? defaultShmBytes,
    cgroupKind: deps.cgroups.kind,
    hostname: config.hostname,
    rootfs: paths.rootfs,
    readonlyRootfs: config.readonlyRootfs,
    netnsPath: given.network.netnsPath,
    mounts: [...given.mounts.map((mount) => withIDs(mount, idMap)), ...(init === undefined ? [] : [init.mount])],
    cgroupsPath: cgroupPathOf(deps.layout, config.id),
    limits: config.limits,
    canLimitSwap: canLimitSwap(deps.cgroups),
    etc: { hosts: paths.hosts, hostname: paths.hostname, resolvConf: paths.resolvConf },
    seccomp: filter.choice,
  });
  await writeFile(paths.ociConfig, JSON.stringify(spec), { mode: 0o600 });
  return { args, filter };
}
