/**
 * Kubernetes Events about containers: written one after the other in the background, equal ones counted in one object,
 * and limited per container, so that a crash loop cannot flood the store (client-go's EventCorrelator does the same). Effects.
 */
import { createHash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ApiError, type ApiRequest } from '../client/index.ts';
import type { Container } from '../crds/index.ts';

export interface EventDeps {
  readonly call: (request: ApiRequest) => Promise<unknown>;
  readonly nodeName: string;
  readonly now: () => number;
  readonly log: Logger;
}

/** What an event is about: a Container, or the node. */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Pick<Container['metadata'], 'namespace' | 'name' | 'uid' | 'resourceVersion'>;
}

/** As the kubelet's about its node: kubectl shows them with the namespace default. */
export function nodeSubject(nodeName: string): EventSubject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { namespace: 'default', name: nodeName, uid: nodeName, resourceVersion: '' },
  };
}

export interface EventRecorder {
  /** Never throws and never waits; an event that cannot be written is logged and dropped. */
  record(object: EventSubject, type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Gives up what is not written yet. */
  close(): Promise<void>;
}

interface Series {
  readonly path: string;
  count: number;
}

const maxWaiting = 1_000;
const maxSeries = 1_000;
/** A container may write so many at once, and one more every refillMs. client-go: 25, and one in 5 minutes; crash loops here are worth more. */
const burst = 25;
const refillMs = 10_000;
/** What is told of goes on first: a write takes the processor from the start of the container that it is about. */
const quietMs = 100;

export function createEventRecorder({ call, nodeName, now, log }: EventDeps): EventRecorder {
  const stop = new AbortController();
  const series = new Map<string, Series>();
  const buckets = new Map<string, { tokens: number; atMs: number }>();
  let waiting = 0;
  let tail: Promise<void> = Promise.resolve();
  let sequence = 0;

  const isAllowed = (uid: string): boolean => {
    const bucket = buckets.get(uid) ?? { tokens: burst, atMs: now() };
    const tokens = Math.min(burst, bucket.tokens + Math.max(0, now() - bucket.atMs) / refillMs);
    buckets.delete(uid);
    buckets.set(uid, { tokens: Math.max(0, tokens - 1), atMs: now() });
    evictOldest(buckets, maxSeries);
    return tokens >= 1;
  };

  const write = async (
    object: EventSubject,
    type: string,
    reason: string,
    message: string,
    atMs: number,
  ): Promise<void> => {
    const key = createHash('sha256').update([object.metadata.uid, type, reason, message].join('\0')).digest('hex');
    const timestamp = new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z');
    const known = series.get(key);
    if (known !== undefined) {
      try {
        await call({
          method: 'PATCH',
          path: known.path,
          contentType: 'application/merge-patch+json',
          body: { count: known.count + 1, lastTimestamp: timestamp },
          signal: stop.signal,
        });
        known.count += 1;
        return;
      } catch (error) {
        series.delete(key);
        if (!(error instanceof ApiError && error.code === 404)) throw error; // 404: it expired; write a new one.
      }
    }
    sequence += 1;
    const { namespace, name, uid, resourceVersion } = object.metadata;
    const eventName = `${name.slice(0, 200)}.${atMs.toString(16)}${(sequence % 65_536).toString(16).padStart(4, '0')}`;
    const path = `/api/v1/namespaces/${namespace}/events`;
    await call({
      method: 'POST',
      path,
      signal: stop.signal,
      body: {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: eventName, namespace },
        involvedObject: { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid, resourceVersion },
        type,
        reason,
        message: message.slice(0, 1024),
        count: 1,
        firstTimestamp: timestamp,
        lastTimestamp: timestamp,
        eventTime: null,
        source: { component: 'holdfast', host: nodeName },
        reportingComponent: 'holdfast',
        reportingInstance: nodeName,
      },
    });
    series.set(key, { path: `${path}/${eventName}`, count: 1 });
    evictOldest(series, maxSeries);
  };

  return {
    record: (object, type, reason, message) => {
      if (stop.signal.aborted) return;
      const dropped =
        waiting >= maxWaiting ? 'queue-full' : isAllowed(object.metadata.uid) ? undefined : 'rate-limited';
      log.info(
        {
          container: object.metadata.name,
          namespace: object.metadata.namespace,
          reason,
          message,
          ...(dropped === undefined ? {} : { eventDropped: dropped }),
        },
        'event',
      );
      if (dropped !== undefined) return;
      waiting += 1;
      const atMs = now();
      const quietEndMs = performance.now() + quietMs;
      tail = tail
        .then(async () => {
          await wait(Math.max(0, quietEndMs - performance.now()), undefined, { signal: stop.signal });
          await write(object, type, reason, message, atMs);
        })
        .catch((error: unknown) => {
          if (!stop.signal.aborted)
            log.warn({ err: error, container: object.metadata.name, reason }, 'an event could not be written');
        })
        .finally(() => {
          waiting -= 1;
        });
    },
    close: async () => {
      stop.abort(new Error('the event recorder was closed'));
      await tail;
    },
  };
}

function evictOldest(map: Map<string, unknown>, max: number): void {
  while (map.size > max) {
    const oldest = map.keys().next();
    if (oldest.done === true) return;
    map.delete(oldest.value);
  }
}
