/** Paths of the API: `/api/v1/…` and `/apis/GROUP/VERSION/…`. Pure. Source: apiserver RequestInfoFactory. */
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

function decode(part: string): string {
  try {
    return part.includes('%') ? decodeURIComponent(part) : part;
  } catch (error) {
    throw badRequest(`the path part ${JSON.stringify(part.slice(0, 100))} is not valid percent-encoding`, {
      cause: error,
    });
  }
}
