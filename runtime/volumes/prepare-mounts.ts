/**
 * Makes what a start of a container mounts, and takes it away again. Memory and files are mounted in the run dir once
 * and stay until the container goes; parts of volumes are bound there anew at each start. Effects only; called with the
 * container's lock held, while no process of it runs.
 */
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerEntry } from '../container-entry.ts';
import { ContainerConfigError, type ContainerID, MountError, type Volume, type VolumeFile } from '../interface.ts';
import type { OciMount } from '../kernel-mounts.ts';
import type { Layout } from '../layout.ts';
import { isMountPoint } from '../overlay.ts';
import { observeMountsWithin, removeTree } from '../remove-tree.ts';
import { makeFolderInRoot, resolveInRoot } from '../rooted-path.ts';
import { errnos, SyscallError, type Syscalls } from '../syscalls.ts';
import { checkFiles, hasFiles, removeFormerFiles, replaceFiles } from './file-volume.ts';
import { ensureHostPath } from './host-path.ts';
import { defaultTmpfsMode, formatMount } from './oci-mounts.ts';
import { ownVolumeNames, type PlannedMount, planMounts } from './plan-mounts.ts';
import type { VolumeKey, VolumeStore } from './volume-store.ts';

export interface VolumeDeps {
  readonly layout: Layout;
  readonly syscalls: Syscalls;
  readonly volumes: VolumeStore;
  readonly randomHex: (bytes: number) => string;
}

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_REMOUNT = 32;
/** Far more than an object of a Kubernetes store can hold, twice. */
const filesVolumeBytes = 64 * 2 ** 20;

/** Where a mount goes. */
interface Placed extends PlannedMount {
  /** Absolute in the container, with the links of the image followed. */
  readonly destination: string;
  /** It lies in another mount, so what the root has there is not what it is mounted on. */
  readonly isNested: boolean;
}

const memoryFolder = (layout: Layout, id: ContainerID, volume: string): string =>
  join(layout.container(id).volumesMemory, volume);

/**
 * Makes the volumes of a container whose root is mounted, and returns the mounts in no order.
 * Throws ContainerConfigError, MountError, RuntimeOperationError, the signal's reason.
 */
export async function prepareMounts(
  deps: VolumeDeps,
  entry: ContainerEntry,
  signal: AbortSignal,
): Promise<readonly OciMount[]> {
  const { config, image } = entry.record;
  const planned = planMounts(config, image);
  const isFirst = !existsSync(entry.paths.volumesFilled);
  if (planned.length === 0 && !isFirst) return [];
  const placed = await place(planned, entry.paths.rootfs);
  // Of an earlier container of this id.
  if (isFirst) {
    await deps.volumes.removeOwn(config.id, {
      except: ownVolumeNames(placed, config),
      keepsImageVolumes: config.keepsImageVolumes ?? false,
    });
    await dropMemory(deps, config.id, new Set((config.volumes ?? []).map(({ name }) => name)));
  }
  await dropParts(deps, config.id);
  const mounts: OciMount[] = [];
  for (const [index, one] of placed.entries()) {
    signal.throwIfAborted();
    const { mount, volume, destination } = one;
    let source = await ensureSource(deps, entry, volume);
    if (isFirst && mount.copiesUp && mount.subPath === undefined) await copyUp(deps, entry, one, signal);
    if (mount.subPath !== undefined) {
      const target = join(entry.paths.volumesParts, String(index));
      await bindPart(deps, { folder: source, path: mount.subPath, target }, volume);
      source = target;
    }
    if (!one.isNested) await checkMountPoint(deps, entry, { ...one, source, isFirst });
    const isReadOnly = mount.isReadOnly || volume.source.kind === 'files';
    const isFolder = volume.source.kind === 'tmpfs' || (await stat(source)).isDirectory();
    mounts.push(formatMount({ source, destination, volume: volume.source, isReadOnly, isFolder }));
  }
  if (isFirst) await writeFile(entry.paths.volumesFilled, '');
  return mounts;
}

/** Follows the links of the image in the mounts' paths. What lies in another mount is left as it is: that one is not mounted yet. */
async function place(planned: readonly PlannedMount[], root: string): Promise<readonly Placed[]> {
  const placed: Placed[] = [];
  const inOrder = [...planned].sort((a, b) => a.mount.path.split('/').length - b.mount.path.split('/').length);
  for (const one of inOrder) {
    const { path } = one.mount;
    const above = placed.findLast(({ mount }) => path.startsWith(`${mount.path}/`));
    const destination =
      above === undefined
        ? (await resolveInRoot(root, path, 'mounts')).slice(root.length)
        : above.destination + path.slice(above.mount.path.length);
    if (destination === '' || destination === '/proc' || destination.startsWith('/proc/')) {
      throw new ContainerConfigError(
        'mounts',
        `${path} leads to ${destination || '/'} in the image, where nothing can be mounted`,
      );
    }
    const twin = placed.find((other) => other.destination === destination);
    if (twin === undefined) {
      placed.push({ ...one, destination, isNested: above !== undefined });
    } else if (one.isOfImage) {
      // Covered by a mount that names the same place otherwise.
    } else if (twin.isOfImage) {
      placed[placed.indexOf(twin)] = { ...one, destination, isNested: above !== undefined };
    } else {
      throw new ContainerConfigError(
        'mounts',
        `${path} and ${twin.mount.path} are the same place in the image; choose another path for one`,
      );
    }
  }
  return placed;
}

function keyOf(volume: Volume, owner: ContainerID): VolumeKey | undefined {
  if (volume.source.kind === 'named') return { name: volume.source.name };
  return volume.source.kind === 'own' ? { owner, volume: volume.name } : undefined;
}

/** The path on the host that holds the volume's content. */
async function ensureSource(deps: VolumeDeps, entry: ContainerEntry, volume: Volume): Promise<string> {
  const { config } = entry.record;
  const { source } = volume;
  switch (source.kind) {
    case 'bind':
      await ensureHostPath(volume.name, source);
      return source.path;
    case 'named':
      return deps.volumes.ensure({ name: source.name }, { mode: 0o755 });
    case 'own':
      return deps.volumes.ensure({ owner: config.id, volume: volume.name }, { mode: source.mode });
    case 'tmpfs':
      return 'tmpfs';
    case 'memory': {
      // Without a limit as any tmpfs: half of the host's memory.
      return ensureMemory(deps, config.id, volume.name, `mode=0777,size=${source.sizeBytes ?? '50%'}`);
    }
    case 'files': {
      const files = config.files?.[volume.name];
      if (files !== undefined) return writeFilesVolume(deps, config.id, volume.name, files);
      const folder = memoryFolder(deps.layout, config.id, volume.name);
      if (await hasFiles(folder)) {
        await removeFormerFiles(folder);
        return folder;
      }
      throw new MountError(volume.name, 'its files were lost when the host went down; give them again by an update');
    }
    default:
      throw new TypeError(`unknown source: ${JSON.stringify(source satisfies never)}`);
  }
}

async function ensureMemory(deps: VolumeDeps, id: ContainerID, volume: string, data: string): Promise<string> {
  const target = memoryFolder(deps.layout, id, volume);
  await mkdir(target, { recursive: true, mode: 0o755 });
  // A volume that was kept for a changed container may have another size now.
  const flags = MS_NOSUID | MS_NODEV | (isMountPoint(target) ? MS_REMOUNT : 0);
  await deps.syscalls.mount({ source: 'tmpfs', target, type: 'tmpfs', flags, data });
  return target;
}

async function writeFilesVolume(
  deps: VolumeDeps,
  id: ContainerID,
  volume: string,
  files: readonly VolumeFile[],
): Promise<string> {
  checkFiles(volume, files);
  const data = `mode=0755,size=${filesVolumeBytes}`;
  // Secrets are not to be swapped out to a disk; kernels before 6.4 do not know the word.
  const folder = await ensureMemory(deps, id, volume, `${data},noswap`).catch((error: unknown) => {
    if (error instanceof SyscallError && error.errno === errnos.EINVAL) return ensureMemory(deps, id, volume, data);
    throw error;
  });
  await replaceFiles(folder, files, deps.randomHex);
  return folder;
}

/** Changes the files of a container that has them mounted; one that was never started gets them then. */
export async function writeFiles(deps: VolumeDeps, entry: ContainerEntry): Promise<void> {
  const { id, volumes, files } = entry.record.config;
  for (const { name, source } of volumes ?? []) {
    const wanted = files?.[name];
    if (source.kind !== 'files' || wanted === undefined) continue;
    checkFiles(name, wanted);
    if (isMountPoint(memoryFolder(deps.layout, id, name))) await writeFilesVolume(deps, id, name, wanted);
  }
}

async function copyUp(
  deps: VolumeDeps,
  entry: ContainerEntry,
  { mount, volume }: Placed,
  signal: AbortSignal,
): Promise<void> {
  const key = keyOf(volume, entry.record.config.id);
  if (key === undefined) return;
  const from = await resolveInRoot(entry.paths.rootfs, mount.path, 'mounts');
  const stats = await stat(from).catch(() => undefined); // the image has nothing there
  if (stats?.isDirectory() === true) await deps.volumes.fill(key, from, entry.record.idMap, signal);
}

async function bindPart(
  { syscalls }: VolumeDeps,
  request: { readonly folder: string; readonly path: string; readonly target: string },
  volume: Volume,
): Promise<void> {
  await mkdir(join(request.target, '..'), { recursive: true, mode: 0o700 });
  try {
    await syscalls.bindBeneath(request);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const { EXDEV, ELOOP, ENOTDIR, ENOENT } = errnos;
    const reasons = new Map<number, string>([
      [EXDEV, 'a symbolic link leads out of the volume'],
      [ELOOP, 'it is a loop of symbolic links'],
      [ENOTDIR, 'a part of it is no folder'],
      [ENOENT, 'a symbolic link leads nowhere'],
    ]);
    const reason = reasons.get(error.errno);
    if (reason === undefined) throw error;
    throw new MountError(volume.name, `its path "${request.path}" cannot be used: ${reason}`, { cause: error });
  }
}

/** A folder can be mounted on a folder only, a file on a file only. What is missing the OCI runtime makes. */
async function checkMountPoint(
  { syscalls }: Pick<VolumeDeps, 'syscalls'>,
  { paths: { rootfs: root }, record: { idMap } }: ContainerEntry,
  {
    volume: { source: kind },
    destination,
    source,
    isFirst,
  }: Placed & { readonly source: string; readonly isFirst: boolean },
): Promise<void> {
  const owner = idMap?.hostID ?? 0;
  const target = join(root, destination);
  const there = await stat(target).catch(() => undefined); // nothing
  const isFolder = kind.kind === 'tmpfs' || (await stat(source)).isDirectory();
  if (there !== undefined && there.isDirectory() !== isFolder) {
    const [what, where] = isFolder ? ['a folder', 'no folder'] : ['a file', 'a folder'];
    throw new ContainerConfigError(
      'mounts',
      `${what} cannot be mounted at ${destination}, which is ${where} in the image; choose another path`,
    );
  }
  if (kind.kind !== 'tmpfs' || !isFirst) return;
  // runc gives a tmpfs the mode of the folder that it covers, whatever the options say.
  await makeFolderInRoot({ root, path: destination, field: 'mounts', owner, syscalls });
  await chmod(target, kind.mode ?? defaultTmpfsMode);
}

/** Unmounts memory and files of volumes that are not among those to keep. */
async function dropMemory(
  { layout, syscalls }: Pick<VolumeDeps, 'layout' | 'syscalls'>,
  id: ContainerID,
  keep: ReadonlySet<string>,
): Promise<void> {
  const folder = layout.container(id).volumesMemory;
  if (!existsSync(folder)) return;
  for (const name of await readdir(folder)) {
    if (keep.has(name)) continue;
    await syscalls.unmount(join(folder, name));
    await removeTree(join(folder, name));
  }
}

async function dropParts(
  { layout, syscalls }: Pick<VolumeDeps, 'layout' | 'syscalls'>,
  id: ContainerID,
): Promise<void> {
  const parts = layout.container(id).volumesParts;
  if (!existsSync(parts)) return;
  for (const path of await observeMountsWithin(parts)) await syscalls.unmount(path);
  await removeTree(parts);
}

/**
 * Takes away what a container's volumes have mounted; memory and files too, and its own volumes, unless they are kept.
 * keepsImageVolumes undefined: as the container wanted it that is no more.
 */
export async function dropVolumes(
  deps: VolumeDeps,
  id: ContainerID,
  options: { readonly volumes: 'remove' | 'keep'; readonly keepsImageVolumes?: boolean | undefined },
): Promise<void> {
  const { layout, volumes } = deps;
  await dropParts(deps, id);
  const keepsImageVolumes = options.keepsImageVolumes ?? volumes.keepsImageVolumes(id);
  if (options.volumes === 'keep') return volumes.noteKept(id, { keepsImageVolumes });
  await dropMemory(deps, id, new Set());
  await removeTree(layout.container(id).volumesRun);
  await volumes.removeOwn(id, { except: new Set(), keepsImageVolumes });
}
