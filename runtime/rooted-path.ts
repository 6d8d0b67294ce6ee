/**
 * Paths inside a container's root, followed as if that root were /. An image is hostile: its symbolic links must not
 * lead out. A path that was followed is safe to open only while no process runs in the root, which could swap a part.
 */
import { constants } from 'node:fs';
import { lstat, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerConfigError } from './interface.ts';
import { errnos, SyscallError, type Syscalls } from './syscalls.ts';

const maxLinks = 40; // as the kernel: then ELOOP
const maxFileBytes = 1024 * 1024;

/**
 * The host path of `path` in the root, links followed. Parts that do not exist are kept as they are, so the result may
 * be made. Throws ContainerConfigError(field) on a loop, or when a part that must be a folder is a file.
 */
export async function resolveInRoot(root: string, path: string, field: string): Promise<string> {
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
    const stat = await lstat(here).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw new ContainerConfigError(field, `${path} cannot be followed inside the image: ${error.code} at ${part}`);
    });
    if (stat?.isSymbolicLink() === true) {
      links += 1;
      if (links > maxLinks) throw new ContainerConfigError(field, `${path} is a loop of symbolic links in the image`);
      const target = await readlink(here);
      if (target.startsWith('/')) done.length = 0;
      todo.push(...target.split('/').reverse());
      continue;
    }
    done.push(part);
  }
  return join(root, ...done);
}

/** Text of a regular file in the root; '' when there is none, or when it is something else or absurdly big. */
export async function readTextInRoot(root: string, path: string, field: string): Promise<string> {
  const file = await resolveInRoot(root, path, field);
  // Non-blocking, or a FIFO in the image would hang us.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(file, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENXIO' || error.code === 'EISDIR') return undefined;
    throw error;
  });
  if (handle === undefined) return '';
  try {
    const stat = await handle.stat();
    return stat.isFile() && stat.size <= maxFileBytes ? await handle.readFile('utf8') : '';
  } finally {
    await handle.close();
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
