/**
 * Finds the owner that an object names, and tells whether it is there. Whoever is named by a kind that is not served, or
 * cannot be read, is not absent. Source of the rules on namespaces: kubernetes.io, Owners and Dependents.
 */
import { isInForeground, type OwnerState } from './garbage-rules.ts';
import { getString, type JsonObject } from './json.ts';
import type { Kinds } from './kinds.ts';
import { keyOf } from './memory.ts';
import { apiVersionOf, type KubeObject, type ResourceKind } from './resources.ts';
import type { Transaction, Writer } from './writer.ts';

export interface FoundOwner {
  readonly state: OwnerState;
  /** It is in another namespace than the object that names it, where it does not count. */
  readonly isElsewhere: boolean;
}

export interface OwnerFinderDeps {
  readonly writer: Writer;
  readonly kinds: Kinds;
}

/** Owners that were seen to go; beyond that the oldest is looked for again. */
const maxGone = 10_000;

/** Owners whose absence was looked into; each costs one walk over its kind. */
const maxRemembered = 1_000;

export class OwnerFinder {
  readonly #deps: OwnerFinderDeps;
  #kinds: readonly ResourceKind[] = [];
  #byName: ReadonlyMap<string, ResourceKind> = new Map();
  #byStorage: ReadonlyMap<string, ResourceKind> = new Map();
  readonly #elsewhere = new Map<string, boolean>();
  readonly #gone = new Set<string>();

  constructor(deps: OwnerFinderDeps) {
    this.#deps = deps;
  }

  /** An object was removed: nobody has its uid again, whatever becomes of its kind. */
  noteGone(uid: string): void {
    this.#gone.add(uid);
    const [oldest] = this.#gone;
    if (this.#gone.size > maxGone && oldest !== undefined) this.#gone.delete(oldest);
  }

  /** The kind whose objects are stored there. */
  storedKind(storageKey: string): ResourceKind | undefined {
    this.#learnKinds();
    return this.#byStorage.get(storageKey);
  }

  find(transaction: Transaction, object: KubeObject, reference: JsonObject): FoundOwner {
    this.#learnKinds();
    const [apiVersion, kindName, name, uid] = ['apiVersion', 'kind', 'name', 'uid'].map(
      (field) => getString(reference, field) ?? '',
    );
    if (uid !== undefined && this.#gone.has(uid)) return { state: 'absent', isElsewhere: false };
    const kind = this.#byName.get(`${apiVersion} ${kindName}`);
    if (kind === undefined || name === undefined || name === '') return { state: 'unknown', isElsewhere: false };
    const { namespace } = object.metadata;
    if (kind.isNamespaced && namespace === undefined) return { state: 'unknown', isElsewhere: true };
    const storage = kind.projection ?? kind;
    const where = kind.isNamespaced ? namespace : undefined;
    const owner = transaction.get(storage, where, name);
    if (owner !== undefined && owner.object.metadata.uid === uid) {
      return { state: isInForeground(owner.object) ? 'waiting' : 'present', isElsewhere: false };
    }
    if (owner === undefined && transaction.damageOf(storage, keyOf(where, name)) !== undefined) {
      return { state: 'unknown', isElsewhere: false };
    }
    return { state: 'absent', isElsewhere: kind.isNamespaced && this.#isElsewhere(storage, uid ?? '') };
  }

  #isElsewhere(storage: Pick<ResourceKind, 'storageKey'>, uid: string): boolean {
    const known = this.#elsewhere.get(uid);
    if (known !== undefined) return known;
    let found = false;
    for (const { object } of this.#deps.writer.collection(storage).list(undefined)) {
      found = object.metadata.uid === uid;
      if (found) break;
    }
    if (this.#elsewhere.size >= maxRemembered) this.#elsewhere.clear();
    this.#elsewhere.set(uid, found);
    return found;
  }

  #learnKinds(): void {
    const kinds = this.#deps.kinds.all;
    if (kinds === this.#kinds) return;
    this.#kinds = kinds;
    this.#byName = new Map(kinds.map((kind) => [`${apiVersionOf(kind)} ${kind.kind}`, kind]));
    this.#byStorage = new Map(this.#deps.kinds.stored.map((kind) => [kind.storageKey, kind]));
  }
}
