/**
 * The base of the small images: a root folder with Debian's static busybox and a link for each of its commands.
 * Effects only.
 */
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, open, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const places = [
  join(import.meta.dirname, '..', '.tools', 'busybox-static', 'bin', 'busybox'),
  join(import.meta.dirname, '..', '.tools', 'busybox-static', 'usr', 'bin', 'busybox'),
  '/bin/busybox',
  '/usr/bin/busybox',
];

/** Makes bin, etc, tmp, var, root and dev below rootDir, which must exist. Users: root, www-data (33), nobody (65534). */
export async function writeBusyboxRoot(rootDir: string): Promise<void> {
  const bin = join(rootDir, 'bin');
  for (const dir of ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'var/www']) {
    await mkdir(join(rootDir, dir), { recursive: true });
  }
  await chmod(join(rootDir, 'tmp'), 0o1777);
  await chmod(join(rootDir, 'root'), 0o700);
  const busybox = await findStaticBusybox();
  await copyFile(busybox, join(bin, 'busybox'));
  await chmod(join(bin, 'busybox'), 0o755);
  const { stdout } = await run(busybox, ['--list'], { timeout: 10_000 });
  const commands = stdout.split('\n').filter((command) => command !== '' && command !== 'busybox');
  await Promise.all(commands.map((command) => symlink('busybox', join(bin, command))));
  await writeFile(
    join(rootDir, 'etc', 'passwd'),
    users.map(([n, id, home]) => `${n}:x:${id}:${id}::${home}:/bin/sh\n`),
  );
  await writeFile(
    join(rootDir, 'etc', 'group'),
    users.map(([name, id]) => `${name === 'nobody' ? 'nogroup' : name}:x:${id}:\n`),
  );
}

const users: readonly (readonly [string, number, string])[] = [
  ['root', 0, '/root'],
  ['www-data', 33, '/var/www'],
  ['nobody', 65_534, '/tmp'],
];

/** Path of a busybox without shared libraries. Throws an Error that says how to get it. */
async function findStaticBusybox(): Promise<string> {
  for (const path of places) if (await isStatic(path)) return path;
  throw new Error(
    `no statically linked busybox at ${places.join(', ')}; run "make setup", which fetches busybox-static`,
  );
}

/** A program that names an interpreter in its first page needs shared libraries. */
async function isStatic(path: string): Promise<boolean> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    return bytesRead > 0 && !buffer.includes('/ld-');
  } catch {
    return false; // not there or not readable: the next place may do
  }
}
