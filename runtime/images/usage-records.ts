/**
 * When each image was first seen and last used, kept across restarts of the daemon, so that age counts on. One small JSON
 * file, written by rename without fsync: what a power cut loses makes images look younger.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';

export interface Usage {
  readonly firstSeenMs: number;
  readonly lastUsedMs: number;
}

export interface UsageRecords {
  /** An image that was never seen is seen now. */
  of(imageID: string, nowMs: number): Usage;
  used(imageID: string, nowMs: number): void;
  /** Writes what is known of these images, and forgets the others. */
  save(imageIDs: readonly string[]): Promise<void>;
}

/** An unreadable file counts as empty. */
export async function openUsageRecords(path: string): Promise<UsageRecords> {
  let records = new Map(parseUsage(await readFile(path, 'utf8').catch(() => '{}')));
  const of = (imageID: string, nowMs: number): Usage => {
    const known = records.get(imageID) ?? { firstSeenMs: nowMs, lastUsedMs: nowMs };
    records.set(imageID, known);
    return known;
  };
  return {
    of,
    used(imageID, nowMs) {
      records.set(imageID, { ...of(imageID, nowMs), lastUsedMs: nowMs });
    },
    async save(imageIDs) {
      const kept = new Set(imageIDs);
      records = new Map([...records].filter(([id]) => kept.has(id)));
      await writeFile(`${path}.new`, JSON.stringify(Object.fromEntries(records)));
      await rename(`${path}.new`, path);
    },
  };
}

/** Pure. Entries that are not as they should be are left out. */
export function parseUsage(text: string): readonly (readonly [string, Usage])[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([id, entry]: [string, unknown]) => {
    if (typeof entry !== 'object' || entry === null || !('firstSeenMs' in entry) || !('lastUsedMs' in entry)) return [];
    const { firstSeenMs, lastUsedMs } = entry;
    if (!Number.isFinite(firstSeenMs) || !Number.isFinite(lastUsedMs)) return [];
    // Just checked to be numbers.
    return [[id, { firstSeenMs: Number(firstSeenMs), lastUsedMs: Number(lastUsedMs) }] as const];
  });
}
