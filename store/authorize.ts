/** Who may come in: whoever has the token. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** Judges Authorization headers. Digests of equal length are compared in constant time, so that the time tells nothing. */
export function createAuthorizer(token: string): (header: string | undefined) => boolean {
  const wanted = digest(token);
  return (header) => {
    const [scheme, given, ...rest] = (header ?? '').split(' ');
    if (scheme?.toLowerCase() !== 'bearer' || given === undefined || rest.length > 0) return false;
    return timingSafeEqual(digest(given), wanted);
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
