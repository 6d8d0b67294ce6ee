/**
 * Reads a container's log: rotated files in order, the last lines only, since a time, and following what is written
 * across rotations and restarts. A file is known by its inode, since its name changes under the reader, and is held
 * open as long as it matters, since it may be removed meanwhile and its inode given to the next.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import {
  type ContainerID,
  type LogEntry,
  type LogOptions,
  RunNotKeptError,
  RuntimeOperationError,
} from './interface.ts';
import { type LogFile, observeLogFiles } from './log-files.ts';
import { endsLine, isRunMark, parseLogLine, streamOf } from './log-format.ts';

const chunkBytes = 64 * 1024;
const lineFeed = 0x0a;
/** inotify drops events without a word when its queue is full, so a follower also looks now and then. */
const lookAgainMs = 2_000;

/** A log file as it was when reading began; it stays readable when it is removed. */
interface OpenFile {
  readonly handle: FileHandle;
  readonly inode: number;
  /** What is to be read of it: from here, to here unless it is followed. */
  readonly from: number;
  readonly to: number;
}

/** Wakes a follower when something in the folder changes. `onName`: a file has come, gone or got another name. */
class Wakeup {
  readonly #watcher: FSWatcher;
  #isDue = false;
  #wake: (() => void) | undefined;

  constructor(dir: string, { signal, ended, onName }: { signal: AbortSignal; ended?: AbortSignal; onName(): void }) {
    this.#watcher = watch(dir, { signal }, (change) => {
      if (change === 'rename') onName();
      this.#ring();
    });
    this.#watcher.on('error', () => this.#ring());
    for (const one of [signal, ended]) one?.addEventListener('abort', () => this.#ring(), { once: true });
  }

  #ring(): void {
    this.#isDue = true;
    this.#wake?.();
  }

  async next(leftMs: number): Promise<void> {
    if (!this.#isDue) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, Math.min(lookAgainMs, leftMs)));
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
  let isTheOne = false;
  try {
    const found = await handle.stat();
    isTheOne = found.ino === file.inode;
    return isTheOne ? { handle, inode: found.ino, from: 0, to: found.size } : undefined;
  } finally {
    if (!isTheOne) await handle.close();
  }
}

/** Opens all that there is, the oldest first. */
async function openAll(dir: string): Promise<OpenFile[]> {
  for (let tries = 0; ; tries += 1) {
    const opened: OpenFile[] = [];
    let isKept = false;
    try {
      let isWhole = true;
      for (const file of (await observeLogFiles(dir)) ?? []) {
        const found = await openFile(file);
        if (found === undefined) isWhole = false;
        else opened.push(found);
      }
      isKept = isWhole || tries === mostTries;
      if (isKept) return opened;
    } finally {
      // Node ends a process that forgets to close one.
      if (!isKept) for (const { handle } of opened) await handle.close();
    }
  }
}

const mostTries = 50;

/** A place in the files: which of them, and a byte of it. */
interface Place {
  readonly index: number;
  readonly offset: number;
}

interface Lines extends Chunk {
  /** Of the first line. */
  readonly start: number;
}

async function* linesOf(file: OpenFile): AsyncGenerator<Lines> {
  for await (const chunk of readLines(file.handle, file.from, file.to)) {
    yield { ...chunk, start: chunk.offset - chunk.lines.reduce((bytes, line) => bytes + line.length + 1, 0) };
  }
}

/** The last so many marks, the last one first: where each begins, and where the run begins. */
async function findMarks(files: readonly OpenFile[], count: number): Promise<{ at: Place; after: Place }[]> {
  const marks: { at: Place; after: Place }[] = [];
  for (const [index, file] of [...files.entries()].toReversed()) {
    const found: { at: Place; after: Place }[] = [];
    for await (const { lines, start } of linesOf(file)) {
      let offset = start;
      for (const line of lines) {
        const next = offset + line.length + 1;
        if (isRunMark(line)) found.push({ at: { index, offset }, after: { index, offset: next } });
        offset = next;
      }
    }
    marks.push(...found.toReversed());
    if (marks.length >= count) break;
  }
  return marks;
}

/** Where the run that ended last begins and ends; undefined if nothing of it is kept. */
async function findPreviousRun(
  files: readonly OpenFile[],
  isRunning: boolean,
): Promise<{ from: Place; to: Place } | undefined> {
  const [last, before] = await findMarks(files, 2);
  const first = { index: 0, offset: files[0]?.from ?? 0 };
  const end = { index: files.length - 1, offset: files.at(-1)?.to ?? 0 };
  const isKept = (to: Place): boolean =>
    files.some(({ from }, index) => index < to.index || (index === to.index && to.offset > from));
  if (isRunning) {
    if (last === undefined) return undefined;
    if (before !== undefined) return { from: before.after, to: last.at };
    return isKept(last.at) ? { from: first, to: last.at } : undefined;
  }
  if (last !== undefined) return { from: last.after, to: end };
  return isKept(end) ? { from: first, to: end } : undefined;
}

/** Where the last so many lines of these streams begin. A line in several parts counts once. */
async function findTail(
  files: readonly OpenFile[],
  lines: number,
  isWanted: (stream: LogEntry['stream']) => boolean,
): Promise<Place> {
  if (lines === 0) return { index: files.length - 1, offset: files.at(-1)?.to ?? 0 };
  let missing = lines;
  for (const [index, file] of [...files.entries()].toReversed()) {
    const starts: number[] = [];
    const isOpen = { stdout: false, stderr: false };
    for await (const chunk of linesOf(file)) {
      let offset = chunk.start;
      for (const line of chunk.lines) {
        const stream = streamOf(line);
        if (isRunMark(line)) Object.assign(isOpen, { stdout: false, stderr: false });
        else if (stream !== undefined && isWanted(stream)) {
          if (!isOpen[stream]) starts.push(offset);
          if (starts.length > missing) starts.shift();
          isOpen[stream] = !endsLine(line);
        }
        offset += line.length + 1;
      }
    }
    const first = starts[0];
    if (starts.length === missing && first !== undefined) return { index, offset: first };
    missing -= starts.length;
  }
  return { index: 0, offset: files[0]?.from ?? 0 }; // there are fewer: all of them
}

/**
 * Cuts the files down to what lies between two places, and closes those that have nothing of it. At once, since others may
 * come after them meanwhile (LogTail).
 */
async function narrow(files: OpenFile[], from: Place, to?: Place): Promise<void> {
  const outside: OpenFile[] = [];
  for (const [index, file] of files.splice(0).entries()) {
    const isOutside = index < from.index || (to !== undefined && index > to.index);
    if (isOutside) outside.push(file);
    else
      files.push({
        ...file,
        ...(index === from.index ? { from: from.offset } : {}),
        ...(index === to?.index ? { to: to.offset } : {}),
      });
  }
  for (const { handle } of outside) await handle.close();
}

export interface ReadLogInput {
  readonly id: ContainerID;
  readonly dir: string;
  readonly options: LogOptions;
  /** Whether the last run in the log still goes on. */
  readonly isRunning: boolean;
  readonly nowMs: () => number;
  /** Follows no further than the end of the present run. */
  readonly present?: PresentRun | undefined;
  readonly signal: AbortSignal;
}

/** A reader of the present run gets all of it, however slow it is: files are opened as they come, and held. */
export interface PresentRun {
  /** Aborted once the run has ended and all of its output is in the log. */
  readonly ended: AbortSignal;
  /**
   * Called when it is settled where reading begins: what is written from then on is read. `hold` opens what was written
   * until then, so that it can be removed.
   */
  readonly onPositioned: (hold: () => Promise<void>) => void;
}

/** What a slow reader may keep of files that are removed already; beyond, it is told that it was too slow. */
const mostHeldBytes = 2 ** 30;
const tooSlow = 'its reader is too slow: more than 1 GiB that it has not read yet would have to be kept';

/** Throws RunNotKeptError. */
export async function* readLog(input: ReadLogInput): AsyncGenerator<LogEntry> {
  const { id, dir, options, isRunning, nowMs, present, signal } = input;
  const { tailLines, sinceMs, untilMs = Infinity, previous = false, streams = 'all' } = options;
  const isWanted = (stream: LogEntry['stream']): boolean => streams === 'all' || streams === stream;
  // Before the first look, or what is written between the two would not wake us.
  const ended = present?.ended ?? options.ending;
  const leftMs = (): number => (ended?.aborted === true ? 0 : untilMs - nowMs());
  const files: OpenFile[] = [];
  const tail = new LogTail(dir, files);
  const isFollowed = options.follow === true && !previous;
  const wakeup = isFollowed
    ? new Wakeup(dir, {
        signal,
        ...(ended === undefined ? {} : { ended }),
        onName: () => {
          if (present !== undefined) tail.hold();
        },
      })
    : undefined;
  try {
    files.push(...(await openAll(dir)));
    tail.begin();
    if (previous) {
      const run = await findPreviousRun(files, isRunning);
      if (run === undefined) throw new RunNotKeptError(id);
      await narrow(files, run.from, run.to);
    }
    if (tailLines !== undefined) await narrow(files, await findTail(files, tailLines, isWanted));
    // A reader of the present run that begins with those before it passes over their marks.
    let marksLeft = present === undefined || tailLines === 0 ? 0 : (await findMarks(files, Infinity)).length;
    present?.onPositioned(() => tail.extend().then(() => undefined));
    for await (const line of readFrom({ tail, files, wakeup, leftMs, signal })) {
      if (signal.aborted) return;
      if (present !== undefined && isRunMark(line)) {
        if (marksLeft === 0) return;
        marksLeft -= 1;
      }
      const entry = parseLogLine(line);
      if (entry === undefined || !isWanted(entry.stream)) continue;
      const timeMs = sinceMs === undefined && untilMs === Infinity ? 0 : Date.parse(entry.time);
      if ((sinceMs === undefined || timeMs >= sinceMs) && timeMs <= untilMs) yield entry;
    }
  } finally {
    wakeup?.close();
    await tail.close();
  }
}

/** The files that are to be read, and those that came after them. */
class LogTail {
  readonly #dir: string;
  readonly #files: OpenFile[];
  readonly #begun = Promise.withResolvers<boolean>();
  #work: Promise<boolean> = this.#begun.promise;
  /** Something that was to be read is removed. */
  #isTorn = false;
  #isClosed = false;

  /** The last of `files` is the one that what comes next follows. */
  constructor(dir: string, files: OpenFile[]) {
    this.#dir = dir;
    this.#files = files;
  }

  /**
   * The files that were there are open. Until then it is not known after which of them something comes; and a watch that is
   * new is told of names that came before it (a process has one queue of inotify's), so that the same file would be read
   * twice, the second time from its beginning.
   */
  begin(): void {
    this.#begun.resolve(true);
  }

  /** Opens what has come; false if the container was removed. One at a time, once it is begun. */
  extend(): Promise<boolean> {
    this.#work = this.#work.then(
      () => this.#extend(),
      () => this.#extend(),
    );
    return this.#work;
  }

  /** Opens what has come, for later. */
  hold(): void {
    this.extend().catch(() => {}); // the reader meets the same problem
  }

  async #extend(): Promise<boolean> {
    for (;;) {
      if (this.#isClosed) return true;
      if (this.#isTorn) throw new RuntimeOperationError('log', tooSlow);
      const found = await observeLogFiles(this.#dir);
      if (found === undefined) return false;
      const next = successor(found, this.#files.at(-1)?.inode);
      if (next === undefined) return true;
      this.#isTorn = (await this.#heldBytes()) > mostHeldBytes;
      if (this.#isTorn) continue;
      const opened = await openFile(next);
      // Rotated just now: look again.
      if (opened !== undefined) this.#files.push(opened);
    }
  }

  async #heldBytes(): Promise<number> {
    // One that was read and closed meanwhile counts no more.
    const sizes = this.#files.map(({ handle }) =>
      handle.stat().then(
        ({ size }) => size,
        () => 0,
      ),
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.begin(); // it may have failed before
    await this.#work.catch(() => {}); // told to whoever waited for it
    for (const { handle } of this.#files) await handle.close();
  }
}

interface ReadFromInput {
  readonly tail: LogTail;
  /** The first is being read. The caller closes what is left in it. */
  readonly files: OpenFile[];
  /** Given if what is written from now on is to be followed. */
  readonly wakeup: Wakeup | undefined;
  /** For how long to follow. */
  readonly leftMs: () => number;
  readonly signal: AbortSignal;
}

async function* readFrom({ tail, files, wakeup, leftMs, signal }: ReadFromInput): AsyncGenerator<Buffer> {
  let offset = files[0]?.from ?? 0;
  while (!signal.aborted) {
    const isLate = leftMs() <= 0;
    // What was there when reading began comes first: it needs no further look at the folder.
    const isThere = files.length > 1 || wakeup === undefined || (await tail.extend());
    const [file] = files;
    const isLast = files.length <= 1;
    if (file !== undefined) {
      // After a successor was seen nothing more is written here, so this reads the last of it. Without follow, what is
      // written while we read is not chased.
      const endOffset = wakeup === undefined ? file.to : undefined;
      for await (const chunk of readLines(file.handle, offset, endOffset)) {
        offset = chunk.offset;
        for (const line of chunk.lines) yield line;
      }
    }
    if (!isLast) {
      await files.shift()?.handle.close();
      offset = files[0]?.from ?? 0;
      continue;
    }
    // Late before this last look: whatever was written in time has been read. Of a removed container all is written.
    if (wakeup === undefined || isLate || !isThere) return;
    if (files.length <= 1) await wakeup.next(leftMs());
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
