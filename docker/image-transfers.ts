/**
 * Images on their way: pulled, pushed, saved, loaded, imported. Effects. A client that goes away ends its transfer, unless
 * another waits for the same pull.
 */
import { Readable, Writable } from 'node:stream';
import type { ImageInfo, LayerProgress, RegistryReference } from '../runtime/index.ts';
import { badParameter, DockerError, notFound } from './docker-error.ts';
import { applyChanges } from './image-changes.ts';
import { imageErrorOf, pullErrorOf, registryErrorOf } from './image-errors.ts';
import { findAmong } from './image-find.ts';
import {
  familiarRepository,
  formatFamiliar,
  isNameOnly,
  joinImageName,
  parseImageName,
  registryNames,
  tagOf,
} from './image-reference.ts';
import { type ImageDeps, tellOfImage } from './images.ts';
import { answerInStream, type JsonStream } from './json-stream.ts';
import { pullMessages } from './pull-messages.ts';
import { parseRegistryAuth } from './registry-auth.ts';
import type { Call, Route } from './route.ts';

export interface TransferDeps extends ImageDeps {
  /** For `docker import URL`. */
  readonly fetch: typeof fetch;
}

export function imageTransferRoutes(deps: TransferDeps): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/images/create',
      handle: (call) => ((call.query.get('fromSrc') ?? '') === '' ? pull(deps, call) : importRootFs(deps, call)),
    },
    { method: 'POST', path: '/images/{name...}/push', handle: (call) => push(deps, call) },
    { method: 'GET', path: '/images/get', handle: (call) => save(deps, call, call.query.getAll('names')) },
    { method: 'GET', path: '/images/{name...}/get', handle: (call) => save(deps, call, [call.params.name ?? '']) },
    { method: 'POST', path: '/images/load', handle: (call) => load(deps, call) },
  ];
}

async function pull(deps: TransferDeps, call: Call): Promise<void> {
  const { images } = deps;
  const { query } = call;
  const from = query.get('fromImage') ?? '';
  if (from === '') throw badParameter('give an image to pull (fromImage) or an archive to import (fromSrc)');
  const reference = joinImageName(from, query.get('tag') ?? '');
  const platform = query.get('platform') === '' ? undefined : (query.get('platform') ?? undefined);
  const credentials = parseRegistryAuth(call.headers['x-registry-auth'], reference.registry);
  const { canonical, repository } = reference;
  const before = findAmong(await images.list(), canonical)?.info.id;
  await answerInStream(
    call,
    (error) => pullErrorOf(error, { reference, platform }),
    async (stream) => {
      let told: readonly LayerProgress[] | undefined;
      const tell = (layers: readonly LayerProgress[]): void => {
        if (told === undefined) {
          const isDefault = tagOf(reference) === 'latest' && (query.get('tag') ?? '') === '' && isNameOnly(from);
          // All tags of a repository are what nobody means who leaves the tag out.
          if (isDefault) stream.write({ status: 'Using default tag: latest' });
          stream.write({ status: `Pulling from ${repository}`, id: tagOf(reference) ?? reference.digest });
        }
        for (const message of pullMessages(told ?? [], layers)) stream.write(message);
        told = layers;
      };
      const onProgress = ({ layers }: { layers?: readonly LayerProgress[] | undefined }): void => {
        if (layers !== undefined) tell(layers);
      };
      const options = { credentials, platform, onProgress, reportsLayers: true };
      const info = await images.ensure(canonical, 'always', call.signal, options);
      // One for another platform is not what the runtime takes for a name; who asked for it knows it by the name.
      const hasName = info.names.includes(canonical);
      if (!hasName && reference.digest === undefined) await images.tag(info.id, canonical);
      tell(told ?? []);
      const digest = reference.digest ?? (await images.describe(info.id))?.manifestDigests.at(-1);
      if (digest !== undefined) stream.write({ status: `Digest: ${digest}` });
      const shown = formatFamiliar(canonical);
      const what = before === info.id ? 'Image is up to date' : 'Downloaded newer image';
      stream.write({ status: `Status: ${what} for ${shown}` });
      tellOfImage(deps, 'pull', shown, familiarRepository(reference));
    },
  );
}

async function importRootFs(deps: TransferDeps, call: Call): Promise<void> {
  const { images } = deps;
  const { query } = call;
  const from = query.get('fromSrc') ?? '-';
  const repo = query.get('repo') ?? '';
  const name = repo === '' ? undefined : joinImageName(repo, query.get('tag') ?? '');
  if (name?.digest !== undefined) throw badParameter('cannot import digest reference');
  const platform = query.get('platform') === '' ? undefined : (query.get('platform') ?? undefined);
  const request = {
    name: name?.canonical,
    platform,
    config: applyChanges(query.getAll('changes')),
    comment: query.get('message') || `Imported from ${from}`,
  };
  await answerInStream(call, imageErrorOf, async (stream) => {
    const source = from === '-' ? call.input : await download(deps, from, stream, call.signal);
    const { id } = await images.importRootFs(source, request, call.signal);
    stream.write({ status: id });
    tellOfImage(deps, 'import', id, id);
  });
}

/** Of the network of this host, as Docker's daemon fetches it. Throws DockerError. */
async function download(deps: TransferDeps, from: string, stream: JsonStream, signal: AbortSignal): Promise<Readable> {
  const url = URL.parse(/^\w+:\/\//.test(from) ? from : `http://${from}`);
  if (url === null || !/^https?:$/.test(url.protocol)) throw badParameter(`"${from.slice(0, 200)}" is not a URL`);
  stream.write({ status: `Downloading from ${url}` });
  try {
    const response = await deps.fetch(url, { signal });
    if (!response.ok || response.body === null) throw new Error(`got HTTP status ${response.status}`);
    return Readable.fromWeb(response.body);
  } catch (error) {
    signal.throwIfAborted();
    const what = error instanceof Error ? String(error.cause ?? error.message) : String(error);
    throw new DockerError(500, `failed to get ${url}: ${what}`, { cause: error });
  }
}

async function push(deps: TransferDeps, call: Call): Promise<void> {
  const { images } = deps;
  const asked = parseImageName(call.params.name ?? '');
  if (asked.digest !== undefined) throw badParameter('cannot push a digest reference');
  const tag = call.query.get('tag') ?? '';
  const credentials = parseRegistryAuth(call.headers['x-registry-auth'], asked.registry);
  const repository = `${asked.registry}/${asked.repository}`;
  const isOne = tag !== '' || !isNameOnly(call.params.name ?? '');
  const wanted = tag === '' ? asked : joinImageName(repository, tag);
  await answerInStream(call, registryErrorOf, async (stream) => {
    stream.write({ status: `The push refers to repository [${repository}]` });
    const ofRepository = (await images.list())
      .flatMap(registryNames)
      .filter((one) => `${one.registry}/${one.repository}` === repository && one.digest === undefined);
    if (ofRepository.length === 0)
      throw new DockerError(404, `An image does not exist locally with the tag: ${familiarRepository(asked)}`);
    const chosen = isOne ? ofRepository.filter(({ canonical }) => canonical === wanted.canonical) : ofRepository;
    if (chosen.length === 0) throw new DockerError(404, `tag does not exist: ${formatFamiliar(wanted.canonical)}`);
    for (const reference of chosen) await pushOne(deps, { reference, credentials, stream, signal: call.signal });
  });
}

async function pushOne(
  deps: TransferDeps,
  {
    reference,
    credentials,
    stream,
    signal,
  }: {
    readonly reference: RegistryReference;
    readonly credentials: ReturnType<typeof parseRegistryAuth>;
    readonly stream: JsonStream;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { images } = deps;
  const { canonical } = reference;
  const { layers = [] } = (await images.describe(canonical)) ?? {};
  const say = (status: string, diffID: string): void =>
    stream.write({ status, progressDetail: {}, id: diffID.replace('sha256:', '').slice(0, 12) });
  const ids = [...new Set(layers.map(({ diffID }) => diffID))].toReversed();
  for (const diffID of ids) say('Preparing', diffID);
  const onLayer = (diffID: string): void => {
    if (ids.includes(diffID)) say('Pushing', diffID);
  };
  const { digest, sizeBytes = 0 } = await images.push(canonical, { credentials, onLayer }, signal);
  for (const diffID of ids) say('Pushed', diffID);
  const Tag = tagOf(reference) ?? '';
  stream.write({ status: `${Tag}: digest: ${digest} size: ${sizeBytes}` });
  stream.write({ progressDetail: {}, aux: { Tag, Digest: digest, Size: sizeBytes } });
  tellOfImage(deps, 'push', formatFamiliar(canonical), familiarRepository(reference));
}

async function save(deps: TransferDeps, call: Call, names: readonly string[]): Promise<void> {
  const { images } = deps;
  const all = await images.list();
  const references = names.flatMap((list) => list.split(',')).flatMap((name) => savedNames(all, name));
  if (references.length === 0) throw badParameter('give the names of the images to save');
  let out: Writable | undefined;
  const open = (): Writable => {
    out ??= call.stream(200, { 'Content-Type': 'application/x-tar' });
    return out;
  };
  // Opened with its first bytes: what fails before is an answer that can be read.
  const target = new Writable({
    write: (chunk: Buffer, _encoding, done) => void open().write(chunk, done),
    final: (done) => void open().end(done),
    destroy: (error, done) => {
      if (error !== null) out?.destroy();
      done(error);
    },
  });
  await images.exportArchive(references, { format: 'docker-archive', target }, call.signal).catch((error: unknown) => {
    throw imageErrorOf(error);
  });
  for (const reference of new Set(references)) {
    const id = findAmong(all, reference)?.info.id ?? reference;
    tellOfImage(deps, 'save', id, id);
  }
}

/** What is meant by a name to save: a repository alone stands for all its tags. Throws DockerError. */
function savedNames(all: readonly ImageInfo[], name: string): readonly string[] {
  if (!/^sha256:/.test(name) && isNameOnly(name) && !/^[0-9a-f]{64}$/.test(name)) {
    const { registry, repository } = parseImageName(name);
    const ofRepository = all
      .flatMap(registryNames)
      .filter((one) => one.registry === registry && one.repository === repository && one.digest === undefined);
    if (ofRepository.length > 0) return ofRepository.map(({ canonical }) => canonical);
  }
  const found = findAmong(all, name);
  if (found === undefined) throw notFound(`No such image: ${name}`);
  return [found.name ?? found.info.id];
}

async function load(deps: TransferDeps, call: Call): Promise<void> {
  const { images } = deps;
  const before = await images.list();
  await answerInStream(call, imageErrorOf, async (stream) => {
    for (const { id, importedNames } of await images.importArchive(call.input, {}, call.signal)) {
      for (const name of importedNames) {
        const shown = formatFamiliar(name);
        const old = before.find((one) => one.id !== id && one.names.includes(name));
        if (old !== undefined)
          stream.write({
            stream: `The image ${shown} already exists, renaming the old one with ID ${old.id} to empty string\n`,
          });
        stream.write({ stream: `Loaded image: ${shown}\n` });
      }
      if (importedNames.length === 0) stream.write({ stream: `Loaded image ID: ${id}\n` });
      tellOfImage(deps, 'load', id, id);
    }
  });
}
