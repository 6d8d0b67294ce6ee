/**
 * Fetches Debian packages with apt and unpacks them into a folder; nothing is installed on this machine.
 * The choice of packages is pure (packagesNeeded), the rest effects.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const asRoot = ['-o', 'APT::Sandbox::User=root'];
const downloadTimeoutMs = 300_000;

/** Package → names of the packages it depends on, the first of each choice. */
export type Dependencies = ReadonlyMap<string, readonly string[]>;

/** Pure. Parses what `apt-cache show` prints. */
export function parseDependencies(text: string): Dependencies {
  const stanzas = text.split(/\n\n+/).map((stanza) => ({
    name: /^Package: (\S+)/m.exec(stanza)?.[1],
    fields: [...stanza.matchAll(/^(?:Pre-)?Depends: (.*)$/gm)].map((match) => match[1] ?? ''),
  }));
  return new Map(
    stanzas.flatMap(({ name, fields }) => (name === undefined ? [] : [[name, fields.flatMap(firstChoices)] as const])),
  );
}

/** "libc6 (>= 2.34), a | b" → ["libc6", "a"] */
function firstChoices(field: string): readonly string[] {
  return field
    .split(',')
    .map((choice) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(choice)?.[1])
    .filter((name) => name !== undefined);
}

/**
 * The packages themselves and whatever of their dependencies `wanted` matches, transitively. `show` returns the
 * dependencies of packages; it is asked once for each generation.
 */
export async function packagesNeeded(
  packages: readonly string[],
  wanted: RegExp,
  show: (names: readonly string[]) => Promise<Dependencies>,
): Promise<readonly string[]> {
  const needed = new Set(packages);
  let next = [...needed];
  while (next.length > 0) {
    const dependencies = await show(next);
    const unseen = next
      .flatMap((name) => dependencies.get(name) ?? [])
      .filter((name) => wanted.test(name) && !needed.has(name));
    next = [...new Set(unseen)];
    for (const name of next) needed.add(name);
  }
  return [...needed].sort();
}

export interface UnpackRequest {
  readonly packages: readonly string[];
  /** Which of their dependencies to take along. */
  readonly wanted: RegExp;
  /** Downloaded packages are kept here. */
  readonly cacheDir: string;
  readonly rootDir: string;
  readonly signal: AbortSignal;
}

/** Throws an Error with apt's or dpkg's own words. */
export async function unpackPackages(request: UnpackRequest): Promise<void> {
  const { cacheDir, rootDir, signal } = request;
  await mkdir(cacheDir, { recursive: true });
  // Images of Debian tell apt to keep no index of its lists: it made one anew at each call, for a second of a processor.
  const index = ['pkgcache', 'srcpkgcache'].flatMap((name) => [
    '-o',
    `Dir::Cache::${name}=${join(cacheDir, name)}.bin`,
  ]);
  const show = async (names: readonly string[]) => {
    const { stdout } = await command('apt-cache', [...index, 'show', '--no-all-versions', ...names], signal);
    return parseDependencies(stdout);
  };
  const fetchAll = async () => {
    const names = await packagesNeeded(request.packages, request.wanted, show);
    // It prints where each file comes from and downloads only those that are not there.
    await command('apt-get', [...index, ...asRoot, 'download', '-q', ...names], signal, cacheDir);
    return names;
  };
  const names = await fetchAll().catch(async () => {
    // No package lists yet, or lists so old that the server has newer packages by now.
    await command('apt-get', ['update', '-q'], signal);
    return fetchAll();
  });
  const files = await readdir(cacheDir);
  for (const name of names) {
    const versions = files.filter((file) => file.startsWith(`${name}_`) && file.endsWith('.deb'));
    const newest = await newestOf(
      versions.map((file) => join(cacheDir, file)),
      signal,
    );
    await command('dpkg', ['-x', newest, rootDir], signal);
  }
}

/** An upgrade leaves the older file beside the newer one. */
async function newestOf(paths: readonly string[], signal: AbortSignal): Promise<string> {
  const [only, ...others] = paths;
  if (only !== undefined && others.length === 0) return only;
  let best: { path: string; version: string } | undefined;
  for (const path of paths) {
    const version = (await command('dpkg-deb', ['-f', path, 'Version'], signal)).stdout.trim();
    const isNewer =
      best === undefined ||
      (await command('dpkg', ['--compare-versions', version, 'gt', best.version], signal).then(
        () => true,
        () => false, // dpkg answers by its exit code
      ));
    if (isNewer) best = { path, version };
  }
  if (best === undefined) throw new Error('apt-get download ended well but left no package; look at the disk');
  return best.path;
}

async function command(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
  cwd?: string,
): Promise<{ readonly stdout: string }> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  try {
    return await run(program, args, {
      signal,
      env,
      timeout: downloadTimeoutMs,
      maxBuffer: 16 * 1024 * 1024,
      ...(cwd === undefined ? {} : { cwd }),
    });
  } catch (cause) {
    signal.throwIfAborted();
    const stderr = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim().slice(-2000) : '';
    throw new Error(`"${program} ${args.join(' ')}" failed: ${stderr === '' ? String(cause) : stderr}`, { cause });
  }
}
