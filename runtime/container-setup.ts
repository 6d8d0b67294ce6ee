/**
 * Makes what a run needs, each part only if it is missing: root file system and config.json.
 * It is made anew for every start, so that a reboot needs no path of its own. Effects only.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { decideBound } from './capabilities.ts';
import type { CgroupLayout } from './cgroups.ts';
import { canLimitSwap } from './cgroups.ts';
import { addressesOf, type ContainerEntry } from './container-entry.ts';
import { type EtcDeps, writeEtcFiles } from './container-etc.ts';
import { observeDevices } from './devices.ts';
import type { IdMap } from './id-map.ts';
import { provideInit } from './init-process.ts';
import { ContainerConfigError, ImageNotPresentError } from './interface.ts';
import type { OciMount } from './kernel-mounts.ts';
import { defaultShmBytes } from './kernel-mounts.ts';
import type { Layout } from './layout.ts';
import type { Network } from './netns-pool.ts';
import { formatOciSpec } from './oci-spec.ts';
import { mountOverlay } from './overlay.ts';
import { fillAddress, mergeArgs, mergeEnv, mergeWorkingDir } from './process-config.ts';
import { makeFolderInRoot } from './rooted-path.ts';
import { cgroupPathOf } from './run.ts';
import type { ChosenFilter, SeccompFilter } from './seccomp-filter.ts';
import type { Syscalls } from './syscalls.ts';
import { lookUpUser, type ProcessUser, refuseRoot } from './user.ts';
import { readUserFiles } from './user-files.ts';
import { ensureUserNamespace } from './user-namespace.ts';

export interface SetupDeps extends EtcDeps {
  readonly layout: Layout;
  readonly cgroups: CgroupLayout;
  readonly syscalls: Syscalls;
  readonly seccomp: SeccompFilter;
  /** Capabilities that the host has to give. */
  readonly capabilities: readonly string[];
  /** Paths of /sys that tell how hot the processors are. */
  readonly thermalPaths: readonly string[];
  layersOf(imageID: string): Promise<readonly string[]>;
}

/** Throws ImageNotPresentError, RuntimeOperationError. */
export async function ensureRootfs(deps: SetupDeps, entry: ContainerEntry): Promise<void> {
  const { paths } = entry;
  const layers = await deps.layersOf(entry.record.config.imageID).catch(async (error: unknown) => {
    // A root that was mounted from it is of no use, also when the image is fetched again: its layers are others then.
    if (error instanceof ImageNotPresentError) await deps.syscalls.unmount(paths.rootfs);
    throw error;
  });
  await remakeFolders(deps, entry);
  await mountOverlay({
    layers,
    upper: paths.upper,
    work: paths.work,
    target: paths.rootfs,
    linksDir: deps.layout.shortLinks,
    syscalls: deps.syscalls,
    userNamespace: await ensureUserNamespace(deps, entry),
  });
}

/** Makes what was removed of the folders that it was created with, and unmounts a root that had one of them. */
async function remakeFolders({ syscalls }: SetupDeps, { paths }: ContainerEntry): Promise<void> {
  const isStale = existsSync(paths.staleRoot) || !existsSync(paths.upper) || !existsSync(paths.work);
  if (isStale) await syscalls.unmount(paths.rootfs);
  mkdirSync(paths.upper, { recursive: true, mode: 0o755 });
  mkdirSync(paths.work, { recursive: true, mode: 0o700 });
  // Last: until then a later start has to see to it.
  if (isStale) rmSync(paths.staleRoot, { force: true });
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
  given: { readonly network: Network | undefined; readonly mounts: readonly OciMount[] },
): Promise<Bundle> {
  const { record, paths } = entry;
  const { image } = record;
  const config = fillAddress(record.config, record.config.addressPlaceholder, addressesOf(entry)?.ip);
  const security = config.security ?? {};
  const filter = await deps.seccomp.choose({
    security,
    capabilities: decideBound({ security, available: deps.capabilities }),
  });
  await writeEtcFiles(deps, entry);
  const files = await readUserFiles(paths.rootfs, given.mounts);
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
  await makeFolderInRoot({
    root: paths.rootfs,
    path: workingDir,
    field: 'workingDir',
    owner: idMap?.hostID ?? 0,
    syscalls: deps.syscalls,
  });
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
    netnsPath: given.network?.netnsPath,
    mounts: [...given.mounts.map((mount) => withIDs(mount, idMap)), ...(init === undefined ? [] : [init.mount])],
    cgroupsPath: cgroupPathOf(deps.layout, config.id),
    limits: config.limits,
    canLimitSwap: canLimitSwap(deps.cgroups),
    etc: { hosts: paths.hosts, hostname: paths.hostname, resolvConf: paths.resolvConf },
    seccomp: filter.choice,
  });
  writeFileSync(paths.ociConfig, JSON.stringify(spec), { mode: 0o600 });
  return { args, filter };
}
