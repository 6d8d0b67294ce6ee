/**
 * Reads a container's log: rotated files in order, the last lines only, since a time, and following what is written
 * across rotations and restarts. A file is known by its inode, since its name changes under the reader.
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

interface Place {
  readonly inode: number;
  readonly offset: number;
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

/** Calls back with each raw line, without its newline, and the offset after it. */
async function forEachLine(path: string, see: (line: Buffer, endOffset: number) => void): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined); // rotated out of existence
  if (handle === undefined) return;
  try {
    let carry = Buffer.alloc(0);
    let offset = 0;
    for (;;) {
      const { buffer, bytesRead } = await handle.read({ buffer: Buffer.allocUnsafe(chunkBytes) });
      if (bytesRead === 0) return;
      const data = Buffer.concat([carry, buffer.subarray(0, bytesRead)]);
      let start = 0;
      for (let end = data.indexOf(lineFeed); end >= 0; end = data.indexOf(lineFeed, start)) {
        offset += end + 1 - start;
        see(data.subarray(start, end), offset);
        start = end + 1;
      }
      carry = data.subarray(start);
    }
  } finally {
    await handle.close();
  }
}

/** Where the last so many lines begin. A line in several parts counts once. */
async function findTail(files: readonly LogFile[], lines: number): Promise<Place | undefined> {
  let missing = lines;
  const last = files.at(-1);
  if (last === undefined) return undefined;
  if (lines === 0) return { inode: last.inode, offset: last.sizeBytes };
  for (const file of files.toReversed()) {
    const starts: number[] = [];
    let startsLine = true;
    let offset = 0;
    await forEachLine(file.path, (line, endOffset) => {
      if (startsLine) starts.push(offset);
      if (starts.length > missing) starts.shift();
      startsLine = endsLine(line);
      offset = endOffset;
    });
    const first = starts[0];
    if (starts.length === missing && first !== undefined) return { inode: file.inode, offset: first };
    missing -= starts.length;
  }
  return undefined; // there are fewer: all of them
}

export interface ReadLogInput {
  readonly dir: string;
  readonly options: LogOptions;
  readonly signal: AbortSignal;
}

export async function* readLog({ dir, options, signal }: ReadLogInput): AsyncGenerator<LogEntry> {
  const isFollowing = options.follow === true;
  // Before the first look, or what is written between the two would not wake us.
  const wakeup = isFollowing ? new Wakeup(dir, signal) : undefined;
  try {
    const files = (await observeLogFiles(dir)) ?? [];
    const last = files.at(-1);
    // Without follow, what is written while we read is not chased.
    const end: Place | undefined =
      isFollowing || last === undefined ? undefined : { inode: last.inode, offset: last.sizeBytes };
    if (!isFollowing && end === undefined) return;
    const start = options.tailLines === undefined ? undefined : await findTail(files, options.tailLines);
    for await (const entry of readFrom({ dir, start, end, wakeup, signal })) {
      if (options.sinceMs === undefined || Date.parse(entry.time) >= options.sinceMs) yield entry;
    }
  } finally {
    wakeup?.close();
  }
}

interface ReadFromInput {
  readonly dir: string;
  readonly start: Place | undefined;
  readonly end: Place | undefined;
  readonly wakeup: Wakeup | undefined;
  readonly signal: AbortSignal;
}

async function* readFrom({ dir, start, end, wakeup, signal }: ReadFromInput): AsyncGenerator<LogEntry> {
  let inode = start?.inode;
  let offset = start?.offset ?? 0;
  let handle: FileHandle | undefined;
  try {
    while (!signal.aborted) {
      const files = await observeLogFiles(dir);
      if (files === undefined) return; // the container was removed
      if (handle === undefined) {
        const file = files.find((candidate) => candidate.inode === inode) ?? files[0];
        handle = file === undefined ? undefined : await open(file.path, 'r').catch(() => undefined); // rotated: look again
        if (handle !== undefined) {
          const opened = (await handle.stat()).ino;
          if (opened !== inode) offset = 0;
          inode = opened;
        } else if (file !== undefined) {
          continue;
        }
      }
      const next = successor(files, inode);
      if (handle !== undefined) {
        // After a successor was seen nothing more is written here, so this reads the last of it.
        for await (const chunk of readLines(handle, offset)) {
          offset = chunk.offset;
          for (const line of chunk.lines) {
            const entry = parseLogLine(line);
            if (entry !== undefined) yield entry;
            if (signal.aborted) return;
          }
          if (end !== undefined && inode === end.inode && offset >= end.offset) return;
        }
        if (end !== undefined && inode === end.inode) return;
      }
      if (next !== undefined) {
        await handle?.close();
        handle = undefined;
        inode = next.inode;
        offset = 0;
      } else if (wakeup === undefined) {
        return;
      } else {
        await wakeup.next();
      }
    }
  } finally {
    await handle?.close();
  }
}

/** The file written after this one. One that has been deleted was the oldest, so all that are left come after it. */
function successor(files: readonly LogFile[], inode: number | undefined): LogFile | undefined {
  if (inode === undefined) return undefined;
  return files[files.findIndex((file) => file.inode === inode) + 1];
}

interface Chunk {
  readonly lines: readonly Buffer[];
  /** After the last of them. */
  readonly offset: number;
}

/** Whole lines from the offset to the present end of the file. */
async function* readLines(handle: FileHandle, from: number): AsyncGenerator<Chunk> {
  let sizeBytes = chunkBytes;
  let offset = from;
  for (;;) {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.allocUnsafe(sizeBytes), position: offset });
    if (bytesRead === 0) return;
    const data = buffer.subarray(0, bytesRead);
    const lastEnd = data.lastIndexOf(lineFeed);
    if (lastEnd < 0) {
      if (bytesRead < sizeBytes) return; // a line that is still being written
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
