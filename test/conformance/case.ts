/**
 * A case of the conformance suite, as data: requests in order, each with what a Kubernetes API server answers. Pure.
 * In paths, headers, bodies and expectations stand `{ns}` (the namespace of the suite), `{n}` (a name of this case alone),
 * `{group}` (the API group of the suite's own custom resources, whose plural is `widgets`), and what a step saved.
 */
import type { Json } from '../../store/json.ts';
import type { Expected } from './expect.ts';

/** What not every server has. `widgets`: it serves CustomResourceDefinitions. `watchList`: sendInitialEvents.
 * `compacted`: it no longer knows version 1, as every server that has been up for ten minutes. */
export type Need = 'widgets' | 'watchList' | 'compacted';

export interface Case {
  /** A sentence about the server that is true when the case passes. */
  readonly it: string;
  /** Where Kubernetes says so. */
  readonly source: string;
  /** The minor version of Kubernetes 1 from which on it is true; earlier servers are not asked. */
  readonly since?: number;
  readonly needs?: Need;
  readonly steps: readonly Step[];
}

export type Step = RequestStep | WatchStep;

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string is sent as it is, all else as JSON. */
  readonly body?: Json;
}

export interface Want {
  readonly code: number | readonly number[];
  /** Of the Status; a code of 400 or more with a reason must come with a well-formed one. */
  readonly reason?: string;
  readonly message?: RegExp;
  /** Causes that the Status names, among others. */
  readonly causes?: readonly (readonly [field: string, reason: string])[];
  readonly body?: Expected;
  /** Of the whole body, as text. */
  readonly text?: RegExp;
  readonly headers?: Readonly<Record<string, RegExp | undefined>>;
}

export interface RequestStep extends Request {
  readonly kind: 'request';
  readonly want: Want;
  /** Names for parts of the answer, by their paths: `rv: 'metadata.resourceVersion'`. */
  readonly save?: Readonly<Record<string, string>>;
  /** The server may take a while until this is so. */
  readonly eventually?: boolean;
}

export interface WatchStep {
  readonly kind: 'watch';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What is done once the watch is open. */
  readonly during: readonly RequestStep[];
  /** The first events, in order. */
  readonly events: readonly { readonly type: string; readonly object: Expected }[];
  /** Whether the server then ends the watch by itself. */
  readonly ends?: boolean;
}

type Extra = Partial<Pick<RequestStep, 'headers' | 'save' | 'eventually' | 'body'>>;

function step(method: string, path: string, want: Want | number, extra: Extra): RequestStep {
  return { kind: 'request', method, path, want: typeof want === 'number' ? { code: want } : want, ...extra };
}

export const get = (path: string, want: Want | number = 200, extra: Extra = {}) => step('GET', path, want, extra);
export const post = (path: string, body: Json, want: Want | number = 201, extra: Extra = {}) =>
  step('POST', path, want, { body, ...extra });
export const put = (path: string, body: Json, want: Want | number = 200, extra: Extra = {}) =>
  step('PUT', path, want, { body, ...extra });
export const del = (path: string, want: Want | number = 200, extra: Extra = {}) => step('DELETE', path, want, extra);
export const call = (method: string, path: string, want: Want | number, extra: Extra = {}) =>
  step(method, path, want, extra);

const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

export const patch = (
  how: keyof typeof patchTypes,
  path: string,
  body: Json,
  want: Want | number = 200,
  extra: Extra = {},
) => step('PATCH', path, want, { body, ...extra, headers: { 'content-type': patchTypes[how], ...extra.headers } });

export const watch = (
  path: string,
  events: WatchStep['events'],
  more: Partial<Pick<WatchStep, 'headers' | 'during' | 'ends'>> = {},
): WatchStep => ({ kind: 'watch', path, events, during: [], ...more });

export const configMaps = '/api/v1/namespaces/{ns}/configmaps';
export const secrets = '/api/v1/namespaces/{ns}/secrets';
export const events = '/api/v1/namespaces/{ns}/events';
export const widgets = '/apis/{group}/v1/namespaces/{ns}/widgets';

interface Named {
  readonly [key: string]: Json;
}

/** A ConfigMap labelled with its case, so that lists and watches see those of one case only. */
export function configMap(name: string, data: Named = { a: '1' }, metadata: Named = {}): Named {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...labelled(metadata) }, data };
}

export function secret(name: string, content: Named = {}, metadata: Named = {}): Named {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, ...labelled(metadata) }, ...content };
}

export function widget(name: string, spec: Named = { size: 1 }, metadata: Named = {}, content: Named = {}): Named {
  const head = { apiVersion: '{group}/v1', kind: 'Widget' };
  return { ...head, metadata: { name, ...labelled(metadata) }, spec, ...content };
}

function labelled(metadata: Named): Named {
  const { labels } = metadata;
  const more = typeof labels === 'object' && labels !== null && !Array.isArray(labels) ? labels : {};
  return { ...metadata, labels: { case: '{n}', ...more } };
}

/** The selector of what belongs to this case. */
export const ofCase = 'labelSelector=case%3D{n}';

/** Pages of the Kubernetes documentation, and source files for what the documentation leaves open. */
export const docs = {
  concepts: (anchor: string) => `https://kubernetes.io/docs/reference/using-api/api-concepts/#${anchor}`,
  conventions: (anchor: string) =>
    `https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#${anchor}`,
  apply: (anchor: string) => `https://kubernetes.io/docs/reference/using-api/server-side-apply/#${anchor}`,
  page: (path: string) => `https://kubernetes.io/docs/${path}`,
  source: (path: string) => `https://github.com/kubernetes/kubernetes/blob/v1.32.0/${path}`,
};
