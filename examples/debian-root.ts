/**
 * The base of the larger images: a root folder with programs of Debian's packages and their libraries, and busybox for
 * all the small commands. The packages' own scripts are not run: an image writes its configuration itself. Effects.
 */
import { appendFile, copyFile, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeBusyboxRoot } from './busybox-root.ts';
import { unpackPackages } from './debian-packages.ts';
import type { RecipeContext } from './image-recipe.ts';

export interface DebianRoot {
  readonly packages: readonly string[];
  /** Which of their dependencies to take along: packages that merely set a machine up are of no use without an init. */
  readonly wanted: RegExp;
  /** Further users, with groups of the same number: name, number, home. */
  readonly users?: readonly (readonly [name: string, id: number, home: string])[];
  /** Our own files, by their path in the image. */
  readonly files?: Readonly<Record<string, string>>;
  /** Folders that are to be there. */
  readonly dirs?: readonly string[];
}

/** Fills an empty root folder. */
export async function fillDebianRoot(rootDir: string, root: DebianRoot, context: RecipeContext): Promise<void> {
  // Packages of Debian 13 expect these links, those of Debian 12 do not mind.
  for (const dir of ['bin', 'sbin', 'lib', 'lib64']) {
    await mkdir(join(rootDir, 'usr', dir), { recursive: true });
    await symlink(`usr/${dir}`, join(rootDir, dir));
  }
  await unpackPackages({ packages: root.packages, wanted: root.wanted, rootDir, ...context });
  for (const dir of ['doc', 'man', 'locale', 'lintian', 'bug', 'apport', 'vim', 'i18n', 'gcc', 'gdb', 'info']) {
    await rm(join(rootDir, 'usr', 'share', dir), { recursive: true, force: true });
  }
  for (const dir of ['etc/init.d', 'etc/ufw', 'etc/logrotate.d', 'etc/cron.d', 'usr/lib/systemd', 'lib/systemd']) {
    await rm(join(rootDir, dir), { recursive: true, force: true });
  }
  await writeBusyboxRoot(rootDir);
  for (const [name, id, home] of root.users ?? []) {
    await appendFile(join(rootDir, 'etc', 'passwd'), `${name}:x:${id}:${id}::${home}:/bin/false\n`);
    await appendFile(join(rootDir, 'etc', 'group'), `${name}:x:${id}:\n`);
  }
  await writeFile(join(rootDir, 'etc', 'nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
  for (const dir of root.dirs ?? []) await mkdir(join(rootDir, dir), { recursive: true });
  for (const [path, source] of Object.entries(root.files ?? {})) {
    await mkdir(dirname(join(rootDir, path)), { recursive: true });
    await copyFile(source, join(rootDir, path)); // with its mode
  }
}

/** A link of a fixed name to Apache's PHP module, whose own name holds the version. Throws if there is none. */
export async function linkPhpModule(rootDir: string): Promise<void> {
  const modules = join(rootDir, 'usr', 'lib', 'apache2', 'modules');
  const module = (await readdir(modules)).find((name) => /^libphp\d.*\.so$/.test(name));
  if (module === undefined) throw new Error(`no libphp*.so among Apache's modules in ${modules}`);
  await symlink(module, join(modules, 'libphp.so'));
}
