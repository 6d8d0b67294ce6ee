/**
 * The Secrets, ConfigMaps and Networks that containers of this host refer to, kept in memory. Effects: lists and watches them,
 * and reads single objects that become wanted later. Data of others is dropped as soon as it was read; none is ever logged.
 */
import type { Logger } from 'pino';
import { type ApiAccess, ApiError, type ListWatch, startListWatch } from '../client/index.ts';
import { apiVersion, networkPlural } from '../crds/index.ts';
import type { ContainerApi } from './api.ts';

export type SourceKind = 'Secret' | 'ConfigMap' | 'Network';

/** A reference of a container to an object of its own namespace. */
export interface SourceRef {
  readonly kind: SourceKind;
  readonly name: string;
}

export interface Source {
  /** Of a Secret: kubernetes.io/dockerconfigjson … */
  readonly type: string | undefined;
  /** By key; a ConfigMap's binaryData is among it. Of a Network: whether it is internal. */
  readonly data: ReadonlyMap<string, Buffer>;
  /** Keys whose values the API server holds as bytes rather than text (binaryData). */
  readonly binaryKeys: ReadonlySet<string>;
}

export type SourceLookup =
  | { readonly kind: 'present'; readonly source: Source }
  | { readonly kind: 'missing' }
  /** Not heard of yet: the API server did not answer so far, or nothing refers to it. */
  | { readonly kind: 'unknown' };

/** What is known of Secrets, ConfigMaps and Networks. While the API server is away the last known values count. */
export interface Sources {
  get(kind: SourceKind, namespace: string, name: string): SourceLookup;
}

export interface SourceCache extends Sources {
  /** Says what a container (by its key, namespace/name) refers to from now on; an empty list forgets it. */
  refer(key: string, refs: readonly SourceRef[]): void;
  /** Begins to list and watch: once the first containers are known, so that what they refer to is kept from the list. */
  start(): void;
  /** What is there, by KIND namespace/name. */
  present(): Iterable<readonly [name: string, source: Source]>;
  /** The container is not held any more: what the API server says of its objects counts again. */
  heldNoMore(key: string): void;
  close(): Promise<void>;
}

export interface SourceCacheDeps {
  readonly access: ApiAccess;
  readonly api: Pick<ContainerApi, 'call' | 'ask'>;
  /** Before a list is asked for; throws if what this store has is not to be believed yet. */
  readonly checkStore: (signal: AbortSignal) => Promise<void>;
  /** What an earlier controller knew, by KIND namespace/name; what is read from the API server counts instead. */
  readonly recall: (name: string) => Source | undefined;
  /** What is present has changed. */
  readonly changed: () => void;
  /** Whether a container is held against a store that lost it: then what it refers to stays as it was, too. */
  readonly isHeldKey: (key: string) => boolean;
  /** Called with the key of each container that refers to an object about which something new is known. */
  readonly wake: (key: string) => void;
  readonly onReconnect: (reason: string) => void;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Logger;
}

export const sourceKinds = ['Secret', 'ConfigMap', 'Network'] as const satisfies readonly SourceKind[];

/** Where its objects are: of all namespaces, or of one. */
export function sourcePath(kind: SourceKind, namespace?: string): string {
  const within = namespace === undefined ? '' : `/namespaces/${namespace}`;
  if (kind === 'Network') return `/apis/${apiVersion}${within}/${networkPlural}`;
  return `/api/v1${within}/${kind === 'Secret' ? 'secrets' : 'configmaps'}`;
}

const retryMs = 5_000;

export function createSourceCache(deps: SourceCacheDeps): SourceCache {
  const shelves = {
    Secret: createShelf('Secret', deps),
    ConfigMap: createShelf('ConfigMap', deps),
    Network: createShelf('Network', deps),
  };
  return {
    get: (kind, namespace, name) => shelves[kind].get(`${namespace}/${name}`),
    refer: (key, refs) => {
      const namespace = key.slice(0, key.indexOf('/'));
      for (const kind of sourceKinds)
        shelves[kind].refer(
          key,
          new Set(refs.filter((ref) => ref.kind === kind).map((ref) => `${namespace}/${ref.name}`)),
        );
    },
    start: () => {
      for (const kind of sourceKinds) shelves[kind].start();
    },
    *present() {
      for (const kind of sourceKinds)
        for (const [name, source] of shelves[kind].present()) yield [`${kind} ${name}`, source];
    },
    heldNoMore: (key) => {
      for (const kind of sourceKinds) shelves[kind].verify(key);
    },
    close: async () => {
      await Promise.all(sourceKinds.map((kind) => shelves[kind].close()));
    },
  };
}

/** An object as it is taken from the API server; `source` only if something refers to it. */
interface Taken {
  readonly name: string;
  readonly source: Source | undefined;
}

interface Shelf {
  get(name: string): SourceLookup;
  refer(key: string, names: ReadonlySet<string>): void;
  start(): void;
  present(): Iterable<readonly [name: string, source: Source]>;
  verify(key: string): void;
  close(): Promise<void>;
}

/** The objects of one kind; `name` is namespace/name throughout. */
function createShelf(kind: SourceKind, deps: SourceCacheDeps): Shelf {
  const { access, api, wake, log } = deps;
  const path = sourcePath(kind);
  const held = new Map<string, SourceLookup>();
  /** Names of which `held` has what was known earlier, and may not be so any more. */
  const stale = new Set<string>();
  const usersOf = new Map<string, Set<string>>();
  const refsOf = new Map<string, ReadonlySet<string>>();
  const stop = new AbortController();
  const fetching = new Set<Promise<void>>();
  const timers = new Set<NodeJS.Timeout>();
  let isListed = false;
  let isStarted = false;
  let listWatch: ListWatch | undefined;

  const parse = (raw: unknown): Taken | undefined => {
    const name = nameOf(raw);
    return name === undefined ? undefined : { name, source: usersOf.has(name) ? parseSource(kind, raw) : undefined };
  };
  const put = (name: string, lookup: SourceLookup): void => {
    held.set(name, lookup);
    stale.delete(name);
    deps.changed();
    for (const key of usersOf.get(name) ?? []) wake(key);
  };
  const putMissing = (name: string): void => {
    const isHeld = [...(usersOf.get(name) ?? [])].some(deps.isHeldKey);
    if (isHeld && held.get(name)?.kind === 'present') stale.add(name);
    else put(name, { kind: 'missing' });
  };
  /** A list that leaves out what was there may have been cut short: the object itself is asked for, and counts until then. */
  const doubt = (name: string): void => {
    stale.add(name);
    fetchOne(name);
  };
  const take = ({ name, source }: Taken): void => {
    if (!usersOf.has(name)) return;
    if (source === undefined) fetchOne(name);
    else put(name, { kind: 'present', source });
  };
  /** Reads one object that is wanted since after the list; what the watch brings meanwhile is newer and counts. */
  const fetchOne = (name: string, told?: string): void => {
    if (!stale.has(name)) held.delete(name);
    const isStillWanted = (): boolean =>
      !stop.signal.aborted && usersOf.has(name) && (!held.has(name) || stale.has(name));
    const [namespace, own] = name.split('/', 2);
    const request = api
      .call({
        method: 'GET',
        path: `${sourcePath(kind, namespace)}/${encodeURIComponent(own ?? '')}`,
        signal: stop.signal,
      })
      .then(
        (raw) => {
          if (isStillWanted()) put(name, { kind: 'present', source: parseSource(kind, raw) });
        },
        (error: unknown) => {
          if (!isStillWanted()) return;
          if (error instanceof ApiError && error.code === 404) return putMissing(name);
          // Once for each answer: it may stay the same for days.
          const problem = String(error);
          if (problem !== told)
            log.warn({ kind, object: name, err: error }, 'an object that a container refers to could not be read');
          const timer = setTimeout(() => {
            timers.delete(timer);
            if (isStillWanted()) fetchOne(name, problem);
          }, retryMs);
          timers.add(timer);
        },
      )
      .finally(() => fetching.delete(request));
    fetching.add(request);
  };
  /** A kind that nothing refers to is not asked for: an older API server may not have it. */
  const begin = (): void => {
    const isWanted = kind !== 'Network' || usersOf.size > 0;
    if (!isStarted || !isWanted || listWatch !== undefined || stop.signal.aborted) return;
    listWatch = startListWatch<Taken>({
      access,
      path,
      kind: `${kind}List`,
      list: async (query, signal) => {
        if (query.continue === undefined) await deps.checkStore(signal);
        return await api.ask({ method: 'GET', path, query, signal });
      },
      parse,
      onReplace: (objects) => {
        isListed = true;
        const present = new Map(objects.map((one) => [one.name, one]));
        for (const name of [...usersOf.keys()]) {
          const object = present.get(name);
          if (object !== undefined) take(object);
          else if (held.get(name)?.kind === 'present') doubt(name);
          else putMissing(name);
        }
      },
      onChange: (change, object) => {
        if (change === 'applied') take(object);
        else if (usersOf.has(object.name)) putMissing(object.name);
      },
      onActivity: () => {},
      onReconnect: deps.onReconnect,
      now: deps.now,
      random: deps.random,
      log,
    });
  };
  return {
    get: (name) => held.get(name) ?? { kind: 'unknown' },
    refer: (key, names) => {
      for (const name of refsOf.get(key) ?? []) {
        if (names.has(name)) continue;
        const users = usersOf.get(name);
        users?.delete(key);
        if (users?.size !== 0) continue;
        usersOf.delete(name);
        stale.delete(name);
        if (held.delete(name)) deps.changed();
      }
      if (names.size === 0) refsOf.delete(key);
      else refsOf.set(key, names);
      for (const name of names) {
        const users = usersOf.get(name);
        usersOf.set(name, (users ?? new Set()).add(key));
        if (users !== undefined) continue;
        const known = deps.recall(`${kind} ${name}`);
        if (known !== undefined) {
          held.set(name, { kind: 'present', source: known });
          stale.add(name);
        }
        if (isListed) fetchOne(name);
      }
      begin();
    },
    *present() {
      for (const [name, lookup] of held) if (lookup.kind === 'present') yield [name, lookup.source];
    },
    verify: (key) => {
      for (const name of refsOf.get(key) ?? []) if (stale.has(name) && isListed) fetchOne(name);
    },
    start: () => {
      isStarted = true;
      begin();
    },
    close: async () => {
      stop.abort(new Error('the cache of what containers refer to was closed'));
      for (const timer of timers) clearTimeout(timer);
      await listWatch?.close();
      await Promise.allSettled([...fetching]);
    },
  };
}

function nameOf(raw: unknown): string | undefined {
  // Each member is looked at before use.
  const { name, namespace } =
    (raw as { metadata?: { name?: unknown; namespace?: unknown } | null } | null)?.metadata ?? {};
  return typeof name === 'string' && typeof namespace === 'string' ? `${namespace}/${name}` : undefined;
}

const internalKey = 'internal';

/** Of what is kept of a Network. */
export function isInternalNetwork({ data }: Pick<Source, 'data'>): boolean {
  return data.get(internalKey)?.toString() === 'true';
}

/** The data of a Secret (base64) or a ConfigMap (text, and binaryData in base64), and what counts of a Network. Values that are no strings are left out. Pure. */
export function parseSource(kind: SourceKind, raw: unknown): Source {
  const object = isRecord(raw) ? raw : {};
  if (kind === 'Network') {
    const isInternalNow = isRecord(object.spec) && object.spec.internal === true;
    return {
      type: undefined,
      data: new Map([[internalKey, Buffer.from(String(isInternalNow))]]),
      binaryKeys: new Set(),
    };
  }
  const entriesOf = (value: unknown, encoding: 'base64' | 'utf8'): (readonly [string, Buffer])[] =>
    Object.entries(isRecord(value) ? value : {}).flatMap(([key, text]) =>
      typeof text === 'string' ? [[key, Buffer.from(text, encoding)] as const] : [],
    );
  const binary = entriesOf(object.binaryData, 'base64');
  return {
    type: typeof object.type === 'string' ? object.type : undefined,
    data: new Map([...entriesOf(object.data, kind === 'Secret' ? 'base64' : 'utf8'), ...binary]),
    binaryKeys: new Set(binary.map(([key]) => key)),
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
