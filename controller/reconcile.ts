/**
 * Brings one container to what its object asks for: observes, decides (decide.ts), carries the step out (apply.ts), until there
 * is nothing to do but wait; then tells the store (write-back.ts). Effects; it has no rule of its own.
 */
import type { Container } from '../crds/index.ts';
import { containerIDOf, finalizer } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import { accountFor } from './account.ts';
import { type Applied, applyStep, wordsOf } from './apply.ts';
import { debugNews } from './debug-sessions.ts';
import { decide, type Step } from './decide.ts';
import { keyOf, mutableHashOf } from './desired.ts';
import { noteFreezing } from './drift.ts';
import { bareEntryKeyOf, type Entry, type ReconcileDeps, signatureOf, type View } from './entry.ts';
import { RuntimeCallTimeoutError } from './guarded-runtime.ts';
import { adopt, decideStray, historyBefore, observeOwnership, reconcileBare } from './handover.ts';
import { historyFromStatus } from './history-from-status.ts';
import { laterHistory } from './later-history.ts';
import { checkCycle, observeDependencies, observeMutable } from './observe.ts';
import { noteHealth, observeHold, wakeHeld } from './observe-health.ts';
import { haltOrphan } from './orphans.ts';
import { findPullObstacle, noteCredentials } from './pull-secrets.ts';
import { deleteExpired, releaseObject, writeBack } from './write-back.ts';

/** What came of it. */
export interface Outcome {
  /** When to look at the key again; undefined: when something happens. */
  readonly againInMs: number | undefined;
  /** Something failed that is to be tried again, besides. */
  readonly failure: unknown;
}

const maxSteps = 25;
/** After so many steps in a row something flaps: give others their turn. */
const pauseMs = 1_000;

/** `entry`: what is remembered of the container of this key, if it has one. */
export async function reconcile(
  key: string,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<Outcome & { readonly entry: Entry | undefined }> {
  const object = deps.view.object(key);
  const id = deps.view.containerIDOf(key);
  const outcomes: Outcome[] = [];
  let hasPredecessor = false;
  for (const other of deps.view.containersOf(key)) {
    if (other === id) continue;
    try {
      const fate = await decideStray(key, other, deps);
      if (fate === 'not-ours') continue;
      if (fate === 'kept') {
        hasPredecessor = true;
        continue;
      }
      const againInMs = fate === 'inherited' ? pauseMs : await haltOrphan(key, other, deps);
      if (againInMs === undefined) continue;
      outcomes.push({ againInMs, failure: undefined });
    } catch (failure) {
      if (signal.aborted) throw failure;
      outcomes.push({ againInMs: undefined, failure });
    }
    hasPredecessor = true;
  }
  if (object === undefined) deps.metrics.forget(key);
  else outcomes.push(await reconcileObject(object, hasPredecessor, deps, signal));
  const waits = outcomes.flatMap(({ againInMs }) => againInMs ?? []);
  return {
    againInMs: waits.length === 0 ? undefined : Math.max(1, Math.min(...waits)),
    failure: outcomes.find(({ failure }) => failure !== undefined)?.failure,
    entry: id === undefined ? undefined : deps.entries.get(id),
  };
}

async function reconcileObject(
  object: Container,
  hasPredecessor: boolean,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<Outcome> {
  const { runtime, view, now, log, puller, starts } = deps;
  const { name, namespace, generation, deletionTimestamp, finalizers } = object.metadata;
  const key = keyOf(object);
  const parsed = checkCycle(object, deps.parse(object), view);
  const id = parsed.containerID;

  for (let count = 1; ; count += 1) {
    signal.throwIfAborted();
    const desired = noteCredentials(parsed, object, deps.sources);
    const container = await runtime.containers.inspect(id);
    const ownership = observeOwnership({ object, containerID: id }, container, deps);
    if (ownership.kind === 'adopt') {
      if (container !== undefined) await adopt({ object, container }, deps);
      continue;
    }
    if (ownership.kind !== 'own') return await reconcileBare({ object, desired, ownership }, deps, signal);
    const entry = entryOf({ object, id, generation }, deps);
    // Claimed before anything is made, so that nothing of it outlives its object.
    view.claim(key, id);
    entry.history = accountFor(entry.history, desired, container, now());
    if (noteSignature(entry, container, view)) wakeHeld(object, desired, deps);
    const isBeingStopped = deletionTimestamp !== undefined || entry.history.stop !== undefined;
    const freezing = noteFreezing(entry.freezing, {
      container: isBeingStopped ? undefined : container,
      shouldPause: desired.shouldPause,
    });
    entry.freezing = freezing.settled;
    if (freezing.isDrift) deps.drift.report({ kind: 'pause', containerID: id });
    noteDebugSessions({ object, entry, container }, deps);
    const dependencies = await observeDependencies(object, desired, deps);
    const state = await observeMutable(desired, object, dependencies, deps);
    const mutable = state.kind === 'known' ? state.mutable : undefined;
    const { secrets } = state;
    noteHealth({ object, desired, container, entry, secrets }, deps);
    const hold = await observeHold({ object, desired, container, entry }, deps);
    const image = puller.stateOf(desired);
    const decided = decide({
      isDeleting: deletionTimestamp !== undefined,
      hasFinalizer: finalizers?.includes(finalizer) ?? false,
      desired,
      mutableHash: mutable === undefined ? undefined : mutableHashOf(desired, mutable),
      obstacle: state.kind === 'known' ? undefined : state.obstacle,
      pullObstacle: findPullObstacle(object, deps.sources),
      container,
      image,
      dependencies,
      hasPredecessor,
      hold,
      prepareAtMs: entry.prepareAtMs,
      preStop: deps.prober.preStopState(id),
      history: entry.history,
      nowMs: now(),
    });
    const turn =
      decided.kind === 'start' && container !== undefined ? starts.turnOf(key, container, entry.history) : undefined;
    if (turn?.kind === 'wait-briefly') return { againInMs: turn.ms, failure: undefined };
    const step: Step = turn?.kind === 'wait' ? turn : decided;
    if (step.kind !== 'settled') log.debug({ container: name, namespace, containerID: id, step: step.kind }, 'step');
    const { applied, failure } = await attempt(
      step,
      () => applyStep(step, { object, desired, mutable, secrets, container, dependencies, entry }, deps, signal),
      signal,
    );
    if (applied.kind === 'gone') return await letGo(object, entry, deps, signal);
    if (applied.kind === 'again' && count < maxSteps) continue;
    const trouble = failure === undefined ? undefined : troubleOf(step, failure);
    if (trouble !== undefined) deps.events.record(object, 'Warning', trouble.reason, trouble.message);
    // Where there was nothing to do it is as it was seen.
    const after = step.kind === 'settled' ? container : await runtime.containers.inspect(id);
    const written = await writeBack({ object, desired, container: after, entry, step, image, trouble }, deps, signal);
    const isOver = step.kind === 'expire' && written.kind === 'done';
    const last = isOver ? await deleteExpired(object, entry, deps, signal) : written;
    const againInMs = applied.kind === 'again' || isOver ? pauseMs : applied.ms;
    return {
      againInMs: last.kind === 'deferred' ? Math.min(last.ms, againInMs ?? Infinity) : againInMs,
      failure: failure ?? (last.kind === 'failed' ? last.failure : undefined),
    };
  }
}

function entryOf(
  { object, id, generation }: { object: Container; id: string; generation: number },
  { entries, view, checkpoint }: ReconcileDeps,
): Entry {
  const known = entries.get(id);
  if (known?.key === keyOf(object)) return known;
  const history =
    known?.history ??
    laterHistory(checkpoint.historyOf(id), historyBefore(object, view) ?? historyFromStatus(object.status, generation));
  const told = wordsOf({ history });
  const bareKey = bareEntryKeyOf(object);
  const bare = entries.get(bareKey);
  const made: Entry = bare ?? { key: keyOf(object), history };
  made.history = history;
  made.told = told;
  made.signature = known?.signature;
  made.debugSessions = known?.debugSessions;
  if (bare !== undefined) entries.delete(bareKey);
  entries.set(id, made);
  return made;
}

/** A step that fails is no reason to be silent: its failure goes into the status, and it is tried again. */
async function attempt(
  step: Step,
  carryOut: () => Promise<Applied>,
  signal: AbortSignal,
): Promise<{ applied: Applied; failure: unknown }> {
  try {
    return { applied: await carryOut(), failure: undefined };
  } catch (failure) {
    if (signal.aborted) throw failure;
    return {
      applied: { kind: 'rest', ms: undefined },
      failure: failure ?? new Error(`${step.kind} failed without an error`),
    };
  }
}

const troubleReasons: Readonly<Partial<Record<Step['kind'], string>>> = {
  update: 'FailedUpdate',
  remove: 'FailedRemove',
  'pre-stop': 'FailedKill',
  stop: 'FailedKill',
  kill: 'FailedKill',
  pause: 'FailedPause',
  resume: 'FailedResume',
  signal: 'FailedSignal',
};

function troubleOf({ kind }: Step, failure: unknown): { reason: string; message: string } {
  const message = failure instanceof Error ? failure.message : String(failure);
  if (failure instanceof RuntimeCallTimeoutError) return { reason: 'RuntimeCallTimeout', message };
  return { reason: troubleReasons[kind] ?? 'Failed', message: `${message} (it is tried again)` };
}

async function letGo(object: Container, entry: Entry, deps: ReconcileDeps, signal: AbortSignal): Promise<Outcome> {
  const result = await releaseObject(object, entry, deps, signal);
  if (result.kind !== 'done')
    return { againInMs: undefined, failure: result.kind === 'failed' ? result.failure : undefined };
  const key = keyOf(object);
  const id = containerIDOf(object);
  deps.puller.forget(id);
  deps.prober.forget(key, id);
  deps.entries.delete(id);
  deps.view.release(key, id);
  deps.metrics.forget(key);
  return { againInMs: undefined, failure: undefined };
}

function noteDebugSessions(
  { object, entry, container }: { object: Container; entry: Entry; container: ContainerInfo | undefined },
  { events }: ReconcileDeps,
): void {
  const now = container?.debugSessions ?? 0;
  const news = debugNews(entry.debugSessions ?? object.status?.debugSessions ?? 0, now);
  entry.debugSessions = now;
  if (news !== undefined) events.record(object, 'Normal', news.reason, news.message);
}

/** Returns whether it is another. */
function noteSignature(entry: Entry, container: ContainerInfo | undefined, view: View): boolean {
  const signature = signatureOf(container);
  if (signature === entry.signature) return false;
  entry.signature = signature;
  view.stateChanged(entry.key);
  return true;
}
