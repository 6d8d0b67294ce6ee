/**
 * The runtime behind deadlines and a breaker for each container: a call that hangs (a stuck mount, a program that does not
 * answer) costs the container it is for, no worker, and no further call. Effects: timers. What the runtime streams, pulls
 * and collects has deadlines of its own and passes through.
 */
import type { ContainerID, Containers, Runtime } from '../runtime/index.ts';
import type { RuntimeCallMetrics } from './metrics.ts';

/** A call of the runtime has not ended in time; nothing more is asked of it for the same thing until it has. */
export class RuntimeCallTimeoutError extends Error {
  override readonly name = 'RuntimeCallTimeoutError';
  readonly operation: string;
  constructor(operation: string, beganAtMs: number, deadlineMs: number) {
    super(
      `${operation}, begun at ${new Date(beganAtMs).toISOString()}, has not ended within ${deadlineMs / 1000} s; the runtime is asked for nothing more here until it ends. Look for what it waits for: a disk or network file system that does not answer (ps -eo pid,stat,wchan,args | grep " D")`,
    );
    this.operation = operation;
  }
}

export interface Deadlines {
  /** Of what changes containers; some of it waits for programs that have deadlines of up to 30 s themselves. */
  readonly changeMs: number;
  /** Of signals and of what only reads. */
  readonly quickMs: number;
}

export const defaultDeadlines: Deadlines = { changeMs: 90_000, quickMs: 30_000 };

export interface GuardDeps {
  readonly runtime: Runtime;
  readonly deadlines: Deadlines;
  readonly metrics: RuntimeCallMetrics;
  readonly now: () => number;
  /** A call that was late has ended: its container may be asked about again. */
  readonly onSettled: (id: ContainerID) => void;
  /** Aborted when the controller closes: no call is waited for any more. */
  readonly stop: AbortSignal;
}

type Guarded =
  | 'create'
  | 'start'
  | 'update'
  | 'signal'
  | 'pause'
  | 'resume'
  | 'remove'
  | 'listKept'
  | 'inspect'
  | 'list';

/** Calls of different lanes do not wait for each other: a container can be killed and looked at while its start hangs. */
const laneOf = {
  create: 'change',
  start: 'change',
  update: 'change',
  pause: 'change',
  resume: 'change',
  remove: 'change',
  signal: 'signal',
  inspect: 'inspect',
  list: 'list',
  listKept: 'listKept',
} as const satisfies Record<Guarded, string>;

/** Throws RuntimeCallTimeoutError besides what the runtime throws. */
export function guardRuntime({ runtime, deadlines, metrics, now, onSettled, stop }: GuardDeps): Runtime {
  /** Calls past their deadline that go on, by lane and container. */
  const late = new Map<string, RuntimeCallTimeoutError>();
  metrics.observeLate(() => late.size);

  /** How to end the waits for what is under way. */
  const waits = new Set<(reason: unknown) => void>();
  stop.addEventListener('abort', () => {
    for (const end of waits) end(stop.reason);
  });

  const guard = async <T>(
    operation: Guarded,
    id: ContainerID,
    call: () => Promise<T>,
    giveUp?: (reason: unknown) => void,
  ): Promise<T> => {
    const lane = (): string => `${laneOf[operation]} ${id}`;
    const before = late.size === 0 ? undefined : late.get(lane());
    if (before !== undefined) throw before;
    stop.throwIfAborted();
    const beganAtMs = now();
    const deadlineMs = laneOf[operation] === 'change' ? deadlines.changeMs : deadlines.quickMs;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const running = call();
    running.then(resolve, reject);
    waits.add(reject);
    const timer = setTimeout(() => {
      const error = new RuntimeCallTimeoutError(operation, beganAtMs, deadlineMs);
      late.set(lane(), error);
      metrics.late(operation);
      const settle = (): void => {
        late.delete(lane());
        if (!stop.aborted && id !== '') onSettled(id);
      };
      running.then(settle, settle);
      reject(error);
      // A call that can give up does so, and its container is asked about again sooner.
      giveUp?.(error);
    }, deadlineMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      waits.delete(reject);
    }
  };
  const guardAbortable = <T>(
    operation: Guarded,
    id: ContainerID,
    call: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> => {
    const giveUp = new AbortController();
    const either = AbortSignal.any([signal, giveUp.signal]);
    return guard(
      operation,
      id,
      () => call(either),
      (reason) => giveUp.abort(reason),
    );
  };

  const { containers } = runtime;
  const guarded: Pick<Containers, Guarded> = {
    create: (config, signal) =>
      guardAbortable('create', config.id, (either) => containers.create(config, either), signal),
    start: (id, signal) => guardAbortable('start', id, (either) => containers.start(id, either), signal),
    remove: (id, options) => guard('remove', id, () => containers.remove(id, options)),
    update: (id, change) => guard('update', id, () => containers.update(id, change)),
    signal: (id, number) => guard('signal', id, () => containers.signal(id, number)),
    pause: (id) => guard('pause', id, () => containers.pause(id)),
    resume: (id) => guard('resume', id, () => containers.resume(id)),
    inspect: (id) => guard('inspect', id, () => containers.inspect(id)),
    list: () => guard('list', '', () => containers.list()),
    listKept: () => guard('listKept', '', () => containers.listKept()),
  };
  return passThrough(runtime, { containers: passThrough(containers, guarded) });
}

/** An object whose other members are those of the target, as they are at each use. */
function passThrough<T extends object>(target: T, own: Partial<T>): T {
  return new Proxy(target, {
    get: (from, name) => {
      if (Object.hasOwn(own, name)) return Reflect.get(own, name);
      const value: unknown = Reflect.get(from, name);
      return typeof value === 'function' ? value.bind(from) : value;
    },
  });
}
