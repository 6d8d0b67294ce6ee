/** The store's archives: which images go into one, and which come out of one under which names. Effects. */
import { randomUUID } from 'node:crypto';
import { type ImageInfo, ImageNotPresentError, type Images, type ImportedImage } from '../interface.ts';
import { openArchive, writeArchive } from './archives.ts';
import type { Fetcher } from './fetcher.ts';
import { parsePushed } from './image-names.ts';
import { type Platform, parsePlatform } from './platform.ts';
import { parseImageID, parseReference } from './reference.ts';
import { writeRootFsLayout } from './root-fs-import.ts';
import type { StorageCommands } from './storage-commands.ts';
import type { ImageRecord, StorageFiles } from './storage-files.ts';
import type { UsageRecords } from './usage-records.ts';
import { isOwn, ownName, parseWanted, wantImport } from './wanted.ts';

export interface StoreArchivesDeps {
  readonly files: Pick<StorageFiles, 'records'>;
  readonly commands: StorageCommands;
  readonly fetcher: Pick<Fetcher, 'fetch'>;
  readonly usage: UsageRecords;
  readonly host: Platform;
  readonly nowMs: () => number;
  lookUp(referenceOrID: string): Promise<ImageRecord | undefined>;
  infoOf(record: ImageRecord): Promise<ImageInfo>;
  assertOpen(): void;
}

export function createStoreArchives(
  deps: StoreArchivesDeps,
): Pick<Images, 'importArchive' | 'importRootFs' | 'exportArchive'> {
  const { files, commands, fetcher, usage, host, nowMs, lookUp, infoOf, assertOpen } = deps;
  return {
    importArchive: (source, options, signal) =>
      commands.withScratch(async (scratch) => {
        assertOpen();
        const infos: ImportedImage[] = [];
        for (const { source: from, names } of await openArchive(source, { scratch, name: options.name }, signal)) {
          const [first, ...more] = names;
          const title = first ?? (typeof source === 'string' ? source : 'the archive');
          const wanted = wantImport(parseReference(from), first ?? ownName(randomUUID()), title);
          const { id } = await fetcher.fetch(wanted, { onProgress: options.onProgress }, signal);
          const bare = id.slice('sha256:'.length);
          if (more.length > 0) await commands.addNames(bare, more);
          const record = (await files.records()).byID.get(bare);
          if (record !== undefined) infos.push({ ...(await infoOf(record)), importedNames: names });
        }
        return infos;
      }),
    importRootFs: (source, { name, platform, ...image }, signal) =>
      commands.withScratch(async (scratch) => {
        assertOpen();
        const to = name === undefined ? ownName(randomUUID()) : parsePushed(name).canonical;
        const from = await writeRootFsLayout(
          source,
          {
            ...{ scratch, image, nowMs: nowMs() },
            platform: platform === undefined ? host : parsePlatform(name ?? 'the archive', platform),
          },
          signal,
        );
        return fetcher.fetch(wantImport(parseReference(from), to, name ?? 'the archive'), {}, signal);
      }),
    async exportArchive(references, request, signal) {
      assertOpen();
      const chosen = new Map<string, { id: string; names: string[] }>();
      for (const reference of references) {
        const record = await lookUp(reference);
        if (record === undefined)
          throw new ImageNotPresentError(
            `the image "${reference}" is not on this host, so it cannot be exported; pull it first`,
          );
        usage.used(record.id, nowMs());
        const { name } =
          parseImageID(reference) === undefined ? parseWanted(reference, undefined, host) : { name: undefined };
        const names = [...(chosen.get(record.id)?.names ?? []), ...(name === undefined || isOwn(name) ? [] : [name])];
        chosen.set(record.id, { id: record.id, names: [...new Set(names)] });
      }
      await commands.withScratch((scratch) =>
        writeArchive(commands, { images: [...chosen.values()], scratch, ...request }, signal),
      );
    },
  };
}
