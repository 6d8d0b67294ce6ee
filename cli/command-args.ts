/** Arguments of the commands that work on objects: names, a namespace, and the flags of all commands. Pure. */
import { ConfigError } from './config.ts';

export interface CommandArgs {
  readonly names: readonly string[];
  readonly namespace: string;
  /** Flags of all commands, with their values. */
  readonly rest: readonly string[];
}

/** Throws ConfigError: a flag without its value, or what cannot be a name. */
export function parseCommandArgs(args: readonly string[]): CommandArgs {
  const rest: string[] = [];
  const names: string[] = [];
  let namespace = 'default';
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? '';
    if (!arg.startsWith('-')) {
      names.push(arg);
      continue;
    }
    const at = arg.startsWith('--') ? arg.indexOf('=') : -1;
    const flag = at === -1 ? arg : arg.slice(0, at);
    if (at === -1) index += 1;
    const value = at === -1 ? args[index] : arg.slice(at + 1);
    if (value === undefined) throw new ConfigError(`${flag} needs a value; see holdfast --help`);
    if (flag === '-n' || flag === '--namespace') namespace = value;
    else rest.push(flag, value);
  }
  for (const name of [...names, namespace]) {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
      throw new ConfigError(`"${name}" is not a name; use up to 63 small letters, digits and dashes`);
    }
  }
  return { names, namespace, rest };
}
