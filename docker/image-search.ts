/**
 * `docker search`: only Docker Hub can be searched, by an interface of its own; other registries have none. Pure.
 * Source: moby registry/search.go and daemon/images/image_search.go.
 */
import { badParameter, notImplemented } from './docker-error.ts';
import type { Filters } from './filters.ts';

export const searchFilters = ['is-automated', 'is-official', 'stars'];

export interface SearchRequest {
  readonly term: string;
  /** undefined: as many as the hub gives. */
  readonly limit: number | undefined;
  readonly filters: Filters;
}

/** Where to ask. Throws DockerError. */
export function searchUrl({ term, limit }: SearchRequest): URL {
  if (term === '') throw badParameter('give a term to search for');
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1 && limit <= 100))
    throw badParameter('Limit must be between 1 and 100');
  const [first = '', ...rest] = term.replace(/^(?:index\.)?docker\.io\//, '').split('/');
  if (rest.length > 0 && (/[.:]/.test(first) || first === 'localhost'))
    throw notImplemented(
      `${first} cannot be searched: registries have no interface for it, Docker Hub alone has one; skopeo list-tags docker://${term} shows the tags of a repository`,
    );
  const url = new URL('https://index.docker.io/v1/search');
  url.searchParams.set('q', [first, ...rest].join('/'));
  url.searchParams.set('n', String(limit ?? 25));
  return url;
}

/** Docker Hub's answer as the Engine API gives it. Throws DockerError for a filter's value that cannot be. */
export function searchResults(answer: unknown, { filters }: SearchRequest): readonly object[] {
  const flag = (name: string): boolean | undefined => {
    const [value] = filters.get(name) ?? [];
    if (value === undefined) return undefined;
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    throw badParameter(`Invalid filter '${name}=${value}'`);
  };
  const stars = (filters.get('stars') ?? []).map((value) =>
    /^\d{1,9}$/.test(value) ? Number(value) : badStars(value),
  );
  const [isOfficial, isAutomated] = [flag('is-official'), flag('is-automated')];
  const results = objectIn(answer).results;
  return (Array.isArray(results) ? results : [])
    .map(objectIn)
    .map((one) => ({
      star_count: typeof one.star_count === 'number' ? one.star_count : 0,
      is_official: one.is_official === true,
      name: typeof one.name === 'string' ? one.name : '',
      is_automated: one.is_automated === true,
      description: typeof one.description === 'string' ? one.description : '',
    }))
    .filter(
      (one) =>
        stars.every((least) => one.star_count >= least) &&
        (isOfficial === undefined || one.is_official === isOfficial) &&
        (isAutomated === undefined || one.is_automated === isAutomated),
    );
}

function badStars(value: string): never {
  throw badParameter(`Invalid filter 'stars=${value}'`);
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
