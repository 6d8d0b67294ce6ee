/**
 * Says whether node_modules holds what package-lock.json names: prints what does not fit and exits 1.
 *   node modules-current.ts PROJECT
 * npm's own answer to this takes half a second and more; this takes a tenth.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

type Packages = ReadonlyMap<string, { readonly version: string; readonly optional: boolean }>;

/** Pure. Paths of packages of `wanted` that `present` lacks or has in another version. */
export function differingPackages(wanted: Packages, present: Packages): readonly string[] {
  return [...wanted]
    .filter(([path, { version, optional }]) => {
      const found = present.get(path);
      return found === undefined ? !optional : found.version !== version;
    })
    .map(([path]) => path);
}

/** Pure. Accepts package-lock.json and node_modules/.package-lock.json. */
export function parseLock(text: string): Packages {
  const lock: unknown = JSON.parse(text);
  const packages = typeof lock === 'object' && lock !== null && 'packages' in lock ? lock.packages : undefined;
  if (typeof packages !== 'object' || packages === null) throw new TypeError('it has no "packages"');
  const entries = Object.entries(packages).flatMap(([path, entry]: [string, unknown]) => {
    if (path === '' || typeof entry !== 'object' || entry === null || !('version' in entry)) return [];
    const optional = ('optional' in entry && entry.optional === true) || ('peer' in entry && entry.peer === true);
    return [[path, { version: String(entry.version), optional }] as const];
  });
  return new Map(entries);
}

if (import.meta.main) {
  const project = process.argv[2] ?? '.';
  const [wanted, present] = await Promise.all(
    ['package-lock.json', 'node_modules/.package-lock.json'].map(async (name) =>
      parseLock(await readFile(join(project, name), 'utf8')),
    ),
  );
  const differing = wanted === undefined || present === undefined ? [] : differingPackages(wanted, present);
  for (const path of differing) console.log(path);
  if (differing.length > 0) process.exitCode = 1;
}
