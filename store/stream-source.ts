/** What the store asks of whoever runs the containers, for their streams. Types only; cli/ puts a host in. */
import type { Readable } from 'node:stream';
import type { JsonObject } from './json.ts';
import type { LogOptions } from './requests.ts';
import type { KubeObject } from './resources.ts';
import type { CommandOptions, DialPort, ExecOptions, OpenSession } from './streams/index.ts';

/** The container that a request is about. */
export interface StreamTarget {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** As it was when the request came. */
  readonly object: KubeObject;
  /** As it is now; undefined when it is gone. */
  latest(): Promise<KubeObject | undefined>;
}

/** Each may throw a StatusError, which the client is told; the signals are aborted when the client has gone. */
export interface StreamSource {
  /** Ends when the log does. */
  log(target: StreamTarget, options: LogOptions, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
  /** Finds out whether a process can be run in it; what is returned runs it. */
  exec(target: StreamTarget, options: ExecOptions): Promise<OpenSession>;
  attach(target: StreamTarget, options: CommandOptions): Promise<OpenSession>;
  portForward(target: StreamTarget): Promise<DialPort>;
  /** What it uses now. */
  stats(target: StreamTarget): Promise<JsonObject>;
  /** What the whole host of that node uses now, in the same form; undefined: it is another host. */
  hostStats?(nodeName: string): Promise<JsonObject | undefined>;
  /** A file or folder as a tar stream. */
  readArchive(target: StreamTarget, path: string, signal: AbortSignal): Promise<Readable>;
  /** Unpacks a tar stream in a folder. Resolves when all of it is there. */
  writeArchive(target: StreamTarget, path: string, archive: Readable, signal: AbortSignal): Promise<void>;
}
