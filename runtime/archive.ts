/**
 * Copies files out of and into a container as tar streams, through archive.pl, which moves into the container's root
 * before it follows a path. Effects; parseArchiveStat and archiveError are pure.
 */
import { stat } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ContainerEntry } from './container-entry.ts';
import {
  type Archive,
  ArchiveError,
  type ArchiveStat,
  RuntimeOperationError,
  type WriteArchiveOptions,
} from './interface.ts';
import type { OciMount } from './kernel-mounts.ts';
import { type Relay, RelayError, startRelay } from './relay.ts';
import { makeFolderInRoot } from './rooted-path.ts';
import type { Syscalls } from './syscalls.ts';
import { mergeMounts } from './volumes/index.ts';

/** How archive.pl comes to see what the container sees. */
export type ArchiveView =
  | { readonly kind: 'running'; readonly pid: number; readonly startTicks: number }
  /** Nothing of it runs: its root on the host, and what is mounted below it. */
  | {
      readonly kind: 'stopped';
      readonly rootfs: string;
      readonly isReadOnly: boolean;
      /** By which the container sees owners, if it has one of its own. */
      readonly userNamespace: string | undefined;
      readonly mounts: readonly { readonly source: string; readonly target: string; readonly isReadOnly: boolean }[];
    };

const beginDeadlineMs = 30_000;
const fileTypes = 0o170_000;
const kinds: ReadonlyMap<number, ArchiveStat['kind']> = new Map([
  [0o100_000, 'file'],
  [0o040_000, 'folder'],
  [0o120_000, 'link'],
]);

function viewArgs(view: ArchiveView): string[] {
  if (view.kind === 'running') return ['running', String(view.pid), String(view.startTicks)];
  const flag = (isSo: boolean): string => (isSo ? '1' : '0');
  const mounts = view.mounts.flatMap(({ source, target, isReadOnly }) => [source, target, flag(isReadOnly)]);
  const { rootfs, isReadOnly, userNamespace = '' } = view;
  return ['stopped', rootfs, flag(isReadOnly), userNamespace, String(view.mounts.length), ...mounts];
}

/** Pure: what archive.pl says of the file asked for. */
export function parseArchiveStat(text: string): ArchiveStat {
  // Bytes: a name need not be UTF-8.
  const [name = '', size = '', mode = '', mtime = '', linkTarget = '', resolvedTarget = ''] = text
    .split(' ')
    .map((field) => {
      const bytes = field
        .slice(3)
        .replace(/%([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
      return Buffer.from(bytes, 'latin1').toString();
    });
  const kind = kinds.get(Number(mode) & fileTypes) ?? 'other';
  return {
    name,
    kind,
    sizeBytes: Number(size),
    mode: Number(mode) & 0o7777,
    mtimeMs: Number(mtime) * 1_000,
    ...(kind === 'link' ? { linkTarget } : {}),
    ...(kind === 'link' && resolvedTarget !== '' ? { resolvedTarget } : {}),
  };
}

/** Numbers of errno(3), and archive.pl's own for an archive that is not sound. */
const errors: ReadonlyMap<number, { readonly kind: ArchiveError['kind']; readonly fix: string }> = new Map([
  [2, { kind: 'not-found', fix: 'correct the path' }],
  [36, { kind: 'not-found', fix: 'correct the path' }],
  [20, { kind: 'conflict', fix: 'correct the path' }],
  [21, { kind: 'conflict', fix: 'correct the path' }],
  [39, { kind: 'conflict', fix: 'remove it first' }],
  [40, { kind: 'not-found', fix: 'it is a loop of symbolic links' }],
  [30, { kind: 'read-only', fix: 'write to a volume that is not read-only' }],
  [28, { kind: 'no-space', fix: 'free space there' }],
  [122, { kind: 'no-space', fix: 'free space there' }],
  [1_000, { kind: 'invalid', fix: '' }],
]);

/** Pure: what a failed copy means for the caller. */
export function archiveError(error: unknown): unknown {
  if (!(error instanceof RelayError)) return error;
  const known = errors.get(error.code);
  if (known === undefined) return error;
  return new ArchiveError(known.kind, known.fix === '' ? error.text : `${error.text}; ${known.fix}`, { cause: error });
}

/**
 * The view of a container that does not run, whose root is mounted. Folders to mount on are made, as a start does it;
 * memory is empty then. Throws ContainerConfigError.
 */
export async function prepareStoppedView(
  entry: ContainerEntry,
  mounts: readonly OciMount[],
  syscalls: Syscalls,
): Promise<ArchiveView> {
  for (const { type, source, destination } of mounts) {
    const isFolder = type === 'bind' && (await stat(source)).isDirectory();
    if (!isFolder) continue;
    const owner = entry.record.idMap?.hostID ?? 0;
    await makeFolderInRoot({ root: entry.paths.rootfs, path: destination, field: 'mounts', owner, syscalls });
  }
  return {
    kind: 'stopped',
    rootfs: entry.paths.rootfs,
    isReadOnly: entry.record.config.readonlyRootfs,
    userNamespace: entry.record.idMap === undefined ? undefined : entry.paths.userNamespace,
    mounts: mergeMounts([], mounts)
      .filter(({ type }) => type === 'bind')
      .map(({ source, destination, options }) => ({
        source,
        target: destination,
        isReadOnly: options.includes('ro'),
      })),
  };
}

/** A copy that goes on: `done` settles when it has ended, however. */
export interface Copying {
  readonly done: Promise<unknown>;
  close(): Promise<void>;
}

/** Throws ArchiveError, RuntimeOperationError, the signal's reason. The stream fails if the copy cannot be finished. */
export async function openReadArchive(
  view: ArchiveView,
  path: string,
  signal: AbortSignal,
): Promise<Archive & { readonly copying: Copying }> {
  const { text, ...opened } = await openOutput(['read', ...viewArgs(view), path], signal);
  return { stat: parseArchiveStat(text), ...opened };
}

/** All of a root file system, as openReadArchive; names begin at the root. */
export async function openExport(view: ArchiveView, signal: AbortSignal): Promise<OpenOutput> {
  return await openOutput(['export', ...viewArgs(view)], signal);
}

/** What archive.pl writes, whole or with an error at its end. */
export interface OpenOutput {
  readonly stream: Readable;
  readonly copying: Copying;
}

export async function openOutput(
  args: readonly string[],
  signal: AbortSignal,
): Promise<OpenOutput & { readonly text: string }> {
  const relay = await start(args, { hasStdin: false, hasOutput: true, signal });
  const stream = new PassThrough();
  stream.on('error', () => {}); // for whoever reads it
  const { stdout } = relay;
  if (stdout === undefined) throw new RuntimeOperationError('readArchive', 'archive.pl has no output');
  stdout.pipe(stream, { end: false });
  const close = async (): Promise<void> => {
    stdout.destroy();
    await relay.close();
  };
  // Its end alone does not say that it is whole.
  const done = relay.exit.then(
    (code) => {
      if (code !== 0) stream.destroy(cutShort('readArchive'));
      else if (stdout.readableEnded) stream.end();
      else stdout.once('end', () => stream.end());
    },
    (error: unknown) => {
      const problem = archiveError(error);
      stream.destroy(problem instanceof Error ? problem : cutShort('readArchive'));
    },
  );
  stream.once('close', () => void close());
  return { text: relay.text, stream, copying: { done, close } };
}

/** Unpacks the archive below the folder. Throws ArchiveError, RuntimeOperationError, the signal's reason. */
export async function openWriteArchive(
  view: ArchiveView,
  request: { readonly dir: string; readonly options: WriteArchiveOptions; readonly signal: AbortSignal },
): Promise<{ write(archive: Readable): Promise<void>; readonly copying: Copying }> {
  const { dir, options, signal } = request;
  const owner = options.owner ?? 'archive';
  const args = ['write', ...viewArgs(view), dir, owner, options.isStrict === true ? '1' : '0'];
  const relay = await start(args, { hasStdin: true, hasOutput: false, signal });
  const { stdin } = relay;
  if (stdin === undefined) throw new RuntimeOperationError('writeArchive', 'archive.pl has no input');
  const close = async (): Promise<void> => {
    stdin.destroy();
    await relay.close();
  };
  return {
    copying: { done: relay.exit.catch(() => {}), close },
    async write(archive) {
      try {
        // It stops reading when it has failed: then that is what is told, not the broken pipe.
        const sent = pipeline(archive, stdin, { signal }).then(
          () => undefined,
          (error: unknown) => ({ error }),
        );
        const code = await relay.exit.catch((error: unknown) => {
          throw archiveError(error);
        });
        const failure = await sent;
        if (failure !== undefined && code === 0) return; // the sender was cut off in what comes after the end
        if (failure !== undefined) throw failure.error;
        if (code !== 0) throw cutShort('writeArchive');
      } finally {
        await close();
      }
    },
  };
}

function cutShort(operation: string): RuntimeOperationError {
  return new RuntimeOperationError(operation, 'the copy was cut short; try again');
}

async function start(
  args: readonly string[],
  request: { readonly hasStdin: boolean; readonly hasOutput: boolean; readonly signal: AbortSignal },
): Promise<Relay> {
  try {
    return await startRelay({
      program: { kind: 'script', script: 'archive.pl' },
      operation: 'archive',
      args,
      deadlineMs: beginDeadlineMs,
      ...request,
    });
  } catch (error) {
    throw archiveError(error);
  }
}
