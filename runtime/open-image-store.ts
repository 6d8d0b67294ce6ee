/**
 * The image store of an instance beside its daemon, which may run or not: storage's own locks keep both apart. Who uses an
 * image is read from the containers' records. Effects.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { readJsonObject } from './atomic-file.ts';
import { createImageStore, imageStoragePaths } from './images/index.ts';
import type { Images } from './interface.ts';
import { parseRecord } from './record.ts';

export interface OpenImageStoreDeps {
  readonly dataDir: string;
  readonly runDir: string;
  readonly registriesConf?: string | undefined;
  readonly authFiles?: readonly string[] | undefined;
  readonly log: Logger;
  readonly metrics: Registry;
}

export async function openImageStore({
  dataDir,
  runDir,
  ...deps
}: OpenImageStoreDeps): Promise<Images & { close(): Promise<void> }> {
  const containers = join(dataDir, 'containers');
  return createImageStore({
    ...imageStoragePaths({ dataDir, runDir }),
    ...deps,
    async containersUsing(imageID) {
      const ids = await readdir(containers).catch(() => []); // none was ever made
      const records = await Promise.all(
        ids.map(async (id) => parseRecord(await readJsonObject(join(containers, id, 'record.json')))),
      );
      return records.flatMap((record) => (record?.config.imageID === imageID ? [record.config.name] : []));
    },
  });
}
