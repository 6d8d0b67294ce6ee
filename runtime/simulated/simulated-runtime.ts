/** Containers that exist in memory only: they start, run and exit as their behaviour says. Effects: timers. */
import {
  type ContainerConfig,
  type ContainerInfo,
  ContainerNotFoundError,
  ContainerNotRunningError,
  type ContainerState,
  type Damage,
  type ImageInfo,
  ImageNotPresentError,
  type Images,
  type PortMapping,
  PortTakenError,
  type PullOptions,
  type Runtime,
  RuntimeClosedError,
  type RuntimeEvent,
  RuntimeOperationError,
} from '../interface.ts';
import { createSimulatedVolumes } from './simulated-volumes.ts';

/** What the next run of a container does. Thrown errors come out of `start`. */
export interface Behaviour {
  /** Ends by itself after so long with this code; undefined: runs until it is signalled. */
  readonly exitAfterMs?: number | undefined;
  readonly exitCode?: number | undefined;
  /** Ignores every signal but SIGKILL. */
  readonly isStubborn?: boolean | undefined;
  /** The start fails with this error. */
  readonly startError?: Error | undefined;
}

export interface SimulatedRuntimeDeps {
  readonly now: () => number;
  /** Called before each run with the number of earlier runs. */
  readonly behaviourOf: (config: ContainerConfig, earlierRuns: number) => Behaviour;
  /** Fetches an image: returns nothing when it could, throws what a pull throws. */
  readonly pull?: (reference: string, signal: AbortSignal, options: PullOptions) => Promise<void>;
  /** How long create and start take each. */
  readonly operationMs?: number;
  /** Called at each operation on a container, once it was counted: it may take its time, throw, or never settle (a call that hangs). */
  readonly before?: (operation: string, containerName: string, signal?: AbortSignal) => Promise<void> | undefined;
  /** Whether `calls` are kept; true by default. For so many containers that the list would be most of the memory. */
  readonly keepsCalls?: boolean;
}

interface Simulated {
  config: ContainerConfig;
  state: ContainerState;
  readonly createdAtMs: number;
  readonly ip: string;
  readonly ports: readonly PortMapping[];
  runs: number;
  timer?: NodeJS.Timeout | undefined;
  isStubborn: boolean;
  debugSessions?: number;
  /** A signal that a paused one gets when it is resumed. */
  waiting?: number | undefined;
  readonly log: { readonly time: string; readonly text: string }[];
}

export interface SimulatedRuntime extends Runtime {
  /** Every call so far, as "start default/web". */
  readonly calls: readonly string[];
  /** Every request to remove unused images; nothing is removed. */
  readonly collections: readonly Parameters<Images['collect']>[0][];
  /** Ends a running container as if its process had ended, with or without telling. */
  exit(id: string, code: number, options?: { readonly silently?: boolean }): void;
  /** As if the host had gone down and come up again: what ran has ended, unseen. */
  reboot(): void;
  /** As if somebody had taken from a running container what only a restart can give back. */
  damage(id: string, damage: Damage): void;
  /** As if so many debug sessions were open. */
  setDebugSessions(id: string, count: number): void;
  /** Most containers that ran at once. */
  readonly peakRunning: number;
}

const maxLogLines = 100;

/** A simulated process has no streams. */
function notSimulated(operation: string): never {
  throw new RuntimeOperationError(operation, 'not simulated; use a real runtime');
}

export function createSimulatedRuntime({
  now,
  behaviourOf,
  pull,
  operationMs,
  before,
  keepsCalls = true,
}: SimulatedRuntimeDeps): SimulatedRuntime {
  const containers = new Map<string, Simulated>();
  const images = new Set<string>();
  /** Containers whose volumes outlived them. */
  const kept = new Set<string>();
  const volumes = createSimulatedVolumes({
    now,
    usersOf: (name) =>
      [...containers.values()]
        .filter(({ config }) => config.volumes?.some(({ source }) => source.kind === 'named' && source.name === name))
        .map(({ config }) => config.name),
  });
  const listeners = new Set<(event: RuntimeEvent) => void>();
  const collections: Parameters<Images['collect']>[0][] = [];
  const calls: string[] = [];
  let isClosed = false;
  let nextPid = 1_000;
  let nextAddress = 2;
  let nextPort = 40_000;
  let peakRunning = 0;
  let running = 0;
  /** Host ports in use, as "tcp 80", and by whom. */
  const takenPorts = new Map<string, string>();

  const emit = (event: RuntimeEvent): void => {
    for (const listener of listeners) listener(event);
  };
  const operate = async (name: string, id: string, signal?: AbortSignal, config?: ContainerConfig): Promise<void> => {
    if (isClosed) throw new RuntimeClosedError('the simulated runtime is closed');
    const containerName = containers.get(id)?.config.name ?? id;
    if (keepsCalls) calls.push(`${name} ${containerName}`);
    await before?.(name, config?.name ?? containerName, signal);
    if (operationMs !== undefined && operationMs > 0) await new Promise((resolve) => setTimeout(resolve, operationMs));
    signal?.throwIfAborted();
  };
  const find = (id: string): Simulated => {
    const one = containers.get(id);
    if (one === undefined) throw new ContainerNotFoundError(id);
    return one;
  };
  const infoOf = ({ config, state, createdAtMs, ip, ports, debugSessions }: Simulated): ContainerInfo => ({
    id: config.id,
    name: config.name,
    imageID: config.imageID,
    labels: config.labels,
    createdAtMs,
    state,
    ip,
    ports,
    stopSignal: 15,
    debugSessions: debugSessions ?? 0,
  });
  const end = (id: string, code: number, signal: number | undefined, isSilent = false): void => {
    const one = containers.get(id);
    if (one === undefined || one.state.kind !== 'running') return;
    clearTimeout(one.timer);
    running -= 1;
    one.state = {
      kind: 'exited',
      startedAtMs: one.state.startedAtMs,
      exit: { code, signal, oomKilled: false, finishedAtMs: now() },
    };
    if (!isSilent) emit({ kind: 'exited', id });
  };
  const imageOf = (reference: string): ImageInfo => ({
    id: reference.startsWith('sha256:') ? reference : `sha256:${reference}`,
    names: [reference],
    sizeBytes: 0,
    config: { entrypoint: [], cmd: [], env: [], workingDir: '', user: '', exposedPorts: [], volumes: [] },
  });
  const isPresent = (reference: string): boolean => images.has(reference.replace(/^sha256:/, ''));
  const portKey = ({ protocol, hostPort }: PortMapping): string => `${protocol} ${hostPort}`;
  const takePorts = (id: string, wanted: readonly PortMapping[]): PortMapping[] => {
    const ports = wanted.map((port) => {
      if (port.hostPort === 0) {
        nextPort += 1;
        return { ...port, hostPort: nextPort };
      }
      if (takenPorts.has(portKey(port))) throw new PortTakenError(port, 'another container');
      return port;
    });
    for (const port of ports) takenPorts.set(portKey(port), id);
    return ports;
  };

  return {
    calls,
    collections,
    get peakRunning() {
      return peakRunning;
    },
    damage: (id, damage) => {
      const one = find(id);
      if (one.state.kind !== 'running') return;
      one.state = { ...one.state, damage };
      emit({ kind: 'drift', drift: { kind: damage.kind, containerID: id, detail: damage.detail } });
    },
    setDebugSessions: (id, count) => {
      find(id).debugSessions = count;
      emit({ kind: 'debug', id });
    },
    exit: (id, code, options) => end(id, code, undefined, options?.silently ?? false),
    reboot: () => {
      for (const one of containers.values()) {
        if (one.state.kind !== 'running') continue;
        clearTimeout(one.timer);
        const exit = { code: -1, oomKilled: false, finishedAtMs: now(), hostWentDown: true } as const;
        one.state = { kind: 'exited', startedAtMs: one.state.startedAtMs, exit };
      }
    },
    images: {
      ensure: async (reference, policy, signal, options = {}) => {
        await operate('ensure', reference, signal);
        if (policy === 'always' || !isPresent(reference)) {
          if (policy === 'never')
            throw new ImageNotPresentError(`the image "${reference}" is not on this host and its pull policy is never`);
          await pull?.(reference, signal, options);
          images.add(reference);
        }
        return imageOf(reference);
      },
      list: async () => [...images].map(imageOf),
      inspect: async (reference) => (isPresent(reference) ? imageOf(reference) : undefined),
      remove: async (reference) => {
        images.delete(reference);
      },
      describe: async (reference) =>
        isPresent(reference)
          ? {
              ...imageOf(reference),
              configuration: {},
              platform: { os: 'linux', architecture: 'amd64', variant: '' },
              createdAtMs: undefined,
              labels: {},
              layers: [],
              manifestDigests: [],
            }
          : undefined,
      tag: async () => notSimulated('tag'),
      untag: async () => notSimulated('untag'),
      push: async () => notSimulated('push'),
      describeRemote: async () => notSimulated('describeRemote'),
      checkCredential: async () => notSimulated('checkCredential'),
      importRootFs: async () => notSimulated('importRootFs'),
      importArchive: async () => notSimulated('importArchive'),
      exportArchive: async () => notSimulated('exportArchive'),
      collect: async (request) => {
        collections.push(request);
        return { removed: [], layersRemoved: 0, missingBytes: 0, capacityBytes: 0, availableBytes: 0 };
      },
      registryOf: (reference) => (reference.includes('/') ? reference.slice(0, reference.indexOf('/')) : 'docker.io'),
    },
    containers: {
      create: async (config, signal) => {
        await operate('create', config.id, signal, config);
        const known = containers.get(config.id);
        if (known !== undefined) return infoOf(known);
        const ports = takePorts(config.id, config.ports);
        nextAddress += 1;
        const made: Simulated = {
          config,
          state: { kind: 'created' },
          createdAtMs: now(),
          ip: `10.0.${Math.floor(nextAddress / 256)}.${nextAddress % 256}`,
          ports,
          runs: 0,
          isStubborn: false,
          log: [],
        };
        containers.set(config.id, made);
        return infoOf(made);
      },
      start: async (id, signal) => {
        await operate('start', id, signal);
        const one = find(id);
        if (one.state.kind === 'running') return infoOf(one);
        const behaviour = behaviourOf(one.config, one.runs);
        one.runs += 1;
        if (behaviour.startError !== undefined) throw behaviour.startError;
        nextPid += 1;
        one.state = { kind: 'running', pid: nextPid, startedAtMs: now() };
        one.isStubborn = behaviour.isStubborn ?? false;
        if (one.log.length >= maxLogLines) one.log.shift();
        one.log.push({ time: new Date(now()).toISOString(), text: `run ${one.runs}\n` });
        const { exitAfterMs, exitCode } = behaviour;
        if (exitAfterMs !== undefined) one.timer = setTimeout(() => end(id, exitCode ?? 0, undefined), exitAfterMs);
        running += 1;
        peakRunning = Math.max(peakRunning, running);
        return infoOf(one);
      },
      update: async (id, change) => {
        await operate('update', id);
        const one = find(id);
        one.config = { ...one.config, ...change };
      },
      signal: async (id, signal) => {
        await operate(`signal-${signal}`, id);
        const one = containers.get(id);
        if (one === undefined || (signal !== 9 && one.isStubborn)) return;
        if (signal !== 9 && one.state.kind === 'running' && one.state.isPaused === true) one.waiting = signal;
        else end(id, 128 + signal, signal);
      },
      pause: async (id) => {
        await operate('pause', id);
        const one = find(id);
        if (one.state.kind !== 'running') throw new ContainerNotRunningError(id);
        one.state = { ...one.state, isPaused: true };
      },
      resume: async (id) => {
        await operate('resume', id);
        const one = find(id);
        if (one.state.kind !== 'running' || one.state.isPaused !== true) return;
        const { pid, startedAtMs } = one.state;
        one.state = { kind: 'running', pid, startedAtMs };
        const { waiting } = one;
        one.waiting = undefined;
        if (waiting !== undefined) end(id, 128 + waiting, waiting);
      },
      remove: async (id, options) => {
        await operate(options?.volumes === 'keep' ? 'remove-keeping' : 'remove', id);
        if (options?.volumes !== 'keep') kept.delete(id);
        else if (containers.get(id)?.config.volumes?.some(({ source }) => source.kind === 'own') === true) kept.add(id);
        const gone = containers.get(id);
        clearTimeout(gone?.timer);
        if (gone?.state.kind === 'running') running -= 1;
        for (const port of gone?.ports ?? [])
          if (takenPorts.get(portKey(port)) === id) takenPorts.delete(portKey(port));
        if (containers.delete(id)) emit({ kind: 'removed', id });
      },
      listKept: async () => [...kept].filter((id) => !containers.has(id)),
      inspect: async (id) => {
        const one = containers.get(id);
        return one === undefined ? undefined : infoOf(one);
      },
      list: async () => [...containers.values()].map(infoOf),
      log: async function* (id) {
        for (const { time, text } of find(id).log) yield { time, stream: 'stdout', data: Buffer.from(text) };
      },
      exec: async () => notSimulated('exec'),
      attach: async () => notSimulated('attach'),
      debug: async () => notSimulated('debug'),
      readArchive: async () => notSimulated('readArchive'),
      writeArchive: async () => notSimulated('writeArchive'),
      stats: async () => notSimulated('stats'),
      processes: async () => notSimulated('processes'),
      exportRoot: async () => notSimulated('exportRoot'),
      resize: async () => notSimulated('resize'),
      changes: async () => notSimulated('changes'),
      usage: async () => 0,
      dial: async () => notSimulated('dial'),
    },
    volumes,
    info: () => ({ name: 'simulated', versions: {} }),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: async () => {
      isClosed = true;
      for (const { timer } of containers.values()) clearTimeout(timer);
      listeners.clear();
    },
  };
}
