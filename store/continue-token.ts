/** Tokens that continue a list where a page ended, at the revision of its first page. Pure. */
import { getPath } from './json.ts';
import { badRequest } from './status-error.ts';

export interface ContinueToken {
  readonly revision: number;
  /** The key that the page before ended with. */
  readonly after: string;
}

export function formatContinueToken({ revision, after }: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: 'holdfast/1', rv: revision, after })).toString('base64url');
}

/** Throws StatusError 400. */
export function parseContinueToken(token: string): ContinueToken {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    const json = value as Parameters<typeof getPath>[0]; // what JSON.parse returns is JSON
    const revision = getPath(json, ['rv']);
    const after = getPath(json, ['after']);
    if (getPath(json, ['v']) === 'holdfast/1' && Number.isSafeInteger(revision) && typeof after === 'string') {
      return { revision: Number(revision), after };
    }
  } catch {
    // Not JSON: refused below like any other token that this store did not make.
  }
  throw badRequest('continue key is not valid: list again without it');
}
