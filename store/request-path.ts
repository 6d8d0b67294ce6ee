/** Paths of the API: `/api/v1/…` and `/apis/GROUP/VERSION/…`. Pure. Source: apiserver RequestInfoFactory. */
import type { Query } from './requests.ts';
import { badRequest } from './status-error.ts';

export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

const namespaceSubresources = new Set(['status', 'finalize']);

/** undefined: the path names no resource. Throws StatusError 400 for a bad percent-encoding. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const parts = path.split('/').slice(1).map(decode);
  if (parts.at(-1) === '') parts.pop();
  if (parts.includes('')) return undefined;
  const isCore = parts[0] === 'api';
  if (!isCore && parts[0] !== 'apis') return undefined;
  const [group = '', version, ...rest] = isCore ? ['', ...parts.slice(1)] : parts.slice(1);
  const [first, second, third, ...more] = rest;
  if (version === undefined || first === undefined) return undefined;
  if (first === 'namespaces' && second !== undefined && third !== undefined && !namespaceSubresources.has(third)) {
    const [name, subresource, ...tooMany] = more;
    return tooMany.length > 0 ? undefined : { group, version, plural: third, namespace: second, name, subresource };
  }
  if (more.length > 0) return undefined;
  return { group, version, plural: first, namespace: undefined, name: second, subresource: third };
}

const watchPrefix = /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)\/watch(\/.*)$/u;

export interface ResourceRequest {
  readonly path: ResourcePath | undefined;
  readonly query: Query;
}

/**
 * What a GET asks for. The paths below `/watch/`, which Kubernetes calls deprecated and serves, are watches of the path
 * without it; a name in them selects. Throws as parseResourcePath does.
 */
export function parseGet(pathname: string, query: Query): ResourceRequest {
  const [, version, resource] = watchPrefix.exec(pathname) ?? [];
  const path = parseResourcePath(version === undefined ? pathname : `${version}${resource}`);
  if (version === undefined || path === undefined) return { path, query };
  if (path.subresource !== undefined) return { path: undefined, query };
  const watched = new URLSearchParams(query);
  watched.set('watch', 'true');
  if (path.name === undefined) return { path, query: watched };
  const selector = query.get('fieldSelector') ?? '';
  watched.set('fieldSelector', `${selector === '' ? '' : `${selector},`}metadata.name=${path.name}`);
  return { path: { ...path, name: undefined }, query: watched };
}

function decode(part: string): string {
  try {
    return part.includes('%') ? decodeURIComponent(part) : part;
  } catch (error) {
    throw badRequest(`the path part ${JSON.stringify(part.slice(0, 100))} is not valid percent-encoding`, {
      cause: error,
    });
  }
}
