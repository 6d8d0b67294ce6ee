/**
 * Copy-up: an empty volume gets what the image has at the place where it is mounted, as Docker does. The copy is made
 * beside the volume's data and moved in when it is whole; a kill at any moment leaves something that the next call
 * finishes or throws away. Effects only.
 */
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { runSuccessfully } from '../command.ts';

const copyDeadlineMs = 600_000;

export async function fillVolume(input: {
  /** Holds data/. */
  readonly volume: string;
  /** A folder of the root file system, links followed. */
  readonly from: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { volume, from, signal } = input;
  const data = join(volume, 'data');
  const whole = join(volume, 'copied');
  if (!existsSync(whole)) {
    if ((await readdir(data)).length > 0) return;
    const half = join(volume, 'copying');
    await rm(half, { recursive: true, force: true });
    await mkdir(half, { mode: 0o700 });
    // Owners, modes, times, links, extended attributes; special files are made, not read.
    await runSuccessfully('copy-up', ['cp', '-a', '--', `${from}/.`, half], { deadlineMs: copyDeadlineMs, signal });
    await rename(half, whole);
  }
  const { mode, uid, gid } = await stat(whole);
  await chown(data, uid, gid);
  await chmod(data, mode & 0o7777);
  const present = new Set(await readdir(data));
  for (const name of await readdir(whole)) {
    // A container that has the volume already may have written meanwhile: what it wrote stays.
    if (!present.has(name)) await rename(join(whole, name), join(data, name));
  }
  await rm(whole, { recursive: true, force: true });
}
