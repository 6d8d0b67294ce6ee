/**
 * The part of the runtime's interface that is about what flows out of and into a container: logs, standard streams,
 * usage, archives. Types only.
 */
import type { Readable, Writable } from 'node:stream';
import type { EnvVar } from './container-config.ts';

export interface LogEntry {
  /** RFC 3339 with nanoseconds, UTC. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** Bytes as the process wrote them; ends with a newline unless the line is not complete yet. */
  readonly data: Buffer;
}

export interface LogOptions {
  /** Go on with what is written from now on, across rotations and restarts, until aborted or the container is removed. */
  readonly follow?: boolean | undefined;
  /** Only the last so many lines, of the streams and the run that are wanted; undefined: all. */
  readonly tailLines?: number | undefined;
  readonly sinceMs?: number | undefined;
  /** The last moment that is of interest; a reader that follows is done when it has passed. */
  readonly untilMs?: number | undefined;
  /** Once it is aborted, a reader that follows gives what is written by then and is done. */
  readonly ending?: AbortSignal | undefined;
  /** Default: all. */
  readonly streams?: 'all' | 'stdout' | 'stderr' | undefined;
  /** Only the run that ended last: before the present one, while one goes on. Never followed. */
  readonly previous?: boolean | undefined;
}

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** A process's standard streams, as one client has them. Whoever opens it reads stdout and stderr to their ends. */
export interface StreamSession {
  /** The run that it is of has not begun (AttachRequest.run). */
  readonly isWaiting?: boolean | undefined;
  /** Of an exec: the process's on the host. */
  readonly pid?: number | undefined;
  /** undefined if none was asked for. Ending it is the process's end of input. */
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /** undefined with a terminal, which has one output. */
  readonly stderr: Readable | undefined;
  /** Nothing happens without a terminal. */
  resize(size: TerminalSize): Promise<void>;
  /**
   * exec: the exit code, once the process has ended and the streams have all of its output; 128 + n after signal n.
   * attach: the exit code of the container's process, or undefined when the client was detached while it runs.
   * Rejects with RuntimeOperationError if it cannot be known.
   */
  readonly exit: Promise<number | undefined>;
  /** The client goes away: ends the process of an exec (SIGHUP with a terminal, then SIGKILL), detaches an attach. */
  close(): Promise<void>;
}

/** A further process in a running container. What is not given is the container's own. */
export interface ExecRequest {
  /** Program and arguments; the program is looked for in the container's PATH. */
  readonly args: readonly string[];
  /** Added to the container's environment and overriding it. */
  readonly env?: readonly EnvVar[] | undefined;
  /** name|uid[:group|gid] */
  readonly user?: string | undefined;
  /** Absolute. */
  readonly workingDir?: string | undefined;
  /** With all capabilities that the host has to give. */
  readonly isPrivileged?: boolean | undefined;
  readonly hasTerminal: boolean;
  readonly hasStdin: boolean;
  /** The terminal's first size. */
  readonly size?: TerminalSize | undefined;
}

export interface AttachRequest {
  /** Without effect on a container that has no stdin. */
  readonly hasStdin: boolean;
  readonly size?: TerminalSize | undefined;
  /**
   * present-or-next: while none goes on, the session waits for the next run and gets all of it, from its first byte on;
   * the container need not be there yet. It fails with the start, and with the removal. Default: the present one.
   */
  readonly run?: 'present' | 'present-or-next' | undefined;
  /** Begins with what is in the log already; default: with what is written from now on. */
  readonly hasLog?: boolean | undefined;
}

/** What a running container uses, of its cgroup and its network. Counters only grow while it runs. */
export interface Stats {
  /** Processor time used so far. */
  readonly cpuNanoseconds: number;
  /** Memory in use without the page cache that can be dropped: the working set. */
  readonly memoryBytes: number;
  /** undefined: no limit. */
  readonly memoryLimitBytes?: number | undefined;
  /** Processes and threads. */
  readonly processes: number;
  readonly processLimit?: number | undefined;
  /** Time for which the processor limit held it back. */
  readonly throttledNanoseconds: number;
  /** Of all its network interfaces but loopback. */
  readonly networkReceivedBytes: number;
  readonly networkSentBytes: number;
  /** From and to disks, as far as the kernel accounts for it: 0 where it does not. */
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
  /** If they were asked for. */
  readonly details?: StatsDetails | undefined;
}

/** The figures one by one. What the kernel does not account for is 0 or left out. */
export interface StatsDetails {
  readonly cgroupVersion: 1 | 2;
  readonly cpuUserNanoseconds: number;
  readonly cpuKernelNanoseconds: number;
  /** Of each processor of the host; on version 1 only. */
  readonly cpuNanosecondsOfEach?: readonly number[] | undefined;
  /** All processors of the host since it was booted, idle or not. */
  readonly hostCpuNanoseconds: number;
  readonly processors: number;
  /** Of the processor limit: how many there were, and in how many it held the container back. */
  readonly periods: number;
  readonly throttledPeriods: number;
  /** With the page cache. */
  readonly memoryUsageBytes: number;
  readonly memoryPeakBytes: number;
  /** How often the limit was met. */
  readonly memoryFailures: number;
  /** memory.stat, by the kernel's names. */
  readonly memory: Readonly<Record<string, number>>;
  readonly disks: readonly DiskStats[];
  /** By interface. */
  readonly networks: Readonly<Record<string, NetworkStats>>;
}

export interface DiskStats {
  readonly major: number;
  readonly minor: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export interface NetworkStats {
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receiveErrors: number;
  readonly receiveDropped: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sendErrors: number;
  readonly sendDropped: number;
}

/** A difference of a container's root file system from its image. */
export interface FileChange {
  /** Absolute. Bytes of a name that are no UTF-8 are shown as U+FFFD. */
  readonly path: string;
  readonly kind: 'changed' | 'added' | 'deleted';
}

/** What an archive is of. */
export interface ArchiveStat {
  /** The last part of the path; / for the root. */
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly sizeBytes: number;
  /** Permission bits. */
  readonly mode: number;
  /** Whole seconds. */
  readonly mtimeMs: number;
  /** Of a link, which is not followed. */
  readonly linkTarget?: string | undefined;
  /** Where that link leads in the end, as an absolute path without links; undefined if nothing is there. */
  readonly resolvedTarget?: string | undefined;
}

export interface Archive {
  readonly stat: ArchiveStat;
  /** A tar archive, whose first entry is named stat.name. It fails if the copy cannot be finished; an end is the end. */
  readonly stream: Readable;
}

export interface WriteArchiveOptions {
  /** Whose the files will be: as the archive says (the default), or root's. */
  readonly owner?: 'archive' | 'root' | undefined;
  /** Refuses to put a folder in the place of something else, and the other way about. */
  readonly isStrict?: boolean | undefined;
}
