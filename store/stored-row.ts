/**
 * One row of the database: its checksum, by which a bit that the disk has flipped is found and never served, and what of it
 * is a secret. Pure, but for the randomness that the key ring draws.
 */
import { crc32 } from 'node:zlib';
import type { KeyRing, OpenedText } from './secrets-key.ts';

/** As it is on disk. The numbers are text: a damaged one may be no number that JavaScript can hold. */
export interface StoredRow {
  readonly storageKey: string;
  readonly key: string;
  readonly revision: string;
  /** The object as JSON, or sealed. */
  readonly text: string;
  readonly sum: string;
}

/** The kinds whose objects are sealed on disk, by storage key. */
export const sealedKinds: ReadonlySet<string> = new Set(['secrets']);

/** CRC-32 over all of a row, so that a row in another's place is found too. */
export function sumOf({ storageKey, key, revision, text }: Omit<StoredRow, 'sum'>): string {
  return String(crc32(text, crc32(`${storageKey}\0${key}\0${revision}\0`)));
}

export function isWhole(row: StoredRow): boolean {
  return sumOf(row) === row.sum;
}

export function openRow(row: StoredRow, keys: KeyRing): OpenedText {
  if (!isWhole(row)) return { kind: 'damaged', problem: 'its checksum is wrong' };
  if (!sealedKinds.has(row.storageKey)) return { kind: 'whole', json: row.text };
  return keys.open(row.storageKey, row.key, row.text);
}

/** The row to be stored. Throws NoKeyError for a secret without a key. */
export function sealRow(
  { storageKey, key, revision, json }: { storageKey: string; key: string; revision: number | string; json: string },
  keys: KeyRing,
): StoredRow {
  const text = sealedKinds.has(storageKey) ? keys.seal(storageKey, key, json) : json;
  const row = { storageKey, key, revision: String(revision), text };
  return { ...row, sum: sumOf(row) };
}
