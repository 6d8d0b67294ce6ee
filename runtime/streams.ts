/** What a client can have of a running container: further processes, its streams, figures, connections. Effects. */
import type { Duplex } from 'node:stream';
import type { ContainerEntry } from './container-entry.ts';
import {
  type AttachRequest,
  type ExecRequest,
  RuntimeOperationError,
  type Stats,
  type StreamSession,
} from './interface.ts';
import type { RunDeps } from './run.ts';

export interface StreamsDeps extends RunDeps {
  /** Sees whether the container has ended meanwhile. */
  look(entry: ContainerEntry): void;
}

export class ContainerStreams {
  readonly #deps: StreamsDeps;

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
  }

  async exec(entry: ContainerEntry, _request: ExecRequest, _signal: AbortSignal): Promise<StreamSession> {
    this.#deps.look(entry);
    throw new RuntimeOperationError('exec', 'comes within the hour');
  }

  async attach(_entry: ContainerEntry, _request: AttachRequest, _signal: AbortSignal): Promise<StreamSession> {
    throw new RuntimeOperationError('attach', 'comes within the hour');
  }

  async stats(_entry: ContainerEntry): Promise<Stats | undefined> {
    throw new RuntimeOperationError('stats', 'comes within the hour');
  }

  async dial(_entry: ContainerEntry, _port: number, _signal: AbortSignal): Promise<Duplex> {
    throw new RuntimeOperationError('dial', 'comes within the hour');
  }

  async close(): Promise<void> {}
}
