/**
 * Circuit breakers (opossum) around what can fail for long: the store, and each image registry. Effects: timers.
 * While one is open, calls fail at once; then a single probe is let through.
 */
import CircuitBreaker from 'opossum';

/** The breaker is open: the call was not made. Try again at retryAtMs. */
export class BreakerOpenError extends Error {
  override readonly name = 'BreakerOpenError';
  readonly retryAtMs: number;
  constructor(breaker: string, retryAtMs: number, options?: ErrorOptions) {
    super(
      `${breaker} failed several times in a row; it is asked again at ${new Date(retryAtMs).toISOString()}`,
      options,
    );
    this.retryAtMs = retryAtMs;
  }
}

/** `removed`: it is not kept any more, and reports nothing further. */
export type BreakerState = 'closed' | 'open' | 'half_open' | 'removed';

export interface BreakerOptions {
  /** "store" or "registry:HOST". */
  readonly name: string;
  /** Whether an error says that the other side is ill (and not that the request was wrong). */
  readonly countsAsFailure: (error: unknown) => boolean;
  onState(name: string, state: BreakerState): void;
  readonly now: () => number;
  /** Wait before the probe. */
  readonly resetMs: number;
  /** Calls within a minute before it may open. */
  readonly volume: number;
}

export interface Breaker {
  /**
   * Makes the call or throws BreakerOpenError; errors of the call come out as they are. An error after `signal` aborted
   * says nothing about the other side: if the call was the probe, the breaker is open again.
   */
  run<T>(action: () => Promise<T>, signal: AbortSignal): Promise<T>;
  readonly isOpen: boolean;
  /** The other side is known to answer again: calls are made from now on, until they fail. */
  resume(): void;
  close(): void;
}

export function createBreaker({ name, countsAsFailure, onState, now, resetMs, volume }: BreakerOptions): Breaker {
  let openedAtMs = now();
  const circuit = new CircuitBreaker<[() => Promise<unknown>], unknown>((action) => action(), {
    name,
    timeout: false, // Every call has a deadline of its own.
    errorThresholdPercentage: 50,
    rollingCountTimeout: 60_000,
    rollingCountBuckets: 6,
    volumeThreshold: volume,
    resetTimeout: resetMs,
    errorFilter: (error: unknown) => !countsAsFailure(error),
  });
  circuit.on('open', () => {
    openedAtMs = now();
    onState(name, 'open');
  });
  circuit.on('halfOpen', () => onState(name, 'half_open'));
  circuit.on('close', () => onState(name, 'closed'));
  onState(name, 'closed');
  return {
    run: <T>(action: () => Promise<T>, signal: AbortSignal): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        const guarded = async (): Promise<T> => {
          const isProbe = circuit.halfOpen;
          try {
            return await action();
          } catch (error) {
            if (!signal.aborted) throw error;
            if (isProbe && circuit.halfOpen) circuit.open();
            reject(error);
            // opossum takes each end for a success or a failure, so it is not told of any.
            return await new Promise<never>(() => {});
          }
        };
        circuit.fire(guarded).then(
          // fire() resolves to what the action resolved to.
          (value) => resolve(value as T),
          (error: unknown) => {
            const isRefused = error instanceof Error && 'code' in error && error.code === 'EOPENBREAKER';
            reject(isRefused ? new BreakerOpenError(name, openedAtMs + resetMs, { cause: error }) : error);
          },
        );
      }),
    get isOpen() {
      return circuit.opened;
    },
    resume: () => circuit.close(),
    close: () => circuit.shutdown(),
  };
}

/** Makes the call, or throws instead; `signal` is the call's. */
export type Run = Breaker['run'];

/** A call that waits behind no breaker. For those who pace themselves. */
export const runAlways: Run = (action) => action();

/** The same, which tells of each call whether the other side answered; calls that were not made tell nothing. */
export function reporting(
  run: Run,
  link: { answered(): void; failed(error: unknown): void },
  countsAsFailure: (error: unknown) => boolean,
): Run {
  return async (action, signal) => {
    try {
      const value = await run(action, signal);
      link.answered();
      return value;
    } catch (error) {
      if (signal.aborted || error instanceof BreakerOpenError) throw error;
      if (countsAsFailure(error)) link.failed(error);
      else link.answered();
      throw error;
    }
  };
}

const maxRegistries = 64;

/** Breakers by registry host, made at first use; at most 64, so that odd image names cannot fill the memory. */
export function createRegistryBreakers(options: Omit<BreakerOptions, 'name'>): {
  of(registry: string): Breaker;
  close(): void;
} {
  const breakers = new Map<string, Breaker>();
  const nameOf = (registry: string): string => `registry:${registry}`;
  return {
    of: (registry) => {
      const known = breakers.get(registry);
      if (known !== undefined) return known;
      if (breakers.size >= maxRegistries) {
        const idle = [...breakers].find(([, one]) => !one.isOpen) ?? [...breakers][0];
        if (idle !== undefined) {
          idle[1].close();
          breakers.delete(idle[0]);
          options.onState(nameOf(idle[0]), 'removed');
        }
      }
      const made = createBreaker({ ...options, name: nameOf(registry) });
      breakers.set(registry, made);
      return made;
    },
    close: () => {
      for (const one of breakers.values()) one.close();
    },
  };
}
