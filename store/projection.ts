/**
 * Objects of one kind shown as objects of another, read-only: a view over the first kind's collection. Nothing is kept
 * twice; what is read is made when it is asked for, under the revisions of what it is made from.
 */
import type { Entry } from './entry-object.ts';
import type { Change, Collection } from './memory.ts';
import type { KubeObject, Lookup, Projection } from './resources.ts';

/** What readers of a collection need: those of stored kinds and of projections alike. */
export type CollectionView = Pick<Collection, 'get' | 'list' | 'changesSince' | 'subscribe'>;

export class ProjectedView implements CollectionView {
  readonly #source: Collection;
  readonly #project: (object: KubeObject) => KubeObject;
  readonly #listeners = new Set<(change: Change) => void>();
  #unsubscribe: (() => void) | undefined;

  constructor(source: Collection, { project }: Projection, lookup: Lookup) {
    this.#source = source;
    this.#project = (object) => project(object, lookup);
  }

  get(key: string): Entry | undefined {
    const entry = this.#source.get(key);
    return entry === undefined ? undefined : this.#projectEntry(entry);
  }

  *list(...position: Parameters<Collection['list']>): Iterable<Entry> {
    for (const entry of this.#source.list(...position)) yield this.#projectEntry(entry);
  }

  changesSince(revision: number): readonly Change[] {
    return this.#source.changesSince(revision).map((change) => this.#projectChange(change));
  }

  /** All listeners get the same change, so that it is made and encoded once. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    this.#unsubscribe ??= this.#source.subscribe((change) => {
      const projected = this.#projectChange(change);
      for (const each of this.#listeners) each(projected);
    });
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
    };
  }

  #projectEntry({ key, revision, object }: Entry): Entry {
    const projected = this.#project(object);
    return { key, revision, object: projected, json: JSON.stringify(projected) };
  }

  #projectChange({ revision, kind, entry, previous }: Change): Change {
    return {
      revision,
      kind,
      entry: this.#projectEntry(entry),
      previous: previous === undefined ? undefined : this.#projectEntry(previous),
      frames: new Map(),
    };
  }
}
