/**
 * What a container's process is started with: arguments, environment, working directory, user, signals.
 * Pure: merges the caller's wishes with the image's defaults as Docker and the OCI image specification do.
 */
import { constants } from 'node:os';
import { ContainerConfigError, type EnvVar, type ImageConfig, type MutableConfig } from './interface.ts';

/** PATH of a process when neither image nor caller gives one. Source: moby, DefaultPathEnvUnix. */
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Puts the container's address ('' if it has none) where its placeholder stands. */
export function fillAddress<T extends Pick<MutableConfig, 'env' | 'entrypoint' | 'cmd'>>(
  config: T,
  placeholder: string | undefined,
  address: string | undefined,
): T {
  if (placeholder === undefined || placeholder === '') return config;
  const fill = (text: string): string => text.replaceAll(placeholder, () => address ?? '');
  return {
    ...config,
    env: config.env.map(({ name, value }) => ({ name, value: fill(value) })),
    entrypoint: config.entrypoint?.map(fill),
    cmd: config.cmd?.map(fill),
  };
}

export interface ArgsInput {
  readonly entrypoint?: readonly string[] | undefined;
  readonly cmd?: readonly string[] | undefined;
  readonly image: Pick<ImageConfig, 'entrypoint' | 'cmd'>;
}

/**
 * The argument list. An entrypoint given replaces the image's and drops the image's cmd; an empty one clears it.
 * Throws ContainerConfigError when nothing is left to run.
 */
export function mergeArgs({ entrypoint, cmd, image }: ArgsInput): readonly string[] {
  const args =
    entrypoint === undefined ? [...image.entrypoint, ...(cmd ?? image.cmd)] : [...entrypoint, ...(cmd ?? [])];
  const program = args[0];
  if (program === undefined) {
    throw new ContainerConfigError(
      'entrypoint',
      'there is no program to run: neither the image nor the container names one; give a command',
    );
  }
  if (program === '') throw new ContainerConfigError('entrypoint', 'the program to run is an empty string; name one');
  const withNul = args.find((arg) => arg.includes('\0'));
  if (withNul !== undefined) {
    throw new ContainerConfigError(
      'cmd',
      `argument ${JSON.stringify(withNul)} holds a NUL byte, which no program takes`,
    );
  }
  for (const [index, arg] of args.entries()) {
    const sizeBytes = Buffer.byteLength(arg);
    if (sizeBytes > maxStringBytes) {
      throw new ContainerConfigError(
        'cmd',
        `argument ${index} has ${sizeBytes} bytes, and the kernel takes at most ${maxStringBytes}; give it as a file`,
      );
    }
  }
  return args;
}

/** Of one argument, or of one variable with its name; a NUL comes after it. Source: Linux, MAX_ARG_STRLEN; execve(2). */
const maxStringBytes = 32 * 4096 - 1;

export interface EnvInput {
  readonly image: readonly string[];
  readonly own: readonly EnvVar[];
  readonly hostname: string;
  readonly home: string;
  /** The process has a terminal. */
  readonly hasTerminal?: boolean | undefined;
}

/** NAME=value strings, each name once: PATH and HOSTNAME, then the image's, then the caller's; HOME if none gave it, and TERM for a terminal. */
export function mergeEnv({ image, own, hostname, home, hasTerminal }: EnvInput): readonly string[] {
  const merged = new Map<string, string>([
    ['PATH', defaultPath],
    ['HOSTNAME', hostname],
    ...(hasTerminal === true ? ([['TERM', 'xterm']] as const) : []),
  ]);
  for (const entry of image) {
    const at = entry.indexOf('=');
    if (at > 0) merged.set(entry.slice(0, at), entry.slice(at + 1));
  }
  for (const { name, value } of own) {
    if (name === '' || name.includes('=') || `${name}${value}`.includes('\0')) {
      throw new ContainerConfigError('env', `${JSON.stringify(name)} cannot be an environment variable; rename it`);
    }
    const sizeBytes = Buffer.byteLength(`${name}=${value}`);
    if (sizeBytes > maxStringBytes) {
      throw new ContainerConfigError(
        'env',
        `"${name}" has ${sizeBytes} bytes with its name, and the kernel takes at most ${maxStringBytes} for a variable; mount it as a file`,
      );
    }
    merged.set(name, value);
  }
  if ((merged.get('HOME') ?? '') === '') merged.set('HOME', home);
  return [...merged].map(([name, value]) => `${name}=${value}`);
}

/** The absolute, normalised directory to start in. */
export function mergeWorkingDir(own: string | undefined, image: string): string {
  const wanted = own ?? (image === '' ? '/' : image);
  if (wanted.includes('\0')) throw new ContainerConfigError('workingDir', 'the working directory holds a NUL byte');
  const parts: string[] = [];
  for (const part of wanted.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** Number of a signal written as SIGTERM, TERM, 15 or SIGRTMIN+3; undefined if there is no such signal. */
export function parseSignal(text: string): number | undefined {
  if (/^[0-9]{1,2}$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= 64 ? number : undefined;
  }
  const name = text.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const realtime = /^SIGRT(MIN|MAX)(?:([+-])([0-9]{1,2}))?$/.exec(name);
  if (realtime !== null) {
    // glibc keeps 32 and 33 for itself, so SIGRTMIN is 34 (signal(7)).
    const base = realtime[1] === 'MIN' ? 34 : 64;
    const number = base + Number(`${realtime[2] ?? '+'}${realtime[3] ?? '0'}`);
    return number >= 34 && number <= 64 ? number : undefined;
  }
  const known: Readonly<Record<string, number>> = constants.signals;
  return known[name];
}
