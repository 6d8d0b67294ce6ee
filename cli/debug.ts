/**
 * `holdfast debug NAME`: runs a program in a container whose own program is down, with its files, network and volumes.
 * kubectl can do the same (`kubectl exec NAME -c debug`) until the container has ended for good; this can also then.
 * Effects; parseDebugArgs is pure.
 */
import type { Readable, Writable } from 'node:stream';
import type { KubeConfig, V1Status } from '@kubernetes/client-node';
import { parseCommandArgs } from './command-args.ts';
import { ConfigError } from './config.ts';

/** The session could not be begun, or ended without telling how. */
export class DebugError extends Error {
  override readonly name = 'DebugError';
}

export interface DebugArgs {
  readonly name: string;
  readonly namespace: string;
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Flags of all commands. */
  readonly rest: readonly string[];
}

/** Pure. What follows `--` is the program; without it a shell. Throws ConfigError. */
export function parseDebugArgs(args: readonly string[]): DebugArgs {
  const end = args.indexOf('--');
  const { names, namespace, rest } = parseCommandArgs(end === -1 ? args : args.slice(0, end));
  const command = end === -1 ? ['sh'] : args.slice(end + 1);
  const [name] = names;
  if (name === undefined || names.length > 1 || command.length === 0) {
    throw new ConfigError('`holdfast debug` needs a name: holdfast debug NAME [-n NAMESPACE] [-- PROGRAM ARGUMENT…]');
  }
  return { name, namespace, command, rest };
}

export interface DebugStreams {
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(isRaw: boolean): unknown };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
}

/** Runs the session to its end and returns the program's exit code. Throws DebugError. */
export async function debug(
  kubeconfig: KubeConfig,
  { name, namespace, command }: Omit<DebugArgs, 'rest'>,
  { stdin, stdout, stderr }: DebugStreams,
): Promise<number> {
  const { Exec } = await import('@kubernetes/client-node');
  const hasTerminal = stdin.isTTY === true && stdout.isTTY === true;
  let status: V1Status | undefined;
  const hear = (heard: V1Status): void => {
    status = heard;
  };
  const output = hasTerminal ? null : stderr;
  try {
    const socket = await new Exec(kubeconfig)
      .exec(namespace, name, 'debug', [...command], stdout, output, stdin, hasTerminal, hear)
      .catch((error: unknown) => {
        const what = error instanceof Error || isErrorEvent(error) ? error.message : String(error);
        throw new DebugError(
          `no debug session in "${namespace}/${name}": ${what}; see kubectl get ctr -n ${namespace}`,
        );
      });
    if (hasTerminal) stdin.setRawMode?.(true);
    await new Promise<void>((resolve) => {
      socket.onclose = () => resolve();
    });
  } finally {
    if (hasTerminal) stdin.setRawMode?.(false);
    stdin.destroy(); // it would keep the process alive
  }
  if (status === undefined)
    throw new DebugError('the session broke off: the daemon ended, or the container was removed');
  if (status.status === 'Success') return 0;
  const cause = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (cause !== undefined && /^\d+$/.test(cause)) return Number(cause);
  throw new DebugError(status.message ?? 'the session failed without a word');
}

/** What ws gives to a listener of errors. */
function isErrorEvent(error: unknown): error is { readonly message: string } {
  return typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string';
}
