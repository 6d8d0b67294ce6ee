/**
 * Deletes what depends on owners that are gone, and carries out deletions in the foreground and those that orphan. Effects;
 * the rules are in garbage-rules.ts. Works in short writes, one after the other; what is under way is told by the objects
 * themselves, so that it goes on after a restart. It never deletes on doubt.
 */
import type { Logger } from 'pino';
import { foregroundFinalizer, orphanFinalizer } from './delete-options.ts';
import type { Entry } from './entry-object.ts';
import { ownerNamespaceEvent } from './garbage-events.ts';
import {
  blocksOwner,
  type DependentInput,
  decideDependent,
  forgetOwners,
  isHeldBy,
  isInForeground,
  isOwnedBy,
  unblockOwners,
} from './garbage-rules.ts';
import type { JsonObject } from './json.ts';
import type { Kinds } from './kinds.ts';
import type { Change } from './memory.ts';
import { deleteObject, dropFinalizer } from './object-rules.ts';
import { store } from './operations.ts';
import { OwnerFinder } from './owner-finder.ts';
import { OwnerIndex, ownersOf, parseRef, type Ref, refOf } from './owner-index.ts';
import type { ResourceKind } from './resources.ts';
import type { Transaction, Writer } from './writer.ts';

export interface GarbageDeps {
  readonly writer: Writer;
  readonly kinds: Kinds;
  readonly events: ResourceKind;
  readonly namespaces: ResourceKind;
  readonly now: () => number;
  readonly log: Logger;
}

/** One write takes so many objects at most, and so long: clients wait for it. */
const maxPerWrite = 100;
const maxWriteMs = 4;

/** After a write that failed, and for what was in doubt. Kubernetes looks again at unknown kinds this often. */
const retryMs = 5_000;
const doubtMs = 30_000;

const maxEventsRemembered = 1_000;

export class GarbageCollector {
  readonly #deps: GarbageDeps;
  readonly #index = new OwnerIndex();
  readonly #owners: OwnerFinder;
  /** To be looked at, in the order in which they came. */
  readonly #queue = new Set<Ref>();
  readonly #doubtful = new Set<Ref>();
  /** Owners that wait for their dependents, by uid. */
  readonly #waiting = new Map<string, Ref>();
  readonly #waitingRefs = new Set<Ref>();
  #loaded: ReadonlySet<string> = new Set();
  readonly #told = new Set<string>();
  readonly #unsubscribe: () => void;
  readonly #doubtTimer: NodeJS.Timeout;
  #retryTimer: NodeJS.Timeout | undefined;
  #isRunning = false;
  #isClosed = false;

  constructor(deps: GarbageDeps) {
    this.#deps = deps;
    this.#owners = new OwnerFinder(deps);
    this.#loadKinds();
    const unsubscribe = [
      deps.writer.subscribe((storageKey, change) => this.#noteChange(storageKey, change)),
      deps.kinds.subscribe(() => this.#loadKinds()),
    ];
    this.#unsubscribe = () => {
      for (const one of unsubscribe) one();
    };
    this.#doubtTimer = setInterval(() => {
      for (const ref of this.#doubtful) this.#queue.add(ref);
      this.#doubtful.clear();
      this.#run();
    }, doubtMs);
    this.#doubtTimer.unref();
    this.#run();
  }

  #loadKinds(): void {
    const stored = this.#deps.kinds.stored.map(({ storageKey }) => storageKey);
    for (const storageKey of stored) if (!this.#loaded.has(storageKey)) this.#load({ storageKey });
    this.#loaded = new Set(stored);
  }

  /** Takes in what is stored of a kind that is served from now on. */
  #load(kind: Pick<ResourceKind, 'storageKey'>): void {
    for (const { key, object } of this.#deps.writer.collection(kind).list(undefined)) {
      const { ownerReferences, deletionTimestamp } = object.metadata;
      if (ownerReferences === undefined && deletionTimestamp === undefined) continue;
      const ref = refOf(kind.storageKey, key);
      this.#index.change(ref, undefined, object);
      if (isInForeground(object)) this.#wait(object.metadata.uid, ref);
      this.#queue.add(ref);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    clearInterval(this.#doubtTimer);
    clearTimeout(this.#retryTimer);
  }

  #noteChange(storageKey: string, { kind, entry, previous }: Change): void {
    const before = previous?.object;
    const after = kind === 'DELETED' ? undefined : entry.object;
    const { uid } = entry.object.metadata;
    const hadOwners = before?.metadata.ownerReferences !== undefined;
    const hasOwners = after?.metadata.ownerReferences !== undefined;
    const isGoing = entry.object.metadata.deletionTimestamp !== undefined;
    if (!hadOwners && !hasOwners && !isGoing && after !== undefined) return;
    const ref = refOf(storageKey, entry.key);
    if (hadOwners || hasOwners) this.#index.change(ref, before, after);
    if (hasOwners) this.#queue.add(ref);
    for (const owner of ownersOf(before)) {
      const waiting = this.#waiting.get(owner);
      if (waiting !== undefined) this.#queue.add(waiting);
    }
    if (after === undefined) {
      this.#waitNoMore(uid);
      const dependents = this.#index.dependentsOf(uid);
      if (dependents.size > 0) this.#owners.noteGone(uid);
      this.#queueAll(dependents);
    } else if (isInForeground(after)) {
      if (!this.#waiting.has(uid)) this.#queueAll(this.#index.dependentsOf(uid));
      this.#wait(uid, ref);
      this.#queue.add(ref);
    } else {
      this.#waitNoMore(uid);
      if (isHeldBy(after, orphanFinalizer)) this.#queue.add(ref);
    }
    this.#run();
  }

  #wait(uid: string, ref: Ref): void {
    this.#waiting.set(uid, ref);
    this.#waitingRefs.add(ref);
  }

  #waitNoMore(uid: string): void {
    const ref = this.#waiting.get(uid);
    this.#waiting.delete(uid);
    if (ref !== undefined) this.#waitingRefs.delete(ref);
  }

  #queueAll(refs: Iterable<Ref>): void {
    for (const ref of refs) this.#queue.add(ref);
  }

  #run(): void {
    if (this.#isRunning || this.#isClosed || this.#queue.size === 0 || this.#retryTimer !== undefined) return;
    this.#isRunning = true;
    const taken: Ref[] = [];
    this.#deps.writer
      .write((transaction) => this.#slice(transaction, taken))
      .then(
        () => {
          this.#isRunning = false;
          this.#run();
        },
        (error: unknown) => {
          this.#isRunning = false;
          if (this.#isClosed) return;
          this.#queueAll(taken);
          this.#deps.log.warn({ err: error }, 'dependents could not be collected; trying again');
          this.#retryTimer = setTimeout(() => {
            this.#retryTimer = undefined;
            this.#run();
          }, retryMs);
          this.#retryTimer.unref();
        },
      );
  }

  #slice(transaction: Transaction, taken: Ref[]): void {
    const begun = performance.now();
    for (const ref of this.#queue) {
      if (taken.length >= maxPerWrite || performance.now() - begun > maxWriteMs) return;
      this.#queue.delete(ref);
      taken.push(ref);
      try {
        this.#look(transaction, ref);
      } catch (error) {
        this.#doubtful.add(ref);
        this.#deps.log.warn({ err: error, object: ref }, 'a dependent could not be collected; trying again later');
      }
    }
  }

  #look(transaction: Transaction, ref: Ref): void {
    const kind = this.#owners.storedKind(parseRef(ref).storageKey);
    const entry = entryAt(transaction, ref);
    if (kind === undefined || entry === undefined) return;
    const { object } = entry;
    if (isInForeground(object) && !this.#isBlocked(transaction, object.metadata.uid)) {
      store(transaction, kind, entry, dropFinalizer(object, foregroundFinalizer));
      return;
    }
    if (isHeldBy(object, orphanFinalizer)) return this.#orphan(transaction, ref, kind, entry);
    this.#collect(transaction, ref, kind, entry);
  }

  /** Whether somebody that is still there holds back the owner. */
  #isBlocked(transaction: Transaction, uid: string): boolean {
    for (const ref of this.#index.dependentsOf(uid)) {
      const dependent = entryAt(transaction, ref);
      if (dependent !== undefined && blocksOwner(dependent.object, uid)) return true;
    }
    return false;
  }

  /** Takes the owner from some of its dependents; from the last of them on, the owner is free. */
  #orphan(transaction: Transaction, owner: Ref, ownerKind: ResourceKind, entry: Entry): void {
    const { uid } = entry.object.metadata;
    let count = 0;
    for (const ref of this.#index.dependentsOf(uid)) {
      const dependent = entryAt(transaction, ref);
      const kind = this.#owners.storedKind(parseRef(ref).storageKey);
      if (dependent === undefined || kind === undefined || !isOwnedBy(dependent.object, uid)) continue;
      if (count++ >= maxPerWrite) {
        this.#queue.add(owner);
        return;
      }
      const object = forgetOwners(dependent.object, (reference) => reference.uid === uid);
      store(transaction, kind, dependent, { kind: 'store', object });
    }
    store(transaction, ownerKind, entry, dropFinalizer(entry.object, orphanFinalizer));
  }

  #collect(transaction: Transaction, ref: Ref, kind: ResourceKind, entry: Entry): void {
    const { object } = entry;
    const references = object.metadata.ownerReferences ?? [];
    const owners = references.map((reference) => {
      const found = this.#owners.find(transaction, object, reference);
      if (found.isElsewhere) this.#tellNamespace(transaction, entry, reference);
      return found.state;
    });
    const dependents = this.#dependentsIn(transaction, object.metadata.uid);
    const step = decideDependent({ object, owners, dependents });
    switch (step.kind) {
      case 'keep':
        return;
      case 'doubt':
        this.#doubtful.add(ref);
        return;
      case 'forget': {
        const next = forgetOwners(object, (reference) => step.owners.includes(reference));
        store(transaction, kind, entry, { kind: 'store', object: next });
        return;
      }
      case 'delete': {
        const from = step.unblock ? transaction.put(kind, unblockOwners(object)) : entry;
        const nothing = { uid: undefined, resourceVersion: undefined };
        store(transaction, kind, from, deleteObject(kind, from, nothing, this.#deps.now(), step.propagation));
        return;
      }
      default:
        throw new TypeError(`unknown step: ${JSON.stringify(step satisfies never)}`);
    }
  }

  #dependentsIn(transaction: Transaction, uid: string): DependentInput['dependents'] {
    const refs = this.#index.dependentsOf(uid);
    if (refs.size === 0) return 'none';
    for (const ref of refs.intersection(this.#waitingRefs)) {
      const dependent = entryAt(transaction, ref);
      if (dependent !== undefined && isInForeground(dependent.object)) return 'in the foreground';
    }
    return 'some';
  }

  #tellNamespace(transaction: Transaction, { object }: Entry, reference: JsonObject): void {
    const id = `${object.metadata.uid} ${String(reference.uid)}`;
    if (this.#told.has(id)) return;
    const { now, events, namespaces } = this.#deps;
    const event = ownerNamespaceEvent(object, reference, now());
    const namespace = transaction.get(namespaces, undefined, event.metadata.namespace ?? '');
    if (namespace === undefined || namespace.object.metadata.deletionTimestamp !== undefined) return;
    transaction.put(events, event);
    this.#told.add(id);
    if (this.#told.size > maxEventsRemembered) this.#told.clear();
  }
}

function entryAt(transaction: Transaction, ref: Ref): Entry | undefined {
  const { storageKey, namespace, name } = parseRef(ref);
  return transaction.get({ storageKey }, namespace, name);
}
