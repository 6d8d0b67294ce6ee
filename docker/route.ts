/** Routes of the Engine API, and which of them a request means. Types, and pure matching. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';

/** One request, and the ways to answer it. Exactly one answer is given. */
export interface Call {
  /** Of the path's {placeholders}, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Minor number of the API version that the client speaks: 41 for 1.41. */
  readonly version: number;
  /** Aborts when the client is gone before it has its answer, and when the daemon ends. */
  readonly signal: AbortSignal;
  /** The body as JSON; undefined without one. Throws DockerError. At most 4 MiB. */
  body(): Promise<unknown>;
  /** The body as it comes, of any size. */
  readonly input: Readable;
  json(status: number, value: unknown, headers?: Readonly<Record<string, string>>): void;
  /** Without a body: 204, 304, or the 200 of HEAD and of old times. */
  empty(status: number, headers?: Readonly<Record<string, string>>): void;
  text(status: number, text: string, headers?: Readonly<Record<string, string>>): void;
  /** A body that is written bit by bit. Whoever opens it ends it; errors are written into it, since the status is out. */
  stream(status: number, headers: Readonly<Record<string, string>>): Writable;
  /**
   * Takes the connection over: both directions are the caller's, raw. With an Upgrade header of the client the answer is
   * 101, without one 200, and then the client's bytes are the rest of its request. Source: Engine API, "attach": hijacking.
   */
  hijack(contentType: string): Promise<Duplex>;
  /** As hijack, for a client that asks for a WebSocket. Throws DockerError if it does not. */
  webSocket(): Promise<Duplex>;
}

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** Below the version prefix: /containers/{id}/json; {name...} stands for several segments. */
  readonly path: string;
  /** Throws DockerError for what the client is to know; anything else is answered as 500 and logged. */
  readonly handle: (call: Call) => Promise<void>;
}

export type Match =
  | { readonly kind: 'found'; readonly route: Route; readonly params: Readonly<Record<string, string>> }
  | { readonly kind: 'other-method' }
  | { readonly kind: 'none' };

/** Compiles the routes once. Of several that match, the one that comes first in the list counts. */
export function createMatcher(routes: readonly Route[]): (method: string, path: string) => Match {
  const compiled = routes.map((route) => ({ route, ...compile(route.path) }));
  return (method, path) => {
    let isOtherMethod = false;
    for (const { route, pattern, names } of compiled) {
      const match = pattern.exec(path);
      if (match === null) continue;
      if (route.method !== method) {
        isOtherMethod = true;
        continue;
      }
      const params: Record<string, string> = {};
      for (const [index, name] of names.entries()) {
        const value = decode(match[index + 1] ?? '');
        if (value === undefined) return { kind: 'none' };
        params[name] = value;
      }
      return { kind: 'found', route, params };
    }
    return { kind: isOtherMethod ? 'other-method' : 'none' };
  };
}

function compile(path: string): { readonly pattern: RegExp; readonly names: readonly string[] } {
  const names: string[] = [];
  const source = path.replaceAll(/\{(\w+)(\.\.\.)?\}|[^{]+/g, (part, name: string | undefined, isRest?: string) => {
    if (name === undefined) return part.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&');
    names.push(name);
    return isRest === undefined ? '([^/]+)' : '(.+?)';
  });
  return { pattern: new RegExp(`^${source}$`), names };
}

/** undefined: no text in UTF-8, or one with a NUL, which no name has. */
function decode(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return decoded.includes('\0') ? undefined : decoded;
  } catch {
    return undefined; // the caller answers 404
  }
}

export type Version =
  | { readonly kind: 'known'; readonly minor: number; readonly path: string }
  | { readonly kind: 'refused'; readonly message: string };

/** Newest and oldest minor version of the API; clients agree on one by themselves. */
export const newestMinor = 50;
export const oldestMinor = 24;

/** Takes the version prefix off a path; without one the newest counts. Texts are moby's (api/server/middleware/version.go). */
export function parseVersion(path: string): Version {
  const [, major, digits, rest] = /^\/v(\d{1,4})\.(\d{1,4})(\/.*)$/.exec(path) ?? [];
  if (digits === undefined || rest === undefined) return { kind: 'known', minor: newestMinor, path };
  const minor = Number(digits);
  if (Number(major) < 1 || (Number(major) === 1 && minor < oldestMinor))
    return {
      kind: 'refused',
      message: `client version ${major}.${minor} is too old. Minimum supported API version is 1.${oldestMinor}, please upgrade your client to a newer version`,
    };
  if (Number(major) > 1 || minor > newestMinor)
    return {
      kind: 'refused',
      message: `client version ${major}.${minor} is too new. Maximum supported API version is 1.${newestMinor}`,
    };
  return { kind: 'known', minor, path: rest };
}

/** Docker's booleans: everything but these words, an absent one included, is true. Source: moby api/server/httputils/form.go. */
export function booleanOf(query: URLSearchParams, name: string, fallback = false): boolean {
  const value = query.get(name);
  if (value === null) return fallback;
  return !['', '0', 'no', 'false', 'none'].includes(value.trim().toLowerCase());
}
