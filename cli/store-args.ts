/** What follows `holdfast store` on the command line. Pure. */
import { ConfigError } from './config.ts';

/** The command cannot be carried out; the message says why and what to do. */
export class StoreCommandError extends Error {
  override readonly name = 'StoreCommandError';
}

export const storeUsage = `Usage: holdfast store [COMMAND] [--data-dir DIR …]

Without a command: the store alone, as a daemon. Commands:
  backup FILE|- [--salvage]   all objects, while the store runs or does not; --salvage: also of a damaged database
  restore FILE|-              put a backup in the place of the database; the daemon must be stopped
  check [FILE]                look over a backup, or the database while the store runs or does not
  rotate-key                  encrypt Secrets with a new key from now on, and in the background those that there are
`;

export type StoreCommand =
  | { readonly kind: 'backup'; readonly file: string; readonly isSalvage: boolean }
  | { readonly kind: 'restore'; readonly file: string }
  | { readonly kind: 'check'; readonly file: string | undefined }
  | { readonly kind: 'rotate-key' };

/** undefined: the daemon is meant. `rest`: flags of all commands. Throws ConfigError. Pure. */
export function parseStoreCommand(args: readonly string[]): {
  readonly command: StoreCommand | undefined;
  readonly rest: readonly string[];
} {
  const [kind, ...others] = args;
  if (kind === undefined || kind.startsWith('-')) return { command: undefined, rest: args };
  const files: string[] = [];
  const rest: string[] = [];
  let isSalvage = false;
  for (let at = 0; at < others.length; at += 1) {
    const arg = others[at] ?? '';
    if (kind === 'backup' && arg === '--salvage') isSalvage = true;
    else if (arg === '-' || !arg.startsWith('-')) files.push(arg);
    else if (arg.includes('=')) rest.push(arg);
    else {
      rest.push(...others.slice(at, at + 2));
      at += 1;
    }
  }
  const [file, surplus] = files;
  if (surplus !== undefined) throw new ConfigError(`holdfast store ${kind} takes one file, not also "${surplus}"`);
  switch (kind) {
    case 'backup':
    case 'restore':
      if (file === undefined) throw new ConfigError(`holdfast store ${kind} needs a file, or - for a pipe`);
      return { command: kind === 'backup' ? { kind, file, isSalvage } : { kind, file }, rest };
    case 'check':
      return { command: { kind, file }, rest };
    case 'rotate-key':
      if (file !== undefined) throw new ConfigError('holdfast store rotate-key takes no file');
      return { command: { kind }, rest };
    default:
      throw new ConfigError(`there is no command "store ${kind}"; use backup, restore, check or rotate-key`);
  }
}
