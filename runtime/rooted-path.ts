/**
 * Paths inside a container's root, followed as if that root were /. An image is hostile: its symbolic links must not
 * lead out. A path that was followed is safe to open only while no process runs in the root, which could swap a part.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { lstat, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerConfigError } from './interface.ts';
import { errnos, SyscallError, type Syscalls } from './syscalls.ts';

const maxLinks = 40; // as the kernel: then ELOOP
const maxFileBytes = 1024 * 1024;
// Non-blocking, or a FIFO in the image would hang us.
const readingFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** How a root is looked at. */
export interface RootFiles {
  lstat(path: string): Stats | Promise<Stats>;
  readlink(path: string): string | Promise<string>;
  /** '' for what is no regular file, or absurdly big. */
  read(path: string): string | Promise<string>;
}

/** Of images, on a disk of this host: a look takes 5 us, and by a turn of the thread pool 100, at each start (2026-11). */
const nearFiles: RootFiles = {
  lstat: lstatSync,
  readlink: readlinkSync,
  read(path) {
    const fd = openSync(path, readingFlags);
    try {
      return isReadable(fstatSync(fd)) ? readFileSync(fd, 'utf8') : '';
    } finally {
      closeSync(fd);
    }
  },
};

/** Of whatever the administrator has mounted, on another host that may not answer. */
export const farFiles: RootFiles = {
  lstat,
  readlink,
  async read(path) {
    const handle = await open(path, readingFlags);
    try {
      return isReadable(await handle.stat()) ? await handle.readFile('utf8') : '';
    } finally {
      await handle.close();
    }
  },
};

function isReadable(stat: Stats): boolean {
  return stat.isFile() && stat.size <= maxFileBytes;
}

/**
 * The host path of `path` in the root, links followed. Parts that do not exist are kept as they are, so the result may
 * be made. Throws ContainerConfigError(field) on a loop, or when a part that must be a folder is a file.
 */
export async function resolveInRoot(root: string, path: string, field: string, files = nearFiles): Promise<string> {
  const todo = path.split('/').reverse();
  const done: string[] = [];
  let links = 0;
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = join(root, ...done, part);
    let isLink = false;
    try {
      isLink = (await files.lstat(here)).isSymbolicLink();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException; // fs throws nothing else
      if (code !== 'ENOENT') {
        throw new ContainerConfigError(field, `${path} cannot be followed inside the image: ${code} at ${part}`);
      }
    }
    if (isLink) {
      links += 1;
      if (links > maxLinks) throw new ContainerConfigError(field, `${path} is a loop of symbolic links in the image`);
      const target = await files.readlink(here);
      if (target.startsWith('/')) done.length = 0;
      todo.push(...target.split('/').reverse());
      continue;
    }
    done.push(part);
  }
  return join(root, ...done);
}

/** Text of a regular file in the root; '' when there is none, or when it is something else or absurdly big. */
export async function readTextInRoot(root: string, path: string, field: string, files = nearFiles): Promise<string> {
  const file = await resolveInRoot(root, path, field, files);
  try {
    return await files.read(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // fs throws nothing else
    if (code === 'ENOENT' || code === 'ENXIO' || code === 'EISDIR') return '';
    throw error;
  }
}

/**
 * Makes a folder and its parents in the root, of the given owner, unless it is there. Also while a process runs in the
 * root (a debug session may): a link that it puts into the path meanwhile is refused by the kernel.
 * Throws ContainerConfigError, RuntimeOperationError.
 */
export async function makeFolderInRoot(input: {
  readonly root: string;
  readonly path: string;
  readonly field: string;
  /** User and group id on the host. */
  readonly owner: number;
  readonly syscalls: Pick<Syscalls, 'mkdirBeneath'>;
}): Promise<void> {
  const { root, path, field, owner, syscalls } = input;
  const folder = await resolveInRoot(root, path, field);
  if (folder === root) return;
  try {
    await syscalls.mkdirBeneath({ folder: root, path: folder.slice(root.length), owner });
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== errnos.ENOTDIR) throw error;
    throw new ContainerConfigError(field, `${path} is not a folder in the image; choose another path`);
  }
}
