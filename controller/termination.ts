/** How a run ended: in Kubernetes' words, for people, and as the restart decision wants to know it. Pure. */
import type { ContainerInfo, Limits } from '../runtime/index.ts';
import type { Desired } from './desired.ts';
import { formatQuantity } from './quantity.ts';
import { type Ending, meaningOfEnding, type Unhealthy } from './restart.ts';

/** How a run ended, or that it could not begin. */
export interface Termination {
  readonly reason: 'Completed' | 'Error' | 'OOMKilled' | 'StartError' | 'ContainerStatusUnknown';
  readonly message?: string | undefined;
  readonly exitCode: number;
  readonly signal?: number | undefined;
  readonly startedAtMs?: number | undefined;
  readonly finishedAtMs: number;
  readonly hostWentDown?: true | undefined;
  /** It was ended as a failed one. */
  readonly endedBy?: Unhealthy | undefined;
}

/** The Termination of an exit. `unhealthy`: what it was ended for, if it was. */
export function terminationOf(
  state: Extract<ContainerInfo['state'], { kind: 'exited' }>,
  { config, restart }: Pick<Desired, 'config' | 'restart'>,
  unhealthy?: { readonly by: Unhealthy; readonly message: string },
): Termination {
  const { exit, startedAtMs } = state;
  const base = { startedAtMs, finishedAtMs: Math.round(exit.finishedAtMs) };
  if (unhealthy !== undefined) {
    const { by, message } = unhealthy;
    // 137 for an exit that nobody saw is the kubelet's choice too (ContainerStatusUnknown).
    const exitCode = exit.code < 0 ? unseenExitCode : exit.code;
    return { ...base, reason: 'Error', exitCode, signal: exit.signal, endedBy: by, message };
  }
  if (exit.code < 0)
    return {
      ...base,
      reason: 'ContainerStatusUnknown',
      exitCode: unseenExitCode,
      message:
        exit.hostWentDown === true
          ? 'the host went down while the container ran'
          : 'the container ended while nobody was there to see its exit code (its monitor was killed)',
      hostWentDown: exit.hostWentDown,
    };
  if (exit.oomKilled && exit.code !== 0)
    return {
      ...base,
      reason: 'OOMKilled',
      exitCode: exit.code,
      signal: exit.signal,
      message: describeMemoryKill('it', config.limits),
    };
  const isSuccess = meaningOfEnding(restart, { kind: 'exit', ...exit }) === 'success';
  return { ...base, reason: isSuccess ? 'Completed' : 'Error', exitCode: exit.code, signal: exit.signal };
}

const unseenExitCode = 137;

/** The ending that a Termination tells of. */
export function endingOf({ reason, exitCode, signal, endedBy, hostWentDown }: Termination): Ending {
  if (endedBy !== undefined) return { kind: 'unhealthy', by: endedBy };
  if (hostWentDown === true) return { kind: 'reboot' };
  if (reason === 'ContainerStatusUnknown') return { kind: 'unseen' };
  if (reason === 'StartError') return { kind: 'cannot-run', code: exitCode };
  return { kind: 'exit', code: exitCode, signal };
}

/** 0 if it could not begin, or the clock was set back meanwhile. */
export function ranForMsOf({ startedAtMs, finishedAtMs }: Termination): number {
  return startedAtMs === undefined ? 0 : Math.max(0, finishedAtMs - startedAtMs);
}

/** What was killed for memory, of which limit, and what to do. */
export function describeMemoryKill(what: string, { memoryBytes, swapBytes }: Limits): string {
  if (memoryBytes === undefined) {
    return `the kernel killed ${what} because the host ran out of memory; set spec.resources.limits.memory where memory leaks, or give the host more`;
  }
  const swap = swapBytes === undefined || swapBytes === 0 ? '' : ` and ${formatQuantity(swapBytes)} of swap`;
  return `the kernel killed ${what} for using more than ${formatQuantity(memoryBytes)} of memory${swap} (spec.resources.limits.memory); raise the limit or use less`;
}

/** How a run ended, for people. */
export function describe(termination: Termination): string {
  if (termination.message !== undefined) return termination.message;
  return termination.signal === undefined
    ? `exited with code ${termination.exitCode}`
    : `killed by signal ${termination.signal}`;
}
