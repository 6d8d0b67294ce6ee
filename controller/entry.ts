/** What the controller keeps in memory, and what a reconciliation is given to work with. Types, and one pure function. */
import type { Logger } from 'pino';
import type { Container, ContainerStatus } from '../crds/index.ts';
import { containerIDOf } from '../crds/index.ts';
import type { ContainerInfo, Runtime } from '../runtime/index.ts';
import type { ContainerApi } from './api.ts';
import { type Desired, keyOf, type Mutable } from './desired.ts';
import type { ParseObject } from './desired-memory.ts';
import type { DriftReporter } from './drift.ts';
import type { EventRecorder } from './events.ts';
import type { History } from './history.ts';
import type { ImagePuller } from './images.ts';
import type { Dependency } from './links.ts';
import type { ControllerMetrics } from './metrics.ts';
import type { Prober } from './prober.ts';
import type { Sources } from './sources.ts';
import type { StartGate } from './start-gate.ts';
import type { StatusPace } from './status-pace.ts';

/** Of one container of this host, by its id. */
export interface Entry {
  readonly key: string;
  history: History;
  /**
   * The status that was last written, and the versions of the object that it was written over: while the view still shows
   * one of those, the written status is the newer one.
   */
  written?:
    | { readonly status: ContainerStatus | undefined; readonly version: string; readonly over: readonly string[] }
    | undefined;
  /** A write to the store that has not ended yet. */
  writing?: Promise<void> | undefined;
  /** When a status that waits for its turn is to be written (status-pace.ts). */
  writeTurnMs?: number | undefined;
  /** What the runtime last showed, to tell drift from news. */
  signature?: string | undefined;
  /** Since when its stop waits for those that depend on it. */
  heldSinceMs?: number | undefined;
  /** See noteFreezing. */
  freezing?: string | undefined;
  /** When the image of one that is only to be prepared may be asked for again. */
  prepareAtMs?: number | undefined;
  /** Until when the status of one that was only prepared is not worth a write. */
  statusDueMs?: number | undefined;
  /** Debug sessions that were told of; undefined: ask the status. */
  debugSessions?: number | undefined;
  /** Waits and verdicts that were told of, so that each becomes one event. */
  told?: string | undefined;
}

/** What one step is carried out on. */
export interface Work {
  readonly object: Container;
  readonly desired: Desired;
  /** undefined while it is not known; decide.ts then neither creates nor updates. */
  readonly mutable: Mutable | undefined;
  /** Values in it that came from Secrets: to be told to nobody. */
  readonly secrets: readonly string[];
  readonly container: ContainerInfo | undefined;
  readonly dependencies: readonly Dependency[];
  readonly entry: Entry;
}

/** The present objects, and which containers of the host belong to which key. */
export interface View {
  object(key: string): Container | undefined;
  /** Of the container that the object of this key means. */
  containerIDOf(key: string): string | undefined;
  /** Ids of the containers on this host, known or suspected, that carry this key. */
  containersOf(key: string): readonly string[];
  claim(key: string, id: string): void;
  release(key: string, id: string): void;
  /** Called when the state of a container changed, for those that depend on it. */
  stateChanged(key: string): void;
  /** The objects that mean this container. */
  sharersOf(id: string): readonly Container[];
  /** The keys of those that link to or depend on this one. */
  dependentsOf(key: string): readonly string[];
  /** Has a key looked at. */
  wake(key: string): void;
}

export interface ReconcileDeps {
  readonly parse: ParseObject;
  readonly runtime: Runtime;
  readonly api: ContainerApi;
  readonly view: View;
  readonly sources: Sources;
  readonly entries: Map<string, Entry>;
  readonly puller: ImagePuller;
  readonly prober: Prober;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly pace: StatusPace;
  /** An outage of the store that goes on, or ended a moment ago. */
  readonly recentOutage: () => { readonly sinceMs: number; readonly lastedMs: number } | undefined;
  /** What an earlier controller remembered of a container. */
  readonly checkpoint: { historyOf(containerID: string): History | undefined };
  readonly custody: {
    /** The store has lost the object: there is nothing to write to. */
    isHeld(uid: string): boolean;
    /** No object has this uid, and its container goes on all the same. */
    isKept(uid: string): boolean;
  };
  readonly starts: StartGate;
  readonly drift: DriftReporter;
  readonly nodeName: string;
  readonly now: () => number;
  readonly log: Logger;
  /** A write that was left to the background has ended: look at the key again, after a while if it failed. */
  readonly writeEnded: (key: string, failure: unknown) => void;
}

/** Of an object that has no container of its own: it waits to take one over, or has handed it over. */
export function bareEntryKeyOf({ metadata }: Container): string {
  return `object ${metadata.uid}`;
}

/** What is remembered of an object's container, or else of the object. */
export function entryFor(object: Container, entries: ReadonlyMap<string, Entry>): Entry | undefined {
  const entry = entries.get(containerIDOf(object));
  return entry?.key === keyOf(object) ? entry : entries.get(bareEntryKeyOf(object));
}

/** Changes whenever something that others may wait for, or that a relist should notice, changes. */
export function signatureOf(container: ContainerInfo | undefined): string {
  if (container === undefined) return 'none';
  const { state, ip } = container;
  switch (state.kind) {
    case 'created':
      return `created ${ip ?? ''}`;
    case 'running':
      return `running ${state.pid} ${state.startedAtMs} ${state.isPaused === true ? 'paused ' : ''}${ip ?? ''}`;
    case 'exited':
      return `exited ${state.exit.code} ${state.exit.finishedAtMs} ${ip ?? ''}`;
    default:
      throw new TypeError(`unknown state: ${JSON.stringify(state satisfies never)}`);
  }
}
