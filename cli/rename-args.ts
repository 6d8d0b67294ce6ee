/** Arguments of `holdfast rename OLD NEW`. Pure. */
import { parseCommandArgs } from './command-args.ts';
import { ConfigError } from './config.ts';

export interface RenameArgs {
  readonly from: string;
  readonly to: string;
  readonly namespace: string;
  /** Flags of all commands. */
  readonly rest: readonly string[];
}

/** Pure. Throws ConfigError. */
export function parseRenameArgs(args: readonly string[]): RenameArgs {
  const { names, namespace, rest } = parseCommandArgs(args);
  const [from, to] = names;
  if (from === undefined || to === undefined || names.length > 2) {
    throw new ConfigError('`holdfast rename` needs two names: holdfast rename OLD NEW [-n NAMESPACE]');
  }
  if (from === to) throw new ConfigError(`"${from}" has that name already; give another`);
  return { from, to, namespace, rest };
}
