/**
 * Who depends on whom: for every owner's uid the objects that name it. Kept up to date with each committed write, at a
 * cost that does not grow with what is stored. Holds nothing for objects that have no owner.
 */
import type { KubeObject } from './resources.ts';

/** An object's place: what it is kept under, and its key there. */
export type Ref = string;

export function refOf(storageKey: string, key: string): Ref {
  return `${storageKey} ${key}`;
}

export function parseRef(ref: Ref): {
  readonly storageKey: string;
  readonly namespace?: string;
  readonly name: string;
} {
  const space = ref.indexOf(' ');
  const slash = ref.indexOf('/', space);
  const namespace = ref.slice(space + 1, slash);
  return {
    storageKey: ref.slice(0, space),
    ...(namespace === '' ? {} : { namespace }),
    name: ref.slice(slash + 1),
  };
}

/** The uids of an object's owners. */
export function ownersOf(object: KubeObject | undefined): readonly string[] {
  const { ownerReferences } = object?.metadata ?? {};
  if (ownerReferences === undefined) return [];
  return ownerReferences.map(({ uid }) => uid).filter((uid) => typeof uid === 'string');
}

export class OwnerIndex {
  readonly #dependents = new Map<string, Set<Ref>>();

  /** Takes in that an object was written: what it was, and what it is. undefined: it was not there, or is not. */
  change(ref: Ref, before: KubeObject | undefined, after: KubeObject | undefined): void {
    const now = new Set(ownersOf(after));
    for (const uid of ownersOf(before)) if (!now.has(uid)) this.#drop(uid, ref);
    for (const uid of now) {
      const found = this.#dependents.get(uid);
      if (found === undefined) this.#dependents.set(uid, new Set([ref]));
      else found.add(ref);
    }
  }

  /** May still hold one that the present batch of writes has removed or changed: whoever acts looks at the object. */
  dependentsOf(uid: string): ReadonlySet<Ref> {
    return this.#dependents.get(uid) ?? none;
  }

  /** How many owners are named. */
  get size(): number {
    return this.#dependents.size;
  }

  #drop(uid: string, ref: Ref): void {
    const found = this.#dependents.get(uid);
    found?.delete(ref);
    if (found?.size === 0) this.#dependents.delete(uid);
  }
}

const none: ReadonlySet<Ref> = new Set();
