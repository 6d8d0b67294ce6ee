/** The controller's picture of the objects and of which containers carry which key. In memory; `wake` is its only effect. */
import type { Container } from '../crds/index.ts';
import { containerIDOf } from '../crds/index.ts';
import { keyOf } from './desired.ts';
import type { View } from './entry.ts';

export interface FullView extends View {
  /** Takes a whole list; returns the keys that are or were in it. */
  replace(objects: readonly Container[]): string[];
  put(object: Container): void;
  remove(object: Container): void;
  keys(): string[];
  keyOfContainer(id: string): string | undefined;
}

/** The objects by key, who depends on whom, and which containers carry which key. `wake` gets the keys of dependents. */
export function createView(wake: (key: string) => void): FullView {
  const objects = new Map<string, Container>();
  const dependents = new Map<string, Set<string>>();
  const containers = new Map<string, Set<string>>();
  const keyOfContainer = new Map<string, string>();
  /** Keys of the objects that mean a container, by its id. */
  const sharers = new Map<string, Set<string>>();

  const edgesOf = (object: Container): string[] =>
    [...(object.spec.links ?? []), ...(object.spec.dependsOn ?? [])].map(
      ({ name }) => `${object.metadata.namespace}/${name}`,
    );
  const unlink = (key: string): void => {
    const old = objects.get(key);
    if (old !== undefined) {
      const id = containerIDOf(old);
      if (sharers.get(id)?.delete(key) && sharers.get(id)?.size === 0) sharers.delete(id);
    }
    if (old !== undefined)
      for (const edge of edgesOf(old))
        if (dependents.get(edge)?.delete(key) && dependents.get(edge)?.size === 0) dependents.delete(edge);
  };
  const put = (object: Container): void => {
    const key = keyOf(object);
    const old = objects.get(key);
    unlink(key);
    objects.set(key, object);
    const id = containerIDOf(object);
    sharers.set(id, (sharers.get(id) ?? new Set()).add(key));
    wakeSharers(key, id);
    for (const edge of edgesOf(object)) dependents.set(edge, (dependents.get(edge) ?? new Set()).add(key));
    // Its ports and environment reach those that link to it, and its own dependencies may open or close a circle far away.
    if (old?.metadata.generation !== object.metadata.generation) wakeAllAbove(key);
  };
  /** A container changes hands by what becomes of all who mean it. */
  const wakeSharers = (key: string, id: string): void => {
    for (const other of sharers.get(id) ?? []) if (other !== key) wake(other);
  };
  const wakeAllAbove = (key: string): void => {
    const seen = new Set([key]);
    for (const one of seen) {
      for (const dependent of dependents.get(one) ?? []) {
        if (seen.has(dependent)) continue;
        seen.add(dependent);
        wake(dependent);
      }
    }
  };
  const remove = (key: string): void => {
    const old = objects.get(key);
    unlink(key);
    objects.delete(key);
    if (old !== undefined) wakeSharers(key, containerIDOf(old));
    stateChanged(key);
  };
  const stateChanged = (key: string): void => {
    for (const dependent of dependents.get(key) ?? []) wake(dependent);
  };

  return {
    object: (key) => objects.get(key),
    sharersOf: (id) => [...(sharers.get(id) ?? [])].flatMap((key) => objects.get(key) ?? []),
    dependentsOf: (key) => [...(dependents.get(key) ?? [])],
    wake,
    containersOf: (key) => [...(containers.get(key) ?? [])],
    claim: (key, id) => {
      containers.set(key, (containers.get(key) ?? new Set()).add(id));
      keyOfContainer.set(id, key);
    },
    release: (key, id) => {
      // Under another key it may have an owner by now.
      if (keyOfContainer.get(id) === key) keyOfContainer.delete(id);
      if (containers.get(key)?.delete(id) && containers.get(key)?.size === 0) containers.delete(key);
    },
    stateChanged,
    replace: (list) => {
      const before = new Set(objects.keys());
      const after = new Set(list.map(keyOf));
      for (const key of before) if (!after.has(key)) remove(key);
      for (const object of list) put(object);
      return [...new Set([...before, ...after])];
    },
    put,
    remove: (object) => {
      // A late DELETED of an earlier object must not hide the present one.
      const key = keyOf(object);
      if (objects.get(key)?.metadata.uid === object.metadata.uid) remove(key);
    },
    keys: () => [...objects.keys()],
    keyOfContainer: (id) => keyOfContainer.get(id),
  };
}
