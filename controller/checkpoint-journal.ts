/**
 * The checkpoint's file: one record a line, appended, each with a checksum, so that a line that was cut short by a crash, or
 * that the disk has spoilt, is passed over. The last record of a name counts. It is written anew, beside itself, before it
 * grows beyond a few times its content. Mode 0600: specs may hold what is nobody's business. Effects.
 */
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';

/** A value under a name; `undefined` forgets the name. */
export interface JournalRecord {
  readonly name: string;
  readonly value: unknown;
}

export interface Journal {
  /** Returns when the records are on disk. Throws what the disk throws; the records are then to be given again. */
  append(records: readonly JournalRecord[]): Promise<void>;
  /** Whether so much of the file is out of date that it should be written anew, or it is not there any more. */
  readonly isDue: boolean;
  /** Writes the file anew. What it had before counts until it is whole. */
  replace(records: Iterable<JournalRecord>): Promise<void>;
  close(): Promise<void>;
}

/** Of the file; another one is not read. */
const format = { name: 'format', value: 1 } as const;
/** Below this a file is never worth writing anew. */
const minDueBytes = 256 * 1024;
const dueFactor = 3;
/** So much is made into text before others get their turn. */
const sliceBytes = 256 * 1024;

/** Opens the file, and makes its folder. Throws what the disk throws. */
export async function openJournal(
  dir: string,
  fileName: string,
): Promise<{ journal: Journal; records: ReadonlyMap<string, unknown>; damaged: number }> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, fileName);
  const text = await readIfThere(path);
  const { records, sizes, damaged, isForeign } = parseJournal(text);
  // What a newer program wrote is kept for it.
  if (isForeign) await rename(path, `${path}.of-another-version`);
  const fileBytes = isForeign ? 0 : Buffer.byteLength(text);
  const isTorn = fileBytes > 0 && !text.endsWith('\n');
  return { journal: new FileJournal(path, sizes, fileBytes, isTorn), records, damaged };
}

/** What a file has, for those who only look. A file that is not there has nothing. */
export async function readJournal(dir: string, fileName: string): Promise<ReadonlyMap<string, unknown>> {
  return parseJournal(await readIfThere(join(dir, fileName))).records;
}

class FileJournal implements Journal {
  readonly #path: string;
  /** Bytes of the line that counts, by name. */
  #sizes: Map<string, number>;
  #liveBytes: number;
  #fileBytes: number;
  #handle: FileHandle | undefined;
  /** The file may end in the middle of a line. */
  #isTorn: boolean;
  /** It was removed: what is appended has no name, and is gone when it is closed. */
  #isLost = false;

  constructor(path: string, sizes: Map<string, number>, fileBytes: number, isTorn: boolean) {
    this.#path = path;
    this.#sizes = sizes;
    this.#liveBytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    this.#fileBytes = fileBytes;
    this.#isTorn = isTorn;
  }

  get isDue(): boolean {
    return this.#isLost || this.#fileBytes > Math.max(minDueBytes, dueFactor * this.#liveBytes);
  }

  async append(records: readonly JournalRecord[]): Promise<void> {
    if (records.length === 0) return;
    // A new file gets its first line with its first records.
    const lines = (this.#fileBytes === 0 ? [format, ...records] : records).map(formatLine);
    const bytes = Buffer.from((this.#isTorn ? '\n' : '') + lines.join(''));
    if (this.#handle === undefined) {
      this.#handle = await open(this.#path, 'a', 0o600);
      await syncFolder(dirname(this.#path));
    }
    this.#isTorn = true;
    // The handle appends, wherever the file ends.
    await this.#handle.appendFile(bytes);
    await this.#handle.datasync();
    this.#isTorn = false;
    this.#isLost = (await this.#handle.stat()).nlink === 0;
    this.#fileBytes += bytes.length;
    const offset = lines.length - records.length;
    for (const [index, record] of records.entries()) this.#count(record, lines[index + offset] ?? '');
  }

  #count({ name, value }: JournalRecord, line: string): void {
    this.#liveBytes -= this.#sizes.get(name) ?? 0;
    this.#sizes.delete(name);
    if (value === undefined) return;
    const size = Buffer.byteLength(line);
    this.#sizes.set(name, size);
    this.#liveBytes += size;
  }

  async replace(records: Iterable<JournalRecord>): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const beside = `${this.#path}.new`;
    const handle = await open(beside, 'w', 0o600);
    const sizes = new Map<string, number>();
    let fileBytes = 0;
    try {
      let slice = formatLine(format);
      const flush = async (): Promise<void> => {
        fileBytes += Buffer.byteLength(slice);
        await handle.appendFile(slice);
        slice = '';
      };
      for (const record of records) {
        const line = formatLine(record);
        sizes.set(record.name, Buffer.byteLength(line));
        slice += line;
        if (slice.length > sliceBytes) await flush();
      }
      await flush();
      await handle.datasync();
    } catch (error) {
      await handle.close();
      await rm(beside, { force: true });
      throw error;
    }
    await handle.close();
    await rename(beside, this.#path);
    // At once, whatever fails from here on: it leads to the file that has no name any more.
    const old = this.#handle;
    this.#handle = undefined;
    this.#isLost = false;
    this.#sizes = sizes;
    this.#fileBytes = fileBytes;
    this.#liveBytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    this.#isTorn = false;
    await old?.close();
    await syncFolder(dirname(this.#path));
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }
}

/** Makes a new name survive a power failure. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function formatLine({ name, value }: JournalRecord): string {
  const text = JSON.stringify([name, value === undefined ? null : value]);
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`;
}

/** Accepts whatever a disk may give back. Pure. */
export function parseJournal(text: string): {
  records: Map<string, unknown>;
  sizes: Map<string, number>;
  damaged: number;
  isForeign: boolean;
} {
  const records = new Map<string, unknown>();
  const sizes = new Map<string, number>();
  let damaged = 0;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const record = parseLine(line);
    if (record === undefined) {
      damaged += 1;
      continue;
    }
    if (record.name === format.name) {
      if (record.value !== format.value) return { records: new Map(), sizes: new Map(), damaged: 0, isForeign: true };
      continue;
    }
    if (record.value === null) {
      records.delete(record.name);
      sizes.delete(record.name);
    } else {
      records.set(record.name, record.value);
      sizes.set(record.name, Buffer.byteLength(line) + 1);
    }
  }
  return { records, sizes, damaged, isForeign: false };
}

function parseLine(line: string): JournalRecord | undefined {
  const text = line.slice(9);
  if (line[8] !== ' ' || line.slice(0, 8) !== crc32(text).toString(16).padStart(8, '0')) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.length === 2 && typeof parsed[0] === 'string'
      ? { name: parsed[0], value: parsed[1] }
      : undefined;
  } catch {
    return undefined; // Not ours: as good as damaged.
  }
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''; // readFile throws nothing but these.
    throw error;
  }
}
