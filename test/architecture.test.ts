/** The rules of docs and style about who may import whom, held by a test: reads every import of every source file. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folders = ['crds', 'client', 'store', 'runtime', 'controller', 'docker', 'cli'] as const;
type Folder = (typeof folders)[number];

/** Which of our folders each folder may import (design, section 2). */
const allowed: Readonly<Record<Folder, readonly Folder[]>> = {
  crds: [],
  store: ['crds'],
  runtime: [],
  client: ['crds'],
  controller: ['crds', 'client', 'runtime'],
  docker: ['crds', 'client', 'runtime'],
  cli: ['crds', 'client', 'store', 'runtime', 'controller', 'docker'],
};

const sources = folders
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  );

interface Import {
  readonly from: string;
  /** Relative to the root for our own files, else the package's name. */
  readonly to: string;
  readonly isOurs: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
  const specifiers = [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
  return specifiers.map((specifier) => {
    const isOurs = specifier.startsWith('.');
    return { from: file, to: isOurs ? normalize(join(dirname(file), specifier)) : specifier, isOurs };
  });
}

const imports = sources.flatMap(importsOf);
const ours = imports.filter(({ isOurs }) => isOurs);
const folderOf = (file: string): string => file.split('/')[0] ?? '';
/** The innermost folder with a door of its own that holds a file. */
function roomOf(file: string): string {
  let dir = dirname(file);
  while (dir !== '.' && !existsSync(join(root, dir, 'index.ts'))) dir = dirname(dir);
  return dir;
}

describe('architecture', () => {
  it('finds sources and imports to judge', () => {
    assert.ok(sources.length > 30, `${sources.length} sources`);
    assert.ok(ours.length > 80, `${ours.length} imports`);
  });
  it('lets folders import only what the design allows', () => {
    const wrong = ours.filter(({ from, to }) => {
      const source = folderOf(from) as Folder;
      const target = folderOf(to);
      return source !== target && !allowed[source].some((one) => one === target);
    });
    assert.deepEqual(wrong, []);
  });
  it('lets a folder be entered by its door only', () => {
    const wrong = ours.filter(({ from, to }) => {
      const room = roomOf(to);
      const isInside = from === room || from.startsWith(`${room}/`);
      return !isInside && to !== `${room}/index.ts` && !to.endsWith('package.json');
    });
    assert.deepEqual(wrong, []);
  });
  it('has imports of files that exist', () => {
    assert.deepEqual(
      ours.filter(({ to }) => !existsSync(join(root, to))),
      [],
    );
  });
  it('has no import cycle between files', () => {
    const edges = new Map<string, string[]>();
    for (const { from, to } of ours) edges.set(from, [...(edges.get(from) ?? []), to]);
    const done = new Set<string>();
    const path: string[] = [];
    const visit = (file: string): void => {
      assert.ok(!path.includes(file), `import cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      if (done.has(file)) return;
      path.push(file);
      for (const next of edges.get(file) ?? []) visit(next);
      path.pop();
      done.add(file);
    };
    for (const file of sources) visit(file);
  });
  it('reads arguments and environment in cli/ alone', () => {
    const wrong = sources.filter(
      (file) =>
        folderOf(file) !== 'cli' &&
        file !== 'crds/generate.ts' &&
        /process\.(env|argv)\b/.test(readFileSync(join(root, file), 'utf8')),
    );
    assert.deepEqual(wrong, []);
  });
  it('keeps Kubernetes out of the runtime, and crun, conmon and CNI out of the controller', () => {
    const withoutComments = (file: string): string =>
      readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    const wrong = sources.filter(
      (file) =>
        (folderOf(file) === 'runtime' && /apiVersion|finalizer|kubectl/i.test(withoutComments(file))) ||
        (folderOf(file) === 'controller' &&
          /\bcrun\b|\bconmon\b|\bcni\b|skopeo|overlayfs/i.test(withoutComments(file))),
    );
    assert.deepEqual(wrong, []);
  });
  it('opens every file with a comment that says what it is for', () => {
    const wrong = sources.filter((file) => !readFileSync(join(root, file), 'utf8').startsWith('/**'));
    assert.deepEqual(wrong, []);
  });
  it('has a door in every folder, which says who uses it and what it may import', () => {
    const rooms = [...new Set(sources.map(roomOf))];
    assert.ok(rooms.length >= 5);
    for (const room of rooms)
      assert.match(
        readFileSync(join(root, room, 'index.ts'), 'utf8'),
        /^\/\*\*[\s\S]*Used by:[\s\S]*May import:/,
        `${relative('.', room)}/index.ts`,
      );
  });
  it('knows no module-level state: nothing outside a function is assigned twice', () => {
    const wrong = sources.filter((file) => /^(export )?(let|var) /m.test(readFileSync(join(root, file), 'utf8')));
    assert.deepEqual(wrong, []);
  });
});
