/**
 * Stands between what the API server tells and what the controller believes: an object that is missing without having been
 * seen to be deleted is held, and its container goes on from the checkpoint, until the object comes back, another one of its
 * name takes its container over, or somebody confirms the deletion (absence.ts has the rule). Effects.
 */
import type { Logger } from 'pino';
import type { Container } from '../crds/index.ts';
import { finalizer, parseRename } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import {
  decideAbsences,
  type HoldReason,
  type KnownObject,
  relateStores,
  type StoreIdentity,
  type StoreMark,
} from './absence.ts';
import type { ContainerApi } from './api.ts';
import type { Checkpoint, Held } from './checkpoint.ts';
import { keyOf, labelKeys } from './desired.ts';
import { askForObject, identifyStore, markAsHeir } from './store-questions.ts';
import type { FullView } from './view.ts';

export interface CustodyDeps {
  readonly api: ContainerApi;
  readonly view: FullView;
  readonly checkpoint: Checkpoint;
  readonly changed: (key: string, by: Change) => void;
  /** The keys that are held now, when that changed. */
  readonly onHeld: (
    held: readonly Held[],
    news: { readonly added: readonly Held[]; readonly ended: readonly Held[] },
  ) => void;
  readonly now: () => number;
  readonly log: Logger;
}

export interface Custody {
  /** Begins with what the checkpoint and the host have. */
  open(containers: readonly ContainerInfo[]): void;
  /** Takes one page's request for the whole list: which store answers it. Throws what the request throws. */
  identify(signal: AbortSignal): Promise<void>;
  /** Throws OtherStoreError while this is not the store that the last list came from. */
  checkStore(signal: AbortSignal): Promise<void>;
  takeList(objects: readonly Container[], version: string): void;
  takeEvent(kind: 'applied' | 'deleted', object: Container): void;
  isHeld(uid: string): boolean;
  isHeldKey(key: string): boolean;
  /** Whether a container goes on although there is no object with this uid: it is not known yet that nobody wants it. */
  isKept(uid: string): boolean;
  readonly held: readonly Held[];
  /** The deletion of these is wanted. Returns those that were held. */
  confirm(uids: readonly string[]): readonly Held[];
  close(): Promise<void>;
}

/** How it was learnt that a key is to be looked at: a whole list came; an object is new, gone or wanted otherwise; only its status changed. */
export type Change = 'list' | 'news' | 'status';

/** Another store answers than the one whose objects are believed. */
export class OtherStoreError extends Error {
  override readonly name = 'OtherStoreError';
  constructor() {
    super('another store answers than before; what it has of Containers must be known first');
  }
}

/** What of an object matters to the one that takes its container over. */
type Former = { readonly metadata: Pick<Container['metadata'], 'uid' | 'namespace' | 'name' | 'annotations'> };

/** For so long a loss counts together with those that follow. */
const lossWindowMs = 10 * 60_000;
const askAgainMs = 5_000;

export function createCustody(deps: CustodyDeps): Custody {
  const { api, view, checkpoint, changed, now, log } = deps;
  const stop = new AbortController();
  const held = new Map<string, Held>(checkpoint.held.map((one) => [one.uid, one]));
  /** Containers of the host whose object is not known, by the uid of that object. */
  const strangers = new Map<string, KnownObject & { readonly key: string }>();
  /** New objects that wait for the name of a held or doubtful one. */
  const claimants = new Map<string, Container>();
  const doubtful = new Set<string>();
  /** Uids of strangers whose name has a new object, which is being told. */
  const marking = new Set<string>();
  const asking = new Set<Promise<void>>();
  const timers = new Set<NodeJS.Timeout>();
  let losses: number[] = [];
  let mark: StoreMark | undefined = checkpoint.store;
  /** The store that answers now. */
  let present: StoreIdentity | undefined;

  const deletionOf = ({ metadata }: Container): KnownObject['deletion'] =>
    metadata.deletionTimestamp !== undefined
      ? 'seen'
      : metadata.finalizers?.includes(finalizer) === true
        ? 'unseen'
        : 'unhindered';
  const mayGo = (object: Container): boolean => deletionOf(object) !== 'unseen';
  const put = (object: Container): void => {
    const before = view.object(keyOf(object));
    if (before !== undefined && before.metadata.uid !== object.metadata.uid) forget(before.metadata.uid);
    view.put(object);
    checkpoint.noteObject(object);
  };
  const forget = (uid: string): void => {
    held.delete(uid);
    doubtful.delete(uid);
    strangers.delete(uid);
    checkpoint.forgetObject(uid);
    checkpoint.forgetHeld(uid);
  };
  const keysByUid = (): ReadonlyMap<string, string> =>
    new Map([
      ...[...held.values(), ...strangers.values()].map(({ uid, key }) => [uid, key] as const),
      ...view.keys().map((key) => [view.object(key)?.metadata.uid ?? '', key] as const),
    ]);
  const keyOfUid = (uid: string): string | undefined => keysByUid().get(uid);
  /** The object is gone, and so will be its container. */
  const drop = (uid: string, by: Change): void => {
    const key = keyOfUid(uid);
    forget(uid);
    if (key === undefined) return;
    const object = view.object(key);
    if (object?.metadata.uid === uid) view.remove(object);
    const claimant = claimants.get(key);
    claimants.delete(key);
    if (claimant !== undefined) put(claimant);
    changed(key, by);
  };
  const tell = (added: readonly Held[], ended: readonly Held[]): void => {
    if (added.length + ended.length > 0) deps.onHeld([...held.values()], { added, ended });
  };
  const hold = (uids: readonly string[], because: HoldReason): Held[] => {
    const keys = keysByUid();
    const added = uids.map((uid): Held => ({ uid, key: keys.get(uid) ?? '', because, sinceMs: now() }));
    for (const one of added) {
      held.set(one.uid, one);
      doubtful.delete(one.uid);
      checkpoint.noteHeld(one);
    }
    return added;
  };
  const release = (uid: string): Held[] => {
    const one = held.get(uid);
    held.delete(uid);
    doubtful.delete(uid);
    checkpoint.forgetHeld(uid);
    return one === undefined ? [] : [one];
  };
  const lostBefore = (): number => {
    losses = losses.filter((atMs) => Math.abs(now() - atMs) < lossWindowMs);
    return losses.length + held.size;
  };
  const knownNow = (): KnownObject[] => [
    ...view.keys().flatMap((key) => {
      const object = view.object(key);
      return object === undefined || held.has(object.metadata.uid)
        ? []
        : [{ uid: object.metadata.uid, deletion: deletionOf(object) }];
    }),
    ...[...strangers.values()].filter(({ uid }) => !held.has(uid)),
  ];

  /** `told`: what was said of it already, so that an answer that stays the same for days is said once. */
  const background = (work: () => Promise<void>, told?: string): void => {
    const running = work()
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        const problem = String(error);
        if (problem !== told)
          log.warn(
            { err: error },
            'the API server could not be asked about an object that is missing; it is asked again and again',
          );
        const timer = setTimeout(() => {
          timers.delete(timer);
          background(work, problem);
        }, askAgainMs);
        timers.add(timer);
      })
      .finally(() => asking.delete(running));
    asking.add(running);
  };
  const ask = (uid: string): void => {
    if (doubtful.has(uid)) return;
    doubtful.add(uid);
    background(async () => {
      const key = keyOfUid(uid);
      if (key === undefined || !doubtful.has(uid)) return;
      const store = await identifyStore(api, stop.signal);
      const answer = await askForObject(api, key, stop.signal);
      if (!doubtful.has(uid)) return;
      if (relateStores(mark, { ...store, version: mark?.version ?? '' }) !== 'same') throw new OtherStoreError();
      if (answer.kind === 'there' && answer.object.metadata.uid === uid) {
        doubtful.delete(uid);
        claimants.delete(key);
        strangers.delete(uid);
        put(answer.object);
        changed(key, 'news');
        return;
      }
      if (answer.kind === 'damaged') {
        tell(hold([uid], 'DamagedObject'), []);
        reunite(key);
        return;
      }
      losses.push(now());
      log.info({ container: key, uid }, 'an object is gone, as the API server says when asked for it');
      if (answer.kind === 'there') claimants.set(key, answer.object);
      drop(uid, 'news');
    });
  };
  /** An object of the name of a held one takes its container over; it is told so by the annotation of a rename. */
  const reunite = (key: string): void => {
    const [former, heir] = [view.object(key), claimants.get(key)];
    if (former === undefined || heir === undefined || !held.has(former.metadata.uid)) return;
    if (parseRename(heir).kind !== 'none' || heir.metadata.deletionTimestamp !== undefined) return;
    background(async () => {
      if (claimants.get(key)?.metadata.uid !== heir.metadata.uid || !held.has(former.metadata.uid)) return;
      const latest = claimants.get(key) ?? heir;
      const marked = await markAsHeir(api, latest, former, stop.signal);
      if (marked !== undefined) takeEvent('applied', marked);
    });
  };
  const isHeir = (object: Container, { metadata: { uid, name } }: Former): boolean => {
    const rename = parseRename(object);
    return rename.kind === 'from' && rename.uid === uid && rename.name === name;
  };
  /** The same for containers of which only the labels are known: their names are free, so the object is there already. */
  const reuniteStrangers = (): Held[] => {
    const ended: Held[] = [];
    for (const { uid, key } of strangers.values()) {
      const heir = view.object(key);
      if (heir === undefined || !held.has(uid)) continue;
      const [namespace = '', name = ''] = key.split('/', 2);
      const former: Former = { metadata: { uid, namespace, name } };
      if (isHeir(heir, former)) {
        ended.push(...release(uid));
        strangers.delete(uid);
        changed(key, 'news');
      } else if (
        parseRename(heir).kind === 'none' &&
        heir.metadata.deletionTimestamp === undefined &&
        !marking.has(uid)
      ) {
        marking.add(uid);
        background(async () => {
          const latest = view.object(key);
          if (held.has(uid) && latest !== undefined && latest.metadata.uid !== uid) {
            const marked = await markAsHeir(api, latest, former, stop.signal);
            if (marked !== undefined) takeEvent('applied', marked);
          }
          marking.delete(uid);
        });
      }
    }
    return ended;
  };

  const takeList = (objects: readonly Container[], version: string): void => {
    const store: StoreMark = { uid: undefined, ...present, version };
    const relation = relateStores(mark, store);
    const listed = new Map(objects.map((one) => [one.metadata.uid, one]));
    // What is there again was not lost.
    const ended = [...held.keys()].filter((uid) => listed.has(uid)).flatMap(release);
    const known = knownNow();
    const verdict = decideAbsences({
      known,
      isListed: (uid) => listed.has(uid),
      store: relation,
      lostBefore: lostBefore(),
    });
    if (relation !== 'same')
      log.error(
        { before: mark, now: store, relation },
        'the API server is not the one that it was, or has lost what it had',
      );
    for (const uid of verdict.gone) forget(uid);
    for (const uid of listed.keys()) {
      strangers.delete(uid);
      doubtful.delete(uid);
    }
    const added = hold(verdict.held, verdict.because ?? 'MassDeletion');
    const kept = new Set([...held.keys(), ...verdict.doubtful, ...[...doubtful].filter((uid) => !listed.has(uid))]);
    const stay = view.keys().flatMap((key) => {
      const object = view.object(key);
      return object !== undefined && kept.has(object.metadata.uid) ? [object] : [];
    });
    const contested = new Map(stay.map((object) => [keyOf(object), object]));
    claimants.clear();
    const accepted = objects.filter((object) => {
      const former = contested.get(keyOf(object));
      if (former === undefined) return true;
      if (isHeir(object, former)) {
        ended.push(...release(former.metadata.uid));
        forget(former.metadata.uid);
        contested.delete(keyOf(object));
        return true;
      }
      claimants.set(keyOf(object), object);
      return false;
    });
    mark = store.uid === undefined ? { uid: undefined, ...mark, version } : store;
    checkpoint.noteStore(mark);
    for (const object of accepted) checkpoint.noteObject(object);
    for (const key of view.replace([...accepted, ...contested.values()])) changed(key, 'list');
    ended.push(...reuniteStrangers());
    tell(added, ended);
    for (const uid of verdict.doubtful) ask(uid);
    for (const key of claimants.keys()) reunite(key);
  };

  const takeEvent = (kind: 'applied' | 'deleted', object: Container): void => {
    const { uid, resourceVersion } = object.metadata;
    const key = keyOf(object);
    if (mark !== undefined) {
      mark = { ...mark, version: resourceVersion };
      checkpoint.noteProgress(mark);
    }
    const former = view.object(key);
    if (kind === 'deleted') {
      if (claimants.get(key)?.metadata.uid === uid) claimants.delete(key);
      if (former?.metadata.uid !== uid || held.has(uid)) return;
      if (mayGo(former) || object.metadata.deletionTimestamp !== undefined) drop(uid, 'news');
      else doubt(uid);
      return;
    }
    if (former !== undefined && former.metadata.uid !== uid && !mayGo(former) && !isHeir(object, former)) {
      claimants.set(key, object);
      if (held.has(former.metadata.uid)) reunite(key);
      else doubt(former.metadata.uid);
      return;
    }
    const ended = [
      ...release(uid),
      ...(former === undefined || former.metadata.uid === uid ? [] : release(former.metadata.uid)),
    ];
    claimants.delete(key);
    const { generation, deletionTimestamp } = object.metadata;
    const isNews =
      former?.metadata.generation !== generation || former?.metadata.deletionTimestamp !== deletionTimestamp;
    put(object);
    changed(key, isNews || former?.metadata.uid !== uid ? 'news' : 'status');
    if (strangers.size > 0) ended.push(...reuniteStrangers());
    tell([], ended);
  };
  /** A watch tells of one that went, and nothing kept it from being seen to be deleted. */
  const doubt = (uid: string): void => {
    const known = knownNow();
    const isListed = (one: string): boolean => one !== uid;
    const verdict = decideAbsences({ known, isListed, store: 'same', lostBefore: lostBefore() });
    tell(hold(verdict.held, verdict.because ?? 'MassDeletion'), []);
    for (const one of verdict.held) reunite(keyOfUid(one) ?? '');
    for (const one of verdict.doubtful) ask(one);
  };

  return {
    open: (containers) => {
      view.replace(checkpoint.objects);
      const uids = new Set(checkpoint.objects.map(({ metadata }) => metadata.uid));
      for (const { labels } of containers) {
        const uid = labels[labelKeys.uid];
        const key = `${labels[labelKeys.namespace] ?? ''}/${labels[labelKeys.name] ?? ''}`;
        if (uid !== undefined && !uids.has(uid)) strangers.set(uid, { uid, key, deletion: 'unseen' });
      }
      const all = [...held.values()];
      if (all.length > 0) deps.onHeld(all, { added: [], ended: [] });
    },
    identify: async (signal) => {
      present = await identifyStore(api, signal);
    },
    checkStore: async (signal) => {
      const store = await identifyStore(api, signal);
      if (relateStores(mark, { ...store, version: mark?.version ?? '' }) !== 'same') throw new OtherStoreError();
    },
    takeList,
    takeEvent,
    isHeld: (uid) => held.has(uid),
    isKept: (uid) => held.has(uid) || doubtful.has(uid) || strangers.has(uid),
    isHeldKey: (key) => {
      const uid = view.object(key)?.metadata.uid;
      return uid !== undefined && held.has(uid);
    },
    get held() {
      return [...held.values()];
    },
    confirm: (uids) => {
      const confirmed = uids.flatMap((uid) => held.get(uid) ?? []);
      for (const { uid } of confirmed) drop(uid, 'news');
      tell([], confirmed);
      return confirmed;
    },
    close: async () => {
      stop.abort(new Error('the controller was closed'));
      for (const timer of timers) clearTimeout(timer);
      await Promise.allSettled([...asking]);
    },
  };
}
