/**
 * `holdfast image …`: the images of this host from the command line, beside a daemon that runs or does not. Effects; what
 * was typed is parsed by a pure function.
 */
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { type ImageInfo, type Images, openImageStore } from '../runtime/index.ts';
import { type Config, ConfigError } from './config.ts';

export const imageUsage = `Usage: holdfast image COMMAND [--data-dir DIR --run-dir DIR …]

Commands:
  ls                                     the images of this host
  pull NAME [--platform OS/ARCH]         fetch an image, or a newer one of this name
  rm NAME|ID …                           remove images that no container has
  import FILE|- [--name NAME]            take in what docker save, podman save or export wrote; -: from standard input
  export NAME|ID … [--output FILE] [--format docker-archive|oci-archive]
                                         write images to a file, or to standard output
`;

export type ImageCommand =
  | { readonly kind: 'ls' }
  | { readonly kind: 'pull'; readonly name: string; readonly platform: string | undefined }
  | { readonly kind: 'rm'; readonly names: readonly string[] }
  | { readonly kind: 'import'; readonly file: string; readonly name: string | undefined }
  | {
      readonly kind: 'export';
      readonly names: readonly string[];
      /** undefined: standard output. */
      readonly output: string | undefined;
      readonly format: 'docker-archive' | 'oci-archive';
    };

const ownOptions = {
  name: { type: 'string' },
  platform: { type: 'string' },
  output: { type: 'string', short: 'o' },
  format: { type: 'string', default: 'docker-archive' },
} as const;

/** Pure. What follows `holdfast image`; the flags of the daemon are given back for parseConfig. Throws ConfigError. */
export function parseImageCommand(
  args: readonly string[],
  isConfigFlag: (name: string) => boolean,
): { readonly command: ImageCommand; readonly configArgs: readonly string[] } {
  const own: string[] = [];
  const configArgs: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    const [, flag, joined] = /^--([a-z-]+)(=.*)?$/s.exec(arg) ?? [];
    if (flag === undefined || !isConfigFlag(flag)) own.push(arg);
    else if (joined !== undefined) configArgs.push(arg);
    else {
      configArgs.push(...args.slice(at, at + 2));
      at += 1;
    }
  }
  return { command: parseOwn(own), configArgs };
}

function parseOwn(args: readonly string[]): ImageCommand {
  const { values, positionals } = parse(args);
  const [kind, ...names] = positionals;
  const [first] = names;
  const must = (isRight: boolean, what: string): void => {
    if (!isRight) throw new ConfigError(`holdfast image ${kind ?? ''} takes ${what}; see holdfast image --help`);
  };
  switch (kind) {
    case 'ls':
      must(first === undefined, 'no name');
      return { kind };
    case 'pull':
      must(first !== undefined && names.length === 1, 'one name');
      return { kind, name: first ?? '', platform: values.platform };
    case 'rm':
      must(first !== undefined, 'the names or ids of images');
      return { kind, names };
    case 'import':
      must(first !== undefined && names.length === 1, 'one file');
      return { kind, file: first ?? '', name: values.name };
    case 'export': {
      must(first !== undefined, 'the names or ids of images');
      const { output, format } = values;
      if (format !== 'docker-archive' && format !== 'oci-archive')
        throw new ConfigError(`--format is "${format}"; use docker-archive or oci-archive`);
      return { kind, names, output, format };
    }
    case undefined:
      throw new ConfigError('holdfast image needs a command: ls, pull, rm, import or export');
    default:
      throw new ConfigError(`there is no command "image ${kind}"; use ls, pull, rm, import or export`);
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: ownOptions, strict: true, allowPositionals: true });
  } catch (error) {
    throw new ConfigError(`${error instanceof Error ? error.message : String(error)}; see holdfast image --help`, {
      cause: error,
    });
  }
}

export interface ImageCommandDeps {
  readonly config: Config;
  readonly stdin: NodeJS.ReadableStream & AsyncIterable<Buffer | string>;
  readonly stdout: NodeJS.WriteStream;
  readonly say: (line: string) => void;
  readonly log: Logger;
}

/** Throws what the image store throws; its messages are for people. */
export async function runImageCommand(
  command: ImageCommand,
  deps: ImageCommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const { dataDir, runDir, registriesConf, authFiles } = deps.config;
  const metrics = new Registry();
  const images = await openImageStore({ dataDir, runDir, registriesConf, authFiles, log: deps.log, metrics });
  try {
    await carryOut(command, images, deps, signal);
  } finally {
    await images.close();
  }
}

async function carryOut(
  command: ImageCommand,
  images: Images,
  { stdin, stdout, say }: ImageCommandDeps,
  signal: AbortSignal,
): Promise<void> {
  switch (command.kind) {
    case 'ls':
      return say(formatImages(await images.list()));
    case 'pull': {
      const { platform } = command;
      const { id, sizeBytes } = await images.ensure(command.name, 'always', signal, { platform });
      return say(`${id}  ${formatSize(sizeBytes)}`);
    }
    case 'rm':
      for (const name of command.names) await images.remove(name);
      return;
    case 'import': {
      const source = command.file === '-' ? Readable.from(stdin) : resolve(command.file);
      for (const { id, names } of await images.importArchive(source, { name: command.name }, signal))
        say(`${id}  ${names.join(' ')}`);
      return;
    }
    case 'export': {
      const { format, output, names } = command;
      if (output === undefined && stdout.isTTY)
        throw new ConfigError('an archive is not for a terminal; give --output FILE, or redirect the output');
      return images.exportArchive(names, { format, target: output === undefined ? stdout : resolve(output) }, signal);
    }
    default:
      throw new TypeError(`unknown command: ${JSON.stringify(command satisfies never)}`);
  }
}

/** A line for each name. Pure. */
export function formatImages(infos: readonly ImageInfo[]): string {
  const rows = infos
    .flatMap(({ id, names, sizeBytes }) =>
      (names.length === 0 ? ['<none>'] : names).map((name) => [name, id.slice(7, 19), formatSize(sizeBytes)] as const),
    )
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const widths = [0, 1].map((column) =>
    Math.max(...[['NAME', 'ID'] as const, ...rows].map((row) => (row[column] ?? '').length)),
  );
  return [['NAME', 'ID', 'SIZE'] as const, ...rows]
    .map(([name, id, size]) => `${name.padEnd(widths[0] ?? 0)}  ${id.padEnd(widths[1] ?? 0)}  ${size}`)
    .join('\n');
}

function formatSize(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
