/**
 * Removes images that nobody needs (decide-collection.ts says which), layers that belong to no image, and what killed
 * processes left in the store. Effects. While it removes, no pull of this process begins: a pull may build on a layer
 * that nobody has; one of another process that does so in the same moment fails, and finds what it needs the next time.
 */
import { lstat, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { CollectedImage, CollectionPolicy, CollectionReport } from '../interface.ts';
import { mountsBelow } from '../remove-tree.ts';
import { decideCollection } from './decide-collection.ts';
import type { StorageCommands } from './storage-commands.ts';
import type { ImageRecord, StorageFiles } from './storage-files.ts';
import type { UsageRecords } from './usage-records.ts';
import { isOwn } from './wanted.ts';

export interface CollectorDeps {
  readonly root: string;
  readonly files: StorageFiles;
  readonly usage: UsageRecords;
  readonly commands: StorageCommands;
  containersUsing(imageID: string): Promise<readonly string[]>;
  /** Forgets what is remembered of an image beside the store. */
  forget(imageID: string): Promise<void>;
  readonly isPulling: () => boolean;
  readonly nowMs: () => number;
  readonly log: Logger;
}

/** Layers of a broken pull stay for the next attempt, which comes sooner than this. */
const orphanAgeMs = 60 * 60_000;
/** Under disk pressure they go sooner; a pull of another process may still be about to use them. */
const orphanAgeUnderPressureMs = 10 * 60_000;

/** `wanted`: ids without sha256:, beside those that containers have. */
export async function collect(
  deps: CollectorDeps,
  { wanted, policy }: { readonly wanted: ReadonlySet<string>; readonly policy: CollectionPolicy },
  signal: AbortSignal,
): Promise<CollectionReport> {
  const { files, usage, nowMs } = deps;
  const { all } = await files.records();
  const startedMs = nowMs();
  const images = await Promise.all(
    all.map(async (record) => {
      const isWanted =
        isBuiltHere(record) || wanted.has(record.id) || (await deps.containersUsing(`sha256:${record.id}`)).length > 0;
      if (isWanted) usage.used(record.id, startedMs);
      const layers = await files.chainOf(record).catch(() => []); // damaged: it frees nothing that is known
      return { id: record.id, layers, isWanted, ...usage.of(record.id, startedMs) };
    }),
  );
  const decision = decideCollection({ images, disk: await observeDisk(deps.root), policy, nowMs: startedMs });
  const removed: CollectedImage[] = [];
  for (const { id, because } of decision.remove) {
    signal.throwIfAborted();
    const record = all.find((one) => one.id === id);
    // A pull may count on layers that it shares with this one. Space cannot wait: such a pull is tried again.
    if (because === 'age' && deps.isPulling()) continue;
    if (record === undefined || (await isUsedMeanwhile(deps, id, startedMs))) continue;
    const sizeBytes = images.find((one) => one.id === id)?.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0) ?? 0;
    if (await remove(deps, record)) removed.push({ id: `sha256:${id}`, names: record.names, sizeBytes, because });
  }
  const isUnderPressure = policy.isDiskFull || decision.missingBytes > 0;
  const layersRemoved = await removeOrphans(deps, isUnderPressure ? orphanAgeUnderPressureMs : orphanAgeMs, signal);
  await usage.save((await files.records()).all.map(({ id }) => id));
  const disk = await observeDisk(deps.root);
  return { removed, layersRemoved, missingBytes: decision.missingBytes, ...disk };
}

/** Its name says that no registry has it, so it would be gone for ever: the way of podman and buildah to name what they build. */
function isBuiltHere({ names }: ImageRecord): boolean {
  return names.some((name) => name.startsWith('localhost/') && !isOwn(name));
}

async function isUsedMeanwhile(deps: CollectorDeps, id: string, sinceMs: number): Promise<boolean> {
  if (deps.usage.of(id, sinceMs).lastUsedMs > sinceMs) return true;
  return (await deps.containersUsing(`sha256:${id}`)).length > 0;
}

/** One that cannot be removed is left for the next time: the others go all the same. */
async function remove({ commands, forget, files, log }: CollectorDeps, record: ImageRecord): Promise<boolean> {
  try {
    await commands.deleteImage(record.id);
  } catch (error) {
    if ((await files.records()).byID.has(record.id)) {
      log.warn({ err: error, imageID: `sha256:${record.id}` }, 'an unused image cannot be removed');
      return false;
    }
  }
  await forget(record.id);
  return true;
}

async function removeOrphans(deps: CollectorDeps, ageMs: number, signal: AbortSignal): Promise<number> {
  const { files, commands, log } = deps;
  if (deps.isPulling()) return 0;
  let count = 0;
  // The uppermost first: a layer with another on it cannot go.
  for (const { id, createdAtMs } of await files.orphans()) {
    if (deps.nowMs() - createdAtMs < ageMs) continue;
    signal.throwIfAborted();
    try {
      await commands.deleteLayer(id);
      count += 1;
    } catch (error) {
      // Storage removes layers that are not whole by itself, as soon as it looks.
      if (!(await files.orphans()).some((one) => one.id === id)) count += 1;
      else log.warn({ err: error, layer: id }, 'a layer that belongs to no image cannot be removed');
    }
  }
  return count;
}

async function observeDisk(root: string): Promise<{ capacityBytes: number; availableBytes: number }> {
  const { bsize, blocks, bavail } = await statfs(root);
  return { capacityBytes: bsize * blocks, availableBytes: bsize * bavail };
}

/**
 * Unmounts and removes what storage's probes of the kernel leave when they are killed: folders in overlay/ that are no
 * layers, and the mounts in them. Those younger than `ageMs` may be of a process that runs. Seen with 1.43: compat….
 */
export async function removeProbes(
  { root, unmount, nowMs }: { root: string; unmount(path: string): Promise<void>; nowMs: number },
  ageMs: number,
): Promise<void> {
  const overlay = join(root, 'overlay');
  for (const name of await readdir(overlay).catch(() => [])) {
    if (!/^(?:compat|opaque-bug-check|metacopy-check|volatile-check)[0-9]+$/.test(name)) continue;
    const path = join(overlay, name);
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined || nowMs - found.mtimeMs < ageMs) continue;
    const mounts = mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), path);
    for (const mount of mounts) await unmount(mount);
    await rm(path, { recursive: true, force: true });
  }
}
