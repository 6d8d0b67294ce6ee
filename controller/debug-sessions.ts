/**
 * Debug sessions: programs that somebody runs in the place of a container, to examine it while its own process is down.
 * They are shown for what they are and change nothing of what the container is to do. Pure.
 */

/** Of the condition DebugSession; undefined for a container that none was ever opened of. */
export function debugVerdict(
  sessions: number,
  hadSome: boolean,
): { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string } | undefined {
  if (sessions > 0) {
    const what = sessions === 1 ? 'a debug session is open' : `${sessions} debug sessions are open`;
    const message = `${what}: somebody runs a program in the container's files, volumes and network, beside its own process`;
    return { status: 'True', reason: 'Open', message };
  }
  return hadSome ? { status: 'False', reason: 'Closed', message: 'no debug session is open' } : undefined;
}

/** What to tell when their number has changed. */
export function debugNews(
  before: number,
  now: number,
): { readonly reason: string; readonly message: string } | undefined {
  if (now === before) return undefined;
  const open = now === 0 ? 'none is open now' : now === 1 ? 'one is open now' : `${now} are open now`;
  return now > before
    ? { reason: 'DebugSessionStarted', message: `a debug session of the container has begun; ${open}` }
    : { reason: 'DebugSessionEnded', message: `a debug session of the container has ended; ${open}` };
}
