/**
 * The images of this host: skopeo fetches them into containers-storage, whose files are read directly. Effects.
 * Nothing is spawned for an image that is present (measured 2026-11: ensure 0.1 ms, skopeo 20 ms at the least).
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import {
  type ImageInfo,
  ImageNotPresentError,
  ImagePullError,
  type Images,
  RegistryError,
  RuntimeClosedError,
} from '../interface.ts';
import { archiveFingerprint, openArchiveRecords } from './archive-records.ts';
import { openAuthFiles } from './auth-files.ts';
import { type CollectorDeps, collect, removeProbes } from './collector.ts';
import { createFetcher } from './fetcher.ts';
import { createImageNames, ignoreInvalidName, isInvalidName, parsePushed } from './image-names.ts';
import { hostPlatform, type Platform, parsePlatform } from './platform.ts';
import { parseImageID, parseReference } from './reference.ts';
import { createRegistryClient } from './registry-client.ts';
import { isThere } from './stale-files.ts';
import { createStorageCommands } from './storage-commands.ts';
import { createStorageFiles, type ImageIndex, type ImageRecord } from './storage-files.ts';
import { createStoreArchives } from './store-archives.ts';
import { openUsageRecords } from './usage-records.ts';
import { describeMisfit, isOwn, parseWanted, type Wanted, wantImport } from './wanted.ts';

export interface ImageStoreDeps {
  /** containers-storage's graph root: layers and records; survives a reboot. Made if missing. */
  readonly root: string;
  /** containers-storage's run root; must be on a tmpfs, because storage believes what it finds there. Made if missing. */
  readonly runRoot: string;
  /** undefined: the host's /etc/containers/registries.conf. */
  readonly registriesConf?: string | undefined;
  /** This host's registry credentials, in the form of ~/.docker/config.json: the first file that is there; none: where skopeo looks by itself. */
  readonly authFiles?: readonly string[] | undefined;
  /** Default: this machine's. */
  readonly platform?: Platform | undefined;
  /** Ids (or names, for people) of the containers that use an image. */
  containersUsing(imageID: string): Promise<readonly string[]>;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly limits?: Partial<PullLimits> | undefined;
  /** Default Date.now. */
  readonly nowMs?: (() => number) | undefined;
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
/** A probe of the kernel by storage takes milliseconds. */
const probeAgeMs = 60_000;

export async function createImageStore(deps: ImageStoreDeps): Promise<ImageStore> {
  const limits = { ...defaultLimits, ...deps.limits };
  await mkdir(deps.root, { recursive: true, mode: 0o700 });
  await mkdir(deps.runRoot, { recursive: true, mode: 0o700 });
  const files = createStorageFiles(deps.root);
  const archives = await openArchiveRecords(join(deps.root, 'holdfast-archives.json'));
  const auth = await openAuthFiles(join(deps.runRoot, 'holdfast-auth'), deps.authFiles ?? []);
  const { root, runRoot, registriesConf } = deps;
  const { blobDigests } = files;
  // The host's rules on signatures hold where there are some. Debian's skopeo installs permissive ones.
  const hasPolicy = await isThere('/etc/containers/policy.json');
  const place = { root, runRoot, registriesConf, hasPolicy, limits };
  const commands = await createStorageCommands({ ...place, blobDigests });
  const registry = createRegistryClient({ ...place, auth, withScratch: commands.withScratch });
  const nowMs = deps.nowMs ?? Date.now;
  const usage = await openUsageRecords(join(deps.root, 'holdfast-usage.json'));
  await removeProbes({ root, unmount: commands.unmount, nowMs: nowMs() }, probeAgeMs).catch((error: unknown) =>
    log.warn({ err: error }, 'what a killed pull left cannot be removed'),
  );
  const host = deps.platform ?? hostPlatform(process.arch);
  const { maxParallelPulls } = limits;
  const { log, metrics } = deps;
  const shared = { root, files, archives, usage, commands, nowMs, log };
  const fetcher = createFetcher({ ...shared, auth, host, maxParallelPulls, infoOf, metrics });
  let isClosed = false;

  async function find({ reference, name, title, isRecorded }: Wanted): Promise<ImageRecord | undefined> {
    const index = await files.records();
    const named = isRecorded ? byRecord(index, title) : index.byName.get(name);
    if (named !== undefined || reference.kind === 'archive') return named;
    return reference.digest === undefined ? undefined : index.byManifest.get(reference.digest);
  }

  function byRecord(index: ImageIndex, title: string): ImageRecord | undefined {
    const record = archives.get(title);
    return record === undefined ? undefined : index.byID.get(record.imageID);
  }

  /** Whether an archive that was imported once still looks as it did. One that is gone counts as unchanged. */
  async function isUnchanged({ reference, title }: Wanted): Promise<boolean> {
    if (reference.kind === 'registry') return true;
    const now = await archiveFingerprint(reference);
    return now === 'none' || now === archives.get(title)?.fingerprint;
  }

  async function infoOf(record: ImageRecord): Promise<ImageInfo> {
    const { sizeBytes, config } = await files.detailsOf(record);
    const names = record.names.filter((name) => !isOwn(name));
    return { id: `sha256:${record.id}`, names: [...names, ...archives.referencesOf(record.id)], sizeBytes, config };
  }

  async function misfitOf(record: ImageRecord, platform: Platform | undefined): Promise<string | undefined> {
    return describeMisfit((await files.detailsOf(record)).platform, platform, host);
  }

  /** A present image whose layers are all there. One with a hole (a lost folder, a crash) is removed, to be fetched. */
  async function findWhole(wanted: Wanted): Promise<ImageInfo | undefined> {
    const record = await find(wanted);
    if (record === undefined) return undefined;
    try {
      await files.layersOf(record);
      if ((await misfitOf(record, wanted.platform)) !== undefined) return undefined;
      usage.used(record.id, nowMs());
      return await infoOf(record);
    } catch (error) {
      if (!(error instanceof ImageNotPresentError)) throw error;
      log.warn({ err: error, imageID: record.id }, 'removing a damaged image');
      await removeDamaged(record);
      return undefined;
    }
  }

  /** No registry knows an image by its id, so it is here or nowhere. */
  async function presentByID(imageID: string): Promise<ImageInfo> {
    const record = await lookUp(imageID);
    if (record === undefined)
      throw new ImageNotPresentError(
        `the image "${imageID}" is not on this host, and no registry knows it by its id; import it, or give its name`,
      );
    await files.layersOf(record);
    usage.used(record.id, nowMs());
    return infoOf(record);
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

  async function lookUp(referenceOrID: string, platform?: string): Promise<ImageRecord | undefined> {
    const id = parseImageID(referenceOrID);
    return id === undefined ? find(parseWanted(referenceOrID, platform, host)) : (await files.records()).byID.get(id);
  }

  async function inspect(referenceOrID: string, platform?: string): Promise<ImageInfo | undefined> {
    assertOpen();
    try {
      const record = await lookUp(referenceOrID, platform);
      const isByID = parseImageID(referenceOrID) !== undefined;
      if (record === undefined) return undefined;
      const misfit = isByID
        ? undefined
        : await misfitOf(record, platform === undefined ? undefined : parsePlatform(referenceOrID, platform));
      if (misfit !== undefined) return undefined;
      // Whoever asks by a name wants to use it; one with a hole is as if not there.
      if (!isByID) await files.layersOf(record);
      return await infoOf(record);
    } catch (error) {
      if (error instanceof ImageNotPresentError || isInvalidName(error)) return undefined;
      throw error;
    }
  }

  const collectorDeps: CollectorDeps = {
    ...shared,
    containersUsing: deps.containersUsing,
    forget: (imageID) => archives.forget(imageID),
    isPulling: () => fetcher.isBusy,
  };

  function assertOpen(): void {
    if (isClosed) throw new RuntimeClosedError('the image store is closed');
  }

  return {
    async ensure(text, policy, signal, options = {}) {
      signal.throwIfAborted();
      assertOpen();
      if (isWholeID(text)) return presentByID(text);
      const wanted = parseWanted(text, options.platform, host);
      const present = policy === 'always' ? undefined : await findWhole(wanted);
      if (present !== undefined && (policy === 'never' || (await isUnchanged(wanted)))) return present;
      if (policy === 'never') {
        const record = await find(wanted);
        const misfit = record === undefined ? undefined : await misfitOf(record, wanted.platform);
        throw new ImageNotPresentError(
          `the image "${text}" is not on this host${misfit === undefined ? '' : ` as it is needed: ${misfit}`}, and its pull policy forbids to fetch it; import it, or change the policy`,
        );
      }
      return fetcher.fetch(wanted, options, signal);
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
      return fetcher.fetch(wantImport(from, to.canonical, to.canonical), {}, signal);
    },
    ...createStoreArchives({ files, commands, fetcher, usage, host, nowMs, lookUp, infoOf, assertOpen }),
    async list() {
      assertOpen();
      const { all } = await files.records();
      const infos = await Promise.all(all.map((record) => infoOf(record).catch(ignoreDamaged)));
      return infos.filter((info) => info !== undefined);
    },
    inspect,
    ...createImageNames({
      files,
      commands,
      archives,
      lookUp,
      host,
      containersUsing: deps.containersUsing,
      assertOpen,
      log,
    }),
    async describe(referenceOrID, platform) {
      const info = await inspect(referenceOrID, platform);
      const record = info === undefined ? undefined : (await files.records()).byID.get(info.id.slice('sha256:'.length));
      if (info === undefined || record === undefined) return undefined;
      return { ...info, ...(await files.describe(record)) };
    },
    async push(name, { credentials = [], onLayer = () => {} }, signal) {
      assertOpen();
      const reference = parsePushed(name);
      const record = await find(parseWanted(name, undefined, host));
      if (record === undefined)
        throw new ImageNotPresentError(`the image "${name}" is not on this host, so it cannot be pushed; tag one so`);
      usage.used(record.id, nowMs());
      return registry.push({ id: record.id, reference, credentials }, onLayer, signal);
    },
    async describeRemote(text, { credentials = [] }, signal) {
      assertOpen();
      const reference = parseReference(text);
      if (reference.kind === 'registry') return registry.describe(reference, credentials, signal);
      const fix = 'give the name of an image in a registry';
      throw new RegistryError(`ask for "${text}"`, { kind: 'invalid-name', what: 'it is an archive', fix });
    },
    checkCredential: (credential, signal) => registry.checkCredential(credential, signal),
    async collect({ wanted, policy }, signal) {
      assertOpen();
      const ids = new Set<string>();
      for (const { reference, platform } of wanted) {
        const record = await lookUp(reference, platform).catch(ignoreInvalidName);
        if (record !== undefined) ids.add(record.id);
      }
      const report = await fetcher.hold(async () => {
        await removeProbes({ root, unmount: commands.unmount, nowMs: nowMs() }, probeAgeMs);
        await commands.removeStale();
        return collect(collectorDeps, { wanted: ids, policy }, signal);
      });
      for (const { id, names, sizeBytes, because } of report.removed)
        log.info({ imageID: id, names, sizeBytes, because }, 'unused image removed');
      return report;
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
      await fetcher.close(new RuntimeClosedError('the image store was closed during a pull'));
    },
  };
}

/** A damaged image is as if not there: ensure fetches it again. */
function ignoreDamaged(error: unknown): undefined {
  if (!(error instanceof ImageNotPresentError)) throw error;
}

/** "sha256:" and 64 digits: as a name it would be a tag of that length of a repository of that name. */
function isWholeID(text: string): boolean {
  return text.startsWith('sha256:') && parseImageID(text) !== undefined;
}
