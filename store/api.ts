/**
 * The resource paths over HTTP: which path and verb mean what, and has it carried out; what is read is answered by
 * api-reads.ts. Effects; the rules are in object-rules.ts and the files it names.
 */
import type { Logger } from 'pino';
import { checkCount, negotiateAnswer } from './accept.ts';
import { type Access, serviceAccountKind } from './access/index.ts';
import { answerObject, setWarnings } from './answers.ts';
import { type ApiRequest, type ApiResponse, applyType, type Call, deleteOptionsOf, parsePatch } from './api-call.ts';
import { ApiReads, type ReadDeps } from './api-reads.ts';
import type { Entry } from './entry-object.ts';
import type { Json } from './json.ts';
import type { Kinds } from './kinds.ts';
import { keyOf } from './memory.ts';
import type { Subresource } from './object-rules.ts';
import type { ApplyMode, ObjectPlace, Operations, Written } from './operations.ts';
import { decodeText, mediaTypeOf, parseObjectBody, parseYaml } from './request-body.ts';
import type { ResourcePath } from './request-path.ts';
import { parseIncludeObject, textOf } from './requests.ts';
import { type KubeObject, type ResourceKind, type ScalePaths, verbsOf } from './resources.ts';
import { applyScale, scaleEntry, scaleKind, writeScale } from './scale.ts';
import { parseSelector } from './selectors.ts';
import { methodNotAllowed, readOnlyKind, unknownPath } from './status-error.ts';
import { type StreamApi, type UpgradeRequest, upgradeRequired } from './stream-api.ts';
import { isPlainStream, isUpgraded } from './stream-names.ts';
import type { StreamTarget } from './stream-source.ts';
import { decideVerb, type Verb } from './verbs.ts';
import { type Mode, parseWriteMode } from './write-options.ts';

export interface ApiDeps extends ReadDeps {
  readonly kinds: Kinds;
  readonly operations: Operations;
  readonly access: Pick<Access, 'answerReview' | 'answerTokenRequest'>;
  readonly streams: StreamApi;
  readonly log: Logger;
}

const isReading: ReadonlySet<Verb> = new Set(['GET', 'LIST', 'WATCH']);

export class Api {
  readonly #deps: ApiDeps;
  readonly #reads: ApiReads;

  constructor(deps: ApiDeps) {
    this.#deps = deps;
    this.#reads = new ApiReads(deps);
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
    if (kind.isMeasured === true) return this.#reads.measured(verb, place, call, response);
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
    const entry = this.#reads.sourceOf(place).get(keyOf(place.namespace, place.name));
    if (entry === undefined) throw this.#reads.missing(place);
    return entry;
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
        return this.#reads.list(kind, request, response);
      case 'WATCH':
        return this.#reads.watch(kind, request, response);
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
    const find = (): Entry => this.#reads.find(place);
    switch (verb) {
      case 'GET':
        return this.#reads.answerEntry(200, scaleKind, scaleEntry(find(), paths), request, response);
      case 'PUT':
      case 'PATCH': {
        const isPatch = verb === 'PATCH';
        if (isPatch && mediaTypeOf(request.headers['content-type']) === applyType) {
          const { mode, body } = parseApply(place.kind, request);
          const applied = await applyScale(operations, { place, paths, value: body, mode });
          return this.#reads.answerEntry(200, scaleKind, applied, request, response);
        }
        const { patch, body } = isPatch
          ? parsePatch(place.kind, request)
          : { patch: undefined, body: parseObjectBody(request.body, request.headers['content-type']) };
        const { mode } = parseWriteMode(place.kind, request, body, isPatch ? 'PatchOptions' : 'UpdateOptions');
        const change = patch ?? { kind: 'replace', value: body.value };
        const entry = await writeScale(operations, { place, paths, change, mode, find });
        return this.#reads.answerEntry(200, scaleKind, entry, request, response);
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
        return this.#reads.answerEntry(200, place.kind, this.#reads.find(place), request, response);
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
        return this.#reads.answerEntry(options.isCascading ? 202 : 200, place.kind, entry, request, response);
      }
      default:
        throw methodNotAllowed(request.method);
    }
  }

  async #apply(place: ObjectPlace, subresource: Subresource, request: Call, response: ApiResponse): Promise<void> {
    const { mode, body, warnings } = parseApply(place.kind, request);
    const written = await this.#deps.operations.apply(place, subresource, body, mode);
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
    this.#reads.answerEntry(code, kind, entry, request, response);
  }

  async #removeCollection(kind: ResourceKind, request: Call, response: ApiResponse): Promise<void> {
    const { query, path } = request;
    const isOffered = verbsOf(kind).includes('deletecollection');
    if (!isOffered || (kind.isNamespaced && path.namespace === undefined)) throw methodNotAllowed(request.method);
    const selector = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const options = deleteOptionsOf(request);
    const removed = await this.#deps.operations.removeCollection(kind, path.namespace, selector.matches, options);
    const metadata = { resourceVersion: String(this.#deps.writer.revision) };
    this.#reads.answerEntries(200, { kind, entries: removed, count: 'list', metadata }, request, response);
  }
}

/** Throws StatusError 400 or 422. */
function parseApply(
  kind: ResourceKind,
  request: Call,
): Pick<Mode, 'warnings'> & { readonly body: Json; readonly mode: ApplyMode } {
  const body = parseYaml(decodeText(request.body));
  const { mode, conflicts, warnings } = parseWriteMode(kind, request, body, 'ApplyOptions');
  return { body: body.value, mode: { ...mode, conflicts }, warnings };
}

function deletedStatus({ kind, name }: ObjectPlace, { object }: Entry) {
  const group = kind.group === '' ? {} : { group: kind.group };
  const details = { name, ...group, kind: kind.plural, uid: object.metadata.uid };
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details };
}
