/**
 * The images of this host: skopeo fetches them into containers-storage, whose files are read directly. Effects.
 * Nothing is spawned for an image that is present (measured 2026-11: ensure 0.1 ms, skopeo 20 ms at the least).
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Gauge, Histogram, type Registry } from 'prom-client';
import {
  type ImageInfo,
  ImageInUseError,
  ImageNotPresentError,
  ImagePullError,
  type Images,
  RuntimeClosedError,
  RuntimeOperationError,
} from '../interface.ts';
import { archiveFingerprint, openArchiveRecords } from './archive-records.ts';
import { createSharedRuns } from './pulls.ts';
import { type ArchiveReference, type ImageReference, parseImageID, parseReference } from './reference.ts';
import { createStorageCommands } from './storage-commands.ts';
import { createStorageFiles, type ImageIndex, type ImageRecord } from './storage-files.ts';

export interface ImageStoreDeps {
  /** containers-storage's graph root: layers and records; survives a reboot. Made if missing. */
  readonly root: string;
  /** containers-storage's run root; must be on a tmpfs, because storage believes what it finds there. Made if missing. */
  readonly runRoot: string;
  /** undefined: the host's /etc/containers/registries.conf. */
  readonly registriesConf?: string | undefined;
  /** Registry credentials in the form of ~/.docker/config.json; undefined: where skopeo looks by itself. */
  readonly authFile?: string | undefined;
  /** Ids (or names, for people) of the containers that use an image. */
  containersUsing(imageID: string): Promise<readonly string[]>;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly limits?: Partial<PullLimits> | undefined;
}

export interface PullLimits {
  /** Default 3. */
  readonly maxParallelPulls: number;
  /** A whole pull; default 30 minutes. */
  readonly pullDeadlineMs: number;
  /** Without a byte read or written; default 2 minutes. */
  readonly stallMs: number;
}

/** Images, and what the rest of the runtime needs of them. */
export interface ImageStore extends Images {
  /** Overlay lower folders of an image, topmost first, absolute. Throws ImageNotPresentError. */
  layersOf(imageID: string): Promise<readonly string[]>;
  /**
   * Copies an archive of this host (docker-archive:, oci-archive:, oci:) into the store under a name of its own, which
   * it takes from the image that had it. Throws ImagePullError.
   */
  importAs(archive: string, name: string, signal: AbortSignal): Promise<ImageInfo>;
  /** Aborts pulls, which then throw RuntimeClosedError, and waits for their ends. Images stay. */
  close(): Promise<void>;
}

const defaultLimits: PullLimits = { maxParallelPulls: 3, pullDeadlineMs: 30 * 60_000, stallMs: 120_000 };
/** Archives are kept under a name of ours, which is never shown. */
const archiveRepository = 'localhost/holdfast.archive';

export async function createImageStore(deps: ImageStoreDeps): Promise<ImageStore> {
  const limits = { ...defaultLimits, ...deps.limits };
  await mkdir(deps.root, { recursive: true, mode: 0o700 });
  await mkdir(deps.runRoot, { recursive: true, mode: 0o700 });
  const files = createStorageFiles(deps.root);
  const archives = await openArchiveRecords(join(deps.root, 'holdfast-archives.json'));
  const { root, runRoot, registriesConf, authFile } = deps;
  const commands = await createStorageCommands({ root, runRoot, registriesConf, authFile, limits });
  const pulls = createSharedRuns<ImageInfo>(limits.maxParallelPulls);
  const metrics = createPullMetrics(deps.metrics);
  let isClosed = false;

  async function find(reference: ImageReference): Promise<ImageRecord | undefined> {
    const index = await files.records();
    if (reference.kind === 'archive') return findArchive(index, reference);
    const named = index.byName.get(reference.canonical);
    return named ?? (reference.digest === undefined ? undefined : index.byManifest.get(reference.digest));
  }

  function findArchive(index: ImageIndex, reference: ArchiveReference): ImageRecord | undefined {
    const record = archives.get(reference.canonical);
    return record === undefined ? undefined : index.byID.get(record.imageID);
  }

  /** Whether an archive that was imported once still looks as it did. One that is gone counts as unchanged. */
  async function isUnchanged(reference: ImageReference): Promise<boolean> {
    if (reference.kind === 'registry') return true;
    const now = await archiveFingerprint(reference);
    return now === 'none' || now === archives.get(reference.canonical)?.fingerprint;
  }

  async function infoOf(record: ImageRecord): Promise<ImageInfo> {
    const { sizeBytes, config } = await files.detailsOf(record);
    const names = record.names.filter((name) => !name.startsWith(`${archiveRepository}:`));
    return { id: `sha256:${record.id}`, names: [...names, ...archives.referencesOf(record.id)], sizeBytes, config };
  }

  /** A present image whose layers are all there. One with a hole (a lost folder, a crash) is removed, to be fetched. */
  async function findWhole(reference: ImageReference): Promise<ImageInfo | undefined> {
    const record = await find(reference);
    if (record === undefined) return undefined;
    try {
      await files.layersOf(record);
      return await infoOf(record);
    } catch (error) {
      if (!(error instanceof ImageNotPresentError)) throw error;
      deps.log.warn({ err: error, imageID: record.id }, 'removing a damaged image');
      await removeDamaged(record);
      return undefined;
    }
  }

  /** One pull, from the start of skopeo to the image's record, measured and logged. */
  async function pull(reference: ImageReference, name: string, signal: AbortSignal): Promise<ImageInfo> {
    const stop = metrics.begin();
    const startedMs = performance.now();
    try {
      const seen = reference.kind === 'archive' ? await archiveFingerprint(reference) : 'none';
      await commands.copy(reference, name, signal);
      const record = (await files.records()).byName.get(name);
      if (record === undefined) {
        throw new RuntimeOperationError(
          'image_pull',
          `skopeo copied "${reference.canonical}", but the store has no image "${name}"; look at ${deps.root}`,
        );
      }
      if (reference.kind === 'archive' && name.startsWith(`${archiveRepository}:`)) {
        await archives.set(reference.canonical, { imageID: record.id, fingerprint: seen });
      }
      const info = await infoOf(record);
      stop('success');
      const durationMs = Math.round(performance.now() - startedMs);
      deps.log.info({ image: reference.canonical, imageID: info.id, durationMs }, 'image pulled');
      return info;
    } catch (error) {
      stop(signal.aborted ? 'canceled' : 'error');
      throw error;
    }
  }

  async function removeDamaged(record: ImageRecord): Promise<void> {
    await archives.forget(record.id);
    try {
      await commands.deleteImage(record.id);
    } catch (error) {
      // Two callers saw the damage at the same time.
      if ((await files.records()).byID.has(record.id)) throw error;
    }
  }

  async function lookUp(referenceOrID: string): Promise<ImageRecord | undefined> {
    const id = parseImageID(referenceOrID);
    return id === undefined ? find(parseReference(referenceOrID)) : (await files.records()).byID.get(id);
  }

  function assertOpen(): void {
    if (isClosed) throw new RuntimeClosedError('the image store is closed');
  }

  return {
    async ensure(text, policy, signal) {
      signal.throwIfAborted();
      assertOpen();
      const reference = parseReference(text);
      const present = policy === 'always' ? undefined : await findWhole(reference);
      if (present !== undefined && (policy === 'never' || (await isUnchanged(reference)))) return present;
      if (policy === 'never') {
        throw new ImageNotPresentError(
          `the image "${text}" is not on this host, and its pull policy forbids to fetch it; import it, or change the policy`,
        );
      }
      assertOpen();
      const name = storageName(reference);
      return pulls.join(name, (shared) => pull(reference, name, shared), signal);
    },
    async importAs(archive, name, signal) {
      assertOpen();
      const from = parseReference(archive);
      const to = parseReference(name);
      if (from.kind !== 'archive' || to.kind !== 'registry' || to.digest !== undefined) {
        throw new ImagePullError(archive, {
          kind: 'invalid-name',
          what: `cannot import it as "${name}"`,
          fix: 'give an archive (docker-archive:/file.tar) and a name with a tag',
        });
      }
      const key = `${from.canonical}\n${to.canonical}`;
      return pulls.join(key, (shared) => pull(from, to.canonical, shared), signal);
    },
    async list() {
      assertOpen();
      const { all } = await files.records();
      const infos = await Promise.all(all.map((record) => infoOf(record).catch(ignoreDamaged)));
      return infos.filter((info) => info !== undefined);
    },
    async inspect(referenceOrID) {
      assertOpen();
      try {
        const record = await lookUp(referenceOrID);
        return record === undefined ? undefined : await infoOf(record);
      } catch (error) {
        if (error instanceof ImageNotPresentError || isInvalidName(error)) return undefined;
        throw error;
      }
    },
    async remove(referenceOrID) {
      assertOpen();
      const record = await lookUp(referenceOrID).catch((error: unknown) => {
        if (isInvalidName(error)) return undefined; // what cannot be named is not there
        throw error;
      });
      if (record === undefined) return;
      const reference = parseImageID(referenceOrID) === undefined ? parseReference(referenceOrID) : undefined;
      const name = reference === undefined ? undefined : storageName(reference);
      const others = record.names.filter((other) => other !== name);
      if (name !== undefined && others.length > 0 && record.names.includes(name)) {
        await commands.setNames(record.id, others);
        if (reference?.kind === 'archive') await archives.forgetReference(reference.canonical);
        return;
      }
      const users = await deps.containersUsing(`sha256:${record.id}`);
      if (users.length > 0) {
        throw new ImageInUseError(
          `the image "${referenceOrID}" is used by ${users.join(', ')}; remove the container${users.length > 1 ? 's' : ''} first`,
        );
      }
      await commands.deleteImage(record.id);
      await archives.forget(record.id);
      deps.log.info({ image: referenceOrID, imageID: `sha256:${record.id}` }, 'image removed');
    },
    registryOf(text) {
      try {
        const reference = parseReference(text);
        return reference.kind === 'registry' ? reference.registry : undefined;
      } catch {
        return undefined; // a name that cannot be parsed belongs to no registry; ensure says what is wrong with it
      }
    },
    async layersOf(imageID) {
      assertOpen();
      const id = parseImageID(imageID);
      const record = id === undefined ? undefined : (await files.records()).byID.get(id);
      if (record === undefined)
        throw new ImageNotPresentError(`there is no image ${imageID} on this host; fetch it again`);
      return files.layersOf(record);
    },
    async close() {
      isClosed = true;
      await pulls.close(new RuntimeClosedError('the image store was closed during a pull'));
    },
  };
}

/** The name under which containers-storage knows what a reference gives. Pure. */
function storageName(reference: ImageReference): string {
  if (reference.kind === 'registry') return reference.canonical;
  return `${archiveRepository}:${createHash('sha256').update(reference.canonical).digest('hex')}`;
}

/** A damaged image is as if not there: ensure fetches it again. */
function ignoreDamaged(error: unknown): undefined {
  if (!(error instanceof ImageNotPresentError)) throw error;
}

function isInvalidName(error: unknown): boolean {
  return error instanceof ImagePullError && error.kind === 'invalid-name';
}

function createPullMetrics(registry: Registry): { begin(): (result: 'success' | 'error' | 'canceled') => void } {
  const duration = new Histogram({
    name: 'holdfast_image_pull_duration_seconds',
    help: 'Time of fetching or importing an image that was not present, by result.',
    labelNames: ['result'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800],
    registers: [registry],
  });
  const inProgress = new Gauge({
    name: 'holdfast_image_pulls_in_progress',
    help: 'Images that are being fetched or imported now.',
    registers: [registry],
  });
  return {
    begin() {
      const startedMs = performance.now();
      inProgress.inc();
      return (result) => {
        inProgress.dec();
        duration.observe({ result }, (performance.now() - startedMs) / 1000);
      };
    },
  };
}
