/** `docker exec`: further processes in running containers. Effects. */
import { randomBytes } from 'node:crypto';
import { type Container, containerIDOf } from '../crds/index.ts';
import type { StreamSession } from '../runtime/index.ts';
import { conflict } from './docker-error.ts';
import type { ExecInstance, ExecInstances } from './exec-instances.ts';
import { explainFailedExec, failedStart, parseExec, parseExecStart } from './exec-request.ts';
import { pump } from './pump.ts';
import type { Call, Route } from './route.ts';
import { checkAwake, numberOf, type StreamDeps, tell, toDockerError } from './stream-deps.ts';
import { contentTypeOf, formatFrame } from './stream-frames.ts';

export interface ExecDeps extends StreamDeps {
  readonly execs: ExecInstances;
}

export function execRoutes(deps: ExecDeps): readonly Route[] {
  const { execs } = deps;
  return [
    { method: 'POST', path: '/containers/{id}/exec', handle: (call) => create(deps, call) },
    { method: 'POST', path: '/exec/{id}/start', handle: (call) => start(deps, call) },
    { method: 'POST', path: '/exec/{id}/resize', handle: (call) => resize(deps, call) },
    {
      method: 'GET',
      path: '/exec/{id}/json',
      handle: async (call) => call.json(200, formatExec(execs.get(call.params.id ?? ''))),
    },
  ];
}

async function create(deps: ExecDeps, call: Call): Promise<void> {
  const reference = call.params.id ?? '';
  const object = deps.find(reference);
  checkAwake(deps, object, { what: 'exec', reference });
  const parsed = parseExec(await call.body());
  const id = randomBytes(32).toString('hex');
  deps.execs.add({ id, containerID: containerIDOf(object), ...parsed, state: 'created', pid: 0 });
  tell(deps, object, `exec_create: ${parsed.request.args.join(' ')}`, { execID: id });
  call.json(201, { Id: id });
}

async function start(deps: ExecDeps, call: Call): Promise<void> {
  const instance = deps.execs.get(call.params.id ?? '');
  const { isDetached, size } = parseExecStart(await call.body());
  const object = deps.find(instance.containerID);
  checkAwake(deps, object, { what: 'exec', reference: instance.containerID });
  // Texts: moby daemon/exec.go.
  if (instance.state === 'exited') throw conflict(`Error: Exec command ${instance.id} has already run`);
  if (instance.state !== 'created') throw conflict(`Error: Exec command ${instance.id} is already running`);
  instance.state = 'starting';
  const { request } = instance;
  const isHeard = !isDetached;
  const wanted = { ...request, hasStdin: request.hasStdin && isHeard, size: size ?? instance.size ?? request.size };
  if (isDetached) {
    let session: StreamSession;
    try {
      session = await begin(deps, object, instance, wanted);
    } catch (error) {
      throw failedStart(fail(deps, object, instance, error));
    }
    drain(session);
    return call.empty(200);
  }
  const isRaw = request.hasTerminal;
  let connection: Awaited<ReturnType<Call['hijack']>>;
  try {
    connection = await call.hijack(contentTypeOf(isRaw, call.version));
  } catch (error) {
    deps.execs.ended(instance, undefined);
    throw error;
  }
  connection.on('error', () => {}); // 'close' follows
  let session: StreamSession;
  try {
    session = await begin(deps, object, instance, wanted);
  } catch (error) {
    const text = Buffer.from(`${fail(deps, object, instance, error).message}\r\n`);
    connection.end(isRaw ? text : formatFrame('stdout', text));
    connection.resume();
    return;
  }
  const end = await pump({
    ...{ connection, session, isRaw, wants: instance.wants },
    detachKeys: isRaw ? instance.detachKeys : undefined,
    endsInput: !isRaw,
    outcome: session.exit,
  });
  if (end === 'detached') tell(deps, object, 'exec_detach', { execID: instance.id });
  if (end === 'ended') return;
  // The process goes on, and nobody hears it. Source: moby daemon/exec.go, which begins it without the client's context.
  if (!isRaw) session.stdin?.end();
  drain(session);
}

/** Starts it, and takes note of its end. Throws what the runtime does. */
async function begin(
  deps: ExecDeps,
  object: Container,
  instance: ExecInstance,
  request: ExecInstance['request'],
): Promise<StreamSession> {
  const { runtime, execs, log } = deps;
  const command = request.args.join(' ');
  // Whoever asked may go away meanwhile: it is started all the same.
  const session = await runtime.containers.exec(instance.containerID, request, new AbortController().signal);
  instance.state = 'running';
  instance.session = session;
  instance.pid = session.pid ?? 0;
  tell(deps, object, `exec_start: ${command}`, { execID: instance.id });
  if (instance.size !== undefined && instance.size !== request.size) await session.resize(instance.size);
  const ended = (exitCode: number | undefined): void => {
    execs.ended(instance, exitCode);
    tell(deps, object, 'exec_die', { execID: instance.id, exitCode: String(exitCode ?? 0) });
  };
  session.exit.then(ended, (error: unknown) => {
    log.debug({ err: error, containerID: instance.containerID }, 'how a command of docker exec ended is not known');
    ended(137);
  });
  return session;
}

function fail(
  { execs }: ExecDeps,
  object: Container,
  instance: ExecInstance,
  error: unknown,
): ReturnType<typeof explainFailedExec> {
  const failed = explainFailedExec(toDockerError(error, object), instance.request);
  execs.ended(instance, failed.exitCode ?? 126);
  return failed;
}

function drain({ stdout, stderr }: StreamSession): void {
  for (const stream of [stdout, stderr]) stream?.on('error', () => {}).resume();
}

async function resize({ execs }: ExecDeps, call: Call): Promise<void> {
  const instance = execs.get(call.params.id ?? '');
  const size = { rows: numberOf(call.query, 'h'), columns: numberOf(call.query, 'w') };
  if (instance.state === 'exited') throw conflict(`Error: Exec command ${instance.id} has already run`);
  instance.size = size;
  await instance.session?.resize(size);
  call.empty(200);
}

function formatExec({ id, containerID, request, wants, detachKeys, state, exitCode, pid }: ExecInstance): object {
  const [entrypoint = '', ...rest] = request.args;
  return {
    ID: id,
    Running: state === 'running' || state === 'starting',
    ExitCode: state === 'exited' ? (exitCode ?? null) : null,
    ProcessConfig: {
      tty: request.hasTerminal,
      entrypoint,
      arguments: rest,
      privileged: request.isPrivileged === true,
      ...(request.user === undefined ? {} : { user: request.user }),
    },
    OpenStdin: wants.stdin,
    OpenStderr: wants.stderr,
    OpenStdout: wants.stdout,
    CanRemove: state === 'exited',
    ContainerID: containerID,
    DetachKeys: detachKeys.toString('base64'),
    Pid: pid,
  };
}
