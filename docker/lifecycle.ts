/**
 * Starting, stopping and the like: what Docker does by a command is a wish in the object's spec here, and the answer waits
 * for the status that tells of it. Effects.
 */
import { RenameError, rename } from '../client/index.ts';
import { type Container, containerIDOf } from '../crds/index.ts';
import { isUp, stateOf } from './container-state.ts';
import { longestGraceSeconds } from './create-request.ts';
import { within } from './deadline.ts';
import { badParameter, conflict, DockerError } from './docker-error.ts';
import { attributesOf } from './event-rules.ts';
import { noSuchContainer } from './find.ts';
import type { Gateway } from './gateway-parts.ts';
import { dockerNameAnnotation, dockerNameOf, isDockerName, nameAnnotations, objectNameFor } from './names.ts';
import type { Objects } from './objects.ts';
import { removeContainer } from './removal.ts';
import type { Call, Route } from './route.ts';
import { formatSignal, parseSignal } from './signals.ts';
import { judgeStart } from './start-verdict.ts';

const startDeadlineMs = 120_000;
const settleDeadlineMs = 60_000;
const renameDeadlineMs = 30_000;

/** What a stop changed for once, as JSON: what it was before, so that the next start puts it back. */
const beforeStopAnnotation = 'holdfast.dev/docker-before-stop';
/** Asks the controller for a signal (controller/signal-request.ts). */
const signalAnnotation = 'holdfast.dev/signal';

export function lifecycleRoutes(gateway: Gateway): readonly Route[] {
  const start = createStarter(gateway);
  const on =
    (action: (object: Container, call: Call) => Promise<Outcome>): Route['handle'] =>
    async (call) => {
      const result = await action(gateway.find(call.params.id ?? ''), call);
      call.empty(result === 'done' ? 204 : 304);
    };
  return [
    {
      method: 'POST',
      path: '/containers/{id}/start',
      handle: on((object) => start(object)),
    },
    {
      method: 'POST',
      path: '/containers/{id}/stop',
      handle: on((object, call) => stop(gateway, object, stopOptionsOf(call), call.signal)),
    },
    {
      method: 'POST',
      path: '/containers/{id}/restart',
      handle: on(async (object, call) => {
        await stop(gateway, object, { ...stopOptionsOf(call), isToStay: true }, call.signal);
        const result = await start(gateway.objects.get(object.metadata.uid) ?? object);
        tell(gateway, object, 'restart');
        return result === 'nothing-to-do' ? 'done' : result;
      }),
    },
    {
      method: 'POST',
      path: '/containers/{id}/kill',
      handle: on((object, call) => kill(gateway, object, call.query.get('signal') ?? '', call.signal)),
    },
    {
      method: 'POST',
      path: '/containers/{id}/pause',
      handle: on((object, call) => pause(gateway, object, call.signal)),
    },
    {
      method: 'POST',
      path: '/containers/{id}/unpause',
      handle: on((object, call) => unpause(gateway, object, call.signal)),
    },
    {
      method: 'POST',
      path: '/containers/{id}/rename',
      handle: on((object, call) => renameTo(gateway, object, call.query.get('name') ?? '', call.signal)),
    },
  ];
}

type Outcome = 'done' | 'nothing-to-do';

/** What docker did by itself, which no change of an object tells of. */
function tell({ events, namespace }: Gateway, object: Container, Action: string, more: Attributes = {}): void {
  events.emit({
    Type: 'container',
    Action,
    Actor: { ID: containerIDOf(object), Attributes: { ...attributesOf(object, namespace), ...more } },
  });
}

type Attributes = Readonly<Record<string, string>>;

/**
 * Starts one by one for each container: a second start waits for the first, and then finds that it runs. A start goes on
 * when its client goes away, as Docker's does; its deadlines end it.
 */
function createStarter(gateway: Gateway): (object: Container) => Promise<Outcome> {
  const underWay = new Map<string, Promise<unknown>>();
  return async (given) => {
    const { uid } = given.metadata;
    for (let other = underWay.get(uid); other !== undefined; other = underWay.get(uid)) await other;
    const starting = start(gateway, gateway.objects.get(uid) ?? given);
    const over = starting.then(
      () => underWay.delete(uid),
      () => underWay.delete(uid), // whoever asked for it is told
    );
    underWay.set(uid, over);
    return await starting;
  };
}

async function start(gateway: Gateway, given: Container): Promise<Outcome> {
  const { objects, now } = gateway;
  const state = stateOf(given, now());
  if (state.name === 'running') return 'nothing-to-do';
  if (state.name === 'paused') throw conflict('cannot start a paused container, try unpause instead');
  if (state.name === 'removing') throw conflict('container is marked for removal and cannot be started');
  // Restarting: it will run soon, as asked.
  if (state.name === 'restarting') return 'nothing-to-do';
  checkLinks(gateway, given);
  const { signal } = new AbortController();
  const object = given.spec.desiredState === 'Stopped' ? given : await halt(gateway, given, signal);
  const started = await objects.patch(
    object,
    {
      spec: { desiredState: 'Running', ...restored(object) },
      metadata: { annotations: { [beforeStopAnnotation]: null } },
    },
    signal,
  );
  const { uid, generation } = started.metadata;
  const verdict = await within(
    { signal, ms: startDeadlineMs, what: `container ${containerIDOf(object)} was not started` },
    (ending) => objects.waitFor(uid, (current) => judgeStart(object, current, generation), ending),
  );
  if (verdict.kind === 'started') return 'done';
  // Docker does not try a failed start again, and with --rm whoever waits for the removal would wait for ever.
  const current = objects.get(uid);
  if (current !== undefined && current.spec.ttlSecondsAfterFinished === 0)
    await removeContainer(gateway, current, { isForced: true, withVolumes: true }, signal);
  else if (current !== undefined && current.spec.desiredState !== 'Stopped') await halt(gateway, current, signal);
  throw new DockerError(verdict.status, verdict.message);
}

/** Links are started first, by whoever starts them. Text: moby daemon/container_operations_unix.go, setupLinkedContainers. */
function checkLinks({ objects, namespace, now }: Gateway, object: Container): void {
  for (const { name, alias = name } of object.spec.links ?? []) {
    const target = objects.find(object.metadata.namespace, name);
    if (target !== undefined && isUp(stateOf(target, now())) && stateOf(target, now()).name !== 'restarting') continue;
    const shown = target === undefined ? name : dockerNameOf(target, namespace);
    throw conflict(`Cannot link to a non running container: /${shown} AS /${dockerNameOf(object, namespace)}/${alias}`);
  }
}

/** Takes back the wish to run of one that has ended, and waits until that is known: then the wish is a new one. */
async function halt({ objects }: Gateway, object: Container, signal: AbortSignal): Promise<Container> {
  const patched = await objects.patch(object, { spec: { desiredState: 'Stopped' } }, signal);
  const look = (current: Container | undefined): Container | undefined => {
    if (current === undefined) throw noSuchContainer(containerIDOf(object));
    return isObserved(current, patched.metadata.generation) ? current : undefined;
  };
  return await within(
    { signal, ms: settleDeadlineMs, what: 'the controller has not seen the wish to stop' },
    (ending) => objects.waitFor(patched.metadata.uid, look, ending),
  );
}

function isObserved({ status }: Container, generation: number): boolean {
  return (status?.observedGeneration ?? 0) >= generation;
}

interface StopOptions {
  /** undefined: what the container says; negative: for ever. */
  readonly graceSeconds?: number | undefined;
  readonly stopSignal?: string | undefined;
  /** It is started again: --rm does not count for this end. */
  readonly isToStay?: boolean;
}

function stopOptionsOf({ query }: Call): StopOptions {
  const [t, name] = [query.get('t'), query.get('signal')];
  if (t !== null && t !== '' && !/^-?\d{1,9}$/.test(t)) throw badParameter(`t: "${t}" is not a number of seconds`);
  const stopSignal = name === null || name === '' ? undefined : formatSignal(parseSignal(name));
  return { graceSeconds: t === null || t === '' ? undefined : Number(t), stopSignal };
}

async function stop(gateway: Gateway, object: Container, options: StopOptions, signal: AbortSignal): Promise<Outcome> {
  const { objects, now } = gateway;
  const state = stateOf(object, now());
  if (!isUp(state)) {
    // One that waits for its start, or is being started, is not to come up later.
    if (object.spec.desiredState === 'Stopped' || state.name === 'removing') return 'nothing-to-do';
    const halted = await halt(gateway, object, signal).catch(ignoreGone);
    if (halted === undefined || !isUp(stateOf(halted, now()))) return 'nothing-to-do';
  }
  const { graceSeconds, stopSignal } = options;
  const grace =
    graceSeconds === undefined
      ? undefined
      : graceSeconds < 0
        ? longestGraceSeconds
        : Math.min(graceSeconds, longestGraceSeconds);
  const changes = {
    ...(grace === undefined ? {} : { terminationGracePeriodSeconds: grace }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(options.isToStay === true && object.spec.ttlSecondsAfterFinished !== undefined
      ? { ttlSecondsAfterFinished: null }
      : {}),
  };
  await objects.patch(
    object,
    { ...beforeStop(object, changes), spec: { desiredState: 'Stopped', ...changes } },
    signal,
  );
  if (state.name === 'running' || state.name === 'paused')
    tell(gateway, object, 'kill', {
      signal: String(graceSeconds === 0 ? 9 : parseSignal(stopSignal ?? object.spec.stopSignal ?? 'TERM')),
    });
  // As long as the grace lasts, which is for the client to bear.
  await objects.waitFor(object.metadata.uid, (current) => isDown(current, now()), signal);
  if (stateOf(object, now()).name !== 'restarting') await endTold(objects, object, signal);
  return 'done';
}

const toldDeadlineMs = 5_000;

/** A status may say that a run is over a moment before it says how it ended; who asks next wants to know that. */
async function endTold(objects: Objects, before: Container, signal: AbortSignal): Promise<void> {
  const endOf = ({ status }: Container): string | undefined => status?.lastTermination?.finishedAt;
  const look = (current: Container | undefined): true | undefined =>
    current === undefined || endOf(current) !== endOf(before) ? true : undefined;
  await within({ signal, ms: toldDeadlineMs, what: 'the end was not told' }, (ending) =>
    objects.waitFor(before.metadata.uid, look, ending),
  ).catch(() => signal.throwIfAborted()); // else it is down all the same
}

function ignoreGone(error: unknown): undefined {
  if (!(error instanceof DockerError && error.status === 404)) throw error;
}

function isDown(current: Container | undefined, nowMs: number): true | undefined {
  return current === undefined || !isUp(stateOf(current, nowMs)) ? true : undefined;
}

interface Stopping {
  readonly terminationGracePeriodSeconds?: number;
  readonly stopSignal?: string;
  readonly ttlSecondsAfterFinished?: null;
}

function beforeStop({ metadata, spec }: Container, changes: Stopping): object {
  if (Object.keys(changes).length === 0 || metadata.annotations?.[beforeStopAnnotation] !== undefined) return {};
  const { terminationGracePeriodSeconds, stopSignal = null, ttlSecondsAfterFinished = null } = spec;
  const before = { terminationGracePeriodSeconds, stopSignal, ttlSecondsAfterFinished };
  return { metadata: { annotations: { [beforeStopAnnotation]: JSON.stringify(before) } } };
}

const onceChanged: ReadonlySet<string> = new Set<keyof Stopping>([
  'terminationGracePeriodSeconds',
  'stopSignal',
  'ttlSecondsAfterFinished',
]);

/** What the last stop changed for once, as it was before. */
function restored({ metadata }: Container): object {
  const text = metadata.annotations?.[beforeStopAnnotation];
  if (text === undefined) return {};
  try {
    const before: unknown = JSON.parse(text);
    if (typeof before !== 'object' || before === null) return {};
    return Object.fromEntries(Object.entries(before).filter(([name]) => onceChanged.has(name)));
  } catch {
    return {}; // somebody else's text: the spec counts as it is
  }
}

/** SIGKILL ends it for good, as the stop signal does; another is handed to it. Source: moby daemon/kill.go. */
async function kill(gateway: Gateway, object: Container, text: string, signal: AbortSignal): Promise<'done'> {
  const { objects, now, random } = gateway;
  const number = parseSignal(text === '' ? 'KILL' : text);
  const name = formatSignal(number);
  const state = stateOf(object, now());
  const id = containerIDOf(object);
  if (!isUp(state)) throw conflict(`Cannot kill container: ${call(object, gateway)}: Container ${id} is not running`);
  if (name === 'SIGKILL') {
    await stop(gateway, object, { graceSeconds: 0, stopSignal: name }, signal);
    return 'done';
  }
  if (state.name === 'restarting')
    throw conflict(`Cannot kill container: ${call(object, gateway)}: Container ${id} is not running`);
  tell(gateway, object, 'kill', { signal: String(number) });
  const isStopSignal = parseSignal(object.spec.stopSignal ?? 'TERM') === number;
  if (isStopSignal && object.spec.restartPolicy !== 'Never') {
    // It is to stay down when it obeys; nobody waits for that.
    const changes = { terminationGracePeriodSeconds: longestGraceSeconds };
    await objects.patch(
      object,
      { ...beforeStop(object, changes), spec: { desiredState: 'Stopped', ...changes } },
      signal,
    );
    return 'done';
  }
  const request = `${name.slice(3)}@${now()}-${Math.floor(random() * 1e9)}`;
  await objects.patch(object, { metadata: { annotations: { [signalAnnotation]: request } } }, signal);
  await within({ signal, ms: settleDeadlineMs, what: `signal ${name} was not sent` }, (ending) =>
    objects.waitFor(
      object.metadata.uid,
      (current) => (current === undefined || current.status?.lastSignal?.request === request ? true : undefined),
      ending,
    ),
  );
  return 'done';
}

function call(object: Container, { namespace }: Gateway): string {
  return dockerNameOf(object, namespace);
}

async function pause({ objects, now }: Gateway, object: Container, signal: AbortSignal): Promise<'done'> {
  const { name } = stateOf(object, now());
  const id = containerIDOf(object);
  if (name === 'paused') throw conflict(`Container ${id} is already paused`);
  if (name === 'restarting') throw conflict(`Container ${id} is restarting, wait until the container is running`);
  if (name !== 'running') throw conflict(`Container ${id} is not running`);
  await objects.patch(object, { spec: { desiredState: 'Paused' } }, signal);
  await within({ signal, ms: settleDeadlineMs, what: `container ${id} was not paused` }, (ending) =>
    objects.waitFor(
      object.metadata.uid,
      (current) => (current === undefined || stateOf(current, now()).name !== 'running' ? true : undefined),
      ending,
    ),
  );
  return 'done';
}

async function unpause({ objects, now }: Gateway, object: Container, signal: AbortSignal): Promise<'done'> {
  const { name } = stateOf(object, now());
  const id = containerIDOf(object);
  if (name !== 'paused') throw conflict(`Container ${id} is not paused`);
  await objects.patch(object, { spec: { desiredState: 'Running' } }, signal);
  await within({ signal, ms: settleDeadlineMs, what: `container ${id} was not resumed` }, (ending) =>
    objects.waitFor(
      object.metadata.uid,
      (current) => (current === undefined || stateOf(current, now()).name !== 'paused' ? true : undefined),
      ending,
    ),
  );
  return 'done';
}

async function renameTo(gateway: Gateway, object: Container, text: string, signal: AbortSignal): Promise<'done'> {
  const { objects, access, namespace } = gateway;
  const to = text.replace(/^\//, '');
  if (to === '') throw badParameter('New name cannot be empty');
  if (!isDockerName(to))
    throw badParameter(`Invalid container name (${to}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  const from = dockerNameOf(object, namespace);
  if (from === to) throw badParameter('Renaming a container with the same name as its current name');
  const holder = objects.list().find((one) => dockerNameOf(one, namespace) === to);
  if (holder !== undefined) throw nameConflict(to, holder);
  const annotations = { [dockerNameAnnotation]: undefined, ...nameAnnotations(to) };
  const { metadata } = object;
  try {
    await rename(
      {
        access,
        namespace: metadata.namespace,
        from: metadata.name,
        to: objectNameFor(to),
        annotations,
        deadlineMs: renameDeadlineMs,
      },
      signal,
    );
  } catch (error) {
    if (error instanceof RenameError) throw conflict(error.message);
    throw error;
  }
  await within({ signal, ms: settleDeadlineMs, what: 'the former object is not gone' }, (ending) =>
    objects.waitFor(metadata.uid, (current) => (current === undefined ? true : undefined), ending),
  );
  return 'done';
}

/** Text: moby daemon/names.go, reserveName. */
export function nameConflict(name: string, holder: Container): DockerError {
  return conflict(
    `Conflict. The container name "/${name}" is already in use by container "${containerIDOf(holder)}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}
