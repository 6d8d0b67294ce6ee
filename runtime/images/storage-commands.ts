/**
 * Changes containers-storage: copies images into it with skopeo, renames and deletes them with containers-storage's own
 * program. Effects only. Both take storage's locks, so any number of them, and of processes, go side by side.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ImagePullError, type PullProgress, RuntimeOperationError } from '../interface.ts';
import { type Manifest, parseManifest, watchDownload } from './download.ts';
import type { ManifestBlobs } from './layer-progress.ts';
import type { Platform } from './platform.ts';
import { isManifestUnknown, type PullCircumstances, parsePullError } from './pull-errors.ts';
import type { ImageReference } from './reference.ts';
import { runTool, type ToolResult } from './skopeo.ts';
import { hostOptions, platformOptions, storageLocation, storageOptions } from './skopeo-options.ts';
import { removeStale } from './stale-files.ts';

export interface StorageCommandsDeps {
  readonly root: string;
  readonly runRoot: string;
  readonly registriesConf: string | undefined;
  readonly hasPolicy: boolean;
  readonly limits: { readonly pullDeadlineMs: number; readonly stallMs: number };
  /** Digests of blobs that need not be fetched any more. */
  blobDigests(): Promise<ReadonlySet<string>>;
}

export interface CopyRequest {
  readonly reference: ImageReference;
  /** Which of an image for several it is to be. */
  readonly platform: Platform;
  /** Under which the store is to know it. */
  readonly name: string;
  /** What it is called in errors. */
  readonly title: string;
  /** undefined: where skopeo looks by itself. */
  readonly authFile: string | undefined;
  /** Whether the file holds a user name and password for it. */
  readonly isLoggedIn: boolean;
  readonly onProgress: (progress: PullProgress) => void;
  readonly reportsLayers: boolean;
}

export interface StorageCommands {
  /** Copies what the reference points to into the store. Throws ImagePullError. */
  copy(request: CopyRequest, signal: AbortSignal): Promise<void>;
  /** Copies an image out of the store, to docker-archive:PATH[:NAME] or oci:PATH:NAME. */
  copyOut(imageID: string, target: string, moreNames: readonly string[], signal: AbortSignal): Promise<void>;
  /** A folder of this process's own for the time of `work`; on the file system of the images. */
  withScratch<T>(work: (dir: string) => Promise<T>): Promise<T>;
  addNames(imageID: string, names: readonly string[]): Promise<void>;
  setNames(imageID: string, names: readonly string[]): Promise<void>;
  /** The image with all its names, and the layers that no other image has. */
  deleteImage(imageID: string): Promise<void>;
  /** Fails if an image or another layer is built on it. */
  deleteLayer(layerID: string): Promise<void>;
  unmount(path: string): Promise<void>;
  /** Removes temporary files of processes that are gone. */
  removeStale(): Promise<void>;
}

const progressTimes = { intervalMs: 500, blobsAfterMs: 1_000 };
/** For one who watches it layer by layer. */
const layerTimes = { intervalMs: 100, blobsAfterMs: 0 };
const manifestDeadlineMs = 30_000;
/** It only makes an error clearer. */
const tagsDeadlineMs = 5_000;
/** For storage's own program, sync included. */
const storageDeadlineMs = 120_000;

export async function createStorageCommands(deps: StorageCommandsDeps): Promise<StorageCommands> {
  const scratch = join(deps.root, 'holdfast-tmp');
  await removeStale(scratch, 'own-too');

  async function storage(args: readonly string[]): Promise<void> {
    const place = ['--graph', deps.root, '--run', deps.runRoot, '--storage-driver', 'overlay'];
    const options = ['--storage-opt', storageOptions];
    const run = { command: 'containers-storage', args: [...place, ...options, ...args] } as const;
    assertSuccess('image_change', await runTool({ ...run, deadlineMs: storageDeadlineMs }));
  }

  function globalOptions(platform: Platform): readonly string[] {
    return [...hostOptions(deps), ...platformOptions(platform)];
  }

  async function readManifest(source: string, request: CopyRequest, signal: AbortSignal): Promise<Manifest> {
    const args = [...globalOptions(request.platform), 'inspect', '--raw', ...authOption('--authfile', request), source];
    const run = { command: 'skopeo', args, deadlineMs: manifestDeadlineMs, signal, keepsOutput: true } as const;
    const result = await runTool(run);
    return result.kind === 'success' ? parseManifest(result.stdout, request.platform) : { kind: 'unknown' };
  }

  /** undefined: the manifest does not say, or cannot be read. */
  async function askBlobs(request: CopyRequest, signal: AbortSignal): Promise<ManifestBlobs | undefined> {
    const { reference } = request;
    if (reference.kind === 'archive') return undefined;
    let manifest = await readManifest(sourceOf(reference), request, signal);
    if (manifest.kind === 'index' && manifest.digest !== undefined) {
      const source = `docker://${reference.registry}/${reference.repository}@${manifest.digest}`;
      manifest = await readManifest(source, request, signal);
    }
    return manifest.kind === 'image' ? manifest : undefined;
  }

  async function pullError(request: CopyRequest, failure: Failure, signal: AbortSignal): Promise<Error> {
    const { reference, isLoggedIn, title } = request;
    if (failure.kind === 'missing') return missingProgram('image_pull', failure.program);
    if (failure.kind === 'failed') {
      const tags = isManifestUnknown(failure.stderr) ? await askTags(request, signal) : undefined;
      const isByDigest = reference.kind === 'registry' && reference.digest !== undefined;
      const circumstances = { source: reference.kind, isLoggedIn, isByDigest, tags };
      return parsePullError(title, failure.stderr, circumstances);
    }
    const seconds = Math.round(failure.afterMs / 1000);
    const what = failure.kind === 'stalled' ? `nothing arrived for ${seconds} s` : `it was not done after ${seconds} s`;
    const fix = 'check the network and the registry; it is tried again, and finished layers are kept';
    return new ImagePullError(title, { kind: 'unreachable', what, fix });
  }

  /** What the repository has instead. undefined: it cannot be known; mirrors are not asked (skopeo asks none for tags). */
  async function askTags(request: CopyRequest, signal: AbortSignal): Promise<PullCircumstances['tags']> {
    const { reference, platform } = request;
    if (reference.kind === 'archive') return undefined;
    const source = `docker://${reference.registry}/${reference.repository}`;
    const args = [...globalOptions(platform), 'list-tags', ...authOption('--authfile', request), source];
    const run = { command: 'skopeo', args, deadlineMs: tagsDeadlineMs, signal, keepsOutput: true } as const;
    const result = await runTool(run);
    if (result.kind === 'failed')
      return /name unknown|repository name not known|status code from registry 404/i.test(result.stderr)
        ? 'none'
        : undefined;
    return result.kind === 'success' ? parseTags(result.stdout) : undefined;
  }

  const location = storageLocation(deps);

  async function withScratch<T>(work: (dir: string) => Promise<T>): Promise<T> {
    await mkdir(scratch, { recursive: true, mode: 0o700 });
    const dir = await mkdtemp(join(scratch, `${process.pid}-`));
    try {
      return await work(dir);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }

  return {
    withScratch,
    copyOut: (imageID, target, moreNames, signal) =>
      withScratch(async (temporary) => {
        const names = moreNames.flatMap((name) => ['--additional-tag', name]);
        const policy = ['--insecure-policy']; // what is here was let in by the host's rules
        const args = [...policy, '--tmpdir', temporary, 'copy', '--quiet', ...names];
        const run = {
          command: 'skopeo',
          args: [...args, `containers-storage:${location}@${imageID}`, target],
        } as const;
        assertSuccess('image_export', await runTool({ ...run, deadlineMs: deps.limits.pullDeadlineMs, signal }));
      }),
    async copy(request, signal) {
      const { reference, name } = request;
      const target = `containers-storage:${location}${name}`;
      // Before the download: a layer that is done while it runs was to be fetched.
      const known = await deps.blobDigests();
      await withScratch(async (temporary) => {
        const watching = watchDownload({
          dir: temporary,
          askBlobs: () => askBlobs(request, signal),
          known,
          stored: deps.blobDigests,
          onProgress: request.onProgress,
          ...(request.reportsLayers ? layerTimes : progressTimes),
        });
        try {
          const args = [
            ...globalOptions(request.platform),
            ...['--tmpdir', temporary, 'copy', '--quiet', '--remove-signatures'],
            ...authOption('--src-authfile', request),
            ...[sourceOf(reference), target],
          ];
          const { pullDeadlineMs: deadlineMs, stallMs } = deps.limits;
          const result = await runTool({ command: 'skopeo', args, deadlineMs, stallMs, signal });
          if (result.kind !== 'success') throw await pullError(request, result, signal);
          await watching.finish();
        } finally {
          watching.stop();
        }
      });
      // The records are fsynced by storage, the layers are not: a power cut must not leave empty files behind them.
      const sync = { command: 'sync', args: ['-f', deps.root], deadlineMs: storageDeadlineMs, signal } as const;
      assertSuccess('image_sync', await runTool(sync));
    },
    addNames: (imageID, names) => storage(['add-names', ...names.flatMap((name) => ['--name', name]), imageID]),
    setNames: (imageID, names) => storage(['set-names', ...names.flatMap((name) => ['--name', name]), imageID]),
    deleteImage: (imageID) => storage(['delete-image', imageID]),
    deleteLayer: (layerID) => storage(['delete-layer', layerID]),
    async unmount(path) {
      assertSuccess('image_unmount', await runTool({ command: 'umount', args: [path], deadlineMs: storageDeadlineMs }));
    },
    removeStale: () => removeStale(scratch, 'keep-own'),
  };
}

function sourceOf(reference: ImageReference): string {
  return reference.kind === 'registry' ? `docker://${reference.canonical}` : reference.canonical;
}

function authOption(option: string, { reference, authFile }: CopyRequest): readonly string[] {
  return authFile === undefined || reference.kind === 'archive' ? [] : [option, authFile];
}

type Failure = Exclude<ToolResult, { kind: 'success' }>;

/** Pure. What is none of skopeo's lists has no tags. */
function parseTags(text: string): readonly string[] {
  try {
    const document: unknown = JSON.parse(text);
    const tags = typeof document === 'object' && document !== null && 'Tags' in document ? document.Tags : [];
    return Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === 'string') : [];
  } catch {
    return []; // cut short: longer than anybody reads
  }
}

function assertSuccess(operation: string, result: ToolResult): void {
  if (result.kind === 'success') return;
  if (result.kind === 'missing') throw missingProgram(operation, result.program);
  const what = result.kind === 'failed' ? result.stderr.trim() : `not done after ${result.afterMs} ms`;
  throw new RuntimeOperationError(operation, what);
}

function missingProgram(operation: string, program: string): RuntimeOperationError {
  return new RuntimeOperationError(operation, `${program} is not installed on this host; run "make setup"`);
}
