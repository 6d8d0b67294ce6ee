/**
 * The Secrets, ConfigMaps and Networks that containers of this host refer to, as last known, on the host's disk: without the API server
 * a container could not be made again from them. Only what is referred to; mode 0600; written anew as a whole, so that a
 * value that was replaced or is not referred to any more does not stay behind. Effects.
 */
import type { Logger } from 'pino';
import { apiVersion } from '../crds/index.ts';
import { type Journal, type JournalRecord, openJournal, readJournal } from './checkpoint-journal.ts';
import { isInternalNetwork, type Source, sourceKinds, sourcePath } from './sources.ts';

export interface SourceMemory {
  /** `name`: KIND namespace/name. */
  recall(name: string): Source | undefined;
  /** What there is to be kept has changed. */
  changed(): void;
  close(): Promise<void>;
}

export interface SourceMemoryDeps {
  /** undefined: nothing is kept over a restart. */
  readonly dir: string | undefined;
  /** What is to be kept now, by name. */
  readonly present: () => Iterable<readonly [name: string, source: Source]>;
  readonly onWritten: (result: 'success' | 'error') => void;
  readonly log: Logger;
  readonly delayMs?: number | undefined;
}

const fileName = 'secrets';
const delayMs = 500;
const retryMs = 5_000;

/** Never rejects. */
export async function openSourceMemory(deps: SourceMemoryDeps): Promise<SourceMemory> {
  const { dir, log } = deps;
  if (dir === undefined) return { recall: () => undefined, changed: () => {}, close: async () => {} };
  try {
    const { journal, records } = await openJournal(dir, fileName);
    const known = new Map([...records].flatMap(([name, value]) => parseEntry(name, value)));
    return startMemory(deps, journal, known);
  } catch (error) {
    deps.onWritten('error');
    log.error({ err: error, dir }, 'the last known Secrets and ConfigMaps can neither be read nor be written');
    return { recall: () => undefined, changed: () => {}, close: async () => {} };
  }
}

/** As the API takes them; for those who put them back into a store that lost them. */
export async function readRememberedSources(dir: string): Promise<
  readonly {
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
    /** Where such objects are made. */
    readonly path: string;
    readonly body: object;
  }[]
> {
  const known = [...(await readJournal(dir, fileName))].flatMap(([name, value]) => parseEntry(name, value));
  return known.flatMap(([id, { type, data, binaryKeys }]) => {
    const [, kindName = '', namespace = '', name = ''] = /^(\w+) ([^/]+)\/(.+)$/.exec(id) ?? [];
    const kind = sourceKinds.find((one) => one === kindName);
    if (kind === undefined) return [];
    const encode = (keys: readonly string[], encoding: 'base64' | 'utf8'): Record<string, string> =>
      Object.fromEntries(keys.map((key) => [key, data.get(key)?.toString(encoding) ?? '']));
    const texts = [...data.keys()].filter((key) => !binaryKeys.has(key));
    const body =
      kind === 'Secret'
        ? { type, data: encode([...data.keys()], 'base64') }
        : kind === 'Network'
          ? { spec: { internal: isInternalNetwork({ data }) } }
          : { data: encode(texts, 'utf8'), binaryData: encode([...binaryKeys], 'base64') };
    const version = kind === 'Network' ? apiVersion : 'v1';
    const object = { apiVersion: version, kind, metadata: { name, namespace }, ...body };
    return [{ kind, namespace, name, path: sourcePath(kind, namespace), body: object }];
  });
}

function startMemory(deps: SourceMemoryDeps, journal: Journal, known: ReadonlyMap<string, Source>): SourceMemory {
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let isClosed = false;
  let isFailing = false;
  const write = async (): Promise<void> => {
    try {
      await journal.replace(recordsOf(deps.present()));
      isFailing = false;
      deps.onWritten('success');
    } catch (error) {
      deps.onWritten('error');
      if (!isFailing)
        deps.log.error({ err: error }, 'the last known Secrets and ConfigMaps cannot be written; it is tried again');
      isFailing = true;
      changed();
    }
  };
  const changed = (): void => {
    if (isClosed || timer !== undefined) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        writing = writing.then(write);
      },
      isFailing ? retryMs : (deps.delayMs ?? delayMs),
    );
  };
  return {
    recall: (name) => known.get(name),
    changed,
    close: async () => {
      isClosed = true;
      if (timer !== undefined) writing = writing.then(write);
      clearTimeout(timer);
      await writing;
      await journal.close();
    },
  };
}

function* recordsOf(sources: Iterable<readonly [string, Source]>): Iterable<JournalRecord> {
  for (const [name, { type, data, binaryKeys }] of sources)
    yield {
      name,
      value: { type, data: [...data].map(([key, bytes]) => [key, bytes.toString('base64'), binaryKeys.has(key)]) },
    };
}

function parseEntry(name: string, value: unknown): [string, Source][] {
  if (typeof value !== 'object' || value === null || !('data' in value) || !Array.isArray(value.data)) return [];
  const entries = value.data.flatMap((entry: unknown): [string, Buffer, boolean][] =>
    Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'string'
      ? [[entry[0], Buffer.from(entry[1], 'base64'), entry[2] === true]]
      : [],
  );
  const type = 'type' in value && typeof value.type === 'string' ? value.type : undefined;
  const source = {
    type,
    data: new Map(entries.map(([key, bytes]) => [key, bytes])),
    binaryKeys: new Set(entries.filter(([, , isBinary]) => isBinary).map(([key]) => key)),
  };
  return [[name, source]];
}
