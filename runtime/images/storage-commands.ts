/**
 * Changes containers-storage: copies images into it with skopeo, renames and deletes them with containers-storage's own
 * program. Effects only. Both take storage's locks, so any number of them, and of processes, go side by side.
 */
import { access, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ImagePullError, RuntimeOperationError } from '../interface.ts';
import { parsePullError } from './pull-errors.ts';
import type { ImageReference } from './reference.ts';
import { runTool, type ToolResult } from './skopeo.ts';

export interface StorageCommandsDeps {
  readonly root: string;
  readonly runRoot: string;
  readonly registriesConf: string | undefined;
  readonly authFile: string | undefined;
  readonly limits: { readonly pullDeadlineMs: number; readonly stallMs: number };
}

export interface StorageCommands {
  /** Copies what the reference points to into the store, under this name. Throws ImagePullError. */
  copy(reference: ImageReference, name: string, signal: AbortSignal): Promise<void>;
  setNames(imageID: string, names: readonly string[]): Promise<void>;
  /** The image with all its names, and the layers that no other image has. */
  deleteImage(imageID: string): Promise<void>;
}

/** For storage's own program, sync included. */
const storageDeadlineMs = 120_000;
/** Without it storage mounts its folder over itself, and leaves that behind. */
const storageOptions = 'overlay.skip_mount_home=true';

export async function createStorageCommands(deps: StorageCommandsDeps): Promise<StorageCommands> {
  const scratch = join(deps.root, 'holdfast-tmp');
  await removeStaleScratch(scratch);
  // The host's rules on signatures hold where there are some. Debian's skopeo installs permissive ones.
  const hasPolicy = await isThere('/etc/containers/policy.json');

  async function storage(args: readonly string[]): Promise<void> {
    const place = ['--graph', deps.root, '--run', deps.runRoot, '--storage-driver', 'overlay'];
    const options = ['--storage-opt', storageOptions];
    const run = { command: 'containers-storage', args: [...place, ...options, ...args] } as const;
    assertSuccess('image_change', await runTool({ ...run, deadlineMs: storageDeadlineMs }));
  }

  return {
    async copy(reference, name, signal) {
      const source = reference.kind === 'registry' ? `docker://${reference.canonical}` : reference.canonical;
      const target = `containers-storage:[overlay@${deps.root}+${deps.runRoot}:${storageOptions}]${name}`;
      await mkdir(scratch, { recursive: true, mode: 0o700 });
      const temporary = await mkdtemp(join(scratch, `${process.pid}-`));
      try {
        const args = [
          ...(deps.registriesConf === undefined ? [] : ['--registries-conf', deps.registriesConf]),
          ...(hasPolicy ? [] : ['--insecure-policy']),
          ...['--tmpdir', temporary, 'copy', '--quiet', '--remove-signatures'],
          ...(deps.authFile === undefined || reference.kind === 'archive' ? [] : ['--src-authfile', deps.authFile]),
          ...[source, target],
        ];
        const { pullDeadlineMs: deadlineMs, stallMs } = deps.limits;
        const result = await runTool({ command: 'skopeo', args, deadlineMs, stallMs, signal });
        if (result.kind !== 'success') throw pullError(reference, result);
        // The records are fsynced by storage, the layers are not: a power cut must not leave empty files behind them.
        const sync = { command: 'sync', args: ['-f', deps.root], deadlineMs: storageDeadlineMs, signal } as const;
        assertSuccess('image_sync', await runTool(sync));
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    },
    setNames: (imageID, names) => storage(['set-names', ...names.flatMap((name) => ['--name', name]), imageID]),
    deleteImage: (imageID) => storage(['delete-image', imageID]),
  };
}

type Failure = Exclude<ToolResult, { kind: 'success' }>;

function pullError(reference: ImageReference, failure: Failure): Error {
  if (failure.kind === 'missing') return missingProgram('image_pull', failure.program);
  if (failure.kind === 'failed') return parsePullError(reference.canonical, failure.stderr, reference.kind);
  const seconds = Math.round(failure.afterMs / 1000);
  const what = failure.kind === 'stalled' ? `nothing arrived for ${seconds} s` : `it was not done after ${seconds} s`;
  const fix = 'check the network and the registry; it is tried again, and finished layers are kept';
  return new ImagePullError(reference.canonical, { kind: 'unreachable', what, fix });
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

/** What a pull of a killed process has left. Folders are named after their process, which may be another live one. */
async function removeStaleScratch(scratch: string): Promise<void> {
  for (const name of await readdir(scratch).catch(() => [])) {
    const pid = /^([0-9]+)-/.exec(name)?.[1];
    if (pid !== undefined && pid !== String(process.pid) && (await isThere(`/proc/${pid}`))) continue;
    await rm(join(scratch, name), { recursive: true, force: true });
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false, // whatever the reason, skopeo could not read it either
  );
}
