/**
 * Reads back what earlier daemons left on disk: containers are taken up as they are, half-made ones are undone, and
 * what belongs to nobody is removed. Nothing that runs is restarted. Effects only.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Addresses } from './addresses.ts';
import { readJsonObject, removeDrafts, replaceFile } from './atomic-file.ts';
import type { ContainerEntry } from './container-entry.ts';
import type { ContainerID } from './interface.ts';
import type { ContainerPaths, Layout } from './layout.ts';
import { parseNetwork } from './netns-pool.ts';
import { isHeldBack } from './oci-runtime.ts';
import { type LastRun, parseLastRun, parseRecord, parseRunProcesses } from './record.ts';
import { observeMountsWithin, removeTree } from './remove-tree.ts';
import { endRun, type RunDeps } from './run.ts';

const idPattern = /^[0-9a-f]{64}$/;
/** Debug sessions too: debug-sessions.ts. */
const strayPattern = /^[0-9a-f]{64}(-[0-9a-f]{16})?$/;

async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

/** Makes our folders. If the host was booted since, what runDir holds is about processes and mounts that are gone. */
export async function prepareFolders(layout: Layout, bootID: string): Promise<void> {
  const before = await readFile(layout.bootID, 'utf8').catch(() => undefined); // never written
  if (before !== undefined && before !== bootID && !(await isTornInThisBoot(before, layout))) {
    for (const name of await namesIn(layout.runDir)) {
      // Sockets and the like of our callers are not ours to remove.
      const ours = [layout.bundles, layout.ociRoot, layout.exits, layout.netns, layout.pool, layout.addresses];
      const path = join(layout.runDir, name);
      const mayGo = [
        ...ours,
        layout.resolver.dir,
        layout.volumesRun,
        layout.shortLinks,
        layout.sessions,
        layout.seccompCache,
        layout.imagesRun,
      ];
      if (mayGo.includes(path)) {
        await removeTree(path);
      }
    }
  }
  // They hold the environment of processes that were being started, and nobody waits for those any more.
  await rm(layout.sessions, { recursive: true, force: true });
  const folders = [
    layout.containers,
    layout.trash,
    layout.sessions,
    layout.bundles,
    layout.ociRoot,
    layout.exits,
    layout.netns,
  ];
  for (const dir of [...folders, layout.pool, layout.addresses]) await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const dir of [layout.runDir, layout.pool, layout.seccompCache]) await removeDrafts(dir);
  if (before !== bootID) await replaceFile(layout.bootID, bootID, 'volatile');
}

/** A mark that is damaged tells nothing; mounts of ours do, which no boot outlives. */
async function isTornInThisBoot(mark: string, { runDir }: Layout): Promise<boolean> {
  if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(mark)) return false;
  return (await observeMountsWithin(runDir)).length > 0;
}

/** Folders of the run dir that hold what cannot be missing; each is made when it is, and named. Synchronous: a few looks. */
export function remakeRunDir(layout: Layout): readonly string[] {
  const folders = [layout.bundles, layout.ociRoot, layout.exits, layout.netns, layout.pool, layout.addresses];
  const missing = [...folders, layout.sessions].filter((dir) => !existsSync(dir));
  for (const dir of missing) mkdirSync(dir, { recursive: true, mode: 0o700 });
  return missing.map((dir) => basename(dir));
}

async function readEntry(paths: ContainerPaths, hostAddresses: Addresses): Promise<ContainerEntry | undefined> {
  const record = parseRecord(await readJsonObject(paths.record));
  if (record === undefined) return undefined;
  for (const dir of [paths.home, paths.bundle]) await removeDrafts(dir);
  return {
    paths,
    record,
    lastRun: parseLastRun(await readJsonObject(paths.lastRun)),
    processes: parseRunProcesses(await readJsonObject(paths.process)),
    network: parseNetwork(await readJsonObject(paths.network)),
    hostAddresses,
    monitor: undefined,
    isStarting: false,
    isRemoving: false,
  };
}

/** Every container of this host, with what was half done before finished or undone. */
export async function recoverContainers(
  deps: RunDeps & { readonly hostAddresses: Addresses },
): Promise<Map<ContainerID, ContainerEntry>> {
  const { layout, log } = deps;
  const entries = new Map<ContainerID, ContainerEntry>();
  for (const name of await namesIn(layout.containers)) {
    const entry = idPattern.test(name) ? await readEntry(layout.container(name), deps.hostAddresses) : undefined;
    if (entry !== undefined) {
      entries.set(name, entry);
      continue;
    }
    const { record } = layout.container(name);
    if (existsSync(record)) {
      log.error(
        { containerID: name, file: record },
        'the record of a container is damaged, so what is left of it is removed; its volumes stay, and who wants it makes it anew',
      );
    }
    // A name of its own: one that was undone before may lie there still.
    await rename(join(layout.containers, name), join(layout.trash, `${name}-undone-${randomBytes(4).toString('hex')}`));
  }
  for (const entry of entries.values()) await undoHalfStart(deps, entry);
  // A run, mount or bundle that no record speaks of: its creation or removal was cut short.
  const strays = new Set([...(await namesIn(layout.bundles)), ...(await namesIn(layout.ociRoot))]);
  for (const id of strays) {
    if (!strayPattern.test(id) || entries.has(id)) continue;
    log.info({ containerID: id }, 'what is left of a container that was cut short is removed');
    await removeStray(deps, layout.container(id), id);
  }
  for (const name of await namesIn(layout.exits)) {
    if (!entries.has(name)) await rm(join(layout.exits, name), { force: true });
  }
  return entries;
}

/** A run that was created but never let go, or of which we know no processes, did not begin. */
async function undoHalfStart(deps: RunDeps, entry: ContainerEntry): Promise<void> {
  const { paths, processes, record } = entry;
  const { id } = record.config;
  if (processes !== undefined) {
    if (!existsSync(paths.starting) || !isHeldBack(processes.init, paths)) {
      await rm(paths.starting, { force: true });
      takeUpStart(entry);
      return;
    }
  } else if (!existsSync(paths.starting) && !existsSync(paths.ociState)) {
    return;
  }
  deps.log.info({ containerID: id }, 'a start that was cut short is undone');
  // First, with the marker left: killed in between, the next daemon must not take the end that we give it for one of a run.
  if (processes !== undefined) {
    // The run before it, if any, ended; its exit was recorded then, and this one's beginning perhaps just now.
    if (entry.lastRun?.exit === undefined) {
      entry.lastRun = undefined;
      await rm(paths.lastRun, { force: true });
    }
    await rm(paths.process, { force: true });
  }
  await endRun(deps, id, processes);
  entry.processes = undefined;
}

/** The record of the run's beginning is written just before it is let go; killed in between, it still says the last. */
function takeUpStart(entry: ContainerEntry): void {
  const { processes, lastRun } = entry;
  if (processes === undefined) return;
  const isOfThisRun = (lastRun?.startedAtMs ?? 0) >= processes.startedAtMs;
  if (!isOfThisRun) entry.lastRun = { startedAtMs: processes.startedAtMs } satisfies LastRun;
}

async function removeStray(deps: RunDeps, paths: ContainerPaths, id: ContainerID): Promise<void> {
  await endRun(deps, id, parseRunProcesses(await readJsonObject(paths.process)));
  await deps.syscalls.unmount(paths.rootfs);
  await deps.syscalls.unmount(paths.userNamespace);
  // Its network namespace has no owner any more once the record is gone; the pool takes such ones down.
  await removeTree(paths.bundle);
}

/** Deletes what was removed but perhaps not deleted yet. */
export async function emptyTrash(layout: Layout): Promise<void> {
  for (const name of await namesIn(layout.trash)) await removeTree(join(layout.trash, name));
}
