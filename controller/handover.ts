/**
 * Objects that take a container over from another, and those that hand theirs over (ownership.ts decides). The label of
 * the container is written first and in one piece, so a controller that is killed at any point finds one owner. Effects.
 */
import type { Container } from '../crds/index.ts';
import { containerIDOf, finalizer, parseRename } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import { type Desired, keyOf, labelKeys } from './desired.ts';
import { bareEntryKeyOf, type Entry, type ReconcileDeps, type View } from './entry.ts';
import { emptyHistory, type History } from './history.ts';
import { historyFromStatus } from './history-from-status.ts';
import { decideOwnership, type Holder, type Ownership } from './ownership.ts';
import { releaseObject, writeBack } from './write-back.ts';

/** How soon to look again at what waits for another key's worker; that one wakes it, so this is for a lost wake only. */
const handOverCheckMs = 1_000;

function holderOf({ labels }: ContainerInfo): Holder {
  return {
    uid: labels[labelKeys.uid] ?? '',
    namespace: labels[labelKeys.namespace] ?? '',
    name: labels[labelKeys.name] ?? '',
  };
}

export function observeOwnership(
  { object, containerID }: { readonly object: Container; readonly containerID: string },
  container: ContainerInfo | undefined,
  { view }: Pick<ReconcileDeps, 'view'>,
): Ownership {
  const rivals = view.sharersOf(containerID).filter(({ metadata }) => metadata.uid !== object.metadata.uid);
  const holder = container === undefined ? undefined : holderOf(container);
  return decideOwnership({ object, containerID, rivals, holder });
}

/** Makes the container this object's, as it runs. */
export async function adopt(
  { object, container }: { readonly object: Container; readonly container: ContainerInfo },
  { runtime, view, events, log }: ReconcileDeps,
): Promise<void> {
  const { uid, namespace, name } = object.metadata;
  const { id } = container;
  const from = holderOf(container);
  const [key, formerKey] = [keyOf(object), `${from.namespace}/${from.name}`];
  const labels = { [labelKeys.uid]: uid, [labelKeys.namespace]: namespace, [labelKeys.name]: name };
  await runtime.containers.update(id, { name: key, labels: { ...container.labels, ...labels } });
  view.release(formerKey, id);
  view.claim(key, id);
  log.info({ container: name, namespace, containerID: id, from: from.name }, 'container renamed');
  events.record(object, 'Normal', 'Renamed', `took over the container of "${from.name}" as it is`);
  for (const sharer of view.sharersOf(id)) if (keyOf(sharer) !== key) view.wake(keyOf(sharer));
  view.stateChanged(formerKey);
  view.stateChanged(key);
}

/** What was remembered under the former name, while the object's own status does not have it yet. */
export function historyBefore(object: Container, view: View): History | undefined {
  const rename = parseRename(object);
  if (rename.kind !== 'from') return undefined;
  const id = containerIDOf(object);
  if (object.status?.containerID === id) return undefined;
  const former = view.sharersOf(id).find(({ metadata }) => metadata.uid === rename.uid);
  return former === undefined ? undefined : historyFromStatus(former.status);
}

/**
 * What to do about a container that was known under a key and is not that of its object: it may have been renamed
 * (not-ours), or be about to be (inherited); or it is not known yet that nobody wants it (kept).
 */
export async function decideStray(
  key: string,
  id: string,
  deps: ReconcileDeps,
): Promise<'orphan' | 'not-ours' | 'inherited' | 'kept'> {
  const { runtime, view, custody } = deps;
  const container = await runtime.containers.inspect(id);
  if (container === undefined) return 'orphan';
  const { namespace, name, uid } = holderOf(container);
  const holderKey = `${namespace}/${name}`;
  if (holderKey !== key) {
    view.release(key, id);
    view.claim(holderKey, id);
    return 'not-ours';
  }
  const heir = view
    .sharersOf(id)
    .find((one) => observeOwnership({ object: one, containerID: id }, container, deps).kind === 'adopt');
  if (heir === undefined) return custody.isKept(uid) ? 'kept' : 'orphan';
  view.wake(keyOf(heir));
  return 'inherited';
}

interface BareWork {
  readonly object: Container;
  readonly desired: Desired;
  readonly ownership: Exclude<Ownership, { kind: 'own' | 'adopt' }>;
}

/** Brings on an object that has no container of its own. Returns when to look again. */
export async function reconcileBare(
  { object, desired, ownership }: BareWork,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<{ readonly againInMs: number | undefined; readonly failure: unknown }> {
  const entry = bareEntryOf(object, deps.entries);
  switch (ownership.kind) {
    case 'hand-over':
      deps.view.wake(keyOf(ownership.to));
      return { againInMs: handOverCheckMs, failure: undefined };
    case 'let-go': {
      if (object.metadata.finalizers?.includes(finalizer) !== true) return { againInMs: undefined, failure: undefined };
      const result = await releaseObject(object, entry, deps, signal);
      if (result.kind === 'done') {
        deps.entries.delete(bareEntryKeyOf(object));
        deps.view.release(keyOf(object), containerIDOf(object));
        deps.metrics.forget(keyOf(object));
      }
      return { againInMs: undefined, failure: result.kind === 'failed' ? result.failure : undefined };
    }
    case 'wait': {
      const { reason, message } = ownership;
      if (entry.told !== message) {
        entry.told = message;
        deps.events.record(object, reason === 'RenameConflict' ? 'Warning' : 'Normal', reason, message);
      }
      const result = await writeBack(
        { object, desired, container: undefined, entry, step: ownership, image: { kind: 'unknown' }, isBare: true },
        deps,
        signal,
      );
      return { againInMs: undefined, failure: result.kind === 'failed' ? result.failure : undefined };
    }
    default:
      throw new TypeError(`unknown ownership: ${JSON.stringify(ownership satisfies never)}`);
  }
}

function bareEntryOf(object: Container, entries: Map<string, Entry>): Entry {
  const known = entries.get(bareEntryKeyOf(object));
  if (known !== undefined) return known;
  const made: Entry = { key: keyOf(object), history: emptyHistory };
  entries.set(bareEntryKeyOf(object), made);
  return made;
}
