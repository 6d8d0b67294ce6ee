/**
 * Remembers which image an archive gave and what the archive looked like then, so that it is not read again unless it
 * changed. One small JSON file; losing it costs one more import, so it is written by rename, without fsync.
 */
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveReference } from './reference.ts';
import { fingerprint } from './storage-files.ts';

export interface ArchiveRecord {
  /** 64 digits, without sha256:. */
  readonly imageID: string;
  readonly fingerprint: string;
}

export interface ArchiveRecords {
  get(canonical: string): ArchiveRecord | undefined;
  /** The references that gave this image. */
  referencesOf(imageID: string): readonly string[];
  set(canonical: string, record: ArchiveRecord): Promise<void>;
  forget(imageID: string): Promise<void>;
  forgetReference(canonical: string): Promise<void>;
}

/** An unreadable file counts as empty. */
export async function openArchiveRecords(path: string): Promise<ArchiveRecords> {
  const records = new Map(parseArchiveRecords(await readFile(path, 'utf8').catch(() => '{}')));
  let writing: Promise<void> = Promise.resolve();

  function save(): Promise<void> {
    const next = writing.then(async () => {
      await writeFile(`${path}.new`, JSON.stringify(Object.fromEntries(records)));
      await rename(`${path}.new`, path);
    });
    writing = next.catch(() => undefined); // the caller of this save is told; the next one writes all again
    return next;
  }

  return {
    get: (canonical) => records.get(canonical),
    referencesOf: (imageID) => [...records].filter(([, record]) => record.imageID === imageID).map(([name]) => name),
    set(canonical, record) {
      records.set(canonical, record);
      return save();
    },
    async forget(imageID) {
      const names = [...records].filter(([, record]) => record.imageID === imageID).map(([name]) => name);
      for (const name of names) records.delete(name);
      if (names.length > 0) await save();
    },
    async forgetReference(canonical) {
      if (records.delete(canonical)) await save();
    },
  };
}

/** Pure. Entries that are not as they should be are left out. */
export function parseArchiveRecords(text: string): readonly (readonly [string, ArchiveRecord])[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return []; // half-written by a crash: archives are read again
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, entry]: [string, unknown]) => {
    if (typeof entry !== 'object' || entry === null || !('imageID' in entry) || !('fingerprint' in entry)) return [];
    const { imageID, fingerprint: seen } = entry;
    if (typeof imageID !== 'string' || typeof seen !== 'string') return [];
    return [[name, { imageID, fingerprint: seen }] as const];
  });
}

/** Changes when the archive's content may have; 'none' when it is not there. A layout changes with its index.json. */
export async function archiveFingerprint(reference: ArchiveReference): Promise<string> {
  const isFolder = await stat(reference.path).then(
    (found) => found.isDirectory(),
    () => false, // the fingerprint below says what there is
  );
  return fingerprint(isFolder ? join(reference.path, 'index.json') : reference.path);
}
