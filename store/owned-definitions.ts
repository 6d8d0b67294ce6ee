/**
 * The CustomResourceDefinitions that the server brings along as files: they are put into the store at every start, so
 * that clients find them as they find all others.
 */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { withDefaults } from './crd-kind.ts';
import { parseCustomResourceDefinition } from './crd-parse.ts';
import { getString, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import type { CustomKinds, Kinds } from './kinds.ts';
import type { Operations } from './operations.ts';
import { parseYaml } from './request-body.ts';
import type { ResourceKind } from './resources.ts';
import { StatusError } from './status-error.ts';
import type { Writer } from './writer.ts';

export interface OwnedDefinition {
  readonly file: string;
  readonly name: string;
  /** As the file has it. */
  readonly definition: JsonObject;
  readonly spec: Json;
  readonly custom: CustomKinds;
}

/** Throws TypeError for a file that is not a definition that can be served. */
export async function readOwnedDefinitions(files: readonly string[]): Promise<readonly OwnedDefinition[]> {
  return Promise.all(
    files.map(async (file) => {
      try {
        const definition = parseYaml(await readFile(file, 'utf8')).value;
        const custom = parseCustomResourceDefinition(definition);
        if (!isJsonObject(definition)) throw new TypeError('it is not an object');
        const name = getString(definition, 'metadata', 'name') ?? '';
        return { file, name, definition, custom, spec: withDefaults(definition.spec) };
      } catch (error) {
        throw cannotServe(file, error);
      }
    }),
  );
}

function cannotServe(file: string, error: unknown): TypeError {
  const what = error instanceof Error ? error.message : String(error);
  return new TypeError(`cannot serve the kind in ${file}: ${what}`, { cause: error });
}

export interface OwnedDeps {
  readonly operations: Operations;
  readonly writer: Writer;
  readonly kinds: Kinds;
  /** The kind CustomResourceDefinition. */
  readonly definitions: ResourceKind;
  readonly log: Logger;
}

/** Puts them into the store, where they are not there or are those of another version. Throws TypeError. */
export async function storeOwnedDefinitions(
  owned: readonly OwnedDefinition[],
  { operations, writer, kinds, definitions, log }: OwnedDeps,
): Promise<void> {
  const mode = { isDryRun: false, checkUnknown: () => {} };
  for (const { file, name, definition, spec, custom } of owned) {
    const current = writer.collection(definitions).get(`/${name}`)?.object;
    try {
      if (current === undefined) await operations.create(definitions, undefined, definition, mode);
      else if (!jsonEqual(current.spec, spec)) {
        const place = { kind: definitions, namespace: undefined, name };
        await operations.replace(place, undefined, { ...current, spec }, mode);
      }
    } catch (error) {
      if (error instanceof StatusError && error.code < 500) throw cannotServe(file, error);
      log.error(
        { err: error, definition: name },
        'a definition of this server could not be stored; it is served all the same',
      );
    }
    if (kinds.custom(name) === undefined) kinds.setCustom(name, custom);
  }
}
