/** What is asked of registries: a user's password, what they have, what can be found in them. Effects. */
import type { Images } from '../runtime/index.ts';
import { badParameter, DockerError } from './docker-error.ts';
import { parseFilters } from './filters.ts';
import { registryErrorOf } from './image-errors.ts';
import { parseImageName } from './image-reference.ts';
import { type SearchRequest, searchFilters, searchResults, searchUrl } from './image-search.ts';
import { parseAuthConfig, parseRegistryAuth } from './registry-auth.ts';
import type { Call, Route } from './route.ts';

export interface RegistryDeps {
  readonly images: Pick<Images, 'checkCredential' | 'describeRemote'>;
  readonly fetch: typeof fetch;
}

export function registryRoutes(deps: RegistryDeps): readonly Route[] {
  return [
    { method: 'POST', path: '/auth', handle: (call) => logIn(deps, call) },
    { method: 'GET', path: '/distribution/{name...}/json', handle: (call) => describeRemote(deps, call) },
    { method: 'GET', path: '/images/search', handle: (call) => search(deps, call) },
  ];
}

async function logIn({ images }: RegistryDeps, call: Call): Promise<void> {
  const credential = parseAuthConfig(await call.body());
  if (credential.username === '') throw badParameter('the user name is missing');
  await images.checkCredential(credential, call.signal).catch((error: unknown) => {
    throw registryErrorOf(error);
  });
  call.json(200, { IdentityToken: '', Status: 'Login Succeeded' });
}

async function describeRemote({ images }: RegistryDeps, call: Call): Promise<void> {
  const { canonical, registry } = parseImageName(call.params.name ?? '');
  const credentials = parseRegistryAuth(call.headers['x-registry-auth'], registry);
  const remote = await images.describeRemote(canonical, { credentials }, call.signal).catch((error: unknown) => {
    throw registryErrorOf(error);
  });
  call.json(200, {
    Descriptor: { mediaType: remote.mediaType, digest: remote.digest, size: remote.sizeBytes },
    Platforms: remote.platforms.map(({ os, architecture, variant }) => ({
      ...{ architecture, os },
      ...(variant === '' ? {} : { variant }),
    })),
  });
}

const searchDeadlineMs = 30_000;

async function search(deps: RegistryDeps, call: Call): Promise<void> {
  const limit = call.query.get('limit') ?? '';
  const request: SearchRequest = {
    term: call.query.get('term') ?? '',
    limit: limit === '' ? undefined : Number(limit),
    filters: parseFilters(call.query, searchFilters),
  };
  const url = searchUrl(request);
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(searchDeadlineMs)]);
  let answer: unknown;
  try {
    const response = await deps.fetch(url, { signal, headers: { Accept: 'application/json' } });
    if (!response.ok) throw new Error(`Unexpected status code ${response.status}`);
    answer = await response.json();
  } catch (error) {
    call.signal.throwIfAborted();
    const what = error instanceof Error ? String(error.cause ?? error.message) : String(error);
    throw new DockerError(500, `Docker Hub cannot be searched: ${what}`, { cause: error });
  }
  call.json(200, searchResults(answer, request));
}
