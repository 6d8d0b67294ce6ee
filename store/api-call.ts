/** What a request to the resource paths says: its parts, and what its body and query ask for. Pure. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { AnswerForm } from './accept.ts';
import type { Caller } from './access/index.ts';
import type { AnswerSink } from './answers.ts';
import { type DeleteOptions, parseDeleteOptions } from './delete-options.ts';
import type { Json } from './json.ts';
import type { Patch } from './operations.ts';
import { decodeText, mediaTypeOf, type ParsedBody, parseJson, parseObjectBody } from './request-body.ts';
import type { ResourcePath } from './request-path.ts';
import type { Query } from './requests.ts';
import type { ResourceKind } from './resources.ts';
import { unsupportedMediaType } from './status-error.ts';
import type { WatchSink } from './watch.ts';
import { parseWriteOptions } from './write-options.ts';

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
export interface Call extends ApiRequest {
  readonly form: AnswerForm;
}

export type ApiResponse = AnswerSink & WatchSink & NodeJS.WritableStream & { flushHeaders(): void };

/** Of server-side apply. */
export const applyType = 'application/apply-patch+yaml';

const patchKinds: ReadonlyMap<string, Patch['kind']> = new Map([
  ['application/json-patch+json', 'json'],
  ['application/merge-patch+json', 'merge'],
  ['application/strategic-merge-patch+json', 'strategic'],
]);

/** A patch of the other kinds. Throws StatusError 400 or 415. */
export function parsePatch(
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

/** Throws StatusError 400 or 422. Options come in the query or in the body; what the body says counts. */
export function deleteOptionsOf({ query, headers, body, caller }: ApiRequest): DeleteOptions & Pick<Caller, 'admit'> {
  const value: Json | undefined = body.length === 0 ? undefined : parseObjectBody(body, headers['content-type']).value;
  const options = parseDeleteOptions(value, query);
  const isDryRun = options.isDryRun || parseWriteOptions(query, 'DeleteOptions').isDryRun;
  return { ...options, isDryRun, admit: caller.admit };
}
