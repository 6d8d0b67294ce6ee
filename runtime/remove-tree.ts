/**
 * Deleting folders without deleting through what is mounted in them: a bind mount in a volume may be anybody's data.
 * The reading of mountinfo is pure; the rest is effects. Source: proc(5), /proc/PID/mountinfo.
 */
import { readFile, realpath, rm } from 'node:fs/promises';
import { RuntimeOperationError } from './interface.ts';

/** A line of mountinfo. */
export interface MountLine {
  readonly mountPoint: string;
  /** What of its file system is mounted; ends with "//deleted" when that was deleted since. */
  readonly root: string;
}

/** Pure: all mounts of /proc/PID/mountinfo, the earlier first. */
export function parseMountinfo(text: string): readonly MountLine[] {
  const plain = (word: string): string =>
    !word.includes('\\')
      ? word
      : word.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
  return text.split('\n').flatMap((line) => {
    const [, , , root, mountPoint] = line.split(' ');
    return root === undefined || mountPoint === undefined ? [] : [{ root: plain(root), mountPoint: plain(mountPoint) }];
  });
}

function mountPoints(mountinfo: string): string[] {
  return parseMountinfo(mountinfo).map(({ mountPoint }) => mountPoint);
}

/** Pure: mount points below a folder, the deepest first. */
export function mountsBelow(mountinfo: string, folder: string): readonly string[] {
  return mountPoints(mountinfo)
    .filter((path) => path.startsWith(`${folder}/`))
    .toReversed();
}

/** What is mounted at or below a path, links in the path followed, the deepest first. */
export async function observeMountsWithin(path: string): Promise<readonly string[]> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (real === undefined) return [];
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  const isThere = mountPoints(mountinfo).includes(real);
  return [...mountsBelow(mountinfo, real), ...(isThere ? [real] : [])];
}

/** Deletes a file or a folder with all that is in it; nothing to do if it is not there. Throws RuntimeOperationError, having deleted nothing, if something is mounted at or below it. */
export async function removeTree(path: string): Promise<void> {
  const [mounted] = await observeMountsWithin(path);
  if (mounted !== undefined) {
    throw new RuntimeOperationError('remove', `${path} is not deleted, since ${mounted} is still mounted; unmount it`);
  }
  await rm(path, { recursive: true, force: true });
}
