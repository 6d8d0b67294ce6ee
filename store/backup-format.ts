/**
 * A backup of the store, as text: a header, one line for each row as it is on disk (Secrets stay sealed), and an end with
 * the number of rows, the revision and a SHA-256 over all of it, so that a file that was cut short or altered is known.
 * A row that changes while the backup is taken comes again; the one with the highest revision counts. Pure.
 */
import { createHash, type Hash } from 'node:crypto';
import { keyIdOf } from './secrets-key.ts';
import { isWhole, type StoredRow } from './stored-row.ts';

export interface BackupHeader {
  readonly format: 'holdfast-store-backup';
  readonly version: 1;
  /** Of the database. */
  readonly schema: number;
  /** RFC 3339. */
  readonly takenAt: string;
  /** The uid of the namespace kube-system, by which a store is known. */
  readonly instance: string | undefined;
}

/** A row, or that there is none any more. */
export type BackupRow = StoredRow | (Omit<StoredRow, 'text' | 'sum'> & { readonly text: undefined });

export interface BackupEnd {
  readonly rows: number;
  readonly revision: number;
  /** Ids of the keys that its Secrets are sealed with. */
  readonly secretKeys: readonly string[];
  readonly sha256: string;
}

/** A file is no backup, or not a whole one; the message says in what. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
}

export const backupFormat = { format: 'holdfast-store-backup', version: 1 } as const;

/** Makes the lines of a backup, each with its end. */
export class BackupWriter {
  readonly #hash: Hash = createHash('sha256');
  readonly #secretKeys = new Set<string>();
  #rows = 0;

  get rows(): number {
    return this.#rows;
  }

  header(header: Omit<BackupHeader, 'format' | 'version'>): string {
    return this.#line({ ...backupFormat, ...header });
  }

  row({ storageKey, key, revision, text, ...rest }: BackupRow): string {
    this.#rows++;
    const keyId = text === undefined ? undefined : keyIdOf(text);
    if (keyId !== undefined) this.#secretKeys.add(keyId);
    const sum = 'sum' in rest ? rest.sum : null;
    return this.#line([storageKey, key, revision, text ?? null, sum]);
  }

  end(revision: number): string {
    return formatEnd({ rows: this.#rows, revision, secretKeys: [...this.#secretKeys] }, this.#hash);
  }

  #line(value: unknown): string {
    const line = `${JSON.stringify(value)}\n`;
    this.#hash.update(line);
    return line;
  }
}

/** `before`: of all lines before this one. */
function formatEnd(end: Omit<BackupEnd, 'sha256'>, before: Hash): string {
  const { rows, revision, secretKeys } = end;
  const known = { end: true, rows, revision, secretKeys };
  const sha256 = before.copy().update(JSON.stringify(known)).digest('hex');
  return `${JSON.stringify({ ...known, sha256 })}\n`;
}

export interface Backup {
  readonly header: BackupHeader;
  readonly end: BackupEnd;
  /** The rows that count, by storage key and key. */
  readonly rows: readonly StoredRow[];
  /** Rows whose own checksum is wrong: they were damaged on disk when the backup was taken. */
  readonly damaged: readonly StoredRow[];
}

/** Takes in the lines of a backup, one after the other, without their ends. */
export class BackupReader {
  readonly #hash: Hash = createHash('sha256');
  readonly #latest = new Map<string, BackupRow>();
  #header: BackupHeader | undefined;
  #end: BackupEnd | undefined;
  #rows = 0;

  /** Throws BackupError. */
  line(line: string): void {
    if (this.#end !== undefined) throw new BackupError('there is something behind the end of the backup');
    const value = parseLine(line, this.#header === undefined ? undefined : this.#rows);
    if (this.#header === undefined) {
      this.#header = parseHeader(value);
    } else if (Array.isArray(value)) {
      this.#rows++;
      this.#take(parseRow(value, this.#rows));
    } else {
      this.#end = this.#parseEnd(value, line);
      return;
    }
    this.#hash.update(`${line}\n`);
  }

  /** Throws BackupError if the backup is not whole. */
  finish(): Backup {
    if (this.#header === undefined) throw new BackupError('it is empty');
    if (this.#end === undefined) throw new BackupError(`it ends after ${this.#rows} rows: it was cut short`);
    const rows = [...this.#latest.values()].filter((row): row is StoredRow => row.text !== undefined);
    return { header: this.#header, end: this.#end, rows, damaged: rows.filter((row) => !isWhole(row)) };
  }

  #take(row: BackupRow): void {
    const place = `${row.storageKey}\0${row.key}`;
    const known = this.#latest.get(place);
    if (known === undefined || Number(known.revision) <= Number(row.revision)) this.#latest.set(place, row);
  }

  #parseEnd(value: unknown, line: string): BackupEnd {
    const { rows, revision, secretKeys, sha256 } = value as Partial<Record<string, unknown>>; // an object, as parseLine saw
    if (
      typeof rows !== 'number' ||
      typeof revision !== 'number' ||
      typeof sha256 !== 'string' ||
      !isTexts(secretKeys)
    ) {
      throw new BackupError(`line ${this.#rows + 2} is neither a row nor the end`);
    }
    if (rows !== this.#rows || formatEnd({ rows, revision, secretKeys }, this.#hash) !== `${line}\n`) {
      throw new BackupError('its checksum is wrong: it was altered or damaged');
    }
    return { rows, revision, secretKeys, sha256 };
  }
}

/** `rows`: how many came before; undefined: the header did not. */
function parseLine(line: string, rows: number | undefined): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // told below, without a word of what the line holds
  }
  throw new BackupError(
    rows === undefined ? 'it does not begin as one' : `it was cut short or damaged behind row ${rows}`,
  );
}

function parseHeader(value: object): BackupHeader {
  const { format, version, schema, takenAt, instance } = value as Partial<Record<string, unknown>>; // checked below
  if (format !== backupFormat.format || typeof schema !== 'number' || typeof takenAt !== 'string') {
    throw new BackupError('it does not begin as one');
  }
  if (version !== backupFormat.version) {
    throw new BackupError(`it has version ${String(version)}, and this Holdfast reads ${backupFormat.version}`);
  }
  return { ...backupFormat, schema, takenAt, instance: typeof instance === 'string' ? instance : undefined };
}

function parseRow(value: readonly unknown[], row: number): BackupRow {
  const [storageKey, key, revision, text, sum] = value;
  if (typeof storageKey === 'string' && typeof key === 'string' && typeof revision === 'string') {
    if (text === null) return { storageKey, key, revision, text: undefined };
    if (typeof text === 'string' && typeof sum === 'string') return { storageKey, key, revision, text, sum };
  }
  throw new BackupError(`row ${row} does not have the form of one`);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
