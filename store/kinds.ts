/**
 * Which kinds the store serves now: those it is built with, and those that CustomResourceDefinitions add while it runs.
 * Whoever keeps something that is made from the kinds asks `all` again: it is a new list after every change.
 */
import { compareText } from './json.ts';
import type { ResourceKind } from './resources.ts';

/** The kind of one CustomResourceDefinition. */
export interface CustomKinds {
  /** One for each version served. */
  readonly served: readonly ResourceKind[];
  /** The version that objects are stored as, served or not. */
  readonly stored: ResourceKind;
}

export class Kinds {
  readonly #fixed: readonly ResourceKind[];
  /** By the name of the CustomResourceDefinition. */
  readonly #custom = new Map<string, CustomKinds>();
  readonly #listeners = new Set<() => void>();
  #all: readonly ResourceKind[];
  #byPath: ReadonlyMap<string, ResourceKind>;

  constructor(fixed: readonly ResourceKind[]) {
    this.#fixed = fixed;
    this.#all = fixed;
    this.#byPath = indexByPath(fixed);
  }

  /** All that are served: in discovery's order, the preferred version of a group before its others. */
  get all(): readonly ResourceKind[] {
    return this.#all;
  }

  /** Those that have objects of their own, each once, in the version that they are stored as. */
  get stored(): readonly ResourceKind[] {
    const own = this.#fixed.filter(
      ({ projection, conversion, isReview }) =>
        projection === undefined && conversion === undefined && isReview !== true,
    );
    return [...own, ...[...this.#custom.values()].map(({ stored }) => stored)];
  }

  /** The kinds that the store is built with. */
  get fixed(): readonly ResourceKind[] {
    return this.#fixed;
  }

  at({ group, version, plural }: Pick<ResourceKind, 'group' | 'version' | 'plural'>): ResourceKind | undefined {
    return this.#byPath.get(pathKey({ group, version, plural }));
  }

  /** What a CustomResourceDefinition adds; undefined: nothing yet. */
  custom(name: string): CustomKinds | undefined {
    return this.#custom.get(name);
  }

  /** Serves these versions for a CustomResourceDefinition from now on, and none that it had before. */
  setCustom(name: string, kinds: CustomKinds | undefined): void {
    if (kinds === undefined) this.#custom.delete(name);
    else this.#custom.set(name, kinds);
    const custom = [...this.#custom.values()].flatMap(({ served }) => served);
    this.#all = [...this.#fixed, ...custom.toSorted(compareKinds)];
    this.#byPath = indexByPath(this.#all);
    for (const listener of this.#listeners) listener();
  }

  /** Calls back after every change; returns how to stop. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function indexByPath(kinds: readonly ResourceKind[]): ReadonlyMap<string, ResourceKind> {
  return new Map(kinds.map((kind) => [pathKey(kind), kind]));
}

function pathKey({ group, version, plural }: Pick<ResourceKind, 'group' | 'version' | 'plural'>): string {
  return `${group}/${version}/${plural}`;
}

function compareKinds(a: ResourceKind, b: ResourceKind): number {
  return compareText(a.group, b.group) || compareVersions(a.version, b.version) || compareText(a.plural, b.plural);
}

const stages: Readonly<Record<string, number>> = { alpha: 0, beta: 1, '': 2 };

/**
 * The order in which Kubernetes prefers versions: v2, v1, v2beta1, v1beta2, v1alpha1, then all others by name.
 * Source: apimachinery/pkg/version CompareKubeAwareVersionStrings.
 */
export function compareVersions(a: string, b: string): number {
  const [first, second] = [parseVersion(a), parseVersion(b)];
  if (first === undefined || second === undefined) {
    if (first !== undefined) return -1;
    return second === undefined ? compareText(a, b) : 1;
  }
  return second.stage - first.stage || second.major - first.major || second.minor - first.minor;
}

function parseVersion(version: string): { stage: number; major: number; minor: number } | undefined {
  const found = /^v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?$/u.exec(version);
  if (found === null) return undefined;
  return { stage: stages[found[2] ?? ''] ?? 0, major: Number(found[1]), minor: Number(found[3] ?? 0) };
}
