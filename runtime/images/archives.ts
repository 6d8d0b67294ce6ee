/**
 * Images out of archives and into archives, whole files and streams. Effects; what an archive holds is decided in
 * plan-import.ts. What is written on the way lies in a scratch folder that goes at the end, or at the next start.
 */
import type { ChildProcessByStdio } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { ImagePullError, RuntimeOperationError } from '../interface.ts';
import { spawnChild } from '../spawn-child.ts';
import { type PlannedImport, planImport } from './plan-import.ts';
import { runTool } from './skopeo.ts';

/** Finding two small files in an archive of many gigabytes. */
const lookDeadlineMs = 10 * 60_000;

/** Brings an archive into `scratch` if need be and says what is in it. `name`: see planImport. Throws ImagePullError. */
export async function openArchive(
  source: string | Readable,
  { scratch, name }: { readonly scratch: string; readonly name: string | undefined },
  signal: AbortSignal,
): Promise<readonly PlannedImport[]> {
  const path = await takeArchive(source, scratch, signal);
  const title = typeof source === 'string' ? source : 'the archive';
  const manifest = await readMember(path, 'manifest.json', signal);
  const index = manifest === undefined ? await readMember(path, 'index.json', signal) : undefined;
  return planImport({ title, path, manifest, index, name });
}

/** Brings an archive into `scratch`, not compressed: skopeo 1.9.3 reads a member of one by its index only so. Throws ImagePullError. */
export async function takeArchive(source: string | Readable, scratch: string, signal: AbortSignal): Promise<string> {
  const given = join(scratch, 'given');
  if (typeof source === 'string') await symlink(source, given);
  else await pipeline(source, createWriteStream(given, { mode: 0o600 }), { signal });
  const compression = await observeCompression(given);
  if (compression === undefined) return given;
  const path = join(scratch, 'archive');
  await decompress(compression, { from: given, to: path }, signal);
  await rm(given);
  return path;
}

type Compression = { readonly transform: () => Transform } | { readonly program: 'xz' | 'bzip2' };

/** The bytes with which each begins. */
const compressions: readonly (readonly [string, Compression])[] = [
  ['1f8b', { transform: createGunzip }],
  ['28b52ffd', { transform: createZstdDecompress }],
  ['fd377a585a00', { program: 'xz' }],
  ['425a68', { program: 'bzip2' }],
];

/** undefined: not compressed, or in a way that is not known here. Throws ImagePullError if it is not there. */
async function observeCompression(path: string): Promise<Compression | undefined> {
  const start = Buffer.alloc(6);
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    const fix = 'check the path';
    throw new ImagePullError('the archive', { kind: 'not-found', what: cause.message, fix }, { cause });
  });
  try {
    await file.read(start, 0, start.length, 0);
  } finally {
    await file.close();
  }
  return compressions.find(([magic]) => start.toString('hex').startsWith(magic))?.[1];
}

async function decompress(
  compression: Compression,
  { from, to }: { readonly from: string; readonly to: string },
  signal: AbortSignal,
): Promise<void> {
  const target = createWriteStream(to, { mode: 0o600 });
  if ('program' in compression) return decompressBy(compression.program, from, target, signal);
  try {
    await pipeline(createReadStream(from), compression.transform(), target, { signal });
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(?:Z_|ZSTD_)/.test(String(error.code)))
      throw damaged(error.message, error);
    throw error;
  }
}

/** What zlib does not know. */
async function decompressBy(program: string, from: string, target: Writable, signal: AbortSignal): Promise<void> {
  const child = spawnChild(program, ['--decompress', '--stdout', '--', from], { stdio: ['ignore', 'pipe', 'pipe'] });
  const { code, stderr } = await drain(child, target, signal);
  if (code !== 0) throw damaged(stderr === '' ? `${program} ended with ${code ?? 'a signal'}` : stderr);
}

function damaged(what: string, cause?: unknown): ImagePullError {
  const fix = 'it is cut short or damaged: write or copy it again';
  return new ImagePullError('the archive', { kind: 'corrupt', what, fix }, { cause });
}

/** The text of a file at the top of an archive; undefined: it is not there, or this is no archive. */
async function readMember(path: string, member: string, signal: AbortSignal): Promise<string | undefined> {
  for (const name of [member, `./${member}`]) {
    const args = ['--extract', '--to-stdout', '--occurrence=1', `--file=${path}`, '--', name];
    const run = { command: 'tar', args, deadlineMs: lookDeadlineMs, signal, keepsOutput: true } as const;
    const result = await runTool(run);
    if (result.kind === 'success') return result.stdout;
  }
  return undefined;
}

export interface ExportDeps {
  /** Copies the image to a place like docker-archive:/x.tar:name or oci:/x:name. */
  copyOut(imageID: string, target: string, moreNames: readonly string[], signal: AbortSignal): Promise<void>;
}

export interface ExportRequest {
  readonly images: readonly { readonly id: string; readonly names: readonly string[] }[];
  readonly format: 'docker-archive' | 'oci-archive';
  readonly target: string | Writable;
  readonly scratch: string;
}

/** A file is there whole or not at all: it is written beside its place and renamed. */
export async function writeArchive(deps: ExportDeps, request: ExportRequest, signal: AbortSignal): Promise<void> {
  const { target, format } = request;
  const tree = join(request.scratch, 'tree');
  await mkdir(tree);
  if (format === 'docker-archive') await writeDockerTree(deps, request, tree, signal);
  else await writeOciTree(deps, request, tree, signal);
  if (typeof target !== 'string') return packTo(tree, target, signal);
  const beside = `${target}.${process.pid}.new`;
  try {
    await packTo(tree, createWriteStream(beside, { mode: 0o600 }), signal);
    await rename(beside, target);
  } finally {
    await rm(beside, { force: true });
  }
}

/** One archive an image, unpacked over each other: layers are named by their content, and the lists are joined. */
async function writeDockerTree(
  { copyOut }: ExportDeps,
  { images, scratch }: ExportRequest,
  tree: string,
  signal: AbortSignal,
): Promise<void> {
  const entries: unknown[] = [];
  for (const { id, names } of images) {
    const archive = join(scratch, 'one');
    const [first, ...more] = names;
    await copyOut(id, `docker-archive:${archive}${first === undefined ? '' : `:${first}`}`, more, signal);
    await tar(['--extract', `--file=${archive}`, `--directory=${tree}`], signal);
    await rm(archive);
    const list: unknown = JSON.parse(await readFile(join(tree, 'manifest.json'), 'utf8'));
    entries.push(...(Array.isArray(list) ? list : []));
  }
  await writeFile(join(tree, 'manifest.json'), JSON.stringify(entries));
  await rm(join(tree, 'repositories'), { force: true }); // of the last image only; nobody has read it since Docker 1.10
}

async function writeOciTree(
  { copyOut }: ExportDeps,
  { images }: ExportRequest,
  tree: string,
  signal: AbortSignal,
): Promise<void> {
  // A layout cannot keep two images without a name apart.
  for (const { id, names } of images) {
    for (const name of names.length === 0 ? [id.replace('sha256:', '').slice(0, 12)] : names)
      await copyOut(id, `oci:${tree}:${name}`, [], signal);
  }
}

async function tar(args: readonly string[], signal: AbortSignal): Promise<void> {
  const result = await runTool({ command: 'tar', args, deadlineMs: lookDeadlineMs, signal });
  if (result.kind !== 'success')
    throw new RuntimeOperationError('image_export', result.kind === 'failed' ? result.stderr.trim() : result.kind);
}

/** Packs what is in a folder; no intermediate file. The target is ended. */
async function packTo(tree: string, target: Writable, signal: AbortSignal): Promise<void> {
  const args = ['--create', '--file=-', '--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0'];
  const child = spawnChild('tar', [...args, `--directory=${tree}`, '.'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const { code, stderr } = await drain(child, target, signal);
  if (code !== 0) throw new RuntimeOperationError('image_export', `tar ended with ${code ?? 'a signal'}: ${stderr}`);
}

/** Pipes all that a child says to the target, and tells how it ended and the end of its complaints. A broken pipe ends it. */
async function drain(
  child: ChildProcessByStdio<null, Readable, Readable>,
  target: Writable,
  signal: AbortSignal,
): Promise<{ readonly code: number | null; readonly stderr: string }> {
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString('utf8')).slice(-4096);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  ended.catch(() => undefined); // awaited below, also when the pipe breaks first
  try {
    await pipeline(child.stdout, target, { signal });
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return { code: await ended, stderr: stderr.trim() };
}
