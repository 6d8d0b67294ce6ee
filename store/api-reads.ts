/** Answers what is stored, or measured: an object, a list, a watch, in the form asked for. Effects. */
import type { Caller } from './access/index.ts';
import { encodeAnswer } from './answer-encoding.ts';
import { answerJson } from './answers.ts';
import type { ApiResponse, Call } from './api-call.ts';
import { formatContinueToken } from './continue-token.ts';
import type { Entry } from './entry-object.ts';
import { parseListOptions, parseWatchParameters } from './list-options.ts';
import { type Collection, keyOf } from './memory.ts';
import type { MetricsApi } from './metrics-api.ts';
import { missing, type ObjectPlace } from './operations.ts';
import type { CollectionView } from './projection.ts';
import { omitsManagedFields, parseIncludeObject, textOf } from './requests.ts';
import type { ResourceKind } from './resources.ts';
import { type EntrySelector, parseSelector, type Selector } from './selectors.ts';
import {
  expired,
  methodNotAllowed,
  notAcceptable,
  revisionTooLarge,
  type StatusError,
  unknownPath,
} from './status-error.ts';
import type { ListMeta } from './tables.ts';
import type { Verb } from './verbs.ts';
import { serveWatch } from './watch.ts';
import type { WatchQueues } from './watch-queues.ts';
import type { Writer } from './writer.ts';

export interface ReadDeps {
  readonly writer: Writer;
  /** What there is of a kind to read. */
  readonly viewOf: (kind: ResourceKind) => CollectionView;
  readonly measures: MetricsApi;
  readonly queues: WatchQueues;
  readonly now: () => number;
  readonly random: () => number;
  /** Aborted when the store closes: watches end. */
  readonly stop: AbortSignal;
}

interface Entries {
  readonly kind: ResourceKind;
  readonly entries: readonly Entry[];
  readonly count: 'list' | 'single';
  readonly metadata: ListMeta;
}

export class ApiReads {
  readonly #deps: ReadDeps;

  constructor(deps: ReadDeps) {
    this.#deps = deps;
  }

  find(place: ObjectPlace): Entry {
    const entry = this.#deps.viewOf(place.kind).get(keyOf(place.namespace, place.name));
    if (entry === undefined) throw this.missing(place);
    return entry;
  }

  sourceOf({ kind }: ObjectPlace): Collection {
    return this.#deps.writer.collection(kind.projection ?? kind);
  }

  missing(place: ObjectPlace): StatusError {
    return missing(place, (key) => this.sourceOf(place).damageOf(key));
  }

  answerEntries(
    code: number,
    answer: Entries,
    { form, query }: Pick<Call, 'form' | 'query'>,
    response: ApiResponse,
  ): void {
    answerJson(response, code, encodeAnswer({ ...answer, form, query, nowMs: this.#deps.now() }), form.encoding);
  }

  answerEntry(code: number, kind: ResourceKind, entry: Entry, call: Call, response: ApiResponse): void {
    // Only a table has it besides.
    const resourceVersion = call.form.as === 'table' ? (entry.object.metadata.resourceVersion ?? '') : '';
    const metadata = { resourceVersion };
    this.answerEntries(code, { kind, entries: [entry], count: 'single', metadata }, call, response);
  }

  list(kind: ResourceKind, call: Call, response: ApiResponse): void {
    const { query, path, caller } = call;
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
      if (!selector.matchesEntry(entry)) continue;
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
    this.answerEntries(200, { kind, entries, count: 'list', metadata }, call, response);
  }

  async watch(kind: ResourceKind, { query, form, path, caller }: Call, response: ApiResponse): Promise<void> {
    if (form.encoding !== 'json') throw notAcceptable(['application/json']);
    const asked = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const selector = narrow(asked, kind, caller);
    const parameters = parseWatchParameters(query, this.#deps.random());
    const includeObject = parseIncludeObject(query, form);
    const { writer, viewOf, now, queues, stop } = this.#deps;
    response.setHeader('Content-Type', 'application/json');
    response.setHeader('Cache-Control', 'no-cache, private');
    response.writeHead(200);
    response.flushHeaders();
    const shape = { form, includeObject, omitsManagedFields: omitsManagedFields(query) };
    const options = { kind, namespace: path.namespace, selector, ...shape, ...parameters };
    const deps = { collection: viewOf(kind), revision: () => writer.revision, now, queues };
    await serveWatch(options, deps, response, stop);
  }

  async measured(verb: Verb, { kind }: ObjectPlace, call: Call, response: ApiResponse): Promise<void> {
    const { path, query, method } = call;
    const { namespace, name, subresource } = path;
    if (subresource !== undefined) throw unknownPath();
    if (verb !== 'GET' && verb !== 'LIST') throw methodNotAllowed(method);
    const { measures } = this.#deps;
    const selector = parseSelector(textOf(query, 'labelSelector'), textOf(query, 'fieldSelector'), kind);
    const entries =
      name === undefined
        ? await measures.list(kind, namespace, selector.matches)
        : [await measures.get(kind, namespace, name)];
    const count = name === undefined ? 'list' : 'single';
    this.answerEntries(200, { kind, entries, count, metadata: { resourceVersion: '' } }, call, response);
  }
}

/** Leaves of what is asked for what the caller may see. */
function narrow(selector: Selector, kind: ResourceKind, { visibility }: Caller): EntrySelector {
  if (visibility === undefined) return selector;
  return { isEverything: false, matchesEntry: (entry) => selector.matchesEntry(entry) && visibility(kind, entry) };
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
