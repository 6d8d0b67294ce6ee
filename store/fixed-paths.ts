/** Paths that are no resources: health, version, discovery and OpenAPI. Answers are made anew when the kinds change. */
import { type Express, type Request, type RequestHandler, type Response, Router } from 'express';
import { negotiateDiscovery, parseAccept } from './accept.ts';
import { answerBytes, answerJson, answerText } from './answers.ts';
import {
  formatAggregated,
  formatApiVersions,
  formatGroup,
  formatGroupList,
  formatResourceList,
  formatVersion,
  groupsOf,
} from './discovery.ts';
import type { Kinds } from './kinds.ts';
import { digestOf, formatOpenApiV2, formatOpenApiV3 } from './openapi.ts';
import { encodeOpenApiV2, openApiProtobufType } from './openapi-protobuf.ts';
import { apiVersionOf, type ResourceKind } from './resources.ts';
import { methodNotAllowed, notAcceptable, unknownPath } from './status-error.ts';

export type Health = { readonly isHealthy: true } | { readonly isHealthy: false; readonly problem: string };

/** Paths that need no token: they tell nothing but that the server is there. */
export function addOpenPaths(app: Express, healthy: () => Health): void {
  const live = (_request: Request, response: Response): void => answerText(response, 200, 'ok');
  const ready = (_request: Request, response: Response): void => {
    const health = healthy();
    if (health.isHealthy) answerText(response, 200, 'ok');
    else answerText(response, 500, `not ready: ${health.problem}\n`);
  };
  app.get('/healthz', ready);
  app.get('/readyz', ready);
  app.get('/livez', live);
  const version = JSON.stringify(formatVersion(process.version));
  app.get('/version', (_request, response) => answerJson(response, 200, version));
}

/** `address`: host and port, for clients that ask where the server is; known only once it listens. */
export function createFixedPaths(kinds: Kinds, address: () => string): RequestHandler {
  let made: { readonly of: readonly ResourceKind[]; readonly router: Router } | undefined;
  return (request, response, next) => {
    const { all } = kinds;
    if (made?.of !== all) made = { of: all, router: createPathsOf(all, address) };
    return made.router(request, response, next);
  };
}

function refuseMethod({ method }: Request): never {
  throw methodNotAllowed(method);
}

function createPathsOf(kinds: readonly ResourceKind[], address: () => string): Router {
  const router = Router({ caseSensitive: true, strict: false });
  const send = (path: string, json: string): void => {
    router.get(path, (_request, response) => answerJson(response, 200, json));
    router.all(path, refuseMethod);
  };
  const discovery = (path: string, part: 'core' | 'named', plain: () => string): void => {
    const aggregated = {
      v2: JSON.stringify(formatAggregated(kinds, 'v2', part)),
      v2beta1: JSON.stringify(formatAggregated(kinds, 'v2beta1', part)),
    };
    router.get(path, (request, response) => {
      const version = negotiateDiscovery(request.headers.accept);
      if (version === undefined) return answerJson(response, 200, plain());
      const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
      answerTyped(request, response, type, Buffer.from(aggregated[version]));
    });
    router.all(path, refuseMethod);
  };
  discovery('/api', 'core', () => JSON.stringify(formatApiVersions(address())));
  discovery('/apis', 'named', () => JSON.stringify(formatGroupList(kinds)));
  for (const [group, versions] of groupsOf(kinds)) {
    send(`/apis/${group}`, JSON.stringify(formatGroup(group, versions)));
  }
  for (const [groupVersion, some] of Map.groupBy(kinds, apiVersionOf)) {
    const root = some[0]?.group === '' ? '/api' : '/apis';
    send(`${root}/${groupVersion}`, JSON.stringify(formatResourceList(some, groupVersion)));
  }
  addOpenApi(router, kinds);
  const paths = ['/api', '/apis', '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'];
  send('/', JSON.stringify({ paths }));
  return router;
}

function addOpenApi(router: Router, kinds: readonly ResourceKind[]): void {
  const v2 = lazily(() => {
    const document = formatOpenApiV2(kinds);
    return { json: Buffer.from(JSON.stringify(document)), protobuf: encodeOpenApiV2(document) };
  });
  const isProtobuf = (type: string): boolean => type.startsWith('application/com.github.proto-openapi.spec.v2');
  const isJson = (type: string): boolean => ['application/json', 'application/*', '*/*'].includes(type);
  router.get('/openapi/v2', (request, response) => {
    const wanted = parseAccept(request.headers.accept ?? '*/*').find(({ type }) => isProtobuf(type) || isJson(type));
    if (wanted === undefined) throw notAcceptable(['application/json', openApiProtobufType]);
    const [type, body] = isProtobuf(wanted.type)
      ? [openApiProtobufType, v2().protobuf]
      : ['application/json', v2().json];
    answerTyped(request, response, type, body);
  });
  const v3 = lazily(() => formatOpenApiV3(kinds));
  router.get('/openapi/v3', (_request, response) => answerJson(response, 200, v3().index));
  router.get('/openapi/v3/*path', (request, response) => {
    const document = v3().documents.get(request.path.slice('/openapi/v3/'.length));
    if (document === undefined) throw unknownPath();
    answerTyped(request, response, 'application/json', Buffer.from(document));
  });
}

/** Made at the first call: kinds may come in numbers before anyone asks. */
function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** With an entity tag, by which kubectl's cache saves itself the body. */
function answerTyped(request: Request, response: Response, type: string, body: Buffer): void {
  const tag = `"${digestOf(body)}"`;
  response.setHeader('ETag', tag);
  response.setHeader('Vary', 'Accept');
  response.setHeader('Content-Type', type);
  if (request.headers['if-none-match'] === tag) {
    response.writeHead(304);
    response.end();
  } else answerBytes(response, 200, body);
}
