/**
 * The store of `holdfast up`. If its database cannot be opened and there is a checkpoint to go by, the daemon starts without
 * it: containers are healed as they were last asked for, nothing is deleted, and the database is tried again until it is
 * mended or restored. Effects.
 */
import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { type ApiAccess, tokenAccess } from '../client/index.ts';
import { createStore, DatabaseOpenError, databasePathOf, type Store, type StoreDeps } from '../store/index.ts';

export interface EmbeddedStore {
  /** undefined while it cannot be opened. */
  readonly store: Store | undefined;
  /** As the administrator. */
  readonly access: ApiAccess;
  /** As the controller of this host, which may touch only what it must. */
  readonly hostAccess: ApiAccess;
  /** Why it does not serve, for people; undefined when it does. */
  problem(): string | undefined;
  close(): Promise<void>;
}

export interface EmbeddedStoreDeps extends StoreDeps {
  /** Whether there is something to go by without it. */
  readonly hasCheckpoint: () => Promise<boolean>;
  readonly log: Logger;
  readonly retryMs?: number | undefined;
  /** So long its file has stayed as it is before it is tried again. */
  readonly settleMs?: number | undefined;
}

/** The embedded store is asked while its database cannot be opened. */
export class StoreNotOpenError extends Error {
  override readonly name = 'StoreNotOpenError';
}

const retryMs = 5_000;
const settleMs = 1_000;

/** Throws what createStore throws, but for a database that can be done without. */
export async function openEmbeddedStore(deps: EmbeddedStoreDeps): Promise<EmbeddedStore> {
  let open: { store: Store; admin: RenewedAccess; host: RenewedAccess } | undefined;
  let problem: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let trying: Promise<void> = Promise.resolve();
  let isClosed = false;
  const tryOnce = async (): Promise<void> => {
    const store = await createStore(deps);
    open = {
      store,
      admin: renewedAccess(store, store.adminToken),
      host: renewedAccess(store, store.hostToken ?? store.adminToken),
    };
    problem = undefined;
  };
  const file = databasePathOf(deps.dataDir);
  let seen = '';
  /** What is still being written is not opened: the beginning of a copy, a file without a byte, would be a new database. */
  const tryOnceItStays = async (): Promise<void> => {
    const now = await observeFile(file);
    if (now === seen) {
      await tryOnce();
      deps.log.info('the store could be opened; containers follow it again');
    } else {
      seen = now;
      tryLater(deps.settleMs ?? settleMs);
    }
  };
  const tryLater = (delayMs = deps.retryMs ?? retryMs): void => {
    if (isClosed) return;
    timer = setTimeout(() => {
      trying = tryOnceItStays().catch(async (error: unknown) => {
        const now = error instanceof Error ? error.message : String(error);
        if (now !== problem) deps.log.error({ err: error }, 'the store still cannot be opened');
        problem = now;
        seen = await observeFile(file);
        tryLater();
      });
    }, delayMs);
  };
  try {
    await tryOnce();
  } catch (error) {
    if (!(error instanceof DatabaseOpenError) || !(await deps.hasCheckpoint())) throw error;
    problem = error.message;
    deps.log.error(
      { err: error },
      'the store cannot be opened; containers are kept by the checkpoint, none is deleted, and the store is tried again until it can be',
    );
    seen = await observeFile(file);
    tryLater();
  }
  const accessTo = (who: 'admin' | 'host'): ApiAccess => ({
    // Nobody listens at port 0; a request fails before it is sent, below.
    getCurrentCluster: () =>
      open?.[who].access().getCurrentCluster() ?? {
        name: 'embedded',
        server: 'https://127.0.0.1:0',
        skipTLSVerify: false,
      },
    applySecurityAuthentication: async (context) => {
      if (open === undefined) throw new StoreNotOpenError(problem ?? 'the store is not open yet');
      await open[who].access().applySecurityAuthentication(context);
    },
  });
  return {
    get store() {
      return open?.store;
    },
    access: accessTo('admin'),
    hostAccess: accessTo('host'),
    problem: () => {
      if (open === undefined) return problem ?? 'not open yet';
      const health = open.store.healthy();
      return health.isHealthy ? undefined : health.problem;
    },
    close: async () => {
      isClosed = true;
      clearTimeout(timer);
      await trying;
      await open?.admin.close();
      await open?.host.close();
      await open?.store.close();
    },
  };
}

/** Something that is another as soon as the file is replaced or written to. */
async function observeFile(path: string): Promise<string> {
  const facts = await stat(path, { bigint: true }).catch((error: Error) => error);
  return facts instanceof Error ? facts.message : `${facts.ino} ${facts.size} ${facts.mtimeNs}`;
}

interface RenewedAccess {
  readonly access: () => ApiAccess;
  close(): Promise<void>;
}

/** Follows the store's certificate authorities, which change while it runs. */
function renewedAccess(store: Store, token: string): RenewedAccess {
  const make = (ca: string) => ({ ca, access: tokenAccess({ server: store.url, ca, token }) });
  let present = make(store.caCertificate);
  const former: { close(): Promise<void> }[] = [];
  return {
    access: () => {
      if (present.ca !== store.caCertificate) {
        former.push(present.access); // what is under way goes on
        present = make(store.caCertificate);
      }
      return present.access;
    },
    close: async () => {
      for (const one of [...former, present.access]) await one.close();
    },
  };
}
