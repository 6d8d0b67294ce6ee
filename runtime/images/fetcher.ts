/**
 * Fetches images into the store: with one login after the other, at most so many at once, the same one once for all who want
 * it, and none while unused images are being removed. Effects.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { Gauge, Histogram, type Registry } from 'prom-client';
import {
  type ImageInfo,
  ImagePullError,
  type PullOptions,
  type PullProgress,
  RuntimeOperationError,
} from '../interface.ts';
import { type ArchiveRecords, archiveFingerprint } from './archive-records.ts';
import { type AuthFiles, type Login, tryLogins } from './auth-files.ts';
import type { Platform } from './platform.ts';
import { createSharedRuns } from './pulls.ts';
import type { StorageCommands } from './storage-commands.ts';
import type { ImageRecord, StorageFiles } from './storage-files.ts';
import type { UsageRecords } from './usage-records.ts';
import { describeMisfit, type Wanted } from './wanted.ts';

export interface FetcherDeps {
  readonly root: string;
  readonly files: StorageFiles;
  readonly archives: ArchiveRecords;
  readonly usage: UsageRecords;
  readonly commands: StorageCommands;
  readonly auth: AuthFiles;
  readonly host: Platform;
  readonly maxParallelPulls: number;
  infoOf(record: ImageRecord): Promise<ImageInfo>;
  readonly nowMs: () => number;
  readonly log: Logger;
  readonly metrics: Registry;
}

export interface Fetcher {
  /** Joins the fetching of the same image with the same credentials that is under way, or begins one. Throws ImagePullError. */
  fetch(wanted: Wanted, options: PullOptions, signal: AbortSignal): Promise<ImageInfo>;
  readonly isBusy: boolean;
  /** Runs `work` while no fetch begins; one after the other. Those that are under way go on. */
  hold<T>(work: () => Promise<T>): Promise<T>;
  /** Aborts all with this reason, and waits for their ends. */
  close(reason: Error): Promise<void>;
}

interface FetchRequest {
  readonly logins: readonly Login[];
  readonly credentials: NonNullable<PullOptions['credentials']>;
  readonly onProgress: (progress: PullProgress) => void;
  readonly reportsLayers: boolean;
  readonly signal: AbortSignal;
}

export function createFetcher(deps: FetcherDeps): Fetcher {
  const { files, archives, usage, commands, auth, host, nowMs, log, infoOf } = deps;
  const pulls = createSharedRuns<ImageInfo, PullProgress>(deps.maxParallelPulls);
  const metrics = createPullMetrics(deps.metrics);
  let held: Promise<unknown> = Promise.resolve();
  let underWay = 0;

  function copy(wanted: Wanted, request: FetchRequest): Promise<void> {
    const { reference, name, title, platform = host } = wanted;
    const { logins, credentials, onProgress, reportsLayers, signal } = request;
    return tryLogins(auth, { logins, reference, credentials }, (login) =>
      commands.copy({ reference, platform, name, title, ...login, onProgress, reportsLayers }, signal),
    );
  }

  /** One pull, from the start of skopeo to the image's record, measured and logged. */
  async function pull(wanted: Wanted, request: FetchRequest): Promise<ImageInfo> {
    const { reference, name, title } = wanted;
    const stop = metrics.begin();
    const startedMs = performance.now();
    try {
      const seen = reference.kind === 'archive' ? await archiveFingerprint(reference) : 'none';
      await copy(wanted, request);
      const record = (await files.records()).byName.get(name);
      if (record === undefined) {
        throw new RuntimeOperationError(
          'image_pull',
          `skopeo copied "${reference.canonical}", but the store has no image "${name}"; look at ${deps.root}`,
        );
      }
      if (wanted.isRecorded) await archives.set(title, { imageID: record.id, fingerprint: seen });
      const misfit = describeMisfit((await files.detailsOf(record)).platform, wanted.platform, host);
      if (misfit !== undefined) {
        const fix = 'choose a tag or a digest that was built for the other, or name the platform that you want';
        throw new ImagePullError(reference.canonical, { kind: 'not-found', what: misfit, fix });
      }
      usage.used(record.id, nowMs());
      const info = await infoOf(record);
      stop('success');
      const durationMs = Math.round(performance.now() - startedMs);
      log.info({ image: title, imageID: info.id, durationMs }, 'image pulled');
      return info;
    } catch (error) {
      stop(request.signal.aborted ? 'canceled' : 'error');
      throw error;
    }
  }

  return {
    async fetch(wanted, options, signal) {
      const credentials = options.credentials ?? [];
      const logins = await auth.loginsFor(wanted.reference, credentials);
      const run = async (shared: AbortSignal, onProgress: (progress: PullProgress) => void) => {
        await held;
        underWay += 1;
        try {
          const reportsLayers = options.reportsLayers ?? false;
          return await pull(wanted, { logins, credentials, onProgress, reportsLayers, signal: shared });
        } finally {
          underWay -= 1;
        }
      };
      const key = `${wanted.name}\n${wanted.reference.canonical}\n${keyOfLogins(logins)}`;
      return pulls.join(key, run, signal, options.onProgress);
    },
    get isBusy() {
      return underWay > 0;
    },
    hold(work) {
      const run = held.then(work);
      held = run.catch(() => undefined); // this caller is told; the next one begins anew
      return run;
    },
    close: (reason) => pulls.close(reason),
  };
}

/** Tells logins apart without keeping passwords as keys. */
function keyOfLogins(logins: readonly Login[]): string {
  return createHash('sha256').update(JSON.stringify(logins)).digest('hex');
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
