/** The streams of this host's containers, for the store's subresources: the runtime in the words of the API. Effects. */
import { Readable } from 'node:stream';
import { containerIDOf, labelKeys } from '../controller/index.ts';
import {
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

export function createStreamSource(runtime: Runtime, now: () => number = Date.now): StreamSource {
  const { containers } = runtime;
  return {
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
      return formatLog(previous ? await opened(entries, target) : entries, options);
    },
    exec: async (target, options) => {
      checkContainerName(target, options.container);
      const id = await findRunning(runtime, target);
      return async (size, signal) => {
        const request = { args: options.command, hasTerminal: options.tty, hasStdin: options.stdin, size };
        try {
          return await containers.exec(id, request, signal);
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
    readArchive: async () => {
      throw new StatusError(501, 'NotImplemented', 'archives are not served yet');
    },
    writeArchive: async () => {
      throw new StatusError(501, 'NotImplemented', 'archives are not served yet');
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

async function find({ containers }: Runtime, target: StreamTarget): Promise<ContainerInfo> {
  const info = await containers.inspect(containerIDOf(target.object));
  // One that waits to take a container over does not have it yet.
  if (info?.labels[labelKeys.uid] === target.uid) return info;
  const reason = textAt(target.object.status, 'reason') ?? 'ContainerCreating';
  throw badRequest(`container "${target.name}" in pod "${target.name}" is waiting to start: ${reason}`);
}

/** The id of a container that runs. */
async function findRunning(runtime: Runtime, target: StreamTarget): Promise<string> {
  const { id, state } = await find(runtime, target);
  if (state.kind !== 'running') throw notRunning(target);
  return id;
}

function notRunning({ name, object }: StreamTarget): StatusError {
  const [state, reason] = ['state', 'reason'].map((field) => textAt(object.status, field));
  const what = state === undefined ? '' : `, its state is ${state}${reason === undefined ? '' : ` (${reason})`}`;
  return badRequest(`container "${name}" in pod "${name}" is not running${what}`);
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
    for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
  })();
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
  if (error instanceof RunNotKeptError) {
    return badRequest(`previous terminated container "${target.name}" in pod "${target.name}" not found`);
  }
  return error;
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
  };
}
