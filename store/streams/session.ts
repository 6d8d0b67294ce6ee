/**
 * What the host of a container offers to streams, and what a client is to them: the two ends that this folder joins.
 * Types only. A Session has the shape of a process's standard streams, whoever runs it.
 */
import type { Duplex, Readable, Writable } from 'node:stream';

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** A process's streams as one client has them. Whoever opens it reads its outputs to their ends. */
export interface Session {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable | undefined;
  resize(size: TerminalSize): Promise<void>;
  /** The exit code; undefined when the client was detached from a process that goes on. */
  readonly exit: Promise<number | undefined>;
  close(): Promise<void>;
}

/** Opens a session that was found possible. The signal counts until it is there. May throw a StatusError. */
export type OpenSession = (size: TerminalSize | undefined, signal: AbortSignal) => Promise<Session>;

/** Connects to a port of a container. Throws, with a message for the client, when nobody listens. */
export type DialPort = (port: number, signal: AbortSignal) => Promise<Duplex>;

/** A client of a process: what it sends and takes, whatever protocol it speaks. */
export interface CommandClient {
  /** undefined: it has no input to give. Its end is the process's end of input. */
  readonly stdin: Readable | undefined;
  /** undefined: it does not want it. */
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Calls the listener for each size of the client's terminal, those that came already included. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Aborted when the client has gone away. */
  readonly gone: AbortSignal;
  /** Tells how the process ended, after all of its output, and closes. */
  finish(result: CommandResult): Promise<void>;
}

/** How a session ended, for the client. `failed`: it could not be had at all; the status says why. */
export type CommandResult =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'detached' }
  | { readonly kind: 'failed'; readonly status: FailureStatus };

/** The part of a metav1.Status that tells a failure. */
export interface FailureStatus {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}
