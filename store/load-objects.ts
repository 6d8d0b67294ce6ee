/** Reads the stored objects into memory. One that is damaged costs itself: whoever asks for it is told so. Effects only. */
import type { Logger } from 'pino';
import type { Database, StoredObject } from './database.ts';
import type { ResourceKind } from './resources.ts';
import { DamagedError, parseEntry } from './stored-entry.ts';
import type { Writer } from './writer.ts';

export interface LoadDeps {
  readonly database: Database;
  readonly writer: Writer;
  readonly log: Logger;
}

/** Loads the objects of these kinds. Objects of no kind given stay on disk, untouched; `others` counts them, by kind. */
export function loadObjects(
  kinds: readonly ResourceKind[],
  { database, writer, log }: LoadDeps,
): { readonly others: Map<string, number> } {
  const byStorage = new Map(kinds.map((kind) => [kind.storageKey, kind]));
  const others = new Map<string, number>();
  const only = kinds.length === 1 ? kinds[0]?.storageKey : undefined;
  for (const stored of database.loadObjects(only)) {
    const { storageKey } = stored;
    const kind = byStorage.get(storageKey);
    if (kind === undefined) others.set(storageKey, (others.get(storageKey) ?? 0) + 1);
    else loadObject(kind, stored, { writer, log });
  }
  return { others };
}

function loadObject(kind: ResourceKind, stored: StoredObject, { writer, log }: Omit<LoadDeps, 'database'>): void {
  const { key } = stored;
  const collection = writer.collection(kind);
  try {
    if (stored.json === undefined) throw new DamagedError(stored.problem);
    collection.load(parseEntry(kind, key, stored.json));
  } catch (error) {
    // What of it a parser quotes may be a secret.
    const problem =
      error instanceof DamagedError
        ? error.message
        : error instanceof SyntaxError
          ? 'it is not JSON'
          : 'it does not have the shape of its kind';
    collection.loadDamaged(key, problem);
    log.error(
      { resource: kind.storageKey, object: key, problem },
      'a stored object is damaged and is not served; create it anew from its document (kubectl create -f FILE), or restore a backup of the store',
    );
  }
}
