/** Waiting that ends: with the answer, with the caller's signal, or when its time is over. Effects: a timer. */
import { waitWithin } from '../client/index.ts';
import { DockerError } from './docker-error.ts';

export interface Deadline {
  readonly signal: AbortSignal;
  readonly ms: number;
  /** "container x was not started": the message says within which time. */
  readonly what: string;
}

/** Throws DockerError (500) when the time is over. */
export async function within<T>({ signal, ms, what }: Deadline, wait: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return await waitWithin({ signal, ms, problem: () => new DockerError(500, `${what} within ${ms / 1000} s`) }, wait);
}
