/** Waiting that ends: with the answer, with the caller's signal, or when its time is over. Effects: a timer. */
import { DockerError } from './docker-error.ts';

export interface Deadline {
  readonly signal: AbortSignal;
  readonly ms: number;
  /** "container x was not started": the message says within which time. */
  readonly what: string;
}

/**
 * Throws DockerError (500) when the time is over. Neither timer nor listener is left: a signal that AbortSignal.any makes is
 * kept by Node as long as somebody listens to it.
 */
export async function within<T>({ signal, ms, what }: Deadline, wait: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(new DockerError(500, `${what} within ${ms / 1000} s`)), ms);
  timer.unref();
  const leave = (): void => ending.abort(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    return await wait(ending.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', leave);
  }
}
