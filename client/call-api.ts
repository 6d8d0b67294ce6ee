/**
 * Requests to the Kubernetes API through client-node's own HTTP layer. Effects. Deep imports, because the package's front
 * door loads every generated model: 75 MB of memory that a host's daemon has better uses for (measured 2026-11).
 */

import type { KubeConfig } from '@kubernetes/client-node';
import { HttpMethod, RequestContext } from '@kubernetes/client-node/dist/gen/http/http.js';
import { IsomorphicFetchHttpLibrary } from '@kubernetes/client-node/dist/gen/http/isomorphic-fetch.js';
import { Agent } from 'undici';
import { waitWithin } from './deadline.ts';

/** What of a KubeConfig is used: where the server is, and how to sign a request. A KubeConfig is one. */
export type ApiAccess = Pick<KubeConfig, 'getCurrentCluster' | 'applySecurityAuthentication'>;

/** Access by a bearer token, for an embedded store: a KubeConfig's job without loading client-node's models. */
export function tokenAccess({
  server,
  ca,
  token,
}: {
  readonly server: string;
  readonly ca: string;
  readonly token: string;
}): ApiAccess & { close(): Promise<void> } {
  const agent = new Agent({ connect: { ca }, connections: 32 });
  return {
    getCurrentCluster: () => ({ name: 'embedded', server, skipTLSVerify: false }),
    applySecurityAuthentication: async (context) => {
      context.setHeaderParam('Authorization', `Bearer ${token}`);
      context.setDispatcher(agent);
    },
    close: () => agent.destroy(),
  };
}

/** The API server answered with an error Status; `code` is the HTTP status, `reason` the Status' reason. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  readonly reason: string;
  constructor(request: string, code: number, reason: string, message: string, options?: ErrorOptions) {
    super(`${request}: the API server answered ${code} ${reason}: ${message}`, options);
    this.code = code;
    this.reason = reason;
  }
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** From the root, without the query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined;
  readonly body?: unknown;
  readonly contentType?:
    | 'application/json'
    | 'application/merge-patch+json'
    | 'application/json-patch+json'
    | 'application/strategic-merge-patch+json';
  readonly signal: AbortSignal;
}

const methods = {
  GET: HttpMethod.GET,
  POST: HttpMethod.POST,
  PUT: HttpMethod.PUT,
  PATCH: HttpMethod.PATCH,
  DELETE: HttpMethod.DELETE,
};
const deadlineMs = 15_000;

/** Names the manager of what is written, in metadata.managedFields. */
const userAgent = 'holdfast';

/** One request, at most 15 s; resolves to the parsed body. Throws ApiError, or what the network throws. */
export async function callApi(access: ApiAccess, request: ApiRequest): Promise<unknown> {
  const problem = (): Error => new DOMException('The operation was aborted due to timeout', 'TimeoutError');
  const { signal } = request;
  return await waitWithin({ signal, ms: deadlineMs, problem }, (ending) => ask(access, request, ending));
}

async function ask(
  access: ApiAccess,
  { method, path, query, body, contentType }: ApiRequest,
  signal: AbortSignal,
): Promise<unknown> {
  const cluster = access.getCurrentCluster();
  if (cluster === null)
    throw new TypeError('the kubeconfig has no current context; set one with kubectl config use-context');
  const url = new URL(cluster.server.replace(/\/$/, '') + path);
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value));
  const context = new RequestContext(url.toString(), methods[method]);
  context.setHeaderParam('Accept', 'application/json');
  context.setHeaderParam('User-Agent', userAgent);
  if (body !== undefined) {
    context.setHeaderParam('Content-Type', contentType ?? 'application/json');
    context.setBody(JSON.stringify(body));
  }
  context.setSignal(signal);
  await access.applySecurityAuthentication(context);
  const response = await new IsomorphicFetchHttpLibrary().send(context).toPromise();
  const text = await response.body.text();
  const parsed = parseJson(text);
  if (response.httpStatusCode >= 400) {
    const status = isStatus(parsed) ? parsed : {};
    throw new ApiError(
      `${method} ${path}`,
      response.httpStatusCode,
      status.reason ?? 'Unknown',
      status.message ?? text.slice(0, 200),
    );
  }
  if (parsed === undefined)
    // Not the body itself: cut short, it may be a part of a Secret.
    throw new ApiError(
      `${method} ${path}`,
      502,
      'BadGateway',
      `a body of ${text.length} characters that is not JSON; check what stands between here and the API server`,
    );
  return parsed;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The caller reports the text itself.
  }
}

function isStatus(value: unknown): value is { reason?: string; message?: string } {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status';
}
