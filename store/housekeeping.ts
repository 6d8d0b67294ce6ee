/**
 * What the store does by itself: it empties namespaces that are being removed, and removes objects whose time is over.
 * Effects. Works in small writes, so that clients are not held up; a write that fails is tried again.
 */
import type { Logger } from 'pino';
import { lastSeenOf, namespaceFinalizer } from './core-kinds.ts';
import type { Entry } from './entry-object.ts';
import type { Kinds } from './kinds.ts';
import { deleteObject, finishNamespace } from './object-rules.ts';
import { store } from './operations.ts';
import type { ResourceKind } from './resources.ts';
import { Stepwise } from './stepwise.ts';
import type { Transaction, Writer } from './writer.ts';

export interface HousekeepingDeps {
  readonly writer: Writer;
  readonly kinds: Kinds;
  readonly namespaces: ResourceKind;
  readonly now: () => number;
  readonly log: Logger;
}

/** Objects that one write touches at most. */
const maxPerWrite = 250;

const expiryIntervalMs = 60_000;

/** Starts it; what is returned stops it. */
export function startHousekeeping(deps: HousekeepingDeps): { close(): void } {
  const cleaner = new NamespaceCleaner(deps);
  const timer = setInterval(() => removeExpired(deps), expiryIntervalMs);
  timer.unref();
  return {
    close: () => {
      clearInterval(timer);
      cleaner.close();
    },
  };
}

class NamespaceCleaner {
  readonly #deps: HousekeepingDeps;
  readonly #terminating = new Set<string>();
  readonly #emptying: Stepwise;
  readonly #unsubscribe: () => void;

  constructor(deps: HousekeepingDeps) {
    this.#deps = deps;
    this.#emptying = new Stepwise({
      writer: deps.writer,
      step: (transaction, name) => this.#empty(transaction, name),
      failed: (error, name) =>
        deps.log.warn({ err: error, namespace: name }, 'namespace could not be emptied; trying again'),
    });
    for (const { object } of deps.writer.collection(deps.namespaces).list(undefined)) {
      if (object.metadata.deletionTimestamp !== undefined) this.#begin(object.metadata.name);
    }
    this.#unsubscribe = deps.writer.subscribe((storageKey, change) => {
      const { metadata } = change.entry.object;
      if (storageKey === deps.namespaces.storageKey) {
        if (change.kind === 'DELETED') this.#terminating.delete(metadata.name);
        else if (metadata.deletionTimestamp !== undefined) this.#begin(metadata.name);
      } else if (change.kind === 'DELETED' && this.#terminating.has(metadata.namespace ?? '')) {
        this.#emptying.begin(metadata.namespace ?? '');
      }
    });
  }

  close(): void {
    this.#unsubscribe();
    this.#emptying.close();
  }

  #begin(name: string): void {
    this.#terminating.add(name);
    this.#emptying.begin(name);
  }

  /** One step; true: there is more to do at once. Objects held by finalizers come back here when they are gone. */
  #empty(transaction: Transaction, name: string): boolean {
    const { kinds, namespaces, now } = this.#deps;
    const namespace = transaction.get(namespaces, undefined, name);
    if (namespace === undefined) return false;
    const held = kinds.stored
      .filter(({ isNamespaced }) => isNamespaced)
      .flatMap((kind) => contentsOf(transaction, kind, name));
    const unasked = held.filter(({ entry }) => entry.object.metadata.deletionTimestamp === undefined);
    const nothing = { uid: undefined, resourceVersion: undefined };
    const steps = unasked.slice(0, maxPerWrite);
    const removed = steps.filter(
      ({ kind, entry }) => store(transaction, kind, entry, deleteObject(kind, entry, nothing, now())).isRemoved,
    );
    if (unasked.length > steps.length) return true;
    if (held.length === removed.length) {
      store(transaction, namespaces, namespace, finishNamespace(namespace.object, namespaceFinalizer));
    }
    return false;
  }
}

function contentsOf(transaction: Transaction, kind: ResourceKind, namespace: string) {
  return transaction.list(kind, namespace).map((entry) => ({ kind, entry }));
}

function removeExpired({ writer, kinds, now, log }: HousekeepingDeps): void {
  for (const kind of kinds.stored) {
    const { ttlMs } = kind;
    if (ttlMs === undefined) continue;
    const isExpired = ({ object }: Entry): boolean => {
      const seenMs = Date.parse(lastSeenOf(object) ?? '');
      return now() - (Number.isNaN(seenMs) ? Date.parse(object.metadata.creationTimestamp) : seenMs) > ttlMs;
    };
    const expired = [...writer.collection(kind).list(undefined)].filter(isExpired).slice(0, 4 * maxPerWrite);
    if (expired.length === 0) continue;
    const remove = (transaction: Transaction): void => {
      for (const { object } of expired) {
        const entry = transaction.get(kind, object.metadata.namespace, object.metadata.name);
        if (entry !== undefined && isExpired(entry)) transaction.remove(kind, entry);
      }
    };
    writer.write(remove).catch((error: unknown) => {
      log.warn({ err: error, resource: kind.plural }, 'expired objects could not be removed; trying again');
    });
  }
}
