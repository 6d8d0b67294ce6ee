/**
 * Has the runtime remove unused images from time to time, and at once when a pull finds no space. It knows which images the
 * objects want, whether a container was made of them or not. Effects; which go, the runtime decides.
 */
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Container } from '../crds/index.ts';
import type { CollectionPolicy, CollectionReport, Images } from '../runtime/index.ts';
import { type EventRecorder, nodeSubject } from './events.ts';
import { formatBytes } from './quantity.ts';

export type ImageCollectionPolicy = Omit<CollectionPolicy, 'isDiskFull'>;

export interface ImageCollectionDeps {
  readonly images: Pick<Images, 'collect'>;
  readonly policy: ImageCollectionPolicy;
  /** The objects of the store; undefined while they are not known, when nothing may be removed. */
  readonly objects: () => readonly Container[] | undefined;
  readonly events: EventRecorder;
  readonly nodeName: string;
  readonly metrics: Registry;
  readonly now: () => number;
  readonly log: Logger;
  /** The kubelet's 5 minutes by default. */
  readonly everyMs?: number | undefined;
}

export interface ImageCollection {
  /** A pull found the disk full. Collects at once, but not all the time. */
  diskFull(): void;
  close(): Promise<void>;
}

/** Source: the kubelet's defaults. */
export const defaultCollectionPolicy: ImageCollectionPolicy = {
  minimumAgeMs: 2 * 60_000,
  maximumAgeMs: undefined,
  highThresholdPercent: 85,
  lowThresholdPercent: 80,
};

const everyMs = 5 * 60_000;
/** Several pulls that fail one after the other are one full disk. */
const urgentEveryMs = 10_000;

export function startImageCollection(deps: ImageCollectionDeps): ImageCollection {
  const { images, policy, objects, events, nodeName, now, log } = deps;
  const stop = new AbortController();
  const metrics = createCollectionMetrics(deps.metrics);
  const node = nodeSubject(nodeName);
  let running: Promise<void> = Promise.resolve();
  let lastUrgentMs: number | undefined;
  let wasShort = false;

  const tell = ({ removed, layersRemoved, missingBytes, capacityBytes, availableBytes }: CollectionReport): void => {
    metrics.collected(removed, missingBytes);
    if (removed.length > 0 || layersRemoved > 0) {
      const sizeBytes = removed.reduce((sum, image) => sum + image.sizeBytes, 0);
      log.info({ images: removed.length, layers: layersRemoved, sizeBytes }, 'unused images were removed');
      const what = `removed ${removed.length} unused image${removed.length === 1 ? '' : 's'} (${formatBytes(sizeBytes)})`;
      if (removed.length > 0) events.record(node, 'Normal', 'ImageGCSucceeded', what);
    }
    const isShort = missingBytes > 0;
    if (isShort && !wasShort) {
      const message = `the file system of the images has ${formatBytes(availableBytes)} of ${formatBytes(capacityBytes)} left, and ${formatBytes(missingBytes)} more should be free, but every image that is left is in use or wanted; make space, or remove containers`;
      log.warn({ missingBytes, availableBytes, capacityBytes }, 'the disk is full, and no image can go');
      events.record(node, 'Warning', 'FreeDiskSpaceFailed', message);
    }
    wasShort = isShort;
  };

  const collect = async (isDiskFull: boolean): Promise<void> => {
    const known = objects();
    if (known === undefined || stop.signal.aborted) return;
    const wanted = known.map(({ spec }) => ({ reference: spec.image, platform: spec.platform }));
    try {
      tell(await images.collect({ wanted, policy: { ...policy, isDiskFull } }, stop.signal));
    } catch (error) {
      if (stop.signal.aborted) return;
      metrics.failed();
      log.error({ err: error }, 'unused images cannot be removed; it is tried again');
    }
  };
  const queue = (isDiskFull: boolean): void => {
    running = running.then(() => collect(isDiskFull));
  };
  const timer = setInterval(() => queue(false), deps.everyMs ?? everyMs);

  return {
    diskFull() {
      if (stop.signal.aborted) return;
      if (lastUrgentMs !== undefined && now() - lastUrgentMs >= 0 && now() - lastUrgentMs < urgentEveryMs) return;
      lastUrgentMs = now();
      queue(true);
    },
    async close() {
      stop.abort(new Error('the collection of images was closed'));
      clearInterval(timer);
      await running;
    },
  };
}

function createCollectionMetrics(registry: Registry): {
  collected(removed: CollectionReport['removed'], missingBytes: number): void;
  failed(): void;
} {
  const registers = [registry];
  const total = new Counter({
    name: 'holdfast_images_removed_total',
    help: 'Unused images that were removed, by what made them go: age or space.',
    labelNames: ['reason'],
    registers,
  });
  const failures = new Counter({
    name: 'holdfast_image_collection_errors_total',
    help: 'Collections of unused images that failed.',
    registers,
  });
  const missing = new Gauge({
    name: 'holdfast_image_space_missing_bytes',
    help: 'Space below the low threshold that no image can free, because all are in use or wanted.',
    registers,
  });
  for (const reason of ['age', 'space']) total.inc({ reason }, 0);
  return {
    collected(removed, missingBytes) {
      for (const { because } of removed) total.inc({ reason: because });
      missing.set(missingBytes);
    },
    failed: () => failures.inc(),
  };
}
