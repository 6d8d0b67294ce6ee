/**
 * Files that change as one. The volume holds links to ..data/NAME; ..data is a link to the folder that holds the present
 * files, and is replaced by a rename. So a reader sees either all old or all new files, and one that watches the volume
 * sees a rename of ..data. Source: Kubernetes, pkg/volume/util/atomic_writer.go describes the same arrangement.
 */
import { chmod, lstat, mkdir, open, readdir, readFile, readlink, rename, rm, symlink, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ContainerConfigError, type VolumeFile } from '../interface.ts';

const link = '..data';
const newLink = '..data_new';

/** Pure. Throws ContainerConfigError(files) for a path that would leave the volume or clash with our own names. */
export function checkFiles(volume: string, files: readonly VolumeFile[]): void {
  const seen = new Set<string>();
  for (const { path } of files) {
    const parts = path.split('/');
    const isSound =
      !path.includes('\0') &&
      Buffer.byteLength(path) <= 1_024 &&
      parts.every((part) => part !== '' && part !== '.' && part !== '..');
    if (!isSound || (parts[0] ?? '').startsWith('..')) {
      throw new ContainerConfigError(
        'files',
        `"${path}" cannot be a file's path in volume "${volume}"; give a relative one that does not begin with ".."`,
      );
    }
    if (seen.has(path)) throw new ContainerConfigError('files', `volume "${volume}" has two files at "${path}"`);
    seen.add(path);
  }
  for (const path of seen) {
    for (let above = dirname(path); above !== '.'; above = dirname(above)) {
      if (seen.has(above))
        throw new ContainerConfigError(
          'files',
          `in volume "${volume}", "${above}" is a file and has the file "${path}" in it; move one`,
        );
    }
  }
}

/** Removes folders of former files that one who was killed did not come to remove. Nobody writes there meanwhile. */
export async function removeFormerFiles(folder: string): Promise<void> {
  const present = await readlink(join(folder, link));
  for (const name of await readdir(folder)) {
    if (!name.startsWith('..') || name === link || name === present) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** Whether files were ever written to the volume. */
export async function hasFiles(folder: string): Promise<boolean> {
  return await readlink(join(folder, link)).then(
    () => true,
    () => false, // no volume, or an empty one
  );
}

async function isSame(present: string, files: readonly VolumeFile[]): Promise<boolean> {
  const names = await readdir(present, { recursive: true, withFileTypes: true }).catch(() => undefined); // not there
  if (names?.filter((entry) => entry.isFile()).length !== files.length) return false;
  for (const { path, dataBase64, mode } of files) {
    const file = join(present, path);
    const stats = await lstat(file).catch(() => undefined); // not there
    if (stats === undefined || (stats.mode & 0o7777) !== mode) return false;
    if ((await readFile(file)).toString('base64') !== Buffer.from(dataBase64, 'base64').toString('base64'))
      return false;
  }
  return true;
}

/** Whatever the umask is. */
async function makeFolders(root: string, path: string): Promise<void> {
  let folder = root;
  for (const part of path.split('/')) {
    folder = join(folder, part);
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o755);
  }
}

/** Makes the volume's files these; nothing to do if they are. Killed at any moment, the volume is as before or as wanted. */
export async function replaceFiles(
  folder: string,
  files: readonly VolumeFile[],
  randomHex: (bytes: number) => string,
): Promise<void> {
  const before = await readlink(join(folder, link)).catch(() => undefined); // first time
  const isUnchanged = before !== undefined && (await isSame(join(folder, before), files));
  const present = isUnchanged ? before : `..${randomHex(6)}`;
  if (!isUnchanged) {
    await makeFolders(folder, present);
    for (const { path, dataBase64, mode } of files) {
      const file = join(folder, present, path);
      await makeFolders(join(folder, present), dirname(path));
      const handle = await open(file, 'wx', 0o600);
      try {
        await handle.writeFile(Buffer.from(dataBase64, 'base64'));
        await handle.chmod(mode);
      } finally {
        await handle.close();
      }
    }
  }
  const wanted = new Set(files.map(({ path }) => path.split('/')[0] ?? ''));
  const there = new Set(await readdir(folder));
  // Before the one step that makes it so: whoever sees ..data takes all to be there.
  for (const name of wanted) if (!there.has(name)) await symlink(`${link}/${name}`, join(folder, name));
  if (!isUnchanged) {
    await rm(join(folder, newLink), { force: true });
    await symlink(present, join(folder, newLink));
    await rename(join(folder, newLink), join(folder, link));
    there.delete(newLink);
  }
  for (const name of there) {
    if (name === link || name === present || wanted.has(name)) continue;
    // Old files, links to files that are no more, and what a kill left behind.
    if (name.startsWith('..') && name !== newLink) await rm(join(folder, name), { recursive: true, force: true });
    else await unlink(join(folder, name));
  }
}
