/** Who may come in: whoever has the token. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** The token of an Authorization header; undefined: it has none. */
export function bearerOf(header: string | undefined): string | undefined {
  const [scheme, token, ...rest] = (header ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || token === undefined || token === '' || rest.length > 0) return undefined;
  return token;
}

/** Digests of equal length are compared in constant time, so that the time tells nothing. */
export function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Judges Authorization headers. */
export function createAuthorizer(token: string): (header: string | undefined) => boolean {
  const wanted = digestOf(token);
  return (header) => {
    const given = bearerOf(header);
    return given !== undefined && timingSafeEqual(digestOf(given), wanted);
  };
}
