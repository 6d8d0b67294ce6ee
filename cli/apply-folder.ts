/** Applies a folder of spec documents once: at the first start of a data dir. Effects. */
import { existsSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { type ApiAccess, ApiError, callApi } from '../client/index.ts';
import { apiVersion, plural } from '../crds/index.ts';
import { ConfigError } from './config.ts';

/** A document that cannot be applied; the message names the file. */
export class DocumentError extends Error {
  override readonly name = 'DocumentError';
}

/**
 * Creates the Containers of all *.yaml files in `folder`, in the order of their names, unless `markerFile` says that it was
 * done before; objects that exist stay as they are. Returns the names of those created.
 */
export async function applyFolderOnce(
  { access, folder, markerFile }: { readonly access: ApiAccess; readonly folder: string; readonly markerFile: string },
  signal: AbortSignal,
): Promise<string[]> {
  if (existsSync(markerFile)) return [];
  const files = (await readFolder(folder)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  if (files.length === 0) throw new ConfigError(`--apply: "${folder}" holds no .yaml file`);
  const created: string[] = [];
  for (const file of files) {
    for (const document of loadAll(await readFile(join(folder, file), 'utf8'))) {
      if (document === null || document === undefined) continue;
      const { name, namespace } = identify(document, file);
      try {
        await callApi(access, {
          method: 'POST',
          path: `/apis/${apiVersion}/namespaces/${namespace}/${plural}`,
          query: { fieldValidation: 'Strict', fieldManager: 'holdfast-apply' },
          body: document,
          signal,
        });
        created.push(name);
      } catch (error) {
        if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists')
          throw new DocumentError(`${file}: ${error instanceof Error ? error.message : String(error)}`, {
            cause: error,
          });
      }
    }
  }
  writeFileSync(markerFile, `${new Date().toISOString()} applied ${folder}\n`);
  return created;
}

async function readFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    throw new ConfigError(`--apply: the folder "${folder}" cannot be read; give a folder with spec documents`, {
      cause: error,
    });
  }
}

function identify(document: unknown, file: string): { name: string; namespace: string } {
  // Each member is looked at before use; the store checks the rest.
  const {
    kind,
    apiVersion: seen,
    metadata,
  } = document as { kind?: unknown; apiVersion?: unknown; metadata?: { name?: unknown; namespace?: unknown } };
  if (kind !== 'Container' || seen !== apiVersion)
    throw new DocumentError(
      `${file}: holds a ${String(seen)} ${String(kind)}; --apply takes ${apiVersion} Container documents, apply others with kubectl`,
    );
  if (typeof metadata?.name !== 'string')
    throw new DocumentError(`${file}: metadata.name is missing; give the container a name`);
  return { name: metadata.name, namespace: typeof metadata.namespace === 'string' ? metadata.namespace : 'default' };
}
