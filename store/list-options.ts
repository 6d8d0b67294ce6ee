/**
 * meta/v1 ListOptions: where a list or a watch begins, and what of them cannot stand together. Pure.
 * Source: apimachinery/pkg/apis/meta/internalversion/validation, ValidateListOptions.
 */
import { type ContinueToken, parseContinueToken } from './continue-token.ts';
import type { FieldError } from './field-errors.ts';
import { isTrue, type Query, textOf, wholeNumberOf } from './requests.ts';
import { invalid } from './status-error.ts';

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

const kind = { group: 'meta.k8s.io', kind: 'ListOptions' };
const matchField = 'resourceVersionMatch';

const forbidden = (field: string, detail: string): FieldError => ({ kind: 'forbidden', field, detail });

/** Throws StatusError 400, or 422 for what cannot stand together. */
export function parseListOptions(query: Query): ListOptions {
  const limit = wholeNumberOf(query, 'limit');
  const revision = wholeNumberOf(query, 'resourceVersion');
  const match = textOf(query, matchField);
  const token = textOf(query, 'continue');
  const errors = [
    ...(match === undefined ? [] : checkListMatch(match, query)),
    ...(textOf(query, 'sendInitialEvents') === undefined
      ? []
      : [forbidden('sendInitialEvents', 'sendInitialEvents is forbidden for list')]),
  ];
  if (errors.length > 0) throw invalid(kind, '', errors);
  const shared = { limit: limit === 0 ? undefined : limit };
  if (token !== undefined) {
    return { ...shared, start: { kind: 'continue', token: parseContinueToken(token) }, minRevision: 0 };
  }
  if (match === 'Exact' && revision !== undefined) {
    return { ...shared, start: { kind: 'exact', revision }, minRevision: revision };
  }
  return { ...shared, start: { kind: 'present' }, minRevision: revision ?? 0 };
}

function checkListMatch(match: string, query: Query): readonly FieldError[] {
  const revision = textOf(query, 'resourceVersion');
  return [
    ...(revision === undefined
      ? [forbidden(matchField, 'resourceVersionMatch is forbidden unless resourceVersion is provided')]
      : []),
    ...checkNoToken(query),
    ...(match === 'Exact' || match === 'NotOlderThan' ? [] : [notSupported(match, ['Exact', 'NotOlderThan', ''])]),
    ...(match === 'Exact' && revision === '0'
      ? [forbidden(matchField, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')]
      : []),
  ];
}

function checkNoToken(query: Query): readonly FieldError[] {
  if (textOf(query, 'continue') === undefined) return [];
  return [forbidden(matchField, 'resourceVersionMatch is forbidden when continue is provided')];
}

function notSupported(match: string, supported: readonly string[]): FieldError {
  return { kind: 'unsupported', field: matchField, value: match, supported };
}

export interface WatchParameters {
  readonly sinceRevision: number | undefined;
  readonly bookmarks: { readonly periodic: boolean; readonly afterInitial: boolean };
  readonly timeoutMs: number;
}

/** Watches without a timeout of their own end after half an hour to an hour, so that load spreads again. */
const minTimeoutMs = 30 * 60 * 1000;

/** `random`: 0 to 1. Throws StatusError 400, or 422 for what cannot stand together. */
export function parseWatchParameters(query: Query, random: number): WatchParameters {
  const revision = wholeNumberOf(query, 'resourceVersion') ?? 0;
  const errors = checkWatch(query);
  if (errors.length > 0) throw invalid(kind, '', errors);
  const sendInitial = isTrue(query, 'sendInitialEvents');
  const seconds = wholeNumberOf(query, 'timeoutSeconds') ?? 0;
  const periodic = isTrue(query, 'allowWatchBookmarks');
  const timeoutMs = seconds > 0 ? seconds * 1000 : minTimeoutMs * (1 + random);
  return {
    sinceRevision: revision === 0 || sendInitial ? undefined : revision,
    bookmarks: { periodic, afterInitial: sendInitial && periodic },
    timeoutMs: Math.min(timeoutMs, 2 ** 31 - 1),
  };
}

function checkWatch(query: Query): readonly FieldError[] {
  const match = textOf(query, matchField);
  const isInitialTold = textOf(query, 'sendInitialEvents') !== undefined;
  const missing =
    isInitialTold && match !== 'NotOlderThan'
      ? [forbidden(matchField, 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan')]
      : [];
  if (match === undefined) return missing;
  return [
    ...missing,
    ...(isInitialTold
      ? []
      : [forbidden(matchField, 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided')]),
    ...(match === 'NotOlderThan' ? [] : [notSupported(match, ['NotOlderThan'])]),
    ...checkNoToken(query),
  ];
}
