/**
 * Copy-up: an empty volume gets what the image has at the place where it is mounted, as Docker does. The copy is made
 * beside the volume's data and moved in when it is whole; a kill at any moment leaves something that the next call
 * finishes or throws away. Effects only.
 */
import { existsSync } from 'node:fs';
import { chmod, chown, lchown, lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { runSuccessfully } from '../command.ts';
import type { IdMap } from '../id-map.ts';

const copyDeadlineMs = 600_000;

export async function fillVolume(input: {
  /** Holds data/. */
  readonly volume: string;
  /** A folder of the root file system, links followed. */
  readonly from: string;
  /** Ids of the container's user namespace, by which `from` is seen; the volume holds them as the image has them. */
  readonly idMap: IdMap | undefined;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { volume, from, idMap, signal } = input;
  const data = join(volume, 'data');
  const whole = join(volume, 'copied');
  if (!existsSync(whole)) {
    if ((await readdir(data)).length > 0) return;
    const half = join(volume, 'copying');
    await rm(half, { recursive: true, force: true });
    await mkdir(half, { mode: 0o700 });
    // Owners, modes, times, links, extended attributes; special files are made, not read.
    await runSuccessfully('copy-up', ['cp', '-a', '--', `${from}/.`, half], { deadlineMs: copyDeadlineMs, signal });
    if (idMap !== undefined) await takeOutOf(idMap, half);
    await rename(half, whole);
  }
  const { mode, uid, gid } = await stat(whole);
  await chown(data, uid, gid);
  await chmod(data, mode & 0o7777);
  const present = new Set(await readdir(data));
  for (const name of await readdir(whole)) {
    // A container that has the volume already may have written meanwhile: what it wrote stays.
    if (!present.has(name)) await rename(join(whole, name), join(data, name));
  }
  await rm(whole, { recursive: true, force: true });
}

/** Gives everything in a folder, and itself, the owners that it has inside of the user namespace. */
async function takeOutOf(idMap: IdMap, path: string): Promise<void> {
  const { uid, gid, mode, isFolder } = await lstat(path).then((stats) => ({
    ...{ uid: stats.uid, gid: stats.gid, mode: stats.mode },
    isFolder: stats.isDirectory(),
  }));
  const inside = (id: number): number =>
    id >= idMap.hostID && id < idMap.hostID + idMap.size ? id - idMap.hostID : id;
  await lchown(path, inside(uid), inside(gid));
  // The kernel takes set-uid and set-gid away with the owner.
  if ((mode & 0o6000) !== 0 && (mode & 0o170000) !== 0o120000) await chmod(path, mode & 0o7777);
  if (isFolder) for (const name of await readdir(path)) await takeOutOf(idMap, join(path, name));
}
