/** What a request asks for, in the words of authorization. Pure. Source: apiserver RequestInfo and authorizer.Attributes. */
import type { ResourcePath } from '../request-path.ts';
import type { Query } from '../requests.ts';
import { StatusError } from '../status-error.ts';
import { decideVerb } from '../verbs.ts';

export interface ResourceAttributes {
  readonly isResource: true;
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  /** '' for all namespaces and for kinds without. */
  readonly namespace: string;
  readonly name: string;
}

export interface PathAttributes {
  readonly isResource: false;
  readonly verb: string;
  readonly path: string;
}

export type Attributes = ResourceAttributes | PathAttributes;

/** `path` undefined: the request is for no resource. */
export function attributesOf(
  method: string,
  pathname: string,
  path: ResourcePath | undefined,
  query: Query,
): Attributes {
  if (path === undefined) return { isResource: false, verb: method.toLowerCase(), path: pathname };
  const { group, version, plural, namespace = '', name = '', subresource = '' } = path;
  const verb = resourceVerb(method, path, query);
  // A Role of a namespace may let its people read the namespace itself.
  const isNamespaceItself = group === '' && plural === 'namespaces' && name !== '' && namespace === '';
  return {
    isResource: true,
    verb,
    group,
    version,
    resource: plural,
    subresource,
    namespace: isNamespaceItself ? name : namespace,
    name: name === '' && (verb === 'list' || verb === 'watch') ? nameSelectedBy(query) : name,
  };
}

function resourceVerb(method: string, path: ResourcePath, query: Query): string {
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return path.name === undefined ? 'deletecollection' : 'delete';
    case 'GET':
    case 'HEAD': {
      if (path.subresource !== undefined) return 'get';
      const verb = decideVerb(method, path, query);
      return verb === 'WATCH' ? 'watch' : verb === 'LIST' ? 'list' : 'get';
    }
    default:
      return method.toLowerCase();
  }
}

/** The only name that a field selector lets through. */
function nameSelectedBy(query: Query): string {
  const terms = (query.get('fieldSelector') ?? '').split(',');
  const found = terms
    .map((term) => /^metadata\.name==?([^=,/%\\]+)$/u.exec(term)?.[1])
    .filter((name) => name !== undefined);
  return found.length === 1 ? (found[0] ?? '') : '';
}

/** 403 in kube-apiserver's words. Source: apiserver handlers/responsewriters/errors.go. */
export function forbiddenRequest(userName: string, attributes: Attributes, reason: string): StatusError {
  const who = `User ${JSON.stringify(userName)} cannot ${attributes.verb}`;
  const because = reason === '' ? '' : `: ${reason}`;
  if (!attributes.isResource) {
    const message = `forbidden: ${who} path ${JSON.stringify(attributes.path.slice(0, 256))}${because}`;
    return new StatusError(403, 'Forbidden', message, {});
  }
  const { group, resource, subresource, namespace, name } = attributes;
  const what = JSON.stringify(subresource === '' ? resource : `${resource}/${subresource}`);
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  const text = `${who} resource ${what} in API group ${JSON.stringify(group)} ${where}${because}`;
  const qualified = group === '' ? resource : `${resource}.${group}`;
  const about = name === '' ? qualified : `${qualified} ${JSON.stringify(name)}`;
  return new StatusError(403, 'Forbidden', `${about} is forbidden: ${text}`, {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind: resource,
  });
}
