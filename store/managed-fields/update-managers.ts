/**
 * What a write does to the entries of all managers: fields move to who changed them, and those that are gone are nobody's.
 * Pure. Source: structured-merge-diff merge.Updater, and apimachinery's capManagersManager.
 */
import { compareText } from '../json.ts';
import type { Changes } from './compare.ts';
import { identityOf, type ManagedEntry, type ManagerIdentity, secondsOf } from './entries.ts';
import { difference, type FieldSet, isEmpty, nothing, union, unionAll } from './field-set.ts';

/** Entries of updates kept apart; the oldest beyond are put together under one name. Those of appliers do not count. */
const maxUpdateManagers = 10;

const ancientChanges = 'ancient-changes';

/** The entries less these fields; those that nothing is left of are dropped. */
export function takeFrom(entries: readonly ManagedEntry[], fields: FieldSet): readonly ManagedEntry[] {
  if (isEmpty(fields)) return entries;
  return entries.flatMap((entry) => {
    const left = difference(entry.fields, fields);
    if (left === entry.fields) return [entry];
    return isEmpty(left) ? [] : [withFields(entry, left)];
  });
}

export function withFields({ json: _json, ...entry }: ManagedEntry, fields: FieldSet): ManagedEntry {
  return { ...entry, fields };
}

/** `unowned`: fields that nobody is noted for. */
export interface UpdateInput {
  readonly entries: readonly ManagedEntry[];
  readonly changes: Changes;
  readonly writer: ManagerIdentity;
  readonly unowned: FieldSet;
  readonly time: string;
}

/** The entries after an update by `writer`. */
export function updateEntries({ entries, changes, writer, unowned, time }: UpdateInput): readonly ManagedEntry[] {
  const { added, modified, removed } = changes;
  const changed = union(added, modified);
  const left = takeFrom(entries, union(changed, removed));
  const gained = difference(changed, unowned);
  if (isEmpty(gained)) return left;
  const identity = identityOf(writer);
  const before = left.find((entry) => identityOf(entry) === identity)?.fields ?? nothing;
  const others = left.filter((entry) => identityOf(entry) !== identity);
  return capUpdates([...others, { ...writer, time, fields: union(before, gained) }]);
}

function capUpdates(entries: readonly ManagedEntry[]): readonly ManagedEntry[] {
  const updates = entries.filter(({ operation }) => operation === 'Update');
  if (updates.length <= maxUpdateManagers) return entries;
  const oldestFirst = updates.toSorted(
    (a, b) => secondsOf(a) - secondsOf(b) || compareText(identityOf(a), identityOf(b)),
  );
  const kept = new Map(entries.map((entry) => [identityOf(entry), entry]));
  const firstOfVersion = new Map<string, ManagedEntry>();
  const ancient = new Map<string, { readonly bucket: ManagedEntry; readonly sets: FieldSet[] }>();
  let count = updates.length;
  for (const entry of oldestFirst) {
    if (count <= maxUpdateManagers) break;
    const { apiVersion, time, fields } = entry;
    const first = firstOfVersion.get(apiVersion);
    if (first === undefined) firstOfVersion.set(apiVersion, entry);
    if (first === undefined || !kept.has(identityOf(entry))) continue;
    const bucket: ManagedEntry = {
      manager: ancientChanges,
      operation: 'Update',
      apiVersion,
      subresource: '',
      time,
      fields,
    };
    const present = kept.get(identityOf(bucket)) ?? first;
    const sets = ancient.get(apiVersion)?.sets ?? [present.fields];
    if (sets.length === 1) kept.delete(identityOf(present));
    kept.delete(identityOf(entry));
    sets.push(fields);
    ancient.set(apiVersion, { bucket, sets });
    count--;
  }
  const merged = [...ancient.values()].map(({ bucket, sets }) => withFields(bucket, unionAll(sets)));
  return [...kept.values(), ...merged];
}
