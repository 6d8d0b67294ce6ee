/** Waiting for an answer for as long as it may take. Effects: a timer. */
import { RuntimeOperationError } from './interface.ts';

/** How long it is waited for. */
export interface AnswerLimits {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** Throws what the answer rejects with, RuntimeOperationError(operation) at the deadline, or the signal's reason. */
export async function within<T>(
  answer: Promise<T>,
  { deadlineMs, signal }: AnswerLimits,
  { operation, problem }: { readonly operation: string; readonly problem: string },
): Promise<T> {
  const over = Promise.withResolvers<never>();
  const timer = setTimeout(() => over.reject(new RuntimeOperationError(operation, problem)), deadlineMs);
  const onAbort = (): void => over.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([answer, over.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
