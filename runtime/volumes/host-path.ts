/** Paths of the host as volumes: whether they are what they must be, and making them where that was asked for. Effects only. */
import type { Stats } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { MountError, type VolumeSource } from '../interface.ts';

type HostPath = Extract<VolumeSource, { kind: 'bind' }>;

const checks: Readonly<Record<HostPath['ensure'], { what: string; isIt: (stats: Stats) => boolean }>> = {
  any: { what: 'anything', isIt: () => true },
  directory: { what: 'a directory', isIt: (stats) => stats.isDirectory() },
  'directory-or-create': { what: 'a directory', isIt: (stats) => stats.isDirectory() },
  file: { what: 'a file', isIt: (stats) => stats.isFile() },
  'file-or-create': { what: 'a file', isIt: (stats) => stats.isFile() },
  socket: { what: 'a socket', isIt: (stats) => stats.isSocket() },
  'char-device': { what: 'a character device', isIt: (stats) => stats.isCharacterDevice() },
  'block-device': { what: 'a block device', isIt: (stats) => stats.isBlockDevice() },
};

/** Throws MountError if the path is missing or something else than asked for. Links are followed: the path is the administrator's. */
export async function ensureHostPath(volume: string, { path, ensure }: HostPath): Promise<void> {
  const look = (): Promise<Stats | undefined> =>
    stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw new MountError(volume, `${path} on the host cannot be looked at (${error.code})`, { cause: error });
    });
  let stats = await look();
  if (stats === undefined) {
    await make(volume, path, ensure);
    stats = await look();
  }
  if (stats === undefined) throw new MountError(volume, `there is no ${path} on the host; make it`);
  const { what, isIt } = checks[ensure];
  if (!isIt(stats))
    throw new MountError(volume, `${path} on the host is not ${what}; change what is there, or name another path`);
}

async function make(volume: string, path: string, ensure: HostPath['ensure']): Promise<void> {
  try {
    if (ensure === 'directory-or-create') await mkdir(path, { recursive: true, mode: 0o755 });
    // As the kubelet, which makes the file but not the folders above it.
    else if (ensure === 'file-or-create') await (await open(path, 'a', 0o644)).close();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const hint = ensure === 'file-or-create' && code === 'ENOENT' ? '; make the folder that it is to lie in' : '';
    throw new MountError(volume, `${path} cannot be made on the host (${code})${hint}`, { cause: error });
  }
}
