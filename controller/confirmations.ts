/**
 * The deletions that somebody confirmed on this host (`holdfast held confirm`), though the store never told of them: a file
 * beside the checkpoint that names the objects, so that an old consent cannot count for a later loss. Effects.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseContainer } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import { checkpointFile, type Held, parseHeld } from './checkpoint.ts';
import { readJournal } from './checkpoint-journal.ts';

const fileName = 'confirmed-deletions';

/** Uids; an empty list when nothing was confirmed, or when the file cannot be made sense of. */
export async function takeConfirmations(dir: string): Promise<readonly string[]> {
  const path = join(dir, fileName);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // readFile throws nothing but these.
    throw error;
  }
  return text.split('\n').filter((line) => /^[-\w]{1,64}$/.test(line));
}

/** To be called when what was confirmed has been taken note of. */
export async function settleConfirmations(dir: string): Promise<void> {
  await rm(join(dir, fileName), { force: true });
}

export async function writeConfirmations(dir: string, uids: readonly string[]): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, fileName);
  const beside = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(beside, `${uids.join('\n')}\n`, { mode: 0o600 });
  await rename(beside, path);
}

export interface HeldObject {
  readonly held: Held;
  /** As it was last seen; undefined: only its container is known. */
  readonly object: Container | undefined;
}

/** What a controller's checkpoint says is held; for those who ask from outside. */
export async function readHeld(dir: string): Promise<readonly HeldObject[]> {
  const records = await readJournal(dir, checkpointFile);
  return [...records].flatMap(([name, value]) => {
    const held = name.startsWith('held ') ? parseHeld(value) : undefined;
    return held === undefined ? [] : [{ held, object: parseContainer(records.get(`object ${held.uid}`)) }];
  });
}

/** Whether there is anything that containers could be kept by. */
export async function hasCheckpoint(dir: string): Promise<boolean> {
  return [...(await readJournal(dir, checkpointFile)).keys()].some((name) => name.startsWith('object '));
}
