/**
 * The texts of /etc/passwd and /etc/group as a container will see them: of its root, or of a volume that is mounted over
 * them. Effects: reads only, while no process of the container runs.
 */
import { basename, dirname } from 'node:path';
import type { OciMount } from './kernel-mounts.ts';
import { farFiles, readTextInRoot } from './rooted-path.ts';

export interface UserFiles {
  /** '' when there is none. */
  readonly passwd: string;
  readonly group: string;
}

export async function readUserFiles(rootfs: string, mounts: readonly OciMount[]): Promise<UserFiles> {
  const read = async (path: string): Promise<string> => {
    const place = placeOf(path, rootfs, mounts);
    if (place === undefined) return '';
    return await readTextInRoot(place.root, place.path, 'user', place.root === rootfs ? undefined : farFiles);
  };
  const [passwd, group] = await Promise.all([read('/etc/passwd'), read('/etc/group')]);
  return { passwd, group };
}

/** Where on the host a file of the container is: below which folder, and where in it. undefined: in fresh memory. Pure. */
export function placeOf(
  path: string,
  rootfs: string,
  mounts: readonly OciMount[],
): { readonly root: string; readonly path: string } | undefined {
  const covering = mounts
    .filter(({ destination }) => path === destination || path.startsWith(`${destination.replace(/\/+$/, '')}/`))
    .sort((a, b) => b.destination.length - a.destination.length)[0];
  if (covering === undefined) return { root: rootfs, path };
  if (!covering.options.some((option) => option === 'bind' || option === 'rbind')) return undefined;
  return path === covering.destination
    ? { root: dirname(covering.source), path: `/${basename(covering.source)}` }
    : { root: covering.source, path: path.slice(covering.destination.replace(/\/+$/, '').length) };
}
