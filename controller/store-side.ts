/**
 * The controller's side towards the API server, and what stands in for it while it is away: list and watch, custody of what
 * the store has lost, the checkpoint, and the Secrets and ConfigMaps. Effects; wires these, and has no rule of its own.
 */
import type { Logger } from 'pino';
import type { ApiAccess } from '../client/index.ts';
import {
  type Backoff,
  backoffDelayMs,
  containersPath,
  type ListWatch,
  parseContainer,
  startListWatch,
} from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import type { ContainerApi } from './api.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { settleConfirmations, takeConfirmations } from './confirmations.ts';
import { type Change, type Custody, createCustody } from './custody.ts';
import type { History } from './history.ts';
import { referencesOf } from './references.ts';
import { openSourceMemory, type SourceMemory } from './source-memory.ts';
import { createSourceCache, type SourceCache } from './sources.ts';
import type { StoreLink } from './store-link.ts';
import type { StoreReport } from './store-report.ts';
import type { FullView } from './view.ts';

/** While something is held, the whole list is asked for again: after so long, then half as often each time, down to once a minute. */
const doubtBackoff: Backoff = { initialMs: 5_000, factor: 2, maxMs: 60_000, jitter: 0.2, resetAfterMs: 0 };

export interface StoreSideDeps {
  readonly access: ApiAccess;
  readonly api: ContainerApi;
  readonly view: FullView;
  readonly entries: ReadonlyMap<string, { readonly history: History }>;
  readonly link: StoreLink;
  readonly report: StoreReport;
  readonly metrics: { watchReconnected(reason: string): void; watchActive(atMs: number): void };
  /** Where the checkpoint is; undefined: none is kept. */
  readonly checkpointDir: string | undefined;
  /** How long the API server may take to answer before the checkpoint has to do. */
  readonly patienceMs: number;
  readonly changed: (key: string, by: Change) => void;
  /** Something that a container refers to has changed. */
  readonly wake: (key: string) => void;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Logger;
}

export interface StoreSide {
  readonly sources: SourceCache;
  readonly custody: Pick<Custody, 'isHeld' | 'isKept'>;
  readonly checkpoint: Pick<Checkpoint, 'historyOf' | 'noteWork'>;
  /** Whether the API server has told what there is, in the life of this controller. */
  readonly hasListed: boolean;
  /** Whether something is held: then not all that looks unwanted is. */
  readonly isHolding: boolean;
  /** Resolves when the objects are known: from the API server, or, if that does not answer, from the checkpoint. */
  begin(observeHost: () => Promise<readonly ContainerInfo[]>): Promise<void>;
  /** Lets go what somebody confirmed. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export function createStoreSide(deps: StoreSideDeps): StoreSide {
  const { access, api, view, entries, link, report, metrics, checkpointDir: dir, now, random, log } = deps;
  let open: { checkpoint: Checkpoint; memory: SourceMemory; custody: Custody } | undefined;
  let listWatch: ListWatch | undefined;
  let hasListed = false;
  let isClosed = false;
  let opening: Promise<void> = Promise.resolve();

  const sources = createSourceCache({
    access,
    api,
    checkStore: async (signal) => await open?.custody.checkStore(signal),
    recall: (name) => open?.memory.recall(name),
    changed: () => open?.memory.changed(),
    isHeldKey: (key) => open?.custody.isHeldKey(key) ?? false,
    wake: deps.wake,
    onReconnect: metrics.watchReconnected,
    now,
    random,
    log,
  });
  const changed = (key: string, by: Change): void => {
    const object = view.object(key);
    sources.refer(key, object === undefined ? [] : referencesOf(object.spec));
    deps.changed(key, by);
  };

  /** An API server that answered once with less than it has tells of what was missing only when asked: nothing changed. */
  let doubtTimer: NodeJS.Timeout | undefined;
  let doubts = 0;
  const doubtList = (isHolding: boolean): void => {
    clearTimeout(doubtTimer);
    if (!isHolding) doubts = 0;
    if (!isHolding || isClosed) return;
    doubts += 1;
    doubtTimer = setTimeout(
      () => {
        listWatch?.relist();
        doubtList(true);
      },
      backoffDelayMs(doubtBackoff, doubts, random()),
    );
  };

  const openAll = async (): Promise<void> => {
    const { written } = report;
    const checkpoint = await openCheckpoint({ dir, entries, onWritten: written, log });
    const memory = await openSourceMemory({ dir, present: () => sources.present(), onWritten: written, log });
    const custody = createCustody({
      api,
      view,
      checkpoint,
      changed,
      onHeld: (all, news) => {
        report.held(all, news);
        doubtList(all.length > 0);
        for (const { key } of news.ended) sources.heldNoMore(key);
      },
      now,
      log,
    });
    open = { checkpoint, memory, custody };
  };

  const start = (custody: Custody): ListWatch =>
    startListWatch<Container>({
      access,
      path: containersPath,
      kind: 'ContainerList',
      list: async (query, signal) => {
        if (query.continue === undefined) await custody.identify(signal);
        return await api.list(query, signal);
      },
      parse: parseContainer,
      onReplace: (objects, version) => {
        custody.takeList(objects, version);
        hasListed = true;
      },
      onChange: (kind, object) => custody.takeEvent(kind, object),
      onActivity: (atMs) => {
        link.answered();
        metrics.watchActive(atMs);
      },
      onReconnect: (reason) => {
        if (reason === 'connection' || reason === 'silence' || reason.startsWith('http-5'))
          link.failed(new Error(`the watch ended: ${reason}`));
        metrics.watchReconnected(reason);
      },
      now,
      random,
      log,
    });

  return {
    sources,
    custody: {
      isHeld: (uid) => open?.custody.isHeld(uid) ?? false,
      // Before it is known what there should be, nothing is known to be unwanted.
      isKept: (uid) => open?.custody.isKept(uid) ?? true,
    },
    checkpoint: {
      historyOf: (id) => open?.checkpoint.historyOf(id),
      noteWork: () => open?.checkpoint.noteWork(),
    },
    get hasListed() {
      return hasListed;
    },
    get isHolding() {
      return (open?.custody.held.length ?? 0) > 0;
    },
    begin: async (observeHost) => {
      opening = openAll();
      await opening;
      const host = await observeHost();
      if (open === undefined || isClosed) return;
      const { custody, checkpoint } = open;
      custody.open(host);
      for (const key of view.keys()) changed(key, 'list');
      listWatch = start(custody);
      const { synced } = listWatch;
      const listed = synced.then(() => {
        if (!isClosed) sources.start();
      });
      if (checkpoint.objects.length === 0) return await listed;
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), deps.patienceMs);
      });
      const first = await Promise.race([listed, patience]);
      clearTimeout(timer);
      if (first !== 'late' || isClosed) return;
      link.missedAtStart();
      log.warn(
        { objects: checkpoint.objects.length },
        'starting from the checkpoint, since the API server does not answer',
      );
    },
    settle: async () => {
      if (dir === undefined || open === undefined || open.custody.held.length === 0) return;
      const uids = await takeConfirmations(dir);
      if (uids.length === 0) return;
      const confirmed = open.custody.confirm(uids);
      await settleConfirmations(dir);
      log.warn({ objects: confirmed.map(({ key }) => key) }, 'deletions were confirmed; these containers end now');
    },
    close: async () => {
      isClosed = true;
      clearTimeout(doubtTimer);
      await opening;
      await listWatch?.close();
      await sources.close();
      await open?.custody.close();
      await open?.memory.close();
      await open?.checkpoint.close();
    },
  };
}
