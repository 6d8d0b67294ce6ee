/** Which verb of the API a request is. Pure. Source: apiserver RequestInfo, and metrics.CanonicalVerb. */
import type { ResourcePath } from './request-path.ts';
import { isTrue, type Query } from './requests.ts';
import { isUpgraded } from './stream-names.ts';

/** What a request asks to be done, in kube-apiserver's words for metrics and logs. */
export type Verb =
  | 'GET'
  | 'LIST'
  | 'WATCH'
  | 'POST'
  | 'PUT'
  | 'PATCH'
  | 'DELETE'
  | 'DELETECOLLECTION'
  | 'CONNECT'
  | 'OTHER';

/** Pure. */
export function decideVerb(method: string, path: ResourcePath, query: Query): Verb {
  if (isUpgraded(path.subresource)) return 'CONNECT';
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (path.subresource === 'log') return isTrue(query, 'follow') ? 'CONNECT' : 'GET';
      if (path.subresource === 'stats') return isTrue(query, 'watch') ? 'CONNECT' : 'GET';
      // A HEAD has no body to end with the watch: its client's next request would wait behind it.
      // One object is watched by a field selector of its name; `watch` beside its path means nothing, as in Kubernetes.
      if (path.name !== undefined) return 'GET';
      return isTrue(query, 'watch') && method === 'GET' ? 'WATCH' : 'LIST';
    case 'POST':
    case 'PUT':
    case 'PATCH':
      return method;
    case 'DELETE':
      return path.name === undefined ? 'DELETECOLLECTION' : 'DELETE';
    default:
      return 'OTHER';
  }
}
