/** The controller's picture of the objects and of which containers carry which key. In memory; `wake` is its only effect. */
import type { Container } from '../crds/index.ts';
import { containerIDOf } from '../crds/index.ts';
import { keyOf } from './desired.ts';
import type { View } from './entry.ts';
import { Multimap } from './multimap.ts';

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
  /** With the id of the container that each means, which takes a digest to find out. */
  const objects = new Map<string, { readonly object: Container; readonly id: string }>();
  const dependents = new Multimap();
  const containers = new Multimap();
  const keyOfContainer = new Map<string, string>();
  /** Keys of the objects that mean a container, by its id. */
  const sharers = new Multimap();

  const edgesOf = (object: Container): string[] =>
    [...(object.spec.links ?? []), ...(object.spec.dependsOn ?? [])].map(
      ({ name }) => `${object.metadata.namespace}/${name}`,
    );
  const unlink = (key: string): void => {
    const old = objects.get(key);
    if (old === undefined) return;
    sharers.delete(old.id, key);
    for (const edge of edgesOf(old.object)) dependents.delete(edge, key);
  };
  const put = (object: Container): void => {
    const key = keyOf(object);
    const old = objects.get(key);
    unlink(key);
    const id = containerIDOf(object);
    objects.set(key, { object, id });
    sharers.add(id, key);
    wakeSharers(key, id);
    for (const edge of edgesOf(object)) dependents.add(edge, key);
    // Its ports and environment reach those that link to it, and its own dependencies may open or close a circle far away.
    if (old?.object.metadata.generation !== object.metadata.generation) wakeAllAbove(key);
  };
  /** A container changes hands by what becomes of all who mean it. */
  const wakeSharers = (key: string, id: string): void => {
    for (const other of sharers.of(id)) if (other !== key) wake(other);
  };
  const wakeAllAbove = (key: string): void => {
    const seen = new Set([key]);
    for (const one of seen) {
      for (const dependent of dependents.of(one)) {
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
    if (old !== undefined) wakeSharers(key, old.id);
    stateChanged(key);
  };
  const stateChanged = (key: string): void => {
    for (const dependent of dependents.of(key)) wake(dependent);
  };

  return {
    object: (key) => objects.get(key)?.object,
    containerIDOf: (key) => objects.get(key)?.id,
    sharersOf: (id) => sharers.of(id).flatMap((key) => objects.get(key)?.object ?? []),
    dependentsOf: (key) => dependents.of(key),
    wake,
    containersOf: (key) => containers.of(key),
    claim: (key, id) => {
      containers.add(key, id);
      keyOfContainer.set(id, key);
    },
    release: (key, id) => {
      // Under another key it may have an owner by now.
      if (keyOfContainer.get(id) === key) keyOfContainer.delete(id);
      containers.delete(key, id);
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
      if (objects.get(key)?.object.metadata.uid === object.metadata.uid) remove(key);
    },
    keys: () => [...objects.keys()],
    keyOfContainer: (id) => keyOfContainer.get(id),
  };
}
