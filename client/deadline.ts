/** Waiting that ends: with the answer, with the caller's signal, or when its time is over. Effects: a timer. */

export interface WaitLimits {
  readonly signal: AbortSignal;
  readonly ms: number;
  /** What is thrown when the time is over. */
  readonly problem: () => Error;
}

/**
 * Throws `problem` when the time is over, and the signal's reason. Neither timer nor listener is left: a signal that
 * AbortSignal.any makes is kept by Node as long as somebody listens to it, and AbortSignal.timeout stays for all of its time
 * (700 bytes for each request of a burst; measured 2026-11).
 */
export async function waitWithin<T>(
  { signal, ms, problem }: WaitLimits,
  wait: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(problem()), ms);
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
