/** Tokens of service accounts: JSON Web Tokens signed with a key of the store's own (ES256). Pure but for the key. Source: RFC 7515, 7519. */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { getPath, getString, isJsonArray, isJsonObject, type Json, type JsonObject } from '../json.ts';

/** Who issues them, and whom they are for unless another audience is asked for. As kubeadm names it. */
export const issuer = 'https://kubernetes.default.svc.cluster.local';

export interface BoundObject {
  readonly kind: 'Secret' | 'Pod';
  readonly name: string;
  readonly uid: string;
}

export interface TokenClaims {
  readonly audiences: readonly string[];
  readonly namespace: string;
  readonly account: { readonly name: string; readonly uid: string };
  readonly bound: BoundObject | undefined;
  readonly id: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

export interface TokenSigner {
  sign(claims: TokenClaims): string;
  /** The claims of a token that was signed here and is valid at this moment; undefined: it is not. */
  verify(token: string, nowMs: number): TokenClaims | undefined;
}

const maxTokenLength = 16_384;
/** Clocks of two hosts differ; of one, they may be set back a little. */
const leewayMs = 10_000;

/** `pem`: a private key of P-256. */
export function createTokenSigner(pem: string): TokenSigner {
  const key = createPrivateKey(pem);
  const publicKey = createPublicKey(key);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const kid = createHash('sha256').update(spki).digest('base64url');
  const header = encode({ alg: 'ES256', kid });
  return {
    sign: (claims) => {
      const content = `${header}.${encode(claimsToJson(claims))}`;
      const signature = sign('sha256', Buffer.from(content), { key, dsaEncoding: 'ieee-p1363' });
      return `${content}.${signature.toString('base64url')}`;
    },
    verify: (token, nowMs) => {
      if (token.length > maxTokenLength) return undefined;
      const [head, body, signature, ...rest] = token.split('.');
      // Only tokens with this very header are made here: no other algorithm is ever considered.
      if (head !== header || body === undefined || signature === undefined || rest.length > 0) return undefined;
      const bytes = Buffer.from(signature, 'base64url');
      const isSigned = verify(
        'sha256',
        Buffer.from(`${head}.${body}`),
        { key: publicKey, dsaEncoding: 'ieee-p1363' },
        bytes,
      );
      if (!isSigned) return undefined;
      const claims = parseClaims(body);
      if (claims === undefined) return undefined;
      const isCurrent = claims.issuedAtMs - leewayMs <= nowMs && nowMs < claims.expiresAtMs;
      return isCurrent ? claims : undefined;
    },
  };
}

function encode(value: JsonObject): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function claimsToJson({ audiences, namespace, account, bound, id, issuedAtMs, expiresAtMs }: TokenClaims): JsonObject {
  const issuedAt = Math.floor(issuedAtMs / 1000);
  return {
    aud: audiences,
    exp: Math.floor(expiresAtMs / 1000),
    iat: issuedAt,
    iss: issuer,
    jti: id,
    'kubernetes.io': {
      namespace,
      ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
      serviceaccount: account,
    },
    nbf: issuedAt,
    sub: `system:serviceaccount:${namespace}:${account.name}`,
  };
}

function parseClaims(body: string): TokenClaims | undefined {
  let value: Json;
  try {
    value = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'));
  } catch {
    return undefined; // it was signed here, so this cannot be; and then it is no token
  }
  const own = getPath(value, ['kubernetes.io']);
  const audiences = getPath(value, ['aud']);
  const issuedAt = getPath(value, ['nbf']);
  const expiresAt = getPath(value, ['exp']);
  if (getString(value, 'iss') !== issuer || typeof issuedAt !== 'number' || typeof expiresAt !== 'number')
    return undefined;
  return {
    audiences: isJsonArray(audiences) ? audiences.filter((one) => typeof one === 'string') : [],
    namespace: getString(own, 'namespace') ?? '',
    account: {
      name: getString(own, 'serviceaccount', 'name') ?? '',
      uid: getString(own, 'serviceaccount', 'uid') ?? '',
    },
    bound: boundOf(own, 'Secret') ?? boundOf(own, 'Pod'),
    id: getString(value, 'jti') ?? '',
    issuedAtMs: issuedAt * 1000,
    expiresAtMs: expiresAt * 1000,
  };
}

function boundOf(own: Json | undefined, kind: BoundObject['kind']): BoundObject | undefined {
  const found = getPath(own, [kind.toLowerCase()]);
  if (!isJsonObject(found)) return undefined;
  return { kind, name: getString(found, 'name') ?? '', uid: getString(found, 'uid') ?? '' };
}
