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
  host-kubeconfig NAME [--server URL]
                              a kubeconfig for the controller of another host: it may touch only what is that host's
  rotate-key                  encrypt Secrets with a new key from now on, and in the background those that there are
`;

export type StoreCommand =
  | { readonly kind: 'backup'; readonly file: string; readonly isSalvage: boolean }
  | { readonly kind: 'restore'; readonly file: string }
  | { readonly kind: 'check'; readonly file: string | undefined }
  | { readonly kind: 'host-kubeconfig'; readonly host: string; readonly server: string | undefined }
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
  let server: string | undefined;
  for (let at = 0; at < others.length; at += 1) {
    const arg = others[at] ?? '';
    if (kind === 'backup' && arg === '--salvage') isSalvage = true;
    else if (kind === 'host-kubeconfig' && (arg === '--server' || arg.startsWith('--server='))) {
      server = arg === '--server' ? others[++at] : arg.slice('--server='.length);
      if (server === undefined || !/^https:\/\/[^\s"]+$/u.test(server))
        throw new ConfigError('--server needs a URL, such as https://store.example:7443');
    } else if (arg === '-' || !arg.startsWith('-')) files.push(arg);
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
    case 'host-kubeconfig':
      if (file === undefined) throw new ConfigError('holdfast store host-kubeconfig needs the name of a host');
      return { command: { kind, host: file, server }, rest };
    case 'rotate-key':
      if (file !== undefined) throw new ConfigError('holdfast store rotate-key takes no file');
      return { command: { kind }, rest };
    default:
      throw new ConfigError(
        `there is no command "store ${kind}"; use backup, restore, check, host-kubeconfig or rotate-key`,
      );
  }
}
