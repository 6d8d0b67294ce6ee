/**
 * Brings one container to what its object asks for: observes, decides (decide.ts), carries the step out, until there is
 * nothing to do but wait; then writes the status. Effects; it has no rule of its own.
 */
import type { Logger } from 'pino';
import type { Container, ContainerStatus } from '../crds/index.ts';
import {
  ContainerConfigError,
  type ContainerInfo,
  ImageNotPresentError,
  PortTakenError,
  type Runtime,
  StartError,
} from '../runtime/index.ts';
import { type ContainerApi, finalizer } from './api.ts';
import { ApiError } from './client.ts';
import { decide, decideHalt, type ImageState, type Step } from './decide.ts';
import {
  containerIDOf,
  type Desired,
  hashOf,
  keyOf,
  type Link,
  labelKeys,
  labelsOf,
  type Mutable,
  parseDesired,
  type SpecProblem,
} from './desired.ts';
import type { EventRecorder } from './events.ts';
import {
  accountFor,
  accountForReplacement,
  accountForStartFailure,
  emptyHistory,
  type History,
  historyFromStatus,
  type StartFailure,
} from './history.ts';
import type { ImagePuller } from './images.ts';
import { type Dependency, findCycle, linkEnv, linkHosts } from './links.ts';
import type { ControllerMetrics } from './metrics.ts';
import { diffStatus, formatStatus } from './status.ts';

/** What the controller keeps of one container of this host, by its id. */
export interface Entry {
  readonly key: string;
  history: History;
  /** The status that was last written, and the version that write made, until the watch has shown it. */
  written?:
    | { readonly status: ContainerStatus | undefined; readonly version: string; readonly atMs: number }
    | undefined;
  /** What the runtime last showed, to tell drift from news. */
  signature?: string | undefined;
  /** Waits and problems that were told of, so that each becomes one event. */
  told?: string | undefined;
}

/** The present objects, and which containers of the host belong to which key. */
export interface View {
  object(key: string): Container | undefined;
  /** Ids of the containers on this host, known or suspected, that carry this key. */
  containersOf(key: string): readonly string[];
  claim(key: string, id: string): void;
  release(key: string, id: string): void;
  /** Called when the state of a container changed, for those that depend on it. */
  stateChanged(key: string): void;
}

export interface ReconcileDeps {
  readonly runtime: Runtime;
  readonly api: ContainerApi;
  readonly view: View;
  readonly entries: Map<string, Entry>;
  readonly puller: ImagePuller;
  readonly events: EventRecorder;
  readonly metrics: ControllerMetrics;
  readonly nodeName: string;
  readonly now: () => number;
  readonly log: Logger;
}

/** When to look at the key again; undefined: when something happens. */
export interface Outcome {
  readonly againInMs: number | undefined;
}

const maxSteps = 25;
/** After SIGKILL: how soon to look again if no exit is reported. */
const killCheckMs = 500;

export async function reconcile(key: string, deps: ReconcileDeps, signal: AbortSignal): Promise<Outcome> {
  const object = deps.view.object(key);
  const id = object === undefined ? undefined : containerIDOf(object.metadata.uid);
  const waits: (number | undefined)[] = [];
  let hasPredecessor = false;
  for (const other of deps.view.containersOf(key)) {
    if (other === id) continue;
    const wait = await haltOrphan(key, other, deps);
    if (wait !== undefined) {
      hasPredecessor = true;
      waits.push(wait);
    }
  }
  if (object === undefined) deps.metrics.forget(key);
  else waits.push(await reconcileObject(object, hasPredecessor, deps, signal));
  const due = waits.filter((wait) => wait !== undefined);
  return { againInMs: due.length === 0 ? undefined : Math.max(1, Math.min(...due)) };
}

/** Stops and removes a container whose object is gone. Returns when to look again, or undefined once it is removed. */
async function haltOrphan(key: string, id: string, deps: ReconcileDeps): Promise<number | undefined> {
  const { runtime, now, log } = deps;
  const container = await runtime.containers.inspect(id);
  const entry = deps.entries.get(id) ?? { key, history: emptyHistory };
  if (container?.state.kind === 'running') {
    deps.entries.set(id, entry);
    const step = decideHalt(
      { stop: entry.history.stop, graceMs: Number(container.labels[labelKeys.graceMs] ?? 0), nowMs: now() },
      'orphaned',
    );
    log.info({ containerID: id, container: key, step: step.kind }, 'container without an object');
    if (step.kind === 'wait') return step.untilMs - now();
    if (step.kind === 'stop') {
      entry.history = { ...entry.history, stop: { sinceMs: now(), killAtMs: step.killAtMs } };
      await runtime.containers.signal(id, container.stopSignal);
      return step.killAtMs - now();
    }
    await runtime.containers.signal(id, 9);
    return killCheckMs;
  }
  if (container !== undefined) {
    log.info({ containerID: id, container: key }, 'removing a container whose object is gone');
    await runtime.containers.remove(id);
  }
  deps.puller.forget(id);
  deps.entries.delete(id);
  deps.view.release(key, id);
  deps.view.stateChanged(key);
  return undefined;
}

async function reconcileObject(
  object: Container,
  hasPredecessor: boolean,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { runtime, view, entries, now, log } = deps;
  const key = keyOf(object);
  const desired = checkCycle(object, parseDesired(object), view);
  const id = containerIDOf(object.metadata.uid);
  const entry = entries.get(id) ?? { key, history: historyFromStatus(object.status) };
  entries.set(id, entry);
  const isDeleting = object.metadata.deletionTimestamp !== undefined;
  const hasFinalizer = object.metadata.finalizers?.includes(finalizer) ?? false;
  // In parallel with the start; awaited before the status is written. Without a store, healing must go on all the same.
  const finalizing = isDeleting || hasFinalizer ? undefined : settle(deps.api.setFinalizer(object, true, signal));

  for (let count = 0; ; count += 1) {
    signal.throwIfAborted();
    const container = await runtime.containers.inspect(id);
    if (!('message' in desired)) entry.history = accountFor(entry.history, desired, container, now());
    noteSignature(entry, container, key, view);
    const dependencies = 'message' in desired ? [] : await observeDependencies(object, desired, deps);
    const mutable = 'message' in desired ? undefined : mutableOf(desired, object, dependencies);
    const image: ImageState = 'message' in desired ? { kind: 'unknown' } : deps.puller.stateOf(id, desired.image);
    const step = decide({
      isDeleting,
      hasFinalizer,
      desired,
      mutableHash:
        mutable === undefined || 'message' in desired ? undefined : hashOf({ ...mutable, graceMs: desired.graceMs }),
      container,
      image,
      dependencies,
      hasPredecessor,
      history: entry.history,
      nowMs: now(),
    });
    if (step.kind !== 'settled')
      log.debug(
        { container: object.metadata.name, namespace: object.metadata.namespace, containerID: id, step: step.kind },
        'step',
      );
    const rest =
      count >= maxSteps ? 1_000 : await apply({ step, object, desired, mutable, container, entry }, deps, signal);
    if (rest === 'again') continue;
    if (rest === 'gone') return undefined;
    const failure = await finalizing;
    await writeStatus(
      { object, desired, container: await runtime.containers.inspect(id), entry, step, image },
      deps,
      signal,
    );
    if (failure !== undefined && !isGone(failure)) throw failure;
    return rest;
  }
}

interface Work {
  readonly step: Step;
  readonly object: Container;
  readonly desired: Desired | SpecProblem;
  readonly mutable: Mutable | undefined;
  readonly container: ContainerInfo | undefined;
  readonly entry: Entry;
}

/** Carries one step out. 'again': decide anew; 'gone': the object is let go; a number: look again in so many ms; undefined: when something happens. */
async function apply(
  work: Work,
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<'again' | 'gone' | number | undefined> {
  const { step, object, entry, container } = work;
  const { runtime, events, now, view } = deps;
  const id = containerIDOf(object.metadata.uid);
  switch (step.kind) {
    case 'settled':
    case 'wait':
      tellOfWait(step, work, deps);
      return step.untilMs === undefined ? undefined : step.untilMs - now();
    case 'finalize':
      await settleGone(deps.api.setFinalizer(object, false, signal));
      deps.puller.forget(id);
      deps.entries.delete(id);
      view.release(keyOf(object), id);
      deps.metrics.forget(keyOf(object));
      return 'gone';
    case 'remove':
      await runtime.containers.remove(id);
      entry.history = accountForReplacement(entry.history);
      if (step.because === 'replaced')
        events.record(object, 'Normal', 'Replaced', 'removed the container of the former spec');
      return 'again';
    case 'stop': {
      entry.history = { ...entry.history, stop: { sinceMs: now(), killAtMs: step.killAtMs } };
      const number = 'message' in work.desired ? undefined : work.desired.stopSignal;
      events.record(object, 'Normal', 'Killing', `stopping the container (${step.because})`);
      await runtime.containers.signal(id, number ?? container?.stopSignal ?? 15);
      return 'again';
    }
    case 'kill':
      entry.history = { ...entry.history, stop: entry.history.stop ?? { sinceMs: now(), killAtMs: now() } };
      await runtime.containers.signal(id, 9);
      return killCheckMs;
    case 'ensure-image':
      // decide() asks for an image only when the spec could be parsed.
      if ('message' in work.desired) throw new TypeError('an image is wanted for a spec that could not be read');
      return (await deps.puller.ensure({ object, desired: work.desired, entry }, signal)) ? 'again' : undefined;
    case 'create':
    case 'start':
    case 'update':
      if ('message' in work.desired || work.mutable === undefined)
        throw new TypeError(`${step.kind} is wanted for a spec that could not be read`);
      return await change(step, { ...work, desired: work.desired, mutable: work.mutable }, deps, signal);
    default:
      throw new TypeError(`unknown step: ${JSON.stringify(step satisfies never)}`);
  }
}

async function change(
  step: Extract<Step, { kind: 'create' | 'start' | 'update' }>,
  work: Work & { readonly desired: Desired; readonly mutable: Mutable },
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<'again'> {
  const { object, desired, mutable, entry } = work;
  const { runtime, events, view, now } = deps;
  const id = desired.containerID;
  const labels = labelsOf(object, desired, mutable);
  try {
    switch (step.kind) {
      case 'create':
        view.claim(keyOf(object), id);
        await runtime.containers.create(
          { ...desired.config, imageID: step.imageID, hosts: mutable.hosts, env: mutable.env, labels },
          signal,
        );
        events.record(object, 'Normal', 'Created', `created the container from the image "${desired.image}"`);
        break;
      case 'start':
        await runtime.containers.start(id, signal);
        events.record(
          object,
          'Normal',
          'Started',
          entry.history.seenStartMs === undefined ? 'started the container' : 'started the container again',
        );
        break;
      case 'update':
        await runtime.containers.update(id, { ...mutable, labels });
        break;
      default:
        throw new TypeError(`unknown step: ${JSON.stringify(step satisfies never)}`);
    }
    return 'again';
  } catch (error) {
    if (signal.aborted || step.kind === 'update') throw error;
    if (error instanceof ImageNotPresentError) {
      deps.puller.forget(id);
      return 'again';
    }
    const failure = failureOf(step.kind, error);
    deps.log.warn(
      {
        container: object.metadata.name,
        namespace: object.metadata.namespace,
        containerID: id,
        step: step.kind,
        err: error,
      },
      'step failed',
    );
    entry.history = accountForStartFailure(entry.history, desired, failure, now());
    // Whatever the failed start left is accounted for by the line above.
    const after = await runtime.containers.inspect(id);
    if (after?.state.kind === 'exited')
      entry.history = {
        ...entry.history,
        seenExitMs: Math.round(after.state.exit.finishedAtMs),
        seenStartMs: after.state.startedAtMs ?? entry.history.seenStartMs,
      };
    events.record(object, 'Warning', 'Failed', failure.message);
    return 'again';
  }
}

/** In Kubernetes' words, what went wrong. A command that cannot run is the spec's fault; the rest may heal by itself. */
function failureOf(of: 'create' | 'start', error: unknown): StartFailure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof StartError) return { of, reason: 'RunContainerError', message, exitCode: error.exitCode };
  if (error instanceof PortTakenError) return { of, reason: 'HostPortConflict', message, exitCode: undefined };
  if (error instanceof ContainerConfigError)
    return {
      of,
      reason: 'CreateContainerConfigError',
      message: `spec.${error.field}: ${message}`,
      exitCode: undefined,
    };
  return { of, reason: of === 'create' ? 'CreateContainerError' : 'RunContainerError', message, exitCode: undefined };
}

function tellOfWait(
  step: Extract<Step, { kind: 'wait' | 'settled' }>,
  { object, entry }: Work,
  { events }: ReconcileDeps,
): void {
  const { retry, final } = entry.history;
  const isBackoff = retry !== undefined && step.kind === 'wait' && step.reason === retry.reason;
  const word = isBackoff
    ? `retry ${retry.attempt} ${retry.message}`
    : step.kind === 'wait'
      ? `${step.reason} ${step.message}`
      : final === undefined
        ? undefined
        : `final ${final.reason}`;
  if (word === entry.told) return;
  entry.told = word;
  if (isBackoff)
    events.record(
      object,
      'Warning',
      'BackOff',
      `${retry.of === 'image' ? 'tries to fetch the image again' : 'starts the container again'} in ${(retry.delayMs / 1000).toFixed(1)}s: ${retry.message}`,
    );
  else if (
    step.kind === 'wait' &&
    (step.reason === 'InvalidSpec' || step.reason === 'DependencyCycle' || step.reason === 'WaitingForDependency')
  ) {
    events.record(object, step.reason === 'WaitingForDependency' ? 'Normal' : 'Warning', step.reason, step.message);
  } else if (step.kind === 'settled' && final !== undefined)
    events.record(object, final.reason === 'Completed' ? 'Normal' : 'Warning', final.reason, final.message);
}

function noteSignature(entry: Entry, container: ContainerInfo | undefined, key: string, view: View): void {
  const signature = signatureOf(container);
  if (signature === entry.signature) return;
  entry.signature = signature;
  if (container !== undefined) view.claim(key, container.id);
  view.stateChanged(key);
}

/** Changes whenever something that others may wait for, or that a relist should notice, changes. */
export function signatureOf(container: ContainerInfo | undefined): string {
  if (container === undefined) return 'none';
  const { state } = container;
  return `${state.kind} ${state.kind === 'running' ? `${state.pid} ${state.startedAtMs}` : ''} ${container.ip ?? ''}`;
}

/** The spec's problem, if its dependencies run in a circle. */
function checkCycle(object: Container, desired: Desired | SpecProblem, view: View): Desired | SpecProblem {
  if ('message' in desired || desired.dependsOn.length === 0) return desired;
  const { namespace, name } = object.metadata;
  const cycle = findCycle(name, (one) => namesOf(one === name ? object : view.object(`${namespace}/${one}`)));
  // Only those in the circle are at fault; whoever merely depends on one of them waits.
  if (cycle === undefined || !cycle.includes(name)) return desired;
  return {
    reason: 'DependencyCycle',
    message: `spec.links and spec.dependsOn: ${cycle.join(' → ')} is a circle, so none of them could ever start; remove one of these`,
  };
}

function namesOf(object: Container | undefined): string[] {
  return [...(object?.spec.links ?? []), ...(object?.spec.dependsOn ?? [])].map(({ name }) => name);
}

async function observeDependencies(
  object: Container,
  desired: Desired,
  { view, runtime }: ReconcileDeps,
): Promise<Dependency[]> {
  return await Promise.all(
    desired.dependsOn.map(async (name): Promise<Dependency> => {
      const target = view.object(`${object.metadata.namespace}/${name}`);
      const unknown: Dependency = { name, state: target === undefined ? 'missing' : 'waiting', ports: [], env: [] };
      if (target === undefined) return unknown;
      const container = await runtime.containers.inspect(containerIDOf(target.metadata.uid));
      if (container === undefined) return unknown;
      const isLinked = desired.links.some((link: Link) => link.name === name);
      const imageConfig = isLinked ? (await runtime.images.inspect(container.imageID))?.config : undefined;
      const { state } = container;
      return {
        name,
        state:
          state.kind === 'running'
            ? 'running'
            : state.kind === 'exited' && state.exit.code === 0
              ? 'completed'
              : 'waiting',
        ip: container.ip,
        hostname: target.spec.hostname ?? name,
        ports: (target.spec.ports ?? []).map((port) => ({
          port: port.containerPort,
          protocol: port.protocol === 'UDP' ? 'udp' : 'tcp',
        })),
        env: target.spec.env ?? [],
        imageConfig,
      };
    }),
  );
}

/** What can change in place, as it should be; undefined while a link's target has no address, so that the old one is kept. */
function mutableOf(desired: Desired, object: Container, dependencies: readonly Dependency[]): Mutable | undefined {
  const { env, limits, log } = desired.config;
  if (desired.links.some(({ name }) => dependencies.find((one) => one.name === name)?.ip === undefined))
    return undefined;
  return {
    hosts: linkHosts(desired.links, dependencies),
    env: [...linkEnv(object.metadata.name, desired.links, dependencies), ...env],
    limits,
    log,
  };
}

async function writeStatus(
  {
    object,
    desired,
    container,
    entry,
    step,
    image,
  }: {
    object: Container;
    desired: Desired | SpecProblem;
    container: ContainerInfo | undefined;
    entry: Entry;
    step: Step;
    image: ImageState;
  },
  deps: ReconcileDeps,
  signal: AbortSignal,
): Promise<void> {
  const { api, metrics, nodeName, now, view } = deps;
  const key = keyOf(object);
  const latest = view.object(key);
  const isUnseen =
    entry.written !== undefined &&
    latest?.metadata.resourceVersion !== entry.written.version &&
    now() - entry.written.atMs < 5_000;
  const present = isUnseen ? entry.written?.status : (latest ?? object).status;
  const wanted = formatStatus({
    object: { ...object, status: present },
    desired,
    container,
    history: entry.history,
    image,
    step,
    nodeName,
    nowMs: now(),
  });
  metrics.report(key, {
    namespace: object.metadata.namespace,
    container: object.metadata.name,
    state: wanted.state ?? 'Created',
    isReady: wanted.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
    shouldRun: !('message' in desired) && desired.shouldRun && entry.history.final === undefined,
    backoffSeconds: wanted.backoff?.delaySeconds ?? 0,
    restartCount: wanted.restartCount ?? 0,
    exitCode: wanted.exitCode,
  });
  const patch = diffStatus(present, wanted);
  if (patch === undefined) return;
  try {
    const after = await api.patchStatus(object, patch, signal);
    entry.written = { status: after.status, version: after.metadata.resourceVersion, atMs: now() };
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** 404: the object is gone; 409: it is another object by now. The watch tells of both. */
function isGone(error: unknown): boolean {
  return error instanceof ApiError && (error.code === 404 || error.code === 409);
}

async function settle(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error ?? new Error('failed without an error');
  }
}

async function settleGone(promise: Promise<unknown>): Promise<void> {
  const error = await settle(promise);
  if (error === undefined) return;
  // A conflict: somebody changed the object meanwhile; the watch will bring it and the step is taken again.
  if (!(error instanceof ApiError && error.code === 404)) throw error;
}
