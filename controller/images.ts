/** Fetches images in the background, each registry behind its breaker, and remembers which are at hand. Effects. */
import type { Logger } from 'pino';
import type { Container } from '../crds/index.ts';
import { ImageNotPresentError, ImagePullError, type Images } from '../runtime/index.ts';
import { type Breaker, BreakerOpenError } from './breakers.ts';
import type { ImageState } from './decide.ts';
import type { Desired } from './desired.ts';
import type { EventRecorder } from './events.ts';
import { accountForImageFailure, type History } from './history.ts';

export interface PullerDeps {
  readonly images: Images;
  readonly breakerOf: (registry: string) => Breaker;
  readonly events: EventRecorder;
  /** Called when a pull that was left to the background has ended. */
  readonly wake: (key: string) => void;
  readonly now: () => number;
  readonly log: Logger;
}

export interface ImagePuller {
  stateOf(id: string, reference: string): ImageState;
  /** Makes the image present. true: decide anew (it is here, or failed); false: it is being fetched and will wake the key. */
  ensure(
    want: {
      readonly object: Container;
      readonly desired: Desired;
      readonly entry: { readonly key: string; history: History };
    },
    signal: AbortSignal,
  ): Promise<boolean>;
  /** Gives up a pull and what is known for this container. */
  forget(id: string): void;
  close(): Promise<void>;
}

/** A pull that ends sooner is not left to the background: archives and present images are done in a moment. */
const patienceMs = 50;

interface Slot {
  readonly reference: string;
  state: ImageState;
  readonly stop: AbortController;
}

export function createImagePuller({ images, breakerOf, events, wake, now, log }: PullerDeps): ImagePuller {
  const slots = new Map<string, Slot>();
  const running = new Set<Promise<void>>();

  const forget = (id: string): void => {
    slots.get(id)?.stop.abort(new Error('the image is not wanted any more'));
    slots.delete(id);
  };

  return {
    stateOf: (id, reference) => {
      const slot = slots.get(id);
      if (slot !== undefined && slot.reference !== reference) forget(id);
      return slots.get(id)?.state ?? { kind: 'unknown' };
    },
    forget,
    ensure: async ({ object, desired, entry }, signal) => {
      const { image, pullPolicy, containerID: id } = desired;
      if (pullPolicy !== 'always') {
        const present = await images.inspect(image);
        if (present !== undefined) {
          slots.set(id, {
            reference: image,
            state: { kind: 'present', imageID: present.id },
            stop: new AbortController(),
          });
          return true;
        }
      }
      const stop = new AbortController();
      const slot: Slot = { reference: image, state: { kind: 'pulling' }, stop };
      slots.set(id, slot);
      const registry = images.registryOf(image);
      const startedAtMs = now();
      const pull = (): Promise<{ id: string }> => images.ensure(image, pullPolicy, stop.signal);
      const isOverNetwork = registry !== undefined && pullPolicy !== 'never';
      if (isOverNetwork) events.record(object, 'Normal', 'Pulling', `fetching the image "${image}"`);
      let isInTime = true;
      const task = (isOverNetwork ? breakerOf(registry).run(pull, stop.signal) : pull())
        .then(
          (info) => {
            slot.state = { kind: 'present', imageID: info.id };
            if (isOverNetwork)
              events.record(object, 'Normal', 'Pulled', `fetched the image "${image}" in ${now() - startedAtMs} ms`);
          },
          (error: unknown) => {
            if (slots.get(id) === slot) slots.delete(id);
            if (stop.signal.aborted) return;
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
      if (first !== 'late') return true;
      isInTime = false;
      // Ended in the very moment between the race and here: nobody would wake the key.
      return !running.has(task);
    },
    close: async () => {
      for (const id of [...slots.keys()]) forget(id);
      await Promise.allSettled([...running]);
    },
  };
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
