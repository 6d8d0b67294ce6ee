/** The streams of this host's containers, for the store's subresources: the runtime in the words of the API. Effects. */
import { Readable } from 'node:stream';
import { labelKeys } from '../controller/index.ts';
import { containerIDOf } from '../crds/index.ts';
import {
  ArchiveError,
  ContainerConfigError,
  type ContainerInfo,
  ContainerNotFoundError,
  ContainerNotRunningError,
  RunNotKeptError,
  type Runtime,
  StartError,
  type Stats,
} from '../runtime/index.ts';
import { badRequest, type Session, StatusError, type StreamSource, type StreamTarget } from '../store/index.ts';
import { formatLog } from './format-log.ts';
import { observeHostStats } from './host-stats.ts';

/** `nodeName`: of this host, whose own use can be asked for then. */
export function createStreamSource(
  runtime: Runtime,
  { now = Date.now, nodeName }: { readonly now?: () => number; readonly nodeName?: string } = {},
): StreamSource {
  const { containers } = runtime;
  return {
    hostStats: async (asked) => (asked === nodeName ? await observeHostStats() : undefined),
    log: async (target, options, signal) => {
      checkContainerName(target, options.container);
      const { id } = await find(runtime, target);
      const { follow, tailLines, previous, stream } = options;
      const sinceMs = sinceOf(options, now());
      const streams = stream === 'All' ? 'all' : stream === 'Stdout' ? 'stdout' : 'stderr';
      const entries = containers.log(
        id,
        { follow: follow && !previous, tailLines, sinceMs, previous, streams },
        signal,
      );
      if (previous) return formatLog(await opened(entries, target), options);
      return formatLog(follow ? untilOver(entries, () => isOver(target)) : entries, options);
    },
    exec: async (target, options) => {
      const isDebug = asksForDebug(target, options.container);
      const id = isDebug ? (await find(runtime, target)).id : await findAwake(runtime, target);
      return async (size, signal) => {
        const request = { args: options.command, hasTerminal: options.tty, hasStdin: options.stdin, size };
        try {
          return await (isDebug ? containers.debug(id, request, signal) : containers.exec(id, request, signal));
        } catch (error) {
          if (error instanceof StartError) return failedStart(error, options.tty);
          throw toStatusError(error, target);
        }
      };
    },
    attach: async (target, options) => {
      checkContainerName(target, options.container);
      const id = await findRunning(runtime, target);
      return async (size, signal) => {
        try {
          return await containers.attach(id, { hasStdin: options.stdin, size }, signal);
        } catch (error) {
          throw toStatusError(error, target);
        }
      };
    },
    portForward: async (target) => {
      const id = await findRunning(runtime, target);
      return (port, signal) => containers.dial(id, port, signal);
    },
    stats: async (target) => {
      const id = await findRunning(runtime, target);
      const stats = await containers.stats(id);
      if (stats === undefined) throw notRunning(target);
      return formatStats(id, stats, now());
    },
    readArchive: async (target, path, signal) => {
      const { id } = await find(runtime, target);
      try {
        return (await containers.readArchive(id, path, signal)).stream;
      } catch (error) {
        throw toStatusError(error, target);
      }
    },
    writeArchive: async (target, path, archive, signal) => {
      const { id } = await find(runtime, target);
      try {
        await containers.writeArchive(id, path, archive, {}, signal);
      } catch (error) {
        throw toStatusError(error, target);
      }
    },
  };
}

/** A Container has one container, which has its name. */
function checkContainerName({ name }: StreamTarget, asked: string | undefined): void {
  if (asked === undefined || asked === name) return;
  throw new StatusError(
    404,
    'NotFound',
    `container not found (${JSON.stringify(asked.slice(0, 100))}); the only one of pod "${name}" is "${name}"`,
  );
}

/** The name under which a container that is down can be looked into. */
const debugName = 'debug';

function asksForDebug(target: StreamTarget, asked: string | undefined): boolean {
  if (asked === debugName && target.name !== debugName) return true;
  checkContainerName(target, asked);
  return false;
}

async function find({ containers }: Runtime, target: StreamTarget): Promise<ContainerInfo> {
  const { object, uid } = target;
  for (const id of [containerIDOf(object), textAt(object.status, 'containerID')]) {
    const info = id === undefined ? undefined : await containers.inspect(id);
    // One that waits to take a container over does not have it yet.
    if (info?.labels[labelKeys.uid] === uid) return info;
  }
  const reason = textAt(target.object.status, 'reason') ?? 'ContainerCreating';
  throw badRequest(`container "${target.name}" in pod "${target.name}" is waiting to start: ${reason}`);
}

/** The id of a container whose process can answer. */
async function findAwake(runtime: Runtime, target: StreamTarget): Promise<string> {
  const { id, state } = await find(runtime, target);
  if (state.kind !== 'running') throw notRunning(target);
  if (state.isPaused !== true) return id;
  const { name } = target;
  throw badRequest(`container "${name}" in pod "${name}" is paused; set its desiredState to Running first`);
}

/** The id of a container that runs, or is paused. */
async function findRunning(runtime: Runtime, target: StreamTarget): Promise<string> {
  const { id, state } = await find(runtime, target);
  if (state.kind !== 'running') throw notRunning(target);
  return id;
}

function notRunning({ name, object }: StreamTarget): StatusError {
  const [state, reason] = ['state', 'reason'].map((field) => textAt(object.status, field));
  const what = state === undefined ? '' : `, its state is ${state}${reason === undefined ? '' : ` (${reason})`}`;
  const fix = `to look into it, ask for the container "${debugName}": kubectl exec -it ${name} -c ${debugName} -- sh`;
  return badRequest(`container "${name}" in pod "${name}" is not running${what}; ${fix}`);
}

function textAt(object: unknown, field: string): string | undefined {
  if (typeof object !== 'object' || object === null) return undefined;
  const value = new Map<string, unknown>(Object.entries(object)).get(field);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function sinceOf(
  { sinceTime, sinceSeconds }: { readonly sinceTime: string | undefined; readonly sinceSeconds: number | undefined },
  nowMs: number,
): number | undefined {
  if (sinceTime !== undefined) return Date.parse(sinceTime);
  return sinceSeconds === undefined ? undefined : nowMs - sinceSeconds * 1000;
}

/** Reads the first entry already, so that a run that is not kept is an answer of its own. */
async function opened<T>(entries: AsyncIterable<T>, target: StreamTarget): Promise<AsyncIterable<T>> {
  const iterator = entries[Symbol.asyncIterator]();
  let first: IteratorResult<T>;
  try {
    first = await iterator.next();
  } catch (error) {
    throw toStatusError(error, target);
  }
  return (async function* () {
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      // A reader that leaves early must not leave files open.
      await iterator.return?.();
    }
  })();
}

/** It has ended and is not started again, or it is gone. */
async function isOver(target: StreamTarget): Promise<boolean> {
  const latest = await target.latest();
  return latest === undefined || textAt(latest.status, 'state') === 'Exited';
}

const lookMs = 500;

/**
 * A followed log ends with its container, as the kubelet's does, but goes on over restarts: when nothing has come for a
 * while and nothing will.
 */
async function* untilOver<T>(entries: AsyncIterable<T>, isOver: () => Promise<boolean>): AsyncGenerator<T> {
  const iterator = entries[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  let next = iterator.next();
  try {
    let hasWaited = false;
    for (;;) {
      const pause = new Promise<undefined>((resolve) => {
        timer = setTimeout(resolve, lookMs, undefined);
      });
      const result = await Promise.race([next, pause]);
      clearTimeout(timer);
      if (result === undefined) {
        // Twice, so that what was written last has the time to be read.
        const isPast = await isOver();
        if (hasWaited && isPast) return;
        hasWaited = isPast;
        continue;
      }
      if (result.done === true) return;
      hasWaited = false;
      next = iterator.next();
      yield result.value;
    }
  } finally {
    clearTimeout(timer);
    // The reader may be waiting, which the signal of its caller ends; nobody wants what it gives then.
    next.catch(() => {});
    void iterator.return?.().catch(() => {});
  }
}

/** What a shell would say, and its exit code: a client gets both where it looks for them. */
function failedStart({ message, exitCode }: StartError, hasTerminal: boolean): Session {
  const text = Buffer.from(`${message}${hasTerminal ? '\r\n' : '\n'}`);
  return {
    stdin: undefined,
    stdout: Readable.from(hasTerminal ? [text] : []),
    stderr: hasTerminal ? undefined : Readable.from([text]),
    resize: async () => {},
    exit: Promise.resolve(exitCode),
    close: async () => {},
  };
}

function toStatusError(error: unknown, target: StreamTarget): unknown {
  if (error instanceof ContainerNotFoundError) return new StatusError(404, 'NotFound', error.message);
  if (error instanceof ContainerNotRunningError) return notRunning(target);
  if (error instanceof ContainerConfigError) return badRequest(error.message);
  if (error instanceof ArchiveError) return archiveStatus(error);
  if (error instanceof RunNotKeptError) {
    return badRequest(`previous terminated container "${target.name}" in pod "${target.name}" not found`);
  }
  return error;
}

function archiveStatus({ kind, message }: ArchiveError): StatusError {
  switch (kind) {
    case 'not-found':
      return new StatusError(404, 'NotFound', message);
    case 'conflict':
    case 'read-only':
      return new StatusError(409, 'Conflict', message);
    case 'no-space':
      return new StatusError(507, 'InsufficientStorage', message);
    case 'invalid':
      return badRequest(message);
    default:
      throw new TypeError(`unknown kind: ${JSON.stringify(kind satisfies never)}`);
  }
}

/** Names are those of the kubelet's stats/v1alpha1. */
function formatStats(containerID: string, stats: Stats, nowMs: number) {
  return {
    kind: 'ContainerStats',
    apiVersion: 'holdfast.dev/v1',
    containerID,
    time: new Date(nowMs).toISOString(),
    cpu: { usageCoreNanoSeconds: stats.cpuNanoseconds, throttledNanoSeconds: stats.throttledNanoseconds },
    memory: {
      workingSetBytes: stats.memoryBytes,
      ...(stats.memoryLimitBytes === undefined ? {} : { limitBytes: stats.memoryLimitBytes }),
    },
    processes: {
      count: stats.processes,
      ...(stats.processLimit === undefined ? {} : { limit: stats.processLimit }),
    },
    network: { rxBytes: stats.networkReceivedBytes, txBytes: stats.networkSentBytes },
    disk: { readBytes: stats.diskReadBytes, writtenBytes: stats.diskWrittenBytes },
  };
}
