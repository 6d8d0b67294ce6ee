/**
 * User namespaces of containers: one is kept by a bind mount in the bundle, so that the root file system and the
 * network namespace can belong to it before the container runs. Effects only.
 */
import { statSync } from 'node:fs';
import { chmod, chown, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ContainerEntry } from './container-entry.ts';
import { type IdMap, parseSubordinateRanges } from './id-map.ts';
import { RuntimeOperationError } from './interface.ts';
import type { Layout } from './layout.ts';
import type { Syscalls } from './syscalls.ts';

export interface UserNamespaceDeps {
  readonly layout: Layout;
  readonly syscalls: Syscalls;
}

/** Where this host's containers may have their ids. */
export async function observeRanges(): Promise<ReturnType<typeof parseSubordinateRanges>> {
  const [subuid, subgid] = await Promise.all(
    ['/etc/subuid', '/etc/subgid'].map((file) => readFile(file, 'utf8').catch(() => '')), // no such file: no such entry
  );
  return parseSubordinateRanges(subuid ?? '', subgid ?? '');
}

/** A namespace is another file system (nsfs) than the folder it is bound in. */
function isBound(path: string): boolean {
  try {
    return statSync(path).dev !== statSync(dirname(path)).dev;
  } catch {
    return false; // no file, no namespace
  }
}

/** The container's user namespace, made if it is missing; undefined if it is to have none. The bundle must be there. */
export async function ensureUserNamespace(
  { layout, syscalls }: UserNamespaceDeps,
  { paths, record }: ContainerEntry,
): Promise<{ readonly path: string; readonly idMap: IdMap } | undefined> {
  const { idMap } = record;
  if (idMap === undefined) return undefined;
  // Its root is nobody to the kernel on the way to its own root file system.
  for (const dir of [layout.bundles, layout.runDir, paths.bundle]) await letPass(dir);
  await checkWay(dirname(layout.runDir));
  if (!isBound(paths.userNamespace)) await syscalls.createUserNamespace(paths.userNamespace, idMap);
  return { path: paths.userNamespace, idMap };
}

async function letPass(dir: string): Promise<void> {
  const { mode } = await stat(dir);
  if ((mode & 0o001) === 0) await chmod(dir, (mode & 0o7777) | 0o011);
}

async function checkWay(dir: string): Promise<void> {
  for (let at = dir; at !== '/'; at = dirname(at)) {
    const { mode } = await stat(at);
    if ((mode & 0o001) !== 0) continue;
    throw new RuntimeOperationError(
      'start',
      `the root of a user namespace cannot pass ${at} (mode ${(mode & 0o777).toString(8)}) on its way to its files; run "chmod o+x ${at}" or use another run dir`,
    );
  }
}

/** Makes the container's root the owner of something that the runtime made for it. */
export async function giveTo(idMap: IdMap | undefined, path: string): Promise<void> {
  if (idMap !== undefined) await chown(path, idMap.hostID, idMap.hostID);
}

/**
 * crun 1.8 makes the container's root the owner of its standard streams, and /dev/null as a stream is the host's own:
 * who owns it may take it from everybody. Called before the container's process is let go, and now and then, since
 * dnsmasq does the same to its log, which is /dev/null too.
 */
export async function takeBackDevNull(): Promise<void> {
  const { uid, gid, mode } = await stat('/dev/null');
  if (uid !== 0 || gid !== 0) await chown('/dev/null', 0, 0);
  if ((mode & 0o777) !== 0o666) await chmod('/dev/null', 0o666);
}
