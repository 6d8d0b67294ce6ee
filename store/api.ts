/**
 * The resource paths over HTTP: reads a request, has it carried out, and writes the answer in the form asked for.
 * Effects; the rules are in object-rules.ts and the files it names.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import { type AnswerForm, checkCount, negotiateAnswer } from './accept.ts';
import { type Access, type Caller, serviceAccountKind } from './access/index.ts';
import { encodeAnswer } from './answer-encoding.ts';
import { type AnswerSink, answerJson, answerObject, setWarnings } from './answers.ts';
import { formatContinueToken } from './continue-token.ts';
import { type DeleteOptions, parseDeleteOptions } from './delete-options.ts';
import type { Json } from './json.ts';
import type { Kinds } from './kinds.ts';
import { parseListOptions, parseWatchParameters } from './list-options.ts';
import { type Collection, type Entry, keyOf } from './memory.ts';
import type { MetricsApi } from './metrics-api.ts';
import type { Subresource } from './object-rules.ts';
import { missing, type ObjectPlace, type Operations, type Patch, type Written } from './operations.ts';
import type { CollectionView } from './projection.ts';
import { decodeText, mediaTypeOf, type ParsedBody, parseJson, parseObjectBody, parseYaml } from './request-body.ts';
import type { ResourcePath } from './request-path.ts';
import { parseIncludeObject, type Query, textOf } from './requests.ts';
import { type KubeObject, type ResourceKind, type ScalePaths, verbsOf } from './resources.ts';
import { scaleEntry, scaleKind, writeScale } from './scale.ts';
import { parseSelector, type Selector } from './selectors.ts';
import {
  expired,
  methodNotAllowed,
  notAcceptable,
  readOnlyKind,
  revisionTooLarge,
  type StatusError,
  unknownPath,
  unsupportedMediaType,
} from './status-error.ts';
import { type StreamApi, type UpgradeRequest, upgradeRequired } from './stream-api.ts';
import { isPlainStream, isUpgraded } from './stream-names.ts';
import type { StreamTarget } from './stream-source.ts';
import type { ListMeta } from './tables.ts';
import { decideVerb, type Verb } from './verbs.ts';
import { serveWatch, type WatchSink } from './watch.ts';
import { parseWriteMode, parseWriteOptions } from './write-options.ts';
import type { Writer } from './writer.ts';

export interface ApiDeps {
  readonly kinds: Kinds;
  readonly writer: Writer;
  /** What there is of a kind to read. */
  readonly viewOf: (kind: ResourceKind) => CollectionView;
  readonly operations: Operations;
  readonly access: Pick<Access, 'answerReview' | 'answerTokenRequest'>;
  readonly streams: StreamApi;
  readonly measures: MetricsApi;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Logger;
  /** Aborted when the store closes: watches and logs end. */
  readonly stop: AbortSignal;
}

/** One request, as far as it is needed. */
export interface ApiRequest {
  readonly method: string;
  readonly path: ResourcePath;
  readonly query: Query;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** What the body was read from, or for an archive is still to be. */
  readonly incoming: IncomingMessage;
  /** Who asks; has been let in. */
  readonly caller: Caller;
}

/** A request with the form that its answer is wanted in: known before anything is done, so that no write is refused late. */
interface Call extends ApiRequest {
  readonly form: AnswerForm;
}

export type ApiResponse = AnswerSink & WatchSink & NodeJS.WritableStream & { flushHeaders(): void };

const applyType = 'application/apply-patch+yaml';

const patchKinds: ReadonlyMap<string, Patch['kind']> = new Map([
  ['application/json-patch+json', 'json'],
  ['application/merge-patch+json', 'merge'],
  ['application/strategic-merge-patch+json', 'strategic'],
]);

const isReading: ReadonlySet<Verb> = new Set(['GET', 'LIST', 'WATCH']);

export class Api {
  readonly #deps: ApiDeps;

  constructor(deps: ApiDeps) {
    this.#deps = deps;
  }

  /** The kind that a path means, or undefined. */
  kindAt(path: ResourcePath): ResourceKind | undefined {
    return this.#deps.kinds.at(path);
  }

  /** Serves one request. Throws StatusError as long as nothing was sent. */
  async serve(request: ApiRequest, response: ApiResponse): Promise<void> {
    const { path, method, query } = request;
    const kind = this.kindAt(path);
    if (kind === undefined) throw unknownPath();
    const { namespace, name, subresource } = path;
    if (kind.deprecation !== undefined) setWarnings(response, [kind.deprecation]);
    if (namespace !== undefined && !kind.isNamespaced) throw unknownPath();
    if (kind.isNamespaced && namespace === undefined && name !== undefined) throw unknownPath();
    const place = { kind, namespace, name: name ?? '' };
    if (kind.hasStreams && name !== undefined) {
      if (isUpgraded(subresource)) {
        this.#streamedEntry(place);
        throw upgradeRequired();
      }
      if (isPlainStream(subresource)) {
        return this.#deps.streams.serve(this.#targetOf(place), subresource, request, response);
      }
    }
    const verb = decideVerb(method, path, query);
    if (kind.projection !== undefined && !isReading.has(verb)) {
      throw kind.isMeasured === true ? methodNotAllowed(method) : readOnlyKind(method, kind, name);
    }
    if (kind.isReview === true) return this.#serveReview(verb, kind, request, response);
    const call = { ...request, form: negotiateAnswer(request.headers.accept) };
    parseIncludeObject(query, call.form);
    if (kind.isMeasured === true) return this.#serveMeasured(verb, place, call, response);
    if (verb !== 'WATCH') checkCount(call.form, name === undefined && method !== 'POST' ? 'list' : 'single');
    if (name === undefined) return this.#serveCollection(verb, kind, call, response);
    switch (subresource) {
      case undefined:
        return this.#serveObject(verb, place, undefined, call, response);
      case 'status':
        if (!kind.hasStatus) throw unknownPath();
        if (verb !== 'GET' && verb !== 'PUT' && verb !== 'PATCH') throw methodNotAllowed(method);
        return this.#serveObject(verb, place, 'status', call, response);
      case 'scale':
        if (kind.scale === undefined) throw unknownPath();
        return this.#serveScale(verb, place, kind.scale, call, response);
      case 'token':
        if (kind !== serviceAccountKind) throw unknownPath();
        return this.#serveToken(verb, place, call, response);
      case 'finalize':
        if (kind.hasFinalize !== true) throw unknownPath();
        if (verb !== 'PUT') throw methodNotAllowed(method);
        return this.#serveObject(verb, place, 'finalize', call, response);
      default:
        throw unknownPath();
    }
  }

  async #serveMeasured(verb: Verb, { kind }: ObjectPlace, request: Call, response: ApiResponse): Promise<void> {
    const { path, query, form, method } = request;
    const { namespace, name, subresource } = path;
    if (subresource !== undefined) throw unknownPath();
    if (verb !== 'GET' && verb !== 'LIST') throw methodNotAllowed(method);
    const { measures, now } = this.#deps;
    const selector = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const entries =
      name === undefined
        ? await measures.list(kind, namespace, selector.matches)
        : [await measures.get(kind, namespace, name)];
    const count = name === undefined ? 'list' : 'single';
    const metadata = { resourceVersion: '' };
    const answer = encodeAnswer({ kind, entries, count, metadata, form, query, nowMs: now() });
    answerJson(response, 200, answer, form.encoding);
  }

  /** Serves a request to switch protocols. Resolves when the session is over; throws as serve() does. */
  async upgrade(path: ResourcePath, upgrade: UpgradeRequest): Promise<void> {
    const kind = this.kindAt(path);
    const { namespace, name, subresource } = path;
    if (kind?.hasStreams !== true || name === undefined || namespace === undefined || !isUpgraded(subresource)) {
      throw unknownPath();
    }
    await this.#deps.streams.upgrade(this.#targetOf({ kind, namespace, name }), subresource, upgrade);
  }

  #targetOf(place: ObjectPlace): StreamTarget {
    const { object } = this.#streamedEntry(place);
    const { name, namespace = '', uid } = object.metadata;
    const latest = async (): Promise<KubeObject | undefined> => {
      const entry = this.#deps.writer.collection(place.kind.projection ?? place.kind).get(keyOf(namespace, name));
      return entry?.object.metadata.uid === uid ? entry.object : undefined;
    };
    return { name, namespace, uid, object, latest };
  }

  /** The stored object whose host's streams are below a place. Throws StatusError 404. */
  #streamedEntry(place: ObjectPlace): Entry {
    const entry = this.#sourceOf(place).get(keyOf(place.namespace, place.name));
    if (entry === undefined) throw this.#missing(place);
    return entry;
  }

  #find(place: ObjectPlace): Entry {
    const entry = this.#deps.viewOf(place.kind).get(keyOf(place.namespace, place.name));
    if (entry === undefined) throw this.#missing(place);
    return entry;
  }

  #sourceOf({ kind }: ObjectPlace): Collection {
    return this.#deps.writer.collection(kind.projection ?? kind);
  }

  #missing(place: ObjectPlace): StatusError {
    return missing(place, (key) => this.#sourceOf(place).damageOf(key));
  }

  /** A question about access: nothing is stored. */
  #serveReview(verb: Verb, kind: ResourceKind, request: ApiRequest, response: ApiResponse): void {
    const { namespace, name } = request.path;
    if (name !== undefined) throw unknownPath();
    if (verb !== 'POST' || (kind.isNamespaced && namespace === undefined)) throw methodNotAllowed(request.method);
    const parsed = parseObjectBody(request.body, request.headers['content-type']);
    const { mode } = parseWriteMode(kind, request, parsed, 'CreateOptions');
    const review = { kind, namespace, body: parsed.value, checkUnknown: mode.checkUnknown };
    answerObject(response, 201, this.#deps.access.answerReview(review, request.caller));
  }

  #serveToken(verb: Verb, { namespace = '', name }: ObjectPlace, request: ApiRequest, response: ApiResponse): void {
    if (verb !== 'POST') throw methodNotAllowed(request.method);
    const { value } = parseObjectBody(request.body, request.headers['content-type']);
    answerObject(response, 201, this.#deps.access.answerTokenRequest(namespace, name, value));
  }

  async #serveCollection(verb: Verb, kind: ResourceKind, request: Call, response: ApiResponse): Promise<void> {
    const { namespace } = request.path;
    switch (verb) {
      case 'LIST':
        return this.#list(kind, request, response);
      case 'WATCH':
        return this.#watch(kind, request, response);
      case 'POST': {
        if (kind.isNamespaced && namespace === undefined) throw methodNotAllowed(request.method);
        const body = parseObjectBody(request.body, request.headers['content-type']);
        const { mode, warnings } = parseWriteMode(kind, request, body, 'CreateOptions');
        const written = await this.#deps.operations.create(kind, namespace, body.value, mode);
        return this.#answerWritten(201, kind, written, warnings, request, response);
      }
      case 'DELETECOLLECTION':
        return this.#removeCollection(kind, request, response);
      default:
        throw methodNotAllowed(request.method);
    }
  }

  async #serveScale(
    verb: Verb,
    place: ObjectPlace,
    paths: ScalePaths,
    request: Call,
    response: ApiResponse,
  ): Promise<void> {
    const { operations } = this.#deps;
    const find = (): Entry => this.#find(place);
    switch (verb) {
      case 'GET':
        return this.#answerEntry(200, scaleKind, scaleEntry(find(), paths), request, response);
      case 'PUT':
      case 'PATCH': {
        const isPatch = verb === 'PATCH';
        const { patch, body } = isPatch
          ? parsePatch(place.kind, request)
          : { patch: undefined, body: parseObjectBody(request.body, request.headers['content-type']) };
        const { mode } = parseWriteMode(place.kind, request, body, isPatch ? 'PatchOptions' : 'UpdateOptions');
        const change = patch ?? { kind: 'replace', value: body.value };
        const entry = await writeScale(operations, { place, paths, change, mode, find });
        return this.#answerEntry(200, scaleKind, entry, request, response);
      }
      default:
        throw methodNotAllowed(request.method);
    }
  }

  async #serveObject(
    verb: Verb,
    place: ObjectPlace,
    subresource: Subresource,
    request: Call,
    response: ApiResponse,
  ): Promise<void> {
    const { operations } = this.#deps;
    switch (verb) {
      case 'GET':
        return this.#answerEntry(200, place.kind, this.#find(place), request, response);
      case 'PUT': {
        const body = parseObjectBody(request.body, request.headers['content-type']);
        const { mode, warnings } = parseWriteMode(place.kind, request, body, 'UpdateOptions');
        const written = await operations.replaceOrCreate(place, subresource, body.value, mode);
        const code = written.isCreated === true ? 201 : 200;
        return this.#answerWritten(code, place.kind, written, warnings, request, response);
      }
      case 'PATCH': {
        if (mediaTypeOf(request.headers['content-type']) === applyType) {
          return this.#apply(place, subresource, request, response);
        }
        const { patch, body } = parsePatch(place.kind, request);
        const { mode, warnings } = parseWriteMode(place.kind, request, body, 'PatchOptions');
        const written = await operations.patch(place, subresource, patch, mode);
        return this.#answerWritten(200, place.kind, written, warnings, request, response);
      }
      case 'DELETE': {
        const options = deleteOptionsOf(request);
        const { entry, isRemoved } = await operations.remove(place, options);
        if (isRemoved) return answerObject(response, 200, deletedStatus(place, entry));
        return this.#answerEntry(options.isCascading ? 202 : 200, place.kind, entry, request, response);
      }
      default:
        throw methodNotAllowed(request.method);
    }
  }

  async #apply(place: ObjectPlace, subresource: Subresource, request: Call, response: ApiResponse): Promise<void> {
    const body = parseYaml(decodeText(request.body));
    const { mode, conflicts, warnings } = parseWriteMode(place.kind, request, body, 'ApplyOptions');
    const written = await this.#deps.operations.apply(place, subresource, body.value, { ...mode, conflicts });
    this.#answerWritten(written.isCreated ? 201 : 200, place.kind, written, warnings, request, response);
  }

  #answerWritten(
    code: number,
    kind: ResourceKind,
    { entry, unknownFields }: Written,
    warnings: (unknownFields: readonly string[]) => readonly string[],
    request: Call,
    response: ApiResponse,
  ): void {
    const deprecation = kind.deprecation === undefined ? [] : [kind.deprecation];
    setWarnings(response, [...deprecation, ...warnings(unknownFields)]);
    this.#answerEntry(code, kind, entry, request, response);
  }

  #answerEntry(code: number, kind: ResourceKind, entry: Entry, { form, query }: Call, response: ApiResponse): void {
    const metadata = { resourceVersion: entry.object.metadata.resourceVersion ?? '' };
    answerJson(
      response,
      code,
      encodeAnswer({ kind, entries: [entry], count: 'single', metadata, form, query, nowMs: this.#deps.now() }),
      form.encoding,
    );
  }

  #list(kind: ResourceKind, { query, form, path, caller }: Call, response: ApiResponse): void {
    const { writer } = this.#deps;
    const asked = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const selector = narrow(asked, kind, caller);
    const { start, minRevision, limit } = parseListOptions(query);
    if (minRevision > writer.revision) throw revisionTooLarge(minRevision, writer.revision);
    const position = positionOf(start);
    if ((position.atRevision ?? 0) > writer.revision) throw expired('the token is of a later revision: list again');
    const revision = position.atRevision ?? writer.revision;
    const entries: Entry[] = [];
    let remaining = 0;
    for (const entry of this.#deps.viewOf(kind).list(path.namespace, position)) {
      if (!selector.isEverything && !selector.matches(entry.object)) continue;
      if (limit === undefined || entries.length < limit) entries.push(entry);
      else {
        remaining++;
        if (!selector.isEverything) break; // only whether there is more counts then
      }
    }
    const last = entries.at(-1);
    const metadata: ListMeta = {
      resourceVersion: String(revision),
      ...(remaining > 0 && last !== undefined ? { continue: formatContinueToken({ revision, after: last.key }) } : {}),
      ...(remaining > 0 && selector.isEverything ? { remainingItemCount: remaining } : {}),
    };
    answerJson(
      response,
      200,
      encodeAnswer({ kind, entries, count: 'list', metadata, form, query, nowMs: this.#deps.now() }),
      form.encoding,
    );
  }

  async #watch(kind: ResourceKind, { query, form, path, caller }: Call, response: ApiResponse): Promise<void> {
    if (form.encoding !== 'json') throw notAcceptable(['application/json']);
    const asked = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const selector = narrow(asked, kind, caller);
    const parameters = parseWatchParameters(query, this.#deps.random());
    const includeObject = parseIncludeObject(query, form);
    const { writer, viewOf, now, stop } = this.#deps;
    response.setHeader('Content-Type', 'application/json');
    response.setHeader('Cache-Control', 'no-cache, private');
    response.writeHead(200);
    response.flushHeaders();
    const options = { kind, namespace: path.namespace, selector, form, includeObject, ...parameters };
    const deps = { collection: viewOf(kind), revision: () => writer.revision, now };
    await serveWatch(options, deps, response, stop);
  }

  async #removeCollection(kind: ResourceKind, request: Call, response: ApiResponse): Promise<void> {
    const { query, form, path } = request;
    const isOffered = verbsOf(kind).includes('deletecollection');
    if (!isOffered || (kind.isNamespaced && path.namespace === undefined)) throw methodNotAllowed(request.method);
    const selector = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const options = deleteOptionsOf(request);
    const removed = await this.#deps.operations.removeCollection(kind, path.namespace, selector.matches, options);
    const metadata = { resourceVersion: String(this.#deps.writer.revision) };
    answerJson(
      response,
      200,
      encodeAnswer({ kind, entries: removed, count: 'list', metadata, form, query, nowMs: this.#deps.now() }),
      form.encoding,
    );
  }
}

/** Leaves of what is asked for what the caller may see. */
function narrow(selector: Selector, kind: ResourceKind, { visibility }: Caller): Selector {
  if (visibility === undefined) return selector;
  const matches = (object: KubeObject): boolean => selector.matches(object) && visibility(kind, object);
  return { ...selector, isEverything: false, matches };
}

function positionOf(start: ReturnType<typeof parseListOptions>['start']): { after?: string; atRevision?: number } {
  switch (start.kind) {
    case 'present':
      return {};
    case 'continue':
      return { after: start.token.after, atRevision: start.token.revision };
    case 'exact':
      return { atRevision: start.revision };
    default:
      throw new TypeError(`unknown start: ${JSON.stringify(start satisfies never)}`);
  }
}

function parsePatch(
  kind: ResourceKind,
  { headers, body }: ApiRequest,
): { readonly patch: Patch; readonly body: ParsedBody } {
  const mediaType = mediaTypeOf(headers['content-type']);
  const plain = [...patchKinds.keys()].filter((type) => !kind.isCustom || patchKinds.get(type) !== 'strategic');
  const accepted = [...plain, applyType];
  const patchKind = patchKinds.get(mediaType);
  if (patchKind === undefined || !plain.includes(mediaType)) throw unsupportedMediaType(accepted);
  const parsed = parseJson(decodeText(body));
  return { patch: { kind: patchKind, value: parsed.value }, body: parsed };
}

/** Options come in the query or in the body; what the body says counts. */
function deleteOptionsOf({ query, headers, body }: ApiRequest): DeleteOptions {
  const value: Json | undefined = body.length === 0 ? undefined : parseObjectBody(body, headers['content-type']).value;
  const options = parseDeleteOptions(value, query);
  return { ...options, isDryRun: options.isDryRun || parseWriteOptions(query, 'DeleteOptions').isDryRun };
}

function deletedStatus({ kind, name }: ObjectPlace, { object }: Entry) {
  const group = kind.group === '' ? {} : { group: kind.group };
  const details = { name, ...group, kind: kind.plural, uid: object.metadata.uid };
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details };
}
