/**
 * Tells the store: the finalizer, the status, that an object may go. A store that is slow or away must not keep a worker from
 * healing containers, so after a moment a write goes on in the background. Effects.
 */

import { ApiError } from '../client/index.ts';
import { type Container, finalizer } from '../crds/index.ts';
import type { Desired } from './desired.ts';
import { keyOf } from './desired.ts';
import type { Entry, ReconcileDeps } from './entry.ts';
import { hasGivenUp } from './history.ts';
import { sickAfter } from './standing.ts';
import { diffStatus, formatStatus, type StatusInput } from './status.ts';
import { maxTurnMs, preparedPauseMs } from './status-pace.ts';

/** A write that ends sooner is waited for. The store answers in 2 to 5 ms when it is well. */
const patienceMs = 500;

export type WriteResult =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly failure: unknown }
  | { readonly kind: 'pending' }
  /** Its turn comes in so many milliseconds; what changes until then is written with it. */
  | { readonly kind: 'deferred'; readonly ms: number };

/**
 * Adds the finalizer if it is missing and writes the status if it changed. One write at a time for a container: while one is
 * under way this answers `pending`, and the key is looked at again when it ends.
 */
export async function writeBack(
  input: Omit<StatusInput, 'object' | 'nodeName' | 'nowMs' | 'history'> & {
    readonly object: Container;
    readonly entry: Entry;
  },
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<WriteResult> {
  const { object, entry, desired } = input;
  const { api, metrics, nodeName, now, view } = deps;
  const key = keyOf(object);
  const latest = view.object(key);
  const isUnseen = entry.written?.over.includes(latest?.metadata.resourceVersion ?? '') === true;
  const present = isUnseen ? entry.written?.status : (latest ?? object).status;
  const statusInput = {
    ...input,
    object: { ...object, status: present },
    history: entry.history,
    nodeName,
    nowMs: now(),
  };
  const wanted = formatStatus(statusInput);
  metrics.report(key, {
    namespace: object.metadata.namespace,
    container: object.metadata.name,
    state: wanted.state ?? 'Created',
    isReady: wanted.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
    shouldRun: isWantedUp(desired, entry),
    backoffSeconds: wanted.backoff?.delaySeconds ?? 0,
    restartCount: wanted.restartCount ?? 0,
    exitCode: wanted.exitCode,
  });
  if (deps.custody.isHeld(object.metadata.uid)) return { kind: 'done' };
  const news = diffStatus(present, wanted);
  const outage = deps.recentOutage();
  const patch =
    news === undefined || outage === undefined ? news : diffStatus(present, formatStatus({ ...statusInput, outage }));
  const { deletionTimestamp, finalizers } = object.metadata;
  const needsFinalizer = deletionTimestamp === undefined && finalizers?.includes(finalizer) !== true;
  if (patch === undefined && !needsFinalizer) return { kind: 'done' };
  const pauseMs = needsFinalizer || deletionTimestamp !== undefined ? 0 : restOfPause(input, deps);
  const deferredMs = pauseMs > 0 || needsFinalizer || !isCrashLoop(input) ? pauseMs : waitForTurn(entry, deps);
  if (deferredMs > 0) return { kind: 'deferred', ms: deferredMs };
  const write = async (): Promise<void> => {
    const over = [latest?.metadata.resourceVersion ?? ''];
    if (needsFinalizer) over.push((await api.setFinalizer(object, true, signal)).metadata.resourceVersion);
    if (patch === undefined) return;
    const after = await api.patchStatus(object, patch, signal);
    entry.written = { status: after.status, version: after.metadata.resourceVersion, over };
  };
  return await waitAWhile(entry, write, isGoneOrChanged, deps);
}

/** Milliseconds until one that was prepared, and is not to run, is told of. */
function restOfPause({ entry, desired }: { entry: Entry; desired: Desired }, { now }: ReconcileDeps): number {
  const waitMs = (entry.statusDueMs ?? -Infinity) - now();
  // Longer than the pause itself: the clock was set back.
  if (!desired.shouldRun && waitMs > 0 && waitMs <= preparedPauseMs) return waitMs;
  entry.statusDueMs = undefined;
  return 0;
}

/** Whether a status tells of one more failure like those before; any other news is written at once. */
function isCrashLoop({ object, entry, desired }: { object: Container; entry: Entry; desired: Desired }): boolean {
  const { generation, deletionTimestamp } = object.metadata;
  return (
    entry.history.failures >= sickAfter &&
    entry.history.final === undefined &&
    desired.shouldRun &&
    deletionTimestamp === undefined &&
    object.status?.observedGeneration === generation
  );
}

/** Milliseconds until this container's turn to be written; 0: now, and the turn is used up. */
function waitForTurn(entry: Entry, { pace, now }: ReconcileDeps): number {
  const nowMs = now();
  entry.writeTurnMs ??= pace.takeTurn(nowMs);
  const waitMs = entry.writeTurnMs - nowMs;
  if (waitMs > 0 && waitMs <= maxTurnMs) return waitMs;
  entry.writeTurnMs = undefined;
  return 0;
}

/** Lets a deleted object go. */
export async function releaseObject(
  object: Container,
  entry: Entry,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<WriteResult> {
  return await waitAWhile(
    entry,
    async () => {
      await deps.api.setFinalizer(object, false, signal);
    },
    isGone,
    deps,
  );
}

/**
 * Deletes an object that has expired, as it stands: whoever changed it meanwhile is heard first, since the watch brings
 * the change. Its status was written before, so that all who follow it learn how it ended.
 */
export async function deleteExpired(
  object: Container,
  entry: Entry,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<WriteResult> {
  const latest = deps.view.object(keyOf(object)) ?? object;
  const isUnseen = entry.written?.over.includes(latest.metadata.resourceVersion) === true;
  const version = isUnseen ? (entry.written?.version ?? '') : latest.metadata.resourceVersion;
  return await waitAWhile(entry, () => deps.api.remove(latest, version, signal), isGoneOrChanged, deps);
}

/** `isFine`: an error after which there is nothing to write any more. */
async function waitAWhile(
  entry: Entry,
  write: () => Promise<void>,
  isFine: (error: unknown) => boolean,
  deps: ReconcileDeps,
): Promise<WriteResult> {
  if (entry.writing !== undefined) return { kind: 'pending' };
  let isLate = false;
  const result = write().then(
    (): WriteResult => ({ kind: 'done' }),
    (failure: unknown): WriteResult => (isFine(failure) ? { kind: 'done' } : { kind: 'failed', failure }),
  );
  entry.writing = result.then((end) => {
    entry.writing = undefined;
    if (isLate) deps.writeEnded(entry.key, end.kind === 'failed' ? end.failure : undefined);
  });
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<WriteResult>((resolve) => {
    timer = setTimeout(() => {
      isLate = true;
      resolve({ kind: 'pending' });
    }, patienceMs);
  });
  const first = await Promise.race([result, patience]);
  clearTimeout(timer);
  return first;
}

/** Counted as one that should run: also when it gave up, or cannot start for its spec, so that an alert sees it. */
function isWantedUp({ shouldRun, shouldPause }: Desired, { history }: Entry): boolean {
  return shouldRun && !shouldPause && (history.final === undefined || hasGivenUp(history));
}

function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.code === 404;
}

/** 404: the object is gone; 409: it changed, or is another one by now. The watch tells of both, and the key comes again. */
function isGoneOrChanged(error: unknown): boolean {
  return isGone(error) || (error instanceof ApiError && error.code === 409);
}
