/** Reads what a request asks for: its query parameters, as meta/v1 options. Pure. */
import type { AnswerForm } from './accept.ts';
import { type ContinueToken, parseContinueToken } from './continue-token.ts';
import { badRequest } from './status-error.ts';
import type { IncludeObject } from './tables.ts';

export type Query = Readonly<URLSearchParams>;

/** Of a path with its query. */
export function parseQuery(url: string): Query {
  const begin = url.indexOf('?');
  return new URLSearchParams(begin === -1 ? '' : url.slice(begin + 1));
}

/** A parameter's value; an empty one counts as absent. */
export function textOf(query: Query, name: string): string | undefined {
  const value = query.get(name);
  return value === null || value === '' ? undefined : value;
}

export function isTrue(query: Query, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== 'false' && value !== '0';
}

/** Throws StatusError 400. */
export function wholeNumberOf(query: Query, name: string): number | undefined {
  const value = textOf(query, name);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^\d+$/u.test(value) || !Number.isSafeInteger(number)) {
    throw badRequest(`the query parameter ${name} must be a whole number, not ${JSON.stringify(value.slice(0, 100))}`);
  }
  return number;
}

export type ListStart =
  | { readonly kind: 'present' }
  | { readonly kind: 'continue'; readonly token: ContinueToken }
  | { readonly kind: 'exact'; readonly revision: number };

export interface ListOptions {
  readonly start: ListStart;
  /** The list must not be older than this. */
  readonly minRevision: number;
  readonly limit: number | undefined;
}

/** Throws StatusError 400. */
export function parseListOptions(query: Query): ListOptions {
  const limit = wholeNumberOf(query, 'limit');
  const revision = wholeNumberOf(query, 'resourceVersion') ?? 0;
  const match = textOf(query, 'resourceVersionMatch');
  const token = textOf(query, 'continue');
  const shared = { limit: limit === 0 ? undefined : limit };
  if (match !== undefined && match !== 'Exact' && match !== 'NotOlderThan') {
    throw badRequest(`resourceVersionMatch must be Exact or NotOlderThan, not ${JSON.stringify(match.slice(0, 100))}`);
  }
  if (token !== undefined) {
    if (match !== undefined) throw badRequest('resourceVersionMatch is forbidden when continue is provided');
    return { ...shared, start: { kind: 'continue', token: parseContinueToken(token) }, minRevision: 0 };
  }
  if (match === 'Exact') {
    if (revision === 0) throw badRequest('resourceVersionMatch=Exact needs a resourceVersion other than 0');
    return { ...shared, start: { kind: 'exact', revision }, minRevision: revision };
  }
  return { ...shared, start: { kind: 'present' }, minRevision: revision };
}

export interface WatchParameters {
  readonly sinceRevision: number | undefined;
  readonly bookmarks: { readonly periodic: boolean; readonly afterInitial: boolean };
  readonly timeoutMs: number;
}

/** Watches without a timeout of their own end after half an hour to an hour, so that load spreads again. */
const minTimeoutMs = 30 * 60 * 1000;

/** `random`: 0 to 1. Throws StatusError 400. */
export function parseWatchParameters(query: Query, random: number): WatchParameters {
  const revision = wholeNumberOf(query, 'resourceVersion') ?? 0;
  const sendInitial = textOf(query, 'sendInitialEvents') === 'true';
  const match = textOf(query, 'resourceVersionMatch');
  if (sendInitial && match !== 'NotOlderThan') {
    throw badRequest('sendInitialEvents=true needs resourceVersionMatch=NotOlderThan');
  }
  const seconds = wholeNumberOf(query, 'timeoutSeconds') ?? 0;
  const periodic = isTrue(query, 'allowWatchBookmarks');
  const timeoutMs = seconds > 0 ? seconds * 1000 : minTimeoutMs * (1 + random);
  return {
    sinceRevision: revision === 0 || sendInitial ? undefined : revision,
    bookmarks: { periodic, afterInitial: sendInitial && periodic },
    timeoutMs: Math.min(timeoutMs, 2 ** 31 - 1),
  };
}

/** Throws StatusError 400. */
export function parseIncludeObject(query: Query, form: AnswerForm): IncludeObject {
  const value = textOf(query, 'includeObject') ?? 'Metadata';
  if (value === 'None' || value === 'Metadata' || value === 'Object') return value;
  if (form.as !== 'table') return 'Metadata';
  throw badRequest(`includeObject must be None, Metadata or Object, not ${JSON.stringify(value.slice(0, 100))}`);
}

/** Which part of a container's log is wanted; the names are those of the Pod log API. */
export interface LogOptions {
  /** As the client named it; undefined: the only one there is. */
  readonly container: string | undefined;
  readonly follow: boolean;
  readonly tailLines: number | undefined;
  readonly sinceSeconds: number | undefined;
  /** RFC 3339. */
  readonly sinceTime: string | undefined;
  readonly timestamps: boolean;
  readonly limitBytes: number | undefined;
  /** Of the run before the present one. */
  readonly previous: boolean;
  readonly stream: 'All' | 'Stdout' | 'Stderr';
}

/** Throws StatusError 400. */
export function parseLogOptions(query: Query): LogOptions {
  const sinceTime = textOf(query, 'sinceTime');
  if (sinceTime !== undefined && Number.isNaN(Date.parse(sinceTime))) {
    throw badRequest(`sinceTime must be an RFC 3339 time, not ${JSON.stringify(sinceTime.slice(0, 100))}`);
  }
  const sinceSeconds = wholeNumberOf(query, 'sinceSeconds');
  if (sinceTime !== undefined && sinceSeconds !== undefined) {
    throw badRequest('at most one of sinceTime and sinceSeconds may be given');
  }
  const stream = textOf(query, 'stream') ?? 'All';
  if (stream !== 'All' && stream !== 'Stdout' && stream !== 'Stderr') {
    const supported = '"All", "Stdout", "Stderr"';
    throw badRequest(
      `stream: Unsupported value: ${JSON.stringify(stream.slice(0, 100))}: supported values: ${supported}`,
    );
  }
  return {
    container: textOf(query, 'container'),
    follow: isTrue(query, 'follow'),
    tailLines: wholeNumberOf(query, 'tailLines'),
    sinceSeconds,
    sinceTime,
    timestamps: isTrue(query, 'timestamps'),
    limitBytes: wholeNumberOf(query, 'limitBytes'),
    previous: isTrue(query, 'previous'),
    stream,
  };
}

/** Where in a container an archive is read or unpacked. Throws StatusError 400. */
export function parseArchivePath(query: Query): string {
  const path = textOf(query, 'path');
  if (path === undefined) throw badRequest('path: Required value: name the file or folder in the container');
  if (!path.startsWith('/') || path.includes('\0')) {
    throw badRequest(`path: Invalid value: ${JSON.stringify(path.slice(0, 100))}: must be an absolute path`);
  }
  return path;
}
