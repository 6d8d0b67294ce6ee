/**
 * Reads a container's log: rotated files in order, the last lines only, since a time, and following what is written
 * across rotations and restarts. A file is known by its inode, since its name changes under the reader, and is held
 * open as long as it matters, since it may be removed meanwhile and its inode given to the next.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { LogEntry, LogOptions } from './interface.ts';
import { type LogFile, observeLogFiles } from './log-files.ts';
import { endsLine, parseLogLine } from './log-format.ts';

const chunkBytes = 64 * 1024;
const lineFeed = 0x0a;
/** inotify drops events without a word when its queue is full, so a follower also looks now and then. */
const lookAgainMs = 2_000;

/** A log file as it was when reading began; it stays readable when it is removed. */
interface OpenFile {
  readonly handle: FileHandle;
  readonly inode: number;
  readonly sizeBytes: number;
}

/** Wakes a follower when something in the folder changes. */
class Wakeup {
  readonly #watcher: FSWatcher;
  #isDue = false;
  #wake: (() => void) | undefined;

  constructor(dir: string, signal: AbortSignal) {
    this.#watcher = watch(dir, { signal }, () => this.#ring());
    this.#watcher.on('error', () => this.#ring());
    signal.addEventListener('abort', () => this.#ring(), { once: true });
  }

  #ring(): void {
    this.#isDue = true;
    this.#wake?.();
  }

  async next(): Promise<void> {
    if (!this.#isDue) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, lookAgainMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wake = undefined;
    this.#isDue = false;
  }

  close(): void {
    this.#watcher.close();
  }
}

/** Undefined if it is no longer there or something else has its name. */
async function openFile(file: LogFile): Promise<OpenFile | undefined> {
  const handle = await open(file.path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  const found = await handle.stat();
  if (found.ino === file.inode) return { handle, inode: found.ino, sizeBytes: found.size };
  await handle.close();
  return undefined;
}

/** Opens all that there is, the oldest first. */
async function openAll(dir: string): Promise<OpenFile[]> {
  for (let tries = 0; ; tries += 1) {
    const opened: OpenFile[] = [];
    let isWhole = true;
    for (const file of (await observeLogFiles(dir)) ?? []) {
      const found = await openFile(file);
      if (found === undefined) isWhole = false;
      else opened.push(found);
    }
    if (isWhole || tries === mostTries) return opened;
    for (const { handle } of opened) await handle.close();
  }
}

const mostTries = 50;

interface Tail {
  /** Of the files given. */
  readonly index: number;
  readonly offset: number;
}

/** Where the last so many lines begin. A line in several parts counts once. */
async function findTail(files: readonly OpenFile[], lines: number): Promise<Tail> {
  const last = files.at(-1);
  if (lines === 0) return { index: files.length - 1, offset: last?.sizeBytes ?? 0 };
  let missing = lines;
  for (const [index, file] of [...files.entries()].toReversed()) {
    const starts: number[] = [];
    let startsLine = true;
    for await (const chunk of readLines(file.handle, 0, file.sizeBytes)) {
      let offset = chunk.offset - chunk.lines.reduce((bytes, line) => bytes + line.length + 1, 0);
      for (const line of chunk.lines) {
        if (startsLine) starts.push(offset);
        if (starts.length > missing) starts.shift();
        startsLine = endsLine(line);
        offset += line.length + 1;
      }
    }
    const first = starts[0];
    if (starts.length === missing && first !== undefined) return { index, offset: first };
    missing -= starts.length;
  }
  return { index: 0, offset: 0 }; // there are fewer: all of them
}

export interface ReadLogInput {
  readonly dir: string;
  readonly options: LogOptions;
  readonly signal: AbortSignal;
}

export async function* readLog({ dir, options, signal }: ReadLogInput): AsyncGenerator<LogEntry> {
  // Before the first look, or what is written between the two would not wake us.
  const wakeup = options.follow === true ? new Wakeup(dir, signal) : undefined;
  let files: OpenFile[] = [];
  try {
    files = await openAll(dir);
    let offset = 0;
    if (options.tailLines !== undefined) {
      const tail = await findTail(files, options.tailLines);
      offset = tail.offset;
      for (const { handle } of files.splice(0, Math.max(0, tail.index))) await handle.close();
    }
    for await (const line of readFrom({ dir, files, offset, wakeup, signal })) {
      if (signal.aborted) return;
      const entry = parseLogLine(line);
      if (entry === undefined) continue;
      if (options.sinceMs === undefined || Date.parse(entry.time) >= options.sinceMs) yield entry;
    }
  } finally {
    wakeup?.close();
    for (const { handle } of files) await handle.close();
  }
}

interface ReadFromInput {
  readonly dir: string;
  /** The first is being read. The caller closes what is left in it. */
  readonly files: OpenFile[];
  /** In the first file. */
  readonly offset: number;
  /** Given if what is written from now on is to be followed. */
  readonly wakeup: Wakeup | undefined;
  readonly signal: AbortSignal;
}

async function* readFrom({ dir, files, offset: start, wakeup, signal }: ReadFromInput): AsyncGenerator<Buffer> {
  let offset = start;
  while (!signal.aborted) {
    const [file] = files;
    // What was there when reading began comes first: it needs no further look at the folder.
    const isLast = files.length <= 1;
    const found = isLast && wakeup !== undefined ? await observeLogFiles(dir) : [];
    if (found === undefined) return; // the container was removed
    const next = successor(found, file?.inode);
    if (file !== undefined) {
      // After a successor was seen nothing more is written here, so this reads the last of it. Without follow, what is
      // written while we read is not chased.
      const endOffset = wakeup === undefined ? file.sizeBytes : undefined;
      for await (const chunk of readLines(file.handle, offset, endOffset)) {
        offset = chunk.offset;
        for (const line of chunk.lines) yield line;
      }
    }
    if (isLast && next === undefined) {
      if (wakeup === undefined) return;
      await wakeup.next();
      continue;
    }
    if (next !== undefined) {
      const opened = await openFile(next);
      if (opened === undefined) continue; // rotated just now: look again
      files.push(opened);
    }
    // Only now, or its inode could be the next file's.
    if (file !== undefined) await files.shift()?.handle.close();
    offset = 0;
  }
}

/**
 * The file written after this one. One that is gone without a copy was the oldest, so all that are left come after it.
 */
function successor(files: readonly LogFile[], inode: number | undefined): LogFile | undefined {
  const itself = files.findIndex((file) => file.inode === inode);
  const index = itself < 0 ? files.findIndex((file) => file.cutFrom === inode && inode !== undefined) : itself;
  return files[index + 1];
}

interface Chunk {
  readonly lines: readonly Buffer[];
  /** After the last of them. */
  readonly offset: number;
}

/** Whole lines from the offset to the end given, or else to the present end of the file. */
async function* readLines(handle: FileHandle, from: number, endOffset = Infinity): AsyncGenerator<Chunk> {
  let sizeBytes = chunkBytes;
  let offset = from;
  for (;;) {
    const buffer = Buffer.allocUnsafe(Math.min(sizeBytes, endOffset - offset));
    if (buffer.length === 0) return;
    const { bytesRead } = await handle.read({ buffer, position: offset });
    if (bytesRead === 0) return;
    const data = buffer.subarray(0, bytesRead);
    const lastEnd = data.lastIndexOf(lineFeed);
    if (lastEnd < 0) {
      if (bytesRead < buffer.length || offset + bytesRead >= endOffset) return; // a line that is still being written
      sizeBytes *= 2;
      continue;
    }
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = data.indexOf(lineFeed); end >= 0; end = data.indexOf(lineFeed, start)) {
      lines.push(data.subarray(start, end));
      start = end + 1;
    }
    offset += lastEnd + 1;
    yield { lines, offset };
  }
}
