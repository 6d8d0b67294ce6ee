/** Names of images: given, taken away, and the image that goes with its last one. Effects. */
import type { Logger } from 'pino';
import { ImageInUseError, ImageNotPresentError, ImagePullError, type Images } from '../interface.ts';
import { KeyedLock } from '../keyed-lock.ts';
import type { ArchiveRecords } from './archive-records.ts';
import type { Platform } from './platform.ts';
import { parseImageID, parseReference, type RegistryReference } from './reference.ts';
import type { StorageCommands } from './storage-commands.ts';
import type { ImageRecord, StorageFiles } from './storage-files.ts';
import { parseWanted, type Wanted } from './wanted.ts';

export interface ImageNamesDeps {
  readonly files: Pick<StorageFiles, 'records'>;
  readonly commands: Pick<StorageCommands, 'addNames' | 'setNames' | 'deleteImage'>;
  readonly archives: ArchiveRecords;
  readonly host: Platform;
  lookUp(referenceOrID: string): Promise<ImageRecord | undefined>;
  containersUsing(imageID: string): Promise<readonly string[]>;
  assertOpen(): void;
  readonly log: Logger;
}

/** A name that a registry can take: with a tag and without a digest. Throws ImagePullError of kind 'invalid-name'. */
export function parsePushed(name: string): RegistryReference {
  const reference = parseReference(name);
  if (reference.kind === 'registry' && reference.digest === undefined) return reference;
  const what =
    reference.kind === 'archive' ? 'it is an archive' : 'a digest is given by a registry and cannot be chosen';
  throw new ImagePullError(name, { kind: 'invalid-name', what, fix: 'write it like localhost/web:1' });
}

export function createImageNames(deps: ImageNamesDeps): Pick<Images, 'tag' | 'untag' | 'remove'> {
  const { files, commands, archives, log } = deps;
  // Storage's program knows no way to take one name: it is given those that stay, and none must be added meanwhile.
  const lock = new KeyedLock();

  /** Nothing to do for an image that has not this name. */
  async function takeName(id: string, { name, reference, title }: Wanted): Promise<void> {
    const record = (await files.records()).byID.get(id);
    if (record?.names.includes(name) !== true) return;
    await commands.setNames(
      id,
      record.names.filter((other) => other !== name),
    );
    if (reference.kind === 'archive') await archives.forgetReference(title);
  }

  return {
    tag: (referenceOrID, name) =>
      lock.run('names', async () => {
        deps.assertOpen();
        const { canonical } = parsePushed(name);
        const record = await deps.lookUp(referenceOrID);
        if (record === undefined)
          throw new ImageNotPresentError(`the image "${referenceOrID}" is not on this host; pull it first`);
        await commands.addNames(record.id, [canonical]);
      }),
    untag: (text) =>
      lock.run('names', async () => {
        deps.assertOpen();
        const wanted = parseWanted(text, undefined, deps.host);
        const record = (await files.records()).byName.get(wanted.name);
        if (record !== undefined) await takeName(record.id, wanted);
      }),
    remove: (referenceOrID) =>
      lock.run('names', async () => {
        deps.assertOpen();
        const record = await deps.lookUp(referenceOrID).catch(ignoreInvalidName);
        if (record === undefined) return;
        const wanted =
          parseImageID(referenceOrID) === undefined ? parseWanted(referenceOrID, undefined, deps.host) : undefined;
        const hasOthers = record.names.some((other) => other !== wanted?.name);
        if (wanted !== undefined && hasOthers && record.names.includes(wanted.name)) return takeName(record.id, wanted);
        const users = await deps.containersUsing(`sha256:${record.id}`);
        if (users.length > 0) {
          throw new ImageInUseError(
            `the image "${referenceOrID}" is used by ${users.join(', ')}; remove the container${users.length > 1 ? 's' : ''} first`,
          );
        }
        await commands.deleteImage(record.id);
        await archives.forget(record.id);
        log.info({ image: referenceOrID, imageID: `sha256:${record.id}` }, 'image removed');
      }),
  };
}

/** What cannot be named is not there. */
export function ignoreInvalidName(error: unknown): undefined {
  if (!isInvalidName(error)) throw error;
}

export function isInvalidName(error: unknown): boolean {
  return error instanceof ImagePullError && error.kind === 'invalid-name';
}
