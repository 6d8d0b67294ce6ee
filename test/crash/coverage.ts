/**
 * Which lines of the runtime change the host, and which of them no program was killed at. The lines come from the text of
 * the code, so that a new one cannot be forgotten. Effects: reads the sources.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TracedStep } from './points.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Calls that change something outside of this process, as they are written. */
const changing = new RegExp(
  [
    // Node's own; those that read are not among them.
    /(?<![.\w])(?:mkdir|mkdtemp|writeFile|appendFile|rename|rm|rmdir|unlink|symlink|link|chown|lchown|chmod|truncate|utimes|lutimes|cp|copyFile)(?:Sync)?\(/,
    /(?<![.\w])(?:createWriteStream|writeSync|spawn|spawnChild|runCommand|runSuccessfully|runTool)\(/,
    // Our own for several of them.
    /(?<![.\w])(?:replaceFile|removeTree|removeDrafts|forceDelete|releaseStart)\(/,
    /\bhandle\.(?:write|writeFile|truncate|datasync|chmod|chown)\(/,
    /\b[sS]yscalls\.(?:mount|bindBeneath|mkdirBeneath|unmount|createNetns|createNetnsOf|createUserNamespace|mountMappedOverlay|mountOutOf|mountInto|kill)\(/,
    /\bcommands\.(?:copy|copyOut|addNames|setNames|deleteImage|deleteLayer|unmount)\(/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

export interface Site {
  /** FILE:LINE. */
  readonly at: string;
  readonly text: string;
}

/** Pure. Comments, imports and definitions of functions are no calls. */
export function findSites(file: string, text: string): readonly Site[] {
  return text.split('\n').flatMap((line, index) => {
    const code = line.trim();
    const isNoCall =
      /^(?:\*|\/\*|\/\/|import |export (?:async )?function |(?:async )?function |async [a-zA-Z]+\()/.test(code);
    return !isNoCall && changing.test(code.replace(/\/\/.*$/, '')) ? [{ at: `${file}:${index + 1}`, text: code }] : [];
  });
}

/** All lines of the runtime that change the host. */
export function observeSites(): readonly Site[] {
  const files = readdirSync(join(root, 'runtime'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('simulated/'))
    .map((name) => join('runtime', name))
    .sort();
  return files.flatMap((file) => findSites(file, readFileSync(join(root, file), 'utf8')));
}

/** Pure. A call may go over several lines, of which a stack names the first or the last. */
export function findUnreached(sites: readonly Site[], steps: readonly Pick<TracedStep, 'sites'>[]): readonly Site[] {
  const reached = new Set(steps.flatMap((step) => step.sites));
  return sites.filter(({ at }) => !reached.has(at));
}
