/** `docker events`: the last ones are kept in memory, and those to come are told to whoever listens. Effects; what a change of an object means is in event-rules.ts. */
import { badParameter } from './docker-error.ts';
import { type DockerEvent, eventsOf } from './event-rules.ts';
import { type Filters, matches, matchesLabels, parseFilters } from './filters.ts';
import type { Objects } from './objects.ts';
import type { Route } from './route.ts';

/** An event with its time, in milliseconds since the epoch. */
interface Timed {
  readonly event: DockerEvent;
  readonly atMs: number;
  /** Tells two of one millisecond apart. */
  readonly nanos: number;
}

export interface EventLog {
  emit(event: DockerEvent): void;
  /** Those kept that are of the time, oldest first. */
  since(ms: number): readonly Timed[];
  subscribe(listener: (event: Timed) => void): () => void;
  now(): number;
  close(): void;
}

/** Source: moby daemon/events, eventsLimit. */
const kept = 256;
/** A client that does not read is cut off when so much waits for it. */
const mostWaitingBytes = 1_000_000;

export interface EventLogDeps {
  readonly objects: Objects;
  readonly namespace: string;
  readonly now: () => number;
}

export function createEventLog({ objects, namespace, now }: EventLogDeps): EventLog {
  const last: Timed[] = [];
  const listeners = new Set<(event: Timed) => void>();
  let nanos = 0;
  let isSynced = false;
  const emit = (event: DockerEvent): void => {
    nanos = (nanos + 1) % 1_000_000;
    const timed = { event, atMs: now(), nanos };
    last.push(timed);
    if (last.length > kept) last.shift();
    for (const listener of [...listeners]) listener(timed);
  };
  void objects.synced.then(() => {
    isSynced = true;
  });
  const close = objects.subscribe((change) => {
    if (!isSynced) return; // what was there before
    for (const event of eventsOf(change, { namespace, others: objects.list(), nowMs: now() })) emit(event);
  });
  return {
    emit,
    since: (ms) => last.filter(({ atMs }) => atMs >= ms),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    now,
    close,
  };
}

const knownFilters = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
];

export function eventRoutes(events: EventLog): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/events',
      handle: async (call) => {
        const filters = parseFilters(call.query, knownFilters);
        const sinceMs = parseTime(call.query, 'since');
        const untilMs = parseTime(call.query, 'until');
        const out = call.stream(200, { 'Content-Type': 'application/json' });
        const write = (timed: Timed): void => {
          if (untilMs !== undefined && timed.atMs > untilMs) return;
          if (isWanted(timed.event, filters)) out.write(`${JSON.stringify(formatEvent(timed))}\n`);
        };
        for (const timed of sinceMs === undefined ? [] : events.since(sinceMs)) write(timed);
        await new Promise<void>((resolve) => {
          const leftMs = untilMs === undefined ? undefined : untilMs - events.now();
          const unsubscribe = events.subscribe((timed) => {
            write(timed);
            if (out.writableLength > mostWaitingBytes) out.destroy();
          });
          const end = (): void => {
            clearTimeout(timer);
            unsubscribe();
            call.signal.removeEventListener('abort', end);
            resolve();
          };
          const timer = leftMs === undefined ? undefined : setTimeout(end, Math.min(Math.max(0, leftMs), 2 ** 31 - 1));
          out.once('close', end);
          call.signal.addEventListener('abort', end, { once: true });
          if (call.signal.aborted) end();
        });
        out.end();
      },
    },
  ];
}

/** Seconds since the epoch with a fraction, or a time of RFC 3339. Throws DockerError. */
function parseTime(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '' || text === '0') return undefined;
  const ms = /^\d{1,12}(\.\d{1,9})?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(ms))
    throw badParameter(`${name}: "${text}" is not a time; give seconds since 1970, or one of RFC 3339`);
  return ms;
}

function isWanted({ Type, Action, Actor: { ID, Attributes } }: DockerEvent, filters: Filters): boolean {
  const isMeant = (name: DockerEvent['Type']): boolean =>
    matches(
      filters,
      name,
      (value) => Type === name && (ID.startsWith(value) || Attributes.name === value.replace(/^\//, '')),
    );
  return (
    matches(filters, 'type', (value) => value === Type) &&
    matches(filters, 'event', (value) => Action === value || Action.startsWith(`${value}:`)) &&
    matches(filters, 'scope', (value) => value === 'local') &&
    isMeant('container') &&
    isMeant('volume') &&
    isMeant('network') &&
    isMeant('daemon') &&
    matches(filters, 'image', (value) => [ID, Attributes.name, Attributes.image].includes(value)) &&
    matchesLabels(filters, Attributes)
  );
}

function formatEvent({ event, atMs, nanos }: Timed): object {
  const { Type, Action, Actor } = event;
  const ofOld =
    Type === 'container' || Type === 'image'
      ? { status: Action, id: Actor.ID, ...(Type === 'container' ? { from: Actor.Attributes.image ?? '' } : {}) }
      : {};
  // Larger than a safe integer: the last digits are not exact, but of two events the later has the greater number.
  return {
    ...ofOld,
    Type,
    Action,
    Actor,
    scope: 'local',
    time: Math.floor(atMs / 1000),
    timeNano: atMs * 1_000_000 + nanos,
  };
}
