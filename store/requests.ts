/** Reads what a request asks for: its query parameters, as meta/v1 options. Pure. */
import type { AnswerForm } from './accept.ts';
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

/** Whether objects are wanted without metadata.managedFields. Ours alone: kube-apiserver passes over what it does not know. */
export function omitsManagedFields(query: Query): boolean {
  return isTrue(query, 'omitManagedFields');
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
