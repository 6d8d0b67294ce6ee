/** Reads /proc: is a process still the one we knew? Pids are reused, so a start time always goes with them. */
import { readdirSync, readFileSync } from 'node:fs';
import { isShortage } from './shortage.ts';

/** A process that cannot be mistaken for another with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot at which it started. Source: proc(5), /proc/PID/stat field 22. */
  readonly startTicks: number;
}

export interface ProcessStat extends ProcessIdentity {
  /** One letter; Z and X are dead. */
  readonly state: string;
}

/** Pure: the line of /proc/PID/stat. The command name may hold spaces and parentheses. */
export function parseProcStat(text: string): ProcessStat | undefined {
  const nameEnd = text.lastIndexOf(')');
  const pid = Number.parseInt(text, 10);
  const fields = text.slice(nameEnd + 2).split(' ');
  const startTicks = Number(fields[19]);
  const state = fields[0];
  if (nameEnd < 0 || state === undefined || Number.isNaN(pid) || Number.isNaN(startTicks)) return undefined;
  return { pid, startTicks, state };
}

/**
 * undefined if there is no such process. Synchronous: a read of /proc takes some 20 µs, a thread hop more. Throws what the
 * file system throws when the host has no room for the answer: a process that cannot be looked at is not gone.
 */
export function observeProcess(pid: number): ProcessStat | undefined {
  try {
    return parseProcStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (error) {
    if (isShortage(error)) throw error;
    return undefined; // gone, or going: both mean that it does not run
  }
}

/** Whether exactly that process is there and no zombie. Throws as observeProcess. */
export function isAlive(process: ProcessIdentity): boolean {
  const stat = observeProcess(process.pid);
  return stat !== undefined && stat.startTicks === process.startTicks && stat.state !== 'Z' && stat.state !== 'X';
}

/** What a process was called with, or calls itself; empty if there is none. Throws as observeProcess. */
export function commandLineOf(pid: number): readonly string[] {
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return text === '' ? [] : text.replace(/\0$/, '').split('\0');
  } catch (error) {
    if (isShortage(error)) throw error;
    return []; // gone, or going
  }
}

/** Processes whose command line holds the text. Reads all of /proc: for recovery only. Throws as observeProcess. */
export function findProcessesByCommandLine(text: string): ProcessIdentity[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name) || !commandLineOf(Number(name)).includes(text)) return [];
    const stat = observeProcess(Number(name));
    return stat === undefined ? [] : [stat];
  });
}
