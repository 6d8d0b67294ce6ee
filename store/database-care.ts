/**
 * What looks after the database while the store runs: tells what is wrong with it, keeps it small, its Secrets under the
 * present key, and serves the commands of this host. Effects.
 */
import type { Logger } from 'pino';
import { namespaceKind } from './core-kinds.ts';
import type { DatabaseFile } from './database.ts';
import { cannotOpen } from './database-file.ts';
import type { Kinds } from './kinds.ts';
import { startMaintenance } from './maintenance.ts';
import { keyOf } from './memory.ts';
import type { StoreMetrics } from './metrics.ts';
import type { Operations } from './operations.ts';
import { startUpkeep } from './upkeep.ts';
import type { Writer } from './writer.ts';

export interface DatabaseCareDeps {
  readonly dataDir: string;
  readonly database: DatabaseFile;
  readonly writer: Writer;
  readonly kinds: Kinds;
  readonly operations: Operations;
  readonly metrics: Pick<StoreMetrics, 'backedUp'>;
  readonly now: () => number;
  readonly log: Logger;
}

/** The objects must be loaded. Throws DatabaseOpenError, or what the system throws when it cannot listen. */
export async function startDatabaseCare(deps: DatabaseCareDeps): Promise<{ close(): void }> {
  const { dataDir, database, writer, kinds, operations, metrics, now, log } = deps;
  reportDatabase(database, log);
  await announceRestoration(operations, database);
  const upkeep = startUpkeep(database, log);
  const stored = (storageKey: string): boolean => kinds.stored.some((kind) => kind.storageKey === storageKey);
  try {
    const maintenance = await startMaintenance({
      dataDir,
      database,
      served: {
        revision: () => writer.revision,
        entriesOf: () =>
          new Map(kinds.stored.map((kind) => [kind.storageKey, writer.collection(kind).list(undefined)])),
        entryOf: (storageKey, key) => writer.collection({ storageKey }).get(key),
        isServed: stored,
      },
      instance: () => writer.collection(namespaceKind).get(keyOf(undefined, 'kube-system'))?.object.metadata.uid,
      backedUp: metrics.backedUp,
      reseal: upkeep.reseal,
      now,
      log,
    });
    return {
      close: () => {
        maintenance.close();
        upkeep.close();
      },
    };
  } catch (error) {
    upkeep.close();
    throw error;
  }
}

function reportDatabase({ path, lostSince, keyProblem }: DatabaseFile, log: Logger): void {
  if (lostSince !== undefined) {
    log.error(
      { path, ...lostSince },
      'the database has gone back in time: an older file was put in its place, or the end of its log is lost; the store goes on with what there is, under higher revisions, and whoever watched must list anew. Look at holdfast held, and restore a backup if there is a newer one',
    );
  }
  if (keyProblem !== undefined) {
    log.error({ problem: keyProblem }, 'Secrets can neither be read nor be written; all else is served');
  }
}

/** By this annotation of kube-system a client knows that objects may be missing, or older than it has seen them. */
const restorationAnnotation = 'holdfast.dev/store-restored';

async function announceRestoration(
  operations: Operations,
  { path, restoration }: Pick<DatabaseFile, 'path' | 'restoration'>,
): Promise<void> {
  if (restoration === undefined) return;
  const place = { kind: namespaceKind, namespace: undefined, name: 'kube-system' };
  const value = { metadata: { annotations: { [restorationAnnotation]: restoration } } };
  try {
    await operations.patch(place, undefined, { kind: 'merge', value }, { isDryRun: false, checkUnknown: () => {} });
  } catch (error) {
    // Without the mark, hosts would take what the restored store lacks for deleted.
    throw cannotOpen(path, error);
  }
}
