/**
 * One daemon per data dir: a lock on a file in it that the kernel frees with the process, however it ends. Node has no
 * flock(2), so SQLite takes the lock (fcntl(2), with the races between starters thought of). Nobody without access to the
 * data dir, which is root's, can hold it or say who does. Effects.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Another process works on this data dir. */
export class InstanceRunsError extends Error {
  override readonly name = 'InstanceRunsError';
}

const sqliteBusy = 5; // From sqlite3.h.
/** Whoever only asks holds the file for less than a millisecond; it must not turn a starter away. */
const lockAttempts = 10;
const pollMs = 20;
const askDeadlineMs = 5_000;

const lockFileOf = (dataDir: string): string => join(dataDir, 'instance.lock');
const pidFileOf = (dataDir: string): string => join(dataDir, 'instance.pid');

/** Always of one length, so that a full disk does not keep a daemon from starting: what is there is written over. */
const pidFileBytes = 64;

/** Takes the lock until close() or the end of the process. Throws InstanceRunsError. */
export async function lockInstance(dataDir: string): Promise<{ close(): Promise<void> }> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  createPrivately(lockFileOf(dataDir));
  for (let attempt = 1; ; attempt += 1) {
    const database = hold(lockFileOf(dataDir), 'BEGIN EXCLUSIVE');
    if (database !== undefined) {
      writeInPlace(pidFileOf(dataDir), (formatProcess(process.pid) ?? '').padEnd(pidFileBytes));
      return {
        close: async () => {
          if (!database.isOpen) return;
          database.close();
        },
      };
    }
    if (attempt === lockAttempts)
      throw new InstanceRunsError(
        `another holdfast works on ${dataDir}; stop it first, or give this one a --data-dir of its own`,
      );
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** The process id of the daemon that works on this data dir; undefined if none does. At most 5 s. */
export async function findInstance(dataDir: string, deadlineMs = askDeadlineMs): Promise<number | undefined> {
  const endMs = Date.now() + deadlineMs;
  for (;;) {
    if (!isLocked(dataDir)) return undefined;
    const text = readIfThere(pidFileOf(dataDir))?.trimEnd();
    const pid = Number(text?.split(' ')[0]);
    // The start time tells the holder from a stranger that got the process id of one that was killed.
    if (Number.isInteger(pid) && pid > 1 && text === formatProcess(pid)) return pid;
    if (Date.now() > endMs)
      throw new Error(
        `a holdfast works on ${dataDir}, but ${pidFileOf(dataDir)} does not name a process that runs ("${text ?? 'no such file'}"); look for it with ps and end it`,
      );
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

function isLocked(dataDir: string): boolean {
  const path = lockFileOf(dataDir);
  if (!existsSync(path)) return false;
  // A read lock, so that two who ask do not take each other for the daemon.
  const database = hold(path, 'BEGIN; SELECT count(*) FROM sqlite_schema');
  database?.close();
  return database === undefined;
}

/** Opens the file and takes the lock that the statement needs; undefined when another has one that excludes it. */
function hold(path: string, statement: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec(statement);
    return database;
  } catch (error) {
    database.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy) return undefined;
    throw new Error(`the lock ${path} cannot be taken; if the file is damaged, remove it while no holdfast runs`, {
      cause: error,
    });
  }
}

/** Without cutting the file off first, which would give its block away. */
function writeInPlace(path: string, text: string): void {
  createPrivately(path);
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, text, 0);
  } finally {
    closeSync(fd);
  }
}

/** Only if it is not there: closing a file frees the locks that this process has on it (fcntl(2)). */
function createPrivately(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // open throws nothing but these.
  }
}

/** A process id and its start time in clock ticks since boot; undefined if it is gone. Source: proc(5), /proc/PID/stat, field 22. */
function formatProcess(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // The name, in brackets, may hold anything; the fields after it start with the third.
  const startTime = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return startTime === undefined ? undefined : `${pid} ${startTime}`;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    // readFile throws nothing but these. ESRCH: the process ended between open and read.
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
