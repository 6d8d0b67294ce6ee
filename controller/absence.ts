/**
 * What it means that the API server does not tell of objects any more. The finalizer keeps an object in the store until its
 * container is gone from this host, so whoever deletes one is seen to (deletionTimestamp). An object that is just not there
 * was forced out, or the store lost it, or the answer is not the whole truth. Pure.
 */
import { isOlderVersion } from '../client/index.ts';

/** By what a store is known again: its identity, and how far its versions had come. */
export interface StoreIdentity {
  /** Of its namespace kube-system. undefined: it does not say. */
  readonly uid: string | undefined;
  /** The name of the last restoration from a backup, after which versions go on higher; undefined: there was none. */
  readonly restoration?: string | undefined;
}

export interface StoreMark extends StoreIdentity {
  readonly version: string;
}

/** same: as far as can be seen. */
export type StoreRelation = 'same' | 'other' | 'older';

export function relateStores(before: StoreMark | undefined, now: StoreMark): StoreRelation {
  if (before === undefined) return 'same';
  if (before.uid !== undefined && now.uid !== undefined && before.uid !== now.uid) return 'other';
  if (now.uid !== undefined && now.restoration !== before.restoration) return 'older';
  return isOlderVersion(now.version, before.version) ? 'older' : 'same';
}

export interface KnownObject {
  readonly uid: string;
  /** seen: it was told of; unhindered: it would not be, for nothing has kept the object from going at once yet. */
  readonly deletion: 'seen' | 'unhindered' | 'unseen';
}

export interface AbsenceInput {
  /** What this host has, other than what is held. */
  readonly known: readonly KnownObject[];
  readonly isListed: (uid: string) => boolean;
  readonly store: StoreRelation;
  /** Held already, and gone unseen within the last minutes. */
  readonly lostBefore: number;
}

/** DamagedObject: it is there, as the API server says when asked for it, and cannot be read. */
export const holdReasons = ['OtherStore', 'OlderStore', 'MassDeletion', 'DamagedObject'] as const;
export type HoldReason = (typeof holdReasons)[number];

export interface AbsenceVerdict {
  /** Deleted: their containers end. */
  readonly gone: readonly string[];
  /** To be believed once the API server, asked for the object itself, says that there is none. */
  readonly doubtful: readonly string[];
  /** Nothing ends until somebody says so. */
  readonly held: readonly string[];
  readonly because: HoldReason | undefined;
}

/**
 * The rule: what was seen to be deleted goes. Of the rest nothing goes if the store is another one or has gone back in time,
 * nor if it were more than half of all that this host has, and two at least, counting the last minutes.
 */
export function decideAbsences({ known, isListed, store, lostBefore }: AbsenceInput): AbsenceVerdict {
  const absent = known.filter(({ uid }) => !isListed(uid));
  // What another store does not have, nobody has deleted.
  const isGone = ({ deletion }: KnownObject): boolean =>
    deletion === 'seen' || (deletion === 'unhindered' && store === 'same');
  const gone = absent.filter(isGone).map(({ uid }) => uid);
  const lost = absent.filter((object) => !isGone(object)).map(({ uid }) => uid);
  const hold = (because: HoldReason): AbsenceVerdict => ({ gone, doubtful: [], held: lost, because });
  if (lost.length === 0) return { gone, doubtful: [], held: [], because: undefined };
  if (store === 'other') return hold('OtherStore');
  if (store === 'older') return hold('OlderStore');
  const lostInAll = lost.length + lostBefore;
  const had = known.length - gone.length + lostBefore;
  if (lostInAll >= 2 && lostInAll * 2 > had) return hold('MassDeletion');
  return { gone, doubtful: lost, held: [], because: undefined };
}
