/**
 * Looks a store over while it goes on: every row of the database is read in slices, checked by itself and against what is
 * served from memory. Also over the rows of a backup. Effects: reads only.
 */
import { setImmediate } from 'node:timers/promises';
import type { Backup } from './backup-format.ts';
import type { DatabaseFile } from './database.ts';
import type { Entry } from './entry-object.ts';
import { getString, type Json } from './json.ts';
import { keyOf } from './memory.ts';
import type { KeyRing, OpenedText } from './secrets-key.ts';
import { openRow, type StoredRow } from './stored-row.ts';

export interface Finding {
  /** Of which object, or what else. */
  readonly about: string;
  readonly problem: string;
  readonly fix: string;
}

export interface Report {
  readonly rows: number;
  readonly revision: number;
  /** The first ones. */
  readonly findings: readonly Finding[];
  readonly findingsInAll: number;
}

/** What is served from memory. */
export interface Served {
  readonly revision: () => number;
  /** By storage key. */
  readonly entriesOf: () => ReadonlyMap<string, Iterable<Entry>>;
  readonly entryOf: (storageKey: string, key: string) => Entry | undefined;
  readonly isServed: (storageKey: string) => boolean;
}

const slice = 200;
const maxTold = 100;

const makeAnew =
  'create it anew from its document (kubectl create -f FILE), or restore a backup (holdfast store restore)';
const restart =
  'stop the store and check it again; if that is found then too, restore a backup (holdfast store restore)';
export const giveKey = 'put the key back into the key file and restart the store';

export async function checkStore(database: DatabaseFile, served: Served): Promise<Report> {
  const findings = new Findings();
  const begun = served.revision();
  const seen = new Set<string>();
  let rows = 0;
  let last: StoredRow | undefined;
  do {
    const some: StoredRow[] = database.rowsAfter(last, slice);
    for (const row of some) {
      rows++;
      seen.add(placeOf(row.storageKey, row.key));
      const problem = checkRow(row, database.open(row), served.revision());
      if (problem !== undefined) findings.add(problem);
      else if (served.isServed(row.storageKey)) {
        const entry = served.entryOf(row.storageKey, row.key);
        if (String(entry?.revision) !== row.revision)
          findings.add({ ...aboutRow(row), problem: 'it is served otherwise than it is on disk', fix: restart });
      }
    }
    last = some.at(-1);
    await setImmediate();
  } while (last !== undefined);
  for (const [storageKey, entries] of served.entriesOf()) {
    for (const { key, revision } of entries) {
      if (revision <= begun && !seen.has(placeOf(storageKey, key)))
        findings.add({ about: `${storageKey} ${key}`, problem: 'it is served and not on disk', fix: restart });
    }
  }
  for (const problem of database.compareIndex()) findings.add({ about: 'database', problem, fix: restart });
  if (database.keyProblem !== undefined) {
    findings.add({ about: 'key of the Secrets', problem: database.keyProblem, fix: giveKey });
  }
  return findings.report(rows, served.revision());
}

/** What is wrong in a backup that is whole as a file. Secrets are looked into if their key is at hand. */
export function checkBackup(backup: Backup, keys: KeyRing): Report {
  const findings = new Findings();
  for (const row of backup.rows) {
    const opened = openRow(row, keys);
    if (opened.kind === 'locked') continue;
    const problem = checkRow(row, opened, backup.end.revision);
    if (problem !== undefined) findings.add(problem);
  }
  return findings.report(backup.rows.length, backup.end.revision);
}

function checkRow(row: StoredRow, text: OpenedText, revision: number): Finding | undefined {
  if (text.kind !== 'whole') {
    return { ...aboutRow(row), problem: text.problem, fix: text.kind === 'locked' ? giveKey : makeAnew };
  }
  const problem = checkObject(row, text.json, revision);
  return problem === undefined ? undefined : { ...aboutRow(row), problem, fix: makeAnew };
}

function checkObject(row: StoredRow, json: string, revision: number): string | undefined {
  let object: Json;
  try {
    object = JSON.parse(json);
  } catch {
    return 'it is not JSON'; // without what the parser quotes, which may be a secret
  }
  const name = getString(object, 'metadata', 'name');
  if (name === undefined) return 'it is not an object with metadata';
  if (keyOf(getString(object, 'metadata', 'namespace'), name) !== row.key)
    return 'it has another name than it is stored under';
  if (getString(object, 'metadata', 'resourceVersion') !== row.revision)
    return 'it has another resourceVersion than it is stored under';
  if (Number(row.revision) > revision)
    return `its resourceVersion ${row.revision} is ahead of the store's, ${revision}`;
  return undefined;
}

class Findings {
  readonly #told: Finding[] = [];
  #count = 0;

  add(finding: Finding): void {
    this.#count++;
    if (this.#told.length < maxTold) this.#told.push(finding);
  }

  report(rows: number, revision: number): Report {
    return { rows, revision, findings: this.#told, findingsInAll: this.#count };
  }
}

function aboutRow({ storageKey, key }: StoredRow): Pick<Finding, 'about'> {
  return { about: `${storageKey} ${key.replace(/^\//u, '')}` };
}

function placeOf(storageKey: string, key: string): string {
  return `${storageKey}\0${key}`;
}
