/** Carries one step out. Effects; it has no rule of its own. */
import {
  ContainerConfigError,
  type ContainerInfo,
  ImageNotPresentError,
  MountError,
  PortTakenError,
  StartError,
} from '../runtime/index.ts';
import { accountForStartFailure, type StartFailure } from './account-failures.ts';
import { beginPreStop, sendKill, sendStop } from './apply-stop.ts';
import type { Step } from './decide.ts';
import { rememberRuns } from './dependencies.ts';
import { keyOf, labelsOf, type Mutable } from './desired.ts';
import type { Entry, ReconcileDeps, Work } from './entry.ts';
import { RuntimeCallTimeoutError } from './guarded-runtime.ts';
import { hideInError, hideSecrets } from './hide-secrets.ts';
import { accountForReplacement, withdrawStop } from './history.ts';
import { identityFields } from './identity.ts';
import { defaultNetworks } from './networks.ts';
import { deleteVolumes, killCheckMs } from './orphans.ts';
import { securityFields } from './security.ts';
import { decideSignal, type SignalRequest } from './signal-request.ts';
import { preparedPauseMs } from './status-pace.ts';

export type Applied =
  /** Something changed: decide anew. */
  | { readonly kind: 'again' }
  /** Nothing more to do now; look again in so many milliseconds, or when something happens. */
  | { readonly kind: 'rest'; readonly ms: number | undefined }
  /** Nothing of the container is left; the object may go. */
  | { readonly kind: 'gone' };

/** When what was to be prepared only, and could not be, is tried again. */
const prepareAgainMs = 30_000;

const again: Applied = { kind: 'again' };

export async function applyStep(step: Step, work: Work, deps: ReconcileDeps, signal: AbortSignal): Promise<Applied> {
  const { object, entry, desired } = work;
  const { runtime, events, now } = deps;
  const id = desired.containerID;
  switch (step.kind) {
    case 'settled':
    case 'wait':
      if (step.kind === 'settled' && desired.shouldRun) entry.history = withdrawStop(entry.history);
      noteDependencies('rest', work);
      tell(step, work, deps);
      return { kind: 'rest', ms: step.untilMs === undefined ? undefined : step.untilMs - now() };
    case 'finalize':
      await removeVolumes(work, deps);
      return { kind: 'gone' };
    case 'remove':
      if (step.because === 'deleted' && object.spec.imageVolumes !== undefined)
        // What was asked for last counts, also of one that was deleted before that could be carried out.
        await runtime.containers.update(id, {
          keepsImageVolumes: object.spec.imageVolumes.reclaimPolicy === 'Retain',
        });
      await runtime.containers.remove(id, { volumes: step.because === 'replaced' ? 'keep' : 'remove' });
      deps.puller.forget(id);
      entry.history = accountForReplacement(entry.history);
      if (step.because === 'replaced')
        events.record(object, 'Normal', 'Replaced', 'removed the container of the former spec');
      return again;
    case 'pre-stop':
      await beginPreStop(step, work, deps);
      return again;
    case 'stop':
      await sendStop(step, work, deps);
      return again;
    case 'kill':
      await sendKill(work, deps);
      return { kind: 'rest', ms: killCheckMs };
    case 'pause':
      await runtime.containers.pause(id);
      events.record(object, 'Normal', 'Paused', 'froze the processes of the container');
      return again;
    case 'resume':
      await runtime.containers.resume(id);
      events.record(object, 'Normal', 'Resumed', 'the processes of the container go on');
      return again;
    case 'signal':
      await sendSignal(step.request, work, deps);
      return again;
    case 'expire':
      tell(step, work, deps);
      return { kind: 'rest', ms: undefined };
    case 'ensure-image':
      if (!desired.shouldRun) entry.prepareAtMs = now() + prepareAgainMs;
      await deps.puller.ensure({ object, desired, entry }, signal);
      return again;
    case 'create':
    case 'start':
      await createOrStart(step, work, deps, signal);
      return again;
    case 'update': {
      const mutable = provideMutable(work);
      // What was given up is said, since what is left out stays as it is.
      const { dns = desired.config.dns, networks = defaultNetworks } = mutable;
      await runtime.containers.update(id, { ...mutable, dns, networks, labels: labelsOf(object, desired, mutable) });
      return again;
    }
    default:
      throw new TypeError(`unknown step: ${JSON.stringify(step satisfies never)}`);
  }
}

/** Which runs of others it was started with, as far as that matters. */
function noteDependencies(at: 'start' | 'rest', { entry, desired, dependencies, container }: Work): void {
  if (at === 'rest' && container?.state.kind !== 'running') return;
  const startedWith = rememberRuns(entry.history.startedWith, desired, dependencies, at);
  if (startedWith !== entry.history.startedWith) entry.history = { ...entry.history, startedWith };
}

/** What a replacement kept that then never came, and named volumes that go with the object. */
async function removeVolumes({ desired, object }: Work, deps: ReconcileDeps): Promise<void> {
  const { containers } = deps.runtime;
  if ((await containers.listKept()).includes(desired.containerID)) await containers.remove(desired.containerID);
  await deleteVolumes(desired.volumesToDelete ?? [], keyOf(object), deps);
}

function isPaused(container: ContainerInfo | undefined): boolean {
  return container?.state.kind === 'running' && container.state.isPaused === true;
}

/** Noted after the signal: one that could not be sent is sent again, and a daemon killed in between sends it twice. */
async function sendSignal(
  request: SignalRequest,
  { object, entry, container }: Work,
  deps: ReconcileDeps,
): Promise<void> {
  const process = container?.state.kind !== 'running' ? 'down' : isPaused(container) ? 'paused' : 'running';
  const { signal, message } = decideSignal(request, process);
  if (signal !== undefined && container !== undefined) await deps.runtime.containers.signal(container.id, signal);
  const lastSignal = { request: request.request, signal, atMs: deps.now(), message };
  entry.history = { ...entry.history, lastSignal };
  deps.events.record(
    object,
    signal === undefined ? 'Warning' : 'Normal',
    signal === undefined ? 'SignalRefused' : 'Signalled',
    message,
  );
}

function provideMutable({ mutable }: Work): Mutable {
  if (mutable === undefined) throw new TypeError('a step needs what other objects give, and that is not known');
  return mutable;
}

async function createOrStart(
  step: Extract<Step, { kind: 'create' | 'start' }>,
  work: Work,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<void> {
  const { object, desired, entry, secrets } = work;
  const { runtime, events, view, puller, now, log } = deps;
  const id = desired.containerID;
  try {
    if (step.kind === 'create') {
      const mutable = provideMutable(work);
      const labels = labelsOf(object, desired, mutable);
      view.claim(keyOf(object), id);
      const { dns = desired.config.dns } = mutable;
      await runtime.containers.create({ ...desired.config, ...mutable, dns, imageID: step.imageID, labels }, signal);
      // The next creation asks for the image anew, as imagePullPolicy says.
      puller.forget(id);
      entry.prepareAtMs = undefined;
      if (!desired.shouldRun) entry.statusDueMs = now() + preparedPauseMs;
      events.record(object, 'Normal', 'Created', `created the container from the image "${desired.image}"`);
      return;
    }
    await deps.starts.run(keyOf(object), () => runtime.containers.start(id, signal));
    noteDependencies('start', work);
    puller.forget(id);
    const isFirst = entry.history.seenStartMs === undefined;
    events.record(object, 'Normal', 'Started', isFirst ? 'started the container' : 'started the container again');
  } catch (error) {
    if (signal.aborted) throw error;
    if (!desired.shouldRun) {
      puller.forget(id);
      entry.prepareAtMs = now() + prepareAgainMs;
    }
    if (error instanceof ImageNotPresentError) {
      if (step.kind === 'create') return puller.forget(id);
      if ((await fetchLostImage(work, deps, signal)) === 'replaced') return;
    }
    const { name, namespace } = object.metadata;
    const told = hideInError(error, secrets);
    log.warn({ container: name, namespace, containerID: id, step: step.kind, err: told }, 'step failed');
    const after = await runtime.containers.inspect(id);
    const finishedAtMs = after?.state.kind === 'exited' ? Math.round(after.state.exit.finishedAtMs) : undefined;
    const found = failureOf(step.kind, error);
    const failure = { ...found, message: hideSecrets(found.message, secrets), finishedAtMs };
    entry.history = accountForStartFailure(entry.history, desired, failure, now());
    events.record(object, 'Warning', 'Failed', failure.message);
  }
}

/**
 * The image was lost from under its container: by hand, or by a disk that failed, for none in use is collected. It is
 * fetched again. If its name gives another image by now, this container can never start any more, and makes way for a new one.
 */
async function fetchLostImage(
  { object, desired, entry, container }: Work,
  { puller, runtime, events }: ReconcileDeps,
  signal: AbortSignal,
): Promise<'fetching' | 'replaced'> {
  const image = puller.stateOf(desired);
  if (image.kind === 'pulling') return 'fetching';
  puller.forget(desired.containerID);
  if (image.kind === 'unknown' || image.imageID === container?.imageID) {
    await puller.ensure({ object, desired, entry }, signal);
    return 'fetching';
  }
  await runtime.containers.remove(desired.containerID, { volumes: 'keep' });
  entry.history = accountForReplacement(entry.history);
  const what = `removed the container, whose image is lost: "${desired.image}" gives another one now`;
  events.record(object, 'Warning', 'Replaced', what);
  return 'replaced';
}

/** The runtime's words for what the spec calls otherwise. */
const specFields: Readonly<Record<string, string>> = {
  entrypoint: 'command',
  cmd: 'args',
  imageID: 'image',
  mounts: 'volumeMounts',
  files: 'volumes',
  ...identityFields,
  ...securityFields,
};

/** In Kubernetes' words, what went wrong. A command that cannot run is the spec's fault; the rest may heal by itself. */
function failureOf(of: 'create' | 'start', error: unknown): StartFailure {
  const message = error instanceof Error ? error.message : String(error);
  const failure = { of, message, exitCode: undefined };
  if (error instanceof RuntimeCallTimeoutError) return { ...failure, reason: 'RuntimeCallTimeout' };
  if (error instanceof StartError) return { ...failure, reason: 'RunContainerError', exitCode: error.exitCode };
  if (error instanceof PortTakenError) return { ...failure, reason: 'HostPortConflict' };
  if (error instanceof MountError) return { ...failure, reason: 'FailedMount' };
  if (error instanceof ContainerConfigError) {
    const field = specFields[error.field] ?? error.field;
    return { ...failure, reason: 'CreateContainerConfigError', message: `spec.${field}: ${message}` };
  }
  return { ...failure, reason: of === 'create' ? 'CreateContainerError' : 'RunContainerError' };
}

/** Each wait and each verdict becomes one event. */
function tell(
  step: Extract<Step, { kind: 'wait' | 'settled' | 'expire' }>,
  { object, entry }: Work,
  { events }: ReconcileDeps,
): void {
  const { retry, final } = entry.history;
  if (step.kind !== 'wait') {
    if (final === undefined) entry.told = undefined;
    else if (isNews(entry, wordsOf(entry)))
      events.record(object, final.reason === 'Completed' ? 'Normal' : 'Warning', final.reason, final.message);
    return;
  }
  if (retry !== undefined && step.reason === retry.reason) {
    if (!isNews(entry, wordsOf(entry))) return;
    const what = retry.of === 'image' ? 'tries to fetch the image again' : 'starts the container again';
    const when = `${(retry.delayMs / 1000).toFixed(1)}s`;
    events.record(object, 'Warning', 'BackOff', `${what} in ${when}: ${retry.message}`);
    return;
  }
  const isNewWait = isNews(entry, `${step.reason} ${step.message}`);
  if (isNewWait && step.reason === 'CreateContainerConfigError')
    return events.record(object, 'Warning', 'Failed', `Error: ${step.message}`); // the kubelet's words
  if (isNewWait && step.reason === 'FailedMount') return events.record(object, 'Warning', step.reason, step.message);
  const isProblem = step.reason === 'InvalidSpec' || step.reason === 'DependencyCycle';
  if (isNewWait && (isProblem || step.reason === 'WaitingForDependency'))
    events.record(object, isProblem ? 'Warning' : 'Normal', step.reason, step.message);
}

function isNews(entry: Entry, words: string | undefined): boolean {
  if (entry.told === words) return false;
  entry.told = words;
  return true;
}

/** What an event about this history says, to know it again; also for one that an earlier controller told of. */
export function wordsOf({ history: { retry, final } }: Pick<Entry, 'history'>): string | undefined {
  if (final !== undefined) return `final ${final.reason}`;
  return retry === undefined ? undefined : `retry ${retry.attempt} ${retry.message}`;
}
