/** Fetches images in the background, each registry behind its breaker, and remembers which are at hand. Effects. */
import type { Logger } from 'pino';
import type { Container } from '../crds/index.ts';
import {
  type ImageInfo,
  ImageNotPresentError,
  ImagePullError,
  type Images,
  type PullProgress,
} from '../runtime/index.ts';
import { accountForImageFailure } from './account-failures.ts';
import { type Breaker, BreakerOpenError } from './breakers.ts';
import type { ImageState } from './decide.ts';
import type { Desired } from './desired.ts';
import type { EventRecorder } from './events.ts';
import type { History } from './history.ts';
import { resolvePullSecrets } from './pull-secrets.ts';
import { formatBytes } from './quantity.ts';
import type { Sources } from './sources.ts';

export interface PullerDeps {
  readonly images: Images;
  readonly sources: Sources;
  readonly breakerOf: (registry: string) => Breaker;
  readonly events: EventRecorder;
  /** Called when a pull failed for want of space. */
  readonly diskFull: () => void;
  /** Called when a pull that was left to the background has ended. */
  readonly wake: (key: string) => void;
  readonly now: () => number;
  readonly log: Logger;
}

export interface ImagePuller {
  /** What is known of the image that a container wants. */
  stateOf(desired: Pick<Desired, 'containerID' | 'image' | 'platform'>): ImageState;
  /** Makes the image present, or begins to and returns: it wakes the key while bytes come, and at the end. */
  ensure(
    want: {
      readonly object: Container;
      readonly desired: Desired;
      readonly entry: { readonly key: string; history: History };
    },
    signal: AbortSignal,
  ): Promise<void>;
  /** Gives up a pull and what is known for this container. */
  forget(id: string): void;
  close(): Promise<void>;
}

/** A pull that ends sooner is not left to the background: archives and present images are done in a moment. */
const patienceMs = 50;
/** A status says how far a pull is at most so often. */
const progressEveryMs = 3_000;

interface Slot {
  /** Image and platform. */
  readonly title: string;
  state: ImageState;
  readonly stop: AbortController;
}

export function createImagePuller({
  images,
  sources,
  breakerOf,
  events,
  diskFull,
  wake,
  now,
  log,
}: PullerDeps): ImagePuller {
  const slots = new Map<string, Slot>();
  const running = new Set<Promise<void>>();

  const forget = (id: string): void => {
    slots.get(id)?.stop.abort(new Error('the image is not wanted any more'));
    slots.delete(id);
  };

  return {
    stateOf: ({ containerID: id, ...wanted }) => {
      const slot = slots.get(id);
      if (slot !== undefined && slot.title !== titleOf(wanted)) forget(id);
      return slots.get(id)?.state ?? { kind: 'unknown' };
    },
    forget,
    ensure: async ({ object, desired, entry }, signal) => {
      const { image, platform, pullPolicy, containerID: id } = desired;
      const title = titleOf(desired);
      if (pullPolicy !== 'always') {
        const present = await images.inspect(image, platform);
        if (present !== undefined) {
          slots.set(id, {
            title,
            state: { kind: 'present', imageID: present.id },
            stop: new AbortController(),
          });
          return;
        }
      }
      const stop = new AbortController();
      const slot: Slot = { title, state: { kind: 'pulling' }, stop };
      slots.set(id, slot);
      const registry = images.registryOf(image);
      const startedAtMs = now();
      const { credentials, problems } = resolvePullSecrets(object, sources);
      let isInTime = true;
      let toldAtMs = startedAtMs;
      let telling: NodeJS.Timeout | undefined;
      const onProgress = (progress: PullProgress): void => {
        if (slots.get(id) !== slot || slot.state.kind !== 'pulling') return;
        slot.state = { kind: 'pulling', progress };
        if (isInTime || telling !== undefined) return;
        // Also the last report before a silence is told of, at its time.
        const waitMs = Math.min(progressEveryMs, Math.max(0, toldAtMs + progressEveryMs - now()));
        telling = setTimeout(() => {
          telling = undefined;
          toldAtMs = now();
          wake(entry.key);
        }, waitMs);
      };
      const pull = (): Promise<ImageInfo> =>
        images.ensure(image, pullPolicy, stop.signal, { credentials, platform, onProgress });
      const isOverNetwork = registry !== undefined && pullPolicy !== 'never';
      if (isOverNetwork && problems.length > 0)
        events.record(object, 'Warning', 'FailedToRetrieveImagePullSecret', `tries without: ${problems.join('; ')}`);
      if (isOverNetwork) events.record(object, 'Normal', 'Pulling', `fetching the image "${title}"`);
      const task = (isOverNetwork ? breakerOf(registry).run(pull, stop.signal) : pull())
        .then(
          (info) => {
            slot.state = { kind: 'present', imageID: info.id };
            if (isOverNetwork)
              events.record(
                object,
                'Normal',
                'Pulled',
                `fetched the image "${title}" in ${now() - startedAtMs} ms (${formatBytes(info.sizeBytes)} unpacked)`,
              );
          },
          (error: unknown) => {
            if (slots.get(id) === slot) slots.delete(id);
            if (stop.signal.aborted) return;
            if (error instanceof ImagePullError && error.kind === 'disk') diskFull();
            const failure = imageFailureOf(error, entry.history.imageFailures);
            log.warn(
              { container: object.metadata.name, namespace: object.metadata.namespace, image, err: error },
              'image could not be fetched',
            );
            entry.history = accountForImageFailure(entry.history, desired, failure, now());
            events.record(object, 'Warning', 'Failed', failure.message);
          },
        )
        .finally(() => {
          running.delete(task);
          clearTimeout(telling);
          if (!isInTime) wake(entry.key);
        });
      running.add(task);
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), patienceMs);
      });
      const first = await Promise.race([task, patience]);
      clearTimeout(timer);
      signal.throwIfAborted();
      // Whoever called decides anew now; what ends in this very moment is seen by that.
      isInTime = first !== 'late';
    },
    close: async () => {
      for (const id of [...slots.keys()]) forget(id);
      await Promise.allSettled([...running]);
    },
  };
}

function titleOf({ image, platform }: Pick<Desired, 'image' | 'platform'>): string {
  return platform === undefined ? image : `${image} (${platform})`;
}

/** The kubelet's words: the first failure is ErrImagePull, further ones ImagePullBackOff. */
function imageFailureOf(
  error: unknown,
  failuresBefore: number,
): { reason: string; message: string; notBeforeMs?: number | undefined } {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ImageNotPresentError) return { reason: 'ErrImageNeverPull', message };
  if (error instanceof BreakerOpenError) return { reason: 'ImagePullBackOff', message, notBeforeMs: error.retryAtMs };
  if (error instanceof ImagePullError && error.kind === 'invalid-name') return { reason: 'InvalidImageName', message };
  return { reason: failuresBefore === 0 ? 'ErrImagePull' : 'ImagePullBackOff', message };
}
